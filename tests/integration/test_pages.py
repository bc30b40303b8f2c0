"""What a container serves, through the Jupyter server: it passes whole, and gets at nothing."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from email.message import Message
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import pytest
import websocket
from integration.jupyter import TOKEN, JupyterServer, ticket
from integration.world import World

from tfnz_notebook._link.thread import wait
from tfnz_notebook.container import Container

# It makes no difference to a server where its ports are.
pytestmark = pytest.mark.engines("host")

NOTHING: Mapping[str, str] = {}
#: Says what it was asked, and answers as its path says: hostile where it can be.
SERVER = r"""
import base64, hashlib, json, socket, sys, threading
EVIL = ["Set-Cookie: sid=1; Path=/; Domain=localhost; Max-Age=6", "Set-Cookie: _xsrf=evil",
        "Clear-Site-Data: *", "Strict-Transport-Security: max-age=9", "Service-Worker-Allowed: /",
        "X-Accel-Redirect: /etc/passwd", "Access-Control-Allow-Origin: *",
        "WWW-Authenticate: Basic",
        "Content-Security-Policy: sandbox allow-same-origin allow-top-navigation"]
def answer(connection):
    with connection, connection.makefile("rb") as lines:
        method, path, _ = lines.readline().decode().split()
        headers = []
        while (line := lines.readline().strip()):
            name, _, value = line.decode().partition(": ")
            headers.append((name.lower(), value))
        told = dict(headers)
        def say(status, *more, body=b""):
            head = [f"HTTP/1.1 {status}", *more, f"Content-Length: {len(body)}", "", ""]
            connection.sendall("\r\n".join(head).encode() + body)
        if path.startswith("/ws"):
            key = told["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            connection.sendall(("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\nSet-Cookie: a=b\r\n\r\n").encode())
            while (data := connection.recv(65536)):  # frames go back, unmasked but for their head
                if data[0] & 15 == 8:
                    break
                mask, payload = data[2:6], data[6:]
                plain = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
                connection.sendall(bytes([data[0], len(plain)]) + plain)
        elif path == "/sum":
            digest, left = hashlib.sha256(), int(told["content-length"])
            while left:
                piece = lines.read(min(left, 1 << 20))
                digest.update(piece)
                left -= len(piece)
            say("200 OK", body=digest.hexdigest().encode())
        elif path.startswith("/big"):
            size = int(path.partition("?")[2]) << 20
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            for number in range(size >> 20):
                connection.sendall(number.to_bytes(8, "big") * (1 << 17))
        elif path == "/cut":
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"5\r\nhello\r\n")
        elif path == "/garbage":
            connection.sendall(b"\x00\x01 this is not HTTP\r\n\r\n")
        elif path.startswith("/to"):
            say("302 Found", "Location: " + path.partition("?")[2])
        elif path == "/evil":
            say("200 OK", *EVIL, "Content-Type: text/html", body=b"<p>")
        else:
            say("200 OK", body=json.dumps([method, path, headers]).encode())
server = socket.create_server(("127.0.0.1", 0), backlog=128)
print(server.getsockname()[1], flush=True)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[JupyterServer]:
    with JupyterServer(world, "--ServerApp.base_url=/user/a+b%40c/") as started:
        yield started


@pytest.fixture(scope="module")
def port(box: Container) -> Iterator[int]:
    process = box.spawn_process(["python3", "-c", SERVER])
    yield int(next(iter(process.lines())))
    box.destroy_process(process)


def address(box: Container, port: int, wrong: Mapping[str, str] = NOTHING) -> str:
    """Where a notebook's link leads."""
    reply = wait(box._link.request("dial.ticket", {"container": box.id, "port": port}))
    told = {**reply.body, "container": box.id, "port": str(port), **wrong}
    return "tfnz/port/{agent}/{container}/{port}/{ticket}".format(**told)


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


def ask(
    server: JupyterServer, path: str, method: str = "GET", body: bytes | None = None, **more: str
) -> Answer:
    """One request, without following anything; ``path`` from the server's root."""
    parts = urlsplit(server.url)
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        with connection.getresponse() as answer:
            return Answer(answer.status, answer.headers, answer.read())


