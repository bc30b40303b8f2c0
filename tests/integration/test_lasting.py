"""What lasts: processes through an upgrade, what was typed, transcripts in another kernel."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.notebook import Notebook
from integration.polling import until
from integration.scripts import Script
from integration.world import PYTHON, World

import tfnz_notebook
from tfnz_notebook.errors import AgentError
from tfnz_notebook.location import Location

GUEST = Path(__file__).parents[2] / "tfnz_notebook" / "_guest"

#: What makes the code that follows it an earlier version's, of the same protocol.
EARLIER = """
import sys, tfnz_notebook
tfnz_notebook.__version__ = "0.0.9"
"""
AGENT = f"""{EARLIER}
from tfnz_notebook.agent.__main__ import main
sys.exit(main(sys.argv[1:]))
"""

#: Writes numbered lines of 32 bytes, some megabytes a second, until it is told to end with a code.
WRITER = """
import os, select, sys, time
number = 0
while not select.select([0], [], [], 0)[0]:
    block = b"".join(b"%031d\\n" % n for n in range(number, number + 500))
    number += 500
    while block: block = block[os.write(1, block):]
    time.sleep(0.002)
sys.exit(int(sys.stdin.readline()))
"""

#: An earlier kernel that reads two of these with callbacks, through whatever happens to its agent.
KERNEL = f"""{EARLIER}
from tfnz_notebook.location import Location
WRITER = {WRITER!r}
location = Location(sys.argv[1])
container = location.best_node().spawn_container("debian", sleep=True)
came = {{1: [], 2: []}}
ended = container.spawn_process("echo before; exit 3")
ended.wait()
writers = [
    container.spawn_process(
        ["python3", "-c", WRITER], data_callback=lambda p, data, n=n: came[n].append(data)
    )
    for n in (1, 2)
]
cat = container.spawn_process("cat")
cat.stdin(b"before\\n")
pids = [process.pid for process in writers]
while not all(map(sum, ([len(piece) for piece in pieces] for pieces in came.values()))): pass
print("up", container.id, flush=True)
sys.stdin.readline()
for process, code in zip(writers, (7, 8)):
    process.stdin(b"%d\\n" % code)
codes = [process.wait(60) for process in writers]
for number, process in zip((1, 2), writers):
    whole = b"".join(came[number])
    lines = len(whole) // 32
    assert whole == b"".join(b"%031d\\n" % n for n in range(lines)), "lost, doubled or changed"
    assert process.stdout == whole, "and again from the log"
    print(number, lines)
cat.stdin(b"after\\n"); cat.close_stdin()
assert cat.wait_until_complete(30) == b"before\\nafter\\n"
assert pids == [int(container.run_process(f"echo {{p}}").stdout) for p in pids]
assert (ended.stdout, ended.returncode) == (b"before\\n", 3)
print("agent", location._link.agent, "codes", *codes)
"""


@pytest.fixture(scope="module")
def another_guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guest of a later protocol that still speaks ours: versions 1 to 7."""
    folder = tmp_path_factory.mktemp("guest")
    shutil.copytree(GUEST, folder, dirs_exist_ok=True)
    header = folder / "protocol.h"
    header.write_text(re.sub(r"#define VERSION 1\b", "#define VERSION 7", header.read_text()))
    made = folder / "guest"
    sources = sorted(map(str, folder.rglob("*.c")))
    flags = [f"-I{folder}", "-std=c11", "-D_GNU_SOURCE", "-Os", "-static", "-s", "-o", str(made)]
    subprocess.run(["musl-gcc", *flags, *sources], check=True, timeout=100)
    return made


