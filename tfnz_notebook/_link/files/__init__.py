"""Files on their way between this process and a container."""
