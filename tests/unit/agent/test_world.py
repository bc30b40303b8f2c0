"""What an agent waits at."""

import asyncio
import tracemalloc

from tfnz_notebook.agent.world import Gate


async def test_a_gate_lets_all_through_while_it_is_open() -> None:
    gate = Gate()
    waiting = [asyncio.create_task(gate.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert [each.done() for each in waiting] == [True, False, False]
    gate.set()
    gate.clear()  # who waited was let through all the same
    await asyncio.wait_for(asyncio.gather(*waiting[1:]), 1)
    late = asyncio.create_task(gate.wait())
    await asyncio.sleep(0)
    assert not late.done()
    gate.set()
    await asyncio.wait_for(late, 1)
    await asyncio.wait_for(gate.wait(), 1)
    await asyncio.wait_for(Gate(opened=True).wait(), 1)


async def test_who_gave_up_at_a_gate_is_not_remembered() -> None:
    gate = Gate()

    async def waits(count: int) -> int:
        for _ in range(count):
            waiting = asyncio.create_task(gate.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        del waiting
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = await waits(10)
        assert await waits(1000) - before < 20_000
    finally:
        tracemalloc.stop()
