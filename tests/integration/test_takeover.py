"""A kernel of this version comes where an agent of 0.1 works: all goes on, and no byte is lost.

The earlier kernel and its agent are real: a wheel of their time, in processes of their own. 0.1
called agents by the engine's word alone, so all they left lies under other names than ours.
"""

import json
import os
import re
import signal
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration import earlier
from integration.polling import until
from integration.scripts import Script
from integration.world import World, alive

import tfnz_notebook
from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process

SESSION = "kept"
SIZE = 22  # bytes of a line

#: Writes numbered lines with a checksum to both streams, so many at a time, until a line tells it
#: with which code to end; the last line is of another kind.
WRITER = r"""
import os, select, sys, time, zlib

def lines(mark, first, count):
    for number in range(first, first + count):
        head = b"%c%011d" % (mark, number)
        yield b"%s %08x\n" % (head, zlib.crc32(head))

def write(data):
    for stream in (1, 2):
        rest = data[stream]
        while rest: rest = rest[os.write(stream, rest):]

count, pause, most = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
number, told = 0, "0"
while number < most:
    if pause and select.select([0], [], [], pause)[0]:
        told = sys.stdin.readline()
        break
    write({stream: b"".join(lines(48 + stream, number, count)) for stream in (1, 2)})
    number += count
write({stream: b"".join(lines(90, number, 1)) for stream in (1, 2)})
sys.exit(int(told))
"""

#: A kernel of 0.1 with all kinds of processes. It types numbered lines into a file until it cannot.
KERNEL = f"""
import json, sys, time
import tfnz_notebook
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.location import Location
WRITER = {WRITER!r}
where, endless = sys.argv[1], "1000000000"

def say(**told): print(json.dumps(told), flush=True)

location = Location(where, session={SESSION!r})
node = location.best_node()
box = node.spawn_container("debian", sleep=True, tag="box").wait_until_ready()
command = ["python3", "-c", WRITER, "5", "0.02", endless]
main = node.spawn_container("debian", command=command, tag="main").wait_until_ready()

def writer(*how, **options): return box.spawn_process(["python3", "-c", WRITER, *how], **options)

came = []
spawned = {{
    "fast": writer("100", "0.004", endless, data_callback=lambda process, data: came.append(data)),
    "slow": writer("1", "0.05", endless),
    "unread": writer("25", "0.01", endless),
    "ended": writer("5000", "0", "50000"),
    "short": writer("1", "0", "3"),
    "shell": box.spawn_shell(),
    "typed": box.spawn_process("cat > typed"),
}}
spawned["ended"].wait(60)
spawned["short"].wait(60)
here = box.run_process("pwd").stdout.strip()  # a login shell is at home
count = b"while [ ! -e %s/over ]; do echo shell-$((i+=1)); sleep 0.01; done" % here
spawned["shell"].stdin(b"stty -echo; i=0; " + count + b"\\n")
while sum(map(len, came)) < 500_000: time.sleep(0.01)
say(
    version=tfnz_notebook.__version__,
    containers={{each.tag: each.id for each in (box, main)}},
    processes={{name: [each.id, each.pid] for name, each in spawned.items()}},
)

def refusal(attempt):
    began = time.monotonic()
    try: attempt()
    except TfnzError as error: return [str(error), time.monotonic() - began]
    return ["", 0]

typed = 0
def type_on():
    global typed
    while True:
        spawned["typed"].stdin(b"%08d\\n" % typed)
        typed += 1
        time.sleep(0.001)
say(stopped=refusal(type_on), typed=typed)
sys.stdin.readline()
say(again=refusal(lambda: box.run_process("true")), anew=refusal(lambda: Location(where)))
"""


