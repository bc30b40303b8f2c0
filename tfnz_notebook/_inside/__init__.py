"""What runs inside containers, handed over through a process's stdin or arguments: never installed.

``python.py``    the interpreter behind ``%%tf_python``: the standard library of Python 3.8
``jupyter.py``   the same by ipykernel, where the container's Python has that
``shell.sh``     the shell behind ``%%tf_bash``: what POSIX says of ``sh``

All speak what ``tfnz_notebook._wire.cells`` reads, and import nothing of ours.
"""
