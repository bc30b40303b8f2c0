"""Hellos, takeovers, refusals, and what malformed frames do."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from guest.conftest import OTHER_UID
from guest.harness import Agent, Closed, Guest, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Flag, Stream, Tag, Type


def test_hello(guest: Guest) -> None:
    agent = guest.agent(hello=False)
    agent.until(lambda: agent.hello)
    assert agent.hello is not None
    assert agent.hello.integer(Tag.VERSION) == wire.VERSION
    assert agent.hello.integer(Tag.VERSION_MIN) == wire.VERSION_MIN
    assert len(agent.hello.raw(Tag.BOOT)) == 16
    assert agent.hello.integer(Tag.PID) == guest.pid
    assert agent.hello.integer(Tag.UID) == os.geteuid()
    assert agent.hello.integer(Tag.SLEEPING) == 1
    assert not agent.ready, "nothing but HELLO before the agent's"
    agent.say_hello()
    agent.until(lambda: agent.ready)


def test_one_boot_is_one_life(start: Callable[..., Guest]) -> None:
    one, two = start(), start()
    first, again, other = one.agent(), one.agent(), two.agent()
    assert first.hello and again.hello and other.hello
    assert first.hello.raw(Tag.BOOT) == again.hello.raw(Tag.BOOT) != other.hello.raw(Tag.BOOT)


def test_versions_that_do_not_meet(guest: Guest) -> None:
    agent = guest.agent(hello=False)
    agent.say_hello(version=wire.VERSION + 9, oldest=wire.VERSION + 1)
    agent.until_closed()
    agent = guest.agent(hello=False)
    agent.say_hello(version=0, oldest=0)
    agent.until_closed()
    newer = guest.agent(hello=False)
    newer.say_hello(version=wire.VERSION + 1, oldest=wire.VERSION)
    newer.until(lambda: newer.ready)


def test_ping(agent: Agent) -> None:
    agent.send(wire.fixed(Type.PING, 0, 2**64 - 1))
    agent.until(lambda: agent.pongs == [2**64 - 1])
    agent.send(wire.fixed(Type.PONG, 0, 7))
    agent.sync()


def test_the_newest_connection_wins(guest: Guest) -> None:
    old = guest.agent()
    new = guest.agent()
    old.until_closed()
    assert new.run("echo new") == b"new\n"


def test_the_socket_is_private(guest: Guest) -> None:
    guest.agent()
    assert guest.socket.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in guest.directory.iterdir()] == ["guest.sock"]


def test_a_stale_socket_is_replaced(start: Callable[..., Guest], tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "guest.sock"))
    stale.close()
    assert start(directory=tmp_path).agent().run("echo here") == b"here\n"


def test_a_path_longer_than_sun_path(start: Callable[..., Guest], tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    guest = start(directory=deep, transport="connect")
    assert guest.agent().run("echo here") == b"here\n"


CONNECT_AS = """
import os, socket, sys
os.setgroups([]); os.setresgid(*3 * [int(sys.argv[2])]); os.setresuid(*3 * [int(sys.argv[2])])
plug = socket.socket(socket.AF_UNIX)
plug.settimeout(20)
plug.connect(sys.argv[1])
print(len(plug.recv(100)))
"""


@pytest.mark.usefixtures("root")
def test_peers_of_another_uid_are_refused(start: Callable[..., Guest], tmp_path: Path) -> None:
    """Even when they can open the socket: with modes loosened as nobody should."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.owner() == "root" and not parent.stat().st_mode & 0o001 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    guest = start(directory=tmp_path)
    agent = guest.agent()
    guest.socket.chmod(0o666)
    command = [sys.executable, "-c", CONNECT_AS, str(guest.socket)]
    heard = subprocess.run([*command, str(OTHER_UID)], capture_output=True, check=True, text=True)
    assert heard.stdout == "0\n"
    assert agent.run("echo still") == b"still\n", "and the one there was stays"


