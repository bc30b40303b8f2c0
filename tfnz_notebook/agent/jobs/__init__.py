"""What takes long and is about no container: what it says meanwhile, and what it is sent."""
