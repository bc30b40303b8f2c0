"""Processes: how they start, talk, are signalled and end."""

import concurrent.futures
import hashlib
import re
import signal
from collections.abc import Callable

import pytest
from integration.polling import Clock, until
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    CommandNotFound,
    Misuse,
    ProcessFailed,
    ProcessGone,
    WaitTimeout,
)
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process


def said(process: Process, text: bytes, seconds: float = 10) -> bytes:
    """Its stdout, once that contains the text."""
    return until(lambda: process.stdout if text in process.stdout else b"", seconds, f"{text!r}")


def members(process: Process) -> int:
    """How many of its tree live."""
    try:
        return process.signal(0, tree=True)
    except ProcessGone:
        return 0


# --- from start to end ---------------------------------------------------------------------------


def test_a_string_goes_to_the_shell_and_a_list_does_not(box: Container) -> None:
    assert box.spawn_process("echo $((6 * 7)) | tr 2 3").wait_until_complete() == b"43\n"
    assert box.spawn_process(["/bin/echo", "$((6 * 7))"]).wait_until_complete() == b"$((6 * 7))\n"


def test_output_return_code_and_text_of_a_process(box: Container) -> None:
    process = box.spawn_process("echo out; echo err >&2; exit 7")
    assert process.pid > 0
    assert process.wait_until_complete() == b"out\n"
    assert (process.stdout, process.stderr, process.returncode) == (b"out\n", b"err\n", 7)
    assert process.wait_until_complete() == b"out\n"
    assert process.command == "echo out; echo err >&2; exit 7"


def test_the_return_code_of_a_signal_is_negative(box: Container) -> None:
    process = box.spawn_process("kill -SEGV $$")
    process.wait_until_complete()
    assert process.returncode == -signal.SIGSEGV


def test_env_cwd_and_user(box: Container, where: str) -> None:
    process = box.spawn_process(
        'echo "$GREETING $(pwd)"; id -un', env={"GREETING": "a b=c"}, cwd="/tmp", user="nobody"
    )
    assert process.wait_until_complete() == b"a b=c /tmp\nnobody\n"
    process = box.spawn_process("id -u; id -g", user="1234:2345", env=[("A", 1)])
    assert process.wait_until_complete() == b"1234\n2345\n"


def test_any_bytes_pass_in_both_directions(box: Container) -> None:
    everything = bytes(range(256)) * 2048
    process = box.spawn_process(["/bin/cat"])
    process.stdin(everything)
    process.close_stdin()
    assert process.wait_until_complete(timeout=20) == everything


def test_more_than_every_buffer_goes_through_stdin(box: Container) -> None:
    block = hashlib.sha256(b"block").digest() * 32768  # 1 MiB
    process = box.spawn_process(["/usr/bin/sha256sum"])
    expected = hashlib.sha256()
    for _ in range(12):
        process.stdin(block)
        expected.update(block)
    process.close_stdin()
    assert process.wait_until_complete(timeout=30).split()[0].decode() == expected.hexdigest()


def test_closing_stdin_leaves_the_output_open(box: Container) -> None:
    process = box.spawn_process("cat; sleep 0.2; echo after")
    process.stdin(b"before\n")
    process.close_stdin()
    assert process.wait_until_complete(timeout=10) == b"before\nafter\n"


def test_run_process_returns_all_three(box: Container) -> None:
    done = box.run_process("echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)
    with pytest.raises(ProcessFailed, match="^Cannot ") as failed:
        box.run_process("echo bad >&2; exit 9", check=True)
    assert failed.value.details["returncode"] == 9


def test_a_thousand_at_once(box: Container) -> None:
    processes = [box.spawn_process(["/bin/sh", "-c", f"exit {n % 100}"]) for n in range(1000)]
    for process in processes:
        process.wait_until_complete(timeout=60)
    assert [process.returncode for process in processes] == [n % 100 for n in range(1000)]


def test_threads_may_share_a_container(box: Container) -> None:
    def run(number: int) -> bytes:
        return box.spawn_process(f"echo {number}").wait_until_complete()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(run, range(64))) == [b"%d\n" % number for number in range(64)]


# --- reading -------------------------------------------------------------------------------------


def test_iterating_gives_chunks_while_it_runs(box: Container) -> None:
    process = box.spawn_process("echo one; read line; echo $line")
    pieces = iter(process)
    assert next(pieces) == b"one\n"
    assert process.returncode is None
    process.stdin(b"two\n")
    assert b"".join(pieces) == b"two\n"


