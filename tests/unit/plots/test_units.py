"""Numbers for people. The same examples hold ``_frontend/src/plot/units.ts``."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook.plots import units
from tfnz_notebook.plots.picture import axis

EXAMPLES = json.loads((Path(__file__).parent / "units.json").read_text(encoding="utf-8"))


def real(value: float | None) -> float:
    return math.nan if value is None else value


@pytest.mark.parametrize(("value", "unit", "text"), EXAMPLES["human"])
def test_human(value: float | None, unit: str, text: str) -> None:
    assert units.human(real(value), unit) == text


@pytest.mark.parametrize(("span", "most", "binary", "distance"), EXAMPLES["step"])
def test_step(span: float, most: int, binary: bool, distance: float) -> None:
    assert units.step(span, most, binary=binary) == pytest.approx(distance)


@pytest.mark.parametrize(("span", "most", "distance"), EXAMPLES["time_step"])
def test_time_step(span: float, most: int, distance: float) -> None:
    assert units.time_step(span, most) == pytest.approx(distance)


@pytest.mark.parametrize(("low", "high", "distance", "found"), EXAMPLES["ticks"])
def test_ticks(low: float, high: float, distance: float, found: list[float]) -> None:
    assert units.ticks(low, high, distance) == pytest.approx(found)


@pytest.mark.parametrize(("low", "high", "unit", "found"), EXAMPLES["range"])
def test_range(low: float | None, high: float | None, unit: str, found: Any) -> None:
    numbers = [] if low is None else [real(low), real(high)]
    made = axis(unit, [], [numbers])
    assert [made.low, made.high, made.step] == pytest.approx(found)
