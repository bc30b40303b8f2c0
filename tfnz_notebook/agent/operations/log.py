"""Logs, read at once."""

from __future__ import annotations

from typing import Any

from tfnz_notebook._wire.link import Message
from tfnz_notebook._wire.operations import MAX_PAYLOAD
from tfnz_notebook.agent.clients import Answer, Client
from tfnz_notebook.agent.operations.answers import of_process
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.errors import ProtocolError


def stream_of(message: Message) -> int:
    """The stream that a message names, 1 or 2. Raises ProtocolError."""
    stream = message.body["stream"]
    if stream not in (1, 2):
        raise ProtocolError(f"Stream {stream} is unknown.")
    return int(stream)


@of_process("log.read")
async def read(client: Client, process: Process | Ended, message: Message) -> Answer:
    """A piece of a log; with ``order`` also which stream came after which, with ``times`` when."""
    body, stream = message.body, stream_of(message)
    if isinstance(process, Process):  # what was read before, a fresh agent may not have yet
        await process.outputs[stream - 1].caught_up.wait()
    log = process.logs[stream - 1]
    offset, chunk = log.read(body["offset"], min(body["limit"], MAX_PAYLOAD))
    told: dict[str, Any] = {"offset": offset, "head": log.head, "base": log.base, "eof": log.eof}
    if body.get("order"):
        told["order"] = process.marks.order()
    if body.get("times"):
        told["times"] = process.marks.told()
    return told, chunk
