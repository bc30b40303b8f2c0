"""The guest protocol's codec: golden vectors, round trips, every kind of garbage."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfnz_notebook._wire import guest, header
from tfnz_notebook._wire.guest import FIELDS, FIXED, HEADER, INTEGERS, Decoder, Frame, Tag, Type
from tfnz_notebook.errors import ProtocolError, TooLarge

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())


def decoded(raw: bytes) -> list[Frame]:
    return list(Decoder().feed(raw))


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector["name"])
def test_golden_vector_decodes_to_its_meaning(vector):
    [frame] = decoded(bytes.fromhex(vector["hex"]))
    meant = vector["frame"]
    assert (frame.type, frame.channel, frame.stream) == (
        meant["type"],
        meant["channel"],
        meant["stream"],
    )
    assert list(frame.values) == meant.get("values", [])
    assert frame.data.hex() == meant.get("data", "")
    fields = [[int(t), v if isinstance(v, int) else v.hex()] for t, v in frame.fields]
    assert fields == meant.get("fields", [])


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector["name"])
def test_golden_vector_encodes_from_its_meaning(vector):
    meant = vector["frame"]
    kind, channel, stream = Type(meant["type"]), meant["channel"], meant["stream"]
    if kind in FIELDS:
        fields = [
            (Tag(tag), value if Tag(tag) in INTEGERS else bytes.fromhex(value))
            for tag, value in meant["fields"]
        ]
        raw = guest.fielded(kind, channel, fields)
    elif kind is Type.DATA:
        raw = guest.data(channel, stream, meant["values"][0], bytes.fromhex(meant["data"]))
    else:
        raw = guest.fixed(kind, channel, *meant["values"], stream=stream)
    assert raw.hex() == vector["hex"]


def test_every_type_has_exactly_one_shape():
    for kind in Type:
        assert (kind in FIELDS) + (kind in FIXED) + (kind is Type.DATA) == 1, kind


def test_header_file_is_the_table():
    # Beside the package in a checkout; a wheel carries the binary instead.
    source = Path(__file__).parents[3] / "tfnz_notebook" / "_guest" / "protocol.h"
    assert source.read_text() == header.text()


_value = {
    tag: st.integers(-(1 << 63), (1 << 63) - 1) if tag in INTEGERS else st.binary(max_size=200)
    for tag in Tag
}
_fields = st.lists(
    st.sampled_from(list(Tag)).flatmap(lambda tag: st.tuples(st.just(tag), _value[tag])),
    max_size=20,
)
_channel = st.integers(0, 2**32 - 1)


@st.composite
def frames(draw):
    """(bytes, frame) of any type."""
    kind = draw(st.sampled_from(list(Type)))
    channel = draw(_channel)
    if kind in FIELDS:
        fields = draw(_fields)
        return guest.fielded(kind, channel, fields), Frame(kind, channel, fields=tuple(fields))
    if kind is Type.DATA:
        stream, offset = draw(st.integers(0, 2)), draw(st.integers(0, 2**64 - 1))
        chunk = draw(st.binary(max_size=5000))
        return guest.data(channel, stream, offset, chunk), Frame(
            kind, channel, stream, (offset,), chunk
        )
    width = {"Q": (0, 2**64 - 1), "I": (0, 2**32 - 1), "H": (0, 2**16 - 1)}
    width |= {"q": (-(2**63), 2**63 - 1), "i": (-(2**31), 2**31 - 1)}
    values = tuple(draw(st.integers(*width[letter])) for letter in FIXED[kind].format[1:])
    return guest.fixed(kind, channel, *values), Frame(kind, channel, values=values)


@given(st.lists(frames(), max_size=12), st.randoms(use_true_random=False))
def test_round_trip_however_the_bytes_are_cut(made, rng):
    raw = b"".join(one for one, _ in made)
    decoder, got, at = Decoder(), [], 0
    while at < len(raw):
        size = rng.randint(1, 40)
        got += decoder.feed(raw[at : at + size])
        at += size
    assert got == [frame for _, frame in made]


@given(st.binary(max_size=4000))
@settings(max_examples=500)
def test_no_garbage_breaks_the_decoder(raw):
    decoder = Decoder()
    try:
        for _ in decoder.feed(raw):
            pass
    except ProtocolError:
        return
    assert decoder._size <= max(len(raw), guest.MAX_PAYLOAD + HEADER.size)


def test_mutated_golden_vectors_are_frames_or_protocol_errors():
    rng = random.Random(20)
    seeds = [bytes.fromhex(vector["hex"]) for vector in GOLDEN]
    for _ in range(20_000):
        raw = bytearray(rng.choice(seeds) + rng.choice(seeds))
        for _ in range(rng.randint(1, 6)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        try:
            decoded(bytes(raw))
        except ProtocolError:
            pass


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (HEADER.pack(guest.MAX_PAYLOAD + 1, Type.DATA, 0, 0, 1), "1048577 bytes"),
        (HEADER.pack(0, 0xEE, 0, 0, 1), "0xee is unknown"),
        (HEADER.pack(0, Type.READY, 0, 1, 0), "reserved 0x0001"),
        (HEADER.pack(1, Type.READY, 0, 0, 0) + b"x", "READY of 1 bytes"),
        (HEADER.pack(3, Type.DATA, 1, 0, 1) + b"abc", "without an offset"),
        (HEADER.pack(8, Type.DATA, 3, 0, 1) + bytes(8), "Stream 3"),
        (HEADER.pack(3, Type.STAT, 0, 0, 1) + b"abc", "cut short"),
        (HEADER.pack(6, Type.STAT, 0, 0, 1) + b"\x01\x00\x08\x00\x00\x00", "8 bytes, 0 are left"),
        (HEADER.pack(7, Type.STAT, 0, 0, 1) + b"\x01\x00\x01\x00\x00\x00x", "integer of 1 bytes"),
    ],
)
def test_malformed_frames_say_what_is_wrong(raw, says):
    with pytest.raises(ProtocolError, match=says):
        decoded(raw)


def test_unknown_fields_are_left_out():
    known = guest.fielded(Type.STAT, 1, [(Tag.SIZE, 5)])[HEADER.size :]
    unknown = b"\xff\x7f\x02\x00\x00\x00hi"
    raw = HEADER.pack(len(known + unknown), Type.STAT, 0, 0, 1) + unknown + known
    [frame] = decoded(raw)
    assert frame.fields == ((Tag.SIZE, 5),)


def test_a_consumer_that_stops_early_sees_no_frame_twice():
    raw = guest.fixed(Type.PING, 0, 1) + guest.fixed(Type.PING, 0, 2)
    decoder = Decoder()
    stream = decoder.feed(raw)
    assert next(stream).values == (1,)
    stream.close()
    assert [frame.values for frame in decoder.feed(b"")] == [(2,)]


def test_arguments_over_the_limit_are_refused_before_they_are_sent():
    with pytest.raises(TooLarge, match=r"takes 1 MiB, .* Put large data in a file") as refusal:
        guest.fielded(Type.SPAWN, 2, [(Tag.ARG, b"x" * guest.MAX_PAYLOAD)])
    assert refusal.value.details == {"size": guest.MAX_PAYLOAD + 6, "limit": guest.MAX_PAYLOAD}


def test_arguments_that_do_not_fit_in_a_frame_go_before_it():
    words = [(Tag.ARG, b"x" * size) for size in (0, 1, 130_000, 250_000, 1, 700_000)] * 2
    env = [(Tag.ENV, f"A{number}=" + "y" * 1000) for number in range(100)]
    others = [(Tag.CWD, b"/"), (Tag.FLAGS, 1), (Tag.META, bytes(4096))]
    frames = guest.spawn(9, [*words, *env, *others], guest.MAX_ARGUMENTS)
    *ahead, last = decoded(b"".join(frames))
    assert len(ahead) >= 2
    assert {frame.type for frame in ahead} == {Type.ARGS}
    assert (last.type, {frame.channel for frame in (*ahead, last)}) == (Type.SPAWN, {9})
    said = [field for frame in (*ahead, last) for field in frame.fields]
    assert said == [*words, *((tag, text.encode()) for tag, text in env), *others]


@pytest.mark.parametrize("fits", [True, False])
def test_what_fits_in_spawn_goes_in_spawn(fits):
    others = [(Tag.CWD, b"/"), (Tag.META, bytes(4096))]
    size = guest.MAX_PAYLOAD - (6 + 1) - (6 + 4096) - 6 + (not fits)
    frames = guest.spawn(9, [(Tag.ARG, b"x" * size), *others], guest.MAX_ARGUMENTS)
    assert len(frames) == (1 if fits else 2)
    assert b"".join(frames[-1:])[4] == Type.SPAWN


@pytest.mark.parametrize("most", [guest.MAX_PAYLOAD, guest.MAX_ARGUMENTS])
def test_arguments_beyond_what_a_guest_takes_are_refused(most):
    words = [(Tag.ARG, b"x" * (128 << 10))] * 50
    fit = words[: most // ((128 << 10) + 6)]
    assert guest.spawn(9, fit, most)
    with pytest.raises(TooLarge, match=r"Cannot start a process: .* at most . MiB go\. Put"):
        guest.spawn(9, [*fit, words[0]], most)


def test_text_that_is_not_utf8_survives():
    raw = guest.fielded(Type.FAILED, 2, [(Tag.TEXT, b"caf\xe9")])
    [frame] = decoded(raw)
    again = guest.fielded(Type.FAILED, 2, [(Tag.TEXT, frame.text(Tag.TEXT))])
    assert again == raw
