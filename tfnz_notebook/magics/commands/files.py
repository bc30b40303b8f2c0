"""``%tf_put`` and ``%tf_get``: files and directories, into a container and out of it.

Names that come from a container are hostile: one that is no plain name is refused, links to
directories are not followed, and no link is made here.
"""

from __future__ import annotations

import argparse
import posixpath
from pathlib import Path
from typing import Final, NamedTuple

from tfnz_notebook._base.numbers import plural, size
from tfnz_notebook._base.paths import expanded
from tfnz_notebook.container import Container
from tfnz_notebook.errors import FileError, Misuse
from tfnz_notebook.magics.here import Here, called
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.shown.text import clean
from tfnz_notebook.magics.table import Magic

#: Directories within directories that are followed.
_DEPTH: Final = 64


class Moved(NamedTuple):
    """What was copied: files, bytes, and entries that are neither files nor directories."""

    files: int
    bytes: int
    left_out: int

    def told(self, where: str) -> str:
        """One line for people."""
        left = f", {plural(self.left_out, 'special file')} left out" if self.left_out else ""
        return f"{plural(self.files, 'file')}, {size(self.bytes)}{left} → {where}"


def _put_parser() -> Parser:
    parser = Parser(
        "tf_put",
        "Copy a file or a directory of this machine into a container.",
        epilog="Parents of DEST are made. If DEST is a directory, or ends with '/', SRC goes into"
        " it.",
    )
    parser.add("container", metavar="CONTAINER", kind="container", help="variable, name, tag or id")
    parser.add("src", metavar="SRC", kind="local", help="here")
    parser.add("dest", metavar="DEST", kind="inside", help="an absolute path there")
    parser.add("--mode", metavar="OCTAL", help="as in chmod, of files")
    parser.add("-u", "--user", metavar="USER", help="who owns it")
    return parser


def put(here: Here, asked: argparse.Namespace) -> None:
    """``%tf_put``."""
    container = here.container(asked.container)
    source = expanded(asked.src)
    mode = _mode(asked.mode)
    dest = asked.dest
    if dest.endswith("/") or _is_directory(container, dest):
        dest = posixpath.join(dest, source.resolve().name)
    try:
        if source.is_dir():
            moved = _put_tree(container, source, dest, mode, asked.user)
        else:
            size_here = source.stat().st_size
            container.put(dest, source, mode=mode, user=asked.user)
            moved = Moved(1, size_here, 0)
    except OSError as error:  # of this machine; the container's are FileError
        raise FileError(
            f"Cannot read {error.filename or asked.src!r} here: {error.strerror or error}. "
            "Look at its path.",
            errno=error.errno,
        ) from None
    print(moved.told(f"{called(container)}:{dest}"))  # noqa: T201  # for the user


def _mode(given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return int(given, 8)
    except ValueError:
        raise Misuse(f"Cannot put: mode {given!r} is none. Write it as in 755.") from None


def _is_directory(container: Container, path: str) -> bool:
    try:
        container.listdir(path.rstrip("/") + "/")  # a file without the slash lists itself
    except FileError:
        return False
    return True


def _put_tree(
    container: Container, source: Path, dest: str, mode: int | None, user: str | None
) -> Moved:
    files = total = left_out = 0
    container.mkdir(dest, user=user, parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        target = posixpath.join(dest, path.relative_to(source).as_posix())
        if path.is_dir() and not path.is_symlink():
            container.mkdir(target, user=user, parents=True, exist_ok=True)
        elif path.is_file():
            own = path.stat().st_mode & 0o777 if mode is None else mode
            container.put(target, path, mode=own, user=user)
            files, total = files + 1, total + path.stat().st_size
        else:
            left_out += 1
    return Moved(files, total, left_out)


def _get_parser() -> Parser:
    parser = Parser(
        "tf_get",
        "Copy a file or a directory out of a container.",
        epilog="If DEST is a directory here, SRC goes into it. Links are followed to files only.",
    )
    parser.add("container", metavar="CONTAINER", kind="container", help="variable, name, tag or id")
    parser.add("src", metavar="SRC", kind="inside", help="an absolute path there")
    parser.add(
        "dest", metavar="DEST", kind="local", nargs="?", default=".", help="here (default: .)"
    )
    return parser


def get(here: Here, asked: argparse.Namespace) -> Path:
    """``%tf_get``."""
    container = here.container(asked.container)
    source = asked.src.rstrip("/") or "/"
    dest = expanded(asked.dest)
    if dest.is_dir() or asked.dest.endswith("/"):
        dest /= posixpath.basename(source) or called(container)
    try:
        if _is_directory(container, source):
            moved = _get_tree(container, source, dest)
        else:
            moved = _get_file(container, source, dest)
    except OSError as error:  # of this machine; the container's are FileError
        raise FileError(
            f"Cannot write {error.filename or str(dest)!r} here: {error.strerror or error}. "
            "Get it to another place.",
            errno=error.errno,
        ) from None
    print(moved.told(str(dest)))  # noqa: T201  # for the user
    return dest


def _get_file(container: Container, source: str, dest: Path) -> Moved:
    content = container.fetch(source)
    dest.parent.mkdir(parents=True, exist_ok=True)
    dest.write_bytes(content)
    return Moved(1, len(content), 0)


def _get_tree(container: Container, source: str, dest: Path, depth: int = 0) -> Moved:
    if depth > _DEPTH:
        raise FileError(f"Cannot get {source!r}: it is {depth} directories deep. Get a part of it.")
    dest.mkdir(parents=True, exist_ok=True)
    files = total = left_out = 0
    for entry in container.listdir(source):
        if entry.name in ("", ".", "..") or "/" in entry.name or "\0" in entry.name:
            raise FileError(
                f"Cannot get {source!r}: an entry is called "
                f"{clean(entry.name)!r}. Get its neighbours one by one."
            )
        inside = posixpath.join(source, entry.name)
        if entry.kind == "directory":
            moved = _get_tree(container, inside, dest / entry.name, depth + 1)
        elif entry.kind == "file":
            moved = _get_file(container, inside, dest / entry.name)
        else:
            moved = _get_link(container, inside, dest / entry.name, entry.kind)
        files, total = files + moved.files, total + moved.bytes
        left_out += moved.left_out
    return Moved(files, total, left_out)


def _get_link(container: Container, source: str, dest: Path, kind: str) -> Moved:
    """What a link leads to, if that is a file."""
    try:
        return _get_file(container, source, dest) if kind == "link" else Moved(0, 0, 1)
    except FileError:
        return Moved(0, 0, 1)


MAGICS: Final = (Magic(_put_parser(), put), Magic(_get_parser(), get))
