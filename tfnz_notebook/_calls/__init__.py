"""A call's life: its two faces, what it was given, its callbacks and where they run."""
