"""Ours says what a real one says: each recorded answer, in the same conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apiserver.cluster import Cluster
from apiserver.conversation import SUBJECTS, hold

RECORDED = Path(__file__).with_name("recorded")


@pytest.mark.parametrize("name", SUBJECTS)
async def test_says_what_a_real_one_says(name: str, subtests: pytest.Subtests) -> None:
    real = json.loads((RECORDED / f"{name}.json").read_text())
    async with Cluster() as cluster:
        said = await hold(
            SUBJECTS[name], cluster.target(), "tfnz-talk-1", "registry.test/busybox:1"
        )
    for what, wanted in real.items():
        with subtests.test(what):
            told = json.loads(json.dumps(said[what]))
            wrong = [*differences(wanted, told)]
            assert not wrong, "\n".join(wrong)


def differences(real: Any, ours: Any, at: str = "") -> Any:
    """Where they are not the same."""
    if isinstance(real, dict) and isinstance(ours, dict):
        for key in sorted({*real, *ours}):
            if key not in ours:
                yield f"{at}.{key}: not there, really {real[key]!r}"
            elif key not in real:
                yield f"{at}.{key}: {ours[key]!r}, really not there"
            else:
                yield from differences(real[key], ours[key], f"{at}.{key}")
    elif isinstance(real, list) and isinstance(ours, list) and len(real) == len(ours):
        for n, (one, other) in enumerate(zip(real, ours, strict=True)):
            yield from differences(one, other, f"{at}[{n}]")
    elif real != ours:
        yield f"{at}: {ours!r}, really {real!r}"
