"""Numbers as tools print them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook.plots.parsers.values import measure, moment, number, plain


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("5", 5, ""),
        (" -3.25 ", -3.25, ""),
        ("+1e3", 1000, ""),
        (".5", 0.5, ""),
        ("1,234", 1234, ""),
        ("12,345,678.9", 12345678.9, ""),
        ("1_000", 1000, ""),
        ("12,5", 12.5, ""),
        ("0,123", 0.123, ""),
        ("12.5%", 12.5, "%"),
        ("99 %", 99, "%"),
        ("10K", 10240, "B"),
        ("1.5g", 1.5 * 1024**3, "B"),
        ("3MiB", 3 * 1024**2, "B"),
        ("2Ki", 2048, "B"),
        ("1.2kB", 1200, "B"),
        ("5MB/s", 5e6, "B/s"),
        ("7B", 7, "B"),
        ("250ms", 0.25, "s"),
        ("35us", 35e-6, "s"),
        ("2 min", 120, "s"),
        ("400 req/s", 400, "req/s"),
        ("21C", 21, "C"),
    ],
)
def test_numbers_with_their_units(text: str, value: float, unit: str) -> None:
    assert measure(text) == (pytest.approx(value), unit)
    assert number(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "-", "n/a", "x5", "1.2.3", "1,2,3", "5 apples and pears", "1e999"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="number|large"):
        measure(text)
    assert not plain(text)


@given(st.text(max_size=40))
def test_any_text_is_a_finite_number_or_none(text: str) -> None:
    try:
        value, unit = measure(text)
    except ValueError:
        return
    assert math.isfinite(value)
    assert len(unit) <= 15


@pytest.mark.parametrize(
    "told",
    [
        *("2026-11-23T13:38:07Z", "2026-11-23T14:38:07+01:00", "2026-11-23 13:38:07"),
        *("1795441087", 1795441087, 1795441087000, 1795441087000000, "1795441087000000000"),
    ],
)
def test_moments(told: str | float) -> None:
    assert moment(told) == pytest.approx(1795441087)


@pytest.mark.parametrize("told", ["yesterday", "", math.nan, math.inf])
def test_no_moments(told: str | float) -> None:
    with pytest.raises(ValueError, match=r"."):
        moment(told)
