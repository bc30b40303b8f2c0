"""A container: becoming ready, its main process, its files, its end."""

import socket
from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import FakeProcess, ScriptedAgent

from tfnz_notebook._link import patience
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    FileError,
    ImageMissing,
    LinkClosed,
    Misuse,
    PortClosed,
    ProcessFailed,
    TunnelError,
    TunnelGone,
    WaitTimeout,
    to_wire,
)
from tfnz_notebook.location import Location


def hold(agent: ScriptedAgent, state: str = "creating") -> None:
    """Containers spawned from now on stay as they are until the test says more."""

    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        ident = message.body["container"]
        info = {"container": ident, "state": state, "image": message.body["spec"]["image"]}
        scripted.containers[ident] = info
        return {}, None

    agent.answers["container.spawn"] = answer


def test_what_it_is(container: Container, location: Location) -> None:
    assert container.id == container.uuid
    assert (container.image, container.state, container.name) == ("nginx", "running", "")
    assert container.location is location
    assert container.node == location.node("first")
    assert repr(container) == f"<Container 'nginx {container.id[:8]}': running>"
    with pytest.raises(Misuse, match="spawn_container"):
        Container()


def test_what_containers_lack_here_is_said_once(
    agent: ScriptedAgent,
    location: Location,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(patience, "notebook", lambda: True)
    hold(agent, "starting")
    about = {
        "isolation": "none: the engine is on another machine",
        "limits": "none: users have no part",
        "user": "1000 alone",
    }
    for _ in range(2):
        container = location.best_node().spawn_container("nginx", memory="64m")
        agent.set_state(container.id, "running", about=about)
        container.wait_until_ready(10)
        assert container.about == about
    assert capsys.readouterr().out.splitlines() == [
        "Containers may reach each other here: the engine is on another machine.",
        "Limits of memory and CPU are not kept here: users have no part.",
    ]


def test_spawning_returns_at_once(agent: ScriptedAgent, location: Location) -> None:
    hold(agent, "pulling")
    container = location.best_node().spawn_container("nginx", name="web")
    assert container.state == "creating"
    with pytest.raises(WaitTimeout, match=r"still (creating|pulling) after 0\.01 s"):
        container.wait_until_ready(0.01)
    agent.set_state(container.id, "pulling", text="layer 1", done=5, total=10)
    agent.until(lambda: container.progress == ("layer 1", 5, 10))
    agent.set_state(container.id, "running")
    assert container.wait_until_ready(10) is container


def test_a_failure_is_raised_as_its_cause(agent: ScriptedAgent, location: Location) -> None:
    hold(agent)
    container = location.best_node().spawn_container("nginx")
    cause = ImageMissing("Cannot find image 'nginx': not here. Pull it.")
    agent.set_state(container.id, "failed", error=to_wire(cause), log=b"the log\nends")
    for use in (container.wait_until_ready, lambda: container.spawn_process("x")):
        with pytest.raises(ImageMissing, match="Pull it"):
            use()
    assert container.logs() == b"the log\nends"
    assert container.logs(tail=1) == b"ends"
    container.destroy()


def test_one_that_exited_says_so_with_its_last_words(
    agent: ScriptedAgent, container: Container
) -> None:
    agent.set_state(container.id, "exited", returncode=2, log=b"config is wrong\n")
    agent.until(lambda: container.state == "exited")
    assert container.returncode == 2
    for use in (
        container.wait_until_ready,
        lambda: container.spawn_process("x"),
        lambda: container.wait_http_200(timeout=30),
        lambda: container.wait_tcp(80, timeout=30),
    ):
        with pytest.raises(ContainerFailed, match=r"(?s)code 2.*config is wrong") as caught:
            use()
        assert caught.value.details["returncode"] == 2
        assert caught.value.details["log"] == b"config is wrong\n"


def test_its_name_and_id_are_those_that_the_engines_tools_show(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    assert (container.name, container.engine_id) == ("", "")
    there = {"engine_name": f"tfnz-{container.id}", "engine_id": "0123456789ab"}
    agent.set_state(container.id, "running", **there)
    agent.until(lambda: container.name)
    assert (container.name, container.engine_id) == (f"tfnz-{container.id}", "0123456789ab")
    assert repr(container).startswith(f"<Container 'nginx {container.id[:8]}'"), "made up: no title"
    for word in (container.name, "0123456789ab", "0123", container.id[:8]):
        assert location.container(word) is container
    named = location.best_node().spawn_container("nginx", name="web")
    assert (named.name, location.container("web")) == ("web", named)


async def test_it_can_be_awaited(location: Location) -> None:
    node = await location.aio.best_node()
    container = await node.aio.spawn_container("nginx")
    assert await container is container
    async with container as same:
        assert same is container
    assert container.state == "destroyed"


def test_destroying(agent: ScriptedAgent, location: Location) -> None:
    with location.best_node().spawn_container("nginx") as container:
        pass
    assert container.state == "destroyed"
    for use in (
        container.destroy,
        lambda: location.best_node().destroy_container(container),
        container.wait_until_ready,
        container.start,
        container.reboot,
        container.stats,
        container.ip,
        container.logs,
        container.all_processes,
        lambda: container.spawn_process("x"),
        lambda: container.run_process("x"),
        container.spawn_shell,
        lambda: container.put("/x", b""),
        lambda: container.fetch("/x"),
        lambda: container.listdir("/x"),
        lambda: container.mkdir("/x"),
        lambda: container.stdin(b""),
        lambda: container.attach_tunnel(80),
        lambda: container.wait_http_200(),
    ):
        with pytest.raises(ContainerGone, match="was destroyed"):
            use()
    assert location.containers() == []


def test_the_engine_may_destroy_it(agent: ScriptedAgent, container: Container) -> None:
    agent.set_state(container.id, "destroyed")
    agent.until(lambda: container.state == "destroyed")
    with pytest.raises(ContainerGone):
        container.spawn_process("x")


def test_destroy_container_takes_containers(location: Location) -> None:
    with pytest.raises(Misuse):
        location.best_node().destroy_container("x")  # type: ignore[arg-type]


# -- the main process


def test_its_callbacks(agent: ScriptedAgent, location: Location) -> None:
    got: list[Any] = []
    container = location.best_node().spawn_container(
        "nginx",
        stdout_callback=lambda c, data: got.append((c, data)),
        termination_callback=lambda c, code: got.append((c, code)),
    )
    container.wait_until_ready(10)
    agent.write(container.id, b"hello")
    agent.end(container.id, 4)
    container.main.wait(10)
    assert got == [(container, b"hello"), (container, 4)]
    assert container.main.stdout == b"hello"
    assert container.returncode == 4


def test_of_one_that_sleeps_they_begin_with_its_start(
    agent: ScriptedAgent, location: Location
) -> None:
    got: list[bytes] = []
    container = location.best_node().spawn_container(
        "nginx", sleep=True, stdout_callback=lambda c, data: got.append(data)
    )
    container.wait_until_ready(10)
    assert container.logs() == b""

    def start(scripted: ScriptedAgent, message: Any) -> Any:
        scripted.processes[container.id] = FakeProcess(container.id, container.id)
        return {}, None

    agent.answers["container.start"] = start
    container.start()
    agent.write(container.id, b"up")
    agent.until(lambda: got == [b"up"])


def test_a_reboot_begins_a_new_log(agent: ScriptedAgent, location: Location) -> None:
    got: list[Any] = []
    container = location.best_node().spawn_container(
        "nginx", stdout_callback=lambda c, data: got.append(data)
    )
    container.wait_until_ready(10)
    agent.write(container.id, b"first life")
    agent.until(lambda: got == [b"first life"])

    def reboot(scripted: ScriptedAgent, message: Any) -> Any:
        old = scripted.processes[container.id]
        old.returncode, old.ended = -9, True
        info = scripted.containers[container.id]
        scripted._changed(process=old)
        scripted._changed({**info, "state": "starting"})
        fresh = scripted.processes[container.id] = FakeProcess(container.id, container.id)
        scripted._changed(process=fresh)
        scripted._changed(info)
        return {}, None

    agent.answers["container.reboot"] = reboot
    assert container.reboot() is container
    assert container.main.returncode is None
    agent.write(container.id, b"second life")
    agent.until(lambda: got == [b"first life", b"second life"])
    assert container.logs() == b"second life"


def test_logs(agent: ScriptedAgent, container: Container) -> None:
    agent.write(container.id, b"a\nb\nc\n")
    agent.write(container.id, b"x\ny\n", stream=2)
    agent.until(lambda: container.logs() == b"a\nb\nc\nx\ny\n")
    assert container.logs("stdout") == b"a\nb\nc\n"
    assert container.logs("stderr", tail=1) == b"y\n"
    assert container.logs(tail=2) == b"b\nc\nx\ny\n"
    assert container.logs(tail=0) == b""
    with pytest.raises(Misuse):
        container.logs("both")  # type: ignore[arg-type]


# -- processes


def test_running_a_process(agent: ScriptedAgent, container: Container) -> None:
    def spawn(scripted: ScriptedAgent, message: Any) -> Any:
        reply = scripted._process_spawn(message)
        ident = message.body["process"]
        scripted.write(ident, b"out")
        scripted.write(ident, b"err", stream=2)
        scripted.end(ident, 3)
        return reply

    agent.answers["process.spawn"] = spawn
    agent.says = True
    assert container.run_process("x", input=b"in") == (b"out", b"err", 3)
    (asked,) = agent.named("process.spawn")
    assert (asked.payload, asked.body["last"]) == (b"in", True)
    assert not agent.named("process.stdin") and not agent.named("log.read")
    with pytest.raises(ProcessFailed, match="code 3. err") as caught:
        container.run_process("x", check=True)
    assert caught.value.details == {"stdout": b"out", "stderr": b"err", "returncode": 3}


def test_a_process_that_takes_too_long(agent: ScriptedAgent, container: Container) -> None:
    def spawn(scripted: ScriptedAgent, message: Any) -> Any:
        reply = scripted._process_spawn(message)
        assert message.body["timeout"] == 0.5
        scripted.processes[message.body["process"]].timed_out = True
        scripted.end(message.body["process"], -9)
        return reply

    agent.answers["process.spawn"] = spawn
    with pytest.raises(WaitTimeout, match=r"within 0\.5 s"):
        container.run_process("sleep 5", timeout=0.5)


def test_a_shell(agent: ScriptedAgent, container: Container) -> None:
    shell = container.spawn_shell(size=(10, 20), user="nobody")
    body = agent.named("process.spawn")[0].body
    assert shell.command == "login shell"
    assert (body["tty"], body["login"], body["rows"], body["columns"]) == (True, True, 10, 20)
    assert body["command"][:2] == ["/bin/sh", "-c"]
    assert body["user"] == "nobody"
    container.spawn_shell(command=["/bin/zsh", "-l"], cwd="/tmp")
    body = agent.named("process.spawn")[1].body
    assert (body["command"], body["cwd"]) == (["/bin/zsh", "-l"], "/tmp")


def test_processes_of_others_are_found(agent: ScriptedAgent, container: Container) -> None:
    own = container.spawn_process("mine")
    started = FakeProcess("f" * 32, container.id, "theirs")
    agent.processes[started.ident] = started
    agent.do(lambda: agent._changed(process=started))
    agent.until(lambda: container._link.known.process(started.ident))
    found = {process.id: process for process in container.all_processes()}
    assert set(found) == {own.id, "f" * 32}
    assert found[own.id] is own
    theirs = found["f" * 32]
    assert container.all_processes()[-1] is theirs
    agent.write(theirs.id, b"hello")
    agent.end(theirs.id, 1)
    assert theirs.wait_until_complete(10) == b"hello"
    assert container.all_processes() == [own]
    assert {p.id for p in container.all_processes(ended=True)} == set(found)


# -- files


def test_putting(agent: ScriptedAgent, container: Container, tmp_path: Path) -> None:
    container.put("/a", b"")
    container.put("/b", "text", mode=0o600, user=5)
    big = bytes(2 * MAX_CHUNK + 1)
    container.put("/c", big)
    file = tmp_path / "file"
    file.write_bytes(big)
    container.put("/d", file)
    (tmp_path / "empty").touch()
    container.put("/e", tmp_path / "empty")
    told: dict[str, list[Any]] = {}
    for message in agent.named("file.put"):
        told.setdefault(message.body["path"], []).append(message)
    for path in ("/c", "/d"):  # large ones ask for a pipe, and this agent has none
        assert told[path].pop(0).body["reader"]
    assert [(m.payload, m.body["last"]) for m in told["/a"] + told["/e"]] == [(b"", True)] * 2
    assert [(m.payload, m.body["mode"], m.body["user"]) for m in told["/b"]] == [
        (b"text", 0o600, "5")
    ]
    for path in ("/c", "/d"):
        assert b"".join(m.payload for m in told[path]) == big
        assert [m.body["last"] for m in told[path]] == [False, False, True]
        assert len({m.body["transfer"] for m in told[path]}) == 1


def test_pieces_of_a_file_do_not_wait_for_one_another(
    agent: ScriptedAgent, container: Container
) -> None:
    held = list[Any]()

    def hold(agent: ScriptedAgent, message: Any) -> Any:
        if message.body.get("drop") or message.body.get("reader"):
            return {}, None
        held.append(message)
        if len(held) == 4:
            agent.refuse(held[0], FileError("Cannot put '/c': no space left on device."))
        return NotImplemented

    agent.answers["file.put"] = hold
    with pytest.raises(FileError, match="no space"):
        container.put("/c", bytes(9 * MAX_CHUNK))
    assert [message.body["offset"] for message in held] == [n * MAX_CHUNK for n in range(4)]
    agent.until(lambda: agent.named("file.put")[-1].body.get("drop"))


@pytest.mark.parametrize("path", ["../x", "x", "/a/../../x", ""])
def test_paths_that_lead_out(agent: ScriptedAgent, container: Container, path: str) -> None:
    for use in (
        lambda: container.put(path, b""),
        lambda: container.fetch(path),
        lambda: container.listdir(path),
        lambda: container.mkdir(path),
    ):
        with pytest.raises(FileError, match=r"absolute path without '\.\.'"):
            use()
    assert not any(message.name.startswith("file.") for message in agent.requests)


def get(data: bytes) -> Any:
    def answer(agent: ScriptedAgent, message: Any) -> Any:
        number = message.body["reader"]
        for start in range(0, len(data), 1 << 18):
            body = {"reader": number, "offset": start}
            agent._tell("data", body, data[start : start + (1 << 18)])
        agent._tell("eof", {"reader": number, "offset": len(data)})
        return {"size": len(data), "mode": 0o644}, None

    return answer


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_fetching(agent: ScriptedAgent, container: Container, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    agent.answers["file.get"] = get(data)
    assert container.fetch("/x") == data


def test_a_file_that_is_not_there(agent: ScriptedAgent, container: Container) -> None:
    def refuse(*_: object) -> Any:
        raise FileError("Cannot fetch '/x': not there. Look.", errno=2)

    agent.answers["file.get"] = refuse
    with pytest.raises(FileError) as caught:
        container.fetch("/x")
    assert caught.value.details["errno"] == 2
    assert not container._link._sinks


def test_a_download_ends_with_the_link(agent: ScriptedAgent, container: Container) -> None:
    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        scripted.raw([b"nonsense"])
        return {"size": 5}, None

    agent.answers["file.get"] = answer
    with pytest.raises(LinkClosed):
        container.fetch("/x")


def test_listing(agent: ScriptedAgent, container: Container) -> None:
    entries = [
        {
            "name": "sub",
            "kind": 0o040000,
            "size": 0,
            "mode": 0o755,
            "uid": 0,
            "gid": 0,
            "mtime": 1.5,
        },
        {"name": "a", "kind": 0o120000, "mode": 0o777, "link": "sub"},
        {"name": "f", "kind": 0o100000, "size": 5, "mode": 0o600},
    ]
    agent.answers["file.list"] = lambda a, m: ({"entries": entries}, None)
    found = container.listdir("/x")
    assert [(e.name, e.kind) for e in found] == [("a", "link"), ("f", "file"), ("sub", "directory")]
    assert found[0].link == "sub"
    assert (found[1].size, found[1].mode) == (5, 0o600)


# -- ports


def dials(agent: ScriptedAgent, answer: bytes | None, *, open_after: int = 0) -> None:
    """A server in the container: says ``answer`` to everything, or is not there."""
    tries = iter(range(10_000))

    def dial(scripted: ScriptedAgent, message: Any) -> Any:
        if answer is None or next(tries) < open_after:
            raise PortClosed("Cannot connect: refused. Start it.")
        number = message.body["reader"]
        scripted._tell("dial.credit", {"reader": number, "upto": 1000})
        scripted._tell("data", {"reader": number, "offset": 0}, answer)
        return {}, None

    agent.answers["dial.open"] = dial


def test_waiting_for_http(agent: ScriptedAgent, container: Container) -> None:
    dials(agent, b"HTTP/1.1 200 OK\r\n\r\n", open_after=3)
    tunnel = container.wait_http_200(8080, "example.org", "health", timeout=20)
    assert tunnel.dest_port == 8080
    assert container.all_tunnels() == [tunnel]
    said = agent.until(lambda: [m.payload for m in agent.notes if m.name == "dial.data"])
    request = said[0]
    assert request.startswith(b"GET /health HTTP/1.1\r\nHost: example.org\r\n")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 404 Not Found\r\n", "404 Not Found"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n", "301 Moved"),
        (b"SSH-2.0-x\r\n", "closed without an answer"),
        (None, "nothing listens there"),
    ],
)
def test_answers_that_are_not_200(
    agent: ScriptedAgent, container: Container, answer: bytes | None, complaint: str
) -> None:
    dials(agent, answer)
    agent.write(container.id, b"cannot bind\n")
    with pytest.raises(PortClosed, match=complaint) as caught:
        container.wait_http_200(timeout=0.3)
    assert "cannot bind" in str(caught.value)
    assert caught.value.details["log"] == b"cannot bind\n"
    assert container.all_tunnels() == []


