"""The plot as a PNG, drawn with Pillow: what stays in the notebook.

Lines are drawn at twice the size and reduced, which smooths them; text is drawn at its size after
that. It is made to be shown at about 800 pixels' width, sharp on fine screens.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageColor, ImageDraw, ImageFont

from tfnz_notebook._base.numbers import count, number, plural
from tfnz_notebook._base.text import one_line
from tfnz_notebook.plots import units

if TYPE_CHECKING:
    from tfnz_notebook.plots.model import Plot

WIDTH, HEIGHT = 1280, 440
_FINE: Final = 2  # how much larger lines are drawn
_INK, _SOFT, _GRID, _PAPER = "#222222", "#666666", "#e4e4e7", "#ffffff"
_SIZE, _TITLE = 17, 19  # of letters, in pixels
_MARGIN: Final = 16
_SHADES: Final = 10  # of each colour, from the paper's: smooth edges in a quarter of the bytes


class Axis(NamedTuple):
    """One vertical axis: the unit, from and to, the distance of its ticks, its columns."""

    unit: str
    low: float
    high: float
    step: float
    columns: list[str]

    def labels(self) -> list[tuple[float, str]]:
        """Ticks, and what stands at them."""
        ticks = units.ticks(self.low, self.high, self.step)
        return list(zip(ticks, units.labels(ticks, self.unit), strict=True))


def axis(unit: str, columns: Sequence[str], values: Sequence[Sequence[float]]) -> Axis:
    """One that all the numbers lie on."""
    numbers = [value for each in values for value in each if not math.isnan(value)]
    low, high = min(numbers, default=math.nan), max(numbers, default=math.nan)
    return Axis(unit, *units.bounds(low, high, unit), list(columns))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def by_unit(plot: Plot) -> list[list[str]]:
    """The columns shown, by unit. Each unit has a scale; the first two have their axes drawn."""
    groups: dict[str, list[str]] = {}
    for name in plot.shown:
        groups.setdefault(plot.unit(name), []).append(name)
    return list(groups.values()) or [[]]


def _columns(
    xs: Sequence[float], ys: Sequence[float], pixels: int
) -> list[list[tuple[float, float]]]:
    """The line as strokes without gaps; of many rows those that a column of pixels shows."""
    strokes: list[list[tuple[float, float]]] = [[]]
    span = (xs[-1] - xs[0]) or 1.0
    dense = len(xs) > 3 * pixels
    at, low, high = -1, 0.0, 0.0
    for x, y in zip(xs, ys, strict=True):
        if math.isnan(y):
            if strokes[-1]:
                strokes.append([])
            at = -1
            continue
        pixel = int((x - xs[0]) / span * pixels)
        if dense and pixel == at:
            if low <= y <= high:
                continue
            low, high = min(low, y), max(high, y)
        else:
            at, low, high = pixel, y, y
        strokes[-1].append((x, y))
    return [stroke for stroke in strokes if stroke]


def _time_label(x: float, distance: float) -> str:
    at = time.localtime(x)
    if distance < 1:
        return time.strftime("%H:%M:%S", at) + number(x % 1, places=2)[1:]
    if distance < 60:
        return time.strftime("%H:%M:%S", at)
    return time.strftime("%H:%M" if distance < 86400 else "%d %b", at)


class _Frame(NamedTuple):
    """Where the lines go, in pixels of the result, and the x that lie at its ends."""

    left: int
    top: int
    right: int
    bottom: int
    low: float
    high: float

    def x(self, value: float) -> float:
        """Where an x lies."""
        span = (self.high - self.low) or 1.0
        return self.left + (value - self.low) / span * (self.right - self.left)

    def y(self, value: float, scale: Axis) -> float:
        """Where a number of an axis lies."""
        part = (value - scale.low) / (scale.high - scale.low)
        return self.bottom - part * (self.bottom - self.top)


def draw(plot: Plot, whole: bool = False) -> bytes:
    """The PNG. ``whole``: all rows, else those of the plot's window."""
    start = plot.begin(whole=whole)
    xs = plot.table.column(None, start)
    groups = by_unit(plot)
    series = {name: plot.table.column(name, start)[: len(xs)] for g in groups for name in g}
    xs = xs[: min([len(xs), *map(len, series.values())])]
    axes = [axis(plot.unit(g[0]) if g else "", g, [series[n] for n in g]) for g in groups]
    legend = _legend(plot)
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    sides = [
        max((measure.textlength(t, _font(_SIZE)) for _, t in a.labels()), default=0)
        for a in axes[:2]
    ]
    sides = [*sides, 0.0] if len(sides) == 1 else sides
    frame = _Frame(
        _MARGIN + int(sides[0]) + 10,
        _MARGIN + 2 * _SIZE + 26
        if len(_rows_of(legend, measure)) < 2
        else _MARGIN + 3 * _SIZE + 34,
        WIDTH - _MARGIN - (int(sides[1]) + 10 if sides[1] else 0),
        HEIGHT - _MARGIN - _SIZE - 14,
        xs[0] if xs else 0.0,
        xs[-1] if xs else 1.0,
    )
    image = _lines(plot, frame, axes, xs, series)
    _letters(plot, ImageDraw.Draw(image), frame, axes, legend, bool(xs))
    return _png(image, {plot.choice.color(name) for name in series})