@pytest.mark.usefixtures("root")
def test_a_guest_that_is_not_root(start: Callable[..., Guest]) -> None:
    guest = start(uid=OTHER_UID)
    until(guest.socket.exists)
    probe = [sys.executable, "-c", CONNECT_AS, str(guest.socket), str(OTHER_UID)]
    heard = subprocess.run(probe, capture_output=True, check=True, text=True)
    assert int(heard.stdout) > 12, "its own uid is greeted"
    plug = socket.socket(socket.AF_UNIX)
    plug.connect(str(guest.socket))
    plug.settimeout(20)
    assert plug.recv(100) == b"", "root, being another uid, is not"
    plug.close()
    agent = start(uid=OTHER_UID, transport="connect").agent()
    assert agent.hello and agent.hello.integer(Tag.UID) == OTHER_UID
    assert agent.run("id -u; echo $HOME") == f"{OTHER_UID}\n{os.environ['HOME']}\n".encode()
    failed = agent.sh("id", user="0")
    assert failed.failed
    assert (failed.failed.integer(Tag.ERRNO), failed.failed.text(Tag.STAGE)) == (1, "user")
    assert agent.run("id -u", user=str(OTHER_UID) + ":" + str(OTHER_UID)) == b"%d\n" % OTHER_UID


def raw(size: int, kind: int, payload: bytes = b"", *, stream: int = 0, zero: int = 0) -> bytes:
    return wire.HEADER.pack(size, kind, stream, zero, 5) + payload


MALFORMED = {
    "unknown type": raw(0, 0x7F),
    "type zero": raw(0, 0),
    "over the limit": raw(wire.MAX_PAYLOAD + 1, Type.SPAWN),
    "reserved word": raw(0, Type.FORGET, zero=1),
    "fixed too short": raw(4, Type.PING, b"1234"),
    "fixed too long": raw(9, Type.PING, b"123456789"),
    "empty that is not": raw(1, Type.FORGET, b"1"),
    "data without offset": raw(7, Type.DATA, b"1234567"),
    "data over its limit": raw(9 + wire.MAX_DATA, Type.DATA, bytes(9 + wire.MAX_DATA)),
    "unknown stream": raw(8, Type.ACK, bytes(8), stream=3),
    "field cut short": raw(5, Type.SPAWN, bytes(5)),
    "field beyond the frame": raw(6, Type.SPAWN, struct.pack("<HI", 7, 1)),
    "integer of four bytes": raw(10, Type.DIAL, struct.pack("<HIi", Tag.PORT, 4, 80)),
    "the guest's own type": raw(0, Type.READY),
    "the guest's GONE": raw(0, Type.GONE),
    "a second hello": wire.fielded(Type.HELLO, 0, [(Tag.VERSION, 1)]),
    "data on a guest's stream": wire.data(5, Stream.OUT, 0, b"x"),
    "eof on a guest's stream": wire.fixed(Type.EOF, 5, 0, stream=Stream.ERR),
    "ack of its own stream": wire.fixed(Type.ACK, 5, 0, stream=Stream.IN),
    "spawn of the main channel": wire.fielded(Type.SPAWN, 1, [(Tag.ARG, "true")]),
    "dial of the connection's channel": wire.fielded(Type.DIAL, 0, [(Tag.PORT, 80)]),
    "mkdir of the connection's channel": wire.fielded(Type.MKDIR, 0, [(Tag.PATH, "/x")]),
    "get of the connection's channel": wire.fielded(Type.GET, 0, [(Tag.PATH, "/x")]),
}


@pytest.mark.parametrize("bad", MALFORMED.values(), ids=MALFORMED)
def test_malformed_frames_end_the_connection_only(plain: Agent, bad: bytes) -> None:
    sleeper = plain.sh("read line; echo $line")
    with contextlib.suppress(Closed):
        plain.send(bad)
    plain.until_closed()
    again = plain.guest.agent()
    assert list(again.inventory) == [sleeper.channel]
    again.adopt()
    process = again.channel(sleeper.channel)
    process.write(b"there\n")
    assert process.wait() == 0
    assert process.out == b"there\n"


