"""A pyarrow that has what is asked of it: none is installed here. A cell can run it, too."""

import json
import sys
import types
from typing import Any

import pandas as pd  # before there is a pyarrow, which it would use for more than tables


class ArrowException(Exception):
    """What it raises."""


class Table:
    """Columns by name."""

    schema = None

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns

    @classmethod
    def from_pandas(cls, frame: Any) -> Any:
        columns = {name: frame[name].tolist() for name in frame.columns}
        try:
            json.dumps(columns)
        except TypeError as error:
            raise ArrowException(error) from None
        return cls(columns)

    def to_pandas(self) -> Any:
        return pd.DataFrame(self.columns)

    def validate(self, full: bool) -> None:
        assert full


class Stream:
    """Both a sink and who writes to it; or what was read."""

    def __init__(self, *of: Any) -> None:
        self.of = of

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def write_table(self, table: Table) -> None:
        self.of[0].of = json.dumps(table.columns).encode()

    def getvalue(self) -> Any:
        return self

    def to_pybytes(self) -> bytes:
        return self.of  # type: ignore[return-value]

    def read_all(self) -> Table:
        try:
            return Table(json.loads(self.of[0]))
        except ValueError as error:
            raise ArrowException(error) from None


Table.__module__ = "pyarrow.lib"
made: Any = types.ModuleType("pyarrow")
made.__version__ = "14.0.1"
made.Table, made.ArrowException, made.BufferOutputStream = Table, ArrowException, Stream
made.ipc = types.ModuleType("pyarrow.ipc")
made.ipc.new_stream = made.ipc.open_stream = Stream
if __name__ == "__main__":
    sys.modules["pyarrow"] = made
