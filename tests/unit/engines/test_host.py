"""The host engine without a guest: its state files, its log, what it tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tfnz_notebook._base import proc as pids
from tfnz_notebook.engines.base import ContainerSpec, Image, State
from tfnz_notebook.engines.host import engine as host
from tfnz_notebook.engines.host import state as host_state
from tfnz_notebook.engines.host.state import Record
from tfnz_notebook.errors import ContainerFailed, Misuse, NoEngine


def record(**options: object) -> Record:
    return Record("c1", {"l": "1"}, ["guest", "init"], "/", **options)  # type: ignore[arg-type]


def test_state_survives(tmp_path: Path) -> None:
    home = tmp_path / "c1"
    home.mkdir()
    kept = record(env={"SECRET": "x"}, pid=7, started=8)
    host_state.write(home, kept)
    assert (home / "state.json").stat().st_mode & 0o777 == 0o600
    assert host_state.read(home) == kept
    assert [*host_state.records(tmp_path)] == [kept]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"ref": "c1"}', "null"])
def test_broken_state_is_no_container(tmp_path: Path, content: str) -> None:
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "state.json").write_text(content)
    assert host_state.read(tmp_path / "c1") is None
    assert [*host_state.records(tmp_path)] == []


def test_state_of_another_name_is_not_believed(tmp_path: Path) -> None:
    home = tmp_path / "c1"
    home.mkdir()
    host_state.write(home, record())
    home.rename(tmp_path / "c2")
    assert host_state.read(tmp_path / "c2") is None


def test_no_containers_yet(tmp_path: Path) -> None:
    assert [*host_state.records(tmp_path / "none")] == []


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("text", ["echo something", "exit 1", None])
async def test_open_tries_the_guest(tmp_path: Path, text: str | None) -> None:
    guest = tmp_path / "guest" if text is None else program(tmp_path / "guest", text)
    engine = host.HostEngine(runtime=tmp_path, guest=guest, owner="o")
    with pytest.raises(NoEngine, match="TFNZ_GUEST_BINARY"):
        await engine.open()


@pytest.fixture
async def engine(short: Path) -> host.HostEngine:
    """On a 'guest' that only sleeps, and ignores TERM."""
    text = 'test "$1" = version && exec echo tfnz-guest 1\ntrap "" TERM\nwhile :; do sleep 1; done'
    engine = host.HostEngine(runtime=short, guest=program(short / "guest", text), owner="o")
    await engine.open()
    return engine


async def test_kills_what_ignores_term(engine: host.HostEngine, short: Path) -> None:
    ref = await engine.create(ContainerSpec("c1", "host"), Image("host"))
    await engine.start(ref)
    pid = json.loads((short / "host" / ref / "state.json").read_text())["pid"]
    started = pids.start_time(pid)
    assert os.getsid(pid) == pid  # a session of its own: it outlives the agent
    while not pids.descendants(pid):  # its shell has come as far as sleeping
        assert pids.alive(pid, started)
    (below,) = pids.descendants(pid)[:1]
    assert await engine.inspect(ref) == State("running", ip="127.0.0.1")
    await engine.remove(ref)
    assert not pids.alive(pid, started)
    assert not pids.alive(below, pids.start_time(below))
    assert not (short / "host" / ref).exists()
    await engine.close()


async def test_adopted_guest_leaves_no_exit_code(engine: host.HostEngine, short: Path) -> None:
    ref = await engine.create(ContainerSpec("c1", "host"), Image("host"))
    await engine.start(ref)
    other = host.HostEngine(runtime=short, guest=short / "guest", owner="o")
    (found,) = await other.find({})
    assert found.state.status == "running"
    pid = json.loads((short / "host" / ref / "state.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    state = await other.inspect(ref)
    while state.status == "running":
        state = await other.inspect(ref)
    assert state == State("exited", None)
    while (state := await engine.inspect(ref)).status == "running":
        pass
    assert state == State("exited", 137)
    assert await other.inspect(ref) == State("exited", 137)  # whoever saw it wrote it down
    await engine.remove(ref)
    await engine.close()


async def test_long_paths_and_bad_ids(engine: host.HostEngine, tmp_path: Path) -> None:
    for bad in ("", "../x", "a/b", "x" * 65, ".hidden"):
        with pytest.raises(Misuse, match="Choose another"):
            await engine.create(ContainerSpec(bad, "host"), Image("host"))
    far = host.HostEngine(runtime=tmp_path / ("d" * 100), guest=Path("/g"), owner="o")
    with pytest.raises(Misuse, match="too long"):
        await far.create(ContainerSpec("c1", "host"), Image("host"))
    with pytest.raises(Misuse, match="no directory"):
        await engine.create(ContainerSpec("c1", "host", workdir="/no/such"), Image("host"))
    await engine.create(ContainerSpec("c1", "host"), Image("host"))
    with pytest.raises(Misuse, match="exists"):
        await engine.create(ContainerSpec("c1", "host"), Image("host"))
    await engine.remove("c1")
    await engine.close()


async def test_guest_that_vanished(engine: host.HostEngine, short: Path) -> None:
    ref = await engine.create(ContainerSpec("c1", "host"), Image("host"))
    (short / "guest").unlink()
    with pytest.raises(ContainerFailed, match="Cannot start the guest"):
        await engine.start(ref)
    await engine.remove(ref)
    await engine.close()


def test_long_log_gives_its_beginning_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        for number in range(20):
            log.write(bytes([65 + number]) * (1 << 20))
    with path.open("r+b") as log:
        host._trim(log.fileno())
    status = path.stat()
    assert status.st_size == 20 << 20
    assert status.st_blocks * 512 <= 9 << 20
    with path.open("rb") as log:
        log.seek(-(8 << 20), os.SEEK_END)
        assert log.read(1) == b"M"


def test_kill_tree_reaches_what_changed_its_session(tmp_path: Path) -> None:
    script = "setsid sleep 1000 & sleep 1000 & echo ready; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as top:
        assert top.stdout is not None
        top.stdout.readline()
        while len(below := pids.descendants(top.pid)) < 2:
            assert top.poll() is None
        ages = {pid: pids.start_time(pid) for pid in below}
        pids.kill_tree(top.pid, pids.start_time(top.pid))
        top.wait(10)
        while any(pids.alive(pid, started) for pid, started in ages.items()):
            pass
    pids.kill_tree(top.pid, 1)  # long gone: nothing happens
