"""A picture in a cell: two outputs, kept up to date seldom, and frozen once."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import comm
import pytest

from tfnz_notebook._link.thread import wait
from tfnz_notebook.errors import LinkClosed
from tfnz_notebook.widgets import bundle, display, publish
from tfnz_notebook.widgets.channel import hub as hubs
from tfnz_notebook.widgets.display import Shown, Still, show

VIEW = "application/vnd.jupyter.widget-view+json"


class Publisher:
    """A kernel's display publisher, its session and its socket; ``outputs`` is what a page has."""

    topic = b"display_data"

    def __init__(self) -> None:
        self.session = self.pub_socket = self
        self.parent_header: dict[str, Any] = {"msg_id": "cell-1"}
        self.outputs: dict[str, dict[str, str]] = {}
        self.log: list[tuple[str, str]] = []
        self.broken = False

    def publish(self, data: Any, metadata: Any, *, transient: Any) -> None:
        self.outputs[transient["display_id"]] = data
        self.log.append(("shown", self.parent_header["msg_id"]))

    def send(self, socket: Any, kind: str, content: Any, *, parent: Any, ident: bytes) -> None:
        if self.broken:
            raise OSError("the socket is closed")
        assert (kind, ident) == ("update_display_data", self.topic)
        self.outputs[content["transient"]["display_id"]] = content["data"]
        self.log.append(("updated", parent["msg_id"]))


class Kernel:
    """What IPython's shell in a kernel has of it."""

    def __init__(self) -> None:
        self.kernel = object()
        self.display_pub = Publisher()
        self.hooks: list[Callable[..., object]] = []
        self.events = SimpleNamespace(register=lambda _name, hook: self.hooks.append(hook))
        self.request: dict[str, Any] = {}
        self.run("cell-1", "a")

    def get_parent(self) -> dict[str, Any]:
        return self.request

    def run(self, cell: str, place: str, **content: Any) -> None:
        """A cell begins."""
        self.request = {
            "header": {"msg_id": cell},
            "metadata": {"cellId": place},
            "content": content,
        }
        self.display_pub.parent_header = {"msg_id": cell}


class Subject:
    """A picture, and what it is of."""

    kind = "output"
    options: dict[str, Any] = {"rows": 3}  # noqa: RUF012  # nobody changes it
    text = "a subject"

    def __init__(self, name: str = "s") -> None:
        self.subject = name
        self.source: Any = self
        self.said = "one"
        self.fails: Exception | None = None
        self.ended = asyncio.Event()
        self.stills: list[bool] = []

    async def direct(self) -> dict[str, str] | None:
        return {"agent": "podman", "process": "p", "ticket": "t"}

    async def still(self, *, final: bool) -> Still:
        self.stills.append(final)
        if self.fails:
            raise self.fails
        return Still(f"{self.said}{' at the end' if final else ''}")

    async def over(self) -> None:
        await self.ended.wait()

    def end(self) -> None:
        async def end() -> None:
            self.ended.set()

        wait(end())


