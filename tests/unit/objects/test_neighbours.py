"""``allow_connection_from``: what is asked of the agent, and what is refused before."""

from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerGone, Misuse
from tfnz_notebook.location import Location


@pytest.fixture
def other(location: Location) -> Container:
    return location.best_node().spawn_container("busybox").wait_until_ready(10)


def test_both_are_named(agent: ScriptedAgent, container: Container, other: Container) -> None:
    container.allow_connection_from(other)
    container.disallow_connection_from(other)
    pair = {"container": container.id, "other": other.id}
    for name in ("container.allow", "container.disallow"):
        assert [message.body for message in agent.named(name)] == [pair]


async def test_the_twins(agent: ScriptedAgent, container: Container, other: Container) -> None:
    await container.aio.allow_connection_from(other.aio)
    await container.aio.disallow_connection_from(other)
    assert len(agent.named("container.allow") + agent.named("container.disallow")) == 2


@pytest.mark.parametrize("which", ["allow_connection_from", "disallow_connection_from"])
def test_refused_here(
    agent: ScriptedAgent, container: Container, other: Container, which: str
) -> None:
    ask: Any = getattr(container, which)
    with pytest.raises(Misuse, match="to itself"):
        ask(container)
    with pytest.raises(Misuse, match="to itself"):
        ask(container.aio)
    for wrong in (None, other.id, other.main):
        with pytest.raises(Misuse, match="is no container"):
            ask(wrong)
    with Location("podman") as elsewhere:
        stranger = elsewhere.best_node().spawn_container("nginx").wait_until_ready(10)
        with pytest.raises(Misuse, match="another location"):
            ask(stranger)
    other.destroy()
    with pytest.raises(ContainerGone):
        ask(other)
    assert not agent.named("container.allow") + agent.named("container.disallow")
