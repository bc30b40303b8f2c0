"""The file system, as an agent uses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfnz_notebook.agent.disk import REAL


def test_what_is_replaced_is_the_old_or_the_new_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "folder" / "file", os.write
    REAL.replace(path, b"old")

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 5:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:3])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            REAL.replace(path, b"the new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    REAL.replace(path, b"the new")
    assert path.read_bytes() == b"the new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_is_listed_while_others_remove_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)
    real = os.scandir

    class Entries:
        def __init__(self, folder: Path) -> None:
            self.entries = real(folder)

        def __enter__(self) -> list[os.DirEntry[str]]:
            found = list(self.entries)
            (tmp_path / "b").unlink()
            return found

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Entries)
    assert sorted(REAL.list(tmp_path)) == [("a", 1), ("c", 1)]
    assert REAL.list(tmp_path / "none") == []
