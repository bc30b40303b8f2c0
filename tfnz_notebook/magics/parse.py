"""A magic's line: words as a shell has them, options by argparse, the command as it was typed.

``%tf_run -d web ps faxu | head``: the options and ``web`` are words, quoted as in a shell; what
follows is the command, verbatim. So the words are read one at a time, with their places, and no
further than to the last positional argument.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from tfnz_notebook.errors import Misuse

#: What :attr:`Namespace.command` is called in a usage line, where a magic takes one.
COMMAND: Final = "command"


class Word(NamedTuple):
    """One word, without its quotes, and where in the line it is."""

    text: str
    start: int
    end: int
    #: False if a quotation in it does not end, as while somebody types it.
    whole: bool = True


def words(line: str, start: int = 0) -> Iterator[Word]:
    """The words of a line, as POSIX quoting has them; reads no further than it is asked."""
    place = start
    while True:
        while place < len(line) and line[place].isspace():
            place += 1
        if place == len(line):
            return
        word = _word(line, place)
        yield word
        place = word.end


def _word(line: str, start: int) -> Word:
    text: list[str] = []
    quote = ""
    place = start
    while place < len(line):
        char = line[place]
        if char == "\\" and quote != "'":
            after = line[place + 1 : place + 2]
            # Within double quotes a backslash stands for itself, but before these.
            text.append(after if not quote or after in ('"', "\\", "$", "`") else char + after)
            place += 2
            continue
        if quote:
            if char == quote:
                quote = ""
            else:
                text.append(char)
        elif char in "'\"":
            quote = char
        elif char.isspace():
            break
        else:
            text.append(char)
        place += 1
    return Word("".join(text), start, min(place, len(line)), not quote)


def uncommented(line: str) -> str:
    """The line up to a ``#`` that begins a word: as in a shell, and in the rest of the cell."""
    starts = (word.start for word in words(line) if line[word.start] == "#")
    return line[: next(starts, len(line))]


class Split(NamedTuple):
    """A line in parts; ``expects`` is the option whose value is still to come."""

    options: list[str]
    positionals: list[str]
    command: str
    expects: argparse.Action | None = None
    wants_help: bool = False


