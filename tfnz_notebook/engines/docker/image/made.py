"""Images that are made here: of a container as it is, or by a build."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from tfnz_notebook._base import names
from tfnz_notebook._base.text import one_line
from tfnz_notebook.engines.base import (
    LABEL_CONTAINER,
    LABEL_CREATED,
    LABEL_DURABLE,
    LABEL_OWNER,
    LABEL_SESSION,
    LABEL_SPARE,
    LABEL_SPEC,
    LABEL_UNMODIFIED,
    NOT,
    Recipe,
)
from tfnz_notebook.engines.docker import answers, calls
from tfnz_notebook.engines.docker.create import GUEST
from tfnz_notebook.engines.docker.image.lines import Lines, wrong
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.engines.registry.credentials import Store, header
from tfnz_notebook.errors import BuildFailed

#: Seconds for a commit: it copies what the container wrote.
_COMMIT: Final = 600.0
#: Lines of a build that are kept for its error, and characters of one that it quotes.
_LAST: Final = 40
_QUOTED: Final = 300
#: No engine takes a label off, so they say that it is nobody's.
_NOBODYS: Final = {
    **dict.fromkeys((LABEL_OWNER, LABEL_SESSION, LABEL_CONTAINER, LABEL_CREATED, LABEL_SPEC), ""),
    **dict.fromkeys((LABEL_DURABLE, LABEL_SPARE, LABEL_UNMODIFIED), NOT),
}
#: What Docker and Podman begin a step's first line with.
_STEP: Final = re.compile(r"step (\d+/\d+) ?: (.+)", re.IGNORECASE)
_COLOURS: Final = re.compile("\x1b\\[[0-9;]*m")


async def commit(client: Client, ref: str, name: str, said: Mapping[str, Any]) -> str:
    """``said``: the container's inspect."""
    named = names.parse(name)
    config = answers.mapping(said.get("Config") or {})
    wanted: dict[str, Any] = {"Labels": _NOBODYS}
    if words := _guests(config):
        of = await client.request("GET", f"/images/{said.get('Image')}/json")
        image = answers.image(answers.mapping(of.json())) if of.status == 200 else None
        wanted |= starts(words, image.entrypoint if image else (), image.user if image else "")
    query = [
        ("container", ref),
        ("repo", named.repository),
        ("tag", named.tag or "latest"),
        ("pause", "1"),
    ]
    if client.name == "podman":  # which passes over the body
        query += [("changes", each) for each in _changes(wanted)]
    answer = await client.request(
        "POST", "/commit", query=query, payload=wanted, timeout=_COMMIT, repeatable=False
    )
    calls.check(answer, f"make the image {name!r} of the container")
    return _whole(str(answers.mapping(answer.json())["Id"]))


def _guests(config: Mapping[str, Any]) -> list[str]:
    """The guest's own words, of a container whose first process it is."""
    return list(config.get("Cmd") or ()) if config.get("Entrypoint") == [GUEST] else []


def starts(words: list[str], entrypoint: tuple[str, ...], user: str) -> dict[str, Any]:
    """What the guest was told to start, as an image's config says it."""
    at = words.index("--") if "--" in words else len(words)
    argv = words[at + 1 :]
    if "--user" in words[:at]:
        user = words[words.index("--user") + 1]
    own = list(entrypoint)
    if own and argv[: len(own)] == own:
        return {"Entrypoint": own, "Cmd": argv[len(own) :], "User": user or "0:0"}
    return {"Entrypoint": [], "Cmd": argv, "User": user or "0:0"}


def _changes(wanted: Mapping[str, Any]) -> list[str]:
    """The same as lines of a Dockerfile."""
    labels = [f"LABEL {key}={value}" for key, value in wanted["Labels"].items()]
    if "Cmd" not in wanted:
        return labels
    told = [f"{word.upper()} {json.dumps(wanted[word])}" for word in ("Entrypoint", "Cmd")]
    return [*labels, *told, f"USER {wanted['User']}"]


async def build(
    client: Client,
    recipe: Recipe,
    context: AsyncIterator[bytes],
    said: Callable[[bytes], Awaitable[None]],
    store: Store | None = None,
) -> str:
    """Have the engine build it. Closing the connection, as a cancel does, ends the build there."""
    names.parse(recipe.name)
    query = {
        "t": recipe.name,
        "dockerfile": recipe.dockerfile,
        "rm": "1",
        "forcerm": "1",  # nothing is left of one that fails
        "buildargs": json.dumps(dict(recipe.arguments)),
        **({"target": recipe.target} if recipe.target else {}),
        **({"platform": recipe.platform} if recipe.platform else {}),
        **({} if recipe.cache else {"nocache": "1"}),
        **({"pull": "1"} if recipe.pull else {}),
    }
    headers = {"Content-Type": "application/x-tar"}
    if known := await (store or Store()).all():  # as the docker command does: FROM may be private
        headers["X-Registry-Config"] = header({k: v.config() for k, v in known.items()})
    lines, told = Lines(), Told(recipe.name)
    # Without an end of its own: a step may be silent for as long as it works.
    async with client.stream(
        "POST", "/build", query=query, body=context, headers=headers
    ) as answer:
        if answer.status != 200:
            raise told.failed((await answer.whole()).message)
        async for chunk in answer:
            for each in lines.feed(chunk):
                if text := told.line(each):
                    await said(text.encode())
        for each in lines.end():
            told.line(each)
    if told.error or not told.image:
        raise told.failed(told.error or "the engine broke off")
    return told.image


class Told:
    """What a build has said: its text, its step, its image or its error."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._step = ""
        self._before = ""
        self._last: deque[str] = deque(maxlen=_LAST)
        self.image = self.error = ""

    def line(self, said: Mapping[str, Any]) -> str:
        """Take one object; the text that is for people."""
        if error := wrong(said):
            self.error = error
            return ""
        aux = said.get("aux")
        if isinstance(aux, dict) and aux.get("ID"):
            self.image = _whole(str(aux["ID"]))
        text = str(said.get("stream") or "")
        if not text and (status := said.get("status")) and not said.get("progressDetail"):
            text = f"{said['id']}: {status}\n" if said.get("id") else f"{status}\n"  # of a pull
        *whole, self._before = (self._before + _COLOURS.sub("", text)).split("\n")
        for line in whole:
            if step := _STEP.match(line):
                self._step = f"step {step[1]} ({one_line(step[2], _QUOTED)})"
                self._last.clear()
            elif line.strip() and not line.startswith((" --->", "-->", "Removing intermediate")):
                self._last.append(line.rstrip())
        return text

    def failed(self, why: str) -> BuildFailed:
        """The error, with the step's last words."""
        why = one_line(why.strip(), _QUOTED).rstrip(".")
        last = self._last[-1] if self._last else ""
        words = f"; it said last: {one_line(last, _QUOTED)!r}" if last else ""
        where = f"{self._step}: " if self._step else ""
        return BuildFailed(
            f"Cannot build {self._name!r}: {where}{why}{words}. Correct the Dockerfile.",
            log="\n".join(self._last).encode(),
        )


def _whole(ident: str) -> str:
    """An id as inspects have it; Podman's commit leaves out what it is a hash of."""
    return ident if ident.startswith("sha256:") else f"sha256:{ident}"
