"""Short turns while pages speak, and what was there before afterwards."""

import asyncio
import sys

import pytest

from tfnz_notebook.widgets.channel import haste
from tfnz_notebook.widgets.channel.haste import TURN, Haste


class Interpreter:
    """One of the test's own: pages of other tests of this process may still have spoken."""

    def __init__(self, interval: float = 0.004) -> None:
        self.interval = interval

    def getswitchinterval(self) -> float:
        return self.interval

    def setswitchinterval(self, interval: float, /) -> None:
        self.interval = interval

    async def back_to(self, value: float) -> None:
        async with asyncio.timeout(10):
            while self.interval != value:
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haste, "AFTER", 0.02)


async def test_turns_are_short_while_a_page_speaks() -> None:
    python = Interpreter()
    hurried = Haste(python)
    for _ in range(5):
        hurried.touch()
        assert python.interval == TURN
        await asyncio.sleep(0.01)
    await python.back_to(0.004)
    hurried.touch()
    assert python.interval == TURN
    await python.back_to(0.004)


async def test_what_a_user_chooses_meanwhile_stays() -> None:
    python = Interpreter()
    Haste(python).touch()
    python.setswitchinterval(0.002)
    await asyncio.sleep(0.1)
    assert python.interval == 0.002


async def test_shorter_turns_are_left_alone() -> None:
    python = Interpreter(0.0001)
    Haste(python).touch()
    assert python.interval == 0.0001


async def test_turns_are_those_of_this_process() -> None:
    before = sys.getswitchinterval()
    try:
        Haste().touch()
        assert sys.getswitchinterval() == pytest.approx(TURN)
    finally:
        sys.setswitchinterval(before)