def enter(server: JupyterServer, box: Container, port: int, to: str = "/") -> str:
    """As a click on the link: the page's address."""
    where = f"{urlsplit(server.url).path}{address(box, port)}?to={quote(to, safe='')}"
    answer = ask(server, where, Authorization=f"token {TOKEN}")
    assert answer.status == 302, answer.body
    found = answer.headers["Location"]
    assert found.startswith(f"{urlsplit(server.url).path}tfnz/page/")
    return found


@pytest.fixture(scope="module")
def page(server: JupyterServer, box: Container, port: int) -> str:
    return enter(server, box, port).rstrip("/")


# --- what passes ---------------------------------------------------------------------------------


def test_a_page_is_asked_for_as_it_would_be_there(
    server: JupyterServer, box: Container, port: int
) -> None:
    to = "/a%20b/c;d?token=theirs&x=%2F%C3%A4&y"
    found = enter(server, box, port, to)
    method, path, headers = json.loads(ask(server, found, Accept="text/x").body)
    assert (method, path) == ("GET", to)
    assert dict(headers)["host"] == f"localhost:{port}" and dict(headers)["accept"] == "text/x"


def test_bodies_of_any_size_pass_both_ways(server: JupyterServer, page: str) -> None:
    body = bytes(range(256)) * 4096 * 20
    for more in ({}, {"Expect": "100-continue"}):
        answer = ask(server, f"{page}/sum", "POST", body, Origin="null", **more)
        assert answer.body.decode() == hashlib.sha256(body).hexdigest()
    got = ask(server, f"{page}/big?40").body
    assert got == b"".join(number.to_bytes(8, "big") * (1 << 17) for number in range(40))


def test_redirects_stay_where_they_lead(server: JupyterServer, page: str, port: int) -> None:
    for said, found in (
        ("/x?y", f"{page}/x?y"),
        (f"http://127.0.0.1:{port}/x", f"{page}/x"),
        (f"http://localhost:{port}", f"{page}/"),
        ("x/y", "x/y"),
        ("https://example.org/x", "https://example.org/x"),
        (f"http://localhost:{port + 1}/", f"http://localhost:{port + 1}/"),
    ):
        answer = ask(server, f"{page}/to?{said}")
        assert (answer.status, answer.headers["Location"]) == (302, found)


def test_a_cut_is_no_end(server: JupyterServer, page: str) -> None:
    with pytest.raises(Exception, match="IncompleteRead"):
        ask(server, f"{page}/cut")
    answer = ask(server, f"{page}/garbage")
    assert answer.status == 502 and b"Cannot show this page" in answer.body


def connect(server: JupyterServer, page: str, origin: str | None) -> websocket.WebSocket:
    url = server.origin.replace("http", "ws") + f"{page}/ws"
    return websocket.create_connection(
        url, timeout=20, suppress_origin=origin is None, **({"origin": origin} if origin else {})
    )


def test_the_direct_path_has_the_same_root(server: JupyterServer) -> None:
    server.connect().close()


def test_websockets(server: JupyterServer, page: str) -> None:
    connection = connect(server, page, "null")
    assert connection.getheaders()["set-cookie"].startswith("tfnz-")
    for text in ("hello", "again" * 20):
        connection.send(text)
        assert connection.recv() == text
    connection.close()


def test_an_address_that_a_process_wrote_leads_to_its_containers_port(
    server: JupyterServer, box: Container, port: int, page: str
) -> None:
    told = ticket(box.spawn_process("cat"))
    base = urlsplit(server.url).path
    known = {"Authorization": f"token {TOKEN}"}
    where = f"{base}tfnz/written/{told['agent']}/{told['process']}/{port}/"
    answer = ask(server, f"{where}{told['ticket']}?to=%2Fx", **known)
    assert (answer.status, answer.headers["Location"]) == (302, f"{page}/x")
    assert ask(server, f"{where}{'0' * 64}?to=%2Fx", **known).status == 403
    assert "/login" in ask(server, f"{where}{told['ticket']}").headers["Location"]


