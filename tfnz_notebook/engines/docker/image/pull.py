"""Pulling: the request, the stream of progress lines, and what a failure means.

The engine answers 200 and then a JSON object a line; an error may come as a status or as a line.
Layers report by themselves, so the sum over them is what a person wants to see. Podman repeats a
layer's last line; Docker's 'Extracting' counts the same bytes again and only changes the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tfnz_notebook._base import names
from tfnz_notebook.engines.base import Progress
from tfnz_notebook.engines.docker.image.lines import Lines, wrong
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.engines.registry.credentials import Store, header
from tfnz_notebook.errors import EngineError, ImageMissing

#: Longest silence of a pull, in seconds: a registry that stalls for longer is not coming back.
IDLE: Final = 300.0
_ASLEEP: Final = frozenset({"Download complete", "Pull complete", "Already exists"})


class Layers:
    """Progress lines in, one :class:`Progress` over all layers out."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}
        self._complete: set[str] = set()
        self.error = ""

    def line(self, said: Mapping[str, Any]) -> Progress | None:
        """Take one object; None if it says nothing that a person would want to see."""
        if error := wrong(said):
            self.error = error
            return None
        status, layer = (
            str(said.get("status") or said.get("stream") or ""),
            str(said.get("id") or ""),
        )
        progress = said.get("progressDetail")
        numbers = progress if isinstance(progress, dict) else {}
        current, total = _number(numbers.get("current")), _number(numbers.get("total"))
        if layer and status == "Downloading" and current >= 0:
            held = self._layers.get(layer, (0, 0))
            self._layers[layer] = (max(held[0], current), max(held[1], total, current))
        elif layer and status in _ASLEEP:
            self._complete.add(layer)
            size = self._layers.get(layer, (0, 0))[1]
            self._layers[layer] = (size, size)
        elif layer and status == "Pulling fs layer":
            self._layers.setdefault(layer, (0, 0))
        elif not status:
            return None
        return self.progress(status)

    def progress(self, status: str) -> Progress:
        """Now, with the last status as the word for it."""
        done = sum(current for current, _ in self._layers.values())
        total = sum(size for _, size in self._layers.values())
        count = len(self._layers)
        layers = f", {len(self._complete)} of {count} layers" if count else ""
        word = status.strip().splitlines()[0][:80] if status.strip() else "pulling"
        return Progress(f"{self._image}: {word.lower()}{layers}", done, total)


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1


async def pull(
    client: Client,
    image: str,
    *,
    podman: bool,
    default_registry: str,
    progress: Callable[[Progress], None],
    store: Store | None = None,
) -> None:
    """Pull an image. Raises ImageMissing with what was tried, and the remedy."""
    name = names.parse(image)
    if names.is_id(image):
        raise ImageMissing(
            f"Cannot pull {image!r}: an id names an image that is here, and it is not. "
            "Use the image's name.",
            image=image,
        )
    store = store or Store()
    query = {"fromImage": name.repository, "tag": name.digest or name.tag or "latest"}
    headers: dict[str, str] = {}
    registry = name.registry or default_registry
    if registry:
        login = await store.find(registry, name.path)
        if login is not None:
            headers["X-Registry-Auth"] = header(login.config())
    elif podman and (known := await store.all()):
        # A short name: which registries Podman asks is its own configuration. Offer them all.
        headers["X-Registry-Config"] = header({k: v.config() for k, v in known.items()})
    layers, lines = Layers(image), Lines()
    progress(Progress(f"{image}: asking the registry"))
    async with client.stream(
        "POST", "/images/create", query=query, headers=headers, idle=IDLE
    ) as answer:
        if answer.status != 200:
            whole = await answer.whole()
            raise _refused(image, name, whole.message, store, bool(headers), whole.status)
        async for chunk in answer:
            for said in lines.feed(chunk):
                if (now := layers.line(said)) is not None:
                    progress(now)
        for said in lines.end():
            layers.line(said)
    if layers.error:
        raise _refused(image, name, layers.error, store, bool(headers), answer.status)


def _refused(
    image: str, name: names.Name, said: str, store: Store, logged_in: bool, status: int
) -> ImageMissing | EngineError:
    """The error for a pull that failed, by what the engine says of it."""
    text = said.lower()
    if "no space left" in text:
        return EngineError(
            f"Cannot pull {image!r}: the engine's disk is full. Remove images you do not need.",
            status=status,
        )
    what = f"the registry {name.registry!r}" if name.registry else "the engine's default registry"
    if any(word in text for word in ("unauthorized", "denied", "authentication required", "401")):
        remedy = (
            f"The login that was sent was refused, or the name is wrong: log in again with "
            f"'docker login {name.registry}'".rstrip()
            if logged_in
            else f"It may be private (log in with 'docker login {name.registry}'".rstrip()
            + ") or misspelt"
        )
    elif any(word in text for word in ("manifest unknown", "not found", "404", "no such image")):
        remedy = "Check the name and the tag"
    else:
        remedy = (
            "Check the network and the name, or bring the image here yourself: 'docker load', "
            "'docker build' or 'docker import' (the same with podman)"
        )
    problems = f" ({'; '.join(store.problems)})" if store.problems else ""
    return ImageMissing(
        f"Cannot use the image {image!r}: it is not on this machine, and pulling it from {what} "
        f"failed: {said.strip()[:400].rstrip('.')}{problems}. {remedy}.",
        image=image,
        tried=[f"{name.registry or 'default registry'}/{name.path}"],
    )
