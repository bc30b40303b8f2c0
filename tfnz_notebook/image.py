"""An image: what containers are made of."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfnz_notebook._base.numbers import size
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.arguments import NamedImage
from tfnz_notebook._calls.deadline import within
from tfnz_notebook._calls.faces import Closed, Owned, Twin, face
from tfnz_notebook._link.jobs.job import Job

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tfnz_notebook.location import Location

__all__ = ["Image", "ImageAio", "Pulled"]


class Pulled(NamedTuple):
    """How far a pull is: what its callback gets."""

    image: str
    """The name that was given."""
    text: str
    """What the engine does, in words for people."""
    done: int
    """Bytes that are here, of all layers."""
    total: int
    """Bytes of all layers, as far as they are known; 0: not yet."""


class Image(NamedImage, Owned, metaclass=Closed):
    """Given by a location's ``images``, ``image``, ``pull``, ``build``, ``load``; ``commit``.

    Where an image's name is taken, it is taken too::

        >>> image = location.image('debian')
        >>> image.name
        'debian:latest'
        >>> box = location.best_node().spawn_container(image, sleep=True)
        >>> box.put('/etc/motd', 'Hello')
        >>> mine = box.commit('mine')
        >>> box.destroy()
        >>> location.best_node().spawn_container(mine, sleep=True).fetch('/etc/motd')
        b'Hello'
    """

    _comes_from = "Use location.image(name)."

    def __init__(self, location: Location, info: dict[str, Any]) -> None:
        self._location = location
        self._info = info

    @property
    def id(self) -> str:
        """Its id, as the engine's own tools show it."""
        return str(self._info.get("id") or "")

    @property
    def tags(self) -> list[str]:
        """Its names, with their tags; none of what a build has left."""
        return [str(tag) for tag in self._info.get("tags") or ()]

    @property
    def name(self) -> str:
        """The name that it was asked for by, else its first, else its id."""
        return str(self._info.get("name") or next(iter(self.tags), self.id))

    @property
    def size(self) -> int | None:
        """Bytes, all its layers; None where the engine does not tell."""
        told = self._info.get("size")
        return None if told is None else int(told)

    @property
    def created(self) -> float | None:
        """When it was made: seconds since the epoch; None where the engine does not tell."""
        told = self._info.get("created")
        return None if told is None else float(told)

    @property
    def location(self) -> Location:
        """Where it is."""
        return self._location

    @property
    def aio(self) -> ImageAio:
        """The same image with awaitable methods."""
        return ImageAio._see(self)

    @face
    async def inspect(self, *, timeout: float | None = None) -> dict[str, Any]:
        """All that the engine says of it, in its own words. ImageMissing once it is gone."""
        async with within("look at the image", timeout):
            self._location._check("look at the image")
            reply = await self._location._link.request("image.inspect", {"image": self.name})
            said: dict[str, Any] = reply.body["said"]
            return said

    @face
    async def remove(self, *, force: bool = False, timeout: float | None = None) -> None:
        """Take its name off it; with its last one it goes.

        Raises ImageInUse while a container is made of it, ``force`` or not while that runs;
        ImageMissing the second time.
        """
        async with within("remove the image", timeout):
            self._location._check("remove the image")
            body = {"image": self.name, "force": bool(force)}
            await self._location._link.request("image.remove", body)

    @face
    async def save(self, path: str | Path, *, timeout: float | None = None) -> int:
        """Write it to a file here, as ``docker save`` does; how many bytes that are.

        ``location.load`` takes it in again, here or elsewhere. The file is there when all of it is.
        """
        async with within("save the image", timeout):
            target = arguments.here("save the image", path)
            self._location._check("save the image")
            beside = target.with_name(f".{target.name}.part")
            try:
                written = await self._write(beside)
                await asyncio.to_thread(beside.replace, target)
            except OSError as error:
                raise arguments.not_here("save the image", target, error) from error
            finally:
                await asyncio.to_thread(beside.unlink, missing_ok=True)
            return written

    async def _write(self, path: Path) -> int:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()  # the job's window bounds it
        job = Job(self._location._link, queue.put_nowait)

        async def drain() -> int:
            written = 0
            with path.open("wb") as file:
                while (piece := await queue.get()) is not None:
                    await asyncio.to_thread(file.write, piece)
                    written += len(piece)
                    job.taken(len(piece))
            return written

        return await _beside(drain(), job.stream("image.save", {"image": self.name}), queue)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        return other.id == self.id and other._location is self._location

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        told = f": {size(self.size)}" if self.size is not None else ""
        return f"<Image {self.name!r}{told}>"


async def _beside(
    draining: Coroutine[Any, Any, int],
    asking: Coroutine[Any, Any, None],
    queue: asyncio.Queue[bytes | None],
) -> int:
    """Both of them; an error of either ends the other."""
    asked, drained = asyncio.ensure_future(asking), asyncio.ensure_future(draining)
    try:
        await asyncio.wait((asked, drained), return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            await asked
            queue.put_nowait(None)
        return await drained
    finally:
        for each in (asked, drained):
            each.cancel()
        await asyncio.gather(asked, drained, return_exceptions=True)


class ImageAio(Twin, Image):
    """An image whose methods are awaitable."""
