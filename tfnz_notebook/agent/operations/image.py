"""Images: which there are; how they come, are made, kept and go."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.jobs.heard import Heard
from tfnz_notebook.agent.jobs.sent import Outcome, Sent, Work
from tfnz_notebook.agent.operations.answers import of_session
from tfnz_notebook.engines.base import Progress, PullPolicy, Recipe, Stored
from tfnz_notebook.errors import AgentError, ProtocolError, TfnzError

T = TypeVar("T")


def told(image: Stored) -> dict[str, Any]:
    """As kernels hear of it."""
    return dataclasses.asdict(image)


@of_session("image.list")
async def list_images(client: Client, message: Message) -> Answer:
    """Those that are there."""
    return {"images": [told(each) for each in await client.sessions.engine.images()]}, None


@of_session("image.inspect")
async def inspect(client: Client, message: Message) -> Answer:
    """One of them, and all that the engine says of it."""
    engine, name = client.sessions.engine, message.body["image"]
    said = await engine.inspect_image(name)
    return {"image": told(await engine.stored(name)), "said": said}, None


@of_session("image.remove")
async def remove(client: Client, message: Message) -> Answer:
    """Take a name off an image; with the last one it goes."""
    force = bool(message.body.get("force"))
    await client.sessions.engine.remove_image(message.body["image"], force=force)
    return NOTHING


@of_session("image.pull")
async def pull(client: Client, message: Message) -> Answer:
    """Have an image there, and say meanwhile how far it is."""
    body, engine = message.body, client.sessions.engine
    policy: PullPolicy = "missing" if body.get("pull") == "missing" else "always"
    if body.get("pull") not in (None, policy):
        raise ProtocolError(f"An image is pulled {body['pull']!r}.")

    async def work(heard: Heard | None) -> Stored:
        progress = _unheard if heard is None else heard.progress
        return await engine.pull(body["image"], policy, progress)

    return {"image": told(await _heard(client, body, work))}, None


def _unheard(_: Progress) -> None:
    pass


async def _heard(
    client: Client, body: dict[str, Any], work: Callable[[Heard | None], Awaitable[T]]
) -> T:
    """Do it in the session's scope; who has a reader hears of it, and ends it by leaving that."""
    ident = body.get("reader")
    if ident is None:
        return await client.session.scope.run(work(None))
    client.close_reader(ident)
    heard = client.readers[ident] = Heard(client, ident, body.get("credit") or 0)
    task = asyncio.current_task()
    assert task is not None
    heard.left = task.cancel
    try:
        return await client.session.scope.run(work(heard))
    finally:
        heard.left = lambda: None
        if client.readers.get(ident) is heard:
            del client.readers[ident]


@of_session("image.save")
async def save(client: Client, message: Message) -> Answer:
    """What an image is; its archive streams to the reader."""
    body, engine = message.body, client.sessions.engine
    found = await engine.stored(body["image"])

    async def work(heard: Heard | None) -> None:
        assert heard is not None
        try:
            async with contextlib.aclosing(engine.save(body["image"])) as pieces:
                async for piece in pieces:
                    await heard.write(piece)
        except TfnzError:
            heard.fail()
        else:
            heard.end()

    client.beside(_heard(client, body, work))
    return {"image": told(found)}, None


@of_session("image.load")
async def load(client: Client, message: Message) -> Answer:
    """A piece of an archive; with the last one the images that were in it."""
    engine = client.sessions.engine

    async def work(pieces: AsyncIterator[bytes]) -> Outcome:
        names = await client.session.scope.run(engine.load(pieces))
        return {"images": [told(await engine.stored(name)) for name in names]}

    return await _piece(client, message, work)


@of_session("image.build")
async def build(client: Client, message: Message) -> Answer:
    """A piece of a context; with the last one the image that was built of it."""
    body, engine = message.body, client.sessions.engine

    async def work(pieces: AsyncIterator[bytes]) -> Outcome:
        recipe = Recipe(
            body.get("name") or "",
            body.get("dockerfile") or "",
            {str(key): str(each) for key, each in (body.get("arguments") or {}).items()},
            body.get("target") or "",
            body.get("platform") or "",
            cache=not body.get("fresh"),
            pull=bool(body.get("pull")),
        )

        async def run(heard: Heard | None) -> str:
            return await engine.build(recipe, pieces, _nobody if heard is None else heard.write)

        return {"image": told(await engine.stored(await _heard(client, body, run)))}

    return await _piece(client, message, work)


async def _nobody(_: bytes) -> None:
    pass


async def _piece(client: Client, message: Message, work: Work) -> Answer:
    body = message.body
    name, jobs = body["transfer"], client.jobs
    if body.get("drop"):
        if (job := jobs.pop(name, None)) is not None:
            job.drop()
        return NOTHING
    offset, last = body.get("offset") or 0, bool(body.get("last"))
    if name not in jobs:
        if offset:
            raise AgentError(
                "Cannot go on: the connection broke between two pieces. Begin it anew.",
            )
        jobs[name] = Sent(work)
    job = jobs[name]
    over = last
    try:
        return await job.take(offset, message.payload or b"", last=last), None
    except BaseException:
        over = True
        raise
    finally:
        if over and jobs.get(name) is job:
            del jobs[name]
            job.drop()