class Parser(argparse.ArgumentParser):
    """argparse that never exits, and leaves a command as it was typed.

    :param name: the magic, without its ``%``.
    :param command: whether what follows the positional arguments is a command.
    :param trailing: options may also stand behind the command, as in ``vmstat 1 --columns us``.
    """

    def __init__(
        self,
        name: str,
        description: str,
        *,
        command: bool = False,
        trailing: bool = False,
        cell: bool = False,
        epilog: str | None = None,
    ) -> None:
        self.magic = name
        self.takes_command = command
        self.trailing = trailing
        #: By destination: what completion offers there.
        self.kinds: dict[str, str] = {}
        self.fields: list[argparse.Action] = []
        prog = f"%{name}" if not cell else f"%{name} or %%{name}"
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )

    def add(self, *names: str, kind: str = "", **options: Any) -> argparse.Action:
        """``add_argument``, and what completion offers there."""
        action = self.add_argument(*names, **options)
        if kind:
            self.kinds[action.dest] = kind
        if not action.option_strings:
            self.fields.append(action)
        return action

    # -- errors and help

    def error(self, message: str) -> NoReturn:
        """Raise Misuse: nothing here ever exits."""
        fields = [str(field.metavar or field.dest) for field in self.fields]
        usage = " ".join([f"%{self.magic}", *fields, *(["[command ...]"] * self.takes_command)])
        raise Misuse(
            f"Cannot run %{self.magic}: {message}. Write it as in: {usage}; "
            f"%{self.magic}? tells its options."
        )

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """As :meth:`error`."""
        self.error(message or f"it would exit with {status}")

    # -- reading a line

    def _option(self, text: str) -> tuple[argparse.Action | None, bool]:
        """The option that a word is, and whether its value is the next word."""
        known = self._option_string_actions
        if text.startswith("--"):
            name, equals, _ = text.partition("=")
            action = known.get(name)
            return action, action is not None and not equals and action.nargs != 0
        for place, letter in enumerate(text[1:], 1):
            action = known.get(f"-{letter}")
            if action is None:
                return None, False
            if action.nargs != 0:
                return action, place == len(text) - 1
        return known.get(text[:2]), False

    def split(self, line: str) -> Split:
        """The line's parts, without judging them; also of a line that is still being typed."""
        line = uncommented(line)
        options: list[str] = []
        positionals: list[str] = []
        expects: argparse.Action | None = None
        plain = False  # after "--"
        most = len(self.fields) if self.takes_command else None
        end = 0
        wants_help = False
        while most is None or len(positionals) < most:
            word = next(words(line, end), None)
            if word is None:
                break
            end = word.end
            if expects is not None:
                options.append(word.text)
                expects = None
            elif not plain and word.text == "--":
                plain = True
            elif not plain and word.text == "--help":
                wants_help = True
            elif not plain and word.text.startswith("-") and len(word.text) > 1:
                options.append(word.text)
                action, more = self._option(word.text)
                expects = action if more else None
            else:
                positionals.append(word.text)
        command = line[end:].strip() if self.takes_command else ""
        if self.trailing and command:
            command, before = self._leading(command)
            command, behind = self._trailing(command)
            options += [*before, *behind]
        return Split(options, positionals, command, expects, wants_help)

    def _leading(self, command: str) -> tuple[str, list[str]]:
        """The command, and our own options before it."""
        found: list[str] = []
        seen = words(command)
        for word in seen:
            action, more = self._option(word.text) if word.text.startswith("--") else (None, False)
            value = next(seen, None) if more else None
            if action is None or (more and value is None):
                return command[word.start :], found
            found += [word.text] if value is None else [word.text, value.text]
        return "", found

    def _trailing(self, command: str) -> tuple[str, list[str]]:
        """The command, and our own options behind it, if all that follows the first is ours."""
        seen = list(words(command))
        for index, word in enumerate(seen):
            name = word.text.partition("=")[0]
            if not name.startswith("--") or name not in self._option_string_actions:
                continue
            behind = [each.text for each in seen[index:]]
            values = iter(behind)
            if all(self._belongs(each, values) for each in values):
                return command[: word.start].rstrip(), behind
        return command, []

    def _belongs(self, text: str, following: Iterator[str]) -> bool:
        action, more = self._option(text) if text.startswith("--") else (None, False)
        return action is not None and (not more or next(following, None) is not None)

    def read(self, line: str) -> argparse.Namespace | None:
        """What a line asks for, with ``command`` if it takes one; None if it was for help."""
        for word in words(uncommented(line)):
            if not word.whole and not self.takes_command:
                self.error(f"a quotation does not end: {line[word.start :]}")
        parts = self.split(line)
        if parts.wants_help:
            return None
        behind = ["--", *parts.positionals] if parts.positionals else []
        found = self.parse_args([*parts.options, *behind])
        if self.takes_command:
            found.command = parts.command
        return found

    def format_usage(self) -> str:
        """argparse's, with the command."""
        usage = super().format_usage().rstrip("\n")
        return f"{usage} [{COMMAND} ...]\n" if self.takes_command else f"{usage}\n"

    def format_help(self) -> str:
        """argparse's, with the command in its first line."""
        text = super().format_help()
        own = super().format_usage()
        return text.replace(own, self.format_usage(), 1)


def pair(text: str, what: str, doing: str) -> tuple[str, str]:
    """Both sides of ``left:right``."""
    left, colon, right = text.partition(":")
    if not (colon and left and right):
        raise Misuse(f"Cannot {doing}: {text!r} is no {what}. Write it as in SOURCE:TARGET.")
    return left, right


def port_mapping(text: str) -> tuple[str | None, int | None, int]:
    """(bind, local port, container port) of ``80``, ``8080:80`` or ``127.0.0.1:8080:80``."""
    doing = "publish a port"
    rest, _, protocol = text.partition("/")
    if protocol not in ("", "tcp"):
        raise Misuse(f"Cannot {doing}: {text!r} asks for {protocol!r}. Only TCP goes in tunnels.")
    *before, dest = rest.rsplit(":", 2)
    numbers = [dest, *([before[-1]] if before and before[-1] else [])]
    if not all(each.isdecimal() and 0 < int(each) < 65536 for each in numbers):
        raise Misuse(
            f"Cannot {doing}: {text!r} names none. Write 80, 8080:80 or 127.0.0.1:8080:80."
        )
    bind = before[0].strip("[]") if len(before) == 2 else None
    return bind, int(numbers[1]) if len(numbers) == 2 else None, int(dest)


def environment(given: Sequence[str], inherited: dict[str, str]) -> dict[str, str]:
    """``-e NAME=value``, and ``-e NAME`` from here, as in ``docker run``."""
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name:
            raise Misuse(f"Cannot set a variable: {each!r} has no name. Write NAME=value.")
        if equals:
            found[name] = value
        elif name in inherited:
            found[name] = inherited[name]
    return found
