"""Numbers for people; ``_frontend/test/numbers.test.ts`` holds the pages to the same examples."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import TEXT

from tfnz_notebook._base import numbers


@pytest.mark.parametrize(
    "name",
    [
        "number",
        "count",
        "plural",
        "size",
        "rate",
        "percent",
        "progress",
        "share",
        "duration",
        "elapsed",
    ],
)
def test_examples(name: str) -> None:
    said: Callable[..., str] = getattr(numbers, name)
    found: list[Any] = [[*given, said(*given)] for *given, _ in TEXT[name]]
    assert found == TEXT[name]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_known_is_not_said(value: float) -> None:
    said = (numbers.size, numbers.rate, numbers.percent, numbers.duration)
    assert [each(value) for each in said] == [""] * 4


@given(st.floats(1, 1e15))
def test_three_digits_say_it_to_half_a_percent(value: float) -> None:
    said, unit = numbers.size(value).split()
    power = numbers.BYTES.index(unit)
    assert float(said) * 1024**power == pytest.approx(value, rel=0.00501)
    digits = said.replace(".", "").lstrip("0")
    assert len(digits) <= 3 or unit == "B"
    assert "." not in said or not said.endswith("0")
