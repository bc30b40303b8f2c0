"""What is said to a person who waits, when, and to whom nothing is said."""

import asyncio
import contextlib
import re
import sys
import threading
import time

import pytest

from tfnz_notebook._link import patience
from tfnz_notebook.container import Container


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LATE", 0.05)
    monkeypatch.setattr(patience, "_EVERY", 0.01)
    monkeypatch.setattr(patience, "notebook", lambda: False)
    monkeypatch.delattr(sys, "ps1", raising=False)  # an IPython of another test


def said(capsys: pytest.CaptureFixture[str], until: str) -> tuple[str, str]:
    """What is on stdout and stderr once that is there; or after a while."""
    out, err, deadline = "", "", time.monotonic() + 10
    while until not in out + err and time.monotonic() < deadline:
        new = capsys.readouterr()
        out, err = out + new.out, err + new.err
        time.sleep(0.005)
    return out, err


@pytest.mark.parametrize("where", ["notebook", "prompt"])
def test_a_person_hears_why_it_takes_long(
    where: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "notebook":
        monkeypatch.setattr(patience, "notebook", lambda: True)
    else:
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with patience.told("starting the agent …", "started it"):
        out, err = said(capsys, "…")
    # A notebook shows stderr in red: nothing has gone wrong.
    assert (out if where == "notebook" else err) == "starting the agent …"
    assert not (err if where == "notebook" else out)
    line = "".join(capsys.readouterr())
    assert re.fullmatch(r"\rstarted it in [\d.]+ m?s *\n", line) and len(line) >= 22, (
        "no rest of it"
    )
    with contextlib.suppress(OSError), patience.told("starting …", "started it"):
        said(capsys, "starting …")
        raise OSError
    assert "".join(capsys.readouterr()) == "\n", "it is not done"


def waiting() -> list[threading.Timer]:
    """Words that are still to be said."""
    timers = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    return [each for each in timers if not each.finished.is_set()]


def test_what_is_quick_is_silent_and_so_are_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LATE", 60)
    with patience.told("x", "y"):
        assert not waiting(), "this is a script"
    monkeypatch.setattr(patience, "notebook", lambda: True)
    with patience.told("x", "y"):
        assert len(waiting()) == 1
    assert not waiting()


async def test_a_line_that_moves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "notebook", lambda: True)
    line = ["pulling nginx: 9 of 10 MB\x1b[2J"]
    text = ""
    async with asyncio.timeout(20):
        async with patience.moving(lambda: line[0]):
            while "9 of 10 MB\\x1b[2J" not in text:
                text += capsys.readouterr().out
                await asyncio.sleep(0)
            line[0] = "short"
            while "short" not in text:
                text += capsys.readouterr().out
                await asyncio.sleep(0)
        while not text.endswith("\n"):
            text += capsys.readouterr().out
            await asyncio.sleep(0)
    assert text.startswith("\r") and text.count("\n") == 1 and "\x1b" not in text
    assert f"\rshort{' ' * 27}" in text, "what was longer is covered"


async def test_nothing_moves_in_a_script() -> None:
    before = asyncio.all_tasks()
    async with patience.moving(lambda: "pulling"):
        assert asyncio.all_tasks() == before


def test_how_far_a_pull_is(container: Container) -> None:
    assert container._pulling() == ""
    pulling = {"image": "nginx", "state": "pulling"}
    for more, text in (
        ({}, "pulling nginx …"),
        ({"done": 2_000_000}, "pulling nginx: 1.91 MiB"),
        ({"done": 2_000_000, "total": 60_000_000}, "pulling nginx: 1.91 MiB of 57.2 MiB"),
    ):
        container._info = {**pulling, **more}
        assert container._pulling() == text
    container._info = {**pulling, "state": "running"}
