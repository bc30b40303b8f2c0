"""The link protocol's codec: tables, round trips, garbage."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfnz_notebook._wire import link
from tfnz_notebook._wire.link import EVENTS, MAX_HEADER, NOTES, REQUESTS, Kind, Message
from tfnz_notebook.errors import ProtocolError, TfnzError, from_wire, to_wire

TABLES = {Kind.REQUEST: REQUESTS, Kind.NOTE: NOTES, Kind.EVENT: EVENTS}


def value_of(rule: link.Field) -> Any:
    types = rule.type if isinstance(rule.type, tuple) else (rule.type,)
    return {int: 7, str: "x", bool: True, list: ["a"], dict: {"k": 1}, float: 0.5}[types[0]]


def full(kind: Kind, name: str) -> Message:
    body = {key: value_of(rule) for key, rule in TABLES[kind][name].items()}
    return Message(kind, 0 if kind is not Kind.REQUEST else 9, name, body, b"payload")


ALL = [(kind, name) for kind, table in TABLES.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_message_round_trips(kind, name):
    message = full(kind, name)
    assert link.decode(link.encode(message)) == message


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_missing_field_is_named(kind, name):
    for key, rule in TABLES[kind][name].items():
        message = full(kind, name)
        del message.body[key]
        if not rule.required:
            assert key not in link.decode(link.encode(message)).body
            continue
        with pytest.raises(ProtocolError, match=f"{name} lacks '{key}'"):
            link.decode(link.encode(message))


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_field_of_another_type_is_named(kind, name):
    for key in TABLES[kind][name]:
        message = full(kind, name)
        message.body[key] = b"bytes are nowhere due"
        with pytest.raises(ProtocolError, match=f"'{key}' is a bytes"):
            link.decode(link.encode(message))


def test_unknown_fields_are_dropped():
    message = full(Kind.REQUEST, "process.stdin")
    message.body["colour"] = "green"
    assert "colour" not in link.decode(link.encode(message)).body


def test_events_of_a_later_agent_are_no_errors():
    message = Message(Kind.EVENT, 0, "weather", {"sky": "blue"})
    assert link.decode(link.encode(message)) == message


def test_numbers_are_no_flags_and_flags_no_numbers():
    message = full(Kind.REQUEST, "container.reboot")
    message.body["reset_filesystem"] = 1
    with pytest.raises(ProtocolError, match="is a int"):
        link.decode(link.encode(message))
    message = full(Kind.NOTE, "credit")
    message.body["upto"] = True
    with pytest.raises(ProtocolError, match="is a bool"):
        link.decode(link.encode(message))


@pytest.mark.parametrize("wrong", [-1, 1 << 62])
def test_idents_and_offsets_have_a_range(wrong):
    message = full(Kind.REQUEST, "ping")
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
    long = full(Kind.REQUEST, "container.info")
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
    seeds = [link.encode(full(kind, name))[0] for kind, name in ALL]
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


def test_every_repeatable_request_is_in_the_table():
    assert set(REQUESTS) >= link.REPEATABLE
