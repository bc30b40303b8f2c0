"""Images of forks: each is made for one container, called after it, and goes with it.

The owner is in the name: agents of others may use the same engine, and sweep up after themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from tfnz_notebook.engines.base import Stored

_BEGINS: Final = "tfnz-fork-"


def named(owner: str, ident: str) -> str:
    """The image that the container of that id will be made of."""
    return f"{_of(owner)}:{ident}"


def is_of(image: str, ident: str) -> bool:
    """Whether it was made for that container alone."""
    return image.startswith(_BEGINS) and image.endswith(f":{ident}")


def left(images: Iterable[Stored], owner: str, known: Collection[str]) -> Iterator[str]:
    """Names of those whose container is none of ``known``."""
    for image in images:
        for tag in image.tags:
            repository, _, ident = tag.rpartition(":")
            if repository.rpartition("/")[2] == _of(owner) and ident not in known:
                yield tag


def _of(owner: str) -> str:
    return f"{_BEGINS}{hashlib.sha256(owner.encode()).hexdigest()[:12]}"
