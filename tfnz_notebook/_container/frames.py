"""Tables on their way into a cell and out of it: pandas' and pyarrow's, as Arrow's stream format.

What comes out of a container may be anything. Arrow's reader checks what it reads; that of pyarrow
before 14.0.1 ran what a table's types said, so that is not used.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tfnz_notebook.errors import Misuse

_SAFE: Final = (14, 0, 1)
#: By the name of its class and of its package.
_KINDS: Final = {("DataFrame", "pandas"): "pandas", ("Table", "pyarrow"): "pyarrow"}


def kind(value: object) -> str:
    """Whose table it is; empty if it is none."""
    of = type(value)
    return _KINDS.get((of.__name__, of.__module__.partition(".")[0]), "")


def packed(name: str, value: Any) -> tuple[str, bytes]:
    """Whose it is, and its bytes. Misuse for what Arrow has no type for."""
    (arrow, ipc), whose = _arrow(f"hand over {name}"), kind(value)
    try:
        table = arrow.Table.from_pandas(value) if whose == "pandas" else value
        sink = arrow.BufferOutputStream()
        with ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    except arrow.ArrowException as error:
        raise Misuse(
            f"Cannot hand over {name}: Arrow has no type for what is in it ({error}). "
            "Convert its columns, or put it into a file."
        ) from None
    return whose, sink.getvalue().to_pybytes()


def unpacked(name: str, whose: str, data: bytes) -> Any:
    """The table; a container's pandas is one here, if that is here."""
    arrow, ipc = _arrow(f"take {name}")
    try:
        table = ipc.open_stream(data).read_all()
        table.validate(full=True)
        if whose != "pandas":
            return table
        try:
            import pandas as pd  # noqa: F401  # or there is none to be made
        except ImportError:
            return table
        return table.to_pandas()
    except arrow.ArrowException as error:
        raise Misuse(f"Cannot take {name}: it is no table of Arrow's ({error}).") from None


def _arrow(doing: str) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import ipc
    except ImportError:
        raise Misuse(
            f"Cannot {doing}: it is a table, and there is no pyarrow here. Install that, or hand "
            "over a value of JSON, or bytes."
        ) from None
    if tuple(map(int, re.findall(r"\d+", pa.__version__)[:3])) < _SAFE:
        raise Misuse(
            f"Cannot {doing}: pyarrow {pa.__version__} believes what a table says. Update it "
            f"to {'.'.join(map(str, _SAFE))} or a newer one."
        )
    return pa, ipc
