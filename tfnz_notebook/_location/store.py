"""The images of a location: which there are, and how more of them come."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgpack

from tfnz_notebook._base.numbers import progress
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.deadline import within
from tfnz_notebook._calls.dispatch import Item, Lane
from tfnz_notebook._calls.faces import Owned, face
from tfnz_notebook._calls.follow import callback as checked
from tfnz_notebook._link import patience
from tfnz_notebook._link.jobs.job import Job
from tfnz_notebook._link.thread import io
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.errors import Misuse, TfnzError
from tfnz_notebook.image import Image, Pulled

if TYPE_CHECKING:
    from tfnz_notebook._link.link import Link
    from tfnz_notebook.location import Location

#: Pulls that go on at once.
AT_ONCE: Final = 4


class Store(Owned):
    """Where they are kept, Podman or Docker; other engines refuse all but the listing, by name."""

    _link: Link

    def _lane(self) -> Lane:
        raise NotImplementedError

    def _check(self, doing: str) -> None:
        raise NotImplementedError

    def _image(self, info: dict[str, Any], name: str = "") -> Image:
        return Image._create(cast("Location", self), {**info, "name": name} if name else info)

    @face
    async def images(self, *, timeout: float | None = None) -> list[Image]:
        """The images that are here, and need not be pulled: by name, those without one last."""
        async with within("list images", timeout):
            self._check("list images")
            found = (await self._link.request("image.list", {})).body["images"]
            return [self._image(info) for info in found]

    @face
    async def image(self, name: str, *, timeout: float | None = None) -> Image:
        """The image of that name or id. ImageMissing if it is not here."""
        async with within("look at the image", timeout):
            wanted = arguments.image(name, "look at an image")
            self._check("look at the image")
            reply = await self._link.request("image.inspect", {"image": wanted})
            return self._image(reply.body["image"])

    @face
    async def pull(
        self,
        image: str,
        *,
        callback: Callable[[Pulled], object] | None = None,
        pull: Literal["always", "missing"] = "always",
        timeout: float | None = None,
    ) -> Image:
        """Have an image here before it is needed, the newest that its registry has.

        ``pull='missing'``: any that is here will do. ``callback`` gets how far it is, a few times a
        second. An interrupt, or ``timeout``, ends it; layers that came stay with the engine. Logins
        are those of the user's own tools. ImageMissing, EngineError.
        """
        async with within("pull the image", timeout):
            return (await self._pull([image], callback, pull))[0]

    @face
    async def pull_all(
        self,
        images: Iterable[str],
        *,
        callback: Callable[[Pulled], object] | None = None,
        pull: Literal["always", "missing"] = "missing",
        timeout: float | None = None,
    ) -> list[Image]:
        """The same of many, some at once, in their order; what is here already is not asked for.

        One that cannot be pulled holds up none of the others; its error is raised in the end.
        """
        async with within("pull the images", timeout):
            if isinstance(images, str | bytes) or not isinstance(images, Iterable):
                raise Misuse(f"Cannot pull: {images!r} is no list of names. Give one.")
            return await self._pull(list(images), callback, pull)

    async def _pull(
        self, images: list[str], callback: Callable[[Pulled], object] | None, policy: str
    ) -> list[Image]:
        doing = "pull an image"
        names = [arguments.image(each, doing) for each in images]
        arguments.choice(doing, "pull", policy, ("always", "missing"))
        checked(doing, "callback", callback)
        self._check(doing)
        lane, far, turns = self._lane(), dict[str, Pulled](), asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> Image:
            def heard(payload: bytes) -> None:
                job.taken(len(payload))
                told = msgpack.unpackb(payload)
                far[name] = Pulled(name, told["text"], told["done"], told["total"])
                if callback is not None:
                    lane.push(Item(callback, (far[name],)))

            async with turns:
                job = Job(self._link, heard)
                reply = await job.ask("image.pull", {"image": name, "pull": policy})
                far.pop(name, None)
                return self._image(reply.body["image"], name)

        def line() -> str:
            done, total = (sum(f.done for f in far.values()), sum(f.total for f in far.values()))
            return f"pulling {', '.join(far)}: {progress(done, total) or '…'}" if far else ""

        async with patience.moving(line if callback is None else lambda: ""):
            found = await asyncio.gather(*map(one, names), return_exceptions=True)
        await delivered(lane)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return [each for each in found if isinstance(each, Image)]

    @face
    async def build(
        self,
        name: str,
        dockerfile: str | Path,
        context: str | Path | None = None,
        *,
        callback: Callable[[str], object] | None = None,
        args: Mapping[str, str] | None = None,
        target: str | None = None,
        platform: str | None = None,
        cache: bool = True,
        pull: bool = False,
        timeout: float | None = None,
    ) -> Image:
        r"""Build an image called ``name``, as ``docker build`` does.

        ``dockerfile``: its text, or a Path of it. ``context``: a directory of this machine that
        COPY takes from, but for what its ``.dockerignore`` names; without one it is empty. Links in
        it go as links, and lead nowhere outside. ``callback`` gets the text that the build writes,
        as it comes. ``args`` are the values of ARG (who has the image may see them: no secrets),
        ``target`` is a stage, ``cache=False`` does each step again, ``pull`` asks the registry for
        what FROM names. An interrupt, or ``timeout``, ends it. BuildFailed has the step's last
        words::

            >>> location.build('greeter', 'FROM debian\nCMD ["echo", "hello"]').name
            'greeter'
        """
        async with within("build the image", timeout):
            # Not before: who builds nothing need not load the reader and writer of archives.
            from tfnz_notebook._location.archive import Context, recipe

            doing = "build an image"
            body = recipe(doing, name, args, target, platform)
            body |= {"fresh": not cache, "pull": bool(pull)}
            checked(doing, "callback", callback)
            sent = Context(doing, dockerfile, context)
            body["dockerfile"] = sent.dockerfile
            self._check(doing)
            lane, text = self._lane(), codecs.getincrementaldecoder("utf-8")("replace")

            def said(data: bytes) -> None:
                if callback is not None and (words := text.decode(data)):
                    callback(words)

            def ran(size: int) -> None:
                io().soon(job.taken, size)

            job = Job(self._link, lambda piece: lane.push(Item(said, (), piece, ran)))
            try:
                reply = await job.send("image.build", body, sent.pieces())
            except TfnzError:
                await delivered(lane)
                raise
            await delivered(lane)
            return self._image(reply.body["image"], str(body["name"]))

    @face
    async def load(self, path: str | Path, *, timeout: float | None = None) -> list[Image]:
        """Take in the images of a file here that ``image.save`` or ``docker save`` wrote."""
        async with within("load images", timeout):
            source = arguments.here("load images", path)
            self._check("load images")
            try:
                file = source.open("rb")  # not in a thread: given up, nobody would close it
            except OSError as error:
                raise arguments.not_here("load images", source, error) from error

            async def pieces() -> AsyncIterator[bytes]:
                while piece := await asyncio.to_thread(file.read, MAX_CHUNK):
                    yield piece

            with file:
                reply = await Job(self._link, lambda _: None).send("image.load", {}, pieces())
            return [self._image(info) for info in reply.body["images"]]


async def delivered(lane: Lane) -> None:
    """Wait until what was pushed to it has run."""
    ran = asyncio.Event()
    lane.push(Item(None, (), None, lambda _: io().soon(ran.set)))
    await ran.wait()
