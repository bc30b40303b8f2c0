"""The HTTP client against a server that behaves, and against those that do not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from unit.engines.scripted import Answer, reply, says, scripted

from tfnz_notebook._base import endpoints as endpoint
from tfnz_notebook.engines.http.client import Client, _within
from tfnz_notebook.errors import EngineGone, NoEngine


async def test_request_and_json(short: Path) -> None:
    heads: list[str] = []

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        heads.append((await reader.readexactly(length)).decode())
        writer.write(reply(201, {"Id": "ü"}))

    async with scripted(short / "s", answer) as client:
        client.prefix = "/v1.41"
        got = await client.request(
            "POST", "/containers/create", query={"name": "a b&c"}, payload={"k": "v"}
        )
    assert got.status == 201
    assert got.json() == {"Id": "ü"}
    assert heads[0].startswith("POST /v1.41/containers/create?name=a+b%26c HTTP/1.1\r\n")
    assert heads[1] == '{"k": "v"}'
    assert client.peer == os.getpid()


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhel", b"lo"],
        [b"HTTP/1.0 200 OK\r\n\r\n", b"hello"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    ],
    ids=["length", "chunked", "until close", "1.0", "after 100"],
)
async def test_bodies(short: Path, parts: list[bytes]) -> None:
    async with scripted(short / "s", says(*parts)) as client:
        assert (await client.request("GET", "/x")).body == b"hello"


async def test_any_split_of_an_answer_is_the_same_answer(short: Path) -> None:
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for at in range(1, len(whole)):
        path = short / str(at)
        async with scripted(path, says(whole[:at], whole[at:])) as client:
            assert (await client.request("GET", "/x")).body == b"hello"


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"HTT"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
        [b"SSH-2.0-OpenSSH_9.2\r\n"],
        [b"\0" * 100],
        [b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000],
    ],
    ids=["nothing", "cut head", "cut body", "cut chunk", "bad chunk", "ssh", "zeroes", "endless"],
)
async def test_garbage_and_early_ends(short: Path, parts: list[bytes]) -> None:
    async with scripted(short / "s", says(*parts)) as client:
        with pytest.raises((NoEngine, EngineGone), match="Cannot"):
            await client.request("GET", "/x")
        client.proven = True
        with pytest.raises(EngineGone, match="Start it again"):
            await client.request("GET", "/x")


async def test_not_json(short: Path) -> None:
    async with scripted(short / "s", says(reply(200, b"<html>"))) as client:
        got = await client.request("GET", "/x")
    with pytest.raises(EngineGone, match="not JSON"):
        got.json()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "docker says"}', "docker says"),
        (b'{"cause": "c", "message": "podman says", "response": 500}', "podman says"),
        (b'{"message": "", "cause": "only a cause"}', "only a cause"),
        (b"plain text\n", "plain text"),
        (b'"a string"', "a string"),
        (b"", ""),
    ],
)
async def test_error_messages(short: Path, body: bytes, message: str) -> None:
    async with scripted(short / "s", says(reply(500, body))) as client:
        assert (await client.request("GET", "/x")).message == message


async def test_timeout_covers_everything(short: Path) -> None:
    async def never(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await asyncio.Event().wait()

    async with scripted(short / "s", never) as client:
        with pytest.raises(EngineGone, match="within 0.05 s"):
            await client.request("GET", "/x", timeout=0.05)


async def test_cancelled_request_closes_its_connection(short: Path) -> None:
    ended = asyncio.Event()

    async def wait(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        assert await reader.read() == b""
        ended.set()

    arrived = asyncio.Event()
    async with scripted(short / "s", wait) as client:
        asking = asyncio.create_task(client.request("GET", "/x"))
        await arrived.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(5):
            await ended.wait()


async def test_streams_both_ways_hold_back(short: Path) -> None:
    size = 8 << 20

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = 0
        while True:
            length = int(await reader.readline(), 16)
            got += length
            await reader.readexactly(length + 2)
            if not length:
                break
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {got}\r\n\r\n".encode())
        for _ in range(got // 65536):
            writer.write(bytes(65536))
            await writer.drain()

    async def upload() -> AsyncIterator[bytes]:
        for _ in range(size // 65536):
            yield bytes(65536)

    async with scripted(short / "s", answer) as client:
        total = 0
        async with client.stream("PUT", "/x", body=upload()) as streamed:
            async for chunk in streamed:
                total += len(chunk)
                assert len(chunk) <= 1 << 20
    assert total == size


async def test_idle_stream_ends(short: Path) -> None:
    async def stall(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        await asyncio.Event().wait()

    async with (
        scripted(short / "s", stall) as client,
        client.stream("GET", "/x", idle=0.05) as streamed,
    ):
        with pytest.raises(EngineGone, match="silent"):
            async for _ in streamed:
                pass


# --- hijacking -----------------------------------------------------------------------------------


class Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def upgrade(head: bytes, early: bytes) -> Answer:
    """Switch, with bytes already behind the head; then echo in capitals."""

    async def answer(text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert "Upgrade: tcp" in text
        assert "Connection: Upgrade" in text
        length = int(text.lower().partition("content-length: ")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        writer.write(head + early)
        writer.write((await reader.readexactly(5)).upper())
        await writer.drain()

    return answer


@pytest.mark.parametrize("early", [b"", b"early bytes "])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n",
    ],
    ids=["101", "200"],
)
async def test_hijack_keeps_every_byte(short: Path, head: bytes, early: bytes) -> None:
    async with scripted(short / "s", upgrade(head, early)) as client:
        answer, transport, leftover = await client.hijack("/exec/1/start", payload={"Tty": False})
        assert answer.status in (101, 200)
        assert transport is not None
        sink = Sink()
        sink.data = leftover
        transport.set_protocol(sink)
        transport.resume_reading()
        transport.write(b"shout")
        async with asyncio.timeout(5):
            await sink.lost.wait()
        assert sink.data == early + b"SHOUT"


async def test_refused_hijack_says_why(short: Path) -> None:
    async with scripted(short / "s", says(reply(409, {"message": "not running"}))) as client:
        answer, transport, _ = await client.hijack("/exec/1/start", payload={})
        assert (answer.status, answer.message, transport) == (409, "not running", None)


# --- connecting ----------------------------------------------------------------------------------


async def test_no_socket(short: Path) -> None:
    client = Client(endpoint.parse(str(short / "none")), "docker")
    with pytest.raises(NoEngine, match="no such socket"):
        await client.request("GET", "/x")


async def test_nobody_listens(short: Path) -> None:
    path = short / "s"
    async with scripted(path, says()):
        pass
    if not path.exists():  # newer Pythons remove it
        import socket

        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    with pytest.raises(NoEngine, match="nothing listens"):
        await Client(endpoint.parse(str(path)), "docker").request("GET", "/x")


async def test_unreadable_socket(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (short / "s").touch(mode=0o660)
    client = Client(endpoint.parse(str(short / "s")), "docker")

    async def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_connection", denied)
    with pytest.raises(NoEngine, match=r"permission denied\. Run as the user|usermod"):
        await client.request("GET", "/x")


async def test_tcp_without_a_listener() -> None:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    client = Client(endpoint.parse(f"tcp://127.0.0.1:{port}", {}), "docker")
    with pytest.raises(NoEngine, match="nothing listens"):
        await client.request("GET", "/x")


async def test_a_cancel_that_comes_with_the_answer_is_not_lost() -> None:
    """Or a watch that is to end goes on, and whoever ends it waits for ever."""
    came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def reading() -> bytes:
        return await came

    waiting = asyncio.create_task(_within(reading(), 5.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    came.set_result(b"an event")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
