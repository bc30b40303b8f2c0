"""The cases: what is measured beside whom, and the bars of each."""

import asyncio
import hashlib
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench import peers
from bench.measure import MIB, Bar, Case, Series, at_least, at_most, in_turns
from bench.ours import Ours, Terminal, at_once
from bench.peers import DockerPy
from integration.world import World

#: Writes so many MiB, each unlike the others, as fast as a pipe takes them.
SOURCE = (
    "import os, sys\n"
    "block = bytes(range(256)) * 4096\n"
    "for number in range(int(sys.argv[1])):\n"
    "    piece = memoryview(number.to_bytes(8, 'big') + block[8:])\n"
    "    while piece: piece = piece[os.write(1, piece):]\n"
)


@dataclass
class Stage:
    """What all cases share."""

    world: World
    quick: bool
    ours: dict[str, Ours]
    peers: dict[str, DockerPy]

    def rounds(self, full: int, quick: int) -> int:
        """How often, in this mode."""
        return quick if self.quick else full


def spawn(stage: Stage) -> Case:
    """Process spawn to exit."""
    contestants: dict[str, Any] = {"host subprocess.run": peers.host_true}
    for engine, ours in stage.ours.items():
        contestants[f"ours, {engine}"] = ours.true
        contestants[f"ours, run_process, {engine}"] = ours.ran
    for engine, peer in stage.peers.items():
        contestants[f"docker-py exec_run, {engine}"] = partial(ask, peer, "exec_true")
        contestants[f"{engine} exec"] = peers.CommandLine(engine, peer.box).true
    case = Case("process spawn to exit, /bin/true", "ms")
    in_turns(case, contestants, stage.rounds(20, 4), times=5)
    host = case["host subprocess.run"].median
    for engine in stage.peers:
        mine, theirs = case[f"ours, {engine}"].median, case[f"docker-py exec_run, {engine}"].median
        text = f"ours, {engine}: {mine / host:.2f} x subprocess.run, at most 3"
        case.bars.append(Bar(text, mine <= 3 * host))
        ran = case[f"ours, run_process, {engine}"].median
        text = f"ours, run_process, {engine}: {ran / host:.2f} x subprocess.run, at most 2"
        case.bars.append(Bar(text, ran <= 2 * host))
        text = f"ours, {engine}: {theirs / mine:.0f} x faster than docker-py, at least 20"
        case.bars.append(Bar(text, theirs >= 20 * mine))
    return case


def ask(peer: DockerPy, op: str, **arguments: Any) -> float:
    """Have docker-py do something; the seconds that it took."""
    return float(peer.ask(op, **arguments)["seconds"])


def thousand(stage: Stage) -> Case:
    """1,000 at once in one container."""
    case = Case("1,000 x /bin/true at once in one container", "s")
    with asyncio.Runner() as runner:
        contestants: dict[str, Any] = {"host subprocess.Popen": partial(peers.host_many, 1000)}
        for engine, ours in stage.ours.items():
            contestants[f"ours, {engine}"] = partial(ours.many, 1000, runner)
        in_turns(case, contestants, stage.rounds(5, 2))
    for engine in stage.ours:
        at_most(case, f"ours, {engine}", 2.0, "all exit codes right, at most 2 s")
    return case


def twenty(stage: Stage) -> Case:
    """Spawn in 20 containers at once."""
    case = Case("/bin/true in 20 containers at once", "ms")
    contestants: dict[str, Any] = {"host subprocess.Popen x 20": partial(peers.host_many, 20)}
    made = []
    with asyncio.Runner() as runner:
        for engine, peer in stage.peers.items():
            node = stage.ours[engine].node
            boxes = [node.spawn_container("busybox", sleep=True) for _ in range(20)]
            made += [box.wait_until_ready() for box in boxes]
            contestants[f"ours, {engine}"] = lambda boxes=boxes: runner.run(at_once(boxes))
            peer.ask("gather", image="busybox", count=20)
            contestants[f"docker-py exec_run, {engine}"] = partial(ask, peer, "exec_everywhere")
        in_turns(case, contestants, stage.rounds(15, 3))
    for box in made:
        box.destroy()
    for peer in stage.peers.values():
        peer.ask("dismiss")
    return case


