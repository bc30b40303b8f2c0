"""Images in memory: what a container's files were, or what a Dockerfile of few words makes.

A build knows FROM, ENV, CMD, USER, WORKDIR, LABEL, COPY of single files, and RUN, which writes its
words and fails where they are ``exit N`` or ``false``.
"""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from tfnz_notebook._base import names
from tfnz_notebook.engines.base import Image, Recipe, Stored
from tfnz_notebook.errors import BuildFailed, ImageError, ImageMissing


@dataclass(frozen=True, slots=True)
class Filled(Image):
    """An image that has files, by absolute path."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    created: float = 0.0


def key(image: str) -> str:
    """Under which the world has it: a name without the tag that goes without saying."""
    name = names.parse(image)
    return name.repository if name.tag in ("", "latest") else f"{name.repository}:{name.tag}"


def find(images: Mapping[str, Image], image: str) -> Image:
    """By a name or an id. Raises ImageMissing."""
    if (found := images.get(key(image))) is not None:
        return found
    for each in images.values():
        if each.id == image or (names.is_id(image) and each.id.endswith(image)):
            return each
    raise ImageMissing(
        f"Cannot look at the image {image!r}: it is not here. location.images() lists what is.",
        image=image,
    )


def described(images: Mapping[str, Image]) -> list[Stored]:
    """All of them, each once, with its names."""
    tags: dict[str, list[str]] = {}
    for name, image in images.items():
        tags.setdefault(image.id, []).append(name if ":" in name else f"{name}:latest")
    by_id = {image.id: image for image in images.values()}
    found = [stored(by_id[ident], tuple(sorted(own))) for ident, own in tags.items()]
    return sorted(found, key=lambda each: each.tags)


def stored(image: Image, tags: tuple[str, ...]) -> Stored:
    """As it is listed."""
    if isinstance(image, Filled):
        return Stored(image.id, tags, sum(map(len, image.files.values())), image.created)
    return Stored(image.id, tags, 0, 0.0)


def filled(image: Image, files: Mapping[str, bytes], created: float) -> Filled:
    """The image with these files, under an id that tells them."""
    told = repr((image, sorted(files.items()), created)).encode()
    ident = f"sha256:{hashlib.sha256(told).hexdigest()}"
    return Filled(
        ident,
        image.entrypoint,
        image.command,
        image.env,
        image.user,
        image.workdir,
        files=files,
        created=created,
    )


async def build(
    images: Mapping[str, Image],
    recipe: Recipe,
    context: AsyncIterator[bytes],
    said: Callable[[bytes], Awaitable[None]],
    created: float,
) -> Filled:
    """What the Dockerfile makes. Raises BuildFailed."""
    sent = _unpacked(b"".join([piece async for piece in context]))
    lines = sent.get(recipe.dockerfile, b"").decode().splitlines()
    steps = [line for line in lines if line.strip() and not line.startswith("#")]
    image, files = Image(""), dict[str, bytes]()
    for number, line in enumerate(steps, 1):
        await said(f"Step {number}/{len(steps)} : {line}\n".encode())
        word, _, rest = line.partition(" ")
        try:
            image = _step(images, image, files, sent, word.upper(), rest)
        except (ValueError, KeyError) as error:
            raise BuildFailed(
                f"Cannot build {recipe.name!r}: step {number}/{len(steps)} ({line}): {error}. "
                "Correct the Dockerfile.",
                log=str(error).encode(),
            ) from None
        if word.upper() == "RUN":
            await said(f"{rest}\n".encode())
    return filled(image, files, created)


def _step(
    images: Mapping[str, Image],
    image: Image,
    files: dict[str, bytes],
    sent: Mapping[str, bytes],
    word: str,
    rest: str,
) -> Image:
    match word:
        case "FROM":
            base = find(images, rest)
            files.update(base.files if isinstance(base, Filled) else {})
            return base
        case "ENV":
            name, _, value = rest.partition("=")
            return replace(image, env={**image.env, name: value})
        case "CMD":
            return replace(image, command=tuple(json.loads(rest)))
        case "USER":
            return replace(image, user=rest)
        case "WORKDIR":
            return replace(image, workdir=rest)
        case "COPY":
            source, target = shlex.split(rest)
            if source not in sent:
                raise ValueError(f"{source}: not in the context")
            files[target] = sent[source]
        case "RUN" if rest == "false" or rest.startswith("exit "):
            raise ValueError(f"'{rest}' returned a non-zero code")
        case "RUN" | "LABEL":
            pass
        case _:
            raise ValueError(f"unknown instruction: {word}")
    return image


def packed(image: Image, tags: tuple[str, ...]) -> bytes:
    """An archive of it."""
    told: dict[str, object] = {"tags": tags, "command": image.command}
    files = image.files if isinstance(image, Filled) else {}
    told |= {"entrypoint": image.entrypoint, "env": dict(image.env)}
    told |= {"user": image.user, "workdir": image.workdir}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in {"/image.json": json.dumps(told).encode(), **files}.items():
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def unpacked(archive: bytes, created: float) -> tuple[Filled, list[str]]:
    """What :func:`packed` made, and its names. Raises ImageError."""
    try:
        files = {f"/{name}": content for name, content in _unpacked(archive).items()}
        told = json.loads(files.pop("/image.json"))
    except (tarfile.TarError, KeyError, ValueError):
        raise ImageError(
            "Cannot load images: it is no archive of any. Give one that image.save() wrote."
        ) from None
    words = {name: tuple(told[name]) for name in ("command", "entrypoint")}
    image = Image("", env=told["env"], user=told["user"], workdir=told["workdir"], **words)
    return filled(image, files, created), list(told["tags"])


def _unpacked(archive: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for entry in tar:
            if (content := tar.extractfile(entry)) is not None:
                found[entry.name] = content.read()
    return found
