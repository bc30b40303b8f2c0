"""The comm that all views of a kernel share, and what waits to be sent over it."""
