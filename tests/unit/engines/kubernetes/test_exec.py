"""The stream of an exec, against a server that speaks websockets by wsproto."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from unit.engines.kubernetes.serving import Asked, Server, serving, status
from unit.engines.scripted import reply
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from tfnz_notebook.engines.kubernetes import websocket
from tfnz_notebook.engines.kubernetes.api import Api, ApiError, ChannelStream, Cluster
from tfnz_notebook.engines.kubernetes.login.credentials import Credentials
from tfnz_notebook.errors import EngineError, EngineGone

Headers = list[tuple[str, str]]


class Peer:
    """The server's side of one websocket."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.socket = WSConnection(ConnectionType.SERVER)
        self.events: list[Event] = []

    async def accept(self, protocol: str | None, early: bytes = b"") -> None:
        lines = [f"{self.asked.method} {self.asked.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.asked.headers.items()]
        self.socket.receive_data("\r\n".join([*lines, "", ""]).encode())
        (request,) = self.socket.events()
        assert isinstance(request, Request)
        assert request.subprotocols == ["v5.channel.k8s.io"]
        self.asked.writer.write(self.socket.send(AcceptConnection(subprotocol=protocol)) + early)

    def say(self, *events: Event) -> None:
        self.asked.writer.write(b"".join(self.socket.send(event) for event in events))

    def out(self, data: bytes, channel: int = 1) -> None:
        self.say(BytesMessage(data=bytes((channel,)) + data))

    async def hear(self) -> Event:
        while not self.events:
            data = await self.asked.reader.read(65536)
            if not data:
                raise ConnectionResetError
            self.socket.receive_data(data)
            self.events += self.socket.events()
        return self.events.pop(0)


Play = Callable[[Peer], Awaitable[None]]


class Heard:
    """Who receives."""

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[Exception | None] = []
        self.ended = asyncio.Event()

    def received(self, data: bytes) -> None:
        self.data += data

    def closed(self, cause: Exception | None) -> None:
        self.ends.append(cause)
        self.ended.set()

    async def end(self) -> Exception | None:
        async with asyncio.timeout(10):
            await self.ended.wait()
        (cause,) = self.ends
        return cause


@asynccontextmanager
async def execing(
    play: Play, protocol: str | None = websocket.PROTOCOL
) -> AsyncIterator[tuple[ChannelStream, Heard, Server]]:
    async def answer(asked: Asked) -> bytes | None:
        peer = Peer(asked)
        await peer.accept(protocol)
        await play(peer)
        return None

    async with serving(answer) as there:
        heard = Heard()
        api = Api(Cluster("c", f"http://127.0.0.1:{there.port}", "ns"))
        stream = await api.exec("p", "main", ["a b", "c"], heard.received, heard.closed)
        try:
            yield stream, heard, there
        finally:
            stream.forget()
            await api.close()


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def test_stdin_and_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_MESSAGE", 1000)
    got: list[int] = []

    async def echo(peer: Peer) -> None:
        while True:
            event = await peer.hear()
            if isinstance(event, BytesMessage):
                assert event.data[0] == 0
                got.append(len(event.data))
                peer.out(bytes(event.data[1:]).upper())

    async with execing(echo) as (stream, heard, there):
        assert not stream.spoke.done()
        stream.write(b"a" * 2500)
        assert await stream.spoke
        assert heard.data == b""  # not before it is told to
        stream.deliver()
        await until(lambda: len(heard.data) == 2500)
        assert heard.data == b"A" * 2500
        assert there.asked[0].target == (
            "/api/v1/namespaces/ns/pods/p/exec?container=main&command=a+b&command=c"
            "&stdin=true&stdout=true&stderr=true"
        )
        stream.close()
        assert await heard.end() is None


async def test_an_exec_goes_on_where_a_request_just_was() -> None:
    """Which saves a handshake; a stream has its connection alone all the same."""

    async def answer(asked: Asked) -> bytes | None:
        if "exec" not in asked.target:
            return reply(200, {"kind": "Pod"})
        peer = Peer(asked)
        await peer.accept(websocket.PROTOCOL)
        peer.out(b"hello")
        await peer.hear()
        return None

    async with serving(answer) as there:
        heard = Heard()
        api = Api(Cluster("c", f"http://127.0.0.1:{there.port}", "ns"))
        await api.call("GET", api.path("pods", "p"))
        stream = await api.exec("p", "main", ["true"], heard.received, heard.closed)
        assert await stream.spoke
        assert there.connections == 1
        await api.call("GET", api.path("pods", "p"))
        assert there.connections == 2
        stream.forget()
        await api.close()


async def test_frames_that_come_with_the_answer() -> None:
    first = bytes(WSConnection(ConnectionType.SERVER) and b"\x82\x03\1hi\x82\x04\1t")

    async def answer(asked: Asked) -> bytes | None:
        peer = Peer(asked)
        await peer.accept(websocket.PROTOCOL, early=first)
        await asyncio.sleep(0)
        asked.writer.write(b"he")
        await peer.hear()
        return None

    async with serving(answer) as there:
        heard = Heard()
        api = Api(Cluster("c", f"http://127.0.0.1:{there.port}", "ns"))
        stream = await api.exec("p", "main", ["x"], heard.received, heard.closed)
        assert await stream.spoke
        stream.deliver()
        await until(lambda: heard.data == b"hithe")
        stream.forget()


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([BytesMessage(data=b'\3{"status":"Success"}'), CloseConnection(code=1000)], None),
        ([CloseConnection(code=1000)], None),
        ([BytesMessage(data=b'\3{"status":"Failure","message":"no such file"}'),
          CloseConnection(code=1000)], "no such file"),
        ([BytesMessage(data=b"\3[[["), CloseConnection(code=1000)], r"\[\[\["),
        ([BytesMessage(data=b"\2no socket\n"), CloseConnection(code=1000)], "no socket"),
        ([CloseConnection(code=1011, reason="went away")], r"went away \(1011\)"),
        ([TextMessage(data="hello"), CloseConnection(code=1000)], None),
    ],
)  # fmt: skip
async def test_how_it_ends(events: list[Event], said: str | None) -> None:
    async def play(peer: Peer) -> None:
        peer.out(b"x")
        peer.say(*events)
        await peer.hear()

    async with execing(play) as (stream, heard, _):
        assert await stream.spoke
        stream.deliver()
        cause = await heard.end()
        if said is None:
            assert cause is None
        else:
            assert isinstance(cause, EngineGone)
            with pytest.raises(EngineGone, match=said):
                raise cause


