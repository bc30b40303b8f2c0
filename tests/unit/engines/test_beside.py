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


@pytest.mark.parametrize("step", ["exec", "start"])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (409, "Container 1 is not running"),
        (404, "no such exec"),
        (500, "Container 1 is not running: Exited (3) Less than a second ago"),
        (500, "container state improper"),
    ],
)
async def test_one_that_has_ended_is_left_to_who_connects(
    step: str, status: int, said: str
) -> None:
    before = [(201, {"Id": "1"})] if step == "start" else []
    engine = Engine(*before, (status, {"message": said}))
    await beside.launch(engine, "c", HOW)  # type: ignore[arg-type]
    assert not engine.answers


@pytest.mark.parametrize("step", ["exec", "start"])
async def test_any_other_refusal_is_told(step: str) -> None:
    before = [(201, {"Id": "1"})] if step == "start" else []
    engine = Engine(*before, (500, {"message": "out of execs"}))
    with pytest.raises(EngineError, match="beside the container's first process.*out of execs"):
        await beside.launch(engine, "c", HOW)  # type: ignore[arg-type]
