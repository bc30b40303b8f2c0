"""When output came, and which stream came after which: marks beside a process's logs.

A mark is a stream, an offset in it and milliseconds since the process began: at each change from
one stream to the other, for who shows the last of both, and while one goes on at most every
``spacing``, for who plays it again. When there are too many the spacing grows, for those of before
as well; and where changes are too many, those before the newest ``EXACT`` marks are left out, too.

What has left the guest's memory is in files, and so are its marks, in one of their own; a few go
into the line of the process's end instead. Times are never worth failing for: where the disk cannot
take them there are none.
"""

from __future__ import annotations

import contextlib
import struct
from array import array
from pathlib import Path
from typing import Final

from tfnz_notebook.agent.disk import Disk

#: Milliseconds between two marks of one stream, at first.
SPACING: Final = 20
#: Marks that are kept at most, and how many of the newest all of them.
MOST: Final = 4096
EXACT: Final = 1024
#: As many fit into the line of a process's end.
FEW: Final = 16
#: Milliseconds until the file is written again, at least; and as a part of the time until then.
SAVED: Final = 1000
PART: Final = 64

#: The file begins with what no earlier kind of it has, from which one on no change is left out, and
#: the spacing; then each mark is a place and a time. New ones are put at its end: to replace the
#: file takes a hundred times as long.
_HEAD: Final = struct.Struct("<QQQ")
_KIND: Final = 1 << 63
_MARK: Final = 16

Told = list[list[int]]


class Marks:
    """Those of one process; ``path`` is of the file that they may have."""

    __slots__ = (
        "_disk",
        "_exact",
        "_last",
        "_path",
        "_places",
        "_saved",
        "_spacing",
        "_stream",
        "_times",
        "_written",
    )

    def __init__(self, path: str, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._places = array("q")  # offset * 2, and 1 more for stderr
        self._times = array("q")
        self._stream = 0
        self._last = 0
        self._spacing = SPACING
        self._exact = 0  # from this one on no change is left out
        self._saved: int | None = None  # when the file was written
        self._written = 0  # how many of them are in it as they are; 0: it is to be written anew

    def note(self, stream: int, offset: int, time: int) -> None:
        """Bytes of ``stream`` came, from ``offset`` on."""
        if stream == self._stream and time - self._last < self._spacing:
            return
        self._add(stream, offset, time)
        if len(self._times) > MOST:
            self._thin()

    def _thin(self) -> None:
        """Double the spacing, and apply it to those of before, until a fourth of them has gone."""
        self._written = 0
        places, times, old = self._places, self._times, len(self._times) - EXACT
        change = [n == 0 or bool((places[n] ^ places[n - 1]) & 1) for n in range(old)]
        if sum(change) > old // 2:
            change, self._exact = [n == 0 for n in range(old)], old
        kept = list(range(old))
        while len(kept) > 3 * old // 4:
            self._spacing *= 2
            kept, last = [], 0
            for n in range(old):
                if change[n] or times[n] - last >= self._spacing:
                    kept.append(n)
                    last = times[n]
        self._exact = sum(n < self._exact for n in kept)
        for each in (places, times):
            each[:old] = array("q", [each[n] for n in kept])

    def _add(self, stream: int, offset: int, time: int) -> None:
        self._stream, self._last = stream, time
        self._places.append(offset * 2 + stream - 1)
        self._times.append(time)

    def told(self) -> Told:
        """[stream, offset, milliseconds] of each."""
        pairs = zip(self._places, self._times, strict=True)
        return [[place % 2 + 1, place >> 1, time] for place, time in pairs]

    def order(self) -> Told:
        """[stream, offset] of the newest changes from one stream to the other."""
        changes: Told = []
        for stream, offset, _ in self.told()[self._exact :]:
            if not changes or changes[-1][0] != stream:
                changes.append([stream, offset])
        return changes[-EXACT:]

    # -- in a line, or in the file

    def kept(self) -> Told | None:
        """All of them, for the line of its end; None: they are in the file."""
        if len(self._times) <= FEW:
            return self.told()
        self._save()
        return None

    def recall(self, told: Told | None) -> None:
        """Be those that :meth:`kept` gave, or those in the file."""
        if told is None:
            with contextlib.suppress(OSError):
                self._read(self._disk.read(Path(self._path)))
        for stream, offset, time in told or ():
            self._add(stream, offset, time)

    def keep(self) -> None:
        """Some output has left the guest's memory: have what was marked in the file by and by."""
        if self._saved is None or self._last - self._saved > max(SAVED, self._last // PART):
            self._save()

    def _save(self) -> None:
        new = array("q")
        for place, time in zip(
            self._places[self._written :], self._times[self._written :], strict=True
        ):
            new.extend((place, time))
        path, data = Path(self._path), new.tobytes()
        try:
            if self._written:
                file = self._disk.extend(path)
                try:
                    whole = file.append(data) == len(data)
                finally:
                    file.close()
            else:
                self._disk.replace(path, _HEAD.pack(_KIND, self._exact, self._spacing) + data)
                whole = True
        except OSError:
            self._written = 0
            return
        self._written = len(self._times) if whole else 0
        self._saved = self._last

    def _read(self, raw: bytes) -> None:
        if len(raw) < _HEAD.size:
            return
        kind, exact, spacing = _HEAD.unpack_from(raw)
        count = (len(raw) - _HEAD.size) // _MARK  # the last one may be torn
        if kind != _KIND or count > 2 * MOST:
            return
        both = array("q", raw[_HEAD.size : _HEAD.size + count * _MARK])
        self._places, self._times = both[::2], both[1::2]
        self._exact, self._spacing = exact, spacing
        if self._times:
            self._stream, self._last = self._places[-1] % 2 + 1, self._times[-1]
        self._saved = self._last

    def remove(self) -> None:
        """Its file is needed no more."""
        if self._saved is not None:
            self._saved = None
            with contextlib.suppress(OSError):
                self._disk.remove(Path(self._path))
