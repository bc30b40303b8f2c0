"""The byte stream to a guest through one hijacked exec of ``guest connect``.

Works wherever the engine is. The bridge says nothing of its own on stdout, and a guest speaks
first, so the first byte proves that all of the way is open; a bridge that ends before is one that
found no socket yet, and is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tfnz_notebook.engines.base import Closed, Received
from tfnz_notebook.engines.docker import answers
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.engines.launch import socket as guest_socket
from tfnz_notebook.engines.launch.stream import ExecStream
from tfnz_notebook.errors import ContainerGone, EngineError, EngineGone

_FIRST_PAUSE: Final = 0.01
_LAST_PAUSE: Final = 0.5


async def connect(
    client: Client,
    ref: str,
    received: Received,
    closed: Closed,
    running: Callable[[], Awaitable[bool]],
    patience: float = guest_socket.PATIENCE,
    user: str = "0:0",
) -> ExecStream:
    """A stream, once the guest has spoken on it. ContainerGone, EngineGone, EngineError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    pause = _FIRST_PAUSE
    while True:
        stream = ExecStream(received, closed)
        try:
            said = await _attempt(client, ref, stream, user)
            if said is None:
                # Not the patience that is left: a slow engine's first exec must get its chance.
                async with asyncio.timeout(patience):
                    spoke = await stream.spoke
                if spoke:
                    stream.deliver()
                    return stream
                said = stream.stderr.decode("utf-8", "replace").strip()
        except TimeoutError:
            said = "it says nothing"
        except BaseException:
            stream.forget()
            raise
        stream.forget()
        if not await running():
            raise gone(ref)
        if loop.time() > deadline:
            raise EngineGone(
                f"Cannot connect to the container's guest within {patience:g} s: "
                f"{said or 'it says nothing'}. Destroy the container and spawn another."
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LAST_PAUSE)


async def _attempt(client: Client, ref: str, stream: ExecStream, user: str) -> str | None:
    """Start one bridge; the engine's complaint if it would not."""
    made = await client.request(
        "POST",
        f"/containers/{ref}/exec",
        payload={
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": False,
            "User": user,  # the guest's own: it refuses any other
            "Cmd": [shape.GUEST, "connect", "--socket", shape.SOCKET],
        },
    )
    if made.status == 404:
        raise gone(ref)
    stopped = made.status == 409 or "not running" in made.message or "improper" in made.message
    if made.status >= 400 and stopped:
        return made.message  # not running (yet, or any more): the caller looks which
    if made.status != 201:
        raise EngineError(
            f"Cannot connect to the container: {made.message}. Look at the engine's log.",
            status=made.status,
        )
    number = str(answers.mapping(made.json())["Id"])
    answer, transport, early = await client.hijack(
        f"/exec/{number}/start", payload={"Detach": False, "Tty": False}
    )
    if transport is None:
        return answer.message
    transport.set_protocol(stream)
    stream.connection_made(transport)
    if early:
        stream.data_received(early)
    stream.listen()
    return None


def gone(ref: str) -> ContainerGone:
    """The error for a container that is not there, or not running any more."""
    return ContainerGone(
        f"Cannot use the container {ref[:12]}: it is not there, or no longer running. "
        "Look at its logs, or spawn another."
    )
