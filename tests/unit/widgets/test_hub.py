"""The hub: paced, fair, bounded, and deaf to what is not the protocol."""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import comm
import pytest

from tfnz_notebook._link.thread import io, wait
from tfnz_notebook._link.views.desk import View
from tfnz_notebook._wire.view import VERSION
from tfnz_notebook.widgets.channel import hub as module
from tfnz_notebook.widgets.channel import outbox
from tfnz_notebook.widgets.channel.hub import Hub, hub
from tfnz_notebook.widgets.channel.outbox import Outbox

ONE, TWO = "1" * 16, "2" * 16


class Comm(comm.base_comm.BaseComm):
    """Writes down what is sent, and when."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sent: list[tuple[float, dict[str, Any], list[bytes]]] = []
        self.broken = False
        super().__init__(*args, **kwargs)

    def publish_msg(
        self,
        msg_type: str,
        data: Any = None,
        metadata: Any = None,
        buffers: Any = None,
        **keys: Any,
    ) -> None:
        if self.broken:
            raise OSError("the socket is closed")
        if msg_type == "comm_msg":
            self.sent.append((time.monotonic(), data, list(buffers or [])))

    def heads(self) -> list[dict[str, Any]]:
        return [head for _, data, _ in self.sent for head in data["content"]["m"]]


class Echo:
    """A subject that writes down what it is told."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.views: list[View] = []

    def opened(self, view: View, head: dict[str, Any]) -> None:
        self.views.append(view)
        view.send("opened", streams=[], info={})

    def message(self, view: View, head: dict[str, Any], payload: bytes) -> None:
        self.seen.append((head["t"], payload))

    def closed(self, view: View) -> None:
        self.seen.append("closed")


