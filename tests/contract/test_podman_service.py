"""Podman's API service, started by ourselves on this very machine, with none of its helps.

Without CONTAINERS_CONF, Podman takes its own defaults: where cgroups are hybrid, crun, which
refuses; where CAP_SYS_RESOURCE is missing, limits that cannot be set. Both must be found out.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from contract.talk import talking

from tfnz_notebook._base import endpoints
from tfnz_notebook._base import proc as pids
from tfnz_notebook.engines.base import ContainerSpec
from tfnz_notebook.engines.docker.create import Quirks
from tfnz_notebook.engines.docker.engine import DockerEngine
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.engines.launch import binary as guest_binary
from tfnz_notebook.errors import NoEngine

pytestmark = pytest.mark.podman


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user who has set nothing, but for where the images are."""
    for name in ("CONTAINER_HOST", "DOCKER_HOST", "CONTAINERS_CONF"):
        monkeypatch.delenv(name, raising=False)
    return dict(os.environ)


@pytest.fixture
async def engine(bare: dict[str, str], short: Path) -> AsyncIterator[DockerEngine]:
    if shutil.which("podman") is None:
        reason = "there is no podman command. Install it: .ci/setup-system."
        if "podman" in os.environ.get("TFNZ_TEST_ENGINES", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    engine = make(bare, short)
    await engine.open()
    yield engine
    for found in await engine.find({}):
        await engine.remove(found.ref)
    await engine.close()


def make(environ: dict[str, str], runtime: Path, endpoints: object = None) -> DockerEngine:
    return DockerEngine(
        "podman",
        runtime=runtime,
        guest=guest_binary.locate(),
        owner=f"svc-{runtime.name}",
        environ=environ,
        endpoints=endpoints,  # type: ignore[arg-type]
    )


async def spawn(engine: DockerEngine, name: str) -> str:
    image = await engine.ensure_image("busybox", "never", lambda progress: None)
    spec = ContainerSpec(id=f"{engine.owner}-{name}", image="busybox", sleep=True)
    ref = await engine.create(spec, image)
    await engine.start(ref)
    return ref


async def test_containers_outlive_the_service(
    engine: DockerEngine, bare: dict[str, str], short: Path
) -> None:
    assert engine.about()["service"] == "ours"
    ref = await spawn(engine, "a")
    peer = engine.client.peer
    started = pids.start_time(peer)
    listens = Path(engine.client.endpoint.path or "")
    assert listens.parent.stat().st_mode & 0o077 == 0
    await engine.close()
    assert not pids.alive(peer, started)
    assert not listens.exists()
    fresh = make(bare, short)
    await fresh.open()
    try:
        assert (await fresh.inspect(ref)).status == "running"
        async with talking(fresh, ref) as talk:
            assert (await talk.run("echo", "alive"))[1] == b"alive\n"
    finally:
        await fresh.remove(ref)
        await fresh.close()
        await engine.open()


async def test_successor_uses_and_stops_what_a_killed_agent_left(
    engine: DockerEngine, bare: dict[str, str], short: Path
) -> None:
    peer = engine.client.peer
    started = pids.start_time(peer)
    successor = make(bare, short)
    await successor.open()
    assert successor.client.peer == peer
    await successor.close()
    assert not pids.alive(peer, started)
    await engine.close()
    await engine.open()


async def test_limits_found_out_by_failing(
    engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the probe cannot see the service, the first start tells, and is made good."""
    engine.facts = replace(engine.facts, quirks=Quirks())
    if pids.capable(os.getpid(), 24) is not False:
        monkeypatch.setattr(Client, "request", _refuse_first_start(Client.request))
    ref = await spawn(engine, "a")
    assert engine.facts.quirks.ulimits == pids.hard_limits(os.getpid())
    async with talking(engine, ref) as talk:
        assert (await talk.run("echo", "limited"))[1] == b"limited\n"
    (found,) = await engine.find({})
    assert found.ref == ref  # though the engine calls it something else
    assert (await engine.inspect(ref)).status == "running"
    second = await spawn(engine, "b")
    await engine.remove(second)
    await engine.remove(ref)
    assert await engine.find({}) == []


def _refuse_first_start(request: object) -> object:
    """On a machine that could raise its limits: answer the first start as one that cannot."""
    from tfnz_notebook.engines.http.client import Response

    refused: list[str] = []

    async def wrapped(self: Client, method: str, path: str, **options: object) -> Response:
        if path.endswith("/start") and not refused:
            refused.append(path)
            return Response(500, {}, b'{"message": "error setting rlimit type 7: not permitted"}')
        return await request(self, method, path, **options)  # type: ignore[operator, no-any-return]

    return wrapped


async def test_a_service_that_cannot_start_says_why(
    bare: dict[str, str], short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = short / "bin" / "podman"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\necho 'Error: storage is broken' >&2\nexit 125\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    engine = make({**bare, "PATH": os.environ["PATH"]}, short)
    with pytest.raises(NoEngine, match="storage is broken"):
        await engine.open()
    assert not [*short.glob("podman*")]


async def test_a_stale_socket_is_no_obstacle(
    bare: dict[str, str], short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's socket file is there and nobody listens: start our own all the same."""
    stale = short / "stale.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    monkeypatch.setattr(endpoints, "PODMAN_SYSTEM", str(stale))
    engine = make(bare, short)
    await engine.open()
    assert engine.about()["service"] == "ours"
    await engine.close()
