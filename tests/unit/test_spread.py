"""The runner of the tests: what gets a second look, and what is said of it."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPREAD: Callable[..., Any] = runpy.run_path(str(ROOT / ".ci" / "spread.py"))["main"]
#: Fails as often as a file says, which is how a test of load behaves.
FLAKY = """
import pathlib, pytest
@pytest.fixture
def left(number):
    times = pathlib.Path(__file__).with_name(f"{{number}}.txt")
    left = int(times.read_text()) if times.exists() else {fails}
    times.write_text(str(left - 1))
    yield left
    assert left <= 0, "and something is left of it"
@pytest.mark.parametrize("number", range({count}))
def test_flaky(number, left):
    print("what it saw")
    assert left <= 0, "the machine was busy"
def test_right(): pass
"""


@pytest.fixture
def spread(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs, each of so many tests that fail so often; the exit code, and all that was said."""

    def run(*flaky: dict[str, int], workers: int = 0) -> tuple[int, str]:
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        arguments: list[str] = []
        for number, each in enumerate(flaky):
            room = tmp_path / str(number)
            room.mkdir()
            (room / "test_flaky.py").write_text(FLAKY.format(**each))
            arguments += ["--then", "-n", str(workers), str(room)]
        code = SPREAD(arguments[1:], build=tmp_path / "build")
        return code, capfd.readouterr().out

    return run


def noted(tmp_path: Path) -> list[str]:
    path = tmp_path / "build" / "right-only-alone.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_what_is_right_alone_is_told_whole(
    spread: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, said = spread({"count": 3, "fails": 1}, workers=1)
    assert code == 0
    assert noted(tmp_path) == [f"0/test_flaky.py::test_flaky[{number}]" for number in range(3)]
    end = said[said.index("Right only alone") :]
    assert "what it saw" in end
    for why in ("the machine was busy", "and something is left of it"):
        assert end.count(f"AssertionError: {why}") >= 3


@pytest.mark.parametrize("flaky", [{"count": 1, "fails": 2}, {"count": 4, "fails": 1}], ids=str)
def test_what_is_wrong_alone_too_and_a_fourth_fail(
    spread: Callable[..., tuple[int, str]], tmp_path: Path, flaky: dict[str, int]
) -> None:
    code, said = spread(flaky)
    assert code == 1 and "Right only alone" not in said
    assert ("Once more, alone" in said) == (flaky["count"] == 1)
    assert noted(tmp_path) == []


@pytest.mark.parametrize("count", [2, 3])
def test_one_run_after_another_counts_with_it(
    spread: Callable[..., tuple[int, str]], tmp_path: Path, count: int
) -> None:
    code, said = spread({"count": count, "fails": 1}, {"count": 1, "fails": 1})
    if count == 3:
        assert code == 1 and "4 tests failed" in said
    else:
        assert code == 0 and said.count("the machine was busy", said.index("Right only")) >= 3
        assert noted(tmp_path)[-1] == "1/test_flaky.py::test_flaky[0]"
