"""The guest in a container: its binary, the ways to reach it, the fence around it."""