@pytest.fixture
def earlier(
    own_world: Callable[..., World], where: str, another_guest: Path
) -> Iterator[tuple[World, subprocess.Popen[bytes]]]:
    """A world in which an agent of an earlier version serves."""
    world = own_world()
    file = world.home / "agent.py"
    file.write_text(AGENT)
    environment = world.environment(TFNZ_GUEST_BINARY=str(another_guest))
    with (world.home / "agent.log").open("wb") as log:
        agent = subprocess.Popen(
            [*PYTHON, str(file), "serve", "--where", where],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    until(lambda: where in world.agents(), 30, "it serves")
    yield world, agent
    if agent.poll() is None:
        agent.kill()
    agent.wait()


@pytest.mark.engines("host", "podman")
def test_an_upgrade_is_not_noticed(
    earlier: tuple[World, subprocess.Popen[bytes]], where: str
) -> None:
    world, agent = earlier
    with Script(world, KERNEL, where) as kernel:
        until(lambda: kernel.lines or kernel.process.poll() is not None, 60, "they write")
        assert kernel.lines, kernel.errors
        assert world.agents()[where] == agent.pid
        with Location(where) as location:
            assert agent.wait(30) == 0, "the earlier agent has made room"
            assert location._link.agent == tfnz_notebook.__version__
            now = world.agents()[where]
            box = location.best_node().spawn_container("debian", sleep=True)
            assert box.run_process("echo works").stdout == b"works\n"
        assert kernel.process.stdin is not None
        kernel.process.stdin.write("end\n")
        kernel.process.stdin.flush()
        said = kernel.wait(90)
        assert f"agent {tfnz_notebook.__version__} codes 7 8" in said
        assert world.agents()[where] == now, "an earlier kernel replaces no later agent"


@pytest.mark.engines("host")
def test_versions_that_have_nothing_in_common_are_named(
    world: World, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Location(where) as location:
        monkeypatch.setattr("tfnz_notebook._wire.link.VERSION", 99)
        monkeypatch.setattr("tfnz_notebook._wire.link.VERSION_MIN", 98)
        monkeypatch.setattr("tfnz_notebook._link.hello.__version__", "9.9")
        with pytest.raises(AgentError, match=r"of 9\.9 and speak 98 to 99.*Install the same"):
            Location(where)
        assert location.best_node().name


# --- what is typed -------------------------------------------------------------------------------


@pytest.mark.engines("host", "podman")
def test_what_is_typed_arrives_once_whatever_becomes_of_the_agent(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world()
    with Location(where) as location:
        cat = location.best_node().spawn_container("debian", sleep=True).spawn_process("cat")
        written = b""
        for death in range(4):
            for number in range(30):
                line = b"%d.%d %s\n" % (death, number, b"x" * (number * 997 % 50_000))
                written += line
                cat.stdin(line)
                if number == 7 * death:
                    os.kill(world.agents()[where], signal.SIGKILL)
        cat.close_stdin()
        os.kill(world.agents()[where], signal.SIGKILL)
        assert cat.wait_until_complete(timeout=60) == written


ANSWER = b"echo begun; while [ ! -e %s/go ]; do sleep 0.02; done; echo done\n"


@pytest.mark.engines("host", "podman")
def test_a_question_is_answered_although_the_agent_dies_meanwhile(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world()
    with Location(where) as location:
        container = location.best_node().spawn_container("debian", sleep=True)
        shell = container.spawn_process("bash")
        folder = shell.stdin(b"mktemp -d\n", return_reply=True).strip()

        async def ask() -> bytes | None:
            question = asyncio.create_task(
                shell.aio.stdin(ANSWER % folder, return_reply=True, timeout=60)
            )
            async for chunk in shell.chunks(offset=len(folder) + 1):
                if b"begun" in chunk:
                    break
            world.kill_agent(where)
            await container.aio.run_process(b"touch %s/go".decode() % folder.decode())
            return await question

        assert asyncio.run(ask()) == b"begun\ndone\n", "it was written once, and all came back"
        ending = shell.stdin(b"rm -r %s; echo bye; exit 4\n" % folder, return_reply=True)
        assert (ending, shell.wait(30)) == (b"bye\n", 4)


# --- in another kernel ---------------------------------------------------------------------------


@pytest.mark.engines("host", "podman")
def test_what_ended_while_no_agent_was_there_has_its_output_and_its_code(
    own_world: Callable[..., World], where: str, tmp_path: Path
) -> None:
    world = own_world()
    with Location(where, session="kept") as location:
        container = location.best_node().spawn_container("debian", sleep=True, tag="box")
        small = container.spawn_process("read go; echo small; echo err >&2; exit 5")
        large = container.spawn_process("seq 1 100000; read go; seq 100001 130000; exit 6")
        until(lambda: len(large.log()) > 500_000, 30, "it writes")
        ids = [small.id, large.id]
        gone = container.spawn_process("sleep 0.3; kill -9 $$")
        ids.append(gone.id)
        small.stdin(b"go\n")
        large.stdin(b"go\n")
    world.kill_agent(where)
    with Location(where, session="kept") as location:
        found = {each.id: each for each in location.container("box").all_processes(ended=True)}
        small, large, gone = (found[ident] for ident in ids)
        assert (small.wait(30), small.stdout, small.stderr) == (5, b"small\n", b"err\n")
        expected = b"".join(b"%d\n" % n for n in range(1, 130_001))
        assert (large.wait(30), large.stdout) == (6, expected)
        assert gone.wait(30) == -9
        pieces = large.chunks(offset=1000)
        assert next(pieces) == expected[1000 : pieces.offset]
        assert b"".join(large.chunks(offset=pieces.offset)) == expected[pieces.offset :]
        assert large.elided() == pieces.elided == 0
        location.container("box").destroy()


@pytest.mark.engines("host")
def test_a_timeout_holds_under_the_next_agent(own_world: Callable[..., World], where: str) -> None:
    world = own_world()
    with Location(where) as location:
        container = location.best_node().spawn_container("debian", sleep=True)
        process = container.spawn_process("exec sleep 1000", timeout=2)
        world.kill_agent(where)
        assert process.wait(30) == -signal.SIGTERM
        assert process.timed_out


@pytest.mark.engines("host")
def test_callbacks_are_bound_again_where_others_left_off(world: World, where: str) -> None:
    session = f"again-{os.getpid()}"
    with Location(where, session=session) as location:
        container = location.best_node().spawn_container("debian", sleep=True, tag="box")
        process = container.spawn_process("echo one; echo 1 >&2; read go; echo two; echo 2 >&2")
        until(lambda: process.stdout and process.stderr, 10, "it has written")
    came: list[bytes] = []
    codes: list[int] = []
    with Location(where, session=session) as location:
        (process,) = location.container("box").all_processes()
        process.attach(
            lambda process, data: came.append(data),
            lambda process, code: codes.append(code),
            lambda process, data: came.append(data),
            offset=len("one\n"),
            stderr_offset=len("1\n"),
        )
        process.stdin(b"go\n")
        process.wait(20)
        assert (sorted(came), codes) == ([b"2\n", b"two\n"], [0])
        location.container("box").destroy()


@pytest.mark.engines("host")
def test_what_a_full_quota_dropped_is_said(own_world: Callable[..., World], where: str) -> None:
    own_world(TFNZ_SPOOL_QUOTA=str(1 << 20))
    with Location(where) as location:
        container = location.best_node().spawn_container("debian", sleep=True)
        process = container.spawn_process("seq 1 1000000", retain="tail")
        process.wait(60)
        whole = b"".join(b"%d\n" % n for n in range(1, 1_000_001))
        gone = process.elided()
        assert 0 < gone < len(whole)
        assert process.stdout == whole[gone:]
        lines = process.lines(offset=10)
        assert next(lines) == whole[gone:].partition(b"\n")[0]
        assert lines.elided == gone - 10
        waits = container.spawn_process("seq 1 1000000")
        until(lambda: "quota" in waits.stalled, 30, "it says why it does not go on")
        assert "quota" in repr(waits)
        waits.destroy(grace=0)
        written = waits.stdout
        assert written == whole[: len(written)]


@pytest.mark.engines("host")
def test_attaching_after_a_restart_of_the_kernel(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world()
    with Notebook(world, where) as first:
        first.run("%load_ext tfnz_notebook\n%tf_connect --session lasting")
        first.run("box = %tf_spawn -z debian")
        first.run("p = %tf_run -d box seq 1 3000; read go; echo gone on")
        first.process.kill()
        first.process.wait()
    with Notebook(world, where) as second:
        second.run("%load_ext tfnz_notebook")
        cell = second.run("%tf_attach lasting")

        def shown(text: str) -> bool:
            found = second.of(cell, "display_data", "update_display_data")
            return any(text in str(each.content) for each in found)

        until(lambda: shown("2999"), 20, "its transcript is shown")
        told = second.run(
            "box, = get_ipython().run_line_magic('tf_connect', '').containers()\n"
            "process, = box.all_processes()\n"
            "process.stdin(b'go\\n'); print(process.wait(), process.log()[-8:])"
        )
        assert second.text(told) == "0 b'gone on\\n'\n"

        until(lambda: shown("gone on"), 20, "and what came afterwards")
        second.run("box.destroy()")
