"""Kubernetes: a pod for each container, the guest inside, one stream to it."""
