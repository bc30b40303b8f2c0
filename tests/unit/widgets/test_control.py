"""The control channel of a kernel: a hub's messages, and nobody else's."""

import asyncio
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import comm
import pytest
import zmq
from jupyter_client.session import Session
from unit.widgets.test_hub import ONE, Comm, Echo, until

from tfnz_notebook._wire.view import VERSION
from tfnz_notebook.widgets.channel import control
from tfnz_notebook.widgets.channel import hub as module
from tfnz_notebook.widgets.channel.control import listen, offered, unlisten
from tfnz_notebook.widgets.channel.hub import Hub, hub


class Kernel:
    """As ipykernel is, as far as a message from the control channel is concerned."""

    def __init__(self) -> None:
        self.session = Session(key=b"secret")
        self.control_thread: object | None = object()
        self.log = logging.getLogger("test-kernel")
        self.passed: list[str] = []

    async def process_control(self, parts: list[zmq.Frame]) -> None:
        _, frames = self.session.feed_identities(parts, copy=False)
        try:
            message = self.session.deserialize(frames, content=True, copy=False)
        except Exception as error:  # noqa: BLE001  # as ipykernel does
            self.passed.append(f"invalid: {error}")
        else:
            self.passed.append(message["msg_type"])

    def dispatch_control(self, frames: list[bytes]) -> None:
        """What comes off the socket, signed by the page's server."""
        asyncio.run(self.process_control([zmq.Frame(each) for each in frames]))

    def wire(self, kind: str, content: dict[str, Any], *buffers: bytes) -> list[bytes]:
        return [*self.session.serialize(self.session.msg(kind, content), b"page"), *buffers]

    def say(self, comm_id: str, data: Any, *buffers: bytes) -> None:
        self.dispatch_control(self.wire("comm_msg", {"comm_id": comm_id, "data": data}, *buffers))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(control, "get_ipython", lambda: SimpleNamespace(kernel=made))
    return made


@pytest.fixture
def made(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(comm, "create_comm", Comm)
    monkeypatch.setattr(module, "_hub", None)
    found = hub()
    yield found
    found.close()


def custom(*heads: Any) -> dict[str, Any]:
    return {"method": "custom", "content": {"v": VERSION, "m": list(heads)}}


def test_what_a_page_says_reaches_its_subject_with_its_bytes(kernel: Kernel, made: Hub) -> None:
    assert made.widget.get_state()["control"] is True
    source = Echo()
    made.register("s", source)
    kernel.say(made.model_id, custom({"t": "open", "view": ONE, "subject": "s"}))
    until(lambda: source.views)
    assert made.heard
    kernel.say(made.model_id, custom({"t": "stdin", "view": ONE, "offset": 0, "b": 0}), b"typed")
    until(lambda: source.seen)
    assert source.seen == [("stdin", b"typed")]
    assert not kernel.passed


def test_the_page_is_told_when_the_comm_opens(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []

    def opened(**keys: Any) -> Comm:
        states.append(keys["data"]["state"])
        return Comm(**keys)

    monkeypatch.setattr(comm, "create_comm", opened)
    Hub().close()
    kernel.control_thread = None
    Hub().close()
    assert [state["control"] for state in states] == [True, False]


def test_others_messages_are_left_as_they_came(kernel: Kernel, made: Hub) -> None:
    kernel.say("another's", custom())
    kernel.dispatch_control(kernel.wire("shutdown_request", {"restart": False}))
    kernel.dispatch_control(kernel.wire("debug_request", {"comm_id": made.model_id}))
    assert kernel.passed == ["comm_msg", "shutdown_request", "debug_request"]
    assert not made.heard


def test_nothing_of_ipywidgets_is_done_on_the_control_thread(kernel: Kernel, made: Hub) -> None:
    kernel.say(made.model_id, {"method": "request_state"})
    kernel.say(made.model_id, {})
    assert not made.heard and not kernel.passed and not made.widget.comm.sent


@pytest.mark.parametrize("wrong", ["signature", "header", "content", "short", "empty", "twice"])
def test_what_is_malformed_is_the_kernels_to_refuse(kernel: Kernel, made: Hub, wrong: str) -> None:
    frames = kernel.wire("comm_msg", {"comm_id": made.model_id, "data": custom()})
    at = frames.index(b"<IDS|MSG>") + 1
    if wrong == "signature":
        frames[at] = b"0" * 64
    elif wrong in ("header", "content"):
        frames[at + (1 if wrong == "header" else 4)] = b"\xff{"
    elif wrong == "short":
        del frames[at + 2 :]
    elif wrong == "empty":
        del frames[at:]
    else:
        kernel.dispatch_control(frames)
        assert made.heard
        made.heard = False
    kernel.dispatch_control(frames)
    (said,) = kernel.passed
    assert said.startswith("invalid")
    assert not made.heard


@pytest.mark.parametrize("data", [None, 7, "custom", []])
def test_a_listener_that_fails_is_logged_and_the_channel_goes_on(
    kernel: Kernel, made: Hub, data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.say(made.model_id, data)
    assert [each.message for each in caplog.records] == ["Exception in a view's message:"]
    kernel.dispatch_control(kernel.wire("interrupt_request", {}))
    assert kernel.passed == ["interrupt_request"]


def test_it_is_gone_with_its_last_hub(kernel: Kernel, made: Hub) -> None:
    other = Hub()
    for _ in range(2):
        made.close()
        assert "process_control" in vars(kernel)
    kernel.say(made.model_id, custom())
    assert kernel.passed == ["comm_msg"]
    kernel.say(other.model_id, custom())
    assert other.heard
    other.close()
    until(lambda: other.closed)
    assert "process_control" not in vars(kernel)
    kernel.say(other.model_id, custom())
    assert kernel.passed == ["comm_msg"] * 2
    again = hub()
    assert again is not made
    kernel.say(again.model_id, custom())
    assert again.heard
    again.close()


def test_a_page_that_closes_the_comm_ends_it(kernel: Kernel, made: Hub) -> None:
    made.widget.comm.handle_close({})
    until(lambda: "process_control" not in vars(kernel))


def test_twice_is_once(kernel: Kernel) -> None:
    heard: list[Any] = []
    for _ in range(2):
        listen(kernel, "c", heard.append)
    kernel.say("c", {"n": 1})
    assert [each["content"]["data"] for each in heard] == [{"n": 1}]
    for _ in range(2):
        unlisten(kernel, "c")
    kernel.say("c", {"n": 2})
    assert len(heard) == 1 and kernel.passed == ["comm_msg"]


def test_where_it_is_of_no_use(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered() is kernel
    kernel.control_thread = None
    assert offered() is None
    monkeypatch.setattr(control, "get_ipython", lambda: None)
    assert offered() is None
    monkeypatch.setattr(control, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    assert offered() is None
