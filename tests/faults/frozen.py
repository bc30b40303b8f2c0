"""An agent that is stopped (SIGSTOP) for longer than anybody waits for it, and goes on."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from faults.check import Stream
from faults.scene import Scene, command, read
from integration.polling import Clock, until

WRITERS = 10


def frozen(scene: Scene, seconds: float) -> float:
    """Stop it for so long; how many seconds after its going on lines came again."""
    box = scene.box(scene.locations[0])
    streams = [Stream(n) for n in range(WRITERS)]
    processes = [
        box.spawn_process(command(n, blocks=27 * seconds, rate=1.5e6, code=n))
        for n in range(WRITERS)
    ]
    called = Stream(100, lines=1)
    ticker = box.spawn_process(
        command(100, lines=1, rate=6400, blocks=500 + 50 * seconds, code=100),
        data_callback=lambda process, data: called.feed(data),
    )
    ended = box.spawn_process("echo before; exit 3")
    assert ended.wait(30) == 3
    cat = box.spawn_process("cat")
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        reading = [pool.submit(read, *each) for each in zip(processes, streams, strict=True)]
        until(lambda: called.size, 30, "lines come")
        pid = scene.agent
        os.kill(pid, signal.SIGSTOP)
        try:
            asked = pool.submit(lambda: box.spawn_process("echo asked meanwhile; exit 5"))
            end = time.monotonic() + seconds
            until(lambda: time.monotonic() > end, seconds + 30, "it was stopped so long")
            size = called.size
        finally:
            os.kill(pid, signal.SIGCONT)
        with Clock() as clock:
            until(lambda: called.size > size, 60, "lines come again")
        late = asked.result(60)
        assert (late.wait(60), late.stdout) == (5, b"asked meanwhile\n")
        assert [each.wait(120) for each in processes] == list(range(WRITERS))
        for future in reading:
            future.result(60)
    assert ticker.wait(60) == 100
    for stream in (*streams, called):
        stream.complete()
    cat.stdin(b"after\n")
    cat.close_stdin()
    assert cat.wait_until_complete(timeout=30) == b"after\n"
    assert (ended.returncode, ended.stdout) == (3, b"before\n")
    assert scene.agent == pid, "nobody took it for dead"
    box.destroy()
    return clock.seconds
