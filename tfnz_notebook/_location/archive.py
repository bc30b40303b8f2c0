"""What a build is sent: a directory of this machine as a tar, made while it is sent.

The directory may be anybody's, and may change meanwhile. So each entry is reached from the
directory it was seen in, without following a link: what is outside can only be named by a link that
goes as a link, and means what it says where it is unpacked. Nothing but plain files is opened, a
file gives the bytes it had when it was opened or the build fails, and memory holds one piece.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base.names import fresh
from tfnz_notebook._calls import arguments
from tfnz_notebook._location.ignored import Ignored
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.errors import FileError, Misuse

IGNORE: Final = ".dockerignore"
#: Bytes of a Dockerfile, and of a .dockerignore.
_MOST: Final = 1 << 20
#: Directories within directories: each is open while what is in it is sent.
_DEPTH: Final = 200
_BLOCK: Final = tarfile.BLOCKSIZE


def recipe(
    doing: str,
    name: object,
    args: Mapping[str, str] | None,
    target: object,
    platform: object,
) -> dict[str, Any]:
    """What the agent is told of a build."""
    return {
        "name": arguments.image(name, doing),
        "arguments": arguments.environment(doing, args),
        "target": arguments.optional_text(doing, "target", target),
        "platform": arguments.optional_text(doing, "platform", platform),
    }


class Context:
    """A Dockerfile, its text or a Path, and the directory that it takes from, or none."""

    def __init__(self, doing: str, dockerfile: object, directory: object) -> None:
        self._doing = doing
        if isinstance(dockerfile, Path):
            text = self._read(dockerfile.expanduser())
        elif isinstance(dockerfile, str):
            text = dockerfile.encode()
        else:
            raise Misuse(
                f"Cannot {doing}: {dockerfile!r} is no Dockerfile. Give its text or a Path."
            )
        self._top: Path | None = None
        if directory is not None:
            self._top = arguments.here(doing, directory)
            if not self._top.is_dir():
                raise FileError(f"Cannot {doing}: {self._top} is no directory. Choose another.")
        #: Where the Dockerfile is in it: a name that nothing there has.
        self.dockerfile = f".tfnz-{fresh()}.Dockerfile"
        before = self._ignore()
        try:
            self._ignored = Ignored((before or b"").decode("utf-8", "surrogateescape"))
        except ValueError as error:
            raise FileError(f"Cannot {doing}: in {IGNORE} {error}. Correct it.") from None
        # The engine reads it as well: what only it needs is not to be copied into images.
        own = [self.dockerfile, *([] if before is not None else [IGNORE])]
        ignore = b"\n".join([before or b"", *map(str.encode, own), b""])
        self._own = {self.dockerfile: text, IGNORE: ignore}

    def _read(self, path: Path, flags: int = 0) -> bytes:
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags), "rb") as file:
                text = file.read(_MOST + 1)
        except OSError as error:
            raise arguments.not_here(self._doing, path, error) from error
        if len(text) > _MOST:
            raise FileError(f"Cannot {self._doing}: {path} is larger than 1 MiB. Is it the one?")
        return text

    def _ignore(self) -> bytes | None:
        if self._top is None or not os.path.lexists(self._top / IGNORE):
            return None
        return self._read(self._top / IGNORE, os.O_NOFOLLOW | os.O_NONBLOCK)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The tar, in pieces that a message holds. FileError for what cannot be read."""
        made = self._pieces()
        while (piece := await asyncio.to_thread(next, made, None)) is not None:
            yield piece

    def _pieces(self) -> Iterator[bytes]:
        held = bytearray()
        for part in self._parts():
            held += part
            while len(held) >= MAX_CHUNK:
                yield bytes(held[:MAX_CHUNK])
                del held[:MAX_CHUNK]
        yield bytes(held) + bytes(2 * _BLOCK)

    def _parts(self) -> Iterator[bytes]:
        for name, content in self._own.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            yield _header(entry) + content + _padding(len(content))
        if self._top is not None:
            try:
                top = os.open(self._top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise arguments.not_here(self._doing, self._top, error) from error
            try:
                yield from self._below(top, "")
            finally:
                os.close(top)

    def _below(self, directory: int, path: str) -> Iterator[bytes]:
        if path.count("/") > _DEPTH:
            raise FileError(
                f"Cannot {self._doing}: its context has more than {_DEPTH} directories within each "
                f"other. Leave some out, in {IGNORE}."
            )
        for name in sorted(os.listdir(directory)):
            below = f"{path}{name}"
            if below in self._own:
                continue
            try:
                yield from self._entry(directory, name, below)
            except FileNotFoundError:
                continue  # it went meanwhile
            except OSError as error:
                raise arguments.not_here(self._doing, Path(below), error) from error

    def _entry(self, directory: int, name: str, path: str) -> Iterator[bytes]:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        out = self._ignored.keeps_out(path)
        entry = tarfile.TarInfo(path)
        entry.mode, entry.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
        if stat.S_ISDIR(found.st_mode):
            if out and not self._ignored.lets_in_below(path):
                return
            entry.type = tarfile.DIRTYPE
            inside = _open(directory, name, os.O_DIRECTORY)
            try:
                if not out:
                    yield _header(entry)
                yield from self._below(inside, f"{path}/")
            finally:
                os.close(inside)
        elif out:
            return
        elif stat.S_ISLNK(found.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=directory)
            yield _header(entry)
        elif stat.S_ISREG(found.st_mode):
            yield from _content(entry, _open(directory, name, os.O_NONBLOCK))


def _open(directory: int, name: str, flags: int) -> int:
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=directory)


def _content(entry: tarfile.TarInfo, opened: int) -> Iterator[bytes]:
    with os.fdopen(opened, "rb") as file:
        now = os.fstat(opened)
        if not stat.S_ISREG(now.st_mode):  # somebody put something else there
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        entry.size = left = now.st_size
        yield _header(entry)
        while left:
            piece = file.read(min(left, MAX_CHUNK))
            if not piece:
                raise OSError(errno.ESTALE, "it became smaller while it was read")
            left -= len(piece)
            yield piece
        yield _padding(entry.size)


def _header(entry: tarfile.TarInfo) -> bytes:
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
