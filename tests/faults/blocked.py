"""A notebook whose cell holds the kernel while 50 processes call back."""

import json

from faults.check import TOTAL
from faults.processes import Sampled, peak
from faults.scene import Scene, environment
from integration.notebook import Notebook

WRITERS = 50
RATE = 400_000

OPEN = f"""
import json, time
from faults.check import Stream
from tfnz_notebook.location import Location
location = Location()
box = location.best_node().spawn_container("busybox", sleep=True).wait_until_ready()
box.put("/writer", open({{writer!r}}, "rb").read(), mode=0o755)
streams, codes, processes = {{{{}}}}, {{{{}}}}, []
def over(process, code):
    codes[process.command.split()[1]] = code
for n in range({WRITERS}):
    stream = streams[f"seed={{{{n}}}}"] = Stream(n)
    processes.append(box.spawn_process(
        f"/writer seed={{{{n}}}} rate={RATE} seconds={{seconds}} code={{{{n}}}}",
        data_callback=lambda process, data, stream=stream: stream.feed(data),
        termination_callback=over))
"""
BLOCK = """
before = sum(stream.size for stream in streams.values())
time.sleep({seconds})
delivered = sum(stream.size for stream in streams.values()) - before
"""
LOOK = """
for process in processes:
    process.wait(240)
for stream in streams.values():
    stream.complete()
print(json.dumps([delivered, [codes[name] for name in streams],
                  sum(stream.checked for stream in streams.values())]))
location.disconnect()
"""


def blocked(scene: Scene, seconds: int) -> tuple[int, int]:
    """Hold it for so long; the most memory, in bytes, of the kernel and of its agent."""
    scene.world.settings |= environment()
    with Notebook(scene.world, scene.where) as notebook:
        notebook.run(OPEN.format(writer=str(scene.writer), seconds=seconds), 120)
        pid = scene.agent
        with Sampled(notebook.process.pid) as kernel:
            notebook.run(BLOCK.format(seconds=seconds), seconds + 120)
        cell = notebook.run(LOOK, 300)
        delivered, codes, size = json.loads(notebook.text(cell))
        assert delivered == 0, "the cell held the loop on which callbacks run"
        assert codes == list(range(WRITERS))
        assert size >= 0.8 * WRITERS * RATE * seconds, "nobody was held back for long"
        TOTAL.add(size)
        return max(kernel.series), peak(pid)
