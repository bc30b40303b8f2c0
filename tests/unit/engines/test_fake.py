"""The fake engine beyond the contract: programs of one's own, a registry, a world that stays."""

from __future__ import annotations

import pytest
from contract.talk import dial, talking

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Tag, Type
from tfnz_notebook.engines.base import ContainerSpec, Image, Progress
from tfnz_notebook.errors import ContainerFailed
from tfnz_notebook.testing import FakeEngine, Program, World


async def made(engine: FakeEngine, **options: object) -> str:
    options = {"sleep": "command" not in options, **options}
    await engine.open()
    image = await engine.ensure_image("busybox", "missing", lambda progress: None)
    ref = await engine.create(ContainerSpec("c1", "busybox", **options), image)  # type: ignore[arg-type]
    await engine.start(ref)
    return ref


async def test_program_of_ones_own() -> None:
    async def greet(p: Program) -> int:
        name = (await p.read()).strip()
        await p.write(b"hello " + name + b"\n")
        await p.write(b"oops", error=True)
        return 7

    engine = FakeEngine(programs={"greet": greet})
    async with talking(engine, await made(engine)) as talk:
        process = talk.spawn("/usr/bin/greet")
        process.stdin(b"you\n")
        assert await process.end() == 7
        assert process.out == b"hello you\n"
        assert process.output[wire.Stream.ERR] == b"oops"


async def test_program_that_raises_fails_alone() -> None:
    async def broken(p: Program) -> int:
        raise RuntimeError("no")

    engine = FakeEngine(programs={"broken": broken})
    async with talking(engine, await made(engine)) as talk:
        code, _, error = await talk.run("broken")
        assert code == 1
        assert error == b"RuntimeError: no\n"
        assert (await talk.run("true"))[0] == 0


async def test_shell_reads_lines_and_waits_for_more() -> None:
    engine = FakeEngine()
    async with talking(engine, await made(engine)) as talk:
        shell = talk.spawn("sh")
        await shell.first(Type.SPAWNED)
        shell.stdin(b"echo one; echo two\n")
        talk.send(wire.fixed(Type.AWAIT, shell.channel, 5, 19))
        waiting = await shell.first(Type.WAITING)
        assert waiting.values == (5, wire.Reason.INPUT, 19, 8, 0)
        assert shell.out == b"one\ntwo\n"
        talk.send(wire.fixed(Type.AWAIT, shell.channel, 6, 99))
        talk.send(wire.fixed(Type.CANCEL, shell.channel, 6))
        await shell.until(lambda: sum(f.type is Type.WAITING for f in shell.frames) == 2)
        assert shell.frames[-1].values[1] == wire.Reason.CANCELLED
        shell.stdin(b"exit 3\n", 19)
        assert await shell.end() == 3


async def test_spawn_refusals() -> None:
    engine = FakeEngine()
    async with talking(engine, await made(engine, files={"/data": b"x"})) as talk:
        for argv, cwd, errno, stage in (
            (("nope",), "", 2, "exec"),
            (("/data",), "", 13, "exec"),
            (("true",), "/none", 2, "cwd"),
            (("true",), "/data", 20, "cwd"),
        ):
            failed = await talk.spawn(*argv, cwd=cwd).first(Type.FAILED)
            assert (failed.integer(Tag.ERRNO), failed.text(Tag.STAGE)) == (errno, stage)


async def test_signals_and_samples() -> None:
    engine = FakeEngine()
    async with talking(engine, await made(engine)) as talk:
        process = talk.spawn("sleep", "1000")
        await process.first(Type.SPAWNED)
        talk.send(wire.fixed(Type.SAMPLE, wire.CONNECTION, 9))
        talk.send(wire.fixed(Type.SIGNAL, process.channel, 1, 0, wire.Target.TREE))
        assert (await process.first(Type.RESULT)).values == (1, 0, 1)
        talk.send(wire.fixed(Type.SIGNAL, process.channel, 2, 15, wire.Target.LEADER))
        assert await process.end() == -15
        await talk.until(lambda: any(f.type is Type.STATS for f in talk.connection))


async def test_a_registry_to_pull_from() -> None:
    world = World(registry={"team/app": Image("sha256:app", command=("true",))})
    engine = FakeEngine(world=world)
    await engine.open()
    seen: list[Progress] = []
    image = await engine.ensure_image("team/app", "missing", seen.append)
    assert image.command == ("true",)
    assert seen
    assert ("team/app:latest",) in [each.tags for each in await engine.images()]


async def test_world_outlives_its_engine() -> None:
    world = World()
    first = FakeEngine(world=world)
    ref = await made(first)
    await first.close()
    second = FakeEngine(world=world)
    await second.open()
    async with talking(second, ref) as talk:
        assert (await talk.run("echo", "still"))[1] == b"still\n"


async def test_unknown_user_fails_at_start() -> None:
    with pytest.raises(ContainerFailed, match="nosuch"):
        await made(FakeEngine(), user="nosuch")


async def test_talk_before_hello_ends_the_connection() -> None:
    engine = FakeEngine()
    talk = await dial(engine, await made(engine))
    talk.send(wire.fixed(Type.PING, wire.CONNECTION, 1))
    await talk.until(lambda: bool(talk.closed))
