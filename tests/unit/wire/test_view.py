"""Views' messages: the table is held to, both encodings come back, and TypeScript has the same."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook._wire import view
from tfnz_notebook.errors import ProtocolError

VIEW = "0123456789abcdef"
REPOSITORY = Path(__file__).parents[3]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_known_fields_stay_and_others_go() -> None:
    head = {"t": "credit", "view": VIEW, "stream": 1.0, "upto": 5, "more": "x", "from": None}
    assert view.check(head) == {"t": "credit", "view": VIEW, "stream": 1, "upto": 5}
    assert view.check({"t": "open", "view": VIEW, "subject": "s", "mode": None})["t"] == "open"
    hello = {"t": "hello", "version": 1, "agent": "podman", "process": "p", "ticket": "t"}
    assert view.check(hello)["agent"] == "podman"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (None, "no object"),
        ({"t": "nonsense", "view": VIEW}, "nonsense"),
        ({"t": ["open"], "view": VIEW}, "open"),
        ({"t": "close"}, "without the id"),
        ({"t": "close", "view": "../../etc"}, "without the id"),
        ({"t": "credit", "view": VIEW, "stream": 1}, "lacks 'upto'"),
        ({"t": "credit", "view": VIEW, "stream": True, "upto": 1}, "is a bool"),
        ({"t": "credit", "view": VIEW, "stream": 1.5, "upto": 1}, "is a float"),
        ({"t": "credit", "view": VIEW, "stream": 1, "upto": -1}, "over its limit"),
        ({"t": "credit", "view": VIEW, "stream": 1, "upto": 1 << 60}, "over its limit"),
        ({"t": "open", "view": VIEW, "subject": "s" * 5000}, "over its limit"),
    ],
)
def test_what_is_not_in_the_table(head: object, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        view.check(head)


def test_starts() -> None:
    assert view.starts({"from": {"1": 5.0, "2": 0}}) == {1: 5, 2: 0}
    assert view.starts({}) == {}
    for bad in ({"3": 1}, {"1": "x"}, {"1": -1}):
        with pytest.raises(ProtocolError):
            view.starts({"from": bad})


@given(st.dictionaries(st.text(), JSON, max_size=5), st.binary(max_size=200))
def test_a_websocket_message_comes_back(head: dict[str, object], payload: bytes) -> None:
    packed = view.pack(head, payload)
    again, rest = view.unpack(packed)
    assert (json.dumps(again), rest) == (json.dumps(head), payload)
    assert len(packed) == 4 + struct.unpack_from("<I", packed)[0] + len(payload)


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(message: bytes) -> None:
    try:
        head, _ = view.unpack(message)
        view.check(head)
    except ProtocolError:
        pass


def test_limits() -> None:
    with pytest.raises(ProtocolError, match="bytes"):
        view.unpack(b"\0" * (view.MAX_MESSAGE + 1))
    with pytest.raises(ProtocolError, match="head of"):
        view.unpack(struct.pack("<I", 100) + b"{}")
    with pytest.raises(ProtocolError, match="JSON"):
        view.unpack(view.pack({})[:4] + b"[[")
    with pytest.raises(ProtocolError, match="head of"):
        view.unpack(struct.pack("<I", view.MAX_HEAD + 1) + b" " * (view.MAX_HEAD + 1))


def test_a_comm_message_comes_back() -> None:
    messages = [({"t": "a"}, b"one"), ({"t": "b"}, None), ({"t": "c"}, b"")]
    content, buffers = view.gather(messages)
    assert content["v"] == view.VERSION
    assert buffers == [b"one", b""]
    found = view.scatter(content, [memoryview(each) for each in buffers])
    assert [(head["t"], payload) for head, payload in found] == [  # type: ignore[index]
        ("a", b"one"),
        ("b", b""),
        ("c", b""),
    ]


@given(JSON, st.lists(st.binary(max_size=10), max_size=3))
def test_a_comm_message_of_garbage(content: object, buffers: list[bytes]) -> None:
    try:
        for head, _ in view.scatter(content, buffers):
            view.check(head)
    except ProtocolError:
        pass


def test_typescript_is_current() -> None:
    path = REPOSITORY / "tfnz_notebook/_frontend/src/protocol.ts"
    assert path.read_text() == view.typescript(), "run python -m tfnz_notebook._wire.view"
