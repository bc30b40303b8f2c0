"""A process's output with its times, as an asciicast (version 2), which asciinema and others play.

What was typed is not in it, but for what a terminal echoed, nor is the environment.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

#: [stream, offset, milliseconds since the process began], in the order in which they came.
Marks = Sequence[Sequence[int]]
#: What a log has of each stream: the offset of its first byte, and the bytes.
Streams = Mapping[int, tuple[int, bytes]]

#: Bytes of one event; a player draws a frame for each.
PIECE: Final = 64 << 10


def asciicast(
    streams: Streams, marks: Marks, *, size: tuple[int, int], began: float, title: str, tty: bool
) -> str:
    """The recording: a line that says what it is, and one for each piece of output.

    ``size``: rows and columns; ``began``: seconds since the epoch, or 0. Times are those of the
    marks, as exact as they are; what came between two has the time of the one before.
    """
    rows, columns = size
    head: dict[str, object] = {"version": 2, "width": columns, "height": rows, "title": title}
    if began:
        head["timestamp"] = int(began)
    lines = (head, *_said(streams, marks, tty=tty))
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines)


def _said(streams: Streams, marks: Marks, *, tty: bool) -> Iterator[list[object]]:
    decoders = {n: codecs.getincrementaldecoder("utf-8")("replace") for n in streams}
    time = 0.0
    for stream, data, time in _pieces(streams, marks):
        text = decoders[stream].decode(data)
        if text:
            # A pipe has no terminal that would begin each line at its left.
            yield [time, "o", text if tty else text.replace("\n", "\r\n")]
    for decoder in decoders.values():
        if rest := decoder.decode(b"", final=True):
            yield [time, "o", rest]


def _pieces(streams: Streams, marks: Marks) -> Iterable[tuple[int, bytes, float]]:
    """(stream, bytes, seconds), in the order in which they came."""
    told = [(stream, offset, time) for stream, offset, time in marks if stream in streams]
    following = {stream: start + len(data) for stream, (start, data) in streams.items()}
    runs: list[tuple[int, int, int, int]] = []
    for stream, offset, time in reversed(told):
        runs.append((stream, offset, following[stream], time))
        following[stream] = min(offset, following[stream])
    # What came before the first mark that is kept of its stream.
    runs += [(stream, 0, end, 0) for stream, end in reversed(following.items())]
    latest = 0
    for stream, begin, end, time in reversed(runs):
        start, data = streams[stream]
        latest = max(latest, time)
        low, high = max(0, begin - start), max(0, end - start)
        for at in range(low, high, PIECE):
            yield stream, data[at : min(at + PIECE, high)], latest / 1000
