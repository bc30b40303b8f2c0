"""Spawn, write to, ask, signal, destroy."""

from __future__ import annotations

from typing import Final

from tfnz_notebook._wire.guest import Target
from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.process.asking import ask, close_stdin, write
from tfnz_notebook.agent.process.command import IDENT, Command
from tfnz_notebook.agent.process.stop import destroy, signal
from tfnz_notebook.errors import Misuse, ProtocolError

#: Seconds that destroy_process waits between TERM and KILL, unless told otherwise.
GRACE: Final = 5.0
#: The last signal of any Linux (MIPS; 64 elsewhere).
MAX_SIGNAL: Final = 128


async def process_spawn(client: Client, message: Message) -> Answer:
    """Start a process, its readers opened before its first byte."""
    body = message.body
    container = client.container(message)
    command = Command(
        argv=[str(part) for part in body["command"]],
        text=body["text"],
        env=[str(pair) for pair in body["env"]],
        cwd=body.get("cwd"),
        user=body.get("user"),
        tty=bool(body.get("tty")),
        login=bool(body.get("login")),
        rows=body.get("rows") or 24,
        columns=body.get("columns") or 80,
        timeout=body.get("timeout"),
        retain="tail" if body.get("retain") == "tail" else "all",
    )
    if not IDENT.fullmatch(body["process"]):
        raise ProtocolError("A process's id is 32 hexadecimal digits.")
    if not command.argv:
        raise Misuse("Cannot spawn a process: the command is empty. Name a program.")
    process = await container.spawn(body["process"], command)
    for each in body.get("readers") or ():
        match each:
            case [int(stream), int(reader), int(credit)] if stream in (1, 2):
                client.open_log(reader, process, stream, 0, credit)
            case _:
                raise ProtocolError("A reader is [stream, reader, credit].")
    return {"pid": process.pid, "started": process.started}, None


async def process_list(client: Client, message: Message) -> Answer:
    """A container's processes that kernels started, in that order."""
    container = client.container(message)
    infos = [p.info() for p in container.processes.values() if p.ident != container.ident]
    return {"processes": infos}, None


async def process_info(client: Client, message: Message) -> Answer:
    """One process."""
    return {"info": client.process(message).info()}, None


async def process_ticket(client: Client, message: Message) -> Answer:
    """What lets a view use the process past its kernel, and where: at the agent of that name."""
    process, server = client.process(message), client.server
    return {"ticket": server.tickets.issue(process.ident), "agent": server.name}, None


async def process_signal(client: Client, message: Message) -> Answer:
    """Signal leader, group or tree."""
    process = client.process(message)
    target = message.body["target"]
    if target not in iter(Target):
        raise ProtocolError(f"Target {target} is unknown.")
    number = message.body["signal"]
    if number > MAX_SIGNAL:
        raise ProtocolError(f"Signal {number} is unknown.")
    return {"count": await signal(process, number, Target(target))}, None


async def process_destroy(client: Client, message: Message) -> Answer:
    """TERM, then KILL, the whole tree."""
    process = client.process(message)
    grace = message.body.get("grace")
    return {"survivors": await destroy(process, GRACE if grace is None else float(grace))}, None


async def process_stdin(client: Client, message: Message) -> Answer:
    """Write to stdin."""
    process = client.process(message)
    await write(process, message.payload or b"", message.body.get("write") or "")
    return NOTHING


async def process_close_stdin(client: Client, message: Message) -> Answer:
    """End of file on stdin."""
    close_stdin(client.process(message))
    return NOTHING


async def process_resize(client: Client, message: Message) -> Answer:
    """The terminal's size."""
    process = client.process(message)
    rows, columns = message.body["rows"], message.body["columns"]
    if not (0 < rows < 10000 and 0 < columns < 10000):
        raise Misuse(f"Cannot resize to {rows} x {columns}: both must be between 1 and 9999.")
    await process.resize(rows, columns)
    return NOTHING


async def process_ask(client: Client, message: Message) -> Answer:
    """Write, and say where the reply is in the logs."""
    process = client.process(message)
    body = message.body
    settle, key = bool(body.get("settle")), body.get("write") or ""
    reply = await ask(process, message.payload or b"", body.get("timeout"), settle, key)
    return dict(reply), None
