"""What a container of the in-memory engine can run: a few commands, as Python coroutines.

A program is ``async def program(p: Program) -> int``: it reads ``await p.read()``, writes
``await p.write(b'...')`` and returns its exit code. Signals cancel it, unless it sets
``p.on_signal``. Tests add their own to ``FakeEngine.programs``; these are there to begin with::

    true false echo cat sleep env pwd id head yes sh (words, ';', '>&2', 'exit N')
"""

from __future__ import annotations

import asyncio
import posixpath
import shlex
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol


class Program(Protocol):
    """What a program sees of the process it runs in."""

    argv: list[str]
    """Its name and its arguments."""
    env: dict[str, str]
    """Its environment."""
    cwd: str
    """Its working directory."""
    user: str
    """Whom it runs as, as it was given; empty for root."""
    pid: int
    """Its process id."""
    on_signal: Callable[[int], None] | None
    """Called with the number of each signal, instead of being cancelled by it."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """Content of the files of its container, by absolute path."""

    @property
    def programs(self) -> Mapping[str, Main]:
        """What its container can run."""

    async def read(self, most: int = 65536) -> bytes:
        """Some of stdin; empty at its end."""

    async def write(self, data: bytes, *, error: bool = False) -> None:
        """To stdout (or stderr); waits while nobody reads, as on a full pipe."""


Main = Callable[[Program], Awaitable[int]]


async def _true(p: Program) -> int:
    del p
    return 0


async def _false(p: Program) -> int:
    del p
    return 1


async def _echo(p: Program) -> int:
    await p.write(" ".join(p.argv[1:]).encode("utf-8", "surrogateescape") + b"\n")
    return 0


async def _cat(p: Program) -> int:
    for path in p.argv[1:]:
        content = p.files.get(posixpath.join(p.cwd, path))
        if content is None:
            await p.write(f"cat: {path}: No such file or directory\n".encode(), error=True)
            return 1
        await p.write(content)
    while len(p.argv) == 1 and (data := await p.read()):
        await p.write(data)
    return 0


async def _sleep(p: Program) -> int:
    await asyncio.sleep(float(p.argv[1]))
    return 0


async def _env(p: Program) -> int:
    await p.write("".join(f"{k}={v}\n" for k, v in p.env.items()).encode())
    return 0


async def _pwd(p: Program) -> int:
    await p.write(p.cwd.encode() + b"\n")
    return 0


async def _id(p: Program) -> int:
    await p.write((p.user.partition(":")[0] or "0").encode() + b"\n")
    return 0


async def _head(p: Program) -> int:
    """``head -c N /dev/zero``, which is how tests ask for many bytes."""
    left = int(p.argv[2])
    while left:
        piece = bytes(min(left, 65536))
        await p.write(piece)
        left -= len(piece)
    return 0


async def _yes(p: Program) -> int:
    line = (" ".join(p.argv[1:]) or "y").encode() + b"\n"
    while True:
        await p.write(line * 1024)


async def _sh(p: Program) -> int:
    """``sh -c '…'``: the smallest shell that tests need. Without ``-c``: a line at a time."""
    if p.argv[1:2] == ["-c"] and not p.argv[2].endswith(" -l"):  # which a login shell's does
        return (await _line(p, p.argv[2]))[0]
    code, ended, rest = 0, False, b""
    while not ended and (data := await p.read()):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            code, ended = await _line(p, line.decode())
            if ended:
                break
    return code


async def _line(p: Program, text: str) -> tuple[int, bool]:
    """Run one line; its code, and whether it said ``exit``."""
    code = 0
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";")
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if word != ";":
            command.append(word)
            continue
        if command[:1] == ["exit"]:
            return int(command[1]) if len(command) > 1 else code, True
        if command:
            code = await _command(p, command)
        command = []
    return code, False


async def _command(p: Program, words: list[str]) -> int:
    error = ">&2" in words
    words = [word for word in words if word != ">&2"]
    main = p.programs.get(posixpath.basename(words[0]))
    if main is None:
        await p.write(f"sh: {words[0]}: not found\n".encode(), error=True)
        return 127
    return await main(_Child(p, words, error))


class _Child:
    """A command of the shell: the shell's process with arguments of its own."""

    def __init__(self, parent: Program, argv: list[str], error: bool) -> None:
        self.argv, self._parent, self._error = argv, parent, error
        self.env, self.cwd, self.user = parent.env, parent.cwd, parent.user
        self.pid, self.files, self.programs = parent.pid, parent.files, parent.programs
        self.on_signal: Callable[[int], None] | None = None

    async def read(self, most: int = 65536) -> bytes:
        return await self._parent.read(most)

    async def write(self, data: bytes, *, error: bool = False) -> None:
        await self._parent.write(data, error=error or self._error)


async def missing(p: Program) -> int:
    """A main process whose command is not there: as a shell says it, 127."""
    await p.write(f"cannot start {p.argv[0]}: No such file or directory\n".encode(), error=True)
    return 127


def known_user(user: str) -> bool:
    """Somebody whom a small image's passwd knows, or a number."""
    name = user.partition(":")[0]
    return name in ("", "root", "nobody") or name.isdigit()


PROGRAMS: Final[Mapping[str, Main]] = {
    "true": _true,
    "false": _false,
    "echo": _echo,
    "cat": _cat,
    "sleep": _sleep,
    "env": _env,
    "pwd": _pwd,
    "id": _id,
    "head": _head,
    "yes": _yes,
    "sh": _sh,
}
