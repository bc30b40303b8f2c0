"""Keys are whole in their files, or not there, and the disk's word is a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import zmq.auth

from tfnz_notebook.agent.door import keys
from tfnz_notebook.errors import AgentError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFNZ_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_a_pair_is_made_once_and_is_nobody_elses(config: Path) -> None:
    public = keys.generate("client")
    before = {path.name: path.read_bytes() for path in config.iterdir()}
    assert sorted(before) == ["client.key", "client.key_secret"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in config.iterdir())
    assert keys.generate("client") == public
    assert {path.name: path.read_bytes() for path in config.iterdir()} == before
    assert keys.load(config / "client.key_secret")[1] is not None


@pytest.mark.parametrize("number", [0, 1])
def test_a_full_disk_leaves_no_half_of_a_pair(
    config: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(folder: str, name: str) -> None:
        for suffix in (".key", ".key_secret")[:number]:
            Path(folder, name + suffix).write_text("#")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zmq.auth, "create_certificates", full)
        with pytest.raises(AgentError, match=r"^Cannot use the configuration .*: No space left"):
            keys.generate("server")
        assert not list(config.iterdir())
    assert keys.load(keys.generate("server").with_suffix(".key_secret"))[1] is not None


def test_what_is_authorized_is_a_whole_key(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = keys.generate("client")

    def full(source: Path, target: Path, **_: Any) -> None:
        target.write_bytes(source.read_bytes()[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(AgentError, match=r"^Cannot use the configuration .*: No space left"):
            keys.authorize(source, "somebody")
    assert not list((config / "authorized").iterdir())
    assert keys.authorize(source, "somebody").read_bytes() == source.read_bytes()
    with pytest.raises(AgentError, match=r"^Cannot read the key none.key: it is not in "):
        keys.authorize(tmp_path / "none.key")
    with pytest.raises(AgentError, match=r"^Cannot authorize '\.\./x': use letters"):
        keys.authorize(source, "../x")
