"""Volumes of a Docker-like engine. Only those with an owner label of ours are listed or removed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Final

from tfnz_notebook.engines.base import LABEL_OWNER
from tfnz_notebook.engines.docker import answers
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.errors import EngineError, VolumeError

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}", re.ASCII)


async def create(
    client: Client, name: str, labels: Mapping[str, str], owners: Collection[str]
) -> None:
    """Make it, or find it made by one of these owners."""
    held = await _labels(client, name)
    if held is None:
        answer = await client.request(
            "POST", "/volumes/create", payload={"Name": name, "Labels": dict(labels)}
        )
        if answer.status not in (200, 201) and "already exists" not in answer.message:
            raise VolumeError(
                f"Cannot make the volume {name!r}: {answer.message}. Choose another name.",
                status=answer.status,
            )
        # Docker answers 201 for one that exists, whoever's it is: so look again.
        held = await _labels(client, name)
    if held is None or held.get(LABEL_OWNER) not in owners:
        raise VolumeError(
            f"Cannot make the volume {name!r}: one of that name exists and is not ours. "
            "Choose another name.",
            foreign=held is not None,
        )


async def listed(client: Client, labels: Mapping[str, str], owners: Collection[str]) -> list[str]:
    """Names of the volumes of these owners that carry all the other labels."""
    wanted = {key: value for key, value in labels.items() if key != LABEL_OWNER}
    filters = json.dumps({"label": [LABEL_OWNER, *(f"{k}={v}" for k, v in wanted.items())]})
    answer = await client.request("GET", "/volumes", query={"filters": filters})
    if answer.status != 200:
        raise EngineError(
            f"Cannot list the volumes: {answer.message}. Look at the engine's log.",
            status=answer.status,
        )
    return sorted(
        str(entry["Name"])
        for entry in answers.mapping(answer.json()).get("Volumes") or ()
        if (held := entry.get("Labels") or {}).get(LABEL_OWNER) in owners
        and all(held.get(key) == value for key, value in wanted.items())
    )


async def sizes(client: Client, names: Collection[str]) -> dict[str, int | None]:
    """Bytes in each; the engine counts files for that, which takes as long as it takes."""
    answer = await client.request("GET", "/system/df", query={"type": "volume"}, timeout=300)
    if answer.status != 200:
        return dict.fromkeys(names)
    found = dict[str, int | None].fromkeys(names)
    for entry in answers.mapping(answer.json()).get("Volumes") or ():
        size = (entry.get("UsageData") or {}).get("Size")
        if entry.get("Name") in found and isinstance(size, int) and size >= 0:
            found[entry["Name"]] = size
    return found


async def remove(client: Client, name: str, owners: Collection[str]) -> None:
    """Remove it, if it is one of these owners' and not in use."""
    held = await _labels(client, name)
    if held is None or held.get(LABEL_OWNER) not in owners:
        why = "there is none of that name" if held is None else "it is not ours"
        raise VolumeError(f"Cannot remove the volume {name!r}: {why}. List the volumes.")
    answer = await client.request("DELETE", f"/volumes/{name}")
    if answer.status not in (200, 204, 404):
        raise VolumeError(
            f"Cannot remove the volume {name!r}: {answer.message}. "
            "Destroy the containers that use it.",
            status=answer.status,
        )


async def _labels(client: Client, name: str) -> dict[str, str] | None:
    """The labels of a volume; None if there is no such volume."""
    if not _NAME.fullmatch(name):
        raise VolumeError(
            f"Cannot use {name!r} as a volume's name: it has letters, digits, '_', '.' and '-', "
            "and begins with a letter or digit. Choose another."
        )
    answer = await client.request("GET", f"/volumes/{name}")
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise EngineError(
            f"Cannot look at the volume {name!r}: {answer.message}. Look at the engine's log.",
            status=answer.status,
        )
    held = answers.mapping(answer.json()).get("Labels") or {}
    return {str(key): str(value) for key, value in held.items()}
