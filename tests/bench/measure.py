"""Numbers: taken in turns, told as median with least and most, and held against their bars and
against what they were before."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: Factor and decimals with which a number of each unit is shown; seconds are kept as such.
UNITS = {"ms": (1000.0, 2), "s": (1.0, 3), "MB/s": (1.0, 1), "MiB": (1.0, 1), "%": (1.0, 2)}
#: In MB.
MIB = 1.048576
#: Of these more is better.
MORE = ("MB/s",)
#: Of these a ratio to the first series is what may be compared with another day's; of the others
#: the number itself.
TIMED = ("ms", "s", "MB/s")


@dataclass
class Series:
    """What one contestant measured."""

    name: str
    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """The middle half's width, as a part of the median."""
        if len(self.values) < 2 or not self.median:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return (high - low) / self.median


@dataclass
class Bar:
    """What was promised, and whether it is so."""

    text: str
    met: bool


@dataclass
class Case:
    """One line of questions: who took how long. Ratios are to the first series."""

    title: str
    unit: str
    series: list[Series] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Series:
        return next(each for each in self.series if each.name == name)

    def __contains__(self, name: str) -> bool:
        return any(each.name == name for each in self.series)

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def kept(self) -> dict[str, list[float]]:
        """What a later run is compared with: of each series its figure and the figure's spread."""
        base = self.series[0]
        relative = self.unit in TIMED and bool(base.median)
        return {
            each.name: [
                round(each.median / base.median if relative else each.median, 4),
                round(each.spread + (base.spread if relative and each is not base else 0.0), 4),
            ]
            for each in self.series
        }

    def fallen(self, before: Mapping[str, Sequence[float]]) -> list[str]:
        """What is worse than it was ``before``, by more than the spreads of both runs."""
        found = []
        for name, (now, spread) in self.kept().items():
            then, other = before.get(name, (0.0, 0.0))
            if not then or not now:
                continue
            worse = then / now if self.unit in MORE else now / then
            if worse > 1 + spread + other:
                sign = "x the first" if self.unit in TIMED else self.unit
                found.append(f"{self.title}, {name}: {now:.2f} {sign}, it was {then:.2f}")
        return found

    def lines(self) -> list[str]:
        """As a table."""
        factor, places = UNITS[self.unit]
        base = self.series[0]
        head = f"{self.title} [{self.unit}]"
        lines = [f"{head:<64}{'median':>10}{'min':>10}{'max':>10}{'ratio':>9}{'n':>6}"]
        for each in self.series:
            numbers = (each.median, min(each.values), max(each.values))
            shown = "".join(f"{value * factor:>10.{places}f}" for value in numbers)
            ratio = f"{each.median / base.median:>8.2f}x" if base.median else ""
            lines.append(f"  {each.name:<62}{shown}{ratio:>9}{len(each.values):>6}")
        lines += [f"  {'met    ' if bar.met else 'NOT MET'}  {bar.text}" for bar in self.bars]
        lines += [f"  {note}" for note in self.notes]
        return lines


def in_turns(
    case: Case,
    contestants: dict[str, Callable[[], float]],
    rounds: int,
    *,
    warm: int = 1,
    times: int = 1,
) -> Case:
    """Each contestant so many ``times`` a round, everybody first in turn; warm rounds do not count.

    Several times in a row where one takes about a millisecond: else it is the others' traces in the
    caches that are measured.
    """
    names = list(contestants)
    values: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found = [contestants[name]() for _ in range(times)]
            if number >= 0:
                values[name] += found
    case.series += [Series(name, values[name]) for name in names]
    for line in case.lines():
        print(line, file=sys.stderr)
    return case


def thousandths(value: float) -> str:
    """Seconds as milliseconds, for sentences."""
    return f"{value * 1000:.2f} ms"


def at_most(case: Case, name: str, limit: float, text: str) -> None:
    """A bar that the median of a series must not pass."""
    if name in case:
        case.bars.append(Bar(f"{name}: {text}", case[name].median <= limit))


def at_least(case: Case, name: str, peer: str, least: float) -> None:
    """A bar on how many times a peer's median that of a series is, where more is better."""
    ratio = case[name].median / case[peer].median
    case.bars.append(Bar(f"{name}: {ratio:.2f} x {peer}, at least {least:g}", ratio >= least))
