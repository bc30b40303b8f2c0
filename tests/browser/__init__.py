"""A package, for its tests share a browser: see ``conftest.browser``."""
