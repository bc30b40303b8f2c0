"""Images at a real agent: what is sent in pieces, what is heard meanwhile, and every way to end."""

import asyncio
import io
import tarfile
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from unit.agent.live import LiveAgent, container, live_agent, met, until

from tfnz_notebook._link.jobs import job as jobs
from tfnz_notebook._link.jobs.job import Job
from tfnz_notebook._link.link import Link
from tfnz_notebook.agent.container import forks
from tfnz_notebook.agent.service import label
from tfnz_notebook.engines.base import Image, Progress, Recipe
from tfnz_notebook.errors import (
    AgentError,
    BuildFailed,
    ImageError,
    ImageMissing,
    LinkClosed,
    TfnzError,
)


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveAgent]:
    async with live_agent(monkeypatch) as made:
        yield made


class Said:
    """A job, and what was heard of it."""

    def __init__(self, link: Link, *, held: bool = False) -> None:
        self.heard = bytearray()
        self.held = held
        self.job = Job(link, self._hear)

    def _hear(self, data: bytes) -> None:
        self.heard += data
        if not self.held:
            self.job.taken(len(data))


async def each(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def context(dockerfile: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
    return out.getvalue()


def cut(whole: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    return each(*(whole[at : at + size] for at in range(0, len(whole), size)))


RECIPE = {"name": "made", "dockerfile": "file"}


async def test_a_context_in_many_pieces_becomes_an_image(agent: LiveAgent) -> None:
    said = Said(await agent.kernel())
    sent = cut(context(b"FROM debian\nRUN one\nRUN two\n"))
    reply = await said.job.send("image.build", RECIPE, sent)
    assert reply.body["image"]["tags"] == ["made:latest"]
    assert said.heard.endswith(b"two\n")
    assert "made" in agent.engine.world.images


async def test_an_error_comes_out_whichever_piece_it_meets(agent: LiveAgent) -> None:
    link = await agent.kernel()
    sent = cut(context(b"FROM debian\nRUN exit 3\n"))
    with pytest.raises(BuildFailed, match="step 2/2"):
        await Said(link).job.send("image.build", RECIPE, sent)

    async def refuse(*_: Any) -> str:
        raise BuildFailed("Cannot build: it does not want to. Ask another.")

    agent.engine.build = refuse  # type: ignore[method-assign]  # before it has taken anything
    with pytest.raises(BuildFailed, match="does not want to"):
        await Said(link).job.send("image.build", RECIPE, cut(bytes(100_000)))
    assert_nothing_is_left(agent)


async def test_what_a_build_says_waits_for_who_hears_it(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "WINDOW", 100)
    said, told = Said(await agent.kernel(), held=True), 0

    async def build(recipe: Recipe, pieces: Any, hear: Callable[[bytes], Any]) -> str:
        nonlocal told
        for _ in range(10):
            await hear(b"x" * 30)
            told += 30
        return "debian"

    agent.engine.build = build  # type: ignore[method-assign]
    sending = asyncio.ensure_future(said.job.send("image.build", RECIPE, each(b"")))
    await until(lambda: len(said.heard) == 100)
    await asyncio.sleep(0)
    assert told <= 100, "the engine's build is held back"
    said.held = False
    said.job.taken(100)
    await sending
    assert len(said.heard) == told == 300


@pytest.fixture
def building(agent: LiveAgent) -> asyncio.Event:
    """A build that never ends by itself; set once it was cancelled."""
    over = asyncio.Event()

    async def build(recipe: Recipe, pieces: Any, hear: Callable[[bytes], Any]) -> str:
        try:
            await hear(b"begun")
            await asyncio.Event().wait()
        finally:
            over.set()
        return ""

    agent.engine.build = build  # type: ignore[method-assign]
    return over


async def begun(link: Link) -> asyncio.Future[Any]:
    said = Said(link)
    sending = asyncio.ensure_future(said.job.send("image.build", RECIPE, each(b"x", b"y")))
    await until(lambda: said.heard == b"begun")
    return sending


async def test_who_gives_it_up_ends_the_build(agent: LiveAgent, building: asyncio.Event) -> None:
    sending = await begun(await agent.kernel())
    sending.cancel()
    await asyncio.wait_for(building.wait(), 10)
    await until(lambda: nothing_is_left(agent))


async def test_a_kernel_that_goes_ends_its_build(agent: LiveAgent, building: asyncio.Event) -> None:
    link = await agent.kernel()
    sending = await begun(link)
    assert link._line is not None
    link._line.close()
    link._broke("a test")
    await asyncio.wait_for(building.wait(), 10)
    with pytest.raises(LinkClosed):
        await sending


async def test_a_session_that_ends_ends_its_build(
    agent: LiveAgent, building: asyncio.Event
) -> None:
    link = await agent.kernel()
    sending = await begun(link)
    sessions = agent.service.sessions
    await sessions.end(next(iter(sessions)))
    await asyncio.wait_for(building.wait(), 10)
    with pytest.raises(LinkClosed, match="the session has ended"):
        await sending


async def test_a_piece_out_of_its_order_ends_it(agent: LiveAgent) -> None:
    link, transfer = await agent.kernel(), {"transfer": "t"}
    await link.request("image.load", {**transfer, "offset": 0}, b"one")
    with pytest.raises(AgentError, match="a part of it did not arrive"):
        await link.request("image.load", {**transfer, "offset": 7}, b"two")
    with pytest.raises(AgentError, match="between two pieces"):
        await link.request("image.load", {**transfer, "offset": 3}, b"two")
    assert_nothing_is_left(agent)


async def test_how_far_a_pull_is_comes_within_its_credit(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfnz_notebook.agent.jobs.heard.EVERY", 0.0)
    agent.engine.world.registry["far/away"] = Image("sha256:far")
    said = Said(await agent.kernel())
    reply = await said.job.ask("image.pull", {"image": "far/away"})
    assert reply.body["image"]["id"] == "sha256:far"
    assert b"downloading" in said.heard
    monkeypatch.setattr(jobs, "WINDOW", 1)
    said = Said(await agent.kernel(), held=True)
    await said.job.ask("image.pull", {"image": "far/away"})
    assert not said.heard, "what finds no room is not told"


async def test_a_pull_that_nobody_waits_for_ends(agent: LiveAgent) -> None:
    over = asyncio.Event()

    async def ensure(image: str, pull: str, progress: Callable[[Progress], None]) -> Image:
        try:
            progress(Progress("waiting"))
            await asyncio.Event().wait()
        finally:
            over.set()
        raise AssertionError

    agent.engine.ensure_image = ensure  # type: ignore[method-assign,assignment]
    said = Said(await agent.kernel())
    asking = asyncio.ensure_future(said.job.ask("image.pull", {"image": "debian"}))
    await until(lambda: said.heard)
    asking.cancel()
    await asyncio.wait_for(over.wait(), 10)
    await until(lambda: nothing_is_left(agent))


async def test_an_image_goes_out_and_comes_back(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "WINDOW", 1000)  # so that it waits for who takes it
    link = await agent.kernel()
    said = Said(link)
    await said.job.stream("image.save", {"image": "debian"})
    with pytest.raises(ImageMissing):
        await Said(link).job.stream("image.save", {"image": "none"})
    reply = await Said(link).job.send("image.load", {}, cut(bytes(said.heard)))
    assert reply.body["images"][0]["tags"] == ["debian:latest"]
    with pytest.raises(ImageError, match="no archive"):
        await Said(link).job.send("image.load", {}, each(b"what is this"))


async def test_an_archive_that_breaks_off_is_no_archive(agent: LiveAgent) -> None:
    async def save(image: str) -> AsyncIterator[bytes]:
        yield b"half"
        raise TfnzError("Cannot go on.")

    agent.engine.save = save  # type: ignore[method-assign,assignment]
    with pytest.raises(ImageError, match="broke off"):
        await Said(await agent.kernel()).job.stream("image.save", {"image": "debian"})


def nothing_is_left(agent: LiveAgent) -> bool:
    clients = agent.service.server.clients.values()
    return not any(client.jobs or client.readers or client._beside for client in clients)


def assert_nothing_is_left(agent: LiveAgent) -> None:
    assert nothing_is_left(agent)


# -- forks


async def forked(agent: LiveAgent, link: Link) -> tuple[str, str]:
    """A container of another's image: its id, and the image."""
    where, ident = await container(link), uuid.uuid4().hex
    reply = await link.request("container.commit", {"container": where, "fork": ident})
    image = reply.body["image"]["name"]
    spec = {"image": image, "sleep": True, "pull": "never"}
    await link.request("container.spawn", {"container": ident, "spec": spec})
    await until(lambda: link.known.containers.get(ident, {}).get("state") == "running")
    return ident, image


async def test_the_image_of_a_fork_goes_with_it(agent: LiveAgent) -> None:
    link = await agent.kernel()
    ident, image = await forked(agent, link)
    assert image in agent.engine.world.images
    await link.request("container.destroy", {"container": ident})
    assert image not in agent.engine.world.images


async def test_what_forks_left_is_swept_up_and_others_stay(agent: LiveAgent) -> None:
    link = await agent.kernel()
    _, image = await forked(agent, link)
    images = agent.engine.world.images
    orphan = forks.named(label("somebody", "fake"), "f" * 32)
    stranger = forks.named("another", "f" * 32)
    images[orphan] = images[stranger] = Image("sha256:left")
    await agent.stop()
    await agent.start()
    await met(agent.service.sessions)
    assert orphan not in images
    assert {image, stranger} <= images.keys(), "it runs; it is another agent's"


async def test_names_of_forks_tell_whose_they_are() -> None:
    image = forks.named("owner", "a" * 32)
    assert forks.is_of(image, "a" * 32) and not forks.is_of(image, "b" * 32)
    assert not forks.is_of("nginx:" + "a" * 32, "a" * 32)
