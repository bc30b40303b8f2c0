"""Windows, offsets, acknowledgements, replay, stdin."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import sys
import termios
import time
from pathlib import Path

from guest.harness import Agent, Guest, alive, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Stream, Type

#: Bytes that show where they came from: no two places of it are alike.
COUNT = 700_000
NUMBERS = "".join(f"{n}\n" for n in range(COUNT)).encode()


def test_a_stream_is_whole(agent: Agent) -> None:
    process = agent.spawn("seq", "0", str(COUNT - 1), stdin=False)
    assert process.wait() == 0
    assert process.out == NUMBERS


def test_the_window(plain: Agent) -> None:
    plain.auto_ack = False
    process = plain.spawn("seq", "0", str(COUNT - 1), stdin=False)
    plain.until(lambda: len(process.out) == wire.WINDOW_OUT)
    plain.sync()
    assert len(process.out) == wire.WINDOW_OUT
    process.ack(offset=1000)
    plain.until(lambda: len(process.out) == wire.WINDOW_OUT + 1000)
    plain.sync()
    assert len(process.out) == wire.WINDOW_OUT + 1000
    process.ack(offset=1000)  # the same again is no error
    process.auto_ack = True
    process.ack()
    process.wait()
    assert process.out == NUMBERS


def test_over_a_long_way_a_few_streams_have_a_wide_window(guest: Guest) -> None:
    """As many as may, while they are full; and where one of them is over, another has its turn."""
    agent = guest.agent(auto_ack=False, wide=True)
    size = 6 << 20
    many = [agent.spawn("head", "-c", str(size), "/dev/zero", stdin=False) for _ in range(6)]
    terminal = agent.sh("head -c 100000 /dev/zero", tty=True)

    def held() -> list[int]:
        return sorted(len(process.out) for process in many)

    full = [wire.WINDOW_OUT] * 2 + [wire.WINDOW_WIDE] * 4
    agent.until(lambda: held() == full and len(terminal.out) == wire.WINDOW_TTY)
    agent.sync()
    assert held() == full
    assert len(terminal.out) == wire.WINDOW_TTY
    over = next(process for process in many if len(process.out) == wire.WINDOW_WIDE)
    narrow = [process for process in many if len(process.out) == wire.WINDOW_OUT]
    over.auto_ack = True
    over.ack()
    over.wait_gone()
    for process in narrow:
        process.ack(offset=1)  # it is looked at again
    agent.until(
        lambda: (
            held() == [wire.WINDOW_OUT + 1] + [wire.WINDOW_WIDE] * 3 + [wire.WINDOW_WIDE + 1, size]
        )
    )
    for process in (*many, terminal):
        process.auto_ack = True
        process.ack()
        process.wait()
    assert held() == [size] * 6


def test_a_wide_stream_is_whole(guest: Guest) -> None:
    """Its ring is widened when bytes have come round to its start."""
    agent = guest.agent(auto_ack=False, wide=True)
    early = NUMBERS.index(b"\n100000\n") + 1
    process = agent.sh(f"seq 0 99999; read line; seq 100000 {COUNT - 1}")
    agent.until(lambda: len(process.out) == early)
    process.ack(offset=300_000)
    process.write(b"\n")
    agent.until(lambda: len(process.out) == 300_000 + wire.WINDOW_WIDE)
    process.auto_ack = True
    process.ack()
    process.wait()
    assert process.out == NUMBERS


def test_acknowledgements_out_of_range(plain: Agent) -> None:
    guest = plain.guest
    process = plain.sh("echo hello; read line")
    process.until_out(b"hello\n")
    process.ack(offset=7)
    plain.until_closed()
    again = guest.agent()
    again.channel(process.channel).ack(offset=5)  # acknowledged already: gone
    again.until_closed()
    third = guest.agent()
    third.adopt()
    third.channel(process.channel).close_stdin()
    third.channel(process.channel).wait_gone()


def test_replay_from_an_offset(guest: Guest) -> None:
    agent = guest.agent(auto_ack=False)
    process = agent.sh("seq 1 2000; echo err >&2; read line", stdin=True)
    expected = b"".join(b"%d\n" % n for n in range(1, 2001))
    agent.until(lambda: process.out == expected and process.err)
    process.ack(offset=100)
    agent.sync()
    again = guest.agent()
    assert again.inventory[process.channel].integer(wire.Tag.OUT_BASE) == 100
    again.sync()
    late = again.channel(process.channel)
    assert late.out == b"", "a stream that was never acknowledged stays still"
    again.adopt(process.channel, stream_offsets={process.channel: (500, 2)})
    again.until(lambda: len(late.out) == len(expected) - 500 and late.err == b"r\n")
    assert late.out == expected[500:]
    late.close_stdin()
    late.wait_gone()


def test_broken_at_any_byte(guest: Guest) -> None:
    """Connections that end in the middle of frames: the log is whole, each byte once."""
    agent = guest.agent(auto_ack=False)
    # Not waited for: what is read meanwhile may be all that comes without an acknowledgement.
    process = agent.spawn("seq", "0", str(COUNT - 1), stdin=False, started=False)
    log = bytearray()
    channel = process.channel
    for cut in (1, 11, 13, 100, 70_001, 262_144, 262_170, 500_003):
        got = b""
        while len(got) < cut:
            got += os.read(agent.reader, cut - len(got)) if _readable(agent) else b""
        for frame in agent.decoder.feed(got):
            agent.take(frame)
        kept = bytes(agent.channel(channel).data[Stream.OUT])
        log += kept
        agent.close()
        agent = guest.agent(hello=False, auto_ack=False)
        agent.say_hello()
        agent.until(lambda a=agent: a.ready)
        agent.adopt(channel, stream_offsets={channel: (len(log), 0)})
    process = agent.channel(channel)
    process.auto_ack = True
    agent.until(lambda: process.out)
    process.ack()
    assert process.wait() == 0
    log += process.out
    assert hashlib.sha256(log).digest() == hashlib.sha256(NUMBERS).digest()


def _readable(agent: Agent) -> bool:
    import select

    return bool(select.select([agent.reader], [], [], 20)[0])


def test_streams_take_turns(plain: Agent) -> None:
    """One that floods does not hold up the others, nor control frames."""
    flood = plain.spawn("cat", "/dev/zero", stdin=False)
    plain.until(lambda: len(flood.data[Stream.OUT]) > 4 << 20)
    flood.data[Stream.OUT].clear()
    flood.base[Stream.OUT] = flood.acked[Stream.OUT]
    for n in range(20):
        assert plain.run(f"echo {n}") == b"%d\n" % n
    plain.sync()
    assert flood.kill() == 0
    assert flood.wait() == -signal.SIGKILL


def test_one_alone_finds_room_in_the_socket_and_several_do_not(plain: Agent) -> None:
    """What is in there, nothing overtakes."""

    def unread(agent: Agent) -> int:
        told = fcntl.ioctl(agent.reader, termios.FIONREAD, bytes(4))
        return int.from_bytes(told, sys.byteorder)

    plain.auto_ack = False
    one = plain.spawn("cat", "/dev/zero", stdin=False)
    until(lambda: unread(plain) > 256 << 10)
    two = plain.spawn("cat", "/dev/zero", stdin=False)
    plain.until(lambda: all(each.head() == wire.WINDOW_OUT for each in (one, two)))
    again = plain.guest.agent(auto_ack=False)
    bases = [(each, again.channel(each.channel).base[Stream.OUT]) for each in (one, two)]
    flow = [wire.fixed(Type.ACK, each.channel, at, stream=Stream.OUT) for each, at in bases]
    again.send(b"".join(flow))
    until(lambda: unread(again) > 64 << 10)
    time.sleep(0.1)  # in which a guest that had more room would have filled it
    assert unread(again) < 256 << 10


def test_who_has_little_to_say_does_not_wait_for_who_has_much(plain: Agent) -> None:
    """Forty streams have a full window each, and the socket is full; then one writes a line."""
    brief = plain.sh("read line; echo x")
    plain.auto_ack = False
    bulk = [
        plain.spawn("head", "-c", "4000000", "/dev/zero", stdin=False, started=False)
        for _ in range(40)
    ]

    def resident() -> int:
        return int(Path(f"/proc/{plain.guest.pid}/statm").read_text().split()[1]) * 4096

    until(lambda: resident() > 0.9 * len(bulk) * wire.WINDOW_OUT)
    brief.write(b"\n")
    until(lambda: not alive(brief.pid))
    brief.until_out(b"x\n")
    before = sum(len(process.out) for process in bulk)
    assert before < 0.1 * len(bulk) * wire.WINDOW_OUT
    for process in bulk:
        assert process.kill() == 0


def test_many_with_little_to_say_let_the_others_go_on(plain: Agent) -> None:
    little = [plain.sh("while echo x; do :; done") for _ in range(10)]
    much = plain.spawn("head", "-c", "3000000", "/dev/zero", stdin=False)
    assert much.wait() == 0
    assert len(much.out) == 3000000
    for process in little:
        os.kill(process.pid, signal.SIGKILL)


def test_stdin(agent: Agent) -> None:
    process = agent.spawn("cat")
    process.write(b"one ").write(b"two").close_stdin()
    assert process.wait() == 0
    assert process.out == b"one two"
    assert process.taken == 7


def test_stdin_larger_than_every_buffer(agent: Agent) -> None:
    process = agent.spawn("sha256sum")
    process.write(NUMBERS).close_stdin()
    assert process.wait() == 0
    assert process.out.split()[0].decode() == hashlib.sha256(NUMBERS).hexdigest()


def test_stdin_end_with_output_open(agent: Agent) -> None:
    """`sort` says nothing before its input ends: the classic that engines' exec cannot do."""
    process = agent.spawn("sort", "-n")
    process.write(b"3\n1\n2\n").close_stdin()
    process.wait()
    assert process.out == b"1\n2\n3\n"