def test_the_first_frame_is_hello(guest: Guest) -> None:
    agent = guest.agent(hello=False)
    agent.send(wire.fixed(Type.PING, 0, 1))
    agent.until_closed()
    assert guest.agent().ready


def test_a_frame_in_single_bytes(plain: Agent) -> None:
    process = plain.channel(plain.guest.channel())
    for byte in wire.fielded(Type.SPAWN, process.channel, [(Tag.ARG, "echo"), (Tag.ARG, "hi")]):
        plain.send(bytes([byte]))
    assert process.wait() == 0
    assert process.out == b"hi\n"


def test_unknown_fields_are_ignored(plain: Agent) -> None:
    channel = plain.channel(plain.guest.channel())
    fields = struct.pack("<HI", 999, 3) + b"new" + struct.pack("<HI", 0, 0)
    fields += struct.pack("<HI", Tag.ARG, 4) + b"true"
    plain.send(wire.HEADER.pack(len(fields), Type.SPAWN, 0, 0, channel.channel) + fields)
    assert channel.wait() == 0


def test_frames_for_channels_that_are_gone(plain: Agent) -> None:
    """An agent may speak before it has heard GONE."""
    gone = plain.sh("true", stdin=False).wait_gone().channel
    for late in (
        wire.fixed(Type.ACK, gone, 0, stream=Stream.OUT),
        wire.fixed(Type.EOF, gone, 0),
        wire.data(gone, Stream.IN, 0, b"x"),
        wire.fixed(Type.FORGET, gone),
        wire.fixed(Type.RESIZE, gone, 1, 1),
        wire.fixed(Type.CLOSE, gone, 0),
        wire.fixed(Type.CANCEL, gone, 3),
    ):
        plain.send(late)
    plain.sync()
    assert plain.channel(gone).signal(9)[0] == 3  # ESRCH
    assert plain.channel(gone).waiting().values[1] == wire.Reason.ENDED


def test_requests_an_agent_does_not_read_the_answers_of(plain: Agent) -> None:
    """The guest stops reading, instead of keeping answers without end."""
    ping = b"".join(wire.fixed(Type.PING, 0, n) for n in range(4096))
    os.set_blocking(plain.writer, False)
    said = 0
    while said < (64 << 20) and select.select([], [plain.writer], [], 1.0)[1]:
        try:
            said += os.write(plain.writer, ping)
        except BlockingIOError:
            break
    resident = int(Path(f"/proc/{plain.guest.pid}/statm").read_text().split()[1]) * 4096
    assert said < 64 << 20
    assert resident < 32 << 20
    assert plain.guest.agent().run("echo heard") == b"heard\n"