def until(met: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel()
    monkeypatch.setattr(publish, "shell", lambda: made)
    monkeypatch.setattr(bundle, "code", lambda kind: f"// {kind}")
    monkeypatch.setattr(bundle, "_bundles", {})
    monkeypatch.setattr(hubs, "_hub", None)
    monkeypatch.setattr(display, "_hooked", None)
    monkeypatch.setattr(display, "FIRST", 0.02)
    monkeypatch.setattr(display, "EVERY", 0.02)
    yield made
    for each in [*display._all.values(), *display._kept]:
        each.stop()
    until(lambda: not display._all and not display._kept)


def outputs(kernel: Kernel) -> list[dict[str, str]]:
    return list(kernel.display_pub.outputs.values())


def frozen(shown: Shown) -> bool:
    return shown.frozen and shown.key not in display._all


def test_two_outputs_a_view_and_its_twin(kernel: Kernel) -> None:
    shown = show(Subject())
    view, twin = outputs(kernel)
    assert shown.live is not None
    # Where nobody trusts it, or knows no views, both outputs are shown: the twin has the words.
    assert view["text/plain"] == "" and set(view) == {"text/plain", VIEW}
    assert view[VIEW]["model_id"] == shown.live.model_id  # type: ignore[index]
    assert twin["text/plain"] == "one"
    assert f'tfnz-static-{shown.key}"' in twin["text/html"]


def test_the_widget_says_where_everything_is(kernel: Kernel) -> None:
    subject = Subject()
    live = show(subject).live
    assert live is not None
    assert live.hub == f"IPY_MODEL_{hubs.hub().model_id}"
    assert live.bundle == f"IPY_MODEL_{bundle.bundle('output').model_id}"
    assert live.kind == "output" and live.subject == "s"
    assert live.options["rows"] == 3 and len(live.options["key"]) == 32
    assert live.direct == {"agent": "podman", "process": "p", "ticket": "t"}
    assert subject.options == {"rows": 3}
    assert len(live._esm) < 2500  # sent with each view
    until(lambda: "s" in hubs.hub().desk._sources)


def test_the_bundle_and_the_hub_are_there_once(kernel: Kernel) -> None:
    one, two = show(Subject()).live, show(Subject("t")).live
    assert one is not None and two is not None
    assert (one.hub, one.bundle, one.layout) == (two.hub, two.bundle, two.layout)


def test_the_twin_follows_and_only_when_something_changed(kernel: Kernel) -> None:
    subject = Subject()
    show(subject)
    until(lambda: len(subject.stills) > 2)
    assert kernel.display_pub.log == [("shown", "cell-1")] * 2
    subject.said = "two"
    until(lambda: outputs(kernel)[1]["text/plain"] == "two")
    assert kernel.display_pub.log[2:] == [("updated", "cell-1")]


@pytest.mark.parametrize(
    ("before", "changed", "asked", "after"),
    [
        (display.FIRST, False, False, display.EVERY),
        (display.EVERY, True, False, display.EVERY),
        (display.EVERY, False, False, 2 * display.EVERY),
        (display.SELDOM, False, False, display.SELDOM),
        (display.FIRST, True, True, display.ASKED),
        (display.ASKED, True, False, display.EVERY),
    ],
)
def test_how_often_a_twin_follows(before: float, changed: bool, asked: bool, after: float) -> None:
    """Seldom where a page asks before it saves: who sees the view does not see the twin."""
    assert display.pause(before, changed, asked=asked) == after


def test_an_end_freezes_it_in_its_cell_while_another_one_runs(kernel: Kernel) -> None:
    subject = Subject()
    shown = show(subject)
    kernel.run("cell-2", "b")
    subject.end()
    until(lambda: frozen(shown))
    view, twin = outputs(kernel)
    assert view["text/plain"] == "one at the end" and set(view) == {"text/plain", "text/html"}
    assert "tfnz-static" not in view["text/html"]
    assert twin == {"text/plain": "", "text/html": ""}
    assert kernel.display_pub.log[2:] == [("updated", "cell-1")] * 2
    assert subject.stills.count(True) == 1


def test_a_page_that_heard_of_no_end_still_finds_the_view(kernel: Kernel) -> None:
    subject = Subject()
    shown = show(subject)
    subject.end()
    until(lambda: frozen(shown))
    assert shown.live is not None and shown.live.comm is not None
    assert "s" in hubs.hub().desk._sources


def test_a_page_that_comes_later_knows_what_stays_of_it(kernel: Kernel) -> None:
    """However its views reached their process: it is in the state of the widget."""
    subject = Subject()
    shown = show(subject)
    assert shown.live is not None and shown.live.still is None
    subject.said = "two"
    until(lambda: shown.live is not None and shown.live.still)
    assert shown.live.still["twin"]["text/plain"] == "two" and not shown.live.still["data"]
    subject.end()
    until(lambda: frozen(shown))
    assert shown.live.still == {
        "model": shown.live.model_id,
        "twin": {"text/plain": "", "text/html": ""},
        "data": outputs(kernel)[0],
        "metadata": {},
    }
    assert not hubs.hub().heard


def test_a_picture_takes_its_plots_height() -> None:
    """277 px: a legend of one line, the chart, the status line and the edges."""
    from tfnz_notebook.plots.picture import HEIGHT, WIDTH

    assert publish.metadata({"image/png": ""}) == {"image/png": {"width": publish.PICTURE}}
    assert publish.metadata({"text/html": ""}) == {}
    assert f"width:{publish.PICTURE}px" in display.Still("", png=b"").data("key")["text/html"]
    assert round(publish.PICTURE * HEIGHT / WIDTH) == 277


def test_a_page_that_is_saved_has_the_twins_of_that_moment(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "FIRST", 60.0)
    one, two = Subject("one"), Subject("two")
    shown = [show(one), show(two)]
    one.said = two.said = "now"
    two.fails = RuntimeError("the interpreter ends")
    keep = hubs.hub().keep
    assert keep is not None

    async def save() -> None:
        await keep([each.key for each in shown] + ["unknown"])

    wait(save())
    assert outputs(kernel)[1]["text/plain"] == "now"
    assert outputs(kernel)[3]["text/plain"] == "one"


def test_old_views_are_closed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "KEPT", 1)
    first, second = Subject("first"), Subject("second")
    lives = [show(first).live, show(second).live]
    first.end()
    until(lambda: len(display._kept) == 1)
    second.end()
    until(lambda: lives[0] is not None and lives[0].comm is None)
    assert lives[1] is not None and lives[1].comm is not None
    until(lambda: set(hubs.hub().desk._sources) == {"second"})


