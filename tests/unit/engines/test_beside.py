"""A guest that is to be started beside a first process, which may end just then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tfnz_notebook.engines.docker.exec import beside
from tfnz_notebook.engines.http.client import Response
from tfnz_notebook.errors import EngineError

HOW = beside.Beside("0:0", ["/.tfnz/guest", "init", "--beside"])


class Engine:
    """Answers what it is told to, one after the other."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers = [Response(code, {}, json.dumps(said).encode()) for code, said in answers]

    async def request(self, method: str, path: str, **options: Any) -> Response:
        return self.answers.pop(0)


def refusals(step: str, count: int) -> list[tuple[int, dict[str, Any]]]:
    before = [(201, {"Id": "1"})] if step == "start" else []
    return [*before, (500, {"message": "cannot exec in a stopped container"})] * count


@pytest.mark.parametrize("step", ["exec", "start"])
@pytest.mark.parametrize("seen", [1, 2, 4])
async def test_one_that_has_ended_is_left_to_who_connects(
    monkeypatch: pytest.MonkeyPatch, step: str, seen: int
) -> None:
    """Its engine says that it runs for a little longer."""
    monkeypatch.setattr(beside, "_PAUSES", (0, 0, 0, 0))
    engine, states = Engine(*refusals(step, seen)), [True] * (seen - 1) + [False]

    async def running() -> bool:
        return states.pop(0)

    await beside.launch(engine, "c", HOW, running)  # type: ignore[arg-type]
    assert not engine.answers


@pytest.mark.parametrize("step", ["exec", "start"])
async def test_a_refusal_of_one_that_runs_is_told(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(beside, "_PAUSES", (0, 0))

    async def running() -> bool:
        return True

    engine = Engine(*refusals(step, 2))
    with pytest.raises(EngineError, match=r"beside the container's first process.*cannot exec"):
        await beside.launch(engine, "c", HOW, running)  # type: ignore[arg-type]
    engine = Engine(*refusals(step, 1), (201, {"Id": "2"}), (200, {}))
    await beside.launch(engine, "c", HOW, running)  # type: ignore[arg-type]
