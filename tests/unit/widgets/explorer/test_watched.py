"""Cards and tables as sources: nothing is asked while nobody looks; what is told, and done."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from unit.link.scripted_agent import FakeProcess, ScriptedAgent
from unit.widgets.explorer.told import EVIL

from tfnz_notebook._link.thread import io, wait
from tfnz_notebook._link.views.desk import Desk
from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerGone, ImageMissing, Misuse, to_wire
from tfnz_notebook.location import Location
from tfnz_notebook.widgets import explorer
from tfnz_notebook.widgets.explorer import ledger, opening, tail, watched
from tfnz_notebook.widgets.explorer.card import ContainerCard
from tfnz_notebook.widgets.explorer.tail import Tails
from tfnz_notebook.widgets.explorer.watched import Watched

VIEW = "0123456789abcdef"


class Page:
    """A desk, and what it says to its views."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, dict[str, Any]]] = []
        self.desk = Desk(lambda head, _: self.heard.append((time.monotonic(), head)))

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Call it on the I/O loop, and wait."""

        async def call() -> None:
            function(*args)

        wait(call())

    def open(self, picture: Watched, view: str = VIEW) -> dict[str, Any]:
        """Open it; its first info."""
        self.run(self.desk.register, picture.subject, picture.source)
        self.run(self.desk.received, {"t": "open", "view": view, "subject": picture.subject})
        return self.until(lambda: self.of(view, "opened"))[-1]["info"]  # type: ignore[no-any-return]

    def say(self, t: str, view: str = VIEW, **fields: Any) -> None:
        self.run(self.desk.received, {"t": t, "view": view, **fields})

    def do(self, action: str, view: str = VIEW, **args: Any) -> None:
        self.say("do", view, action=action, args=args)

    def of(self, view: str, t: str) -> list[dict[str, Any]]:
        return [head for _, head in self.heard if head["view"] == view and head["t"] == t]

    def info(self, view: str = VIEW) -> dict[str, Any]:
        """The last that the view was told; of containers that are as they were, the ids are."""
        info: dict[str, Any] = {}
        for told in [h["info"] for _, h in self.heard if h["view"] == view and "info" in h]:
            known = {each["id"]: each for each in info.get("containers", ())}
            info = dict(told)
            if "containers" in info:
                news = told["containers"]
                info["containers"] = [known[n] if isinstance(n, str) else n for n in news]
        return info

    def tails(self, view: str = VIEW) -> dict[str, Any]:
        """What it was told that processes wrote."""
        found: dict[str, Any] = {}
        for head in self.of(view, "tails"):
            found |= head["tails"]
        return found

    def until(self, met: Callable[[], Any], timeout: float = 10.0) -> Any:
        deadline = time.monotonic() + timeout
        while not (value := met()):
            assert time.monotonic() < deadline, [head for _, head in self.heard][-3:]
            time.sleep(0.005)
        return value

    def close(self) -> None:
        self.run(self.desk.close)


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SAMPLE", 0.2)
    monkeypatch.setattr(ledger, "SECOND", 0.1)
    monkeypatch.setattr(watched, "EVERY", 0.05)


def sampled(agent: ScriptedAgent) -> None:
    """Containers that use half a core and a MiB."""

    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        now = time.monotonic_ns()
        return {"sample": {"clock": now, "cpu": now // 2000, "memory": 1 << 20, "pids": 2}}, None

    agent.answers["container.stats"] = answer


def foreign(agent: ScriptedAgent, container: str, ident: str, **more: Any) -> None:
    """Another kernel starts a process."""
    started = agent.processes[ident] = FakeProcess(ident, container, "theirs", **more)
    agent.do(lambda: agent._changed(process=started))


# -- nobody looks


def test_nothing_is_asked_while_nobody_looks(
    agent: ScriptedAgent, container: Container, location: Location, page: Page
) -> None:
    sampled(agent)
    pictures = [explorer.card(container), explorer.ps(location), explorer.top(location)]
    pictures += [explorer.card(location), explorer.card(location.node("first"))]
    for number, picture in enumerate(pictures):
        page.open(picture, f"{number:016x}")
    page.until(lambda: page.info(f"{2:016x}")["containers"][0]["usage"]["cpu"])
    for number in range(len(pictures)):
        page.say("close", f"{number:016x}")
    wait(location._link.request("ping", {}))
    asked = len(agent.requests)
    agent.set_state(container.id, "running", ip="10.0.0.9")  # events come, but ask for nothing
    agent.until(lambda: container._info.get("ip") == "10.0.0.9")
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        wait(location._link.request("ping", {}))
        asked += 1
    assert len(agent.requests) == asked
    assert not pictures[0].ledger._sampling and not pictures[0].ledger.meters


def test_a_page_that_fell_silent_is_dropped(container: Container, page: Page) -> None:
    picture = explorer.card(container)
    page.open(picture)

    def silent_since(seconds: float) -> None:
        """As if it had last been heard so long ago."""
        page.run(lambda: picture._heard.update({VIEW: io().loop.time() - seconds}))

    silent_since(watched.SILENCE - 60)
    page.run(picture._sweep)
    assert not page.of(VIEW, "closed")
    silent_since(watched.SILENCE + 60)
    page.do("here")
    page.run(picture._sweep)
    assert not page.of(VIEW, "closed") and not page.of(VIEW, "error")
    silent_since(watched.SILENCE + 60)
    page.run(picture._sweep)
    assert page.until(lambda: page.of(VIEW, "closed"))[0]["reason"] == "slow"
    assert not picture.ledger._sampling
    page.open(picture)  # it was there after all


def test_thirty_cards_ask_once(agent: ScriptedAgent, container: Container, page: Page) -> None:
    """What one uses, once a period; what there is was told already."""
    sampled(agent)
    for number in range(30):
        page.open(explorer.card(container), f"{number:016x}")
    before = Counter(message.name for message in agent.requests)
    began = time.monotonic()
    page.until(lambda: len(agent.named("container.stats")) >= before["container.stats"] + 4)
    asked = Counter(message.name for message in agent.requests) - before
    assert asked["container.stats"] <= 1 + (time.monotonic() - began) / 0.2
    assert not asked.keys() - {"container.stats", "ping"}


def test_a_minute_with_a_card_a_table_and_ten_processes_asks_for_nothing_but_samples(
    agent: ScriptedAgent, container: Container, location: Location, page: Page
) -> None:
    """Thirty periods, of which the last ten are counted."""
    sampled(agent)
    for _ in range(10):
        container.spawn_process("sleep 100")
    page.open(explorer.card(container))
    assert len(page.open(explorer.ps(location), "f" * 16)["containers"][0]["processes"]) == 11
    page.until(lambda: len(agent.named("container.stats")) > 20)
    asked = len(agent.requests)
    page.until(lambda: len(agent.named("container.stats")) > 30)
    assert {message.name for message in agent.requests[asked:]} == {"container.stats"}


# -- what is told


def test_a_card_tells_all_of_a_container(
    agent: ScriptedAgent, container: Container, page: Page
) -> None:
    sampled(agent)
    mine = container.spawn_process(EVIL)
    tunnel = container.attach_tunnel(80)
    info = page.open(explorer.card(container))
    assert (info["kind"], info["state"], info["image"]) == ("container", "running", "nginx")
    assert info["title"] == f"nginx {container.id[:8]}"
    assert [(p["id"], p["main"]) for p in info["processes"]] == [
        (container.id, True),
        (mine.id, False),
    ]
    assert "\x1b" not in info["processes"][1]["text"]
    local = {"port": 80, "local": tunnel.port, "url": tunnel.url()}
    assert info["tunnels"] == [{**local, "through": None}]  # this agent has no tickets
    assert abs(info["now"] - time.time()) < 5
    usage = page.until(lambda: (page.info()["usage"] or {}).get("cpu") and page.info()["usage"])
    assert usage["cpu"] == pytest.approx(50, abs=1) and usage["memory"] == 1 << 20
    agent.end(mine.id, 3)
    page.until(lambda: [p["returncode"] for p in page.info()["processes"]] == [None, 3])
    foreign(agent, container.id, "f" * 32)
    page.until(lambda: page.info()["processes"][-1]["text"] == "theirs")


def test_where_the_cell_says_why_it_failed_the_card_does_not(
    agent: ScriptedAgent, container: Container
) -> None:
    error = to_wire(ImageMissing("Cannot use the image 'nginx': it is not here. Pull it."))
    pictures = [ContainerCard(container, raises=raises) for raises in (True, False)]
    ran = ContainerCard(container, raises=True)
    ran.known()  # as it runs
    agent.set_state(container.id, "creating")
    agent.until(lambda: container.state == "creating")
    pictures[0].known()
    agent.set_state(container.id, "failed", error=error, log=b"")
    agent.until(lambda: container.state == "failed")
    quiet, other, later = (each.known() for each in (*pictures, ran))
    assert (quiet["state"], quiet["error"]) == ("failed", "")
    assert "not here" in other["error"] and "not here" in later["error"]


def test_a_pull_is_told_as_it_goes(agent: ScriptedAgent, location: Location, page: Page) -> None:
    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        ident = message.body["container"]
        info = {"container": ident, "state": "creating", "image": "nginx"}
        scripted.containers[ident] = info
        return {}, None

    agent.answers["container.spawn"] = answer
    made = location.best_node().spawn_container("nginx")
    assert page.open(explorer.card(made))["state"] == "creating"
    agent.set_state(made.id, "pulling", text="layer", done=5, total=10)
    pull = {"text": "layer", "done": 5, "total": 10}
    page.until(lambda: page.info()["pull"] == pull)
    agent.set_state(made.id, "running")
    page.until(lambda: page.info()["state"] == "running" and page.info()["pull"] is None)


def test_states_are_told_seldom_and_only_when_something_changed(
    agent: ScriptedAgent, container: Container, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "EVERY", 0.3)
    page.open(explorer.card(container))
    for number in range(200):
        agent.set_state(container.id, "running", ip=f"10.0.0.{number}")
    page.until(lambda: page.info()["ip"] == "10.0.0.199")
    times = [at for at, head in page.heard if head["t"] == "state"]
    assert all(b - a > 0.25 for a, b in itertools.pairwise(times))
    told = len(page.of(VIEW, "state"))
    for _ in range(5):
        agent.set_state(container.id, "running", ip="10.0.0.199")
    wait(container.location._link.caught_up())
    deadline = time.monotonic() + 0.7
    while time.monotonic() < deadline:
        wait(container.location._link.caught_up())
    assert len(page.of(VIEW, "state")) == told


def test_an_end_is_told_and_over(
    agent: ScriptedAgent, container: Container, location: Location, page: Page
) -> None:
    sampled(agent)
    picture = explorer.card(container)
    mine = container.spawn_process("sleep 100")
    page.open(picture)
    page.until(lambda: page.info()["usage"])
    agent.set_state(container.id, "exited", returncode=0)
    page.until(lambda: page.info()["state"] == "exited")
    named = [p["text"] for p in page.info()["processes"]]
    assert page.info()["usage"]["memory"] == 1 << 20
    assert "MiB" not in explorer.as_text(picture)
    container.destroy()
    page.until(lambda: page.info()["state"] == "destroyed")
    shown = page.info()["processes"]  # it keeps what it showed
    assert [p["id"] for p in shown] == [container.id, mine.id]
    assert [p["text"] for p in shown] == named and named[1] == "sleep 100"
    assert page.info()["usage"]["memory"] == 1 << 20
    wait(picture.over())
    still = wait(picture.still(final=True))
    assert "destroyed" in still.text and "destroyed" in still.html
    page.open(explorer.card(location), "f" * 16)
    table = explorer.ps(location)
    location.disconnect()
    page.until(lambda: page.info("f" * 16)["connected"] is False)
    wait(table.over())
    assert "disconnected" in explorer.as_text(table)


def test_tables_follow_the_session(
    agent: ScriptedAgent, location: Location, container: Container, page: Page
) -> None:
    assert len(page.open(explorer.ps(location))["containers"]) == 1
    second = location.best_node().spawn_container("debian", tag="second")
    page.until(lambda: [c["title"] for c in page.info()["containers"]][1:] == ["second"])
    theirs = {"container": "e" * 32, "state": "running", "image": "theirs", "created": 9.0}
    agent.containers["e" * 32] = theirs  # another kernel's
    agent.do(lambda: agent._changed(theirs))
    page.until(lambda: len(page.info()["containers"]) == 3)
    second.destroy()
    page.until(lambda: len(page.info()["containers"]) == 2)
    chosen = page.open(explorer.top(location, [container]), "f" * 16)
    assert [c["id"] for c in chosen["containers"]] == [container.id]


def test_what_is_out_of_reach_is_shown_as_it_was(
    agent: ScriptedAgent, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = explorer.card(container)
    assert "running" in explorer.as_text(picture)
    monkeypatch.setattr(watched, "TEXT", 0.1)
    agent.answers["ping"] = lambda agent, message: NotImplemented
    assert "running" in explorer.as_text(picture)


def test_one_bad_sample_is_not_the_last(
    agent: ScriptedAgent, location: Location, container: Container, page: Page
) -> None:
    agent.answers["container.stats"] = lambda agent, message: ({}, None)  # an agent that is mad
    page.open(explorer.top(location))
    page.until(lambda: len(agent.named("container.stats")) > 1)
    sampled(agent)
    page.until(lambda: page.info()["containers"][0]["usage"])


# -- what processes wrote


def test_what_a_process_wrote_is_read_only_for_views_that_show_it(
    agent: ScriptedAgent, container: Container, location: Location, page: Page
) -> None:
    picture, table = explorer.card(container), explorer.ps(location)
    page.open(picture)
    page.open(picture, "f" * 16)
    page.open(table, "e" * 16)
    mine = container.spawn_process("sleep 100")
    agent.write(container.id, b"\x1b[31mhello\x1b[0m\n")
    agent.write(mine.id, b"100 %\rdone\n")
    assert not [m for m in agent.named("reader.open") if m.body["process"] == container.id]
    page.do("tail", process=container.id, on=True)
    page.until(lambda: page.tails() == {container.id: [(1, "hello")]})
    agent.write(container.id, b"<b>trouble\n", stream=2)
    page.until(lambda: page.tails() == {container.id: [(1, "hello"), (2, "<b>trouble")]})
    assert not page.of("f" * 16, "tails")
    page.do("tail", "e" * 16, process=mine.id, on=True)
    page.until(lambda: page.tails("e" * 16) == {mine.id: [(1, "done%")]})  # as a terminal shows it
    still = wait(picture.still(final=False))
    assert "hello" in still.html and "&lt;b&gt;trouble" in still.html
    page.do("tail", process=container.id, on=False)
    page.until(lambda: not picture._tails.all())
    page.do("tail", process=container.id, on=True)
    page.until(lambda: picture._tails.all())
    page.say("close")
    assert not picture._tails.all()
    for strange in (None, 5, "x", "/" * 32):
        page.do("tail", "f" * 16, process=strange, on=True)
    page.until(lambda: len(page.of("f" * 16, "done")) == 4)
    assert not picture._tails.all()


def test_a_view_shows_some_processes_at_a_time_and_of_each_the_end(
    agent: ScriptedAgent, container: Container
) -> None:
    tails = Tails(container.location._link, lambda: None)

    async def look() -> None:
        for number in range(tail.MOST + 3):
            tails.show("view", f"{number:032x}", on=True)
        assert len(tails.of("view")) == len(tails.all()) == tail.MOST
        assert f"{0:032x}" not in tails.all()
        one = tails._tails[f"{5:032x}"]
        one._begin()
        for number in range(10_000):
            one._received(1, b"line %d\n" % number)
        one._received(2, b"x" * 3 * tail.BYTES + b"\n")
        one._received(1, b"the end")
        held = sum(len(piece) for _, piece in one._held)
        assert held <= 2 * tail.BYTES and held == one._size
        assert one.said[-1][1].endswith("the end")
        tails.close("view")
        assert not tails.all()

    wait(look())


# -- what is done


def test_processes_are_stopped_and_killed(
    agent: ScriptedAgent, container: Container, page: Page
) -> None:
    mine = container.spawn_process("sleep 100")
    page.open(explorer.card(container))
    page.do("process.kill", container=container.id, process=mine.id)
    page.until(lambda: agent.named("process.signal"))
    assert agent.named("process.signal")[0].body == {"process": mine.id, "signal": 9, "target": 2}
    page.do("process.stop", container=container.id, process=mine.id)
    page.until(lambda: page.info()["processes"][1]["returncode"] == -15)
    page.do("process.stop", container=container.id, process=mine.id)
    assert "has ended" in page.until(lambda: page.of(VIEW, "error"))[0]["text"]


def test_containers_are_stopped_and_destroyed(
    agent: ScriptedAgent, location: Location, container: Container, page: Page
) -> None:
    page.open(explorer.ps(location))
    page.do("pause", containers=[container.id])
    page.until(lambda: agent.named("container.pause"))
    page.do("stop", containers=[container.id])
    page.until(
        lambda: [m.body["process"] for m in agent.named("process.destroy")] == [container.id]
    )
    second = location.best_node().spawn_container("debian").wait_until_ready(10)
    page.until(lambda: len(page.info()["containers"]) == 2)
    page.do("destroy", containers=[container.id, second.id])
    page.until(lambda: not page.info()["containers"])
    assert container.state == second.state == "destroyed"
    done = [head["args"]["containers"] for head in page.of(VIEW, "done")]
    assert done[-1] == [container.id, second.id]


@pytest.mark.parametrize(
    ("action", "args", "says"),
    [
        ("explode", {}, "not offered"),
        ("_do", {}, "not offered"),
        ("", {}, "not offered"),
        ("destroy", {}, "not given"),
        ("destroy", {"containers": []}, "not given"),
        ("destroy", {"containers": "MINE"}, "not given"),
        ("destroy", {"containers": [5]}, "not given"),
        ("destroy", {"containers": ["x" * 100]}, "not given"),
        ("destroy", {"containers": ["e" * 32]}, "another container"),
        ("open", {}, "port"),
        ("open", {"port": "80"}, "port"),
        ("process.kill", {"container": "MINE"}, "not given"),
        ("process.kill", {"container": "MINE", "process": "e" * 32}, "no such process"),
        ("process.kill", {"container": "MINE", "process": "OTHERS"}, "no such process"),
    ],
)
def test_what_pages_ask_for_is_checked(
    agent: ScriptedAgent,
    location: Location,
    container: Container,
    page: Page,
    action: str,
    args: dict[str, Any],
    says: str,
) -> None:
    other = location.best_node().spawn_container("debian").wait_until_ready(10)
    others = other.spawn_process("sleep 100")
    page.open(explorer.card(container))
    ids = {"MINE": container.id, "OTHERS": others.id}
    page.do(action, **{key: ids.get(str(value), value) for key, value in args.items()})
    error = page.until(lambda: page.of(VIEW, "error"))[0]
    assert says in error["text"] and error["text"].startswith("Cannot ")
    assert not agent.named("process.signal") and not agent.named("container.destroy")
    assert not agent.named("process.destroy")


def test_what_goes_wrong_comes_back_to_the_view_that_asked(
    agent: ScriptedAgent, location: Location, container: Container, page: Page
) -> None:
    def refuse(scripted: ScriptedAgent, message: Any) -> Any:
        raise ContainerGone("Cannot destroy it: the engine is away. Wait.")

    agent.answers["container.destroy"] = refuse
    table = explorer.ps(location)
    page.open(table)
    page.open(table, "f" * 16)
    page.do("destroy", containers=[container.id])
    error = page.until(lambda: page.of(VIEW, "error"))[0]
    assert error["doing"] == "destroy" and "the engine is away" in error["text"]
    assert error["args"] == {"containers": [container.id]}
    second = location.best_node().spawn_container("debian").wait_until_ready(10)
    page.do("destroy", containers=[container.id, second.id])
    error = page.until(lambda: page.of(VIEW, "error")[1:])[0]
    assert error["text"].endswith("Wait. So it is with 2 of 2.")
    assert not page.of("f" * 16, "error")
    del agent.answers["container.destroy"]


# -- tunnels


def test_a_port_is_opened_from_the_card_once(container: Container, page: Page) -> None:
    page.open(explorer.card(container))
    for _ in range(2):
        page.do("open", port=80)
    page.until(lambda: len(page.of(VIEW, "done")) == 2)
    page.until(lambda: [each["port"] for each in page.info()["tunnels"]] == [80])
    assert [each.dest_port for each in container.all_tunnels()] == [80]


def test_a_tunnel_is_knocked_at_until_somebody_listens(
    agent: ScriptedAgent, container: Container, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening.TunnelCard, "period", 0.05)
    tunnel = container.attach_tunnel(80)
    listening = False

    async def accepts(link: object, ident: str, port: int) -> None:
        knocks.append(port)
        if not listening:
            raise opening.PortClosed("Nothing listens there.")

    knocks: list[int] = []
    monkeypatch.setattr(opening, "accepts", accepts)
    picture = explorer.preview(tunnel, "/a b")
    info = page.open(picture)
    assert info["preview"] and info["listening"] is False and info["url"].endswith("/a b")
    page.until(lambda: len(knocks) > 2)
    listening = True
    page.until(lambda: page.info()["listening"])
    known = len(knocks)
    page.do("close")
    page.until(lambda: page.info()["open"] is False)
    assert len(knocks) == known
    wait(picture.over())


def test_only_what_has_a_card_has_one(container: Container) -> None:
    with pytest.raises(Misuse, match="Cannot draw 5"):
        explorer.card(5)  # type: ignore[arg-type]
    for thing in (container, container.location, container.node, container.attach_tunnel(80)):
        picture = explorer.card(thing)
        still = wait(picture.still(final=False))
        assert still.text and still.html.startswith("<div") and "\n" not in picture.text
        assert wait(picture.direct()) is None
        assert io().ident
