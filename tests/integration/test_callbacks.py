"""Callbacks in a plain script: in order, complete, one at a time, whatever they do."""

import hashlib
import threading
import time
from itertools import pairwise

import pytest
from integration.polling import until

from tfnz_notebook._link import spooled
from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process

pytestmark = pytest.mark.engines("host", "podman", "docker", anywhere=True)


def test_data_comes_in_order_and_the_end_comes_last(box: Container) -> None:
    got: list[object] = []
    process = box.spawn_process(
        "seq 1 50000",
        data_callback=lambda process, data: got.append(data),
        termination_callback=lambda process: got.append(process),
    )
    process.wait_until_complete(timeout=20)
    assert got[-1] is process
    data = b"".join(piece for piece in got[:-1] if isinstance(piece, bytes))
    assert data == b"".join(b"%d\n" % n for n in range(1, 50001))


def test_a_termination_callback_may_take_the_code(box: Container) -> None:
    got = []
    process = box.spawn_process(
        "exit 6", termination_callback=lambda process, code: got.append(code)
    )
    process.wait()
    assert got == [6]


def test_stderr_has_a_callback_of_its_own(box: Container) -> None:
    out, err = [], []
    process = box.spawn_process(
        "echo out; echo err >&2",
        data_callback=lambda process, data: out.append(data),
        stderr_callback=lambda process, data: err.append(data),
    )
    process.wait()
    assert (b"".join(out), b"".join(err)) == (b"out\n", b"err\n")


def test_without_a_callback_stderr_is_not_mixed_in(box: Container) -> None:
    out = []
    process = box.spawn_process(
        "echo out; echo err >&2", data_callback=lambda process, data: out.append(data)
    )
    process.wait()
    assert b"".join(out) == b"out\n"


def test_destroying_calls_back_like_any_other_end(box: Container) -> None:
    codes = []
    process = box.spawn_process(
        "sleep 1000", termination_callback=lambda process, returncode: codes.append(returncode)
    )
    box.destroy_process(process)
    assert codes == [-15]


def test_callbacks_of_one_process_never_overlap_and_are_off_the_main_thread(box: Container) -> None:
    spans: list[tuple[float, float]] = []
    threads = set()

    def slowly(process: Process, data: bytes) -> None:
        threads.add(threading.get_ident())
        began = time.monotonic()
        time.sleep(0.01)
        spans.append((began, time.monotonic()))

    process = box.spawn_process(
        "for i in $(seq 1 20); do echo $i; sleep 0.005; done", data_callback=slowly
    )
    process.wait(timeout=20)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    assert threading.get_ident() not in threads


def test_they_are_called_while_the_script_does_other_things(box: Container) -> None:
    got = []
    process = box.spawn_process(
        "echo now; sleep 1000", data_callback=lambda process, data: got.append(data)
    )
    until(lambda: got, 5, "the callback was called")
    box.destroy_process(process)


def test_one_that_raises_is_reported_and_the_stream_goes_on(
    box: Container, capsys: pytest.CaptureFixture[str]
) -> None:
    got = []

    def broken(process: Process, data: bytes) -> None:
        got.append(data)
        if len(got) == 1:
            raise RuntimeError("a mistake of the user's")

    process = box.spawn_process("echo one; sleep 0.3; echo two", data_callback=broken)
    process.wait(timeout=10)
    assert b"".join(got) == b"one\ntwo\n"
    said = capsys.readouterr().err
    assert said.count("RuntimeError: a mistake of the user's") == 1
    assert "Traceback" in said


def test_a_callback_may_use_the_container(box: Container) -> None:
    answers = []

    def again(process: Process, data: bytes) -> None:
        if not answers:
            inner = box.spawn_process(["/bin/echo", "inner"])
            answers.append(inner.wait_until_complete(timeout=10))
            process.stdin(b"go on\n")

    process = box.spawn_process("echo outer; read line; echo $line", data_callback=again)
    assert process.wait_until_complete(timeout=20) == b"outer\ngo on\n"
    assert answers == [b"inner\n"]


def test_much_reaches_a_callback_whole_from_where_it_lies(
    box: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 256 << 20
    digest, total, lay = hashlib.sha256(), 0, 0
    real = spooled.read

    def read(path: str, at: int, size: int) -> bytes:
        nonlocal lay
        lay += size
        return real(path, at, size)

    monkeypatch.setattr(spooled, "read", read)

    def count(process: Process, data: bytes) -> None:
        nonlocal total
        total += len(data)
        digest.update(data)

    source = (
        "import sys, hashlib\n"
        "block = bytes(range(256)) * 4096\n"
        "digest = hashlib.sha256()\n"
        f"for number in range({size >> 20}):\n"
        "    piece = number.to_bytes(8, 'big') + block[8:]\n"
        "    digest.update(piece); sys.stdout.buffer.write(piece)\n"
        "print(digest.hexdigest(), file=sys.stderr)\n"
    )
    process = box.spawn_process(["python3", "-c", source], data_callback=count)
    process.wait(timeout=60)
    assert total == size
    assert process.stderr.decode().strip() == digest.hexdigest()
    assert lay > size * 0.9, "past the link, all but what is not much"


def test_a_callback_that_is_slow_holds_back_the_process_and_nobody_else(box: Container) -> None:
    gate = threading.Event()

    def wait(process: Process, data: bytes) -> None:
        gate.wait(60)

    flood = box.spawn_process("yes", data_callback=wait)
    other = box.spawn_process(["/bin/echo", "alive"])
    assert other.wait_until_complete(timeout=10) == b"alive\n"
    gate.set()
    box.destroy_process(flood)


def test_an_asyncio_script_gets_them_on_its_loop(where: str) -> None:
    import asyncio

    async def main() -> tuple[list[bytes], set[int]]:
        got, threads = [], set()

        def note(process: Process, data: bytes) -> None:
            got.append(data)
            threads.add(threading.get_ident())

        async with Location(where) as location:
            node = await location.aio.best_node()
            container = await node.aio.spawn_container("debian", sleep=True)
            process = await container.aio.spawn_process(
                "echo a; sleep 0.1; echo b", data_callback=note
            )
            await process
        return got, threads

    got, threads = asyncio.run(main())
    assert b"".join(got) == b"a\nb\n"
    assert threads == {threading.get_ident()}
