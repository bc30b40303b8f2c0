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
from tfnz_notebook._wire.link import MAX_HEADER, Kind, Message
from tfnz_notebook._wire.operations import EVENTS, NOTES, OPERATIONS, tables
from tfnz_notebook.errors import ProtocolError, TfnzError, from_wire, to_wire

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
        link.decode([bytes(MAX_HEADER + 1)])
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

    for cls in classes(TfnzError):
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
    for row in OPERATIONS.values():
        message = message_of(Kind.REQUEST, row.name)
        message.payload = bytes(row.payload + 1)
        with pytest.raises(ProtocolError, match=r"bytes\."):
            link.decode(link.encode(message))


def test_the_protocol_as_people_read_it_has_these_rows():
    """``python -m tfnz_notebook._wire.operations`` prints what stands there."""
    written = (Path(link.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
    assert tables() in written
