"""What runs inside containers, handed over through a process's stdin or arguments: never installed.

``python.py``    the interpreter behind ``%%tf_python``: the standard library of Python 3.8
``shell.sh``     the shell behind ``%%tf_bash``: what POSIX says of ``sh``

Both speak what ``tfnz_notebook._wire.cells`` reads, and import nothing of ours.
"""
