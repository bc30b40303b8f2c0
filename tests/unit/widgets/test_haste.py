"""Short turns while pages speak, and what was there before afterwards."""

import asyncio
import sys
from collections.abc import Iterator

import pytest

from tfnz_notebook.widgets.channel import haste
from tfnz_notebook.widgets.channel.haste import TURN, Haste


@pytest.fixture(autouse=True)
def interval(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = sys.getswitchinterval()
    monkeypatch.setattr(haste, "AFTER", 0.02)
    sys.setswitchinterval(0.004)
    yield
    sys.setswitchinterval(before)


async def back_to(value: float) -> None:
    async with asyncio.timeout(10):
        while sys.getswitchinterval() != pytest.approx(value):
            await asyncio.sleep(0.005)


async def test_turns_are_short_while_a_page_speaks() -> None:
    hurried = Haste()
    for _ in range(5):
        hurried.touch()
        assert sys.getswitchinterval() == pytest.approx(TURN)
        await asyncio.sleep(0.01)
    await back_to(0.004)
    hurried.touch()
    assert sys.getswitchinterval() == pytest.approx(TURN)
    await back_to(0.004)


async def test_what_a_user_chooses_meanwhile_stays() -> None:
    hurried = Haste()
    hurried.touch()
    sys.setswitchinterval(0.002)
    await asyncio.sleep(0.1)
    assert sys.getswitchinterval() == pytest.approx(0.002)


async def test_shorter_turns_are_left_alone() -> None:
    sys.setswitchinterval(0.0001)
    Haste().touch()
    assert sys.getswitchinterval() == pytest.approx(0.0001)
