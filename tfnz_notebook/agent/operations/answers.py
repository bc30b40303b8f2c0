"""How a function becomes the answer to an operation: by the name of its row in ``_wire``.

The row's scope says what the function is given beside the client and the message: nothing, the
container or the process that the message names. What a kernel asks of one that is not there, or is
another session's, is refused before its function is called; and what one waits for in its function
ends with the container (:class:`~tfnz_notebook.agent.scope.Scope`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tfnz_notebook._wire.link import Message
from tfnz_notebook._wire.operations import OPERATIONS, Scope
from tfnz_notebook.agent.clients import Answer, Client
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.process import Process

OfSession = Callable[[Client, Message], Awaitable[Answer]]
OfContainer = Callable[[Client, Container, Message], Awaitable[Answer]]
OfProcess = Callable[[Client, Process | Ended, Message], Awaitable[Answer]]

#: The functions, each by its operation.
ANSWERS: Final[dict[str, OfSession]] = {}


def of_session(name: str) -> Callable[[OfSession], OfSession]:
    """The answer to an operation that is about the link or the session."""

    def register(function: OfSession) -> OfSession:
        _note(name, (Scope.LINK, Scope.SESSION), function)
        return function

    return register


def of_container(name: str) -> Callable[[OfContainer], OfContainer]:
    """The answer to an operation that is about a container of the session."""

    def register(function: OfContainer) -> OfContainer:
        async def answer(client: Client, message: Message) -> Answer:
            container = client.container(message)
            return await container.scope.run(function(client, container, message))

        _note(name, (Scope.CONTAINER,), answer)
        return function

    return register


def of_process(name: str) -> Callable[[OfProcess], OfProcess]:
    """The answer to an operation that is about a process of the session's, or of the viewer."""

    def register(function: OfProcess) -> OfProcess:
        async def answer(client: Client, message: Message) -> Answer:
            container, process = await client.process(message)
            return await container.scope.run(function(client, process, message))

        _note(name, (Scope.PROCESS,), answer)
        return function

    return register


def _note(name: str, scopes: tuple[Scope, ...], answer: OfSession) -> None:
    assert OPERATIONS[name].scope in scopes, f"{name} is of another scope"
    assert name not in ANSWERS, f"{name} is answered already"
    ANSWERS[name] = answer
