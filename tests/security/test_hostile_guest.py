"""Root in a container may take the guest's place: it gets to lie about that container, no more."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from security.liar import READY, Liar, hello, proc

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import WINDOW_OUT, WINDOW_WIDE, Feature, Flag, Tag, Type
from tfnz_notebook.agent.container import labels
from tfnz_notebook.agent.container.dial import Dial
from tfnz_notebook.agent.container.files import transfers
from tfnz_notebook.agent.sessions import Sessions
from tfnz_notebook.engines.base import Found, State
from tfnz_notebook.errors import FileError, ProtocolError
from tfnz_notebook.testing import FakeEngine

MIB = 1 << 20


def data(channel: int, offset: int, size: int = 200_000) -> bytes:
    return wire.data(channel, 1, offset, b"x" * size)


def everything(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


@pytest.mark.parametrize(
    "ident", ["../../escaped", "/{top}/escaped", "", "a" * 31, 7, "A" * 32, "\0"]
)
async def test_it_names_no_file_of_ours(tmp_path: Path, ident: Any) -> None:
    """What it says a process's id is would become a path."""
    if isinstance(ident, str):
        ident = ident.replace("{top}", str(tmp_path).strip("/"))
    liar = Liar(tmp_path / "state" / "spool", hello(), proc(2, ident), READY)
    container = await liar.meet()
    for number in range(4):
        liar.line.say(data(2, number * 200_000))
    assert container.state == "running"
    assert not container.processes
    assert not [path for path in everything(tmp_path) if path.rpartition(".")[2].isdigit()]
    container.let_go()


async def test_a_process_of_ours_does_write_its_spool(tmp_path: Path) -> None:
    """The same with an id that is one: the test above tests something."""
    liar = Liar(tmp_path / "spool", hello(), proc(2, "a" * 32), READY)
    container = await liar.meet()
    for number in range(4):
        liar.line.say(data(2, number * 200_000))
    assert f"spool/{liar.ident}/{'a' * 32}.out.0" in everything(tmp_path)
    container.let_go()


@pytest.mark.parametrize("ident", ["../../..", "/etc", "a" * 33, ""])
async def test_labels_name_no_directory_of_ours(tmp_path: Path, ident: str) -> None:
    """Others who use the same engine can write labels as ours; a container's id is a directory."""
    told = {
        "io.tfnz.owner": "me",
        "io.tfnz.session": "s",
        "io.tfnz.container": ident,
        "io.tfnz.spec": '{"image": "debian", "created": 1}',
    }
    found = Found("r", told, State("running"))
    assert labels.known(found) is None
    assert labels.known(Found("r", {**told, "io.tfnz.container": "a" * 32}, State("running")))


async def refused(liar: Liar, *frames: bytes) -> None:
    """The connection ends with that, and the container is met again."""
    line, before = liar.line, len(liar.lines)
    line.say(*frames)
    assert not line.open
    async with asyncio.timeout(10):
        while len(liar.lines) == before:
            await asyncio.sleep(0.005)


async def test_bytes_beyond_the_window_are_not_held(tmp_path: Path) -> None:
    """One that does not wait for acknowledgements could fill the agent's memory."""
    liar = Liar(tmp_path, hello(), proc(2, "a" * 32), READY)
    container = await liar.meet()
    container.processes["a" * 32].logs[0].quota = 0  # nothing is acknowledged
    whole = WINDOW_WIDE - WINDOW_WIDE % 200_000
    for at in range(0, whole, 200_000):
        liar.line.say(data(2, at))
    assert liar.line.open
    await refused(liar, data(2, whole))
    assert container.processes["a" * 32].logs[0].head <= WINDOW_WIDE
    container.let_go()


