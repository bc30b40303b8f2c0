"""The link protocol's codec: tables, round trips, garbage."""

from __future__ import annotations

import random
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.wire.bodies import full

from tfnz_notebook._wire import link
from tfnz_notebook._wire.link import Kind, Message
from tfnz_notebook._wire.operations import (
    EVENTS,
    MAX_BODY,
    MAX_FRAME,
    MAX_PAYLOAD,
    NOTES,
    OPERATIONS,
    tables,
)
from tfnz_notebook.errors import ProtocolError, TfnzError, TooLarge, from_wire, to_wire

TABLES = {
    Kind.REQUEST: {row.name: row.fields for row in OPERATIONS.values()},
    Kind.NOTE: NOTES,
    Kind.EVENT: EVENTS,
}


def message_of(kind: Kind, name: str) -> Message:
    row = OPERATIONS.get(name)
    payload = b"payload" if kind is not Kind.REQUEST or (row and row.payload) else None
    ident = 9 if kind is Kind.REQUEST else 0
    return Message(kind, ident, name, full(TABLES[kind][name]), payload)


ALL = [(kind, name) for kind, table in TABLES.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_message_round_trips(kind, name):
    message = message_of(kind, name)
    assert link.decode(link.encode(message)) == message


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_missing_field_is_named(kind, name):
    for key, rule in TABLES[kind][name].items():
        message = message_of(kind, name)
        del message.body[key]
        if not rule.required:
            assert key not in link.decode(link.encode(message)).body
            continue
        with pytest.raises(ProtocolError, match=f"{name} lacks '{key}'"):
            link.decode(link.encode(message))


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_field_of_another_type_is_named(kind, name):
    for key in TABLES[kind][name]:
        message = message_of(kind, name)
        message.body[key] = b"bytes are nowhere due"
        with pytest.raises(ProtocolError, match=f"'{key}' is a bytes"):
            link.decode(link.encode(message))


def test_unknown_fields_are_dropped():
    message = message_of(Kind.REQUEST, "process.stdin")
    message.body["colour"] = "green"
    assert "colour" not in link.decode(link.encode(message)).body


def test_events_of_a_later_agent_are_no_errors():
    message = Message(Kind.EVENT, 0, "weather", {"sky": "blue"})
    assert link.decode(link.encode(message)) == message


def test_numbers_are_no_flags_and_flags_no_numbers():
    message = message_of(Kind.REQUEST, "container.reboot")
    message.body["reset_filesystem"] = 1
    with pytest.raises(ProtocolError, match="is a int"):
        link.decode(link.encode(message))
    message = message_of(Kind.NOTE, "credit")
    message.body["upto"] = True
    with pytest.raises(ProtocolError, match="is a bool"):
        link.decode(link.encode(message))


@pytest.mark.parametrize("wrong", [-1, 1 << 62])
def test_idents_and_offsets_have_a_range(wrong):
    message = message_of(Kind.REQUEST, "ping")
    message.ident = wrong
    with pytest.raises(ProtocolError, match="out of range"):
        link.decode(link.encode(message))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xc1",
        b"\x93",
        msgpack.packb([0, 1, "ping"]),
        msgpack.packb({"a": 1}),
        msgpack.packb([9, 1, "ping", {}]),
        msgpack.packb([True, 1, "ping", {}, 0]),
        msgpack.packb([0, 1, "no.such", {}]),
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
    ],
)
def test_garbage_is_a_protocol_error(header):
    with pytest.raises(ProtocolError):
        link.decode([header])


def test_sizes_are_bounded():
    with pytest.raises(ProtocolError, match="bytes"):
        link.decode([bytes(MAX_BODY + 1)])
    with pytest.raises(ProtocolError, match="parts"):
        link.decode([])
    with pytest.raises(ProtocolError, match="parts"):
        link.decode([b"", b"", b""])
    long = message_of(Kind.REQUEST, "container.info")
    long.body["container"] = "x" * 65
    with pytest.raises(ProtocolError, match="over its limit"):
        link.decode(link.encode(long))


@given(st.binary(max_size=3000))
@settings(max_examples=500)
def test_no_garbage_breaks_the_decoder(raw):
    try:
        link.decode([raw])
    except ProtocolError:
        pass


