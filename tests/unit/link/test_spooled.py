"""A log's file: what the agent says of it is read, or is an error."""

import os
from pathlib import Path

import pytest

from tfnz_notebook._link import spooled


def test_exactly_what_was_told_of(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    assert spooled.read(str(path), 3, 4) == b"3456"
    with pytest.raises(OSError, match="No data available"):
        spooled.read(str(path), 8, 3)


def test_nothing_else_is_opened_and_nothing_waits(tmp_path: Path) -> None:
    whole, link, fifo = (tmp_path / name for name in ("whole", "link", "fifo"))
    whole.write_bytes(b"secret")
    link.symlink_to(whole)
    os.mkfifo(fifo)
    for path in (link, fifo, tmp_path, tmp_path / "nothing", Path("/dev/tty")):
        with pytest.raises(OSError, match=r"^\[Errno"):
            spooled.read(str(path), 0, 1)
