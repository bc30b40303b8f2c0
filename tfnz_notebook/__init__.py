"""Containers and live processes as first-class objects of a Jupyter notebook."""

__version__ = "0.1.0"
