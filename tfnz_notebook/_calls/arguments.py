"""What may be passed: everything is checked here, before anything is sent.

Each function takes what a user gave and returns what the agent gets, or raises Misuse,
ImageNameInvalid or FileError (all ValueError) with "Cannot X: cause. Remedy."
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final, Literal

from tfnz_notebook._base import names, numbers
from tfnz_notebook._base.text import command_line
from tfnz_notebook._wire.operations import MAX_AHEAD
from tfnz_notebook.errors import FileError, Misuse, TooLarge

Command = str | Sequence[str]
Environment = Mapping[str, str | int | float] | Iterable[tuple[str, str | int | float]]
Files = Mapping[str, bytes | str] | Iterable[tuple[str, bytes | str]]
StreamName = Literal["stdout", "stderr"]

#: Bytes of a text that is no command.
MAX_TEXT: Final = 64 << 10
#: Bytes of one argument or variable: beyond that Linux starts nothing, execve(2). A NUL ends it.
MAX_STRING: Final = (128 << 10) - 1
#: Bytes of all files before boot: what they take on their way is a little more.
MAX_FILES: Final = MAX_AHEAD - (1 << 20)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
#: What is mounted that is no volume: a path, or what a cluster's namespace has under a name.
_SOURCE: Final = re.compile(r"/|(configmap|secret):.")
_MEMORY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
#: capabilities(7), and Docker's word for all of them.
_CAPABILITY: Final = re.compile(
    "ALL|AUDIT_(CONTROL|READ|WRITE)|BLOCK_SUSPEND|BPF|CHECKPOINT_RESTORE|CHOWN|FOWNER|FSETID|KILL"
    "|DAC_(OVERRIDE|READ_SEARCH)|IPC_(LOCK|OWNER)|LEASE|LINUX_IMMUTABLE|MAC_(ADMIN|OVERRIDE)|MKNOD"
    "|NET_(ADMIN|BIND_SERVICE|BROADCAST|RAW)|PERFMON|SET(FCAP|GID|PCAP|UID)|SYSLOG|WAKE_ALARM"
    "|SYS_(ADMIN|BOOT|CHROOT|MODULE|NICE|PACCT|PTRACE|RAWIO|RESOURCE|TIME|TTY_CONFIG)"
)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


class NamedImage:
    """Base of Image, by which it is known here."""

    @property
    def name(self) -> str:
        """Its name, or its id."""
        raise NotImplementedError


def image(value: object, doing: str = "spawn a container") -> str:
    """An image's name; of an Image its own."""
    value = value.name if isinstance(value, NamedImage) else value
    if not isinstance(value, str):
        raise Misuse(f"Cannot {doing}: image is {_kind(value)}. Give its name, as in 'nginx'.")
    names.parse(value)
    return value


def here(doing: str, value: object) -> Path:
    """A path of this machine."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise Misuse(f"Cannot {doing}: {value!r} is no path. Give one, as in 'image.tar'.")
    return Path(value).expanduser()


def not_here(doing: str, path: Path, error: OSError) -> FileError:
    """What cannot be read or written here."""
    return FileError(
        f"Cannot {doing}: {path}: {error.strerror or error}. Choose another, or mend that.",
        errno=error.errno,
    )


def text(doing: str, name: str, value: object, *, empty: bool = False, most: int = MAX_TEXT) -> str:
    """Some text without NUL, of at most so many bytes. Raises Misuse, TooLarge."""
    if not isinstance(value, str):
        raise Misuse(f"Cannot {doing}: {name} is {_kind(value)}. Give a string.")
    if "\0" in value:
        raise Misuse(f"Cannot {doing}: {name} holds a NUL. Give a text without.")
    try:
        size = len(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        half = f"Cannot {doing}: {name} holds half a surrogate pair. Give text."
        raise Misuse(half) from None
    if size > most:
        raise TooLarge(
            f"Cannot {doing}: {name} has {numbers.size(size)}, and at most {numbers.size(most)} "
            "go. Put it in a file, or give a shorter text.",
            size=size,
            limit=most,
        )
    if not value and not empty:
        raise Misuse(f"Cannot {doing}: {name} is empty. Leave it out or give it a value.")
    return value


def _writable(value: str) -> bool:
    """Whether it can be said: as UTF-8, and what Python makes of bytes that are none (PEP 383)."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _bytes(doing: str, name: str, value: str) -> bytes:
    if not _writable(value):
        raise Misuse(f"Cannot {doing}: {name} holds half a surrogate pair. Give bytes, or text.")
    return value.encode("utf-8", "surrogateescape")


