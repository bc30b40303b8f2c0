"""An engine behind ssh; and where its files are, by what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.engines.scripted import reply, scripted

from tfnz_notebook._base.endpoints import parse
from tfnz_notebook.engines.docker import probe
from tfnz_notebook.engines.docker.engine import DockerEngine
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.errors import EngineGone, NoEngine

#: A stand-in for ssh: notes its arguments, forwards -L from socket to socket, here.
SSH = """#!{python}
import os, socket, sys, threading
with open("{home}/asked", "a") as noted:
    noted.write(" ".join(sys.argv[1:]) + "\\n")
if "id" in sys.argv:
    print(1000)
    sys.exit()
if os.path.exists("{home}/refuses"):
    sys.exit("Warning: first\\nme@box: Permission denied (publickey).")
local, _, remote = sys.argv[sys.argv.index("-L") + 1].partition(":")
def pump(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)
server = socket.socket(socket.AF_UNIX)
server.bind(local)
server.listen()
while True:
    client = server.accept()[0]
    beyond = socket.socket(socket.AF_UNIX)
    beyond.connect(remote)
    for pair in ((client, beyond), (beyond, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Short enough for sockets; with an ssh in it."""
    with tempfile.TemporaryDirectory(prefix="tfnz-") as name:
        path = Path(name)
        ssh = path / "ssh"
        ssh.write_text(SSH.format(python=sys.executable, home=path))
        ssh.chmod(0o755)
        (path / "run").mkdir()
        yield path


def answers(place: str = "/nonexistent/volume", info: Mapping[str, object] | None = None) -> Any:
    """An engine whose volumes lie there, and which says that of itself."""

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = head.split()[1]
        said: Any = {}
        if path.endswith("/version"):
            said = {"Version": "28.2.2", "MinAPIVersion": "1.24"}
        elif path.endswith("/create"):
            said = {"Mountpoint": place}
        elif path.endswith("/info"):
            said = dict(info or {})
        writer.write(reply(200, said, "Api-Version: 1.41", "Connection: close"))
        await writer.drain()

    return answer


def asked(home: Path) -> list[str]:
    return (home / "asked").read_text().splitlines()


@asynccontextmanager
async def behind(home: Path, address: str, name: str = "docker") -> AsyncIterator[DockerEngine]:
    environ = {**os.environ, "PATH": f"{home}:{os.environ['PATH']}"}
    engine = DockerEngine(
        name, runtime=home / "run", guest=home / "guest", owner="x",
        endpoints=[parse(address, {})], environ=environ,
    )  # fmt: skip
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close()


def test_it_is_reached_through_the_systems_ssh(home: Path) -> None:
    async def main() -> None:
        there = home / "there.sock"
        async with (
            scripted(there, answers()),
            behind(home, f"ssh://me@box:2222{there}") as engine,
        ):
            told = engine.about()
            assert told["address"] == f"ssh://me@box:2222{there}"
            assert told["transport"].startswith("exec (the engine is on another machine")
            (line,) = asked(home)
            assert line.endswith(f"-N -L {home}/run/engine-ssh.sock:{there} -- me@box")
            assert "BatchMode=yes" in line
            assert "-p 2222" in line
            # It ends: another is started, and the engine is reached again.
            forward = engine._forward
            assert forward is not None
            assert forward._process is not None
            os.kill(forward._process.pid, signal.SIGKILL)
            async with asyncio.timeout(20):
                answered = False
                while not answered or len(asked(home)) < 2:
                    await asyncio.sleep(0.01)
                    with contextlib.suppress(EngineGone):
                        answered = (await engine.client.request("GET", "/_ping")).status == 200
        assert not list((home / "run").iterdir())

    asyncio.run(main())


def test_what_ssh_says_is_said(home: Path) -> None:
    async def main() -> None:
        async with behind(home, "ssh://me@box"):
            pass

    (home / "refuses").touch()
    with pytest.raises(NoEngine, match=r"ssh://me@box: .*Permission denied \(publickey\)\. 'ssh"):
        asyncio.run(main())


def test_a_podman_over_there_is_its_users(home: Path) -> None:
    async def main() -> None:
        async with behind(home, "ssh://me@box", "podman"):
            pass

    (home / "refuses").touch()
    with pytest.raises(NoEngine, match="Cannot reach podman"):
        asyncio.run(main())
    assert asked(home)[0].endswith("-- me@box id -u")
    assert ":/run/user/1000/podman/podman.sock -- me@box" in asked(home)[1]


@pytest.mark.parametrize(("there", "transport"), [(True, "socket"), (False, "exec")])
def test_an_engine_with_other_files_is_reached_by_exec(
    home: Path, there: bool, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "socket_owner", lambda endpoint: 0)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    async def main() -> probe.Facts:
        place = str(home) if there else "/nonexistent/volume"
        async with scripted(home / "engine.sock", answers(place)) as client:
            return await probe.probe(client, None)

    facts = asyncio.run(main())
    assert facts.transport == transport
    assert ("its files are not this machine's" in facts.about()["transport"]) is not there
    assert json.dumps(facts.about())


def test_a_transport_that_is_asked_for(home: Path) -> None:
    async def main() -> tuple[str, str]:
        async with scripted(home / "engine.sock", answers()) as client:
            asked = (await probe.probe(client, "exec")).about()["transport"]
            unseen = Client(parse(str(home / "engine.sock")), "docker")
            return asked, await probe._elsewhere(unseen)

    chosen, unseen = asyncio.run(main())
    assert chosen == "exec (asked for)"
    assert "its process is not seen from here" in unseen


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"CgroupVersion": "1", "SecurityOptions": ["name=rootless"]}, False),
        ({"CgroupVersion": "2", "SecurityOptions": ["name=rootless"]}, True),
        ({"CgroupVersion": "1"}, True),
    ],
)
def test_limits_that_a_users_engine_does_not_keep(
    home: Path, said: dict[str, object], kept: bool
) -> None:
    async def main() -> probe.Facts:
        async with scripted(home / "engine.sock", answers(info=said)) as client:
            return await probe.probe(client, None)

    facts = asyncio.run(main())
    assert facts.quirks.cgroups is kept
    assert facts.limits.startswith("none: ") is not kept
