"""Units and ticks; ``_frontend/test/plot/plot.test.ts`` holds the pages to the same examples."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import TEXT

from tfnz_notebook.plots import units

EXAMPLES = TEXT["plot"]


def real(value: float | None) -> float:
    return math.nan if value is None else value


def test_numbers_with_their_units() -> None:
    found = [[value, unit, units.human(real(value), unit)] for value, unit, _ in EXAMPLES["human"]]
    assert found == EXAMPLES["human"]


def test_labels() -> None:
    found = [[ticks, unit, units.labels(ticks, unit)] for ticks, unit, _ in EXAMPLES["labels"]]
    assert found == EXAMPLES["labels"]


@pytest.mark.parametrize("name", ["step", "time_step", "ticks"])
def test_ticks(name: str) -> None:
    for *given_, expected in EXAMPLES[name]:
        assert getattr(units, name)(*given_) == pytest.approx(expected), given_


def test_bounds() -> None:
    for low, high, unit, expected in EXAMPLES["bounds"]:
        found: Any = units.bounds(real(low), real(high), unit)
        assert list(found) == pytest.approx(expected), (low, high, unit)


def labels(low: float, high: float, unit: str) -> list[str]:
    return units.labels(units.ticks(*units.bounds(low, high, unit)), unit)


def test_ticks_of_bytes_are_round_where_they_are_read() -> None:
    found = [[low, high, labels(low, high, "B")] for low, high, _ in EXAMPLES["axes in bytes"]]
    assert found == EXAMPLES["axes in bytes"]


@given(st.floats(0, 1e18), st.floats(0, 1e18))
def test_ticks_of_bytes_have_three_digits(one: float, other: float) -> None:
    low, high, distance = units.bounds(min(one, other), max(one, other), "B")
    assert low <= min(one, other) * (1 + 1e-9) and max(one, other) <= high * (1 + 1e-9)
    ticks = units.ticks(low, high, distance)
    assert 2 <= len(ticks) <= units.MOST + 2
    for tick, label in zip(ticks, units.labels(ticks, "B"), strict=True):
        said, _, unit = label.partition(" ")
        assert len(said.replace(".", "").strip("0")) <= 3 or unit == "B"
        assert float(said) * 1024 ** units.BYTES.index(unit or "B") == pytest.approx(tick)
