"""What the engine's exec does for a guest: its stream, and its start beside another PID 1."""