def optional_text(doing: str, name: str, value: object) -> str | None:
    """Some text, or None."""
    return None if value is None else text(doing, name, value)


def user(doing: str, value: object) -> str | None:
    """A user: name, uid, or either with a group."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    return optional_text(doing, "user", value)


def name(doing: str, what: str, value: object) -> str:
    """A name that engines accept for containers, volumes and sessions."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Misuse(
            f"Cannot {doing}: {what} {value!r} is not a name. Use letters, digits, '_', '.' and "
            "'-', beginning with a letter or digit."
        )
    return value


def capabilities(value: object) -> list[str]:
    """Linux capabilities, with or without CAP_ before them, as ``['NET_ADMIN']``."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise Misuse(
            f"Cannot spawn a container: capabilities is {_kind(value)}. Give a list, as in "
            "['NET_ADMIN']."
        )
    found = []
    for each in value:
        short = str(each).upper().removeprefix("CAP_")
        if not _CAPABILITY.fullmatch(short):
            raise Misuse(
                f"Cannot spawn a container: {each!r} is no capability. Give names as in "
                "capabilities(7): 'NET_ADMIN', 'SYS_PTRACE'."
            )
        found.append(short)
    return found


def number(
    doing: str, name: str, value: object, least: float, most: float = 1 << 40, *, whole: bool = True
) -> int | float:
    """A number within limits."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        want = "a whole number" if whole else "a number"
        raise Misuse(f"Cannot {doing}: {name} is {_kind(value)}. Give {want}.")
    if not least <= value <= most:
        raise Misuse(
            f"Cannot {doing}: {name} is {value}. Give a number between {least} and {most}."
        )
    return value


def seconds(doing: str, name: str, value: object) -> float | None:
    """A duration, or None for no limit."""
    if value is None:
        return None
    return float(number(doing, name, value, 0, 1 << 31, whole=False))


def port(doing: str, value: object, name: str = "port") -> int:
    """A TCP port."""
    return int(number(doing, name, value, 1, 65535))


def size(doing: str, value: object) -> tuple[int, int]:
    """A terminal's (rows, columns)."""
    match value:
        case [rows, columns]:
            return (
                int(number(doing, "rows", rows, 1, 9999)),
                int(number(doing, "columns", columns, 1, 9999)),
            )
    raise Misuse(f"Cannot {doing}: size is {value!r}. Give (rows, columns), as in (24, 80).")


def memory(
    value: object,
    doing: str = "spawn a container",
    what: str = "memory",
    least: int = 1 << 20,
) -> int | None:
    """Bytes, from a number or a text like '512m' or '2 GiB' (powers of 1024, as Docker's)."""
    if value is None:
        return None
    if isinstance(value, str):
        match = _MEMORY.fullmatch(value.strip())
        if match is None:
            raise Misuse(f"Cannot {doing}: {what} is {value!r}. Write bytes, '512m' or '2g'.")
        value = int(float(match[1]) * _UNITS[match[2].lower()])
    return int(number(doing, what, value, least, 1 << 60))


def argv(doing: str, value: object) -> tuple[list[str], str]:
    """(argv, text for people): a string goes to ``/bin/sh -c``, a sequence is taken as it is."""
    if isinstance(value, str):
        shown = text(doing, "the command", value, most=MAX_STRING)
        if not value.strip():
            raise Misuse(f"Cannot {doing}: the command is empty. Name a program.")
        return ["/bin/sh", "-c", value], shown
    if isinstance(value, bytes | bytearray | Mapping) or not isinstance(value, Sequence):
        raise Misuse(
            f"Cannot {doing}: the command is {_kind(value)}. "
            "Give a string for /bin/sh, or a list of strings."
        )
    parts = [
        text(
            doing,
            f"argument {index} of the command",
            os.fspath(part) if isinstance(part, PurePath) else part,
            empty=index > 0,
            most=MAX_STRING,
        )
        for index, part in enumerate(value)
    ]
    if not parts:
        raise Misuse(f"Cannot {doing}: the command is empty. Name a program.")
    return parts, command_line(parts)[:MAX_TEXT]