def test_what_is_over_is_shown_frozen_at_once(kernel: Kernel) -> None:
    subject = Subject()
    subject.end()
    shown = show(subject)
    assert shown.frozen and shown.live is None
    assert [each["text/plain"] for each in outputs(kernel)] == ["one at the end"]


def test_out_of_reach_the_last_that_was_known_stays(kernel: Kernel) -> None:
    subject = Subject()
    shown = show(subject)
    subject.fails = LinkClosed("Cannot read: the link is closed.")
    subject.end()
    until(lambda: frozen(shown))
    assert outputs(kernel)[0]["text/plain"] == "one"


def test_drawing_waits_for_no_agent(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "PATIENCE", 0.05)
    subject = Subject()

    async def never(*, final: bool) -> Still:
        await asyncio.Event().wait()
        raise AssertionError

    subject.still = never  # type: ignore[method-assign]
    show(subject)
    assert outputs(kernel)[1]["text/plain"] == "a subject"


def test_a_cell_that_runs_again_leaves_what_it_showed(kernel: Kernel) -> None:
    shown = show(Subject())
    live = shown.live
    show(Subject("beside"))
    kernel.run("cell-2", "a")
    show(Subject("again"))
    until(lambda: shown.key not in display._all)
    assert live is not None
    until(lambda: live.comm is None)
    assert len(display._all) == 1


def test_freezing_by_hand(kernel: Kernel) -> None:
    shown = show(Subject())
    shown.freeze()
    until(lambda: frozen(shown))
    assert outputs(kernel)[0]["text/plain"] == "one at the end"


def test_a_picture_stays_as_png(kernel: Kernel) -> None:
    subject = Subject()

    async def still(*, final: bool) -> Still:
        return Still('a "plot"', png=b"\x89PNG")

    subject.still = still  # type: ignore[method-assign]
    shown = show(subject)
    said = outputs(kernel)[1]["text/html"]
    assert '<img alt="a &quot;plot&quot;" src="data:image/png;base64,iVBORw=="' in said
    assert "<pre>" not in said, "its words are for who cannot see it, as later"
    subject.end()
    until(lambda: frozen(shown))
    assert outputs(kernel)[0] == {"text/plain": 'a "plot"', "image/png": "iVBORw=="}


def test_plain_text_becomes_safe_html() -> None:
    said = Still("<b> & $x$").data()["text/html"]
    assert "<pre>&lt;b&gt; &amp; $x$</pre>" in said and "mathjax_ignore" in said


