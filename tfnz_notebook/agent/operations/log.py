"""Reading logs, at once or as a stream."""

from __future__ import annotations

from typing import Any

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.errors import ProtocolError


def _stream(message: Message) -> int:
    stream = message.body["stream"]
    if stream not in (1, 2):
        raise ProtocolError(f"Stream {stream} is unknown.")
    return int(stream)


async def log_read(client: Client, message: Message) -> Answer:
    """A piece of a log; with ``order``, also how its streams came one after the other."""
    body = message.body
    process = client.process(message)
    log = process.logs[_stream(message) - 1]
    offset, chunk = log.read(body["offset"], min(body["limit"], 4 << 20))
    told: dict[str, Any] = {"offset": offset, "head": log.head, "base": log.base, "eof": log.eof}
    if body.get("order"):
        told["order"] = [list(mark) for mark in process.order.marks]
    return told, chunk


async def reader_open(client: Client, message: Message) -> Answer:
    """Stream a log from an offset on, or from ``tail`` bytes before its end if that is later.

    ``credit`` is an absolute offset, ``window`` instead counts from where it starts; ``keep`` and
    ``hold`` as in :class:`~tfnz_notebook.agent.process.reader.Reader`.
    """
    body = message.body
    process, stream = client.process(message), _stream(message)
    log = process.logs[stream - 1]
    start = max(body["offset"], log.base)
    if (tail := body.get("tail")) is not None:
        start = max(start, log.head - tail)
    dropped = max(0, log.base - body["offset"])  # passing over that costs no credit
    credit = body["credit"] + dropped if body.get("window") is None else start + body["window"]
    keep, hold = body.get("keep"), bool(body.get("hold"))
    client.open_log(body["reader"], process, stream, start, credit, keep=keep, hold=hold)
    return {"offset": start, "head": log.head}, None


async def reader_close(client: Client, message: Message) -> Answer:
    """Stop streaming."""
    client.close_reader(message.body["reader"])
    return NOTHING
