"""What cards and tables say, as text and as HTML: all kinds, hostile names, the widths."""

import html.parser
import time
from typing import Any

import pytest
from unit.widgets.explorer import told

from tfnz_notebook.errors import ImageMissing, to_wire
from tfnz_notebook.widgets.explorer import facts, page, text
from tfnz_notebook.widgets.explorer.meter import Meter

ID = "c" * 32
BASE = {"where": "podman", "connected": True}


def usage() -> dict[str, Any]:
    meter = Meter()
    meter.add({"clock": 0, "cpu": 0, "memory": 1 << 20, "pids": 3, "read": 0, "written": 0})
    meter.add({"clock": 2 * 10**9, "cpu": 10**6, "memory": 3 << 20, "pids": 4, "read": 4096,
               "written": 0, "memory_limit": 1 << 28})  # fmt: skip
    latest = meter.latest
    assert latest is not None
    return latest


def card(**more: Any) -> dict[str, Any]:
    ran = [
        told.process(ID, ID, text="main process", pid=7),
        told.process(ID, "p1"),
        told.process(ID, "p2", text="false", pid=13, returncode=1, started=6.0),
    ]
    shown = facts.container(told.container(ID, **more), ran, usage())
    return {**BASE, "kind": "container", "engine": "podman", **shown}


def top(*containers: dict[str, Any]) -> dict[str, Any]:
    return {**BASE, "kind": "top", "session": "s", "containers": list(containers), "more": 0}


def ps(*containers: dict[str, Any]) -> dict[str, Any]:
    return {**top(*containers), "kind": "ps"}


NODE = facts.node(
    {"name": "first", "cpus": 2, "cpu_free": 1.5, "memory": 8 << 30, "memory_free": 1 << 30}
    | {"containers": 0}
)
LOCATION = {
    **BASE, "kind": "location", "engine": "podman", "version": "4.3", "about": {}, "session": "s",
    "durable": False, "nodes": [NODE], "containers": [card()], "more": 2,
}  # fmt: skip
TUNNEL = {
    **BASE, "kind": "tunnel", "port": 80, "local": 4000, "url": "http://127.0.0.1:4000/",
    "path": "", "container": "web", "image": "nginx", "state": "running", "open": True,
    "connections": 0, "listening": False, "preview": True,
}  # fmt: skip


def test_a_card() -> None:
    drawn = text.draw(card(created=time.time() - 125))
    assert drawn.split("\n") == [
        "container web: running",
        "  image nginx  id cccccccccccc  node first  up 2 min 05 s",
        "  cpu 50 %  memory 3 MiB of 256 MiB  pids 4",
        "  PID  STATE    COMMAND",
        "    7  running  main process",
        "   12  running  vmstat 1",
        "   13  exit 1   false",
    ]


def test_a_failure_says_why() -> None:
    error = to_wire(ImageMissing("Cannot find image 'nginx': not here. Pull it."))
    info = card(state="failed", error=error, log=b"last words")
    assert "Cannot find image 'nginx': not here. Pull it." in text.draw(info)
    assert "Cannot find image &#x27;nginx&#x27;: not here. Pull it." in page.draw(info)
    assert "ended   vmstat 1" in text.draw(info)  # its processes went with it


def test_a_pull_says_how_far_it_is() -> None:
    info = card(state="pulling", text="layer 1", done=1 << 20, total=4 << 20)
    assert "pulling 25 %" in text.draw(info) and "layer 1 1 MiB of 4 MiB" in text.draw(info)
    assert "pulling" in text.draw(card(state="pulling"))  # nothing known yet


def test_an_exit_says_its_code_and_its_last_words() -> None:
    info = card(state="exited", returncode=-9, log=b"no such config\n")
    assert "container web: SIGKILL" in text.draw(info)
    assert "no such config" in page.draw(info)


def test_a_table_of_processes() -> None:
    second = card(container="d" * 32, name="db", tag="", image="postgres:16")
    lines = text.draw(ps(card(), second)).split("\n")
    assert [line.split()[0] for line in lines] == [
        *("CONTAINER", "web", "main", "vmstat", "false"),
        *("db", "main", "vmstat", "false"),
    ]
    assert text.draw(ps()) == "session s has no containers"


MEASURED = ["web", "running", "50", "%", "3", "MiB", "/", "256", "MiB", "2", "KiB/s"]
MEASURED += ["0", "B/s", "4"]


def test_a_table_of_usage() -> None:
    lines = text.draw(top(card(), card(state="exited", returncode=0))).split("\n")
    assert lines[1].split() == MEASURED
    assert lines[2].split() == ["web", "exit", "0"]
    assert text.draw(top()) == "no containers to measure"


