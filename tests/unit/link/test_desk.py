"""The desk: views find their subjects, early and late, and nothing a page says can break it."""

import asyncio
from typing import Any

import pytest

from tfnz_notebook._link.views import desk as views
from tfnz_notebook._link.views.desk import Desk, View

ONE, TWO = "1" * 16, "2" * 16


class Recorder:
    """A source that writes down what happens."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.views: list[View] = []

    def opened(self, view: View, head: dict[str, Any]) -> None:
        self.seen.append(("opened", view.id))
        self.views.append(view)
        view.send("opened", info={})

    def message(self, view: View, head: dict[str, Any], payload: bytes) -> None:
        self.seen.append((head["t"], view.id, payload))

    def closed(self, view: View) -> None:
        self.seen.append(("closed", view.id))


class Carrier(Desk):
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(lambda head, payload: self.sent.append(head))

    def say(self, kind: str, view: str = ONE, payload: bytes = b"", **fields: Any) -> None:
        self.received({"t": kind, "view": view, **fields}, payload)


async def test_a_view_lives_and_dies() -> None:
    desk, source = Carrier(), Recorder()
    desk.register("s", source)
    desk.say("open", subject="s")
    desk.say("stdin", payload=b"x", offset=0)
    desk.say("close")
    desk.say("close")
    assert source.seen == [("opened", ONE), ("stdin", ONE, b"x"), ("closed", ONE)]
    assert desk.sent == [{"t": "opened", "view": ONE, "info": {}}]
    source.views[0].send("state", info={})
    assert len(desk.sent) == 1


async def test_opened_again_is_begun_anew() -> None:
    desk, source = Carrier(), Recorder()
    desk.register("s", source)
    desk.say("open", subject="s")
    desk.say("open", subject="s")
    assert [kind for kind, _ in source.seen] == ["opened", "closed", "opened"]
    assert len(desk.views) == 1


async def test_a_subject_that_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PATIENCE", 0.01)
    desk, source = Carrier(), Recorder()
    desk.say("open", subject="s", rows=3, columns=4)
    desk.say("open", TWO, subject="s")
    desk.say("close", TWO)
    desk.register("s", source)
    assert source.seen == [("opened", ONE)]
    desk.say("open", TWO, subject="nobody")
    async with asyncio.timeout(10):
        while desk.sent[-1].get("reason") != "unknown":
            await asyncio.sleep(0.005)


async def test_what_is_nobody_s_is_answered() -> None:
    desk, source = Carrier(), Recorder()
    desk.say("stdin", offset=0)
    assert desk.sent == [{"t": "closed", "view": ONE, "reason": "link", "text": ""}]
    desk.register("s", source)
    desk.say("open", subject="s")
    desk.say("credit", stream="x", upto=2)
    assert (desk.sent[-1]["t"], desk.sent[-1]["view"]) == ("error", ONE)
    for garbage in (None, 3, [], {}, {"t": 1}, {"t": "open", "view": "no"}, {"view": ["x"]}):
        desk.received(garbage)
    assert len(desk.views) == 1


async def test_there_is_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MOST", 3)
    desk, source = Carrier(), Recorder()
    desk.register("s", source)
    for number in range(5):
        desk.say("open", f"{number:016x}", subject="s")
    assert len(desk.views) == 3
    assert [head["t"] for head in desk.sent] == ["opened"] * 3 + ["closed"] * 2


async def test_closing_the_desk_tells_every_view() -> None:
    desk, source = Carrier(), Recorder()
    desk.register("s", source)
    desk.say("open", subject="s")
    desk.say("open", TWO, subject="s")
    desk.close("gone", "over")
    assert not desk.views
    assert [head["reason"] for head in desk.sent[2:]] == ["gone", "gone"]
    assert source.seen[2:] == [("closed", ONE), ("closed", TWO)]
