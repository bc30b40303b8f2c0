"""Frames of a websocket against wsproto's, both ways, in every split."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from tfnz_notebook.engines.http.frames import Frames, binary


@pytest.mark.parametrize("size", [0, 1, 2, 124, 125, 126, 65534, 65535, 65536, 65537, 200_003])
def test_ours_are_what_wsproto_reads(size: int) -> None:
    data = os.urandom(size)
    peer = Connection(ConnectionType.SERVER)
    for _ in range(3):  # three keys
        peer.receive_data(binary(7, data))
        said = b"".join(event.data for event in peer.events() if isinstance(event, BytesMessage))
        assert said == b"\7" + data


def test_keys_differ() -> None:
    assert len({binary(0, b"") for _ in range(50)}) > 40


def taken(frames: Frames, *parts: bytes) -> tuple[dict[int, bytes], bytes]:
    """What each channel said, and the bytes of all other frames."""
    channels: dict[int, bytes] = {}
    other = b""
    for part in parts:
        for channel, piece in frames.feed(memoryview(part)):
            if channel is None:
                other += piece
            else:
                channels[channel] = channels.get(channel, b"") + bytes(piece)
    return channels, other


def test_any_split_is_the_same() -> None:
    server = Connection(ConnectionType.SERVER)
    long = os.urandom(300)
    plain = [server.send(BytesMessage(data=each)) for each in (b"\1one", b"\2", b"", b"\1" + long)]
    ping = bytes(server.send(Ping(payload=b"who")))
    text = bytes(server.send(TextMessage(data="hello")))
    fragments = bytes(server.send(BytesMessage(data=b"\1a", message_finished=False)))
    fragments += bytes(server.send(Ping()))
    fragments += bytes(server.send(BytesMessage(data=b"b", message_finished=True)))
    close = bytes(server.send(CloseConnection(code=1000)))
    whole = b"".join([*plain[:2], ping, plain[2], text, fragments, plain[3], close])
    wanted = ({1: b"one" + long}, ping + text + fragments + close)
    assert taken(Frames(), whole) == wanted
    for at in range(len(whole)):
        assert taken(Frames(), whole[:at], whole[at:]) == wanted
    singles = [bytes((each,)) for each in whole]
    assert taken(Frames(), *singles) == wanted


@pytest.mark.parametrize(
    "frame",
    [
        b"\x82\x81\0\0\0\0x",  # masked, by a server
        b"\xc2\x01x",  # a reserved bit
        b"\x83\x01x",  # no such kind
        b"\x80\x01x",  # goes on with nothing
        b"\x02\x02\1a\x82\x02\1b",  # begins anew in the middle
    ],
)
def test_mistakes_are_for_wsproto(frame: bytes) -> None:
    channels, other = taken(Frames(), frame)
    assert channels == {}
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(other)
    assert any(
        isinstance(event, CloseConnection) and event.code == 1002 for event in client.events()
    )


def test_sizes() -> None:
    server = Connection(ConnectionType.SERVER)
    for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
        data = os.urandom(size)
        frame = bytes(server.send(BytesMessage(data=b"\1" + data)))
        cuts = [*range(0, len(frame), 30_000), len(frame)]
        said, _ = taken(Frames(), *(frame[a:b] for a, b in pairwise(cuts)))
        assert said.get(1, b"") == data
