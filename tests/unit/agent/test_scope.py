"""What runs in a scope ends with it; and the table of a container's states."""

import asyncio

import pytest

from tfnz_notebook.agent.container.states import NEXT, OVER, SILENT, Event
from tfnz_notebook.agent.process import states
from tfnz_notebook.agent.scope import Scope, together
from tfnz_notebook.errors import ContainerGone, EngineGone

GONE = ContainerGone("Cannot go on: it has ended.")
STATES = {state for state, _ in NEXT} | set(NEXT.values())


async def test_an_interrupt_ends_what_waits_with_its_error() -> None:
    scope = Scope()
    waiting = [asyncio.create_task(scope.run(asyncio.Event().wait())) for _ in range(3)]
    await asyncio.sleep(0)
    scope.interrupt(GONE)
    assert await asyncio.gather(*waiting, return_exceptions=True) == [GONE] * 3
    assert await scope.run(asyncio.sleep(0, "later")) == "later"


@pytest.mark.parametrize("ends", ["one", "other", "both", "itself"])
async def test_what_is_about_two_ends_with_either(ends: str) -> None:
    one = Scope()
    other = one if ends == "itself" else Scope()
    waiting = asyncio.create_task(one.run(other.run(asyncio.Event().wait())))
    await asyncio.sleep(0)
    if ends != "other":
        one.interrupt(GONE)
    if ends in ("other", "both"):
        other.interrupt(GONE)
    with pytest.raises(ContainerGone):
        await waiting
    assert not one._running
    assert not other._running


async def test_who_interrupts_goes_on() -> None:
    scope = Scope()

    async def ends() -> str:
        scope.interrupt(GONE)
        await asyncio.sleep(0)
        return "done"

    assert await scope.run(ends()) == "done"


async def test_what_tidies_up_is_waited_for_and_a_cancelling_stays_one() -> None:
    scope, tidied = Scope(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(1)

    interrupted = asyncio.create_task(scope.run(work()))
    cancelled = asyncio.create_task(scope.run(work()))
    await asyncio.sleep(0)
    cancelled.cancel()
    scope.interrupt(GONE)
    with pytest.raises(ContainerGone):
        await interrupted
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert tidied == [1, 1]


async def test_a_timeout_inside_is_its_own() -> None:
    scope = Scope()

    async def work() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "too late"
        return ""

    assert await scope.run(work()) == "too late"


async def test_together_the_first_error_ends_the_others() -> None:
    tidied = []

    async def fails() -> None:
        raise EngineGone("Cannot go on.")

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tidied.append(1)

    with pytest.raises(EngineGone):
        await together(waits(), fails(), waits())
    assert tidied == [1, 1]
    await together(asyncio.sleep(0), asyncio.sleep(0))


def test_the_table_of_states_is_whole() -> None:
    assert {event for _, event in NEXT} == set(Event), "each event does something"
    assert not [row for row in NEXT if row[0] == "destroyed"], "which is for ever"
    for state in STATES - {"destroyed"}:
        assert NEXT[state, Event.DESTROY] == "destroyed"
    assert {new for (_, event), new in NEXT.items() if event is Event.EXIT} == {"exited"}
    for state in SILENT:
        assert NEXT[state, Event.HEAR] == NEXT[state, Event.MEET] == "running"
    for state in OVER - {"exited"}:
        assert {event for old, event in NEXT if old == state} <= {Event.DESTROY}
    assert {"pulling", "creating", "starting", "running"} | SILENT | OVER == STATES


def test_a_process_s_table_leads_to_its_end_and_nowhere_back() -> None:
    rows = states.NEXT
    assert {event for _, event in rows} == set(states.Event), "each event does something"
    for state in states.LIVE:
        assert rows[state, states.Event.EXIT] == "exited", "whatever is done to it"
    assert {new for (old, _), new in rows.items() if old == "exited"} == {"ended"}
    assert not [row for row in rows if row[0] == "ended"], "which is for ever"
    late = {event for old, event in rows if old == "late"}
    assert late == {states.Event.EXIT}, "no timeout and nobody ends what had ended"
    # what is being ended for one reason is not ended for the other
    for state in ("stopping", "overdue"):
        assert not {states.Event.STOP, states.Event.TIME} & {e for old, e in rows if old == state}