# --- what does not -------------------------------------------------------------------------------


def test_no_secret_of_the_servers_goes_in(server: JupyterServer, page: str) -> None:
    mark = ask(server, f"{page}/evil").headers.get_all("Set-Cookie")[0].partition("sid=")[0]
    secret = {
        "Cookie": f"_xsrf=secret; username-localhost-8888=secret; {mark}sid=1; sid=secret",
        "Authorization": "token secret",
        "X_XSRFToken": "secret",
        "Referer": "http://localhost/lab?token=secret",
        "Proxy_Authorization": "secret",
        "X_Forwarded_Access_Token": "secret",
        "Remote_User": "secret",
    }
    said = ask(server, f"{page}/", **secret).body.decode()
    assert "secret" not in said
    assert dict(json.loads(said)[2])["cookie"] == "sid=1"


def test_every_answer_is_in_a_sandbox(server: JupyterServer, page: str) -> None:
    for path in (f"{page}/", f"{page}/evil", f"{page}/garbage", f"{page}/to?/", f"{page[:-1]}x/"):
        policies = ask(server, path).headers.get_all("Content-Security-Policy")
        assert any(
            each.startswith("sandbox ")
            and "allow-same-origin" not in each
            and "top-navigation" not in each
            and "escape" not in each
            for each in policies
        ), path


def test_it_says_nothing_for_the_whole_address(server: JupyterServer, page: str) -> None:
    headers = ask(server, f"{page}/evil", Origin="null").headers
    cookies = headers.get_all("Set-Cookie")
    assert len(cookies) == 2
    for each in cookies:
        name, *attributes = each.split("; ")
        assert name.startswith("tfnz-") and f"Path={page}/" in attributes
        assert not any(attribute.startswith("Domain") for attribute in attributes)
    for name in ("Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed"):
        assert name not in headers
    assert "X-Accel-Redirect" not in headers and "WWW-Authenticate" not in headers
    assert headers.get_all("Access-Control-Allow-Origin") == ["null"]
    assert "Access-Control-Allow-Origin" not in ask(server, f"{page}/evil").headers
    assert ask(server, f"{page}/sw.js", Service_Worker="script").status == 403


def test_other_pages_are_refused(server: JupyterServer, page: str) -> None:
    assert ask(server, f"{page}/", Origin="http://elsewhere.example").status == 403
    assert ask(server, f"{page}/", Origin=server.origin).status == 200
    for origin in ("http://elsewhere.example", None):
        with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
            connect(server, page, origin)


def test_only_who_is_logged_in_gets_an_address_and_for_that_port_alone(
    server: JupyterServer, box: Container, port: int, page: str
) -> None:
    base = urlsplit(server.url).path
    known = {"Authorization": f"token {TOKEN}"}
    assert ask(server, base + address(box, port)).status == 302  # to the login
    assert "/login" in ask(server, base + address(box, port)).headers["Location"]
    ticket = address(box, port).rpartition("/")[2]
    for wrong in (
        {"ticket": "0" * 64},
        {"ticket": ticket, "port": str(port + 1)},
        {"ticket": ticket, "container": "0" * 32},
    ):
        assert ask(server, base + address(box, port, wrong), **known).status == 403, wrong
    assert ask(server, base + address(box, port, {"agent": "nobody"}), **known).status == 502
    assert ask(server, f"{base}tfnz/page/{'x' * 43}/").status == 404
    with socket.create_server(("127.0.0.1", 0)) as other:
        closed = other.getsockname()[1]
    where = enter(server, box, closed)
    answer = ask(server, where)
    assert answer.status == 502 and b"Connection refused" in answer.body


def test_tickets_and_addresses_are_in_no_log(
    server: JupyterServer, box: Container, port: int, page: str
) -> None:
    log = server.log()
    assert page.rpartition("/")[2] not in log
    assert address(box, port).rpartition("/")[2] not in log


def test_many_at_once(server: JupyterServer, page: str) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(server, f"{page}/big?1").body))
        for _ in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert [len(each) for each in found] == [1 << 20] * 20