def test_stdin_that_nobody_reads(plain: Agent) -> None:
    """ACK is what the process took; a window more waits in the guest; over it is an error."""
    process = plain.sh("echo up; sleep 1000")
    process.until_out(b"up\n")
    chunk = bytes(32768)
    for at in range(0, wire.WINDOW_IN, len(chunk)):
        plain.send(wire.data(process.channel, Stream.IN, at, chunk))
    plain.sync()
    plain.until(lambda: process.taken)
    assert process.taken == 65536  # a pipe's default capacity
    size = process.taken + wire.WINDOW_IN - wire.WINDOW_IN
    plain.send(wire.data(process.channel, Stream.IN, wire.WINDOW_IN, bytes(size)))
    plain.sync()
    plain.send(wire.data(process.channel, Stream.IN, wire.WINDOW_IN + size, b"x"))
    plain.until_closed()


def test_stdin_with_a_gap(plain: Agent) -> None:
    process = plain.spawn("cat")
    plain.send(wire.data(process.channel, Stream.IN, 1, b"x"))
    plain.until_closed()
    again = plain.guest.agent()
    again.adopt()
    process = again.channel(process.channel)
    process.write(b"abc")
    again.until(lambda: process.out == b"abc")
    again.send(wire.fixed(Type.EOF, process.channel, 2))
    again.until_closed()


