"""Each row of the table of operations, at a real agent: answered, or refused with its own error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from unit.agent.live import LiveAgent, container, live_agent, process, until
from unit.wire.bodies import body_of

from tfnz_notebook._link.link import Link
from tfnz_notebook._wire import link as wire
from tfnz_notebook._wire.link import Kind, Message
from tfnz_notebook._wire.operations import OPERATIONS, Operation, Scope
from tfnz_notebook.agent.operations import ANSWERS
from tfnz_notebook.errors import ContainerGone, ProcessGone, TfnzError

ROWS = [row for row in OPERATIONS.values() if row.name != "hello"]


@pytest.fixture
async def agent(monkeypatch):
    async with live_agent(monkeypatch) as made:
        yield made


def about(*scopes: Scope) -> Any:
    rows = [row for row in ROWS if row.scope in scopes]
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def test_every_operation_has_its_answer_and_nothing_else_has():
    assert ANSWERS.keys() == {row.name for row in ROWS}


@about(Scope.CONTAINER, Scope.PROCESS)
async def test_what_is_not_there_is_refused(agent: LiveAgent, row: Operation):
    kernel = await agent.kernel()
    body = body_of(row, container="0" * 32, process="0" * 32)
    with pytest.raises(ProcessGone if row.scope is Scope.PROCESS else ContainerGone):
        await kernel.request(row.name, body)


@about(Scope.CONTAINER, Scope.PROCESS)
async def test_what_is_of_another_session_is_refused(agent: LiveAgent, row: Operation):
    kernel, stranger = await agent.kernel(), await agent.kernel()
    where = await container(kernel)
    ident, _ = await process(kernel, where, "cat")
    body = body_of(row, container=where, process=ident)
    with pytest.raises(ProcessGone if row.scope is Scope.PROCESS else ContainerGone):
        await stranger.request(row.name, body)
    assert (await kernel.process(ident))["returncode"] is None


@about(*Scope)
async def test_what_is_malformed_ends_nobody_else(agent: LiveAgent, row: Operation):
    """Each field left out, and each of another type: the one who said it is forgotten."""
    kernel, witness = await agent.kernel(), await agent.kernel()
    where = await container(witness)
    right = body_of(row)
    wrong = [{**right, key: b"?"} for key in row.fields]
    wrong += [{key: right[key] for key in right if key != missing} for missing in right]
    for body in wrong:
        greeted = kernel.client
        assert kernel._line is not None
        before = kernel._line
        before.send(wire.encode(Message(Kind.REQUEST, 7, row.name, body)))
        await until(lambda old=before: kernel.up and kernel._line is not old)
        assert kernel.client == greeted
        kernel._refused = 0  # it is not this kernel's fault
    await witness.caught_up()
    assert where in witness.known.containers


@about(Scope.SESSION, Scope.CONTAINER, Scope.PROCESS)
async def test_an_answer_says_what_its_row_says(agent: LiveAgent, row: Operation):
    kernel = await agent.kernel()
    where, other = await container(kernel), await container(kernel, "other")
    ident, _ = await process(kernel, where, "cat")
    reply = await asked(kernel, row, container=where, process=ident, other=other)
    if reply is not None:
        assert reply.body.keys() <= set(row.reply)
        assert (reply.payload is not None) is row.answers_bytes


async def asked(kernel: Link, row: Operation, **given: Any) -> Message | None:
    """Ask it with arguments that make sense; None if it had its reasons to refuse."""
    body = body_of(row, **given, spec={"image": "debian", "sleep": True}, command=["true"])
    if row.name in ("container.spawn", "process.spawn"):
        body[row.name.partition(".")[0]] = "e" * 32
    try:
        async with asyncio.timeout(10):
            return await kernel.request(row.name, body, b"" if row.payload else None)
    except TfnzError as error:
        refusal = str(error)
    assert refusal.startswith("Cannot ")
    return None