def until(met: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def on_loop(function: Callable[..., Any], *args: Any) -> Any:
    async def call() -> Any:
        return function(*args)

    return wait(call())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(comm, "create_comm", Comm)
    monkeypatch.setattr(module, "_hub", None)
    found = hub()
    yield found
    found.close()


def say(target: Hub, *heads: Any, buffers: Any = (), version: int = VERSION) -> None:
    """As the kernel does with a message from a page."""
    data = {"method": "custom", "content": {"v": version, "m": list(heads)}}
    target.widget.comm.handle_msg({"content": {"data": data}, "buffers": list(buffers)})


def open_view(target: Hub, view: str = ONE) -> Echo:
    source = Echo()
    target.register("s", source)
    say(target, {"t": "open", "view": view, "subject": "s"})
    until(lambda: source.views)
    return source


def test_there_is_one(made: Hub) -> None:
    assert hub() is made
    assert made.model_id == made.widget.model_id


def test_another_after_it_was_closed(made: Hub) -> None:
    source = open_view(made)
    made.close()
    until(lambda: "closed" in source.seen)
    assert made.closed and hub() is not made


def test_messages_reach_the_subject_and_its_answers_the_page(made: Hub) -> None:
    assert not made.heard
    source = open_view(made)
    assert made.heard
    stdin = {"t": "stdin", "view": ONE, "offset": 0, "b": 1}
    say(made, stdin, {"t": "eof", "view": ONE, "offset": 5}, buffers=[b"", memoryview(b"typed")])
    until(lambda: len(source.seen) == 2)
    assert source.seen == [("stdin", b"typed"), ("eof", b"")]
    on_loop(lambda: source.views[0].send("data", b"out", stream=1, offset=0))
    comm_ = made.widget.comm
    until(lambda: len(comm_.heads()) == 2)
    _, data, buffers = comm_.sent[-1]
    head = {"t": "data", "view": ONE, "stream": 1, "offset": 0, "b": 0}
    assert data == {"method": "custom", "content": {"v": VERSION, "m": [head]}}
    assert buffers == [b"out"]


@pytest.mark.parametrize(
    "content",
    [
        *(None, [], {"v": VERSION + 1, "m": []}, {"v": VERSION}, {"v": VERSION, "m": {}}),
        {"v": VERSION, "m": [{}] * 5000},
    ],
)
def test_what_is_not_the_protocol_changes_nothing(made: Hub, content: Any) -> None:
    message = {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
    made.widget.comm.handle_msg(message)
    assert not made.heard
    open_view(made)


def test_a_page_that_is_about_to_be_saved_is_answered(made: Hub) -> None:
    asked: list[list[str]] = []

    async def keep(keys: list[str]) -> None:
        asked.append(keys)
        raise RuntimeError(keys)

    made.keep = keep
    assert not made.asked
    for content in (
        {"v": VERSION, "keep": "no list", "number": 1},
        {"v": VERSION, "keep": [], "number": "none"},
        {"v": VERSION, "keep": ["a", 3], "number": 7},
    ):
        message = {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
        made.widget.comm.handle_msg(message)
    until(lambda: made.widget.comm.sent)
    assert asked == [["a"]]
    assert [data["content"] for _, data, _ in made.widget.comm.sent] == [{"v": VERSION, "kept": 7}]
    assert made.asked


def test_bad_messages_among_good_ones(made: Hub) -> None:
    source = open_view(made)
    bad = [None, 3, {}, {"t": "stdin", "view": ONE}, {"t": "nonsense", "view": ONE, "b": 99}]
    say(made, *bad, {"t": "eof", "view": ONE, "offset": 0, "b": True})
    until(lambda: source.seen)
    assert source.seen == [("eof", b"")]


def test_ipywidgets_own_messages_go_to_ipywidgets(made: Hub) -> None:
    made.widget.comm.handle_msg({"content": {"data": {"method": "request_state"}}, "buffers": []})
    assert made.widget.comm.sent[-1][1]["method"] == "update"
    assert not made.heard


def test_many_messages_are_few_comm_messages(made: Hub) -> None:
    source = open_view(made)
    sent = made.widget.comm.sent
    until(lambda: sent)
    before, began = len(sent), time.monotonic()

    async def stream() -> None:
        for number in range(300):
            source.views[0].send("data", b"x", stream=1, offset=number)
            await asyncio.sleep(0.001)

    wait(stream())
    until(lambda: len([h for h in made.widget.comm.heads() if h["t"] == "data"]) == 300)
    took = time.monotonic() - began
    assert len(sent) - before <= 2 + took / module.PAUSE
    assert [h["offset"] for h in made.widget.comm.heads() if h["t"] == "data"] == [*range(300)]
    pauses = [b[0] - a[0] for a, b in pairwise(sent)]
    assert min(pauses[before:], default=1) > module.PAUSE / 2


def test_an_acknowledgement_goes_with_the_echo_that_follows_it(
    made: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAZY", 60.0)
    source = open_view(made)
    view, comm_ = source.views[0], made.widget.comm
    until(lambda: comm_.sent)  # opened

    async def typed() -> None:
        view.send("ack", upto=1)
        await asyncio.sleep(3 * module.PAUSE)
        assert len(comm_.sent) == 1
        view.send("data", b"x", stream=1, offset=0)

    wait(typed())
    until(lambda: len(comm_.sent) == 2)
    assert [head["t"] for head in comm_.sent[1][1]["content"]["m"]] == ["ack", "data"]


def test_an_acknowledgement_that_nothing_follows_is_sent(made: Hub) -> None:
    source = open_view(made)
    on_loop(lambda: source.views[0].send("ack", upto=1))
    until(lambda: made.widget.comm.heads()[-1]["t"] == "ack")


def test_a_view_that_takes_nothing_is_closed_as_slow(made: Hub) -> None:
    source = open_view(made)

    def flood() -> None:
        for number in range(outbox.CAP_HEADS + 10):
            source.views[0].send("data", b"x", stream=1, offset=number)

    on_loop(flood)
    until(lambda: made.widget.comm.heads()[-1]["t"] == "closed")
    assert made.widget.comm.heads()[-1]["reason"] == "slow"
    assert "closed" in source.seen


def test_quiet_once_the_kernel_is_going(made: Hub) -> None:
    source = open_view(made)
    made.widget.comm.broken = True
    on_loop(lambda: source.views[0].send("state", info={}))
    until(lambda: "closed" in source.seen)
    assert made.closed
    made.widget.comm.broken = False


def test_a_page_that_closes_the_comm_ends_all_views(made: Hub) -> None:
    source = open_view(made)
    made.widget.comm.handle_close({})
    until(lambda: "closed" in source.seen)
    assert made.closed


def test_the_reply_goes_where_a_busy_cell_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rerouted(Comm):
        def _reply_subshell_for(self, data: Any, default: Any) -> Any:
            return "the last sender's"

    monkeypatch.setattr(comm, "create_comm", Rerouted)
    made = Hub()
    assert made.widget.comm._reply_subshell_for({}, "the page's") == "the page's"
    made.close()


def test_a_subject_that_was_forgotten(made: Hub) -> None:
    source = open_view(made)
    made.forget("s")
    say(made, {"t": "open", "view": TWO, "subject": "s"})
    io().soon(made.desk._nobody, "s")  # rather than after the patience it has
    until(lambda: made.widget.comm.heads()[-1]["t"] == "closed")
    assert made.widget.comm.heads()[-1]["view"] == TWO
    assert len(source.views) == 1


# -- the outbox


def drain(box: Outbox) -> list[list[tuple[str, int]]]:
    found = []
    while box:
        found.append([(head["view"], head["n"]) for head, _ in box.take()])
    return found


def test_views_take_turns() -> None:
    box = Outbox()
    for n in range(3):
        box.put({"view": "a", "n": n}, b"x")
    box.put({"view": "b", "n": 0}, None)
    assert drain(box) == [[("a", 0), ("b", 0), ("a", 1), ("a", 2)]]


def test_a_comm_message_is_bounded() -> None:
    box = Outbox()
    size = outbox.MOST // 3
    for n in range(7):
        assert box.put({"view": "a", "n": n}, bytes(size))
    box.put({"view": "a", "n": 7}, bytes(2 * outbox.MOST))
    assert [len(each) for each in drain(box)] == [3, 3, 1, 1]
    for n in range(outbox.MOST_HEADS + 1):
        box.put({"view": "a", "n": n}, None)
    assert [len(each) for each in drain(box)] == [outbox.MOST_HEADS, 1]


def test_what_waits_is_bounded() -> None:
    box = Outbox()
    assert box.put({"view": "a"}, bytes(outbox.CAP + 1))  # one always finds room
    assert not box.put({"view": "a"}, b"x")
    assert box.put({"view": "b"}, b"x")
    box.discard("a")
    assert box.put({"view": "a"}, b"x")
    box.clear()
    assert not box
