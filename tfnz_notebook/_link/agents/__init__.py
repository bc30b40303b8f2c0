"""Finding the agent of a place, or starting it."""
