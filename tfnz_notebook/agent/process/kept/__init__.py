"""What is kept of a container's processes once they have ended."""
