"""Making, starting, stopping and removing containers, and what holds inside them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from contract.conftest import BARE, CLUSTER, CONTAINERS, MACHINE, USERS, Place
from contract.talk import talking

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook._wire.guest import Type
from tfnz_notebook.engines.base import (
    LABEL_CONTAINER,
    LABEL_OWNER,
    LABEL_SESSION,
    Scheduling,
    State,
)
from tfnz_notebook.engines.docker.engine import DockerEngine
from tfnz_notebook.errors import ContainerFailed, ContainerGone, EngineError, ImageMissing, Misuse

#: Only where a kernel contains something.
contained = pytest.mark.only(CONTAINERS)


async def settled(place: Place, ref: str, done: Callable[[State], bool]) -> State:
    """The state once it is so; engines notice an end a moment later."""
    async with asyncio.timeout(30):
        while not done(state := await place.engine.inspect(ref)):
            await asyncio.sleep(0.01)
    return state


async def ended(place: Place, ref: str) -> State:
    return await settled(place, ref, lambda state: state.status == "exited")


async def noted(place: Place, ref: str) -> State:
    """The same, once an agent took note of how its first process ended, for which a guest waits."""
    if place.kind != "fake":  # which does not
        async with talking(place.engine, ref) as talk:
            main = talk.on(wire.MAIN)
            for stream in (Which.OUT, Which.ERR):
                main.acknowledge(stream)
            await main.end()
            talk.send(wire.fixed(Type.FORGET, wire.MAIN))
    return await ended(place, ref)


# --- nodes and life ------------------------------------------------------------------------------


@pytest.mark.either_way
async def test_says_what_it_is(place: Place) -> None:
    assert place.engine.name == place.kind.partition("+")[0]
    assert place.engine.about()["engine"]
    nodes = await place.engine.nodes()
    assert place.kind in CLUSTER or len(nodes) == 1
    uncounted = await place.engine.nodes(counted=False)
    assert place.kind in CLUSTER or uncounted[0].containers is None
    for node in nodes:
        assert node.name
        assert node.cpus is None or node.cpu_free is None or 0 <= node.cpu_free <= node.cpus
        assert node.memory is None or node.memory_free is None or node.memory_free <= node.memory


async def test_says_where_one_is(place: Place) -> None:
    names = [node.name for node in await place.engine.nodes()]
    assert place.engine.where(await place.run()) in names


async def test_states_from_made_to_gone(place: Place) -> None:
    engine = place.engine
    ref = await place.create()
    assert (await engine.inspect(ref)).status == "created"
    await engine.start(ref)
    assert (await engine.inspect(ref)).status == "running"
    if place.kind not in CLUSTER:
        assert (await engine.nodes())[0].containers
    await engine.start(ref)  # again: nothing to do
    await engine.stop(ref, 5)
    assert (await ended(place, ref)).status == "exited"
    await engine.stop(ref, 5)
    await engine.remove(ref)
    assert await engine.inspect(ref) == State("gone")
    await engine.remove(ref)
    await engine.stop(ref, 1)
    for call in (engine.start(ref), engine.logs(ref)):
        with pytest.raises(ContainerGone):
            await call


async def test_starts_again_after_a_stop(place: Place, box: str) -> None:
    await place.engine.stop(box, 5)
    await ended(place, box)
    await place.engine.start(box)
    async with talking(place.engine, box) as talk:
        assert (await talk.run("echo", "again"))[1] == b"again\n"


async def test_sleeping_container_ends_at_once(place: Place, box: str) -> None:
    async with talking(place.engine, box):
        pass  # it has started
    loop = asyncio.get_running_loop()
    began = loop.time()
    await place.engine.stop(box, 9)
    assert loop.time() - began < 5


@pytest.mark.either_way
async def test_removes_what_will_not_stop(place: Place) -> None:
    ref = (
        await place.run(command=("sh", "-c", "trap '' TERM; sleep 1000; sleep 1000"))
        if (place.kind != "fake")
        else await place.run(command=("sleep", "1000"))
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    await place.engine.remove(ref)
    assert loop.time() - began < 8
    assert (await place.engine.inspect(ref)).status == "gone"


# --- the main process ----------------------------------------------------------------------------


#: How a first process is given, its exit code, and what its log has.
MAINS: dict[str, tuple[dict[str, Any], int, bytes]] = {
    "a code": ({"command": ("sh", "-c", "echo out; echo err >&2; exit 4")}, 4, b"out\n"),
    "stderr": ({"command": ("sh", "-c", "echo err >&2")}, 0, b"err\n"),
    "lines": ({"command": ("sh", "-c", "echo one; echo two; echo three")}, 0, b"two\nthree\n"),
    "no such program": ({"command": ("/no/such/program",)}, 127, b"/no/such/program"),
    # which drops the image's command
    "an entrypoint": ({"entrypoint": ("echo", "mine"), "sleep": False}, 0, b"mine\n"),
    # the host runs as its own user alone
    "a user": ({"user": "65534:65534", "command": ("id", "-u")}, 0, b"65534\n"),
}


async def test_main_processes(place: Place, subtests: pytest.Subtests) -> None:
    mains = {
        what: main for what, main in MAINS.items() if place.kind != "host" or "user" not in main[0]
    }

    # each is noted as it comes: a guest waits ten seconds for that
    starts = asyncio.Semaphore(4 if place.kind in CLUSTER else 1)

    async def life(options: dict[str, Any]) -> tuple[str, State]:
        async with starts:
            ref = await place.run(**options)
        return ref, await noted(place, ref)

    lives = await asyncio.gather(*(life(options) for options, _, _ in mains.values()))
    refs, states = zip(*lives, strict=True)
    found = {each.ref: each.state for each in await place.engine.find({})}
    for (what, (_, code, log)), ref, state in zip(mains.items(), refs, states, strict=True):
        with subtests.test(what):
            assert state.exit_code == found[ref].exit_code == code
            assert found[ref].status == "exited"
            whole = await place.engine.logs(ref)
            assert log in whole
            assert what != "an entrypoint" or whole == log
            if what == "lines":
                assert await place.engine.logs(ref, tail=2) == log


async def test_sleeping_container_starts_its_command_later(place: Place) -> None:
    ref = await place.run(command=("sh", "-c", "echo late; exit 6"), sleep=True)
    async with talking(place.engine, ref) as talk:
        talk.send(wire.fixed(Type.START, wire.MAIN, 1))
        main = talk.on(wire.MAIN)
        assert await main.end() == 6
        assert main.out == b"late\n"
        talk.send(wire.fixed(Type.FORGET, wire.MAIN))
    assert (await ended(place, ref)).exit_code == 6


@pytest.mark.either_way
@pytest.mark.only(("fake", *CONTAINERS))  # on the host, no command means to sleep
async def test_nothing_to_run(place: Place) -> None:
    image = await place.image("tfnz-empty")

    async def run() -> None:
        ref = await place.engine.create(place.spec("tfnz-empty", sleep=False), image)
        await place.engine.start(ref)  # a cluster knows only then

    with pytest.raises(Misuse, match="sleep=True"):
        await run()


# --- what it was asked for -----------------------------------------------------------------------


async def test_environment_merges(place: Place) -> None:
    ref = await place.run(env={"TFNZ_A": "1", "TFNZ_B": "with = and spaces"})
    async with talking(place.engine, ref) as talk:
        _, out, _ = await talk.run("env", env=("TFNZ_C=3",))
    lines = out.splitlines()
    assert {b"TFNZ_A=1", b"TFNZ_B=with = and spaces", b"TFNZ_C=3"} <= {*lines}
    assert any(line.startswith(b"PATH=") for line in lines)


@pytest.mark.only(("docker+exec",))
async def test_proxies_are_the_docker_commands(place: Place, tmp_path: Path) -> None:
    assert isinstance(place.engine, DockerEngine)
    told = {"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a"}}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    place.engine._environ = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
    ref = await place.create(env={"no_proxy": "mine"})
    said = await place.engine._inspect(ref)
    assert said is not None
    found = {each for each in said["Config"]["Env"] if "prox" in each.lower()}
    assert found == {
        *("HTTP_PROXY=http://p:1", "http_proxy=http://p:1"),
        *("NO_PROXY=a", "no_proxy=mine"),
    }


@pytest.mark.either_way
async def test_bad_environment(place: Place, subtests: pytest.Subtests) -> None:
    for env in ({"": "x"}, {"A=B": "x"}, {"A": 1}, {"A": "nul\0"}):
        with subtests.test(repr(env)), pytest.raises(Misuse, match="Cannot set"):
            await place.create(env=env)


@pytest.mark.either_way
async def test_working_directory(place: Place) -> None:
    ref = await place.run(workdir="/tmp")
    async with talking(place.engine, ref) as talk:
        assert (await talk.run("pwd"))[1] == b"/tmp\n"


@pytest.mark.either_way
@pytest.mark.only(("fake", *CONTAINERS))
async def test_unknown_user(place: Place) -> None:
    try:
        ref = await place.run(user="nosuchuser", command=("echo", "x"))
    except ContainerFailed as error:
        assert "nosuchuser" in str(error)  # noqa: PT017 - or, below, the container fails later
        return
    assert (await noted(place, ref)).exit_code not in (0, None)


@pytest.mark.either_way
@contained
async def test_hostname_and_name(place: Place) -> None:
    name = f"{place.owner}-web"
    ref = await place.run(hostname="pluto", name=name)
    async with talking(place.engine, ref) as talk:
        assert (await talk.run("hostname"))[1] == b"pluto\n"
    with pytest.raises(Misuse, match="taken"):
        await place.create(name=name)


@pytest.mark.cgroups
@pytest.mark.either_way
@contained
async def test_limits(place: Place) -> None:
    pids = {} if place.kind in CLUSTER else {"pids": 77}
    ref = await place.run(memory=64 << 20, cpu=0.5, **pids)
    async with talking(place.engine, ref) as talk:
        for files, wanted in (
            (("memory/memory.limit_in_bytes", "memory.max"), b"67108864"),
            (("pids/pids.max", "pids.max"), b"77"),
            (("cpu/cpu.cfs_quota_us", "cpu.max"), b"50000"),
        ):
            if not pids and files[1] == "pids.max":
                continue
            said = [(await talk.run("cat", f"/sys/fs/cgroup/{path}"))[1] for path in files]
            assert any(out.split()[:1] == [wanted] for out in said), (files, said)


@pytest.mark.cgroups
@contained
async def test_out_of_memory(place: Place) -> None:
    ref = await place.run(command=("tail", "/dev/zero"), memory=32 << 20, sleep=True)
    async with talking(place.engine, ref) as talk:
        talk.send(wire.fixed(Type.START, wire.MAIN, 1))
        main = talk.on(wire.MAIN)
        assert await main.end() == -9
        assert (await main.first(Type.EXIT)).values[1] & wire.Flag.OOM
        talk.send(wire.fixed(Type.FORGET, wire.MAIN))
    state = await ended(place, ref)
    assert state.exit_code == 137
    if place.kind.startswith("docker"):  # Podman 4.3 writes it down where it does not look
        assert state.oom_killed


@pytest.mark.either_way
@contained
async def test_privileges_are_few(place: Place, box: str) -> None:
    async with talking(place.engine, box) as talk:
        status = (await talk.run("cat", "/proc/self/status"))[1].decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    powers = int(fields["CapEff"], 16)
    for bit in (12, 16, 19, 21, 24):  # net_admin, sys_module, sys_ptrace, sys_admin, sys_resource
        assert not powers >> bit & 1


@contained
async def test_read_only_root(place: Place) -> None:
    ref = await place.run(read_only=True)
    async with talking(place.engine, ref) as talk:
        code, _, error = await talk.run("touch", "/file")
        assert code == 1
        assert b"Read-only" in error
        code, _, _ = await talk.run("touch", "/.tfnz/guest")
        assert code == 1 or place.kind.endswith("exec")


@contained
async def test_empty_image(place: Place) -> None:
    for read_only in (False, True):
        ref = await place.run("tfnz-empty", sleep=True, read_only=read_only)
        async with talking(place.engine, ref) as talk:
            guest = "/.tfnz/bin/guest" if place.kind in CLUSTER else "/.tfnz/guest"
            code, out, _ = await talk.run(guest, "version")
            assert code == 0
            assert out.startswith(b"tfnz-guest")


@pytest.mark.either_way
@pytest.mark.only(MACHINE)
async def test_no_network_and_yet_a_tunnel(place: Place) -> None:
    files, serve = {"/www/index.html": b"here"}, ("httpd", "-f", "-p", "80", "-h", "/www")
    ref = await place.run(network="none", sleep=False, command=serve, files=files)
    async with talking(place.engine, ref) as talk:
        assert (await talk.page(80)).endswith(b"\r\nhere")
        _, routes, _ = await talk.run("cat", "/proc/net/route")
        assert len(routes.splitlines()) <= 1
    assert (await place.engine.inspect(ref)).ip == ""


@pytest.mark.either_way
@contained
async def test_has_an_address(place: Place, box: str) -> None:
    ip = (await place.engine.inspect(box)).ip
    assert ip.count(".") == 3 or (place.kind in USERS and ip == "")


@pytest.mark.only(("host",))
async def test_host_refuses_what_it_cannot(place: Place, subtests: pytest.Subtests) -> None:
    wishes: dict[str, object] = {
        "cpu": 1.0,
        "memory": 1 << 20,
        "network": "none",
        "read_only": True,
        "hostname": "x",
        "user": "nobody",
        "capabilities": ("KILL",),
        "new_privileges": True,
    }
    for name, value in wishes.items():
        with subtests.test(name), pytest.raises(Misuse, match="on the host"):
            await place.create(**{name: value})


@pytest.mark.only(("fake", "host", *MACHINE))
@pytest.mark.either_way
async def test_what_only_a_cluster_has_is_refused(place: Place, subtests: pytest.Subtests) -> None:
    wishes: dict[str, object] = {
        "runtime_class": "gvisor",
        "node_selector": {"a": "b"},
        "tolerations": ({"key": "a"},),
        "pull_secrets": ("ours",),
        "gpus": {"nvidia.com/gpu": 1},
    }
    assert [*wishes] == [each.name for each in fields(Scheduling)]
    for name, value in wishes.items():
        with subtests.test(name), pytest.raises(Misuse, match=f"with {name}= on"):
            await place.create(scheduling=Scheduling(**{name: value}))  # type: ignore[arg-type]


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.either_way
async def test_found_by_labels(place: Place) -> None:
    first = await place.create(labels={LABEL_SESSION: "a", "x.y": json.dumps({"k": "v"})})
    second = await place.create(labels={LABEL_SESSION: "b"})
    found = {entry.ref: entry for entry in await place.engine.find({})}
    assert {*found} == {first, second}
    assert found[first].labels["x.y"] == '{"k": "v"}'
    assert found[first].labels[LABEL_OWNER] == place.owner
    assert found[first].labels[LABEL_CONTAINER] == f"{place.owner}-1"
    assert found[first].state.status == "created"
    assert [e.ref for e in await place.engine.find({LABEL_SESSION: "b"})] == [second]
    assert await place.engine.find({LABEL_SESSION: "b", "x.y": "no"}) == []


@pytest.mark.either_way
async def test_another_owner_is_left_alone(place: Place) -> None:
    other = await place.second(owner=f"{place.owner}-other", runtime=place.runtime / "other")
    image = await other.ensure_image("busybox", "never", lambda progress: None)
    theirs = await other.create(place.spec(labels={LABEL_SESSION: "a"}), image)
    assert await place.engine.find({}) == []
    assert await place.engine.find({LABEL_SESSION: "a"}) == []
    try:
        await place.engine.remove(theirs)
    except (Misuse, ContainerGone):
        pass
    assert (await other.inspect(theirs)).status == "created"
    await other.remove(theirs)


# --- pausing -------------------------------------------------------------------------------------

#: Where an engine can pause.
pausing = pytest.mark.only(("fake", *MACHINE))


@pytest.mark.cgroups
@pausing
@pytest.mark.either_way
async def test_paused_it_says_nothing_and_goes_on_where_it_was(place: Place, box: str) -> None:
    engine = place.engine
    async with talking(engine, box) as talk:
        await engine.pause(box)
        await engine.pause(box)
        assert (await engine.inspect(box)).status == "paused"
        said = len(talk.connection)
        talk.send(wire.fixed(Type.PING, wire.CONNECTION, 7))
        await asyncio.sleep(0.2)
        assert len(talk.connection) == said
        await engine.unpause(box)
        await engine.unpause(box)
        assert (await engine.inspect(box)).status == "running"
        await talk.until(lambda: len(talk.connection) > said)
        assert talk.connection[-1].type is Type.PONG


@pytest.mark.cgroups
@pausing
async def test_a_paused_one_is_removed(place: Place, box: str) -> None:
    await place.engine.pause(box)
    await place.engine.remove(box)
    assert (await place.engine.inspect(box)).status == "gone"


async def test_what_cannot_be_paused_is_told(place: Place) -> None:
    ref = await place.create()
    with pytest.raises((EngineError, ContainerGone), match=r"^Cannot .*\."):
        await place.engine.pause(ref)
    with pytest.raises((EngineError, ContainerGone), match=r"^Cannot .*\."):
        await place.engine.pause("0" * 64)


@pytest.mark.either_way
async def test_made_anew_it_is_as_if_never_used(place: Place) -> None:
    engine, spec, image = place.engine, place.spec(), await place.image()
    ref = await engine.create(spec, image)
    await engine.start(ref)
    await engine.stop(ref, 1)
    await ended(place, ref)
    again = await engine.recreate(ref, spec, image)
    assert len(await engine.find({})) == 1
    await engine.start(again)
    async with talking(engine, again) as talk:
        assert (await talk.run("echo", "anew"))[1] == b"anew\n"


@contained
@pytest.mark.either_way
async def test_one_that_cannot_be_made_anew_stays(place: Place) -> None:
    engine, image = place.engine, await place.image()
    spec = place.spec()
    ref = await engine.create(spec, image)
    with pytest.raises(ImageMissing):
        await engine.recreate(ref, replace(spec, image="tfnz-nowhere:1"), image)
    await engine.start(ref)
    async with talking(engine, ref) as talk:
        assert (await talk.run("echo", "kept"))[1] == b"kept\n"


@pytest.mark.only(BARE)
async def test_who_has_no_part_in_cgroups_is_told(place: Place, box: str) -> None:
    lacks = place.engine.lacks(place.spec(memory=64 << 20, cpu=0.5))
    assert lacks == {"limits": place.engine.about()["limits"]}
    assert lacks["limits"].startswith("none: ")
    with pytest.raises(EngineError, match="^Cannot pause the container: .*cgroup"):
        await place.engine.pause(box)


@pytest.mark.cgroups  # it pauses
@pytest.mark.only(MACHINE)
@pytest.mark.either_way
async def test_what_others_do_is_told(place: Place, box: str) -> None:
    told: list[str] = []
    second = await place.second()
    watching = asyncio.create_task(second.watch(told.append))
    try:
        async with asyncio.timeout(30):
            while not told:  # it takes a moment until it listens
                await place.engine.pause(box)
                await place.engine.unpause(box)
                await asyncio.sleep(0.05)
        assert set(told) == {box}
    finally:
        watching.cancel()
