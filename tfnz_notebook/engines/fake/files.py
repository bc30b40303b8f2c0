"""The file system of an in-memory container: paths to content and mode, directories implied."""

from __future__ import annotations

import errno
import posixpath
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tfnz_notebook._wire.guest import Fields, Flag, Tag


@dataclass(slots=True)
class Node:
    """A file, or (``content`` None) a directory."""

    content: bytes | None
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = field(default_factory=time.time_ns)

    def fields(self, name: str = "") -> Fields:
        """STAT."""
        kind = stat.S_IFDIR if self.content is None else stat.S_IFREG
        found: Fields = [(Tag.NAME, name.encode())] if name else []
        found += [(Tag.SIZE, len(self.content or b"")), (Tag.MODE, self.mode)]
        found += [(Tag.UID, self.uid), (Tag.GID, self.gid)]
        return [*found, (Tag.MTIME, self.mtime), (Tag.KIND, kind)]


class Files:
    """Absolute paths, as the guest protocol wants them: no ``..``; OSError says what is wrong."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {"/": Node(None, 0o755)}
        self.mkdir("/tmp", 0o1777, Flag(0))  # noqa: S108 - the container's, in memory

    def contents(self) -> Mapping[str, bytes]:
        """All files."""
        return {path: n.content for path, n in self._nodes.items() if n.content is not None}

    @staticmethod
    def _path(path: str) -> str:
        if not path.startswith("/") or ".." in path.split("/"):
            raise OSError(errno.EINVAL, "not an absolute path")
        return posixpath.normpath("/" + path.lstrip("/"))

    def _parent(self, path: str, make: bool) -> None:
        above = posixpath.dirname(path)
        node = self._nodes.get(above)
        if node is None:
            if not make:
                raise OSError(errno.ENOENT, "no such directory")
            self._parent(above, make=True)
            self._nodes[above] = Node(None, 0o755)
        elif node.content is not None:
            raise OSError(errno.ENOTDIR, "not a directory")

    def stat(self, path: str) -> Node:
        node = self._nodes.get(self._path(path))
        if node is None:
            raise OSError(errno.ENOENT, "no such file or directory")
        return node

    def get(self, path: str) -> tuple[Node, bytes]:
        node = self.stat(path)
        if node.content is None:
            raise OSError(errno.EISDIR, "is a directory")
        return node, node.content

    def check(self, path: str, flags: int) -> None:
        """Raise what a put there would."""
        path = self._path(path)
        node = self._nodes.get(path)
        if node is not None and node.content is None:
            raise OSError(errno.EISDIR, "is a directory")
        self._parent(path, make=bool(flags & Flag.PARENTS))

    def put(self, path: str, content: bytes, mode: int | None, flags: int) -> Node:
        self.check(path, flags)
        path = self._path(path)
        old = self._nodes.get(path)
        kept = old.mode if old is not None else 0o644
        self._nodes[path] = Node(content, kept if mode is None else mode)
        return self._nodes[path]

    def mkdir(self, path: str, mode: int, flags: int) -> Node:
        path = self._path(path)
        held = self._nodes.get(path)
        if held is not None:
            if held.content is None and flags & Flag.EXIST_OK:
                return held
            raise OSError(errno.EEXIST, "exists")
        self._parent(path, make=bool(flags & Flag.PARENTS))
        self._nodes[path] = Node(None, mode)
        return self._nodes[path]

    def listing(self, path: str) -> list[tuple[str, Node]]:
        path = self._path(path)
        node = self.stat(path)
        if node.content is not None:
            return [(posixpath.basename(path), node)]
        return sorted(
            (posixpath.basename(p), n)
            for p, n in self._nodes.items()
            if p != "/" and posixpath.dirname(p) == path
        )
