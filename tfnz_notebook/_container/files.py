"""Files of a container: put, fetch, list."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any, Final, NamedTuple

from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.deadline import within
from tfnz_notebook._calls.faces import face
from tfnz_notebook._container.base import Base
from tfnz_notebook._link.files.download import Download
from tfnz_notebook._link.files.upload import Upload

_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class Entry(NamedTuple):
    """One entry of a directory. ``size`` in bytes, ``mtime`` in seconds since the epoch."""

    name: str
    """Without the directory; what no encoding can write is escaped as Python does."""
    kind: str
    """``file``, ``directory``, ``link``, ``fifo``, ``socket`` or ``device``."""
    size: int
    """Bytes."""
    mode: int
    """Permission bits, as in chmod."""
    uid: int
    """Its owner, inside the container."""
    gid: int
    """Its group, inside the container."""
    mtime: float
    """When its content changed: seconds since the epoch."""
    link: str
    """What a link says; else empty."""


class Files(Base):
    """Paths are absolute; nothing outside of the container can be reached by them."""

    @face
    async def put(
        self,
        filename: str,
        data: bytes | str | Path,
        *,
        mode: int | None = None,
        user: str | int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Write a file (20ft), parents included: bytes, a text (UTF-8), or a ``Path`` here.

        For example::

            >>> container.put('/srv/hello/index.html', 'Hello')
            >>> container.fetch('/srv/hello/index.html')
            b'Hello'
            >>> [entry.name for entry in container.listdir('/srv/hello')]
            ['index.html']

        ``filename`` is absolute. Readers in the container see the old file or the new one, never a
        part; but for a file that is mounted by itself, as the engine does with ``/etc/hosts``.
        ``mode`` as in chmod, default 0o644 or what it has. Raises FileError.
        """
        async with within("put a file", timeout):
            path = arguments.path("put", filename)
            content = arguments.contents("put", data)
            body: dict[str, Any] = {
                "container": self._id,
                "path": path,
                "mode": None
                if mode is None
                else int(arguments.number("put", "mode", mode, 0, 0o7777)),
                "user": arguments.user("put", user),
                "parents": True,
            }
            self._check("put a file")
            await Upload(self._link, body, content).put()

    @face
    async def fetch(self, filename: str, *, timeout: float | None = None) -> bytes:
        """A file's content (20ft), 1 GiB at most. ``filename`` is absolute. Raises FileError."""
        async with within("fetch a file", timeout):
            path = arguments.path("fetch", filename)
            self._check("fetch a file")
            return await Download(self._link).fetch(self._id, path)

    @face
    async def listdir(self, path: str = "/", *, timeout: float | None = None) -> list[Entry]:
        """The entries of a directory, by name. Raises FileError."""
        async with within("list a directory", timeout):
            where = arguments.path("list", path)
            self._check("list a directory")
            reply = await self._link.request("file.list", {"container": self._id, "path": where})
            return sorted(_entry(told) for told in reply.body["entries"])

    @face
    async def mkdir(
        self,
        path: str,
        *,
        mode: int | None = None,
        user: str | int | None = None,
        parents: bool = False,
        exist_ok: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Make a directory, as ``pathlib.Path.mkdir`` does. Raises FileError."""
        async with within("make a directory", timeout):
            body = {
                "container": self._id,
                "path": arguments.path("make directory", path),
                "mode": None
                if mode is None
                else int(arguments.number("make a directory", "mode", mode, 0, 0o7777)),
                "user": arguments.user("make a directory", user),
                "parents": bool(parents),
                "exist_ok": bool(exist_ok),
            }
            self._check("make a directory")
            await self._link.request("file.mkdir", body)


def _entry(told: dict[str, Any]) -> Entry:
    mode = int(told.get("mode") or 0) & 0xFFFF
    return Entry(
        str(told.get("name") or ""),
        _KINDS.get(stat.S_IFMT(int(told.get("kind") or mode) & 0xFFFF), "unknown"),
        int(told.get("size") or 0),
        stat.S_IMODE(mode),
        int(told.get("uid") or 0),
        int(told.get("gid") or 0),
        float(told.get("mtime") or 0.0),
        str(told.get("link") or ""),
    )