class Earlier:
    """The earlier kernel, what it said of its processes, and its agent."""

    def __init__(self, world: World, where: str, site: Path) -> None:
        self.world = world
        self.script = Script(world, KERNEL, where, PYTHONPATH=str(site))
        told = self.said(0)
        assert told["version"] == "0.1.0"
        self.containers: dict[str, str] = told["containers"]
        self.processes: dict[str, tuple[str, int]] = told["processes"]
        self.agent = world.agents()[where]

    def go_on(self) -> None:
        """It has another word with the agent, and opens another location."""
        assert self.script.process.stdin is not None
        self.script.process.stdin.write("\n")
        self.script.process.stdin.flush()

    def said(self, number: int) -> dict[str, Any]:
        """Its so manyeth line."""
        ended = self.script.process.poll
        until(lambda: len(self.script.lines) > number or ended() is not None, 60, "it says more")
        assert len(self.script.lines) > number, self.script.errors
        return dict(json.loads(self.script.lines[number][1]))


@pytest.fixture(scope="session")
def site() -> Path:
    """Where the earlier package is installed."""
    return earlier.installed()


@pytest.fixture
def before(own_world: Callable[..., World], where: str, site: Path) -> Iterator[Earlier]:
    made = Earlier(own_world(), where, site)
    with made.script:
        yield made


def line(mark: str, number: int) -> bytes:
    head = b"%s%011d" % (mark.encode(), number)
    return b"%s %08x\n" % (head, zlib.crc32(head))


def whole(data: bytes, mark: str) -> int:
    """Every line is there once, in order, up to the last; how many bytes that were."""
    count = len(data) // SIZE - 1
    expected = b"".join(line(mark, number) for number in range(count)) + line("Z", count)
    assert data == expected, f"lost, doubled or changed among {count} lines"
    return len(data)


def both(process: Process) -> int:
    """Both streams of a writer that has ended."""
    return whole(process.stdout, "1") + whole(process.stderr, "2")


def typed(box: Container) -> list[int]:
    return [int(number) for number in box.run_process("cat typed").stdout.split()]


def check(before: Earlier, where: str, location: Location, at_least: int) -> tuple[int, int]:
    """All of it, by a kernel of this version: bytes checked, lines that the earlier one typed."""
    assert {each.tag: each.id for each in location.containers()} == before.containers
    box, main = location.container("box"), location.container("main")
    found = {each.id: each for each in box.all_processes(ended=True)}
    processes = {name: found[ident] for name, (ident, _) in before.processes.items()}
    for name, (_, pid) in before.processes.items():
        assert processes[name].pid == pid, name

    long, short = processes["ended"], processes["short"]
    assert (long.returncode, short.returncode) == (0, 0)
    checked = both(long) + both(short)

    numbers = typed(box)
    assert numbers == list(range(len(numbers))), "each line once, in order"
    assert len(numbers) >= at_least, "what was answered has arrived"
    processes["typed"].stdin(b"%08d\n" % len(numbers))
    processes["typed"].close_stdin()
    assert processes["typed"].wait(30) == 0
    assert typed(box) == [*numbers, len(numbers)]

    shell = processes["shell"]
    size = len(shell.stdout)
    until(lambda: len(shell.stdout) > size, 10, "the shell goes on")
    shell.stdin(b"exit 5\n")  # read once the loop is over
    box.run_process("touch over", check=True)
    assert shell.wait(30) == 5
    said = [int(number) for number in re.findall(rb"shell-(\d+)\r\n", shell.stdout)]
    assert said == list(range(1, len(said) + 1))

    before.world.kill_agent(where)  # the next one finds the same under the names of today
    for code, name in enumerate(("fast", "slow", "unread"), start=6):
        writer = processes[name]
        size = len(writer.stderr)
        until(lambda: len(writer.stderr) > size, 20, f"{name} goes on")  # noqa: B023
        writer.stdin(b"%d\n" % code)
        assert writer.wait(60) == code
        checked += both(writer)
    main.main.stdin(b"3\n")
    assert main.main.wait(60) == 3
    return checked + both(main.main), len(numbers)


