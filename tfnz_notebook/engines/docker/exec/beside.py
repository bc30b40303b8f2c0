"""Containers whose image's own first process is PID 1: the guest runs beside it, by an exec.

What must be PID 1 (s6, systemd and their like) is, with the engine's own notion of command, user
and environment. The guest is started before each connection to it: where one runs, another ends at
once (``--beside``), and where somebody killed it, there is one again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tfnz_notebook.engines.base import ContainerSpec
from tfnz_notebook.engines.docker import answers
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.docker.calls import check
from tfnz_notebook.engines.http.client import Client, Response
from tfnz_notebook.errors import Misuse

#: Seconds between attempts to start a guest, and after the last.
_PAUSES: Final = (0.05, 0.2, 0.5, 1.0)


def body(spec: ContainerSpec, made: dict[str, Any], early: Mapping[str, bytes]) -> dict[str, Any]:
    """The create call's JSON without the guest's command. Misuse for what only a guest can."""
    if spec.sleep or spec.entrypoint is not None:
        raise Misuse(
            "Cannot have the image's own first process sleep, or be another: "
            "entrypoint='unmodified' keeps it as it is. Leave one of the two out."
        )
    if early:
        raise Misuse(
            f"Cannot write {next(iter(early))!r} before boot: it lies where something is mounted, "
            "and the image's own first process starts before the guest, who could. Choose another "
            "place, or leave entrypoint='unmodified' out."
        )
    if spec.flags.get("tty"):
        made["Tty"] = made["OpenStdin"] = True
    for key in ("Entrypoint", "Cmd", "User"):
        del made[key]
    if spec.command is not None:
        made["Cmd"] = list(spec.command)
    if spec.user is not None:
        made["User"] = spec.user
    return made


def is_root(user: str) -> bool:
    """Whether a container's user, as it is named, is root."""
    return user.partition(":")[0] in ("", "0", "root")


@dataclass(frozen=True, slots=True)
class Beside:
    """How the guest is started, and whom its execs run as: the container's own user.

    Root may be less than the guest needs, there: Docker's exec of root in a container of another
    user has no capabilities. A guest of that user is reached by exec alone.
    """

    user: str
    guest: list[str]


def found(config: Mapping[str, Any]) -> Beside:
    """From what the engine says of the container: what the guest starts is as an exec."""
    user = str(config.get("User") or "")
    return Beside("0:0" if is_root(user) else user, _arguments(config))


def _arguments(config: Mapping[str, Any]) -> list[str]:
    words = [shape.GUEST, "init", "--beside", "--socket", shape.SOCKET, "--sleep"]
    for option, key in (("--user", "User"), ("--cwd", "WorkingDir")):
        if config.get(key):
            words += [option, str(config[key])]
    return words


async def launch(
    client: Client, ref: str, how: Beside, running: Callable[[], Awaitable[bool]]
) -> None:
    """Start the guest in a running container; nothing happens in one that does not run.

    Engines have many words for one that has just ended, and notice it a little later: so a refusal
    counts if the container is still said to run after some more. EngineError.
    """
    refused: Response | None = None
    for pause in _PAUSES:
        refused = await _attempt(client, ref, how)
        if refused is None or not await running():
            return
        await asyncio.sleep(pause)
    assert refused is not None
    check(refused, "start the guest beside the container's first process")


async def _attempt(client: Client, ref: str, how: Beside) -> Response | None:
    """The refusal, if it is one."""
    wanted = {"Cmd": how.guest, "User": how.user, "Tty": False}
    made = await client.request("POST", f"/containers/{ref}/exec", payload=wanted)
    if made.status >= 400:
        return made
    number = str(answers.mapping(made.json())["Id"])
    told = {"Detach": True, "Tty": False}
    begun = await client.request("POST", f"/exec/{number}/start", payload=told)
    return begun if begun.status >= 400 else None


async def output(client: Client, ref: str) -> AsyncGenerator[tuple[int, bytes]]:
    """What the engine's log has of its first process, and then what comes."""
    query = {"stdout": "1", "stderr": "1", "follow": "1"}
    frames = answers.Frames()
    async with client.stream("GET", f"/containers/{ref}/logs", query=query) as answer:
        if answer.status == 404:
            return
        if answer.status != 200:
            check(await answer.whole(), "read the container's log")
        async for chunk in answer:
            for piece in frames.feed(chunk):
                yield piece
