"""Views of processes over a link that breaks: each byte once, and no reader that nobody hears."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from unit.agent.test_handed_in import simulated
from unit.agent.test_silence import World

from tfnz_notebook._link.views.desk import Desk
from tfnz_notebook._link.views.process import ProcessSource
from tfnz_notebook._wire.link import Message

VIEW = "1" * 16


@pytest.mark.parametrize("breaks", ["before", "with the reply", "afterwards"])
@pytest.mark.parametrize("mode", ["all", "tail"])
def test_a_view_that_is_opened_while_the_link_is_away(mode: str, breaks: str) -> None:
    async def looks() -> None:
        world = await World().open()
        link, told = world.link, list[tuple[dict[str, Any], bytes]]()
        ident = await world.process(await world.spawn(), "cat")
        whole = bytes(range(250)) * 40
        await link.request("process.stdin", {"process": ident}, whole)
        await asyncio.sleep(1)

        def said(head: dict[str, Any], payload: bytes | None) -> None:
            told.append((head, payload or b""))

        desk = Desk(said)
        desk.register("it", ProcessSource(link, ident))
        answers = link._answer

        def answer(message: Message) -> None:
            answers(message)
            if message.name == "reader.open" and breaks == "with the reply":
                link._answer = answers  # type: ignore[method-assign]
                link._broke("test")

        link._answer = answer  # type: ignore[method-assign]
        if breaks == "before":
            link._broke("test")
        desk.received({"t": "open", "view": VIEW, "subject": "it", "mode": mode, "keep": 5000})
        if breaks == "afterwards":
            await asyncio.sleep(0.5)
            link._broke("test")
        await asyncio.sleep(60)
        await link.request("process.stdin", {"process": ident}, b"more")
        await asyncio.sleep(60)
        [opened] = [head for head, _ in told if head["t"] == "opened"]
        offset = opened["streams"][0][1]
        data = [(head, payload) for head, payload in told if head["t"] == "data"]
        assert data[0][0]["offset"] == offset
        assert b"".join(payload for _, payload in data) == (whole + b"more")[offset:]
        *_, client = world.agent.server.clients.values()
        assert len(client.readers) == 2, "one of each stream"
        await link.close()

    simulated(looks)
