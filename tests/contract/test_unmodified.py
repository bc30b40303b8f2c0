"""Containers whose image's own first process is PID 1, with the guest beside it."""

from __future__ import annotations

import asyncio

import pytest
from contract.conftest import CLUSTER, CONTAINERS, Place
from contract.talk import talking
from contract.test_containers import ended, settled

from tfnz_notebook._wire.guest import Tag
from tfnz_notebook.errors import Misuse

contained = pytest.mark.only(CONTAINERS)

#: A small init: it must be PID 1, reaps what it is left, has a service, and ends as it is told.
INIT = """
[ $$ = 1 ] || exit 100
trap 'echo down; exit 7' TERM
trap 'echo reaped; wait' CHLD
echo "up as $(id -u) in $(pwd) with $GREETING"; echo complaint >&2
while :; do sleep 0.1 & wait $!; done
"""
COMMAND = ("sh", "-c", INIT)


async def said(place: Place, ref: str, *, until: bytes) -> dict[int, bytes]:
    """What its first process wrote, once that is among it."""
    streams = {1: b"", 2: b""}
    async with asyncio.timeout(30):
        async for stream, piece in place.engine.output(ref):
            streams[stream] += piece
            if until in streams[1]:
                break
    return streams


@contained
async def test_the_images_own_process_is_the_first(place: Place) -> None:
    ref = await place.run(
        command=COMMAND,
        unmodified=True,
        user="65534" if place.kind in CLUSTER else "nobody",
        workdir="/tmp",
        env={"GREETING": "hello"},
        files={"/etc/app.conf": b"conf\n"},
    )
    heard = {1: b"", 2: b""}

    async def listen() -> None:
        async for stream, piece in place.engine.output(ref):
            heard[stream] += piece

    listening = asyncio.create_task(listen())
    async with talking(place.engine, ref) as talk:
        hello = talk.connection[0]
        assert hello.integer(Tag.PID) > 1
        assert hello.integer(Tag.SLEEPING) == 1
        assert hello.integer(Tag.UID) == 65534
        names = "cat /proc/1/cmdline | tr '\\0' ' '; id -u; pwd; echo $GREETING"
        code, out, _ = await talk.run("sh", "-c", names)
        assert code == 0
        assert b"[ $$ = 1 ]" in out
        assert out.endswith(b"65534\n/tmp\nhello\n")
        assert (await talk.run("cat", "/etc/app.conf"))[1] == b"conf\n"
        parents = talk.spawn("sh", "-c", "sleep 1000 & echo $!; wait")
        await parents.until(lambda: parents.out.endswith(b"\n"))
        kill = f"kill -0 {parents.out.decode().strip()}"
        assert (await talk.run("sh", "-c", kill))[0] == 0
        assert (await said(place, ref, until=b"up as 65534 in /tmp with hello\n"))[1]
        await place.engine.stop(ref, 20)
    assert (await ended(place, ref)).exit_code == 7
    async with asyncio.timeout(30):
        await listening  # it is told to its end
    assert heard[1].endswith(b"down\n")
    assert b"complaint\n" in heard[1 if place.kind in CLUSTER else 2]


@contained
async def test_one_guest_is_enough_and_another_comes_when_it_was_killed(place: Place) -> None:
    ref = await place.run(command=COMMAND, unmodified=True)
    boots = []
    for _ in range(2):
        async with talking(place.engine, ref) as talk:
            boots.append(talk.connection[0].raw(Tag.BOOT))
            assert (await talk.run("id", "-u"))[1] == b"0\n"
    second = await place.second()  # as a fresh agent has it: from the labels
    async with talking(second, ref) as talk:
        boots.append(talk.connection[0].raw(Tag.BOOT))
        assert len(set(boots)) == 1
        talk.spawn("sh", "-c", f"kill -KILL {talk.connection[0].integer(Tag.PID)}; sleep 1000")
        await talk.until(lambda: bool(talk.closed))
    async with talking(second, ref) as talk:
        assert talk.connection[0].raw(Tag.BOOT) != boots[0]
        assert (await talk.run("echo", "fine"))[1] == b"fine\n"
    assert (await place.engine.inspect(ref)).status == "running"


@contained
@pytest.mark.either_way
async def test_the_images_own_command_serves(place: Place) -> None:
    ref = await place.run("nginx", unmodified=True, sleep=False)
    async with talking(place.engine, ref) as talk:
        assert (await talk.run("cat", "/proc/1/comm"))[1] == b"nginx\n"
        assert (await talk.page(80)).startswith(b"HTTP/1.1 200")
    told = await said(place, ref, until=b"GET / HTTP")
    assert b" 200 " in told[1]


@contained
@pytest.mark.either_way
async def test_one_that_ends_at_once_is_told(place: Place) -> None:
    ref = await place.create(command=("sh", "-c", "echo no; exit 3"), unmodified=True)
    await place.engine.start(ref)
    state = await settled(place, ref, lambda state: state.status == "exited")
    assert state.exit_code == 3
    assert (await said(place, ref, until=b"no\n"))[1] == b"no\n"


@contained
@pytest.mark.either_way
async def test_what_only_a_guest_could_is_refused(place: Place) -> None:
    wishes = [{"sleep": True}, {"sleep": False, "entrypoint": ("sh",)}]
    if place.kind in CLUSTER:
        wishes.append({"sleep": False, "user": "nobody"})
    else:
        wishes.append({"sleep": False, "files": {"/etc/hosts": b""}})
    for wish in wishes:
        with pytest.raises(Misuse, match="unmodified"):
            await place.create("nginx", unmodified=True, **wish)  # type: ignore[arg-type]


@pytest.mark.only(("fake", "host"))
async def test_who_has_no_first_process_says_so(place: Place) -> None:
    with pytest.raises(Misuse, match="unmodified"):
        await place.create(unmodified=True, command=("true",))