def test_waiting_for_a_port(agent: ScriptedAgent, container: Container) -> None:
    dials(agent, b"", open_after=2)
    assert container.wait_tcp(5432, timeout=10) is container
    dials(agent, None)
    with pytest.raises(PortClosed):
        container.wait_tcp(5432, timeout=0.05)


def test_bad_arguments_of_ports(container: Container) -> None:
    for use in (
        lambda: container.wait_http_200(0),
        lambda: container.wait_http_200(fqdn=""),
        lambda: container.wait_http_200(path="a b"),
        lambda: container.wait_http_200(localport=70000),
        lambda: container.wait_tcp(-1),
        lambda: container.attach_tunnel(65536),
        lambda: container.attach_tunnel(80, localport=0),
        lambda: container.attach_tunnel(80, bind=""),
    ):
        with pytest.raises(Misuse):
            use()


def test_tunnels(container: Container) -> None:
    tunnel = container.attach_tunnel(80)
    port = tunnel.port
    assert port == tunnel.localport()
    assert tunnel.url() == f"http://127.0.0.1:{port}/"
    assert tunnel.url("/a", scheme="https") == f"https://127.0.0.1:{port}/a"
    assert repr(tunnel) == f"<Tunnel 127.0.0.1:{port} to port 80 of {container._called}>"
    with pytest.raises(TunnelError, match=rf"127\.0\.0\.1:{port} is in use.*free one"):
        container.attach_tunnel(80, localport=port)
    with pytest.raises(TunnelError, match="address of this machine"):
        container.attach_tunnel(80, bind="192.0.2.1")
    container.destroy_tunnel(tunnel)
    assert container.all_tunnels() == []
    for use in (
        lambda: container.destroy_tunnel(tunnel),
        tunnel.destroy,
        tunnel.localport,
        tunnel.url,
    ):
        with pytest.raises(TunnelGone):
            use()
    with pytest.raises(Misuse):
        container.destroy_tunnel(None)  # type: ignore[arg-type]
    again = container.attach_tunnel(80, localport=port)
    container.destroy()
    with pytest.raises(TunnelGone):
        _ = again.port
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5)


# -- statistics


def test_stats(agent: ScriptedAgent, container: Container) -> None:
    samples = iter(
        [
            {"clock": 10 * 10**9, "cpu": 1_000_000, "memory": 5, "pids": 2},
            {"clock": 12 * 10**9, "cpu": 2_000_000, "memory": 6, "pids": 2},
            {},
        ]
    )
    agent.answers["container.stats"] = lambda a, m: ({"sample": next(samples)}, None)
    first = container.stats()
    assert (first.memory, first.pids, first.cpu_seconds, first.read) == (5, 2, 1.0, None)
    second = container.stats()
    assert second.cpu == pytest.approx(50.0)
    assert second.time == 12.0
    assert container.stats().cpu is None


def test_its_address(agent: ScriptedAgent, container: Container) -> None:
    assert container.ip() == ""
    agent.set_state(container.id, "running", ip="10.0.0.5")
    agent.until(lambda: container.ip() == "10.0.0.5")