def stream(stage: Stage) -> Case:
    """One stream's throughput to a callback."""
    blocks = 256
    block = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    for number in range(blocks):
        digest.update(number.to_bytes(8, "big") + block[8:])
    expected = digest.hexdigest()
    command = ["python3", "-c", SOURCE, str(blocks)]
    size = blocks * MIB

    def theirs(peer: DockerPy) -> float:
        answer = peer.ask("stream", command=command)
        assert answer["sha256"] == expected
        return size / float(answer["seconds"])

    contestants: dict[str, Any] = {}
    for engine, peer in stage.peers.items():
        contestants[f"docker-py exec stream, {engine}"] = partial(theirs, peer)
    for engine, ours in stage.ours.items():
        contestants[f"ours, {engine}"] = lambda ours=ours: size / ours.stream(command, expected)
    title = f"one stream to a Python callback, {blocks} MiB, SHA-256 checked"
    case = in_turns(Case(title, "MB/s"), contestants, stage.rounds(15, 3))
    for engine in stage.peers:
        at_least(case, f"ours, {engine}", f"docker-py exec stream, {engine}", 3)
    return case


def create(stage: Stage) -> Case:
    """Container create to ready, and to the first output of a process in it."""
    case = Case("container create to ready (busybox)", "ms")
    values: dict[str, list[dict[str, float]]] = {}
    turns = []
    for engine, peer in stage.peers.items():
        options = _options_of_ours(stage, engine)
        turns += [
            (f"create+start, {engine}", partial(peer.ask, "create_and_start", image="busybox")),
            (
                f"create+start with our options, {engine}",
                partial(peer.ask, "create_and_start", image="busybox", host_config=options),
            ),
            (f"ours, {engine}", partial(stage.ours[engine].create, "busybox")),
        ]
    rounds = stage.rounds(15, 4)
    for number in range(-1, rounds):
        for name, turn in turns:
            answer = turn()
            if number >= 0:
                values.setdefault(name, []).append(answer)
    for name, answers in values.items():
        case.series.append(Series(name, [each["started"] for each in answers]))
    for name, answers in values.items():
        if "with our options" not in name:
            series = Series(f"{name}, first output", [each["output"] for each in answers])
            case.series.append(series)
    for engine in stage.peers:
        for which in ("create+start", "create+start with our options"):
            engines = case[f"{which}, {engine}"].median
            over = case[f"ours, {engine}"].median - engines
            text = f"ours, {engine}: {over * 1000:+.1f} ms over the engine's {which}, at most +20"
            case.bars.append(Bar(text, over <= 0.020))
    print("\n".join(case.lines()), file=sys.stderr)
    return case


def _options_of_ours(stage: Stage, engine: str) -> dict[str, Any]:
    """The HostConfig that one of our containers was made with, without what is its alone."""
    container = stage.ours[engine].spawn("busybox")
    told = stage.world.container(engine, container.id)
    run = stage.world.home / "bench-run"
    run.mkdir(exist_ok=True)
    mounts = [
        {
            "Type": mount["Type"],
            "Source": str(run) if mount["RW"] else mount["Source"],
            "Target": mount["Destination"],
            "ReadOnly": not mount["RW"],
        }
        for mount in told["Mounts"]
    ]
    config = told["HostConfig"]
    container.destroy()
    kept = {key: config[key] for key in ("PidsLimit", "SecurityOpt") if config.get(key)}
    if config.get("Ulimits"):
        # Podman tells "RLIMIT_NOFILE" and takes "nofile".
        kept["Ulimits"] = [
            {**each, "Name": each["Name"].removeprefix("RLIMIT_").lower()}
            for each in config["Ulimits"]
        ]
    return {**kept, "Mounts": mounts, "Init": False}


def echo(stage: Stage) -> Case:
    """Keystroke to echo through a pty."""
    case = Case("keystroke to echo through a terminal", "ms")
    host = peers.HostTerminal()
    contestants: dict[str, Any] = {"host pty": host.echo}
    terminals = {engine: Terminal(ours) for engine, ours in stage.ours.items()}
    for engine, terminal in terminals.items():
        contestants[f"ours, {engine}"] = terminal.echo
    for engine, peer in stage.peers.items():
        peer.ask("echo_open")
        contestants[f"docker-py exec socket, {engine}"] = partial(ask, peer, "echo")
    in_turns(case, contestants, stage.rounds(30, 5), times=10)
    host.close()
    for terminal in terminals.values():
        terminal.close()
    for peer in stage.peers.values():
        peer.ask("echo_close")
    for engine in stage.ours:
        at_most(case, f"ours, {engine}", 0.005, "at most 5 ms")
    return case
