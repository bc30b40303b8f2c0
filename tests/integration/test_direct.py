"""The direct path: real Jupyter servers, websockets as a browser has them, real processes."""

import ctypes
import hashlib
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest
import websocket
from integration.jupyter import DirectPage, JupyterServer, close_code, hello, ticket
from integration.notebook import Notebook
from integration.page import Page, PageView
from integration.polling import Clock, until
from integration.world import World
from jupyter_client.blocking.client import BlockingKernelClient

from tfnz_notebook._wire import view as wire
from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process

# It makes no difference to a server where its processes run; what streams long is long on another.
pytestmark = pytest.mark.engines("host")
on_two = pytest.mark.engines("host", "podman", anywhere=True)

ELSEWHERE = "http://elsewhere.example"
NUMBERED = (
    "import sys, hashlib\n"
    "digest = hashlib.sha256()\n"
    "for number in range({blocks}):\n"
    "    piece = number.to_bytes(8, 'big') * 8192\n"
    "    digest.update(piece); sys.stdout.buffer.write(piece)\n"
    "sys.stdout.flush(); print(digest.hexdigest(), file=sys.stderr)\n"
)


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[JupyterServer]:
    with JupyterServer(world, "--log-level=DEBUG") as started:
        yield started


@pytest.fixture
def cat(box: Container) -> Iterator[Process]:
    process = box.spawn_process("cat")
    yield process
    if process.returncode is None:
        box.destroy_process(process)


def whole(page: DirectPage, **fields: object) -> PageView:
    """A view that is open and gets every byte."""
    view = page.open(mode="all", **{"window": 1 << 18, "from": {"1": 0, "2": 0}, **fields})
    view.window = 1 << 18
    view.until(lambda: view.opened or view.closed or page.code)
    return view


# --- what it carries -----------------------------------------------------------------------------


@on_two
def test_a_process_is_read_written_and_seen_to_end(server: JupyterServer, cat: Process) -> None:
    with DirectPage(server, ticket(cat)) as page:
        view = whole(page)
        assert view.info["state"] == "running"
        view.type(b"hello\n")
        view.until(lambda: bytes(view.streams[1]) == b"hello\n" and view.acks == [6])
        view.say("eof", offset=6)
        view.until(lambda: view.eof.get(1) == 6 and view.info["state"] == "ended")
        assert view.info["returncode"] == 0
    assert cat.wait(10) == 0


@on_two
def test_a_terminal_is_resized_and_interrupted(server: JupyterServer, box: Container) -> None:
    process = box.spawn_process("stty size; read x; stty size; exec sleep 60", tty=True)
    with DirectPage(server, ticket(process)) as page:
        view = whole(page, rows=11, columns=33)
        view.until(lambda: view.info["rows"] == 11)
        view.say("resize", rows=12, columns=34)
        view.type(b"\n")
        view.until(lambda: b"12 34" in view.streams[1])
        view.say("signal", signal="INT")
        view.until(lambda: view.info["state"] == "ended")
        assert view.info["returncode"] == -signal.SIGINT


def test_a_view_goes_from_one_carrier_to_the_other(server: JupyterServer, box: Container) -> None:
    process = box.spawn_process(["python3", "-c", NUMBERED.format(blocks=300)])
    expected = b"".join(number.to_bytes(8, "big") * 8192 for number in range(300))
    comm = Page(process)
    got = b""
    while len(got) < len(expected):
        for carrier in (comm, None):
            page = carrier or DirectPage(server, ticket(process))
            view = page.open(mode="all", window=1 << 16, **{"from": {"1": len(got), "2": 0}})
            view.until(lambda: len(view.streams[1]) > 2_000_000 or 1 in view.eof)  # noqa: B023
            view.say("close")
            assert view.opened["streams"][0][1] == len(got)
            got += bytes(view.streams[1])
            if isinstance(page, DirectPage):
                page.close()
    assert got == expected


def test_twenty_views_at_once(server: JupyterServer, box: Container) -> None:
    processes = [box.spawn_process(["python3", "-c", NUMBERED.format(blocks=20)]) for _ in range(4)]
    pages = [DirectPage(server, ticket(process)) for process in processes for _ in range(5)]
    views = [whole(page) for page in pages]
    for view in views:
        view.until(lambda view=view: 1 in view.eof and 2 in view.eof)
        digest = hashlib.sha256(view.streams[1]).hexdigest()
        assert (view.skipped, view.streams[2].decode().strip()) == (0, digest)
    for page in pages:
        page.close()


