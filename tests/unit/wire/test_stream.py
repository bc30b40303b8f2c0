"""Messages on a stream of bytes: whole, in order, however they are cut; and never beyond bounds."""

import random
import struct

import pytest

from tfnz_notebook._wire.operations import MAX_FRAME
from tfnz_notebook._wire.stream import Messages, framed
from tfnz_notebook.errors import ProtocolError

SIZES = (0, 1, 7, 100, 4096, 65_527, 65_528, 65_529, 300_000)


def taken(data: bytes, dice: random.Random, most: int) -> list[list[bytes]]:
    """What comes of these bytes, read in pieces of at most so many."""
    messages, found, at = Messages(), list[list[bytes]](), 0
    while at < len(data):
        room = messages.room
        size = min(len(room), len(data) - at, dice.randint(1, most))
        room[:size] = data[at : at + size]
        at += size
        found += messages.filled(size)
    return found


@pytest.mark.parametrize("most", [1, 9, 70_000, 1 << 20])
def test_messages_are_whole_however_they_are_cut(most: int) -> None:
    dice = random.Random(most)
    sent = [
        [dice.randbytes(dice.choice(SIZES[:-1])), *payload]
        for size in SIZES
        for payload in ([], [b""], [dice.randbytes(size)])
    ]
    if most == 1:
        sent = [each for each in sent if sum(map(len, each)) < 10_000]
    assert taken(b"".join(piece for each in sent for piece in framed(each)), dice, most) == sent


@pytest.mark.parametrize(
    "lengths", [(MAX_FRAME + 1, 0), (1, MAX_FRAME + 2), (0xFF000000, 0), (0xFFFFFFFF,) * 2]
)
def test_what_is_before_a_message_beyond_the_bounds_arrives(lengths: tuple[int, int]) -> None:
    messages = Messages()
    data = framed([b"first"])[0] + struct.pack(">II", *lengths)
    messages.room[: len(data)] = data
    found = messages.filled(len(data))
    assert next(found) == [b"first"]
    with pytest.raises(ProtocolError, match="bytes"):
        next(found)
