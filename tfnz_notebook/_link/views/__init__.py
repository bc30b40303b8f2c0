"""A view's kernel half: the desk it opens at, and the process that it shows."""