def test_its_first_byte_is_not_delayed_and_never_compressed(
    server: JupyterServer, cat: Process
) -> None:
    with DirectPage(server, ticket(cat)) as page:
        whole(page)
        assert "sec-websocket-extensions" not in page.socket.headers
        with _same_socket(server.process.pid, page.socket.sock.getsockname()) as theirs:
            assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def _same_socket(pid: int, peer: tuple[str, int]) -> socket.socket:
    """The server's end of our connection, by pidfd_getfd(2)."""
    (fd,) = [
        each.fd
        for each in psutil.Process(pid).net_connections("tcp")
        if each.raddr and (each.raddr.ip, each.raddr.port) == peer
    ]
    pidfd = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, fd, 0)
        assert copy >= 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(pidfd)
    return socket.socket(fileno=copy)


# --- who may -------------------------------------------------------------------------------------


def refused(server: JupyterServer, **options: object) -> int:
    """The HTTP status instead of a websocket."""
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        server.connect(**options)
    return int(caught.value.status_code)


def test_a_token_opens_it(server: JupyterServer, cat: Process) -> None:
    assert refused(server, token=None) == 403
    assert refused(server, token="wrong") == 403
    with DirectPage(server, ticket(cat)) as page:
        assert whole(page).opened


def test_a_password_opens_it_under_another_address(world: World, cat: Process) -> None:
    with JupyterServer(world, "--ServerApp.base_url=/some/where", password=True) as server:
        assert server.url.endswith("/some/where/")
        assert refused(server) == 403
        cookie = server.login()
        assert refused(server, cookie=re.sub("[0-9a-f]{8}", "0" * 8, cookie)) == 403
        with DirectPage(server, ticket(cat), cookie=cookie) as page:
            assert whole(page).opened
        for origin in (ELSEWHERE, "null"):  # another site's page, which has the cookie, too
            assert refused(server, cookie=cookie, origin=origin) == 403


@pytest.mark.parametrize(
    "setting",
    [
        f"--ServerApp.allow_origin={ELSEWHERE}",
        r"--ServerApp.allow_origin_pat=http://else.*\.example",
    ],
)
def test_a_page_from_elsewhere_is_let_in_where_the_server_says_so(
    world: World, setting: str
) -> None:
    with JupyterServer(world, setting, password=True) as server:
        cookie = server.login()
        server.connect(cookie=cookie, origin=ELSEWHERE).close()
        assert refused(server, origin=ELSEWHERE) == 403
        assert refused(server, cookie=cookie, origin="http://third.example") == 403


def test_the_servers_authorizer_is_asked(world: World) -> None:
    module = (
        "from jupyter_server.auth import Authorizer\n"
        "class Reader(Authorizer):\n"
        "    def is_authorized(self, handler, user, action, resource):\n"
        "        return (action, resource) != ('execute', 'kernels')\n"
    )
    setting = "--ServerApp.authorizer_class=only_readers.Reader"
    with JupyterServer(world, setting, files={"only_readers.py": module}) as server:
        assert server.request("GET", "api/kernels") == []
        assert refused(server) == 403


def test_only_the_ticket_of_the_process_is_taken(
    server: JupyterServer, box: Container, cat: Process, own_world: Callable[..., World]
) -> None:
    told, other = ticket(cat), ticket(box.spawn_process("true"))
    for wrong in (
        {"ticket": other["ticket"]},
        {"ticket": "0" * 64},
        {"ticket": ""},
        {"ticket": told["ticket"].upper()},
        {"process": other["process"]},
        {"process": "../" + told["process"]},
        {"agent": ""},
        {"agent": "../" + told["agent"]},
        {"version": 99},
        {"ticket": None},
    ):
        connection = server.connect()
        hello(connection, told, **wrong)
        assert close_code(connection) == 4403, wrong
    own_world()  # another user's, say: an agent with a secret of its own
    with Location("host") as location:
        stranger = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
        foreign = ticket(stranger.spawn_process("cat"))
    for each in (foreign, {**told, "ticket": foreign["ticket"]}):
        connection = server.connect()
        hello(connection, {**each, "agent": told["agent"]})
        assert close_code(connection) == 4403


def test_an_agent_that_is_not_there_is_not_started(
    server: JupyterServer, world: World, cat: Process
) -> None:
    before = world.agents()
    for name in ("nobody", "docker-tcp"):
        connection = server.connect()
        hello(connection, ticket(cat), agent=name)
        assert close_code(connection) == 4404
    assert world.agents() == before


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"garbage",
        wire.pack({"t": "open", "view": "ab" * 8, "subject": "x"}),
        wire.pack({"t": "hello"}),
        "text",
    ],
)
def test_what_is_no_hello(server: JupyterServer, first: bytes | str) -> None:
    connection = server.connect()
    if isinstance(first, str):
        connection.send(first)
    else:
        connection.send_binary(first)
    assert close_code(connection) == 4403


