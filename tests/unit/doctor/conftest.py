"""A machine with nothing of the user's: no engine, no agent, directories of the test's own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfnz_notebook._base import endpoints

NAMED = ("DOCKER_HOST", "CONTAINER_HOST", "XDG_RUNTIME_DIR", "TFNZ_LOCATION", "TFNZ_AUTOLOAD")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """With ``run``, ``state`` and ``bin``, which is all that PATH names; short, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="tfnz-u-"))
    for name in ("run", "state", "bin"):
        (path / name).mkdir(mode=0o700)
    for name in NAMED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TFNZ_RUNTIME", str(path / "run"))
    monkeypatch.setenv("TFNZ_STATE", str(path / "state"))
    for tool in ("cat", "sleep"):
        (path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(path / "bin"))
    for name in ("DOCKER_SYSTEM", "PODMAN_SYSTEM"):
        monkeypatch.setattr(endpoints, name, str(path / name.lower()))
    yield path
    shutil.rmtree(path)


def program(home: Path, name: str, script: str) -> None:
    """Something that PATH finds under this name."""
    path = home / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