class Page:
    """A kernel that reads nothing."""

    def event(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None: ...


async def test_downloads_and_connections_are_held_back_too(tmp_path: Path) -> None:
    liar = Liar(tmp_path, hello(features=Feature.WIDE), READY)
    container = await liar.meet()
    assert container.guest is not None
    for window in (WINDOW_OUT, WINDOW_WIDE):
        if window == WINDOW_OUT:
            channel = Dial(container.guest, Page(), 1, "localhost", 80, 0)._channel
        else:
            task = asyncio.ensure_future(transfers.get(container.guest, "/f", Page(), 2, 0))
            channel = (await liar.asked()).channel
            liar.line.say(wire.fielded(Type.STAT, channel, [(Tag.SIZE, 1 << 62)]))
            await task
        whole = window - window % 200_000
        for at in range(0, whole, 200_000):
            liar.line.say(data(channel, at))
        assert liar.line.open
        await refused(liar, data(channel, whole))
    container.let_go()


async def test_acknowledging_what_was_never_sent_opens_no_window(tmp_path: Path) -> None:
    """Else an upload, a connection, a process's input would be queued without a bound."""
    liar = Liar(tmp_path, hello(), proc(2, "a" * 32), READY)
    container = await liar.meet()
    assert container.guest is not None
    for opened in ("dial", "upload", "stdin"):
        await container.guest.up()
        channel = 2
        if opened == "dial":
            dial = Dial(container.guest, Page(), 1, "localhost", 80, 0)
            dial.data(0, bytes(1000))
            channel = dial._channel
        elif opened == "upload":
            upload = transfers.Transfer(container.guest, "put", "/f")
            transfers.begin_put(upload, None, None, False)
            await upload.upload(bytes(1000))
            channel = upload._channel
        else:
            container.processes["a" * 32].input.write(bytes(1000))
        liar.line.say(wire.fixed(Type.ACK, channel, 1000))
        assert liar.line.open
        await refused(liar, wire.fixed(Type.ACK, channel, 1 << 63))
    container.let_go()


async def test_a_listing_has_an_end(tmp_path: Path) -> None:
    liar = Liar(tmp_path)
    container = await liar.meet()
    assert container.guest is not None
    listing = asyncio.ensure_future(transfers.listing(container.guest, "/many"))
    channel = (await liar.asked()).channel
    entry = wire.fielded(Type.STAT, channel, [(Tag.NAME, b"n" * 200), (Tag.LINK, b"l" * 200)])
    for _ in range(200):
        liar.line.say(entry * 1000)
    with pytest.raises(FileError, match="more than"):
        await listing
    assert liar.line.heard[-1].type is Type.CLOSE
    assert liar.line.open, "an honest guest may have as many files"
    container.let_go()


async def test_its_list_of_processes_has_an_end(tmp_path: Path, caplog: Any) -> None:
    many = b"".join(proc(2 + number) for number in range(wire.MAX_CHANNELS))
    for opening in (
        (hello(), many, proc(1 << 20), READY),
        (hello(), proc(2, text="x" * 100_000), READY),
        (hello(), proc(0), READY),
        (hello(), proc(1 << 31), READY),
    ):
        liar = Liar(tmp_path, *opening)
        container = await liar.meet()
        assert not container.processes
        assert container.state == "unresponsive"
        assert "of this version" in str(container.error)
        container.close()


async def test_one_that_restarts_for_ever_makes_no_more_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new boot may list others; what is remembered of them all is bounded."""
    monkeypatch.setattr(wire, "MAX_CHANNELS", 200)
    boots = iter(range(1 << 30))
    many = 150

    def opening() -> tuple[bytes, ...]:
        listed = (proc(2 + number) for number in range(many))
        return (hello(next(boots).to_bytes(16, "big")), *listed, READY)

    liar = Liar(tmp_path, *opening())
    container = await liar.meet()
    assert len(container.processes) == many
    for _ in range(5):
        before, liar.opening = len(liar.lines), opening()
        liar.line.close()
        async with asyncio.timeout(20):
            while len(liar.lines) == before or liar.line.heard == []:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0)
    assert many <= len(container.processes) <= 200
    container.let_go()


@pytest.mark.parametrize("frame", [hello(), READY, wire.fixed(Type.SPAWNED, 0, 1)])
async def test_it_says_hello_once(tmp_path: Path, frame: bytes) -> None:
    liar = Liar(tmp_path)
    container = await liar.meet()
    await refused(liar, frame)
    container.let_go()


async def test_one_that_breaks_every_connection_costs_little(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a busy loop nor a full log: it is tried ever more seldom, and named now and then."""
    liar = Liar(tmp_path, hello(), READY, b"\xff" * 12)
    container = await liar.meet()
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG):
        while time.monotonic() - began < 1.5:
            await asyncio.sleep(0.05)
    # 10, 20, 40 ... milliseconds apart
    assert 3 <= len(liar.lines) <= 12
    assert len(caplog.records) <= 2 * len(liar.lines)
    container.let_go()


async def test_names_and_reasons_it_gives_are_text(tmp_path: Path) -> None:
    liar = Liar(tmp_path)
    container = await liar.meet()
    assert container.guest is not None
    asked = asyncio.ensure_future(
        transfers.make_directory(container.guest, "/d\x1b]0;t\x07", None, None, Flag(0))
    )
    channel = (await liar.asked()).channel
    failed = [(Tag.ERRNO, 13), (Tag.TEXT, b"\x1b]52;c;cHduZWQ=\x07\n\xff\xe2\x80\xae")]
    liar.line.say(wire.fielded(Type.FAILED, channel, failed))
    with pytest.raises(FileError) as caught:
        await asked
    assert "\x1b" not in str(caught.value) and "\u202e" not in str(caught.value)
    str(caught.value).encode()
    container.let_go()


def test_an_error_s_text_can_be_printed_anywhere() -> None:
    error = ProtocolError("a\x1b[2Jb\r\x00\u202ec\ud800\x9d\n\td")
    assert str(error) == "a\\x1b[2Jb\\r\\x00\\u202ec\\ud800\\x9d\n\td"


async def test_a_folder_that_is_none_of_ours_is_not_swept(tmp_path: Path) -> None:
    """Spools of containers that are gone are deleted; a link in their place is not followed."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("mine")
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / ("b" * 32)).symlink_to(kept)
    engine = FakeEngine()
    await engine.open()
    sessions = Sessions(engine, engine.owner, spool)
    await sessions.adopt(lambda container: None, lambda container, process: None)
    assert (kept / "file").read_text() == "mine"
    await engine.close()