def test_a_socket_that_says_nothing_is_closed(server: JupyterServer) -> None:
    with Clock() as clock:
        assert close_code(server.connect()) == 4403
    assert 4 < clock.seconds < 15


def test_tickets_and_what_is_typed_are_in_no_log(
    world: World, server: JupyterServer, cat: Process
) -> None:
    told = ticket(cat)
    with DirectPage(server, told) as page:
        view = whole(page)
        view.type(b"my secret\n")
        view.until(lambda: view.acks)
        page.socket.send_binary(b"\xff")
        view.until(lambda: page.code)
    connection = server.connect()
    hello(connection, told, ticket="f" * 64)
    close_code(connection)
    agents = "".join(path.read_text() for path in world.runtime.glob("*.log"))
    log = server.log() + agents
    assert "tfnz/views" in log
    for secret in (told["ticket"], "f" * 64, "my secret"):
        assert secret not in log
    assert "Traceback" not in log


# --- bad input, slow pages -----------------------------------------------------------------------


def test_garbage_ends_its_own_socket_alone(server: JupyterServer, cat: Process) -> None:
    with DirectPage(server, ticket(cat)) as bystander:
        quiet = whole(bystander)
        for garbage, code in (
            (b"", 4400),
            (b"\xff\xff\xff\xff{}", 4400),
            (b"\x05\0\0\0{...}", 4400),
            (bytes(wire.MAX_MESSAGE + 1), 1009),
            (bytes(64 << 20), 1009),
        ):
            with DirectPage(server, ticket(cat)) as page:
                view = whole(page)
                try:
                    page.socket.send_binary(garbage)
                except OSError:
                    pass  # it is closed before all was sent
                view.until(lambda page=page: page.code)
                assert page.code in (code, 1006), "1006: closed while we were still sending"
        quiet.type(b"still here\n")
        quiet.until(lambda: b"still here" in quiet.streams[1])


def test_a_page_that_asks_and_does_not_read_is_closed(
    server: JupyterServer, box: Container
) -> None:
    process = box.spawn_process("exec cat /dev/zero")
    before = psutil.Process(server.process.pid).memory_info().rss
    connection = server.connect()
    hello(connection, ticket(process))
    view = {"view": "ab" * 8}
    connection.send_binary(wire.pack({"t": "open", **view, "subject": "x", "mode": "all"}))

    def more() -> bool:
        # Whoever is closed cannot send: that is how we see it without reading.
        try:
            connection.send_binary(wire.pack({"t": "credit", **view, "stream": 1, "upto": 1 << 50}))
        except (OSError, websocket.WebSocketException):
            return True
        return False

    until(more, 60, "the server closes it")
    grown = psutil.Process(server.process.pid).memory_info().rss - before
    assert grown < 64 << 20, f"{grown} bytes"
    connection.shutdown()
    box.destroy_process(process)


def test_a_page_that_reads_nothing_holds_no_pipe_back(
    server: JupyterServer, box: Container
) -> None:
    process = box.spawn_process("head -c 100000000 /dev/zero")
    with DirectPage(server, ticket(process)) as page:
        view = page.open(takes=False, mode="tail", keep=100_000, window=50_000)
        assert process.wait(60) == 0
        view.until(lambda: view.info.get("state") == "ended")
        assert len(view.streams[1]) <= 50_000


# --- breaks --------------------------------------------------------------------------------------


@pytest.fixture
def fragile(own_world: Callable[..., World], where: str) -> Iterator[tuple[World, Location]]:
    """A world and a location whose agent may be killed."""
    world = own_world()
    with Location(where) as location:
        yield world, location


@on_two
def test_no_byte_is_lost_or_doubled_when_agents_are_killed(
    fragile: tuple[World, Location],
) -> None:
    world, location = fragile
    box = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    script = "import sys; sys.stdin.readline()\n" + NUMBERED.format(blocks=1000)
    process = box.spawn_process(["python3", "-c", script])
    with JupyterServer(world) as server, DirectPage(server, ticket(process)) as page:
        view = whole(page)  # PageView fails on a byte that comes twice
        view.type(b"begin\n")
        for part in (1, 2):
            view.until(lambda part=part: len(view.streams[1]) > part * 13_000_000)
            assert 1 not in view.eof, "it is killed in the middle"
            world.kill_agent(location.engine)
        view.until(lambda: 1 in view.eof and 2 in view.eof, 60)
        assert view.skipped == 0
        assert view.eof[1] == len(view.streams[1]) == 1000 << 16
        digest = hashlib.sha256(view.streams[1]).hexdigest()
        assert view.streams[2].decode().strip() == digest
        assert page.code is None, "it was one and the same websocket"


