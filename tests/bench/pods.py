"""Pods beside kubectl and the official client: `make bench-cluster`.

Where a Docker engine answers, too, the first bar is against it.
"""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pytest  # noqa: E402 - found on the path above, as are the next ones
from bench.cases import SOURCE  # noqa: E402
from bench.files import there_and_back  # noqa: E402
from bench.measure import MIB, Bar, Case, at_least, in_turns  # noqa: E402
from bench.ours import Ours  # noqa: E402
from bench.peers import environment, timed  # noqa: E402
from cluster.kubectl import Kubectl  # noqa: E402
from cluster.pods import pod_of  # noqa: E402
from contract import cluster  # noqa: E402
from integration.world import World  # noqa: E402

from tfnz_notebook.engines.base import ContainerSpec  # noqa: E402
from tfnz_notebook.engines.kubernetes.pod import manifest  # noqa: E402
from tfnz_notebook.engines.launch import binary  # noqa: E402
from tfnz_notebook.errors import NoEngine  # noqa: E402

ROUNDS, QUICK = 10, 3


class Peer:
    """kubectl, and the official Python client, for the same pod."""

    def __init__(self, ours: Ours) -> None:
        admin = os.environ["TFNZ_TEST_ADMIN"]
        self._kubectl = Kubectl(
            os.environ["TFNZ_TEST_KUBECTL"].split(),
            Path(admin) if admin else None,
            os.environ["TFNZ_TEST_NAMESPACE"],
        )
        self.pod = pod_of(self._kubectl, ours.box)
        python = environment(ROOT.parent / "build" / "bench" / "client", "kubernetes")
        where = (os.environ["TFNZ_TEST_KUBERNETES"], os.environ["TFNZ_TEST_NAMESPACE"], self.pod)
        self._client = subprocess.Popen(
            [str(python), str(ROOT / "bench" / "client.py"), *where, "/bin/true"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._client.communicate(timeout=60)

    def client(self) -> float:
        """/bin/true by the Python client."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        print(file=self._client.stdin, flush=True)
        return float(self._client.stdout.readline())

    def exec(self, *command: str) -> float:
        return timed(self._kubectl.command("exec", self.pod, "--", *command))

    def stream(self, command: list[str], expected: str) -> float:
        """As the one of ours: read to its end, hashed afterwards."""
        began = time.perf_counter()
        argv = self._kubectl.command("exec", self.pod, "--", *command)
        done = subprocess.run(argv, capture_output=True, check=True)
        seconds = time.perf_counter() - began
        assert hashlib.sha256(done.stdout).hexdigest() == expected
        return seconds

    def copy(self, source: str, target: str) -> float:
        """Of the two, the path in the pod begins with a colon."""
        pair = [f"{self.pod}{each}" if each[0] == ":" else each for each in (source, target)]
        return timed(self._kubectl.command("cp", *pair))


def true(ours: Ours, peer: Peer, rounds: int) -> Case:
    """Spawn to exit."""
    contestants: dict[str, Any] = {
        "kubectl exec": partial(peer.exec, "/bin/true"),
        "the Python client": peer.client,
    }
    contestants |= {"ours, kubernetes": ours.true, "ours, run_process, kubernetes": ours.ran}
    docker = None
    try:
        docker = Ours("docker")
        contestants |= {"ours, docker": docker.true, "ours, run_process, docker": docker.ran}
    except NoEngine as error:
        print(f"pods: without Docker's figure: {error}", file=sys.stderr)
    case = in_turns(Case("process spawn to exit, /bin/true", "ms"), contestants, rounds, times=5)
    for name in ("ours, kubernetes", "ours, run_process, kubernetes"):
        ratio = case["the Python client"].median / case[name].median
        case.bars.append(
            Bar(f"{name}: {ratio:.0f} x faster than the client, at least 15", ratio >= 15)
        )
    if docker is not None:
        docker.close()
        for name in ("ours", "ours, run_process"):
            ratio = case[f"{name}, kubernetes"].median / case[f"{name}, docker"].median
            text = f"{name}, kubernetes: {ratio:.2f} x the same on Docker, at most 2"
            case.bars.append(Bar(text, ratio <= 2))
    return case


def stream(ours: Ours, peer: Peer, rounds: int) -> Case:
    """One stream's throughput."""
    blocks, block, digest = 256, bytes(range(256)) * 4096, hashlib.sha256()
    for number in range(blocks):
        digest.update(number.to_bytes(8, "big") + block[8:])
    expected, command = digest.hexdigest(), ["python3", "-c", SOURCE, str(blocks)]
    size = blocks * MIB
    contestants = {
        "kubectl exec": lambda: size / peer.stream(command, expected),
        "ours": lambda: size / ours.stream(command, expected),
    }
    case = in_turns(Case(f"one stream, {blocks} MiB, SHA-256 checked", "MB/s"), contestants, rounds)
    at_least(case, "ours", "kubectl exec", 0.9)
    return case


def files(ours: Ours, peer: Peer, rounds: int) -> list[Case]:
    """A file there and back."""
    cases = there_and_back({"ours": ours.box}, {"kubectl cp": peer.copy}, rounds)
    for case in cases:
        at_least(case, "ours", "kubectl cp", 1)
    return cases


def ready(ours: Ours, peer: Peer, runtime: Path, rounds: int) -> Case:
    """Spawn to ready, beside the same pod's way to Running as the API server tells it.

    What comes on top is an exec, and what that alone takes is told, too.
    """
    owner = f"bench{uuid.uuid4().hex[:8]}"
    engine = cluster.engine(runtime=runtime, guest=binary.locate(), owner=owner)

    async def running() -> float:
        image = await engine.ensure_image("busybox", "missing", lambda progress: None)
        spec = ContainerSpec(id=uuid.uuid4().hex, image="busybox", sleep=True)
        began = time.perf_counter()
        ref = await engine.create(spec, image)
        await engine._up(ref)
        seconds = time.perf_counter() - began
        await engine.remove(ref)
        return seconds

    async def exec_alone() -> float:
        began = time.perf_counter()
        where = (peer.pod, manifest.MAIN, [manifest.GUEST, "--version"])
        stream = await engine.api.exec(*where, lambda _: None, lambda _: None)
        await stream.spoke
        seconds = time.perf_counter() - began
        stream.forget()
        return seconds

    with asyncio.Runner() as runner:
        runner.run(engine.open())
        anchor = runner.run(engine._anchors.hold("", "held"))  # ours has a container, and so one
        try:
            turns = {
                "the pod alone, create to Running": lambda: runner.run(running()),
                "ours, spawn to ready": lambda: ours.create("busybox")["started"],
                "an exec alone, to its first byte": lambda: runner.run(exec_alone()),
            }
            case = in_turns(Case("a container of busybox", "ms"), turns, rounds)
        finally:
            runner.run(engine._anchors.drop(anchor))
            runner.run(engine.close())
    over = case.series[1].median - case.series[0].median
    text = f"{over * 1000:+.0f} ms over the pod's own, at most +70"
    case.bars.append(Bar(text, over <= 0.070))
    over -= case.series[2].median
    case.notes.append(f"of that are ours, beside the exec: {over * 1000:+.0f} ms")
    return case


def main(quick: bool) -> int:
    world = World(KUBECONFIG=os.environ["TFNZ_TEST_KUBERNETES"])
    rounds = QUICK if quick else ROUNDS
    with pytest.MonkeyPatch.context() as patch:
        world.enter(patch)
        try:
            ours = Ours("kubernetes://")
            peer = Peer(ours)
            print(f"load {os.getloadavg()[0]:.1f}", file=sys.stderr)
            cases = [true(ours, peer, rounds), stream(ours, peer, rounds)]
            cases += files(ours, peer, rounds)
            cases.append(ready(ours, peer, world.runtime, 2 * rounds))
            peer.close()
            ours.close()
        finally:
            left = world.close()
    for case in cases:
        print("", *case.lines(), sep="\n")
    if left:
        print("left behind:", *left, sep="\n", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main("--quick" in sys.argv))
