"""A volume: a directory that outlives containers, mounted into them when they are spawned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfnz_notebook._calls.arguments import NamedVolume
from tfnz_notebook._calls.deadline import within
from tfnz_notebook._calls.faces import Closed, Owned, Twin, face
from tfnz_notebook.errors import VolumeError

if TYPE_CHECKING:
    from tfnz_notebook.location import Location

__all__ = ["Volume", "VolumeAio"]


class Volume(NamedVolume, Owned, metaclass=Closed):
    """Made by :meth:`Location.create_volume`; never destroyed but on request.

    What is written on it is there for the next container::

        >>> volume = location.create_volume('notes')
        >>> box = node.spawn_container('debian', volumes=[(volume, '/notes')], sleep=True)
        >>> box.destroy()
        >>> location.volume('notes') == volume
        True
        >>> volume.destroy()
    """

    _comes_from = "Use location.create_volume()."

    def __init__(self, location: Location, tag: str) -> None:
        self._location = location
        self._tag = tag

    @property
    def tag(self) -> str:
        """Its name, unique among this user's volumes of an engine."""
        return self._tag

    @property
    def name(self) -> str:
        """The same under Docker's word for it."""
        return self._tag

    @property
    def location(self) -> Location:
        """Where it is."""
        return self._location

    @property
    def aio(self) -> VolumeAio:
        """The same volume with awaitable methods."""
        return VolumeAio._see(self)

    @face
    async def size(self, *, timeout: float | None = None) -> int | None:
        """Bytes on it; on a cluster: those that it was given. None where nobody knows.

        The engine counts them, which may take a while. VolumeError if it is gone.
        """
        async with within("measure the volume", timeout):
            sizes = await self._location._volume_sizes()
            if self._tag not in sizes:
                raise VolumeError(
                    f"Cannot measure the volume {self._tag!r}: it is not here any more. "
                    "create_volume() makes one."
                )
            return sizes[self._tag]

    @face
    async def destroy(self, *, timeout: float | None = None) -> None:
        """Destroy it with all it holds. Raises VolumeError while a container uses it."""
        async with within("destroy the volume", timeout):
            await self._location._destroy_volume(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Volume):
            return NotImplemented
        return other._tag == self._tag and other._location is self._location

    def __hash__(self) -> int:
        return hash(self._tag)

    def __repr__(self) -> str:
        return f"<Volume {self._tag!r}>"


class VolumeAio(Twin, Volume):
    """A volume whose methods are awaitable."""
