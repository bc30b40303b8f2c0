"""What views of a plot are sent, and when."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook import plots
from tfnz_notebook._link.thread import io, wait
from tfnz_notebook._link.views.desk import Desk
from tfnz_notebook.container import Container
from tfnz_notebook.plots import Plot
from tfnz_notebook.widgets import plot as widgets_plot
from tfnz_notebook.widgets.plot import PlotPicture

VIEW = "ab" * 8


class Page:
    """A page with views of one plot: says things, and keeps what comes."""

    def __init__(self, plot: Plot) -> None:
        self.heard: list[tuple[dict[str, Any], bytes]] = []
        self.picture = PlotPicture(plot)
        self._desk = Desk(lambda head, payload: self.heard.append((head, payload or b"")))
        io().soon(self._desk.register, self.picture.subject, self.picture.source)

    def say(self, kind: str, view: str = VIEW, **fields: Any) -> None:
        io().soon(self._desk.received, {"t": kind, "view": view, **fields}, b"")
        wait(_nothing())  # it has been said, and answered

    def open(self, view: str = VIEW) -> None:
        self.say("open", view, subject=self.picture.subject)

    def do(self, action: str, view: str = VIEW, **args: Any) -> None:
        self.say("do", view, action=action, args=args)

    def of(self, kind: str, view: str = VIEW) -> list[dict[str, Any]]:
        return [head for head, _ in list(self.heard) if (head["t"], head["view"]) == (kind, view)]

    def rows(self, view: str = VIEW) -> dict[int, tuple[float, ...]]:
        """By number, as a view has them that keeps all: x first."""
        found: dict[int, tuple[float, ...]] = {}
        for head, payload in list(self.heard):
            if (head["t"], head["view"]) == ("rows", view):
                each = struct.iter_unpack(f"<{head['columns']}d", payload)
                found.update(enumerate(each, head["from"]))
        return found


async def _nothing() -> None:
    pass


Feed = Callable[..., None]


@pytest.fixture
def plot(agent: ScriptedAgent, container: Container) -> Iterator[tuple[Plot, Feed]]:
    """A plot, and a function that has the process write rows and waits until they are there."""
    process = container.spawn_process("worker")
    made = plots.plot(process, plots.csv(header=["x", "a", "b"]), x="x")
    made.window = 10
    at = 0

    def feed(count: int, end: bool = False) -> None:
        nonlocal at
        lines = b"".join(b"%d,%d,1\n" % (n, n * n) for n in range(at, at + count))
        at += count
        agent.write(process.id, lines)
        if end:
            agent.end(process.id)
        agent.until(lambda: made.table.end == at and made.ended is end)

    yield made, feed
    made.stop()


def test_the_window_and_then_what_comes(agent: ScriptedAgent, plot: tuple[Plot, Feed]) -> None:
    made, feed = plot
    feed(100)
    page = Page(made)
    page.open()
    (opened,) = page.of("opened")
    assert opened["streams"] == []
    assert [c["name"] for c in opened["info"]["columns"]] == ["x", "a", "b"]
    assert opened["info"]["order"] == [1, 2]
    assert (opened["info"]["x"], opened["info"]["x_name"]) == ("row", "x")
    assert list(page.rows()) == list(range(88, 100)), "ten back from the newest, and one beyond"
    assert page.rows()[99] == (99, 99, 99 * 99, 1)
    feed(5)
    agent.until(lambda: 104 in page.rows())
    assert list(page.rows()) == list(range(88, 105))
    assert page.of("rows")[-1]["from"] >= 100, "nothing twice"


def test_rows_come_at_most_twenty_times_a_second(
    agent: ScriptedAgent, plot: tuple[Plot, Feed]
) -> None:
    made, feed = plot
    page = Page(made)
    page.open()
    begun = wait(_time())
    for _ in range(60):
        feed(3)
    agent.until(lambda: 179 in page.rows())
    assert list(page.rows()) == list(range(180))
    assert len(page.of("rows")) <= (wait(_time()) - begun) / widgets_plot.PAUSE + 2


async def _time() -> float:
    return io().loop.time()


def test_who_does_not_look_is_sent_nothing(agent: ScriptedAgent, plot: tuple[Plot, Feed]) -> None:
    made, feed = plot
    other = "cd" * 8
    feed(20)
    page = Page(made)
    page.open()
    page.open(other)
    page.do("look", seconds=0)
    before = len(page.heard)
    feed(5)
    agent.until(lambda: 24 in page.rows(other))
    assert 20 not in page.rows()
    assert [h for h, _ in page.heard[before:] if h["view"] == VIEW] == []
    page.do("look", seconds=60)
    agent.until(lambda: 24 in page.rows())
    assert page.of("rows")[-1]["from"] == 20, "it goes on where it was"


def test_a_look_has_an_end(
    agent: ScriptedAgent, plot: tuple[Plot, Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, feed = plot
    page = Page(made)
    monkeypatch.setattr(widgets_plot, "LOOK", 0.0)
    page.open("cd" * 8)
    monkeypatch.undo()
    page.open()
    feed(5)
    agent.until(lambda: 4 in page.rows())
    assert page.rows("cd" * 8) == {}


def test_one_that_is_far_behind_begins_anew(
    agent: ScriptedAgent, plot: tuple[Plot, Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, feed = plot
    feed(5)
    page = Page(made)
    page.open()
    page.do("look", seconds=0)
    monkeypatch.setattr(widgets_plot, "SNAPSHOT", 50 * 4 * 8)
    feed(500)
    page.do("look", seconds=60)
    agent.until(lambda: 504 in page.rows())
    assert 5 not in page.rows()
    assert page.of("rows")[-1]["from"] == 493, "its window"


def test_long_windows_come_in_pieces(
    agent: ScriptedAgent, plot: tuple[Plot, Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widgets_plot, "MESSAGE", 10 * 4 * 8)
    made, feed = plot
    feed(95)
    page = Page(made)
    made.window = "all"
    page.open()
    assert list(page.rows()) == list(range(95))
    assert [head["from"] for head in page.of("rows")] == list(range(0, 95, 10))


def test_a_longer_window_is_sent_to_all(agent: ScriptedAgent, plot: tuple[Plot, Feed]) -> None:
    made, feed = plot
    other = "cd" * 8
    feed(100)
    page = Page(made)
    page.open()
    page.open(other)
    page.do("window", seconds=50)
    for view in (VIEW, other):
        agent.until(lambda view=view: min(page.rows(view)) == 48)
        agent.until(lambda view=view: page.of("state", view)[-1]["info"]["window"] == 50)
        assert page.of("rows", view)[-1]["from"] == 48
    assert made.window == 50
    page.do("window", seconds=0)
    agent.until(lambda: min(page.rows()) == 0)
    assert made.window == "all"


def test_what_python_changes_is_told(agent: ScriptedAgent, plot: tuple[Plot, Feed]) -> None:
    made, feed = plot
    feed(100)
    page = Page(made)
    page.open()
    made.window = 20
    agent.until(lambda: min(page.rows()) == 78)
    assert page.of("state")[-1]["info"]["window"] == 20
    made.select("b")
    agent.until(lambda: page.of("state")[-1]["info"]["order"] == [2])


def test_choosing_columns_is_told_to_all(agent: ScriptedAgent, plot: tuple[Plot, Feed]) -> None:
    made, feed = plot
    feed(3)
    page = Page(made)
    page.open()
    page.do("columns", names=["b"])
    agent.until(lambda: page.of("state"))
    assert page.of("state")[-1]["info"]["order"] == [2]
    assert made.shown == ["b"]


@pytest.mark.parametrize(
    ("action", "args", "says"),
    [
        ("columns", {"names": ["nothere"]}, "no such column. There are a, b"),
        ("columns", {"names": "a"}, "no list"),
        ("columns", {"names": [1]}, "names are texts"),
        ("window", {"seconds": "long"}, "window is a str"),
        ("window", {"seconds": -1}, "window is -1"),
        ("look", {"seconds": None}, "no number"),
        ("format", {}, "Cannot do 'format'"),
    ],
)
def test_what_cannot_be_done_is_answered(
    plot: tuple[Plot, Feed], action: str, args: dict[str, Any], says: str
) -> None:
    made, feed = plot
    feed(2)
    page = Page(made)
    page.open()
    page.do(action, **args)
    (error,) = page.of("error")
    assert says in error["text"]
    assert made.shown == ["a", "b"]
    assert made.window == 10


def test_a_new_column_is_told_before_its_rows(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("worker")
    made = plots.plot(process, "keyvalue", x="row")
    page = Page(made)
    page.open()
    agent.write(process.id, b"a=1\n")
    agent.until(lambda: 0 in page.rows())
    agent.write(process.id, b"a=1 b=2\n")
    agent.until(lambda: 1 in page.rows())
    known = 1
    for head, _ in page.heard:
        if head["t"] in ("opened", "state"):
            known = len(head["info"]["columns"]) + 1
        if head["t"] == "rows":
            assert head["columns"] <= known
    made.stop()


def test_lines_not_understood_and_the_end_are_told(
    agent: ScriptedAgent, container: Container
) -> None:
    process = container.spawn_process("worker")
    made = plots.plot(process, "keyvalue")
    page = Page(made)
    page.open()
    agent.write(process.id, b"a=1\nwhat?\n")
    agent.end(process.id)
    agent.until(lambda: page.of("state") and page.of("state")[-1]["info"]["ended"])
    info = page.of("state")[-1]["info"]
    assert (info["skipped"], info["rows"]) == (1, 1)
    assert "what?" in info["complaint"]


def test_closed_views_and_other_words(plot: tuple[Plot, Feed]) -> None:
    made, feed = plot
    feed(2)
    page = Page(made)
    page.open()
    page.say("credit", stream=1, upto=5)
    page.say("close")
    before = len(page.heard)
    feed(2)
    page.do("look", seconds=5)
    assert [head["t"] for head, _ in page.heard[before:]] == ["closed"], "it is not known any more"


def test_without_rows_its_still_is_words(plot: tuple[Plot, Feed]) -> None:
    made, _ = plot
    still = wait(PlotPicture(made).still(final=False))
    assert still.png is None and made.empty and made.empty in still.text
    assert made.empty in still.data()["text/html"] and "waiting when last seen" in still.html


def test_words_are_kept_in_the_frame_of_a_view(plot: tuple[Plot, Feed]) -> None:
    made, _ = plot
    made.hear("sh: 1: <b>: not found")
    made.outcome = "It ended with 127."
    io().soon(made.end)
    wait(_nothing())
    html = wait(PlotPicture(made).still(final=True)).html
    assert html.startswith('<div class="tfnz-kept"') and f">{made.title}</span>" in html
    assert "It ended with 127. No row came. It wrote:</span>\nsh: 1: &lt;b&gt;: not found" in html


def test_its_stills(plot: tuple[Plot, Feed]) -> None:
    made, feed = plot
    feed(20)
    picture = PlotPicture(made)
    assert picture.source is PlotPicture(made).source, "one for all views"
    still = wait(picture.still(final=False))
    assert still.png is not None and still.png.startswith(b"\x89PNG")
    assert still.text == made.text
    assert "image/png" in still.data()
    assert len(str(still.data("key"))) < 100_000
    feed(1, end=True)
    wait(picture.over())
    assert wait(picture.still(final=True)).png != still.png
    assert wait(picture.direct()) is None
