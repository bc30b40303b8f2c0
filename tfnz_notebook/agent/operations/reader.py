"""Logs, read as a stream."""

from __future__ import annotations

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.operations.answers import of_process, of_session
from tfnz_notebook.agent.operations.log import stream_of
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.process import Process


@of_process("reader.open")
async def begin(client: Client, process: Process | Ended, message: Message) -> Answer:
    """Stream a log from an offset on, or from ``tail`` bytes before its end if that is later.

    ``credit`` is an absolute offset, ``window`` instead counts from where it starts; ``keep`` and
    ``hold`` as in :class:`~tfnz_notebook.agent.process.reader.Reader`; with ``order`` also which
    stream came after which.
    """
    body = message.body
    stream = stream_of(message)
    log = process.logs[stream - 1]
    keep, start = body.get("keep"), body["offset"]
    if (tail := body.get("tail")) is not None:
        start = max(start, log.head - tail)
    if keep is not None or tail is not None:  # the newest, as much of it as there is
        start = max(start, log.base)
    start = log.first(start)
    dropped = max(0, log.base - body["offset"])  # passing over that costs no credit
    credit = body["credit"] + dropped if body.get("window") is None else start + body["window"]
    hold = bool(body.get("hold"))
    client.open_log(body["reader"], process, stream, start, credit, keep=keep, hold=hold)
    told = {"order": process.marks.order()} if body.get("order") else {}
    return {"offset": start, "head": log.head, **told}, None


@of_session("reader.close")
async def end(client: Client, message: Message) -> Answer:
    """Stop streaming."""
    client.close_reader(message.body["reader"])
    return NOTHING
