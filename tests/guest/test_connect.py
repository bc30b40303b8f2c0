"""``guest connect``, the bridge: how it ends, and that it sleeps where it does not.

Engines leave bridges behind whose client has gone, in every combination: a stdin that ends or never
does, a stdout that is read, full or closed, a guest that lives, has ended or talks to a newer one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from guest.harness import Guest, rests, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Tag, Target, Type

#: Longer than a bridge lingers that nobody reads.
LINGER = 40


class Bridge:
    """One that brought an agent's first words to its guest, who now says more than a pipe holds."""

    def __init__(self, guest: Guest, *, flood: bool) -> None:
        command = [str(guest.binary), "connect", "--socket", str(guest.socket)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe)
        assert self.process.stdin and self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        hello = [(Tag.VERSION, 1), (Tag.VERSION_MIN, 1), (Tag.NAME, "a test")]
        words = ("cat", "/dev/zero") if flood else ("cat",)
        spawn = wire.fielded(Type.SPAWN, 2, [(Tag.ARG, word) for word in words])
        self.stdin.write(wire.fielded(Type.HELLO, 0, hello) + spawn)
        self.stdin.flush()
        until(lambda: select.select([self.stdout], [], [], 0)[0])

    def cost(self, timeout: float = LINGER) -> float:
        """Wait for its end; the seconds of processor's time that its life took."""
        found: list[resource.struct_rusage] = []

        def ended() -> bool:
            pid, _, usage = os.wait4(self.process.pid, os.WNOHANG)
            found.append(usage)
            return pid != 0

        until(ended, timeout, 0.01)
        self.process.returncode = 0
        return float(found[-1].ru_utime + found[-1].ru_stime)

    def close(self) -> None:
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def bridge(start: Callable[..., Guest]) -> Iterator[Callable[..., tuple[Guest, Bridge]]]:
    bridges: list[Bridge] = []

    def made(*, flood: bool) -> tuple[Guest, Bridge]:
        guest = start()
        bridges.append(Bridge(guest, flood=flood))
        return guest, bridges[-1]

    yield made
    for each in bridges:
        each.close()


def test_a_bridge_at_rest_sleeps_in_every_shape(
    bridge: Callable[..., tuple[Guest, Bridge]], subtests: pytest.Subtests
) -> None:
    for flood in (False, True):
        for stopped in (False, True):
            with subtests.test(f"flood {flood}, stopped {stopped}"):
                guest, each = bridge(flood=flood)
                if stopped:  # it takes nothing, however much comes
                    os.kill(guest.pid, signal.SIGSTOP)
                    os.set_blocking(each.stdin.fileno(), False)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            os.write(each.stdin.fileno(), bytes(65536))
                rests(each.process.pid)
                if stopped:
                    each.stdin.close()
                    rests(each.process.pid)
                    os.kill(guest.pid, signal.SIGCONT)
                each.close()


def taken_over(guest: Guest) -> None:
    guest.agent()


def killed(guest: Guest) -> None:
    guest.process.kill()


@pytest.mark.parametrize("gone", [taken_over, killed])
def test_a_bridge_without_its_guest_ends(
    bridge: Callable[..., tuple[Guest, Bridge]],
    gone: Callable[[Guest], None],
    subtests: pytest.Subtests,
) -> None:
    """At once, or, where it holds what nobody reads, a little later; and without any work."""
    bridges = {}
    for flood in (False, True):
        for stdin in ("open", "ended"):
            for stdout in ("open", "closed"):
                guest, each = bridge(flood=flood)
                rests(each.process.pid)
                if stdin == "ended":
                    each.stdin.close()
                gone(guest)
                if stdout == "closed":
                    each.stdout.close()
                bridges[flood, stdin, stdout] = each
    for shape, each in bridges.items():
        with subtests.test(str(shape)):
            assert each.cost() < 0.25, "a spin of ten seconds takes more, on the busiest machine"


def test_a_bridge_that_nobody_reads_ends_at_once(
    bridge: Callable[..., tuple[Guest, Bridge]], subtests: pytest.Subtests
) -> None:
    """Its stdin never ends, as where an engine holds both its ends; its guest may be silent."""
    for flood in (False, True):
        with subtests.test(f"flood {flood}"):
            guest, each = bridge(flood=flood)
            rests(each.process.pid)
            each.stdout.close()
            assert each.cost() < 0.25
            assert guest.process.poll() is None


def test_last_words_are_brought_whoever_still_writes(start: Callable[..., Guest]) -> None:
    """A guest says how it ended and is gone: what comes for it then costs none of that."""
    listener = socket.socket(socket.AF_UNIX)
    guest = start()
    place = guest.directory / "other.sock"
    listener.bind(str(place))
    listener.listen()
    command = [str(guest.binary), "connect", "--socket", str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as each:
        assert each.stdin and each.stdout
        plug, _ = listener.accept()
        os.kill(each.pid, signal.SIGSTOP)
        each.stdin.write(b"late")
        each.stdin.flush()
        said = bytes(range(256)) * 600
        plug.setblocking(False)
        sent = plug.send(said)
        plug.close()
        os.kill(each.pid, signal.SIGCONT)
        assert each.stdout.read() == said[:sent]
        assert each.wait(20) == 0
    listener.close()


def test_what_is_read_slowly_is_read_whole(
    bridge: Callable[..., tuple[Guest, Bridge]],
) -> None:
    """Who reads now and then is no nobody, also behind the guest's end."""
    guest, each = bridge(flood=True)
    rests(each.process.pid)
    killed(guest)
    guest.process.wait()
    decoder, read = wire.Decoder(), 0
    while chunk := os.read(each.stdout.fileno(), 32768):
        read += sum(1 for _ in decoder.feed(chunk))
        time.sleep(0.01)
    assert read > 2
    assert each.cost() < 0.25


def test_whoever_reads_it_finds_full_pieces(bridge: Callable[..., tuple[Guest, Bridge]]) -> None:
    """On a cluster each of them is a frame, which five programs pass on. And no longer than that:
    the kernel counts the pages of a user's pipes."""
    _, joined = bridge(flood=True)
    pipe = joined.stdout.fileno()
    until(lambda: fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) == 1 << 20)
    joined.stdin.write(wire.fixed(Type.SIGNAL, 2, 1, signal.SIGKILL, Target.TREE))
    joined.stdin.flush()
    os.set_blocking(pipe, False)

    def is_small() -> bool:
        while joined.stdout.read1(1 << 20):
            pass
        return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) == 64 << 10

    until(is_small)
