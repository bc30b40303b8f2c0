"""Copies of a container: images of it as it is now, and another that goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfnz_notebook._base.names import fresh
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.deadline import within
from tfnz_notebook._calls.faces import face
from tfnz_notebook._container.base import Base
from tfnz_notebook.errors import Misuse

if TYPE_CHECKING:
    from tfnz_notebook.container import Container
    from tfnz_notebook.image import Image


class Copies(Base):
    """What is on its file system is copied; volumes are not, and processes do not come along."""

    @face
    async def commit(self, name: str, *, timeout: float | None = None) -> Image:
        """Make an image of what it has on its file system now, as ``docker commit`` does.

        It may run meanwhile, and stands still for a moment. The image starts what this container
        was told to start, and has its environment. EngineError where the engine keeps no images.
        """
        async with within("make an image", timeout):
            wanted = arguments.image(name, "make an image of the container")
            await self._ready_to_copy("make an image")
            body = {"container": self._id, "name": wanted}
            reply = await self._link.request("container.commit", body)
            return self._location._image(reply.body["image"], wanted)

    @face
    async def fork(self, *, name: str | None = None, timeout: float | None = None) -> Container:
        """Another container that begins with this one's files, and with the same wishes.

        The same volumes, environment, limits and command; a name of its own, and no tunnels or
        callbacks. It sleeps if this one was told to. Its image goes with it. Misuse for a container
        that another kernel spawned, since its wishes are not known here.
        """
        async with within("fork the container", timeout):
            if self._made_of is None:
                raise Misuse(
                    f"Cannot fork {self._called}: another kernel spawned it, and knows what it was "
                    "told. Fork it there, or commit() it and spawn of that."
                )
            await self._ready_to_copy("fork the container")
            ident = fresh()
            body = {"container": self._id, "fork": ident}
            reply = await self._link.request("container.commit", body)
            image = str(reply.body["image"]["name"])
            spec = {key: value for key, value in self._made_of[0].items() if key != "name"}
            spec |= {"image": image, "pull": "never"}
            if name is not None:
                spec["name"] = arguments.name("fork the container", "name", name)
            try:
                return await self._location._spawn(ident, spec, self._made_of[1])
            except BaseException:
                self._link.take_back("image.remove", {"image": image, "force": True})
                raise

    async def _ready_to_copy(self, doing: str) -> None:
        if self.state != "exited":
            await self._running(doing)
        self._check(doing)
