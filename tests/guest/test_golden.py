"""The C codec against the golden vectors and against the Python one."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guest.conftest import REPOSITORY, SOURCES

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import HEADER, INTEGERS, Stream, Tag, Type
from tfnz_notebook.errors import ProtocolError

VECTORS: list[dict[str, Any]] = json.loads(
    (REPOSITORY / "tests" / "unit" / "wire" / "golden.json").read_text()
)


@pytest.fixture(scope="session")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], list[str]]:
    """Lines of hex to golden.c's answers."""
    program = tmp_path_factory.mktemp("golden") / "golden"
    sources = [str(SOURCES / "connection" / "wire.c"), str(Path(__file__).with_name("golden.c"))]
    flags = [
        "-std=c11",
        "-D_GNU_SOURCE",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-g",
        "-fsanitize=address,undefined",
    ]
    subprocess.run(["cc", *flags, f"-I{SOURCES}", "-o", str(program), *sources], check=True)

    def codec(lines: list[str]) -> list[str]:
        done = subprocess.run(
            [str(program)], input="\n".join(lines) + "\n", capture_output=True, text=True,
            check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.splitlines()

    return codec


def described(frame: wire.Frame, payload: bytes) -> str:
    """A frame as golden.c puts it."""
    words = [str(int(frame.type)), str(frame.channel), str(frame.stream)]
    if frame.type is Type.DATA:
        words.append(f"{frame.values[0]},{frame.data.hex()}")
    elif frame.type in wire.FIELDS:
        for tag, value in frame.fields:
            words.append(
                f"{int(tag)}={value}" if isinstance(value, int) else f"{int(tag)}:{value.hex()}"
            )
    else:
        words.append(payload.hex())
    return " ".join(words)


def test_vectors_agree(codec: Callable[[list[str]], list[str]]) -> None:
    answers = codec([vector["hex"] for vector in VECTORS])
    assert len(answers) == len(VECTORS) > 20
    for vector, answer in zip(VECTORS, answers, strict=True):
        raw = bytes.fromhex(vector["hex"])
        (frame,) = wire.Decoder().feed(raw)
        left, _, right = answer.partition(" -> ")
        assert left == described(frame, raw[HEADER.size :]), vector["name"]
        assert right == vector["hex"], vector["name"]
        expected = vector["frame"]
        assert (int(frame.type), frame.channel) == (expected["type"], expected["channel"])


def one_of_each() -> Iterator[bytes]:
    """A frame of every type, with every tag, at the ends of their ranges."""
    largest = {"Q": 2**64 - 1, "q": -(2**63), "I": 2**32 - 1, "i": -(2**31), "H": 2**16 - 1}
    values: list[tuple[Tag, int | bytes]] = [
        (tag, value)
        for tag in Tag
        for value in ((0, -1, 2**63 - 1) if tag in INTEGERS else (b"", b"\xff x"))
    ]
    for kind in Type:
        if kind is Type.DATA:
            yield wire.data(2**32 - 1, Stream.ERR, 2**64 - 1, bytes(range(256)))
            yield wire.data(0, Stream.IN, 0, b"")
        elif kind in wire.FIELDS:
            yield wire.fielded(kind, 7, values)
        else:
            codes = wire.FIXED[kind].format.lstrip("<")
            yield wire.fixed(kind, 9, *(largest[code] for code in codes))


def test_every_type_and_tag(codec: Callable[[list[str]], list[str]]) -> None:
    raws = list(one_of_each())
    for raw, answer in zip(raws, codec([raw.hex() for raw in raws]), strict=True):
        (frame,) = wire.Decoder().feed(raw)
        assert answer == f"{described(frame, raw[HEADER.size :])} -> {raw.hex()}"


def mutations(count: int) -> Iterator[bytes]:
    dice = random.Random(20)
    raws = [bytes.fromhex(vector["hex"]) for vector in VECTORS]
    raws = [raw for raw in raws if len(raw) < 1000]
    for _ in range(count):
        raw = bytearray(dice.choice(raws))
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(raw))
            raw[at] = dice.choice([raw[at] ^ 1 << dice.randrange(8), dice.randrange(256), 0])
        if dice.random() < 0.3:
            size = dice.randrange(len(raw) + 1)
            raw = raw[:size]
        if dice.random() < 0.5 and len(raw) >= 12:
            raw[:4] = (len(raw) - 12).to_bytes(4, "little")
        yield bytes(raw)


def verdict(raw: bytes) -> str | None:
    """Python's, as golden.c puts it; None where one side is stricter on purpose."""
    if len(raw) < HEADER.size:
        return "short"
    size, kind, *_ = HEADER.unpack_from(raw)
    if kind == Type.DATA and size > 8 + wire.MAX_DATA:
        return None
    if size <= wire.MAX_PAYLOAD and len(raw) != HEADER.size + size:
        return None  # not one frame: golden.c is asked about single ones
    try:
        (frame,) = wire.Decoder().feed(raw)
    except ProtocolError:
        return "bad"
    return described(frame, raw[HEADER.size :])


def test_both_sides_refuse_the_same(codec: Callable[[list[str]], list[str]]) -> None:
    cases = [raw for raw in mutations(20_000) if raw]
    answers = codec([raw.hex() for raw in cases])
    compared = 0
    for raw, answer in zip(cases, answers, strict=True):
        expected = verdict(raw)
        if expected is None:
            continue
        got = answer.partition(" -> ")[0]
        if expected != got and expected not in ("bad", "short"):
            got = without_unknown(got)
        assert got == expected, raw.hex()
        compared += 1
    assert compared > 5000


def without_unknown(line: str) -> str:
    """Python leaves out fields it does not know."""
    known = {str(int(tag)) for tag in Tag}
    words = line.split(" ")
    kept = [word for word in words[3:] if word.replace("=", ":").split(":")[0] in known]
    return " ".join(words[:3] + kept)


def test_header_is_current() -> None:
    from tfnz_notebook._wire import header

    assert (SOURCES / "protocol.h").read_text() == header.text()
    assert Tag.ARG not in INTEGERS