def test_lines_are_lines_however_they_come(box: Container) -> None:
    process = box.spawn_process("printf 'a\\nb'; sleep 0.1; printf 'c\\n\\nlast'")
    assert list(process.lines()) == [b"a", b"bc", b"", b"last"]
    assert list(process.lines()) == [b"a", b"bc", b"", b"last"], "a second reader begins anew"
    errors = box.spawn_process("echo no >&2; echo yes")
    assert list(errors.lines(stream="stderr")) == [b"no"]


def test_every_reader_has_an_offset_of_its_own(box: Container) -> None:
    process = box.spawn_process("seq 1 20000")
    whole = process.wait_until_complete()
    assert b"".join(process.chunks(offset=50_000)) == whole[50_000:]
    assert process.log(10, limit=5) == whole[10:15]


async def test_everything_that_blocks_can_be_awaited(box: Container) -> None:
    process = await box.aio.spawn_process("echo one; echo two; exit 5")
    assert await process == b"one\ntwo\n"
    assert [line async for line in process.lines()] == [b"one", b"two"]
    assert b"".join([chunk async for chunk in process]) == b"one\ntwo\n"
    assert await process.aio.wait() == 5
    cat = await box.aio.spawn_process("cat")
    await cat.aio.stdin(b"hello\n")
    await cat.aio.close_stdin()
    assert await cat.aio.wait_until_complete(timeout=10) == b"hello\n"


def test_a_full_quota_holds_back_a_process_or_drops_its_oldest_output(
    own_world: Callable[..., World], where: str
) -> None:
    own_world(TFNZ_SPOOL_QUOTA=str(16 << 20))
    numbers = ["seq", "1", "5000000"]  # 39 MB
    with Location(where) as location:
        box = location.best_node().spawn_container("debian", sleep=True)
        tail = box.spawn_process(numbers, retain="tail")
        tail.wait(timeout=60)
        kept = tail.stdout
        assert kept.endswith(b"\n4999999\n5000000\n")
        assert 1 << 20 < len(kept) <= 20 << 20
        held = box.spawn_process(numbers)
        until(lambda: len(held.log(limit=1 << 30)) > 15 << 20, 30, "the quota is full")
        assert box.run_process("echo others go on").stdout == b"others go on\n"
        assert held.returncode is None
        assert held.stdout.startswith(b"1\n2\n3\n")
        box.destroy_process(held)


# --- terminals -----------------------------------------------------------------------------------


def test_a_terminal_has_its_size_from_the_start(box: Container) -> None:
    process = box.spawn_process("stty size; tty; echo error >&2", tty=True, size=(33, 101))
    output = process.wait_until_complete()
    assert output.startswith(b"33 101\r\n/dev/")
    assert output.endswith(b"error\r\n")
    assert process.stderr == b""


def test_a_resize_is_seen_inside(box: Container) -> None:
    process = box.spawn_process(
        "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done", tty=True
    )
    said(process, b"ready\r\n")
    process.resize(50, 132)
    said(process, b"50 132\r\n")
    box.destroy_process(process)


def test_a_shell_is_a_login_shell_on_a_terminal(box: Container) -> None:
    shell = box.spawn_shell()
    reply = shell.stdin(b"tty; shopt login_shell\n", return_reply=True, drop_echo=True)
    assert reply.lstrip().startswith(b"/dev/")
    assert re.search(rb"login_shell\s+on", reply)
    shell.stdin(b"exit 4\n")
    shell.wait_until_complete(timeout=10)
    assert shell.returncode == 4


def test_control_characters_do_what_they_do(box: Container) -> None:
    shell = box.spawn_shell()
    # Who is to be interrupted says it: bash forgets a ^C while it starts a program.
    shell.stdin(b"sh -c \"echo rea''dy; exec sleep 1000\"\n")
    said(shell, b"ready")
    shell.stdin(b"\x03")
    shell.stdin(b"echo interr''upted $?\n")
    said(shell, b"interrupted 130")
    shell.close_stdin()
    shell.wait_until_complete(timeout=10)


# --- signals, and the end ------------------------------------------------------------------------


