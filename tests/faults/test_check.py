"""The checker finds what it is there to find."""

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.check import LINE, LINES, TOTAL, Stream, Wrong

BLOCK = LINE * LINES


@pytest.fixture(scope="module")
def written(writer: Path) -> bytes:
    """What a writer wrote: four blocks."""
    argv = [str(writer), "seed=9", "blocks=4", "code=3"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    assert done.returncode == 3
    return done.stdout


def check(data: bytes, *, pieces: int = 1 << 20, start: int = 0) -> None:
    stream = Stream(9, start=start)
    for at in range(0, len(data), pieces):
        stream.feed(data[at : at + pieces])
    stream.complete()


@pytest.mark.parametrize("pieces", [7, 64, 1000, 65536, 100_000, 1 << 20])
def test_what_is_right_is_right_in_pieces_of_any_size(written: bytes, pieces: int) -> None:
    before = TOTAL.bytes
    check(written, pieces=pieces)
    assert TOTAL.bytes - before == len(written) == 4 * BLOCK


def test_the_end_of_a_stream_can_be_checked_alone(written: bytes) -> None:
    for start in (1, LINE, BLOCK, 2 * BLOCK + 77):
        check(written[start:], start=start)
    with pytest.raises(Wrong):
        check(written[BLOCK:], start=0)
    with pytest.raises(Wrong):
        check(written[BLOCK - LINE :], start=BLOCK)


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "a byte changed": lambda data: data[:5000] + b"x" + data[5001:],
    "a byte lost": lambda data: data[:5000] + data[5001:],
    "a byte doubled": lambda data: data[:5001] + data[5000:],
    "a line lost": lambda data: data[: 9 * LINE] + data[10 * LINE :],
    "a line doubled": lambda data: data[: 10 * LINE] + data[9 * LINE :],
    "a block lost": lambda data: data[:BLOCK] + data[2 * BLOCK :],
    "a block doubled": lambda data: data[: 2 * BLOCK] + data[BLOCK:],
    "two blocks in the wrong order": lambda data: (
        data[:BLOCK] + data[2 * BLOCK : 3 * BLOCK] + data[BLOCK : 2 * BLOCK] + data[3 * BLOCK :]
    ),
    "the end missing": lambda data: data[:-1],
    "the last block missing": lambda data: data[:-BLOCK],
    "something after the end": lambda data: data + b"x",
    "a mark changed": lambda data: data[: BLOCK - 30] + b"0" + data[BLOCK - 29 :],
}


@pytest.mark.parametrize("kind", SPOILED)
def test_what_is_wrong_is_found(written: bytes, kind: str) -> None:
    with pytest.raises(Wrong, match="^seed 9: "):
        check(SPOILED[kind](written))


def test_of_what_was_cut_off_the_rest_is_checked(written: bytes) -> None:
    for at in random.Random(1).sample(range(len(written)), 20):
        stream = Stream(9)
        stream.feed(written[:at])
        stream.partial()
    stream = Stream(9)
    stream.feed(written[: 9 * LINE] + written[10 * LINE : 20 * LINE])
    with pytest.raises(Wrong, match="line 9 came as"):
        stream.partial()