def test_no_page_no_widget_and_everything_by_the_end_of_the_cell(kernel: Kernel) -> None:
    kernel.run("cell-1", "a", allow_stdin=False)
    first, second = Subject("first"), Subject("second")
    shown = [show(first), show(second)]
    assert [set(each) for each in outputs(kernel)] == [{"text/plain", "text/html"}] * 2
    assert hubs._hub is None and shown[0].live is None
    # No view stands above them: what hides one would hide what the cell printed before.
    assert not any("tfnz-static" in each["text/html"] for each in outputs(kernel))
    second.said = "two"
    first.end()
    (hook,) = kernel.hooks
    hook()
    assert [each["text/plain"] for each in outputs(kernel)] == ["one at the end", "two"]
    second.end()
    until(lambda: frozen(shown[1]))
    kernel.run("cell-2", "b", allow_stdin=False)
    kernel.display_pub.outputs[shown[1]._twin.id] = {}  # it listens to its present cell alone
    hook()
    assert outputs(kernel)[1]["text/plain"] == "two at the end"
    assert kernel.display_pub.log[-1] == ("updated", "cell-2")
    said = len(kernel.display_pub.log)
    hook()
    assert len(kernel.display_pub.log) == said


def test_voila_has_pages(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.run("cell-1", "a", allow_stdin=False)
    monkeypatch.setenv("VOILA_PREHEAT", "False")
    assert show(Subject()).live is not None


def test_the_end_of_the_kernel_brings_the_twins_up_to_date(kernel: Kernel) -> None:
    subject = Subject()
    shown = show(subject)
    subject.said = "last"
    display._goodbye()
    assert outputs(kernel)[1]["text/plain"] == "last"
    kernel.display_pub.broken = True
    subject.said = "after that"
    display._goodbye()  # its sockets are gone, and nothing is raised
    assert outputs(kernel)[1]["text/plain"] == "last" and not shown.frozen


class Bare:
    """A comm as xeus-python's: what a page says goes to whom it was told of, and nowhere else."""

    comm_id = "one"
    __slots__ = ()

    def __init__(self, **_opened: Any) -> None: ...
    def on_msg(self, _callback: Any) -> None: ...
    def on_close(self, _callback: Any) -> None: ...
    def close(self, *_: Any, **__: Any) -> None: ...


def test_a_kernel_whose_comms_carry_no_views_has_stills_and_a_sentence(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, dict[str, str]] = {}

    def publish_(data: Any, metadata: Any, *, transient: Any, update: bool = False) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert update is (transient["display_id"] in told)
        told[transient["display_id"]] = data

    kernel.display_pub = SimpleNamespace(publish=publish_)  # type: ignore[assignment]
    monkeypatch.setattr(comm, "create_comm", Bare)
    monkeypatch.setattr(display, "_no_views", False)
    subject = Subject()
    shown = [show(subject), show(Subject("t"))]
    assert [each["text/plain"] for each in told.values()] == [display.STILL, "one", "one"]
    assert all("tfnz-static" not in each.get("text/html", "") for each in told.values())
    subject.end()
    until(lambda: frozen(shown[0]))
    (hook,) = kernel.hooks
    hook()
    assert [each["text/plain"] for each in told.values()][1:] == ["one at the end", "one"]


def test_captured_outputs_stay_as_they_are(kernel: Kernel) -> None:
    caught: list[Any] = []
    kernel.display_pub = SimpleNamespace(  # type: ignore[assignment]  # as IPython's for %%capture
        publish=lambda data, metadata, **more: caught.append(data)
    )
    subject = Subject()
    shown = show(subject)
    subject.end()
    until(lambda: frozen(shown))
    assert len(caught) == 2


def test_shown_once_in_a_cell(kernel: Kernel) -> None:
    thing, other = object(), object()
    assert not publish.was_shown(thing)
    publish.mark_shown(thing)
    assert publish.was_shown(thing) and not publish.was_shown(other)
    publish.mark_shown(other)
    assert publish.was_shown(thing) and publish.was_shown(other)
    kernel.run("cell-2", "a")
    assert not publish.was_shown(thing)


def test_a_kind_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"Cannot show a 'film': there is no such view"):
        bundle.code("film")


def test_outside_of_a_kernel_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert publish.shell() is None and publish.cell() == "" and publish.place() == ""
    assert not publish.was_shown(object())
    publish.Output({"text/plain": "x"}).update({"text/plain": "y"})
