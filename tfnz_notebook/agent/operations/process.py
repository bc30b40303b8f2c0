"""Spawn, write to, ask, signal, destroy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tfnz_notebook._wire.guest import Target
from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.operations.answers import of_container, of_process, of_session
from tfnz_notebook.agent.process.asking import ask, begin_stdin, close_stdin, write
from tfnz_notebook.agent.process.command import IDENT, Command
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.agent.process.stop import destroy, signal
from tfnz_notebook.errors import Misuse, ProtocolError

#: Seconds that destroy_process waits between TERM and KILL, unless told otherwise.
GRACE: Final = 5.0
#: The last signal of any Linux (MIPS; 64 elsewhere).
MAX_SIGNAL: Final = 128


@of_container("process.spawn")
async def spawn(client: Client, container: Container, message: Message) -> Answer:
    """Start a process, its readers opened before its first byte."""
    body = message.body
    last, tty = bool(body.get("last")), bool(body.get("tty"))
    command = Command(
        argv=body["command"],
        text=body["text"],
        env=body["env"],
        cwd=body.get("cwd"),
        user=body.get("user"),
        tty=tty,
        login=bool(body.get("login")),
        rows=body.get("rows") or 24,
        columns=body.get("columns") or 80,
        timeout=body.get("timeout"),
        retain="tail" if body.get("retain") == "tail" else "all",
        origin=body.get("origin") or "",
        closed=last and not message.payload and not tty,
    )
    if not IDENT.fullmatch(body["process"]):
        raise ProtocolError("A process's id is 32 hexadecimal digits.")
    if not command.argv:
        raise Misuse("Cannot spawn a process: the command is empty. Name a program.")
    if said := body.get("said"):
        client.wants[body["process"]] = said
    try:
        process = await container.spawn(body["process"], command)
        for stream, reader, credit in _readers(body):
            client.open_log(reader, process, stream, 0, credit)
        if not command.closed and isinstance(process, Process) and process.returncode is None:
            await begin_stdin(process, message.payload, last=last)
    except BaseException:
        client.wants.pop(body["process"], None)
        raise
    if process.ended:  # it was asked for again, or its end has brought all there was
        client.wants.pop(process.ident, None)
    client.server.process_changed(container, process, but=client)
    return {"info": process.info()}, None


def _readers(body: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    for each in body.get("readers") or ():
        match each:
            case [int(stream), int(reader), int(credit)] if stream in (1, 2):
                yield stream, reader, credit
            case _:
                raise ProtocolError("A reader is [stream, reader, credit].")


@of_container("process.list")
async def list_processes(client: Client, container: Container, message: Message) -> Answer:
    """A container's processes that kernels started, in that order."""
    await container.looked.wait()
    container.check_met()
    found = container.processes.each()
    return {"processes": (each.info() for each in found if each.ident != container.ident)}, None


@of_session("process.info")
async def info(client: Client, message: Message) -> Answer:
    """Those of them that are known; ``all``: there are no others."""
    found, whole = await client.sessions.known(client.session, message.body["processes"])
    return {"processes": [each.info() for each in found], "all": whole}, None


@of_process("process.ticket")
async def ticket(client: Client, process: Process | Ended, message: Message) -> Answer:
    """What lets a view use the process past its kernel, and where: at the agent of that name."""
    server = client.server
    return {"ticket": server.tickets.issue(process.ident), "agent": server.name}, None


@of_process("process.signal")
async def send_signal(client: Client, process: Process | Ended, message: Message) -> Answer:
    """Signal leader, group or tree."""
    target = message.body["target"]
    if target not in iter(Target):
        raise ProtocolError(f"Target {target} is unknown.")
    number = message.body["signal"]
    if number > MAX_SIGNAL:
        raise ProtocolError(f"Signal {number} is unknown.")
    return {"count": await signal(process, number, Target(target))}, None


@of_process("process.destroy")
async def stop(client: Client, process: Process | Ended, message: Message) -> Answer:
    """TERM, then KILL, the whole tree."""
    grace = message.body.get("grace")
    return {"survivors": await destroy(process, GRACE if grace is None else float(grace))}, None


@of_process("process.stdin")
async def write_stdin(client: Client, process: Process | Ended, message: Message) -> Answer:
    """Write to stdin."""
    await write(process, message.payload or b"", message.body.get("write") or "")
    return NOTHING


@of_process("process.close_stdin")
async def end_stdin(client: Client, process: Process | Ended, message: Message) -> Answer:
    """End of file on stdin."""
    close_stdin(process)
    return NOTHING


@of_process("process.resize")
async def resize(client: Client, process: Process | Ended, message: Message) -> Answer:
    """The terminal's size."""
    rows, columns = message.body["rows"], message.body["columns"]
    if not (0 < rows < 10000 and 0 < columns < 10000):
        raise Misuse(f"Cannot resize to {rows} x {columns}: both must be between 1 and 9999.")
    if isinstance(process, Process):
        await process.resize(rows, columns)
    return NOTHING


@of_process("process.ask")
async def question(client: Client, process: Process | Ended, message: Message) -> Answer:
    """Write, and say where the reply is in the logs."""
    body = message.body
    settle, key = bool(body.get("settle")), body.get("write") or ""
    reply = await ask(process, message.payload or b"", body.get("timeout"), settle, key)
    return dict(reply), None
