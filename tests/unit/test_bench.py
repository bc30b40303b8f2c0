"""What the bench says of a run, held against an earlier one."""

from bench.measure import Case, Series

STEADY = [1.0, 1.01, 0.99, 1.0, 1.0]


def case(unit: str, *factors: float) -> Case:
    series = [Series(str(at), [each * f for each in STEADY]) for at, f in enumerate(factors)]
    return Case("a case", unit, series)


def test_a_slower_machine_is_no_fall() -> None:
    before = case("ms", 1, 2).kept()
    assert case("ms", 3, 6).fallen(before) == []


def test_what_takes_longer_beside_its_peer_fell_back() -> None:
    before = case("ms", 1, 2).kept()
    (told,) = case("ms", 1, 2.2).fallen(before)
    assert told == "a case, 1: 2.20 x the first, it was 2.00"
    assert case("ms", 1, 1.8).fallen(before) == []


def test_of_throughput_less_is_worse() -> None:
    before = case("MB/s", 100, 200).kept()
    assert case("MB/s", 100, 220).fallen(before) == []
    assert len(case("MB/s", 100, 180).fallen(before)) == 1


def test_memory_is_compared_as_it_is() -> None:
    before = case("MiB", 40, 50).kept()
    assert len(case("MiB", 50, 50).fallen(before)) == 1


def test_within_the_spread_nothing_fell() -> None:
    wide = Series("1", [1.0, 3.0, 2.0, 2.5, 1.5])
    before = Case("a case", "ms", [Series("0", STEADY), wide]).kept()
    assert case("ms", 1, 2.5).fallen(before) == []


def test_a_series_that_is_new_is_held_against_nothing() -> None:
    assert case("ms", 1, 2).fallen({}) == []
