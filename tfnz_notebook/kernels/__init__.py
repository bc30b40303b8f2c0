"""Whole notebooks in containers: kernelspecs, and what starts their kernels for Jupyter."""
