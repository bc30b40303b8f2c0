"""A magic's line: words as a shell has them, options by argparse, the command as it was typed.

``%tf_run -d web ps faxu | head``: the options and ``web`` are words, quoted as in a shell; what
follows is the command, verbatim. So the words are read one at a time, with their places, and no
further than to the last positional argument.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from tfnz_notebook._base.text import clip
from tfnz_notebook.errors import Misuse

#: What :attr:`Namespace.command` is called in a usage line, where a magic takes one.
COMMAND: Final = "command"
#: What a shell replaces in a word.
_NAMED: Final = re.compile(
    r"\$(?P<name>[A-Za-z_]\w*)|\$\{(?P<braced>[A-Za-z_]\w*)\}|\$\((?P<command>[^()]*)\)"
    r"|`(?P<ticked>[^`]*)`",
    re.ASCII,
)
#: What may stand behind ``=`` of an option that has no value.
_SWITCH: Final = {"true": True, "1": True, "false": False, "0": False}


class Word(NamedTuple):
    """One word, without its quotes, and where in the line it is."""

    text: str
    start: int
    end: int
    #: False if a quotation in it does not end, as while somebody types it.
    whole: bool = True
    #: The first character in it, unquoted, that a shell takes for an operator.
    operator: str = ""


def words(line: str, start: int = 0, names: Mapping[str, str] | None = None) -> Iterator[Word]:
    """The words of a line, as POSIX quoting has them; reads no further than it is asked.

    ``names``: what ``$NAME`` stands for; None: itself.
    """
    place = start
    while True:
        while place < len(line) and line[place].isspace():
            place += 1
        if place == len(line):
            return
        word = _word(line, place, names)
        yield word
        place = word.end


def _word(line: str, start: int, names: Mapping[str, str] | None) -> Word:
    text: list[str] = []
    quote = operator = ""
    place = start
    while place < len(line):
        char = line[place]
        if char == "\\" and quote != "'":
            after = line[place + 1 : place + 2]
            # Within double quotes a backslash stands for itself, but before these.
            text.append(after if not quote or after in ('"', "\\", "$", "`") else char + after)
            place += 2
            continue
        if names is not None and quote != "'" and (found := _NAMED.match(line, place)):
            text.append(_stands_for(found, names))
            place = found.end()
            continue
        if not quote and not operator and char in "|&;<>":
            operator = char
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
    return Word("".join(text), start, min(place, len(line)), not quote, operator)


def _stands_for(found: re.Match[str], names: Mapping[str, str]) -> str:
    """A variable's value, '' if it is not set; what the few commands print that lines have."""
    command = found["command"] or found["ticked"]
    if command is None:
        return names.get(found["name"] or found["braced"], "")
    match command.split():
        case ["pwd"]:
            return os.getcwd()  # noqa: PTH109  # as text
        case ["id", "-u"]:
            return str(os.getuid())
        case ["id", "-g"]:
            return str(os.getgid())
        case ["id", "-un"] | ["whoami"]:
            return names.get("USER", "") or str(os.getuid())
        case ["hostname"]:
            return os.uname().nodename
    raise Misuse(
        f"Cannot read the line: no shell runs $({clip(command, 60)}) here. Put what it prints into "
        "a variable of Python's, and write $name."
    )


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
    :param before: a regular expression of what a pasted line has before its options. Such a line
        is a shell's: its command, too, is read as words, and variables stand for what they are
        here.
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
        before: str = "",
    ) -> None:
        self.magic = name
        self.takes_command = command
        self.trailing = trailing
        self.before = re.compile(before) if before else None
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
        group = options.pop("group", self)
        action: argparse.Action = group.add_argument(*names, **options)
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

    def _switched(self, text: str) -> list[str]:
        """An option's word; of one without value, ``--rm=true`` is itself, ``--rm=false`` none."""
        name, equals, value = text.partition("=")
        action = self._option_string_actions.get(name)
        if action is None or action.nargs != 0 or not equals or value.lower() not in _SWITCH:
            return [text]
        return [name] if _SWITCH[value.lower()] else []

    def pasted(self, line: str) -> int:
        """How much of a line is what a pasted one has before its options; 0 if it is not one."""
        found = self.before.match(line) if self.before else None
        return found.end() if found else 0

    def split(self, line: str) -> Split:
        """The line's parts, without judging them; also of a line that is still being typed."""
        line = uncommented(line)
        end = self.pasted(line)
        options: list[str] = []
        positionals: list[str] = []
        expects: argparse.Action | None = None
        plain = False  # after "--"
        most = len(self.fields) if self.takes_command else None
        wants_help = False
        names = os.environ if self.before else None
        while most is None or len(positionals) < most:
            word = next(words(line, end, names), None)
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
                action, more = self._option(word.text)
                options += self._switched(word.text)
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
            first, field = parts.command.partition(" ")[0], self.fields[-1].metavar
            # Of what a pasted line starts it may be all: its image has the program.
            if first.startswith("-") and self.before is None:
                self.error(f"{first} begins no command, and options stand before {field}")
            found.command = parts.command
            found.pasted = bool(self.pasted(line))
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


class Refused(argparse.Action):
    """An option that is none of ours: whoever writes it is told what there is instead."""

    def __init__(self, refuse: Callable[[], Exception], **options: Any) -> None:
        super().__init__(**options)
        self.refuse = refuse

    def __call__(self, *_: object) -> NoReturn:
        """It was written."""
        raise self.refuse()


class Run(NamedTuple):
    """A shell's line: what it runs, and the file that its output goes to."""

    argv: list[str]
    target: str | None


def shell_line(line: str) -> Run:
    """A command as a shell has it, with ``> FILE`` at its end at most. Misuse for the rest."""
    argv: list[str] = []
    target: str | None = None
    reading = words(line, names=os.environ)
    for word in reading:
        if not word.operator:
            if target is None:
                argv.append(word.text)
                continue
        elif word.operator == ">" and target is None and line[word.start] == ">":
            target = word.text[1:] or getattr(next(reading, None), "text", "")
            if target and not target.startswith((">", "&")):
                continue
        raise Misuse(
            f"Cannot read the line: {clip(line[word.start :], 60)!r} is for a shell here, and none "
            "runs it. Quote it as in sh -c '…', or leave it out."
        )
    return Run(argv, target)


def pair(text: str, what: str, doing: str) -> tuple[str, str]:
    """Both sides of ``left:right``."""
    left, colon, right = text.partition(":")
    if not (colon and left and right):
        raise Misuse(f"Cannot {doing}: {text!r} is no {what}. Write it as in SOURCE:TARGET.")
    return left, right
