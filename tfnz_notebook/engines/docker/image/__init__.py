"""Images of a Docker-like engine: how they come, are made, kept, and go."""
