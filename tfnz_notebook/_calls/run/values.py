"""What the values of ``docker run``'s flags mean: each as Docker's command line reads it.

Each function takes the flag's keyword and a value, the text of a command line or what suits it in
Python (a number, a dict, a list), and returns plain data, the same for both. Raises Misuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import repeat
from pathlib import PurePath
from typing import Any, Final

from tfnz_notebook._base.paths import expanded
from tfnz_notebook._calls import arguments
from tfnz_notebook.errors import FileError, Misuse

DOING: Final = "spawn a container"
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
#: A device by its vendor's name: the Container Device Interface.
_CDI: Final = re.compile(r"[\w.-]+/[\w.-]+=[\w.:-]+")
#: What getrlimit(2) has, as --ulimit calls it.
_LIMITS: Final = re.compile(
    "as|core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending"
    "|stack"
)
#: What may follow a mount point's last colon.
MODES: Final = re.compile(
    "ro|rw|z|Z|U|O|nocopy|cached|delegated|consistent|r?(shared|slave|private)"
)
_SHARED: Final = re.compile(r"(?:configmap|secret):[^:/]+")


def wrong(keyword: str, value: object, remedy: str) -> Misuse:
    """It cannot be that."""
    said = arguments.text(DOING, keyword, str(value), empty=True)[:200]
    return Misuse(f"Cannot {DOING}: {keyword} is {said!r}. {remedy}")


# --- of one value


def flag(keyword: str, value: object) -> bool:
    """Yes or no."""
    found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if found is None:
        raise wrong(keyword, value, "Give True or False.")
    return found


def word(keyword: str, value: object) -> str:
    """Some text."""
    return arguments.text(DOING, keyword, value)


def whole(keyword: str, value: object, least: int = 0, most: int = 1 << 62) -> int:
    """A whole number."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        value = int(value)
    return int(arguments.number(DOING, keyword, value, least, most))


def limit(keyword: str, value: object) -> int:
    """A number, or -1 for none."""
    return whole(keyword, value, -1)


def cores(keyword: str, value: object) -> float:
    """Cores, may be a fraction."""
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        raise wrong(keyword, value, "Give cores, as in 1.5.") from None
    return float(arguments.number(DOING, keyword, number, 0.01, whole=False))


def size(keyword: str, value: object) -> int:
    """Bytes, or as in ``'512m'``."""
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    return arguments.memory(value, DOING, keyword, 0) or 0


def size_or_none(keyword: str, value: object) -> int:
    """Bytes, or -1 for no limit."""
    return -1 if str(value) == "-1" else size(keyword, value)


def duration(keyword: str, value: object) -> float:
    """Seconds, or as in ``'1m30s'``."""
    if isinstance(value, str):
        if not _DURATION.fullmatch(value) and value != "0":
            raise wrong(keyword, value, "Give seconds, or as in '1m30s'.")
        value = sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(value))
    return float(arguments.number(DOING, keyword, value, 0, 1 << 31, whole=False))


def gpus(keyword: str, value: object) -> dict[str, Any]:
    """``'all'``, a number, or ``'device=0,1'``; by ``capabilities=`` and ``driver=`` as well."""
    found: dict[str, Any] = {"count": 0, "ids": [], "capabilities": ["gpu"], "driver": ""}
    text = str(value).strip().strip("'")
    for name, given in _fields(text):
        if not given and name not in ("driver", "device", "capabilities", "count"):
            name, given = "count", name  # noqa: PLW2901  # docker run --gpus 2
        match name:
            case "count" if given == "all" or given.isdigit():
                found["count"] = -1 if given == "all" else int(given)
            case "device":
                found["ids"] = [each for each in given.split(",") if each]
            case "capabilities":
                found["capabilities"] = ["gpu", *(c for c in given.split(",") if c != "gpu")]
            case "driver":
                found["driver"] = given
            case _:
                raise wrong(keyword, value, "Give 'all', a number, or 'device=0,1'.")
    if bool(found["count"]) == bool(found["ids"]):
        raise wrong(keyword, value, "Give 'all', a number, or 'device=0,1'.")
    return found


