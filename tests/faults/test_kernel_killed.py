"""A kernel is killed; another opens the same session and finds every line. Two at once do too."""

import json

import pytest
from faults.check import TOTAL, Stream
from faults.processes import MIB, peak
from faults.scene import Scene, at_once, environment, read
from integration.polling import until
from integration.scripts import Script

pytestmark = pytest.mark.faults
SESSION = "outlives-kernels"

#: Spawns writers, follows one, and says when lines have come; then goes on until it is killed.
KERNEL = """
import sys, time
from faults.check import Stream
from tfnz_notebook.location import Location
where, session, writer = sys.argv[1:]
location = Location(where, session=session)
box = location.best_node().spawn_container("busybox", sleep=True, tag="box").wait_until_ready()
box.put("/writer", open(writer, "rb").read(), mode=0o755)
stream = Stream(0, lines=1)
for n in range(10):
    command = f"/writer seed={n} lines={1 if n == 0 else 1024} code={n}"
    command += [" blocks=50 rate=6400", " blocks=200 rate=4e6", " blocks=30"][min(n, 2)]
    callback = (lambda process, data: stream.feed(data)) if n == 0 else None
    box.spawn_process(command, data_callback=callback)
while not stream.size:
    time.sleep(0.01)
print("lines", flush=True)
time.sleep(1000)
"""

#: A second kernel on the session: reads all that is there, says what it saw.
READER = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from faults.check import Stream
from tfnz_notebook.location import Location
where, session = sys.argv[1:]
location = Location(where, session=session)
box = location.container("box")
def read(process):
    n = int(process.command.partition("seed=")[2].split()[0])
    stream = Stream(n, lines=1 if n == 0 else 1024)
    for chunk in process.chunks():
        stream.feed(chunk)
    code = process.wait(60)
    stream.complete()
    return n, code, stream.checked
print("open", flush=True)
with ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(read, box.all_processes(ended=True)))))
own = box.spawn_process("/writer seed=77 blocks=100 code=77")
assert own.wait(60) == 77
location.disconnect()
"""


def test_a_killed_kernel_is_replaced(scene: Scene) -> None:
    script = Script(scene.world, KERNEL, scene.where, SESSION, str(scene.writer), **environment())
    with script:
        until(lambda: script.lines or script.process.poll() is not None, 60, "lines come")
        assert script.lines, script.errors
        assert peak(script.process.pid) < 200 * MIB
        script.process.kill()
        script.process.wait()
    location = scene.location(session=SESSION)
    box = location.container("box")
    scene.watch.look()
    processes = box.all_processes(ended=True)
    assert len(processes) == 10

    def one(process: object) -> None:
        number = int(process.command.partition("seed=")[2].split()[0])
        lines = 1 if number == 0 else 1024
        stream, called = Stream(number, lines=lines), Stream(number, lines=lines)
        process.attach(lambda process, data: called.feed(data))
        read(process, stream)
        assert process.wait(60) == number
        stream.complete()
        called.complete()

    at_once(one, processes)
    box.destroy()


def test_two_kernels_read_the_same_session(scene: Scene) -> None:
    arguments = (scene.where, SESSION)
    with (
        Script(scene.world, KERNEL, *arguments, str(scene.writer), **environment()) as first,
    ):
        until(lambda: first.lines or first.process.poll() is not None, 60, "lines come")
        assert first.lines, first.errors
        scene.watch.look()
        with (
            Script(scene.world, READER, *arguments, **environment()) as second,
            Script(scene.world, READER, *arguments, **environment()) as third,
        ):
            for script in (second, third):
                script.wait(120)
                told = json.loads(script.lines[1][1])
                known = [each for each in told if each[0] < 70]
                assert sorted(each[:2] for each in known) == [[n, n] for n in range(10)]
                TOTAL.add(sum(size for _, _, size in told))
        assert first.process.poll() is None, "the first one was not disturbed"
        first.process.kill()
    box = scene.location(session=SESSION).container("box")
    own = [each for each in box.all_processes(ended=True) if "seed=77" in each.command]
    assert [each.returncode for each in own] == [77, 77]
    for process in own:
        stream = Stream(77)
        stream.feed(process.stdout)
        stream.complete()
    box.destroy()
