"""Agents that run for this user, asked with a hello."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import Final

from tfnz_notebook import __version__
from tfnz_notebook._base import paths, running
from tfnz_notebook._base.running import Agent
from tfnz_notebook._doctor.findings import Finding
from tfnz_notebook._link.ends import Address
from tfnz_notebook._link.link import Link
from tfnz_notebook.errors import TfnzError

PATIENCE: Final = 5.0
_STOP: Final = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))


def there() -> list[Agent]:
    """All of them."""
    return running.agents(paths.runtime(), paths.state())


@dataclass(frozen=True, slots=True)
class _Place:
    """As ``_link.ends.Place`` has it; here nothing is ever started."""

    agent: Agent

    @property
    def where(self) -> str:
        return self.agent.where

    def find(self) -> Address:
        return Address(self.agent.socket)


async def ask(agent: Agent) -> Finding:
    """Its version and engine, in its own words."""
    topic = f"agent {agent.name}"
    at = f"pid {agent.pid}"
    if not agent.socket.startswith("ipc://"):
        said = f"{at}, {f'listens at {agent.socket}' if agent.socket else 'starts, or ends'}"
        return Finding(topic, "ok", said, facts={"pid": agent.pid, "socket": agent.socket})
    link = Link(_Place(agent))
    remedy = "tfnz-agent stop; its containers go on, and the next notebook starts another agent"
    try:
        async with asyncio.timeout(PATIENCE):
            await link.open()
    except TimeoutError:
        return Finding(topic, "note", f"{at}: does not answer", remedy, {"pid": agent.pid})
    except TfnzError as error:
        return Finding(topic, "note", f"{at}: {error}", remedy, {"pid": agent.pid})
    finally:
        await link.close(PATIENCE)
    facts = {"pid": agent.pid, "version": link.agent, "engine": link.engine, "about": link.about}
    said = f"{at}, version {link.agent}, for {link.engine}"
    if link.agent != __version__:
        said += f"; this package is {__version__}"
        return Finding(topic, "note", said, remedy, facts)
    return Finding(topic, "ok", said, facts=facts)


async def end(agent: Agent) -> bool:
    """TERM, then KILL; False if it is still there."""
    return await asyncio.to_thread(agent.end, *_STOP)