def ended(world: World, where: str) -> None:
    """The agent has; nothing lies under the name that 0.1 had for it, if that is not today's."""
    name = world.agent(where)
    assert world.tfnz_agent("stop").returncode == 0
    assert not world.agents()
    if name != where:
        known = [*world.state.glob(f"spool/{where}"), *world.runtime.glob(f"{where}.*")]
        # The lock is of kernels, and what an agent said last stays to be read.
        assert not [path for path in known if path.suffix not in (".lock", ".log")]


def test_an_agent_of_0_1_and_all_it_had_is_taken_over(
    before: Earlier, where: str, record_property: Callable[[str, object], None]
) -> None:
    world = before.world
    with Location(where, session=SESSION) as location:
        now = world.agents()[where]
        assert now != before.agent
        assert not alive(before.agent), "it has made room"
        stopped = before.said(1)  # while we do nothing: it has to hear of it by itself
        checked, lines = check(before, where, location, stopped["typed"])
        assert lines <= stopped["typed"] + 1, "at most what it was not answered any more"
        record_property("bytes checked", checked)
        before.go_on()
        told = before.said(2)
        for sentence, seconds in (stopped["stopped"], told["again"], told["anew"]):
            assert sentence.startswith("Cannot talk to this agent: "), sentence
            assert tfnz_notebook.__version__ in sentence and "0.1.0" in sentence
            assert "Install the same version" in sentence and "\n" not in sentence
            assert seconds < 60
        assert told["again"][1] < 1 and told["anew"][1] < 15
        assert before.script.process.wait(30) == 0, before.script.errors
        assert world.agents()[where] != before.agent, "it replaces nobody"
        for container in location.containers():
            container.destroy()
    ended(world, where)


def test_what_a_killed_agent_of_0_1_left_is_found(
    before: Earlier, where: str, record_property: Callable[[str, object], None]
) -> None:
    """Nobody is there who could be asked at which endpoint it was; the kernel is gone, too."""
    world = before.world
    for pid in (before.script.process.pid, before.agent):
        os.kill(pid, signal.SIGKILL)
    before.script.process.wait(10)
    with Location(where, session=SESSION) as location:
        record_property("bytes checked", check(before, where, location, 0)[0])
        for container in location.containers():
            container.destroy()
    ended(world, where)


@pytest.mark.engines("podman", "docker")
def test_an_agent_of_0_1_that_comes_back_in_between_loses_nothing(
    before: Earlier, where: str, record_property: Callable[[str, object], None]
) -> None:
    """Ours was killed, and an earlier kernel was the first to look for an agent."""
    world = before.world
    with Location(where, session=SESSION):
        ours = world.agents()[where]
        stopped = before.said(1)
    world.kill_agent(where)
    before.go_on()
    told = before.said(2)
    assert told["anew"] == ["", 0], "it has started its own"
    theirs = world.agents()[where]
    assert theirs not in (ours, before.agent)
    size = kept(world)
    until(lambda: kept(world) > size + 500_000, 20, "it writes outputs down")
    with Location(where, session=SESSION) as location:
        checked, _ = check(before, where, location, stopped["typed"])
        record_property("bytes checked", checked)
        for container in location.containers():
            container.destroy()
    ended(world, where)


@pytest.fixture
def without_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman where no API service runs: agents start one of their own."""
    monkeypatch.delenv("CONTAINER_HOST", raising=False)


@pytest.mark.engines("podman")
@pytest.mark.usefixtures("without_service")
def test_at_the_usual_endpoint_as_well(
    before: Earlier, where: str, record_property: Callable[[str, object], None]
) -> None:
    """There the agent has the same name, and its service has to change hands."""
    world = before.world
    with Location(where, session=SESSION) as location:
        assert world.agent(where) == where
        stopped = before.said(1)
        checked, _ = check(before, where, location, stopped["typed"])
        record_property("bytes checked", checked)
        for container in location.containers():
            container.destroy()
    ended(world, where)
    assert not list(world.runtime.glob("podman-service.*"))


def kept(world: World) -> int:
    """Bytes of outputs in files."""
    return sum(path.stat().st_size for path in world.state.glob("spool/*/*/*.out.*"))