def test_a_signal_reaches_the_leader_alone(box: Container) -> None:
    process = box.spawn_process(
        [
            "/bin/bash",
            "-c",
            "trap 'echo leader' USR1; bash -c 'echo ready; sleep 1000' & while :; do wait; done",
        ]
    )
    said(process, b"ready")
    assert process.signal(signal.SIGUSR1) == 1  # it would kill the child, which has no trap
    said(process, b"leader")
    assert members(process) >= 2
    box.destroy_process(process)


def test_a_signal_reaches_the_whole_tree(box: Container) -> None:
    script = "trap 'echo got-$0; exit' TERM; echo up-$0; while :; do sleep 0.05; done"
    process = box.spawn_process(
        ["/bin/bash", "-c", 'bash -c "$S" child & setsid bash -c "$S" stray & wait; wait'],
        env={"S": script},
    )
    said(process, b"up-child")
    said(process, b"up-stray")
    assert process.signal("TERM", tree=True) >= 3
    output = b"".join(process)
    assert b"got-child" in output
    assert b"got-stray" in output


def test_a_daemon_that_left_its_session_is_killed_too(box: Container) -> None:
    process = box.spawn_process(
        "setsid sh -c 'cd /; (env -i sh -c \"echo daemon; while :; do sleep 1000; done\" &)' &"
        "sleep 1000"
    )
    said(process, b"daemon")
    assert members(process) >= 3
    assert box.destroy_process(process) in (0, None)
    until(lambda: members(process) == 0, 5, "nobody of the tree is left")


def test_destroying_tells_first_and_kills_then(box: Container) -> None:
    polite = box.spawn_process(
        "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    )
    said(polite, b"ready")
    box.destroy_process(polite)
    assert polite.returncode == 0
    assert polite.stdout.endswith(b"bye\n")
    stubborn = box.spawn_process("trap '' TERM; echo ready; while :; do sleep 0.05; done")
    said(stubborn, b"ready")
    with Clock() as clock:
        stubborn.destroy(grace=0.3)
    assert stubborn.returncode == -signal.SIGKILL
    assert 0.3 <= clock.seconds < 5


def test_a_second_destroy_says_so(box: Container) -> None:
    process = box.spawn_process("sleep 1000")
    box.destroy_process(process)
    assert process.returncode == -signal.SIGTERM
    with pytest.raises(ProcessGone, match="^Cannot .* ended.*Spawn another") as gone:
        box.destroy_process(process)
    assert isinstance(gone.value, ValueError)


def test_a_timeout_ends_the_whole_tree(box: Container) -> None:
    process = box.spawn_process(
        "trap '' TERM; sleep 1000 & echo up; sleep 1000; sleep 1000", timeout=0.3
    )
    with Clock() as clock:
        assert process.wait_until_complete(timeout=30) == b"up\n"
    assert process.timed_out
    assert process.returncode in (-signal.SIGTERM, -signal.SIGKILL)
    assert clock.seconds < 15
    until(lambda: members(process) == 0, 5, "nobody of the tree is left")


def test_waiting_with_a_timeout_ends_only_the_waiting(box: Container) -> None:
    process = box.spawn_process("sleep 1000")
    with pytest.raises(WaitTimeout, match="^Cannot wait") as late:
        process.wait_until_complete(timeout=0.1)
    assert isinstance(late.value, TimeoutError)
    assert process.returncode is None
    box.destroy_process(process)


def test_a_child_that_outlives_its_parent_may_still_write(box: Container) -> None:
    process = box.spawn_process("(sleep 0.5; echo late) & echo early")
    assert process.wait_until_complete(timeout=10) == b"early\n"
    assert b"".join(process) == b"early\nlate\n"


def test_all_processes_lists_what_runs(box: Container) -> None:
    first, second = (box.spawn_process("sleep 1000") for _ in range(2))
    listed = {process.id for process in box.all_processes()}
    assert {first.id, second.id} <= listed
    assert box.all_processes()[-1].command == "sleep 1000"
    box.destroy_process(first)
    assert first.id not in {p.id for p in box.all_processes() if p.returncode is None}
    box.destroy_process(second)


def test_misuse_is_refused_and_nothing_happens(box: Container) -> None:
    with pytest.raises(CommandNotFound):
        box.spawn_process(["/no/such/program"])
    with pytest.raises(Misuse, match=r"encode"):
        box.spawn_process(["/bin/true"]).stdin("text")  # type: ignore[arg-type]
    assert box.spawn_process(["/bin/echo", "fine"]).wait_until_complete() == b"fine\n"