def _pairs(doing: str, name: str, value: object) -> list[tuple[Any, Any]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise Misuse(f"Cannot {doing}: {name} is {_kind(value)}. Give a dict, or a list of pairs.")
    pairs = []
    for item in value:
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise Misuse(
                f"Cannot {doing}: {name} has {_kind(item)} that is no pair. "
                "Give a dict, or a list of (name, value) pairs."
            )
        pairs.append((item[0], item[1]))
    return pairs


def environment(doing: str, value: object) -> dict[str, str]:
    """Environment variables; numbers become text."""
    found: dict[str, str] = {}
    for key, given in _pairs(doing, "env", value):
        if not isinstance(key, str) or not key or "=" in key or "\0" in key:
            raise Misuse(
                f"Cannot {doing}: env has a name that is empty, no text, or has '=' in it. "
                "Give a text without '=' in it."
            )
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            raise Misuse(f"Cannot {doing}: env {key!r} is {_kind(given)}. Give a string.")
        known = text(doing, "a name in env", key).encode("utf-8", "surrogateescape")
        most = MAX_STRING - len(known) - 1
        found[key] = text(doing, f"env {key[:200]!r}", str(given), empty=True, most=most)
    return found


def labels(value: object) -> dict[str, str]:
    """Labels for the engine's own listing."""
    doing = "spawn a container"
    return {
        text(doing, "a label's name", key): text(doing, f"label {key!r}", given, empty=True)
        for key, given in _pairs(doing, "labels", value)
    }


def scheduling(given: Callable[[str], Any]) -> dict[str, Any]:
    """What a cluster alone can be asked for, of what was."""
    doing = "spawn a container"
    told: dict[str, Any] = {}
    if (wanted := given("runtime_class")) is not None:
        told["runtime_class"] = text(doing, "runtime_class", wanted)
    if (wanted := given("node_selector")) is not None:
        told["node_selector"] = {
            text(doing, "a selector's name", key): text(doing, f"{key!r}", value, empty=True)
            for key, value in _pairs(doing, "node_selector", wanted)
        }
    if (wanted := given("tolerations")) is not None:
        told["tolerations"] = [_toleration(each) for each in _several(doing, "tolerations", wanted)]
    if (wanted := given("pull_secrets")) is not None:
        names = _several(doing, "pull_secrets", wanted)
        told["pull_secrets"] = [text(doing, "a pull secret", each) for each in names]
    if (wanted := given("gpus")) is not None:
        told["gpus"] = {
            text(doing, "a resource", key): int(number(doing, "gpus", count, 1))
            for key, count in wanted.items()
        }
    return told


def _several(doing: str, name: str, value: object) -> list[Any]:
    """One text is a list of one."""
    if isinstance(value, str | Mapping):
        return [value]
    if not isinstance(value, Iterable):
        raise Misuse(f"Cannot {doing}: {name} is {_kind(value)}. Give a list.")
    return list(value)


def _toleration(value: object) -> dict[str, str | int]:
    """Of a taint as ``kubectl`` writes it, or as the cluster's API has it."""
    doing = "spawn a container"
    if isinstance(value, Mapping):
        return {
            text(doing, "a toleration's key", key): (
                int(number(doing, key, said, 0))
                if isinstance(said, int)
                else text(doing, key, said, empty=True)
            )
            for key, said in value.items()
        }
    taint, _, effect = text(doing, "a toleration", value).partition(":")
    key, same, wanted = taint.partition("=")
    told: dict[str, str | int] = {"key": key, "operator": "Equal" if same else "Exists"}
    return told | ({"value": wanted} if same else {}) | ({"effect": effect} if effect else {})


def path(doing: str, value: object) -> str:
    """An absolute path in the container. Raises FileError."""
    if isinstance(value, PurePath):
        value = str(value)
    if not isinstance(value, str):
        raise Misuse(f"Cannot {doing}: the path is {_kind(value)}. Give a string.")
    cause = ""
    if "\0" in value:
        cause = "it holds a NUL"
    elif not value.startswith("/"):
        cause = "it is relative, and no directory is the current one"
    elif ".." in value.split("/"):
        cause = "it has a '..' part"
    elif len(value) > 4095:
        cause = "it is too long"
    elif not _writable(value):
        cause = "it holds half a surrogate pair"
    if cause:
        raise FileError(
            f"Cannot {doing} {value[:200]!r}: {cause}. Give an absolute path without '..'.",
            errno=22,
        )
    return value


def files(value: object) -> dict[str, bytes]:
    """Files to be there before boot: paths to contents (text as UTF-8)."""
    doing = "spawn a container"
    found: dict[str, bytes] = {}
    for where, content in _pairs(doing, "pre_boot_files", value):
        if not isinstance(where, str | PurePath):
            raise Misuse(
                f"Cannot {doing}: pre_boot_files has {_kind(where)} where a path is due. "
                "Give pairs of (absolute path, bytes)."
            )
        target = path("write", where)
        if isinstance(content, str):
            found[target] = _bytes(doing, f"the content of {target!r}", content)
            continue
        if not isinstance(content, bytes | bytearray | memoryview):
            raise Misuse(
                f"Cannot {doing}: pre_boot_files has {_kind(content)} as the content of "
                f"{target!r}. Give its bytes, or a string."
            )
        found[target] = bytes(content)
    size = sum(map(len, found.values()))
    if size > MAX_FILES:
        raise TooLarge(
            f"Cannot {doing}: pre_boot_files has {numbers.size(size)}, and at most "
            f"{numbers.size(MAX_FILES)} go. Put larger ones in a volume, or use put() and start().",
            size=size,
            limit=MAX_FILES,
        )
    return found


def contents(doing: str, value: object) -> bytes | Path:
    """What to put in a file: bytes, a text (UTF-8), or a file here."""
    if isinstance(value, str):
        return _bytes(doing, "the data", value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Path):
        if not value.is_file():
            raise FileError(f"Cannot {doing}: {value} is not a file here. Give a file, or bytes.")
        return value
    raise Misuse(f"Cannot {doing}: the data is {_kind(value)}. Give bytes, a string or a Path.")


def stdin(value: object) -> bytes:
    """Bytes for a stdin."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    hint = " Add .encode() to it." if isinstance(value, str) else ""
    raise Misuse(f"Cannot write to stdin: the data is {_kind(value)}. Give bytes.{hint}")


class NamedVolume:
    """Base of Volume, by which it is known here."""

    @property
    def tag(self) -> str:
        """Its name."""
        raise NotImplementedError


def is_place(source: str) -> bool:
    """What is mounted is no volume, but a path, or a cluster's own."""
    return bool(_SOURCE.match(source))


def volumes(value: object) -> list[list[object]]:
    """Mounts: [source, target, read only] each."""
    doing = "spawn a container"
    if value is None:
        return []
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise Misuse(
            f"Cannot {doing}: volumes is {_kind(value)}. Give a list of (volume, mount point)."
        )
    mounts: list[list[object]] = []
    for item in value:
        match item:
            case (source, target) | [source, target]:
                mode: object = "rw"
            case (source, target, mode) | [source, target, mode]:
                pass
            case _:
                raise Misuse(
                    f"Cannot {doing}: volumes has {item!r}. Give (volume, mount point), "
                    "or (volume, mount point, 'ro')."
                )
        if mode not in ("ro", "rw"):
            raise Misuse(f"Cannot {doing}: a volume's mode is {mode!r}. Give 'ro' or 'rw'.")
        if isinstance(source, NamedVolume):
            named = source.tag
        else:
            if not isinstance(source, str | PurePath) or not _SOURCE.match(str(source)):
                raise Misuse(
                    f"Cannot {doing}: volumes has {source!r}. Give a Volume from "
                    "location.create_volume(), an absolute path of the engine's machine, or on "
                    "Kubernetes 'configmap:NAME' or 'secret:NAME'."
                )
            named = text(doing, "a volume's source", str(source))
        mounts.append([named, path("mount at", target), mode == "ro"])
    return mounts


def choice(doing: str, name: str, value: object, allowed: tuple[str, ...]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        words = " or ".join(map(repr, allowed))
        raise Misuse(f"Cannot {doing}: {name} is {value!r}. Give {words}.")
    return value


def stream(doing: str, value: object) -> int:
    """1 for 'stdout', 2 for 'stderr'."""
    return 1 + ("stdout", "stderr").index(choice(doing, "stream", value, ("stdout", "stderr")))