@on_two
def test_a_killed_kernel_does_not_stop_a_terminal(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world(TFNZ_SESSION_GRACE="4")
    code = (
        "from tfnz_notebook.location import Location\n"
        "from tfnz_notebook._link.thread import wait\n"
        "box = Location().best_node().spawn_container('debian', sleep=True).wait_until_ready()\n"
        "shell = box.spawn_process(['sh'], tty=True, env={'PS1': '$ '})\n"
        "told = wait(shell._link.request('process.ticket', {'process': shell.id})).body\n"
        "import json; print(json.dumps({'process': shell.id, **told}))\n"
    )
    with JupyterServer(world) as server, Notebook(world, where) as notebook:
        told = json.loads(notebook.text(notebook.run(code)))
        with DirectPage(server, told) as page:
            view = whole(page)
            # Not the shell's own loop: while it starts a program it may forget a ^C.
            loop = b"sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done'\n"
            view.type(loop)
            view.until(lambda: b"line 20\r\n" in view.streams[1])
            notebook.process.kill()
            notebook.process.wait()
            seen = len(view.streams[1])
            view.until(lambda: len(view.streams[1]) > seen + 500)
            view.type(b"\x03")
            view.type(b"echo al''ive\n")
            view.until(lambda: b"alive\r\n" in view.streams[1])
            lines = re.findall(rb"line (\d+)\r\n", bytes(view.streams[1]))
            assert [int(line) for line in lines] == list(range(1, len(lines) + 1))
            # Nobody comes back for the session: it ends, and the view is told.
            view.until(lambda: view.closed == "gone", 30)


def test_a_view_of_a_container_that_goes(
    server: JupyterServer, spawn: Callable[..., Container]
) -> None:
    box = spawn(sleep=True).wait_until_ready()
    process = box.spawn_process("cat")
    told = ticket(process)
    with DirectPage(server, told) as page:
        view = whole(page)
        box.node.destroy_container(box)
        view.until(lambda: view.closed == "gone")
    with DirectPage(server, told) as page:
        assert whole(page).closed == "gone"


def test_a_server_that_ends_leaves_no_viewer(world: World, box: Container) -> None:
    process = box.spawn_process("cat", tty=True)
    with JupyterServer(world) as server:
        page = DirectPage(server, ticket(process))
        view = whole(page)
        view.window = None
    view.until(lambda: page.code)
    page.close()
    # A terminal is held back by whoever does not read. The one that went does not count.
    process.stdin(b"x" * 60 + b"\n")
    until(lambda: b"x" * 60 in process.stdout, 10, "it goes on")
    box.destroy_process(process)


def test_many_come_and_go(server: JupyterServer, cat: Process) -> None:
    told = ticket(cat)
    descriptors = psutil.Process(server.process.pid).num_fds

    def visit() -> None:
        for _ in range(10):
            with DirectPage(server, told) as page:
                assert whole(page).opened

    visit()
    before = descriptors()
    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    until(lambda: descriptors() <= before + 8, 20, "nothing of them is left", every=0.2)


# --- the server's end ----------------------------------------------------------------------------

#: A kernel with a container, whose cell goes on whatever asks it to end.
STUBBORN = (
    "import signal, time\n"
    "from tfnz_notebook.location import Location\n"
    "location = Location('host')\n"
    "box = location.best_node().spawn_container('debian', sleep=True).wait_until_ready()\n"
    "signal.signal(signal.SIGINT, lambda *_: None)\n"
    "print('busy', flush=True)\n"
    "while True: time.sleep(1)"
)


def test_a_server_that_is_stopped_leaves_nothing(own_world: Callable[..., World]) -> None:
    """As a Hub's Stop does it, a service's, and Ctrl-C after the question."""
    world = own_world()
    with JupyterServer(world) as server:
        ident = server.request("POST", "api/kernels", {"name": "python3"})["id"]
        client = BlockingKernelClient()
        client.load_connection_file(str(server.runtime / f"kernel-{ident}.json"))
        client.start_channels()
        client.wait_for_ready(60)
        client.execute(STUBBORN)
        until(lambda: len(world.holds("host")) == 1, 60, "it has a container")
        while client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
            pass
        client.stop_channels()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not world.holds("host"), 5, "nothing is left")
