"""What a kernel may ask for: one small function an operation, gathered in ``OPERATIONS``.

Each takes (client, message) and gives (body, payload) or raises an error of the tree. Fields were
checked against the table in ``_wire.link``; what they mean is checked here.
"""

from __future__ import annotations

from typing import Final

from tfnz_notebook.agent.operations import (
    container,
    dial,
    files,
    log,
    places,
    process,
)
from tfnz_notebook.agent.server import Operation

OPERATIONS: Final[dict[str, Operation]] = {
    "ping": places.ping,
    "bye": places.bye,
    "nodes": places.nodes,
    "images": places.images,
    "volume.create": places.volume_create,
    "volume.list": places.volume_list,
    "volume.remove": places.volume_remove,
    "container.spawn": container.container_spawn,
    "container.list": container.container_list,
    "container.info": container.container_info,
    "container.start": container.container_start,
    "container.stats": container.container_stats,
    "container.reboot": container.container_reboot,
    "container.allow": container.container_allow,
    "container.disallow": container.container_disallow,
    "container.destroy": container.container_destroy,
    "process.spawn": process.process_spawn,
    "process.list": process.process_list,
    "process.info": process.process_info,
    "process.ticket": process.process_ticket,
    "process.signal": process.process_signal,
    "process.destroy": process.process_destroy,
    "process.stdin": process.process_stdin,
    "process.close_stdin": process.process_close_stdin,
    "process.resize": process.process_resize,
    "process.ask": process.process_ask,
    "log.read": log.log_read,
    "reader.open": log.reader_open,
    "reader.close": log.reader_close,
    "file.put": files.file_put,
    "file.get": files.file_get,
    "file.list": files.file_list,
    "file.mkdir": files.file_mkdir,
    "dial": dial.dial,
}