def restart(_: str, value: object) -> str:
    """Only ``'no'``."""
    if value != "no":
        raise Misuse(
            f"Cannot {DOING} with --restart {value}: no container of ours is started again by its "
            "engine, which would outlive the session that owns it. Leave it out, and have "
            "termination_callback= call container.reboot()."
        )
    return "no"


# --- of several


def several(value: object) -> list[Any]:
    """One value, or a list of them."""
    if isinstance(value, str | PurePath | Mapping) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def words(keyword: str, value: object) -> list[str]:
    """Texts."""
    return [arguments.text(DOING, keyword, each) for each in several(value)]


def numbered(keyword: str, value: object) -> list[str]:
    """Texts, or numbers."""
    return [arguments.text(DOING, keyword, str(each)) for each in several(value)]


def capabilities(_: str, value: object) -> list[str]:
    """Linux capabilities."""
    return arguments.capabilities(several(value))


def pairs(keyword: str, value: object) -> dict[str, str]:
    """``name=value`` texts, or a dict."""
    if isinstance(value, Mapping):
        return {str(key): str(each) for key, each in value.items()}
    found = {}
    for text in words(keyword, value):
        name, equals, given = text.partition("=")
        if not name:
            raise wrong(keyword, text, "Write NAME=VALUE.")
        found[name] = given if equals else ""
    return found


def lines(keyword: str, value: object) -> list[str]:
    """The lines of files here, as ``--env-file`` has them: no comments, no quotes."""
    found: list[str] = []
    for path in several(value):
        try:
            text = expanded(path).read_text()
        except (OSError, ValueError, TypeError) as error:
            said = getattr(error, "strerror", None) or error
            raise FileError(
                f"Cannot read {str(path)[:200]!r} for {keyword}: {said}. Look at its path here."
            ) from None
        kept = (line.lstrip() for line in text.removeprefix("\ufeff").splitlines())
        found += [line for line in kept if line and not line.startswith("#")]
    return found


def hosts(keyword: str, value: object) -> list[str]:
    """``name:address`` texts (or ``name=address``), or a dict."""
    if isinstance(value, Mapping):
        return [f"{name}:{address}" for name, address in value.items()]
    found = []
    for text in words(keyword, value):
        name, _, address = re.sub("[:=]", "\0", text, count=1).partition("\0")
        if not name or not address:
            raise wrong(keyword, text, "Write NAME:ADDRESS, as in 'db:10.0.0.5'.")
        found.append(f"{name}:{address.strip('[]')}")
    return found


def tmpfs(keyword: str, value: object) -> dict[str, str]:
    """``path[:options]`` texts, or a dict of those."""
    if isinstance(value, Mapping):
        given = {str(path): str(options) for path, options in value.items()}
    else:
        split = (text.partition(":") for text in words(keyword, value))
        given = {path: options for path, _, options in split}
    return {arguments.path("mount at", path): options for path, options in given.items()}


def limits(keyword: str, value: object) -> dict[str, list[int]]:
    """``name=soft[:hard]`` texts, or a dict of numbers or pairs; -1 is no limit."""
    given = value if isinstance(value, Mapping) else pairs(keyword, value)
    found = {}
    for name, told in given.items():
        parts = told.split(":") if isinstance(told, str) else told
        both = [*parts] if isinstance(parts, list | tuple) else [parts]
        if not _LIMITS.fullmatch(str(name)) or not 1 <= len(both) <= 2:
            raise wrong(keyword, f"{name}={told}", "Write NAME=SOFT[:HARD], as in 'nofile=1024'.")
        soft, hard = (limit(f"{keyword} {name}", each) for each in (both[0], both[-1]))
        found[str(name)] = [soft, hard]
    return found


