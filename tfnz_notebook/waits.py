"""What a container may be waited for: conditions of ``container.wait_until()``.

Each is asked anew until it holds, a bounded attempt at a time; the error of a wait whose time is
over says what each still lacked::

    >>> from tfnz_notebook.waits import file, http, log, tcp
    >>> container.put('/srv/ready', 'yes')
    >>> container.wait_until(file('/srv/ready'), timeout=10) is container
    True
"""

from __future__ import annotations

import posixpath
import re
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._base.text import clip, last_words, one_line
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.arguments import Command
from tfnz_notebook._link.files.download import Download
from tfnz_notebook._link.ports.dial import accepts, http_status
from tfnz_notebook._link.reader import read
from tfnz_notebook.errors import FileError, Misuse, PortClosed, ProcessGone

if TYPE_CHECKING:
    from tfnz_notebook.container import Container

__all__ = ["Condition", "exec", "file", "healthy", "http", "log", "tcp"]

#: Asks once: what is lacking still, in words; '' if nothing is. It may raise as what it asks does.
Attempt = Callable[[], Awaitable[str]]
#: Characters of a log that a pattern may span from one look to the next.
_SPAN: Final = 64 << 10
_DOING: Final = "wait until"


@dataclass(frozen=True, slots=True)
class Condition:
    """Made by the functions of this module."""

    text: str
    """What it is, for people."""
    begin: Callable[[Container], Attempt]
    """The attempts of one wait."""
    after: bool = False
    """It may still come true of a container that has ended."""

    def __str__(self) -> str:
        return self.text


def tcp(port: int) -> Condition:
    """Something accepts connections on that port inside, at any address of the container's."""
    number = arguments.port(_DOING, port)

    def begin(container: Container) -> Attempt:
        async def attempt() -> str:
            try:
                await accepts(container._link, container.id, number)
            except PortClosed:
                return "nothing listens there"
            return ""

        return attempt

    return Condition(f"port {number}", begin)


def http(
    port: int = 80,
    path: str = "/",
    *,
    status: int | Collection[int] = 200,
    scheme: str = "http",
    host: str = "localhost",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    verify: bool = False,
) -> Condition:
    """A request there is answered with that ``status``, or one of them (``range(200, 400)``).

    Asks through the guest, so it needs no network; follows no redirects. ``scheme`` may be
    ``'https'``, whose certificate is looked at where ``verify`` says so: of a server in a container
    it is seldom one that anybody knows. ``host`` is the server's name for it and in the request.
    """
    number = arguments.port(_DOING, port)
    arguments.choice(_DOING, "scheme", scheme, ("http", "https"))
    wanted = {status} if isinstance(status, int) else set(status)
    where = "/" + arguments.text(_DOING, "path", path, empty=True).removeprefix("/")
    lines = {"Host": arguments.text(_DOING, "host", host), **(headers or {})}
    line = f"{arguments.text(_DOING, 'method', method)} {where}"
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    if re.search(r"\s.*\s", line) or head.count("\r") + head.count("\n") != 2 * len(lines):
        raise Misuse(f"Cannot {_DOING}: what to ask for holds a blank, or a line's end. Quote it.")
    context = _context(verify) if scheme == "https" else None

    def begin(container: Container) -> Attempt:
        async def attempt() -> str:
            try:
                said = await http_status(container._link, container.id, number, line, head, context,
                                         host)  # fmt: skip
            except PortClosed:
                return "nothing listens there"
            except ssl.SSLError as error:
                return f"no TLS is to be had there ({one_line(error.reason or str(error), 80)})"
            code = said.split(" ")[1:2]
            if code and code[0].isdigit() and int(code[0]) in wanted:
                return ""
            return f"it answered {said!r}" if said else "it closed without an answer"

        return attempt

    return Condition(f"{scheme}://{host}:{number}{where}", begin)


def _context(verify: bool) -> ssl.SSLContext:
    if verify:
        return ssl.create_default_context()
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT
    )  # and no time for authorities that nobody asks
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def log(pattern: str | re.Pattern[str], stream: arguments.StreamName | None = None) -> Condition:
    """The main process has written what that regular expression finds, since it started.

    In stdout or stderr, or in one of them. Bytes that are no UTF-8 are replaced.
    """
    wanted = _pattern("pattern", pattern)
    numbers = (1, 2) if stream is None else (arguments.stream(_DOING, stream),)

    def begin(container: Container) -> Attempt:
        known = dict.fromkeys(numbers, 0)
        kept = dict.fromkeys(numbers, b"")

        async def attempt() -> str:
            for number in numbers:
                body = {"process": container.id, "stream": number, "offset": 0, "limit": 0}
                try:
                    told = (await container._link.request("log.read", body)).body
                except ProcessGone:  # it sleeps: no main process yet
                    return "no main process has begun"
                start, head = max(known[number], int(told.get("base") or 0)), int(told["head"])
                piece = await read(container._link, container.id, number, start, head)
                text = kept[number] + piece
                if wanted.search(text.decode("utf-8", "replace")):
                    return ""
                known[number], kept[number] = head, text[-_SPAN:]
            last = last_words(b"\n".join(kept.values()))
            return (
                f"it last said {clip(last.splitlines()[-1], 80)!r}" if last else "it said nothing"
            )

        return attempt

    return Condition(f"log {wanted.pattern!r}", begin, after=True)