@pytest.mark.parametrize("bytes_", [b"\x82\x81\0\0\0\0x", b"\xff\xff" + bytes(9), b"HTTP/1.1 400"])
async def test_garbage_ends_it(bytes_: bytes) -> None:
    async def play(peer: Peer) -> None:
        peer.asked.writer.write(bytes_)
        await peer.hear()

    async with execing(play) as (stream, heard, _):
        stream.deliver()
        assert isinstance(await heard.end(), EngineGone)
        assert heard.data == b""


async def test_what_is_not_read_holds_back_both_ways() -> None:
    total, sent, free = 64 << 20, 0, asyncio.Event()

    async def play(peer: Peer) -> None:
        nonlocal sent
        while sent < total:
            peer.out(bytes(32768))
            sent += 32768
            await peer.asked.writer.drain()
        await free.wait()

    async with execing(play) as (stream, heard, _):
        assert await stream.spoke
        stream.pause()
        stream.deliver()
        for _ in range(200):
            if not stream.writable:
                break
            stream.write(bytes(256 << 10))
            await asyncio.sleep(0)
        assert not stream.writable  # nobody reads at the other end
        draining = asyncio.ensure_future(stream.drain())
        await asyncio.sleep(0.1)
        assert not draining.done()
        assert sent < total
        assert heard.data == b""
        stream.close()
        await draining
        free.set()


@pytest.mark.parametrize("protocol", [None, "v4.channel.k8s.io"])
async def test_another_protocol_is_a_clear_error(protocol: str | None) -> None:
    async def answer(asked: Asked) -> bytes | None:
        asked.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: "
            + _accept(asked.headers["sec-websocket-key"])
            + (f"\r\nSec-WebSocket-Protocol: {protocol}".encode() if protocol else b"")
            + b"\r\n\r\n"
        )
        await asked.reader.read()
        return None

    async with serving(answer) as there:
        api = Api(Cluster("c", f"http://127.0.0.1:{there.port}"))
        with pytest.raises(EngineError, match="does not speak v5.channel.k8s.io .*1.30 or newer"):
            await api.exec("p", "c", ["x"], print, print)


def _accept(key: str) -> bytes:
    from wsproto.utilities import generate_accept_token

    return bytes(generate_accept_token(key.encode()))