def devices(keyword: str, value: object) -> list[list[str]]:
    """``path[:inside][:rwm]`` texts, as [path, inside, rwm]; a CDI name as [name]."""
    found = []
    for text in words(keyword, value):
        if _CDI.fullmatch(text):
            found.append([text])
            continue
        path, *more = text.split(":")
        access = more.pop() if more and re.fullmatch("[rwm]+", more[-1]) else "rwm"
        inside = more.pop() if more else path
        if more or not path.startswith("/") or not inside.startswith("/"):
            raise wrong(keyword, text, "Write /dev/NAME[:/dev/INSIDE][:rwm], or a CDI name.")
        found.append([path, inside, access])
    return found


def rates(keyword: str, value: object) -> list[list[object]]:
    """``device:number`` texts as [device, bytes or operations]."""
    found: list[list[object]] = []
    for text in words(keyword, value):
        path, _, rate = text.rpartition(":")
        if not path.startswith("/"):
            raise wrong(keyword, text, "Write DEVICE:RATE, as in '/dev/sda:1048576'.")
        number = whole(keyword, rate) if rate.isdigit() else size(keyword, rate)
        found.append([path, number])
    return found


def exposed(keyword: str, value: object) -> list[int]:
    """Ports and ranges of them."""
    found: list[int] = []
    for text in numbered(keyword, value):
        first, last = span(keyword, text.removesuffix("/tcp"))
        found += range(first, last + 1)
    return found


def span(keyword: str, text: str) -> tuple[int, int]:
    """The first and the last port of ``80`` or ``80-90``."""
    first, dash, last = text.partition("-")
    numbers = [int(each) if each.isdecimal() else 0 for each in (first, last if dash else first)]
    if not 0 < numbers[0] <= numbers[1] < 65536:
        raise wrong(keyword, text, "Write a TCP port, or a range as in 8000-8010.")
    return numbers[0], numbers[1]


def security(keyword: str, value: object) -> list[str]:
    """As ``--security-opt``; a seccomp profile's file is read here, as Docker's command does."""
    found = []
    for text in words(keyword, value):
        name, sign, given = re.sub("[:=]", "\0", text, count=1).partition("\0")
        if name == "seccomp" and sign and given not in ("unconfined", "builtin"):
            try:
                profile = json.loads(expanded(given).read_text())
            except (OSError, ValueError) as error:
                raise FileError(
                    f"Cannot read the seccomp profile {given[:200]!r}: {error}. Correct its path."
                ) from None
            given = json.dumps(profile)
        found.append(f"{name}={given}" if sign else name)
    return found


def ports(keyword: str, value: object) -> list[tuple[str | None, int | None, int]]:
    """(bind, local port, container port) of ``80``, ``8080:80``, ``127.0.0.1:8080:80``, ranges."""
    found: list[tuple[str | None, int | None, int]] = []
    for text in numbered(keyword, value):
        rest, _, protocol = text.partition("/")
        if protocol not in ("", "tcp"):
            raise wrong(keyword, text, f"It asks for {protocol!r}, and only TCP goes in tunnels.")
        *before, dest = rest.rsplit(":", 2)
        try:
            first, last = span(keyword, dest)
            begins, ends = span(keyword, before[-1]) if before and before[-1] else (0, 0)
        except Misuse:
            begins, ends, first, last = 0, 1, 0, 0
        if (begins and ends - begins != last - first) or (ends and not begins):
            raise wrong(keyword, text, "Write 80, 8080:80 or 127.0.0.1:8080:80.")
        bind = before[0].strip("[]") if len(before) == 2 else None
        here = range(begins, ends + 1) if begins else [None] * (last - first + 1)
        found += zip(repeat(bind), here, range(first, last + 1), strict=False)
    return found


# --- mounts: [source, target, read only, other options]; no source: a volume without a name


