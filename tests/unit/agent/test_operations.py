"""Each row of the table of operations, at a real agent: answered, or refused with its own error."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest
from unit.agent.live import LiveAgent, container, live_agent, process
from unit.wire.bodies import body_of, value_of

from tfnz_notebook._link.link import Link
from tfnz_notebook._wire import link as wire
from tfnz_notebook._wire.link import Message
from tfnz_notebook._wire.operations import MAX_BODY, OPERATIONS, Field, Operation, Scope
from tfnz_notebook.agent.operations import ANSWERS
from tfnz_notebook.errors import ContainerGone, ProcessGone, ProtocolError, TfnzError

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
async def test_what_is_malformed_fails_its_call_alone(agent: LiveAgent, row: Operation):
    """Each field left out, each of another type, each too large; and a message that is."""
    kernel, witness = await agent.kernel(), await agent.kernel()
    where = await container(witness)
    right = body_of(row)
    wrong = [{**right, key: b"?"} for key in row.fields]
    wrong += [{key: right[key] for key in right if key != missing} for missing in right]
    wrong += [{**right, key: beyond(rule)} for key, rule in row.fields.items() if rule.limit]
    wrong += [{**right, "more than goes": "x" * MAX_BODY}]
    before = kernel._line
    for body in wrong:
        with pytest.raises(ProtocolError):
            await unchecked(kernel, row, body)
    if row.payload:
        with pytest.raises(ProtocolError, match=f"{row.name}: a payload of"):
            await unchecked(kernel, row, right, bytes(row.payload + 1))
    await kernel.caught_up()
    assert kernel._line is before, "the link has not noticed"
    await witness.caught_up()
    assert where in witness.known.containers


def beyond(rule: Field) -> Any:
    """A value that is one too large for a field; None if no message can hold it."""
    kinds = rule.kind if isinstance(rule.kind, tuple) else (rule.kind,)
    if bool in kinds or rule.limit >= MAX_BODY:
        return -1 if int in kinds else b"?"
    if int in kinds:
        return rule.limit + 1
    size = rule.limit + 1
    if list in kinds:
        return [value_of(Field(rule.of)) if rule.of else 0] * size
    return "x" * size if str in kinds else dict.fromkeys(map(str, range(size)), 0)


async def unchecked(
    link: Link, row: Operation, body: dict[str, Any], payload: bytes | None = None
) -> Message:
    """Ask it as a kernel would that does not look at what it says."""
    message = wire.request(next(link._idents), row.name, body, payload)
    header = msgpack.packb([0, message.ident, row.name, body])
    return await link._ask(message, [header] if payload is None else [header, payload])


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
    if row.name == "container.commit":
        body["name"] = "made"
    if row.name in ("container.spawn", "process.spawn"):
        body[row.name.partition(".")[0]] = "e" * 32
    try:
        async with asyncio.timeout(10):
            return await kernel.request(row.name, body, b"" if row.payload else None)
    except TfnzError as error:
        refusal = str(error)
    assert refusal.startswith("Cannot ")
    return None
