"""Docker and Podman, through the one REST dialect that both speak."""
