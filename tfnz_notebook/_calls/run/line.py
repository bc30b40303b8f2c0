"""The line of ``docker run`` that makes what a spec tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tfnz_notebook._base.numbers import number
from tfnz_notebook._base.text import command_line
from tfnz_notebook._calls.run.flags import BY_KEYWORD, line

#: What a variable is called, or looks like, that is nobody's to read.
_SECRET: Final = re.compile(
    r"(PASS(WORD|WD|PHRASE)?|PW|SECRET|TOKEN|CREDENTIALS?|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|AUTH)"
    r"(?!.*_FILE$)",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"://[^/@\s]*:[^/@\s]+@")
#: The spec's own words, and the flags they are; see :data:`flags.OURS` for the rest.
_PLAIN: Final = ("name", "hostname", "user", "workdir", "network", "read_only")


def docker_run(
    spec: dict[str, Any],
    files: Iterable[str],
    published: Iterable[tuple[str, int, int]],
) -> str:
    """The line; what it cannot say is a comment behind it.

    ``published``: (bind, local port, port) of its tunnels.
    """
    entrypoint, command = _argv(spec)
    words = ["docker", "run", "-d", *_flags(spec, published)]
    if entrypoint is not None:
        words += ["--entrypoint", entrypoint]
    text = command_line([*words, spec["image"], *command])
    notes = [f"{path} is written before it starts" for path in files]
    return f"{text}  # {'; '.join(notes)}" if notes else text


def _argv(spec: dict[str, Any]) -> tuple[str | None, list[str]]:
    """Its entrypoint, of which Docker takes one word, and what comes behind the image."""
    command = list(spec.get("command") or ())
    if spec["sleep"]:
        return "sleep", ["infinity"]
    told = spec.get("entrypoint")
    return (None, command) if told is None else ((told or [""])[0], [*told[1:], *command])


def _flags(spec: dict[str, Any], published: Iterable[tuple[str, int, int]]) -> Iterator[str]:
    for keyword in _PLAIN:
        if spec.get(keyword):
            yield from line(BY_KEYWORD[keyword], spec[keyword])
    for name, value in spec["env"].items():
        secret = _SECRET.search(name) or _URL.search(value)
        yield from ("-e", name if secret else f"{name}={value}")
    for name, value in spec["labels"].items():
        yield from ("-l", f"{name}={value}")
    for source, target, read_only, *more in spec["volumes"]:
        options = [*(["ro"] * read_only), *(more[0] if more else ())]
        yield from ("-v", ":".join(filter(None, (source, target, ",".join(options)))))
    for bind, local, port in published:
        yield from ("-p", f"[{bind}]:{local}:{port}" if ":" in bind else f"{bind}:{local}:{port}")
    if spec.get("cpu") is not None:
        yield from ("--cpus", number(spec["cpu"], 15))
    if spec.get("memory") is not None:
        yield from line(BY_KEYWORD["memory"], spec["memory"])
    if spec.get("pids") is not None:
        yield from ("--pids-limit", str(spec["pids"]))
    for capability in spec.get("capabilities") or ():
        yield from ("--cap-add", capability)
    if spec["new_privileges"]:
        yield from ("--security-opt", "no-new-privileges=false")
    if spec["pull"] != "missing":
        yield from ("--pull", spec["pull"])
    for keyword, value in spec["flags"].items():
        yield from line(BY_KEYWORD[keyword], value)