def volumes(keyword: str, value: object) -> list[list[Any]]:
    """``[source:]target[:options]`` texts."""
    found: list[list[Any]] = []
    for text in words(keyword, value):
        own = _SHARED.match(text)
        source, rest = (own[0], text[own.end() + 1 :]) if own else ("", text)
        parts = rest.split(":")
        options = parts.pop().split(",") if len(parts) > 1 and _modes(parts[-1]) else []
        if not own and len(parts) == 2:
            source, *parts = parts
        if len(parts) != 1 or not parts[0] or (not source and ":" in text.rstrip(":")):
            raise wrong(keyword, text, "Write SOURCE:TARGET, or SOURCE:TARGET:ro.")
        found.append(_mount(source, parts[0], options))
    return found


def _modes(text: str) -> bool:
    return all(MODES.fullmatch(each) for each in text.split(","))


def _mount(source: str, target: str, options: list[str]) -> list[Any]:
    if source.startswith((".", "~")):
        source = str(expanded(source).resolve())
    elif source and "/" not in source and not _SHARED.fullmatch(source):
        source = arguments.name("mount a volume", "its name", source)
    other = [each for each in options if each not in ("ro", "rw")]
    return [
        source,
        arguments.path("mount at", target),
        "ro" in options,
        *([other] if other else []),
    ]


def mounts(keyword: str, value: object) -> tuple[list[list[Any]], dict[str, str]]:
    """``type=…,source=…,target=…`` texts: what is mounted as a volume is, and the tmpfs."""
    found: list[list[Any]] = []
    memory: dict[str, str] = {}
    for text in words(keyword, value):
        given = dict(_fields(text))
        target = _first(given, "target", "destination", "dst")
        source = _first(given, "source", "src")
        kind = given.pop("type", "volume")
        readonly = [flag(keyword, given.pop(k) or "true") for k in ("readonly", "ro") if k in given]
        options = ["ro"] if any(readonly) else []
        if kind == "tmpfs" and not source:
            if "tmpfs-size" in given:
                options.append(f"size={size(keyword, given.pop('tmpfs-size'))}")
            if "tmpfs-mode" in given:
                options.append(f"mode={given.pop('tmpfs-mode')}")
            memory |= tmpfs(keyword, {target: ",".join(options)})
        elif kind == "volume" or (kind == "bind" and source):
            if kind == "bind":
                source = str(expanded(source).resolve())
                options += [given.pop(k) for k in ("bind-propagation",) if k in given]
                relabel = given.pop("relabel", "")
                options += {"shared": ["z"], "private": ["Z"]}.get(
                    relabel, [relabel] * bool(relabel)
                )
            elif given.pop("volume-nocopy", "false") in ("", "true", "1"):
                options.append("nocopy")
            if not all(MODES.fullmatch(each) for each in options):
                raise wrong(keyword, text, "Correct its options.")
            found.append(_mount(source, target, options))
        else:
            raise wrong(keyword, text, "Write type=bind|volume|tmpfs,source=…,target=….")
        given.pop("consistency", None)  # for Docker's virtual machines of old
        if given:
            raise Misuse(
                f"Cannot {DOING} with --mount {text[:200]!r}: {next(iter(given))!r} is not known "
                "here. Leave it out; a volume with options of its own is made with the engine's "
                "tool first."
            )
    return found, memory


def _fields(text: str) -> list[tuple[str, str]]:
    """The ``name=value`` of a line with commas; a field in double quotes may hold some."""
    fields = re.findall(r'"([^"]*)"|([^,"]+)', text)
    told = [quoted or plain for quoted, plain in fields]
    joined: list[str] = []
    for each in told:
        if joined and "=" not in each and joined[-1].startswith("device="):
            joined[-1] += f",{each}"  # as somebody writes who forgot Docker's inner quotes
        else:
            joined.append(each)
    return [(name.strip(), given) for name, _, given in (each.partition("=") for each in joined)]


def _first(given: dict[str, str], *names: str) -> str:
    found = [given.pop(name) for name in names if name in given]
    return found[0] if found else ""
