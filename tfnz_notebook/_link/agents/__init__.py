"""Finding the agent of a place, starting it, replacing an older one."""