def _pattern(name: str, pattern: object) -> re.Pattern[str]:
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    try:
        return re.compile(arguments.text(_DOING, name, pattern), re.MULTILINE)
    except re.error as error:
        raise Misuse(
            f"Cannot {_DOING}: {name} is no regular expression ({error}). Correct it, or give "
            "re.escape(text)."
        ) from None


def exec(  # noqa: A001  # as docker has it
    command: Command,
    *,
    code: int | Collection[int] = 0,
    stdout: str | re.Pattern[str] | None = None,
    user: str | int | None = None,
) -> Condition:
    """A command in it ends with that ``code``, or one of them; and its ``stdout`` has that.

    As ``pg_isready`` or ``redis-cli ping``. One that does not end in time is killed.
    """
    _, text = arguments.argv(_DOING, command)
    wanted = {code} if isinstance(code, int) else set(code)
    said = None if stdout is None else _pattern("stdout", stdout)

    def begin(container: Container) -> Attempt:
        async def attempt() -> str:
            return await _asked(container, command, wanted, said, user)

        return attempt

    return Condition(clip(text, 60), begin)


async def _asked(
    container: Container,
    command: Command,
    wanted: Collection[int],
    said: re.Pattern[str] | None,
    user: str | int | None = None,
) -> str:
    nothing = (None, None, None)
    done = await container._run(command, nothing, None, False, user=user)
    told = last_words(done.stderr or done.stdout)
    words = f": {clip(told.splitlines()[-1], 80)}" if told else ""
    if done.returncode not in wanted:
        return f"it ended with code {done.returncode}{words}"
    if said is not None and not said.search(done.stdout.decode("utf-8", "replace")):
        return f"its stdout has no {said.pattern!r}{words}"
    return ""


def healthy() -> Condition:
    """Its health check succeeds: that of ``health_cmd=``, else its image's.

    The check is asked here, anew with each attempt, and not in the engine's intervals. Misuse for a
    container that has none.
    """

    def begin(container: Container) -> Attempt:
        async def attempt() -> str:
            match container._info.get("health") or []:
                case ["CMD-SHELL", str(line)]:
                    command: Any = line
                case ["CMD", *words] if words:
                    command = list(map(str, words))
                case _:
                    raise Misuse(
                        f"Cannot {_DOING} it is healthy: {container._called} has no health check. "
                        "Spawn it with health_cmd=, or wait for another condition: http(), exec()."
                    )
            return await _asked(container, command, {0}, None)

        return attempt

    return Condition("its health check", begin)


def file(path: str, pattern: str | re.Pattern[str] | None = None) -> Condition:
    """A file is there, and (with ``pattern``) holds what that regular expression finds."""
    where = arguments.path("wait for", path)
    wanted = None if pattern is None else _pattern("pattern", pattern)
    parent, name = posixpath.split(posixpath.normpath(where))

    def begin(container: Container) -> Attempt:
        async def attempt() -> str:
            try:
                if wanted is None:
                    body = {"container": container.id, "path": parent}
                    told = (await container._link.request("file.list", body)).body["entries"]
                    there = not name or any(str(each.get("name")) == name for each in told)
                    return "" if there else "it is not there"
                content = await Download(container._link).fetch(container.id, where)
            except FileError as error:
                return f"it cannot be read ({one_line(str(error), 120)})"
            found = wanted.search(content.decode("utf-8", "replace"))
            return "" if found else f"it has no {wanted.pattern!r}"

        return attempt

    return Condition(where, begin)


def check(conditions: Collection[object]) -> list[Condition]:
    """What ``wait_until`` was given. Misuse."""
    known = [each for each in conditions if isinstance(each, Condition)]
    if not known or len(known) != len(conditions):
        odd = next((each for each in conditions if not isinstance(each, Condition)), None)
        cause = "no condition is given" if not conditions else f"{odd!r} is no condition"
        raise Misuse(
            f"Cannot {_DOING}: {cause}. Give some of tfnz_notebook.waits: http(8080), "
            "log('ready'), tcp(5432), exec('pg_isready'), healthy(), file('/run/ready')."
        )
    return known
