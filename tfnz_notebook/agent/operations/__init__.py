"""What a kernel may ask for: one small function an operation, gathered in ``OPERATIONS``.

Each takes (client, message) and gives (body, payload) or raises an error of the tree. Fields were
checked against the table in ``_wire.link``; what they mean is checked here.
"""

from __future__ import annotations

from typing import Final

from tfnz_notebook.agent.operations import containers, dials, files, logs, places, processes
from tfnz_notebook.agent.server import Operation

OPERATIONS: Final[dict[str, Operation]] = {
    "ping": places.ping,
    "bye": places.bye,
    "nodes": places.nodes,
    "images": places.images,
    "volume.create": places.volume_create,
    "volume.list": places.volume_list,
    "volume.remove": places.volume_remove,
    "container.spawn": containers.container_spawn,
    "container.list": containers.container_list,
    "container.info": containers.container_info,
    "container.start": containers.container_start,
    "container.stats": containers.container_stats,
    "container.reboot": containers.container_reboot,
    "container.allow": containers.container_allow,
    "container.disallow": containers.container_disallow,
    "container.destroy": containers.container_destroy,
    "process.spawn": processes.process_spawn,
    "process.list": processes.process_list,
    "process.info": processes.process_info,
    "process.ticket": processes.process_ticket,
    "process.signal": processes.process_signal,
    "process.destroy": processes.process_destroy,
    "process.stdin": processes.process_stdin,
    "process.close_stdin": processes.process_close_stdin,
    "process.resize": processes.process_resize,
    "process.ask": processes.process_ask,
    "log.read": logs.log_read,
    "reader.open": logs.reader_open,
    "reader.close": logs.reader_close,
    "file.put": files.file_put,
    "file.get": files.file_get,
    "file.list": files.file_list,
    "file.mkdir": files.file_mkdir,
    "dial": dials.dial,
}