def test_mutated_messages_are_messages_or_protocol_errors():
    rng = random.Random(20)
    seeds = [link.encode(message_of(kind, name))[0] for kind, name in ALL]
    for _ in range(20_000):
        raw = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        try:
            link.decode([bytes(raw)])
        except ProtocolError:
            pass


def test_every_error_class_crosses_the_link():
    def classes(cls: type[TfnzError]) -> list[type[TfnzError]]:
        return [cls, *(sub for child in cls.__subclasses__() for sub in classes(child))]

    for cls in [each for each in classes(TfnzError) if each.__module__ == TfnzError.__module__]:
        error = from_wire(msgpack.unpackb(msgpack.packb(to_wire(cls("Cannot.", log=b"tail")))))
        assert type(error) is cls
        assert (str(error), error.details) == ("Cannot.", {"log": b"tail"})


def test_errors_from_outside_the_tree_keep_their_text():
    assert "KeyError" in str(from_wire(to_wire(KeyError("x"))))
    assert type(from_wire({"class": "FromTheFuture", "message": "m", "details": 3})) is TfnzError


def test_lists_hold_what_they_say():
    message = message_of(Kind.REQUEST, "process.spawn")
    message.body["command"] = ["sleep", 60]
    with pytest.raises(ProtocolError, match="'command' holds something that is no str"):
        link.decode(link.encode(message))


def test_payloads_are_bounded_by_their_row():
    """On the way out, and, should somebody not have looked, on the way in."""
    for row in OPERATIONS.values():
        message = message_of(Kind.REQUEST, row.name)
        header, message.payload = link.encode(message)[0], bytes(row.payload + 1)
        with pytest.raises(TooLarge, match=f"Cannot {row.doing}: "):
            link.encode(message)
        with pytest.raises(ProtocolError, match=r"bytes\.") as refusal:
            link.decode([header, message.payload])
        assert refusal.value.details == {"ident": 9}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_nothing_is_said_that_would_be_refused_for_its_size(kind, name):
    message = message_of(kind, name)
    message.body["more"] = "x" * MAX_BODY  # as in a list, a map, a text without its own limit
    with pytest.raises(TooLarge, match=r"takes 1 MiB, and at most 1 MiB go") as refusal:
        link.encode(message)
    assert refusal.value.details["limit"] == MAX_BODY


@pytest.mark.parametrize("kind", [Kind.REPLY, Kind.ERROR, Kind.EVENT])
def test_answers_and_events_are_bounded_too(kind):
    with pytest.raises(TooLarge):
        link.encode(Message(kind, 4, "log.read", {}, bytes(MAX_PAYLOAD + 1)))
    assert link.encode(Message(kind, 4, "log.read", {}, bytes(MAX_PAYLOAD)))


def test_what_is_refused_is_named_where_it_can_be_read():
    def ident(header: bytes, *more: bytes) -> int:
        with pytest.raises(ProtocolError) as refusal:
            link.decode([header, *more])
        return refusal.value.details.get("ident", 0)

    long = "x" * MAX_BODY
    for number in (1, 127, 128, 1 << 16, 1 << 32, (1 << 62) - 1):
        assert ident(msgpack.packb([0, number, "ping", {"a": long}])) == number
        assert ident(msgpack.packb([0, number, "no.such", {}])) == number
        assert ident(msgpack.packb([0, number, "container.info", {}])) == number
    assert ident(msgpack.packb([1, 7, "log.read", {"a": long}])) == 7, "an answer, too"
    for header in (
        msgpack.packb([3, 0, "data", {"a": long}]),
        msgpack.packb([0, 1 << 62, "ping", {"a": long}]),
        msgpack.packb([0, -1, "ping", {"a": long}]),
        msgpack.packb([9, 7, "ping", {"a": long}]),
        msgpack.packb({"a": long}),
        msgpack.packb(long),
        b"\x94\x00" + bytes([0xC1]) * MAX_BODY,
    ):
        assert ident(header) == 0


def test_a_request_that_is_too_large_for_one_message_goes_in_pieces_that_are_not():
    for row in OPERATIONS.values():
        assert row.payload <= MAX_PAYLOAD
        assert not row.ahead or row.ahead > row.payload
        assert "ahead" in row.fields or not row.ahead
    assert MAX_BODY < MAX_FRAME, "what is somewhat too large is refused by name"


def test_the_protocol_as_people_read_it_has_these_rows():
    """``python -m tfnz_notebook._wire.operations`` prints what stands there."""
    written = (Path(link.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
    assert tables() in written
