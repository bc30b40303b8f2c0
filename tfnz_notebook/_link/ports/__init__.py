"""Connections into a container, and the local ports that lead to them."""