def test_an_inventory_larger_than_the_queue(plain: Agent) -> None:
    """Many processes with as much metadata as is allowed, to an agent that reads slowly."""
    meta = bytes(range(256)) * (wire.MAX_META // 256)
    processes = [plain.sh("read x", meta=meta, started=False) for _ in range(150)]
    plain.until(lambda: all(process.pid for process in processes))
    again = plain.guest.agent()
    assert set(again.inventory) == {process.channel for process in processes}
    assert all(proc.raw(Tag.META) == meta for proc in again.inventory.values())
    again.adopt()
    for process in processes:
        again.channel(process.channel).close_stdin()
    for process in processes:
        again.channel(process.channel).wait()


def test_arguments_over_the_limits(plain: Agent) -> None:
    for fields in (
        [(Tag.ARG, "true"), (Tag.META, bytes(wire.MAX_META + 1))],
        [(Tag.ARG, "true"), *[(Tag.ENV, f"A{n}=")[:2] for n in range(20000)]],
    ):
        assert plain.errno(plain.open(Type.SPAWN, *fields)) == 7  # E2BIG
    for fields in (
        [(Tag.ARG, b"a\0b")],
        [(Tag.ARG, "true"), (Tag.ENV, "=x")],
        [(Tag.ARG, "true"), (Tag.CWD, b"/\0")],
        [(Tag.ARG, "true"), (Tag.USER, b"\0")],
        [(Tag.ARG, "true"), (Tag.USER, "x" * 300)],
        [],
    ):
        assert plain.errno(plain.open(Type.SPAWN, *fields)) == 22  # EINVAL
    assert plain.errno(plain.open(Type.SPAWN, (Tag.ARG, ""))) == 2
    assert Flag.TTY == 1
    assert plain.run("echo fine") == b"fine\n"


def test_many_arguments(plain: Agent) -> None:
    words = [str(n) for n in range(50_000)]
    process = plain.spawn("/bin/sh", "-c", 'echo $# "${3997}"', "sh", *words, stdin=False)
    assert process.wait() == 0
    assert process.out == b"50000 3996\n"


def test_arguments_that_do_not_fit_in_a_frame(plain: Agent) -> None:
    """1.8 MB of the 2 MiB that Linux takes where the stack is as large as usual."""
    count = 'for last; do :; done; echo $# ${#last} ${#BIG} "$A"'
    words, env = ["x" * 120_000] * 14, ["BIG=" + "y" * 130_000, "A=B=C"]
    process = plain.spawn("/bin/sh", "-c", count, "sh", *words, env=env)
    assert process.wait() == 0
    assert process.out == b"14 120000 130000 B=C\n"


def test_the_kernel_has_the_last_word_on_arguments(plain: Agent) -> None:
    beyond = plain.spawn("true", "x" * (128 << 10))
    assert plain.errno(beyond) == 7  # E2BIG, of execve
    assert beyond.failed is not None
    assert beyond.failed.text(Tag.STAGE) == "exec"
    assert plain.run("echo fine") == b"fine\n"


def test_what_came_ahead_belongs_to_one_process(plain: Agent) -> None:
    def ahead(channel: int, *fields: tuple[Tag, str]) -> None:
        plain.send(wire.fielded(Type.ARGS, channel, fields))

    first = plain.channel(plain.guest.channel())
    ahead(first.channel, (Tag.ARG, "echo"), (Tag.ARG, "one"), (Tag.ENV, "A=1"))
    ahead(first.channel)
    ahead(first.channel, (Tag.ARG, "two"))
    plain.send(wire.fielded(Type.SPAWN, first.channel, [(Tag.ARG, "three")]))
    assert (first.wait(), first.out) == (0, b"one two three\n")
    ahead(first.channel, (Tag.ARG, "rm"))  # it is there already
    plain.send(wire.fielded(Type.SPAWN, first.channel, [(Tag.ARG, "rm")]))
    assert plain.run("echo fine") == b"fine\n"
    ahead(first.channel + 1000, (Tag.ARG, "rm"))  # which nobody spawns
    assert plain.run("echo fine") == b"fine\n"
    last = plain.guest.channel()
    ahead(last, (Tag.ARG, "rm"))
    again = plain.guest.agent()  # a new connection begins anew
    process = again.spawn("echo", "four", channel=last)
    assert (process.wait(), process.out) == (0, b"four\n")


def test_more_arguments_than_a_guest_keeps(plain: Agent) -> None:
    process = plain.channel(plain.guest.channel())
    words = [(Tag.ARG, "x" * 100_000)] * 10
    for _ in range(7):
        plain.send(wire.fielded(Type.ARGS, process.channel, words))
    plain.send(wire.fielded(Type.SPAWN, process.channel, [(Tag.ARG, "true")]))
    assert plain.errno(process) == 7
    assert plain.run("echo fine") == b"fine\n"
