"""What a kernel may ask for: one small function an operation, one module a noun.

Each gives (body, payload) or raises an error of the tree. Fields were held to their row in
``_wire.operations``; what they mean is checked here.
"""

from tfnz_notebook.agent.operations import (  # noqa: F401  # each registers its answers
    container,
    dial,
    file,
    image,
    link,
    log,
    node,
    process,
    reader,
    volume,
)
from tfnz_notebook.agent.operations.answers import ANSWERS

__all__ = ["ANSWERS"]
