"""A terminal in a cell: the view first, then a process of its size."""

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._link.thread import io
from tfnz_notebook.container import Container
from tfnz_notebook.errors import Misuse, SpawnFailed, TfnzError
from tfnz_notebook.widgets import bundle, display, publish, shell
from tfnz_notebook.widgets.channel import hub as hubs

VIEW = "application/vnd.jupyter.widget-view+json"
IDENT = "5" * 16


def until(met: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Page:
    """A kernel, and a page that opens what it shows, with ``size``."""

    topic = b""

    def __init__(self) -> None:
        self.kernel = SimpleNamespace(_supports_kernel_subshells=True)
        self.events = SimpleNamespace(register=lambda *_: None)
        self.display_pub = self.session = self.pub_socket = self
        self.parent_header: dict[str, Any] = {}
        self.size = (30, 100)
        self.opens = True
        self.lives: list[Any] = []
        self.heard: list[dict[str, Any]] = []
        self.outputs: dict[str, dict[str, Any]] = {}

    def get_parent(self) -> dict[str, Any]:
        return {"header": {"msg_id": "cell"}, "metadata": {"cellId": "a"}, "content": {}}

    def publish(self, data: Any, metadata: Any, *, transient: Any) -> None:
        self.outputs[transient["display_id"]] = data
        if VIEW not in data or not self.opens:
            return
        rows, columns = self.size
        head = {"t": "open", "view": IDENT, "subject": self.lives[-1].subject, "mode": "all"}
        desk = hubs.hub().desk
        desk.send = lambda said, _payload: self.heard.append(dict(said))
        io().soon(desk.received, {**head, "rows": rows, "columns": columns})

    def send(self, socket: Any, kind: str, content: Any, **more: Any) -> None:
        self.outputs[content["transient"]["display_id"]] = content["data"]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    made = Page()

    class Live(display.Live):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.lives.append(self)

    monkeypatch.setattr(display, "Live", Live)
    monkeypatch.setattr(publish, "shell", lambda: made)
    monkeypatch.setattr(bundle, "code", lambda kind: f"// {kind}")
    monkeypatch.setattr(bundle, "_bundles", {})
    monkeypatch.setattr(hubs, "_hub", None)
    monkeypatch.setattr(display, "_hooked", None)
    monkeypatch.setattr(shell, "_patience", shell._Patience())
    yield made
    for each in [*display._all.values(), *display._kept]:
        each.stop()
    until(lambda: not display._all and not display._kept)


@pytest.fixture
def spawned(agent: ScriptedAgent) -> list[dict[str, Any]]:
    """The bodies of all requests to spawn."""
    bodies: list[dict[str, Any]] = []

    def spawn(of: ScriptedAgent, message: Any) -> Any:
        bodies.append(message.body)
        return of._process_spawn(message)

    agent.answers["process.spawn"] = spawn
    return bodies


@pytest.fixture
def readers(agent: ScriptedAgent) -> None:
    """Readers are told where they begin, as those of views are."""

    def opened(of: ScriptedAgent, message: Any) -> Any:
        of._reader_open(message)
        return {"offset": 0, "head": 0}, None

    agent.answers["reader.open"] = opened


def kinds(page: Page) -> list[str]:
    return [head["t"] for head in page.heard]


@pytest.mark.usefixtures("readers")
def test_the_process_starts_with_the_size_that_its_view_has(
    page: Page, container: Container, spawned: list[dict[str, Any]]
) -> None:
    process = shell.open_shell(container)
    (body,) = spawned
    assert (body["rows"], body["columns"], body["tty"]) == (30, 100, True)
    assert page.lives[0].subject == f"process:{body['process']}" == f"process:{process.id}"
    until(lambda: "opened" in kinds(page))
    opened = next(head for head in page.heard if head["t"] == "opened")
    assert opened["info"]["container"] == container._called


@pytest.mark.usefixtures("readers")
def test_what_is_typed_reaches_the_process(
    page: Page, container: Container, agent: ScriptedAgent
) -> None:
    process = shell.open_shell(container)
    until(lambda: "opened" in kinds(page))
    typed = {"t": "stdin", "view": IDENT, "offset": 0}
    io().soon(hubs.hub().desk.received, typed, b"ls\r")
    until(lambda: "ack" in kinds(page))
    assert bytes(agent.processes[process.id].stdin) == b"ls\r"


def test_a_page_that_says_nothing_is_waited_for_twice(
    page: Page,
    container: Container,
    spawned: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page.opens = False
    waits: list[float] = []
    opening = shell.Opening.__init__

    def counting(self: shell.Opening) -> None:
        opening(self)
        result = self.size.result
        self.size.result = lambda wait: (waits.append(wait), result(0))[1]  # type: ignore[assignment,func-returns-value,misc]

    monkeypatch.setattr(shell.Opening, "__init__", counting)
    for _ in range(3):
        shell.open_shell(container)
    assert waits == [shell.PATIENCE, shell.PATIENCE, 0.0]
    assert {(body["rows"], body["columns"]) for body in spawned} == {(24, 80)}


def test_a_kernel_that_hears_nothing_while_busy_does_not_wait(
    page: Page, container: Container, spawned: list[dict[str, Any]]
) -> None:
    page.opens = False
    page.kernel = SimpleNamespace()
    began = time.monotonic()
    shell.open_shell(container)
    assert time.monotonic() - began < shell.PATIENCE
    assert (spawned[0]["rows"], spawned[0]["columns"]) == (24, 80)


def test_impossible_sizes_are_made_possible(
    page: Page, container: Container, spawned: list[dict[str, Any]]
) -> None:
    page.size = (0, 10**6)
    shell.open_shell(container)
    assert (spawned[0]["rows"], spawned[0]["columns"]) == (1, 9999)


def test_a_process_that_cannot_start_is_told_in_the_view_and_raised(
    page: Page, container: Container, agent: ScriptedAgent
) -> None:
    def fail(_agent: ScriptedAgent, _message: Any) -> Any:
        raise SpawnFailed("Cannot spawn a process: no user 'nobody2'. Name another.")

    agent.answers["process.spawn"] = fail
    with pytest.raises(SpawnFailed, match="nobody2"):
        shell.open_shell(container, user="nobody2")
    until(lambda: "closed" in kinds(page))
    assert "nobody2" in page.heard[-1]["text"]
    # and what stays in the notebook says so too
    until(lambda: any("nobody2" in data["text/plain"] for data in page.outputs.values()))


@pytest.mark.parametrize("command", ["", [], 7, [b"ls"]])
def test_misuse_shows_nothing(page: Page, container: Container, command: Any) -> None:
    with pytest.raises(TfnzError):
        shell.open_shell(container, command)
    with pytest.raises(Misuse):
        shell.open_shell(container, env={"A=B": "c"})
    assert page.outputs == {}


def test_commands_run_as_they_are_in_a_terminal_for_utf_8(
    page: Page, container: Container, spawned: list[dict[str, Any]]
) -> None:
    shell.open_shell(container, "top -d 1", env={"A": "1"})
    shell.open_shell(container, ["top", "-d", "1"], env={"COLORTERM": ""})
    shell.open_shell(container)
    line, argv, login = spawned
    assert line["text"] == "top -d 1" and line["command"][-1].endswith("top -d 1")
    assert "LANG" in line["command"][-1] and sorted(line["env"]) == ["A=1", "COLORTERM=truecolor"]
    assert argv["command"] == ["top", "-d", "1"] and argv["env"] == ["COLORTERM="]
    assert login["text"] == "login shell" and "bash" in login["command"][-1]


def test_the_view_is_offered_the_direct_path_once_there_is_a_process(
    page: Page, container: Container, agent: ScriptedAgent
) -> None:
    agent.answers["process.ticket"] = lambda _agent, _message: (
        {"agent": "podman", "ticket": "t"},
        None,
    )
    process = shell.open_shell(container)
    told = {"agent": "podman", "process": process.id, "ticket": "t"}
    assert page.lives[0].direct == told


def test_a_process_that_runs_already_has_a_picture(page: Page, container: Container) -> None:
    process = container.spawn_shell()
    picture = shell.shell_picture(process, rows=40)
    assert (picture.kind, picture.options) == ("shell", {"rows": 40})
    assert picture.subject == f"process:{process.id}"
