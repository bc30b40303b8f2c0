"""How processes end and do, in words; ``_frontend/test/numbers.test.ts`` has the pages' twin."""

from typing import Any

from vectors import TEXT

from tfnz_notebook.widgets.status import ended, of, short


def test_endings() -> None:
    found: list[Any] = []
    for code, why, _, _ in TEXT["endings"]:
        long = ended(code, timed_out=why == "timeout", oom=why == "memory")
        found.append([code, why, long, short(code, why)])
    assert found == TEXT["endings"]


def test_a_status() -> None:
    running = {"state": "running", "started": 1000, "now": 13_000, "ran": None, "out": 5, "err": 6}
    assert of(running) == ("running", "running", "12 s · 11 B")
    over = running | {"state": "ended", "returncode": 0, "ran": 2.5}
    assert of(over) == ("ok", "exit 0", "2.5 s · 11 B")
    assert of(over | {"returncode": 1}).state == "bad"
    assert of({"state": "gone", "returncode": None})[:2] == ("bad", "gone")
    assert str(of({})) == "starting · 0 B"