def test_stdin_repeats_are_skipped(guest: Guest) -> None:
    agent = guest.agent()
    process = agent.spawn("cat")
    process.write(b"abcdef")
    agent.until(lambda: process.out == b"abcdef")
    agent.send(wire.data(process.channel, Stream.IN, 0, b"abc"))
    agent.send(wire.data(process.channel, Stream.IN, 3, b"defghi"))
    process.written = 9
    process.close_stdin().close_stdin()
    assert process.wait() == 0
    assert process.out == b"abcdefghi"


def test_stdin_after_its_end(plain: Agent) -> None:
    process = plain.sh("cat; echo done; read x; sleep 1000")
    process.write(b"x").close_stdin()
    process.until_out(b"done\n")
    plain.send(wire.data(process.channel, Stream.IN, 0, b"x"))  # a repeat
    plain.sync()
    plain.send(wire.data(process.channel, Stream.IN, 1, b"y"))
    plain.until_closed()


def test_stdin_that_the_process_closed(agent: Agent) -> None:
    process = agent.sh("exec <&-; echo closed; while [ ! -e /proc/self/nope ]; do sleep 100; done")
    process.until_out(b"closed\n")
    agent.send(wire.data(process.channel, Stream.IN, 0, b"to nobody"))
    agent.until(lambda: Stream.IN in process.eof)
    assert process.eof[Stream.IN] == 0
    agent.send(wire.data(process.channel, Stream.IN, 9, b"more"))
    agent.send(wire.data(process.channel, Stream.IN, 13, b"and more"))
    agent.sync()
    process.kill()
    process.wait_gone()


def test_stdin_waits_over_a_reconnection(guest: Guest, tmp_path: Path) -> None:
    """IN_OFFSET is what the guest has; what of it waits there is told by an ACK."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    agent = guest.agent()
    process = agent.sh(f"read line < {fifo}; exec sha256sum")
    first = NUMBERS[: wire.WINDOW_IN]
    for at in range(0, len(first), 65536):
        agent.send(wire.data(process.channel, Stream.IN, at, first[at : at + 65536]))
    agent.sync()
    again = guest.agent()
    late = again.channel(process.channel)
    assert late.written == len(first)
    again.until(lambda: 0 < late.taken < len(first))
    again.adopt()
    fifo.write_text("go\n")
    late.write(NUMBERS[len(first) :]).close_stdin()
    assert late.wait() == 0
    assert late.out.split()[0].decode() == hashlib.sha256(NUMBERS).hexdigest()


def test_runs_without_a_connection(guest: Guest, tmp_path: Path) -> None:
    done = tmp_path / "done"
    agent = guest.agent()
    process = agent.sh(f"read line; seq 0 {COUNT - 1}; touch {done}; exit 6")
    channel = process.channel
    process.write(b"go\n")
    agent.sync()
    agent.close()
    until(lambda: True)
    assert not done.exists(), "a full window blocks, as any pipe"
    again = guest.agent()
    again.adopt()
    process = again.channel(channel)
    assert process.wait() == 6
    assert (
        hashlib.sha256(process.out).digest()
        == hashlib.sha256(NUMBERS[process.base[Stream.OUT] :]).digest()
    )


def test_memory_is_given_back(plain: Agent) -> None:
    def resident() -> int:
        return int(Path(f"/proc/{plain.guest.pid}/statm").read_text().split()[1]) * 4096

    before = resident()
    processes = [plain.spawn("head", "-c", "4M", "/dev/zero", stdin=False) for _ in range(20)]
    for process in processes:
        process.wait_gone()
    assert resident() - before < 4 << 20
