"""Images that a Docker-like engine holds: listed, looked at, removed, saved and loaded."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final

from tfnz_notebook._base import names
from tfnz_notebook._base.text import one_line
from tfnz_notebook.engines.base import Stored
from tfnz_notebook.engines.docker import answers, calls
from tfnz_notebook.engines.docker.image.lines import Lines, wrong
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.errors import ImageError, ImageInUse, ImageMissing

#: Seconds that an engine may be silent over an archive: it unpacks what it has got.
_IDLE: Final = 300.0
#: What Docker and Podman (which has them all in one line) say of what they loaded.
_LOADED: Final = re.compile(r"Loaded image(?:\(s\))?(?: ID)?: (.+)")


async def listed(client: Client) -> list[Stored]:
    """All of them, by name; those without one last."""
    answer = await client.request("GET", "/images/json")
    calls.check(answer, "list the images")
    found = [_stored(answers.mapping(each)) for each in answer.json() or ()]
    return sorted(found, key=lambda each: (not each.tags, each.tags, each.id))


async def one(client: Client, image: str) -> Stored:
    """The one of that name or id."""
    return _stored(await inspect(client, image))


async def inspect(client: Client, image: str) -> dict[str, Any]:
    """What the engine says of it."""
    names.parse(image)
    answer = await client.request("GET", f"/images/{image}/json")
    if answer.status == 404:
        raise _missing(image, "look at")
    calls.check(answer, f"look at the image {image!r}")
    return answers.mapping(answer.json())


async def remove(client: Client, image: str, *, force: bool) -> None:
    """Take that name off it; with its last one it goes."""
    names.parse(image)
    query = {"force": "1"} if force else None
    answer = await client.request("DELETE", f"/images/{image}", query=query, timeout=300)
    if answer.status == 404:
        raise _missing(image, "remove")
    if answer.status == 409 or "in use" in answer.message:
        raise ImageInUse(
            f"Cannot remove the image {image!r}: it is in use ({answer.message}). Destroy the "
            "containers that are made of it."
        )
    calls.check(answer, f"remove the image {image!r}")


async def save(client: Client, image: str) -> AsyncGenerator[bytes, None]:
    """Its archive, as ``docker save`` writes it."""
    await inspect(client, image)  # Podman begins an archive of what is not there
    async with client.stream("GET", f"/images/{image}/get", idle=_IDLE) as answer:
        if answer.status != 200:
            calls.check(await answer.whole(), f"save the image {image!r}")
        async for piece in answer:
            yield piece


async def load(client: Client, archive: AsyncIterator[bytes]) -> list[str]:
    """Names, or ids, of the images of an archive, which are there now."""
    found, lines, failed = list[str](), Lines(), ""
    headers = {"Content-Type": "application/x-tar"}
    async with client.stream(
        "POST", "/images/load", query={"quiet": "1"}, body=archive, headers=headers, idle=_IDLE
    ) as answer:
        if answer.status != 200:
            raise _unreadable((await answer.whole()).message)
        async for piece in answer:
            for said in lines.feed(piece):
                failed = failed or wrong(said)
                if told := _LOADED.match(str(said.get("stream") or "")):
                    found += [name.strip() for name in told[1].split(",")]
        for said in lines.end():
            failed = failed or wrong(said)
    if failed or not found:
        raise _unreadable(failed or "the engine found no image in it")
    return found


def _unreadable(said: str) -> ImageError:
    return ImageError(
        f"Cannot load images: {one_line(said.strip(), 400)}. Give an archive that image.save(), "
        "'docker save' or 'podman save' wrote."
    )


def _missing(image: str, doing: str) -> ImageMissing:
    return ImageMissing(
        f"Cannot {doing} the image {image!r}: it is not here. location.images() lists what is.",
        image=image,
    )


def _stored(said: Mapping[str, Any]) -> Stored:
    """An entry of a list, or an inspect."""
    tags = (str(tag) for tag in said.get("RepoTags") or ())
    size, created = said.get("Size"), said.get("Created")
    return Stored(
        id=str(said.get("Id") or ""),
        tags=tuple(sorted(tag for tag in tags if not tag.startswith("<none>"))),
        size=size if isinstance(size, int) else None,
        created=float(created) if isinstance(created, int | float) else _time(str(created or "")),
    )


def _time(text: str) -> float | None:
    """RFC 3339 with nanoseconds, which Python's parser does not take."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()
    except ValueError:
        return None
