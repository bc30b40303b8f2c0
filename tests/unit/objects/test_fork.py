"""A forked child: its parent's objects say so at once, its own work, and the parent is unharmed."""

import gc
import inspect
from collections.abc import Iterator
from typing import Any

from unit.children import in_a_child
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._calls.faces import face
from tfnz_notebook._calls.goodbye import _goodbye as leave_all
from tfnz_notebook._link import dealer, thread
from tfnz_notebook.container import Container
from tfnz_notebook.errors import ForkedError, LinkClosed
from tfnz_notebook.location import Location


def faces(of: object) -> Iterator[str]:
    for name in dir(type(of)):
        if isinstance(inspect.getattr_static(type(of), name), face):
            yield name


def test_everything_of_the_parents_raises_at_once(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    process = container.spawn_process("sleep 1000", lambda p, d: None)
    lines = process.lines()
    agent.write(process.id, b"a line\n")
    assert next(lines) == b"a line"
    made = (
        location,
        location.best_node(),
        container,
        process,
        container.attach_tunnel(80),
        location.create_volume("notes"),
    )

    def try_all() -> list[str]:
        wrong = []
        for each in made:
            for name in faces(each):
                try:
                    getattr(each, name)()
                    wrong.append(f"{type(each).__name__}.{name} returned")
                except ForkedError as error:
                    if f"Cannot call {name}(): " not in str(error):
                        wrong.append(str(error))
        for step in (
            lambda: next(lines),
            lambda: next(process.lines()),
            lambda: next(iter(process)),
            lambda: process.stdout,
            lambda: container.node,
        ):
            try:
                step()
                wrong.append("it went on")
            except ForkedError:
                pass
        return wrong

    assert in_a_child(try_all) == "[]"
    agent.write(process.id, b"another\n")
    assert next(lines) == b"another"
    assert issubclass(ForkedError, LinkClosed)


def test_leaving_it_in_the_child_leaves_it_to_the_parent(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    process = container.spawn_process("x")
    lines = process.lines()

    def leave() -> str:
        nonlocal lines
        with location, container:
            pass
        lines.close()
        del lines
        gc.collect()
        leave_all()
        return "left"

    assert in_a_child(leave) == "'left'"
    assert not agent.named("bye")
    assert not agent.named("container.destroy")
    agent.end(process.id, 3)
    assert process.wait(10) == 3
    assert container.state == "running"


def test_the_child_may_have_a_location_of_its_own(agent: ScriptedAgent, location: Location) -> None:
    def own() -> Any:
        with Location("podman") as other:
            return other.connected, other.best_node().name

    assert in_a_child(own) == "(True, 'second')"
    assert location.best_node().name == "second"


def test_sockets_are_of_one_process(location: Location) -> None:
    async def context() -> int:
        return id(dealer._zmq())

    ours = thread.wait(context())
    assert thread.wait(context()) == ours
    assert in_a_child(lambda: thread.wait(context()) == ours) == "False"


def test_awaiting_it_raises_as_well(container: Container) -> None:
    coroutine = container.aio.logs()

    def send() -> None:
        coroutine.send(None)

    assert in_a_child(send).startswith("ForkedError: Cannot call logs()")
    coroutine.close()
