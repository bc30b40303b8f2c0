"""Single calls to a Docker-like engine whose refusals need telling apart."""

from __future__ import annotations

import asyncio
from typing import Any

from tfnz_notebook.engines.base import ContainerSpec
from tfnz_notebook.engines.docker import answers
from tfnz_notebook.engines.http.client import Client, Response
from tfnz_notebook.errors import EngineError, ImageMissing, Misuse


def check(answer: Response, what: str) -> None:
    """EngineError unless it is a success."""
    if answer.status >= 400:
        raise EngineError(
            f"Cannot {what}: the engine refuses ({answer.message}). Look at its log.",
            status=answer.status,
        )


def name_of(spec: ContainerSpec) -> str:
    """As ``docker ps`` shows it."""
    return spec.name or f"tfnz-{spec.id}"


def is_gone(answer: Response) -> bool:
    """Whether that container is not there. Of one that goes as it looks, Podman says 500."""
    gone = answer.status >= 400 and "no such container" in answer.message.lower()
    return gone or answer.status == 404


async def create(client: Client, spec: ContainerSpec, made: dict[str, Any]) -> str:
    """Create a container; its id. ImageMissing, Misuse (the name is taken), EngineError."""
    name = name_of(spec)
    query = {"name": name}
    if platform := spec.flags.get("platform"):
        query["platform"] = platform
    answer = await client.request(
        "POST", "/containers/create", query=query, payload=made, timeout=120
    )
    if answer.status == 201:
        return str(answers.mapping(answer.json())["Id"])
    said = answer.message
    if platform and answer.status == 404:
        raise ImageMissing(
            f"Cannot use the image {spec.image!r} for {platform}: the one that is here is for "
            f"another ({said}). Pull it with '{client.name} pull --platform {platform}'.",
            image=spec.image,
        )
    if answer.status == 404 and "image" in said.lower():
        raise ImageMissing(
            f"Cannot use the image {spec.image!r}: it is gone ({said}). Spawn again to pull it.",
            image=spec.image,
        )
    taken = answer.status == 409 or "already in use" in said
    if taken and spec.name:
        raise Misuse(
            f"Cannot name a container {name!r}: the name is taken. "
            "Choose another, or destroy the other container."
        )
    raise EngineError(
        f"Cannot create a container of {spec.image!r}: {said}. Correct the arguments.",
        status=answer.status,
    )


async def rename(client: Client, ref: str, name: str) -> None:
    """Give a container another name."""
    answer = await client.request("POST", f"/containers/{ref}/rename", query={"name": name})
    check(answer, f"name a container {name!r}")


async def put(client: Client, ref: str, path: str, archive: bytes, what: str) -> None:
    """Unpack an archive at a directory of a container, running or not."""
    answer = await client.request(
        "PUT",
        f"/containers/{ref}/archive",
        query={"path": path},
        body=archive,
        headers={"Content-Type": "application/x-tar"},
        timeout=600,
    )
    if answer.status == 200:
        return
    if "read-only" in answer.message:
        raise Misuse(
            f"Cannot put {what} into the container: its root file system is read-only. "
            "Put them on a volume, or spawn without read_only."
        )
    raise EngineError(
        f"Cannot put {what} into the container: {answer.message}. Check the paths: a part of one "
        "may be a file in the image.",
        status=answer.status,
    )


async def delete(client: Client, ref: str, podman: bool) -> None:
    """Kill and remove. Podman's forced remove asks politely first, for ten seconds: so kill."""
    if podman:
        await client.request("POST", f"/containers/{ref}/kill", query={"signal": "KILL"})
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 60
    while True:
        answer = await client.request(
            "DELETE", f"/containers/{ref}", query={"force": "1", "v": "1"}, timeout=120
        )
        if answer.status in (200, 204, 404):
            return
        busy = answer.status == 409 or "in progress" in answer.message
        if not busy or loop.time() > deadline:
            check(answer, "remove the container")
        await asyncio.sleep(0.05)
