"""What a container carries on the engine so that a later agent can know it again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Final

from tfnz_notebook.agent.process.command import IDENT
from tfnz_notebook.engines.base import (
    LABEL_CONTAINER,
    LABEL_CREATED,
    LABEL_DURABLE,
    LABEL_OWNER,
    LABEL_SESSION,
    LABEL_SPARE,
    LABEL_SPEC,
    NOT,
    ContainerSpec,
    Found,
)

#: What the names of our labels begin with.
OURS: Final = "io.tfnz."


def labelled(
    spec: ContainerSpec,
    *,
    owner: str,
    session: str,
    durable: bool,
    ttl: float | None,
    tag: str,
    created: float,
    origin: str = "",
    spare: bool = False,
) -> ContainerSpec:
    """The spec with our labels; they win over the user's.

    LABEL_SPEC tells what adoption needs, without environment, files or other secrets.
    """
    told = {
        "image": spec.image,
        "name": spec.name,
        "sleep": spec.sleep,
        "memory": spec.memory,
        "network": spec.network,
        "unmodified": spec.unmodified,
        "tag": tag,
        "origin": origin,
        "created": created,
    }
    labels = {
        **spec.labels,
        LABEL_OWNER: owner,
        LABEL_SESSION: session,
        LABEL_CONTAINER: spec.id,
        LABEL_CREATED: f"{created:.3f}",
        LABEL_SPEC: json.dumps({k: v for k, v in told.items() if v not in (None, "", False)}),
    }
    if durable:
        labels[LABEL_DURABLE] = "" if ttl is None else str(ttl)
    if spare:
        labels[LABEL_SPARE] = ""
    return dataclasses.replace(spec, labels=labels)


def is_spare(labels: Mapping[str, str]) -> bool:
    """Whether it was made before anybody asked for it."""
    return labels.get(LABEL_SPARE, NOT) != NOT


def own(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of them that are ours."""
    return {key: value for key, value in labels.items() if key.startswith(OURS)}


def others(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of them that are the user's."""
    return {key: value for key, value in labels.items() if not key.startswith(OURS)}


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What the labels of a found container say. ``ttl`` counts only for a durable session."""

    spec: ContainerSpec
    session: str
    durable: bool
    ttl: float | None
    tag: str
    origin: str
    created: float


def known(found: Found) -> Known | None:
    """The container as its labels tell it; None when they are not (or no longer) readable.

    Whoever else uses the engine may write labels as ours; the id becomes a directory's name here.
    """
    labels = found.labels
    session, ident = labels.get(LABEL_SESSION, ""), labels.get(LABEL_CONTAINER, "")
    try:
        told = json.loads(labels.get(LABEL_SPEC, ""))
        spec = ContainerSpec(
            id=ident,
            image=str(told["image"]),
            name=told.get("name"),
            sleep=bool(told.get("sleep")),
            memory=told.get("memory"),
            network=told.get("network"),
            unmodified=bool(told.get("unmodified")),
            labels=labels,
        )
        created = float(told["created"])
        durable = labels.get(LABEL_DURABLE, NOT) != NOT
        ttl = float(labels[LABEL_DURABLE]) if durable and labels[LABEL_DURABLE] else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not session or not IDENT.fullmatch(ident):
        return None
    tag, origin = str(told.get("tag", "")), str(told.get("origin", ""))
    return Known(spec, session, durable, ttl, tag, origin, created)