def _png(image: Image.Image, colors: Iterable[str]) -> bytes:
    palette = Image.new("P", (1, 1))
    found: list[int] = []
    for color in ("#000000", *sorted(colors)):
        ink = ImageColor.getrgb(color)
        for shade in range(_SHADES + 1):
            found += [255 + (part - 255) * shade // _SHADES for part in ink[:3]]
    palette.putpalette(found[: 3 * 256])
    small = image.quantize(palette=palette, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def _lines(
    plot: Plot,
    frame: _Frame,
    axes: Sequence[Axis],
    xs: Sequence[float],
    series: Mapping[str, Sequence[float]],
) -> Image.Image:
    large = Image.new("RGB", (WIDTH * _FINE, HEIGHT * _FINE), _PAPER)
    pen = ImageDraw.Draw(large)
    left, right = frame.left * _FINE, frame.right * _FINE
    for tick, _ in axes[0].labels():
        y = frame.y(tick, axes[0]) * _FINE
        pen.line((left, y, right, y), _GRID, _FINE)
    for tick, _ in _x_ticks(plot, frame) if xs else ():
        x = frame.x(tick) * _FINE
        pen.line((x, frame.top * _FINE, x, frame.bottom * _FINE), _GRID, _FINE)
    for scale in axes:
        for name in scale.columns:
            color = plot.choice.color(name)
            for stroke in _columns(xs, series[name][: len(xs)], (right - left)) if xs else ():
                points = [(frame.x(x) * _FINE, frame.y(y, scale) * _FINE) for x, y in stroke]
                if len(points) == 1:
                    (x, y), r = points[0], 2.5 * _FINE
                    pen.ellipse((x - r, y - r, x + r, y + r), color)
                else:
                    pen.line(points, color, 5, joint="curve" if len(points) < 4000 else None)
    return large.reduce(_FINE)


def _x_ticks(plot: Plot, frame: _Frame) -> list[tuple[float, str]]:
    span = frame.high - frame.low
    if plot.x == "time":
        distance = units.time_step(span, 8)
        # Round in local time: an offset of half an hour must not shift the hours.
        offset = time.localtime(frame.high).tm_gmtoff
        marks = units.ticks(frame.low + offset, frame.high + offset, distance)
        return [(mark - offset, _time_label(mark - offset, distance)) for mark in marks]
    unit = "" if plot.x == "row" else plot.unit(plot.x)
    distance = units.step(frame.low, frame.high, 8, unit)
    ticks = units.ticks(frame.low, frame.high, distance)
    return list(zip(ticks, units.labels(ticks, unit), strict=True))


def _legend(plot: Plot) -> list[tuple[str, str]]:
    """(color, text) of each column shown."""
    return [
        (
            plot.choice.color(name),
            f"{one_line(name, 60)}  {units.human(plot.table.last(name), plot.unit(name))}",
        )
        for name in plot.shown
    ]


def _rows_of(
    legend: Sequence[tuple[str, str]], pen: ImageDraw.ImageDraw
) -> list[list[tuple[str, str, float]]]:
    """The legend in at most two rows: (color, text, where it begins); the rest is left out."""
    rows: list[list[tuple[str, str, float]]] = [[]]
    x = float(_MARGIN)
    for color, text in legend:
        wide = pen.textlength(text, _font(_SIZE)) + 58
        if x + wide > WIDTH and rows[-1]:
            if len(rows) == 2:
                break
            rows.append([])
            x = float(_MARGIN)
        rows[-1].append((color, text, x))
        x += wide
    return rows


def _letters(
    plot: Plot,
    pen: ImageDraw.ImageDraw,
    frame: _Frame,
    axes: Sequence[Axis],
    legend: Sequence[tuple[str, str]],
    any_rows: bool,
) -> None:
    small = _font(_SIZE)
    pen.text((_MARGIN, _MARGIN - 2), _fit(pen, plot.title, WIDTH - 420), _INK, _font(_TITLE))
    said = plural(plot.table.end, "row")
    if plot.skipped:
        said += f", {count(plot.skipped)} not understood"
    pen.text((WIDTH - _MARGIN, _MARGIN), said, _SOFT, small, anchor="ra")
    for index, row in enumerate(_rows_of(legend, pen)):
        y = _MARGIN + _SIZE + 12 + index * (_SIZE + 8)
        for color, text, x in row:
            pen.rounded_rectangle((x, y + 9, x + 22, y + 14), 2, color)
            pen.text((x + 30, y), text, _INK, small)
    for which, scale in enumerate(axes[:2]):
        for tick, text in scale.labels():
            at = (frame.left - 10, frame.y(tick, scale))
            if which:
                at = (frame.right + 10, at[1])
            pen.text(at, text, _SOFT, small, anchor="lm" if which else "rm")
    if not any_rows:
        middle = ((frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2)
        said = "\n".join(_fit(pen, line, WIDTH * 0.8) for line in plot.empty.split("\n"))
        pen.multiline_text(middle, said, _SOFT, small, anchor="mm", align="center")
        return
    for tick, text in _x_ticks(plot, frame):
        wide = pen.textlength(text, small) / 2
        x = min(max(frame.x(tick), _MARGIN + wide), WIDTH - _MARGIN - wide)
        pen.text((x, frame.bottom + 10), text, _SOFT, small, anchor="ma")


def _fit(pen: ImageDraw.ImageDraw, text: str, wide: float) -> str:
    text = one_line(text, 200)
    while text and pen.textlength(text, _font(_TITLE)) > wide:
        text = text[: -max(4, len(text) // 20)] + "..."
    return text