def test_places_and_tunnels() -> None:
    assert text.draw(LOCATION).split("\n") == [
        "location podman: podman 4.3, session s",
        "  node first: 1.5 of 2 cores and 1 GiB of 8 GiB free, 0 containers running",
        "  container web (nginx): running",
        "  (2 more containers)",
    ]
    assert "nothing listens" in text.draw(TUNNEL)
    assert text.draw({**TUNNEL, "open": False}).endswith("closed")
    assert "disconnected" in text.draw({**LOCATION, "connected": False})
    assert "disconnected" in text.draw({**card(), "connected": False})


class Checked(html.parser.HTMLParser):
    """Takes HTML apart: which elements and attributes there are, and whether they are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.open, self.said = set[str](), list[str](), ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        assert {name for name, _ in attrs} <= {"style"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


def evil() -> list[dict[str, Any]]:
    names = dict.fromkeys(("name", "tag", "image", "node", "ip"), told.EVIL)
    error = {"class": "TfnzError", "message": told.EVIL, "details": {}}
    ran = [told.process(ID, "p1", text=told.EVIL)]
    made = []
    for state in ("running", "pulling", "exited", "failed"):
        said = told.container(ID, **names, state=state, text=told.EVIL, error=error,
                              log=told.EVIL.encode(), returncode=1)  # fmt: skip
        shown = {**BASE, "kind": "container", "engine": "x", **facts.container(said, ran, usage())}
        made += [shown, ps(shown), top(shown), {**LOCATION, "containers": [shown]}]
    node = facts.node({"name": told.EVIL, "labels": {told.EVIL: told.EVIL}})
    tunnel = {**TUNNEL, "container": shown["title"], "image": shown["image"]}
    return [*made, {**BASE, "kind": "node", "node": node}, tunnel]


@pytest.mark.parametrize("info", evil(), ids=lambda info: info["kind"])
def test_what_comes_from_a_container_stays_text(info: dict[str, Any]) -> None:
    drawn = text.draw(info)
    assert not {c for c in drawn if c < " " or "\x7f" <= c <= "\x9f" or c == "\u202e"} - {"\n"}
    checked = Checked(page.draw(info))
    assert checked.tags <= {"div", "span", "b", "table", "tbody", "tr", "th", "td", "pre"}
    if info["kind"] != "top":
        assert "<script>alert(1)" in checked.said or info["kind"] == "tunnel"
    assert "\x1b" not in checked.said and "\u202e" not in checked.said


@pytest.mark.parametrize("info", evil(), ids=lambda info: info["kind"])
def test_tables_fit_a_terminal(info: dict[str, Any]) -> None:
    most = {"ps": 100, "top": 120}.get(info["kind"], 250)
    assert max(map(len, text.draw(info).split("\n"))) <= most


def test_what_is_left_out_is_counted_and_rows_stay_where_they_are() -> None:
    many = [told.process(ID, ID, text="main process", started=9.0)]
    many += [told.process(ID, f"r{i}", started=float(i)) for i in range(60)]
    many += [told.process(ID, f"e{i}", started=i + 0.5, returncode=0) for i in range(10)]
    shown, more = facts.processes(many)
    assert more == len(many) - len(shown) == 10 + 7
    assert shown[0]["main"]
    starts = [p["started"] for p in shown[1:]]
    assert starts == sorted(starts)
    assert sum(p["returncode"] is not None for p in shown) == facts.MOST_ENDED


def test_a_counter_that_falls_back_gives_no_rate() -> None:
    meter = Meter()
    assert meter.latest is None
    for cpu, read in ((5_000_000, 10), (6_000_000, 4106), (1000, 0)):
        meter.add({"clock": cpu * 1000, "cpu": cpu, "read": read, "memory_limit": 0})
    latest = meter.latest
    assert latest is not None
    assert (latest["cpu"], latest["read"], latest["limit"]) == (None, None, None)
    assert latest["cpus"] == [100.0]


def test_a_table_has_as_many_rows_as_are_sent_at_a_time() -> None:
    ran = [told.process(ID, f"p{number}", started=float(number)) for number in range(40)]
    shown = [facts.container(told.container(ident), ran, ended=9) for ident in ("a", "b", "c")]
    fitted = facts.fitted(shown, 50)
    assert [len(each["processes"]) for each in fitted] == [40, 10, 0]
    assert [each["more"] for each in fitted] == [9, 39, 49]
    assert facts.fitted(shown) == shown
