"""A container: its guest, its neighbours, its files and connections."""