@pytest.mark.parametrize(
    ("answer", "code", "structured", "said"),
    [
        (reply(404, status(404, "NotFound", 'pods "p" not found')), 404, True, 'pods "p" not'),
        (reply(404, b"404 page not found"), 404, False, "404 page not found"),
        (
            reply(500, status(500, "", 'container not found ("c")')),
            500,
            True,
            "container not found",
        ),
        (reply(403, b""), 403, False, "it answered 403 without a word"),
        (reply(200, b"<html>hello"), 200, False, "it answered with a web page"),
        (b"HTTP/1.1 502 Bad\r\n\r\n<html>", 502, False, "it answered with a web page"),
    ],
)
async def test_refusals(answer: bytes, code: int, structured: bool, said: str) -> None:
    async def refuse(asked: Asked) -> bytes | None:
        asked.writer.write(answer)
        return None

    async with serving(refuse) as there:
        api = Api(Cluster("c", f"http://127.0.0.1:{there.port}"))
        with pytest.raises(ApiError, match=f"Cannot run a command in the pod 'p': {said}") as got:
            await api.exec("p", "c", ["x"], print, print)
        assert (got.value.status, got.value.structured) == (code, structured)


async def test_a_401_renews_once() -> None:
    class Renewed(Credentials):
        times = 0

        async def headers(self) -> Headers:
            return [("Authorization", f"Bearer {self.times}")]

        async def renew(self) -> bool:
            self.times += 1
            return True

    async def answer(asked: Asked) -> bytes | None:
        if asked.headers["authorization"] != "Bearer 1":
            return reply(401, status(401, "Unauthorized", "Unauthorized"))
        peer = Peer(asked)
        await peer.accept(websocket.PROTOCOL)
        await peer.hear()
        return None

    async with serving(answer) as there:
        own = Renewed()
        api = Api(Cluster("c", f"http://127.0.0.1:{there.port}", credentials=own))
        stream = await api.exec("p", "c", ["x"], print, lambda _: None)
        stream.forget()
        assert own.times == 1
        own.times = 7
        with pytest.raises(ApiError) as got:
            await api.exec("p", "c", ["x"], print, print)
        assert (got.value.status, own.times) == (401, 8)


async def test_no_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(asked: Asked) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async with serving(answer) as there:
        api = Api(Cluster("c", f"http://127.0.0.1:{there.port}"))
        with pytest.raises(EngineError.__base__, match=r"no answer to an exec within 0.1 s"):
            await api.exec("p", "c", ["x"], print, print, timeout=0.1)


# --- is anybody there? ----------------------------------------------------------------------------


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_ROUND", 0.02)


async def test_who_answers_pings_lives(rounds: None) -> None:
    pings = 0

    async def play(peer: Peer) -> None:
        nonlocal pings
        peer.out(b"x")
        while True:
            event = await peer.hear()
            if isinstance(event, Ping):
                pings += 1
                peer.say(Pong(payload=event.payload))

    async with execing(play) as (stream, heard, _):
        await stream.spoke
        stream.deliver()
        await until(lambda: pings > 10)
        assert not heard.ended.is_set()


async def test_who_stops_answering_is_gone(rounds: None) -> None:
    async def play(peer: Peer) -> None:
        peer.out(b"x")
        event = await peer.hear()
        assert isinstance(event, Ping)
        peer.say(Pong(payload=event.payload))  # all is read; then never a word
        await asyncio.Event().wait()

    async with execing(play) as (stream, heard, _):
        await stream.spoke
        stream.deliver()
        cause = await heard.end()
        assert "does not answer any more" in str(cause)


async def test_a_missing_pong_is_no_death_while_what_we_wrote_may_be_unread(
    rounds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "_LIMIT", 1 << 30)
    asked = 0

    class Counting(ChannelStream):
        def _ask(self) -> None:
            nonlocal asked
            asked += 1
            super()._ask()

    monkeypatch.setattr(websocket, "ChannelStream", Counting)

    async def play(peer: Peer) -> None:
        peer.out(b"x")
        await asyncio.Event().wait()

    async with execing(play) as (stream, heard, _):
        await stream.spoke
        stream.deliver()
        stream.write(b"which nobody reads")
        await until(lambda: asked > 20)
        assert not heard.ended.is_set()


def test_a_status_of_any_kind_is_text() -> None:
    assert websocket._sentence(b"") == ""
    assert websocket._sentence(json.dumps({"status": "Success"}).encode()) == ""
    assert websocket._sentence(b"[1]") == "[1]"
    assert websocket._sentence(b"\xff" * 5000) == "\ufffd" * 1000
