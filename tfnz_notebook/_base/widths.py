"""How many columns a character takes in a terminal, by Unicode 11, as in pages.

``_frontend/src/text/widths.ts`` has the same table: xterm.js's addon for Unicode 11. A newer one,
as Python's own, would put what follows a new emoji elsewhere in a saved terminal than on the
screen.
"""

from __future__ import annotations

from functools import cache
from typing import Final

# Ranges from U+00A0 on, in base 36: how many characters lie before each, how many it has.
ZERO: Final = """
    gw 34 7n 7 7b 19 1 1 1 2 1 2 1 1 1k 6 a b 1 1 1a l g 1 2t 8 1 6 2 2 1 4 x 1 1 1 u r 2j b 1m 9
    9 1 o 4 1 9 1 3 1 5 17 3 3b 1c 1j 1 1 1 4 8 4 1 3 7 a 2 t 1 1m 1 4 4 8 1 k 2 q 1 2 2 1l 1 4 2
    4 2 2 3 3 1 u 2 3 1 b 2 1l 1 4 5 1 2 4 1 k 2 m 6 1 1 1m 1 2 1 1 4 8 1 8 1 b 2 u 1 1p 1 c 1 1e
    1 3 1 1l 3 5 3 1 4 7 2 b 2 t 1 1m 1 2 1 6 1 5 2 k 2 s 2 1l 2 4 4 8 1 k 2 2u 1 7 3 1 1 2i 1 2 7
    c 8 2q 1 2 9 b 6 22 2 r 1 1 1 1 1 1j e 1 5 1 2 5 b 1 10 9 1 2u 4 1 6 1 2 2 2 p 2 4 3 g 4 d 1 2
    2 6 1 f 1 5e 4g 9p 3 qa 3 t 3 t 2 u 2 1s 2 1 7 8 1 2 b 9 1 19 4 3a 2 y 1 3a 3 4 2 9 1 6 3 63 2
    2 1 1m 1 1 7 1 1 1 1 2 8 6 a 2 1 1c f 1t 4 1c 1 1 5 1 1 5 1 14 9 c 2 w 4 2 2 1 3 1k 1 1 2 3 1
    1 3 1m 8 2 2 48 3 1 d 1 7 4 1 6 1 3 2 5i 1m 1 5 ej 5 q 5 1d 5 1 a 2o x 2da 3 3x 1 2o w fe 4 2z
    2 n9w 4 1 a w 2 28 2 7k 1 3 1 4 1 p 2 4d 2 q i d 1 12 8 p b 1a 3 1c 1 2 4 2 2 13 1 1v 6 2 2 2
    2 c 1 8 1 1b 1 1f 1 1 3 2 2 5 2 1 1 16 2 8 1 6m 1 2 1 4 1 fn4 1 kh g g g 5r 1 6x 3 e9 1 6a 1
    45 5 1ae 3 1 2 5 4 14 3 4 1 4l 2 fx 4 f2 b 4w 1 1i f 1k 3 1d 4 2 2 2 1 f 1 1e 3 10 5 1 8 1q 1
    c 2 1g 9 a 4 2q 3 2 1 1 2 6 1 4g 1 3 8 l 2 1l 2 3 1 11 7 3 5 5f 8 2 3 1 1 n 1 2c 6 1 1 4 2 1 2
    6m 4 6 2 1 2 r 2 2d 8 2 1 1 2 2y 1 1 1 2 6 1 1 2t 3 2 4 1 5 77 9 1 2 bd 4 2 2 4 1 w a 14 6 2 4
    8 1 9 6 2 3 1a d 1 2 ba 7 1 6 1 1 2a m 2 7 1 2 1 2 3e 6 3 1 1 2 1 7 1 1 20 2 3 1 1 1 9n 2 46z
    9 at3 5 1n 7 t4 1 1r 4 f7u 2 1 4 43n 3 9 g 2 7 u 4 44 3 1iz 1j 4 1e 8 1 e 1 m 5 1 f 11s 7 1 h
    2 7 1 2 1 5 79 7 c5 4 15s 7 31 7 gzau 1 u 2o 3k 6o
"""
WIDE: Final = """
    38g 2o 3i2 2 d 2 5a 4 3 1 2 1 eh 2 l 2 1e c 17 1 j 1 d 1 8 2 h 2 5 2 8 1 5 1 l 1 7 2 1 1 4 1 2
    1 7 1 4 2 s 1 z 1 1 1 4 3 1 1 1p 3 o 1 e 1 nv 2 1f 1 4 1 mi q 1 2h c 5y q c 4 16 4 h 2 2e 4 2t
    5 17 1 2m 1 17 5 10 c 1b 1 14 8 5f4 1s h3h 3 1j wp t hv 8mc 6l8 e8 ls a m z 1 j 1 4 45 2o 3j 7
    m49 4 s 4qg 8 kz 7bh 7z 1d 3 h 4 8 b0 c20 1 5m 1 5a 1 2 a 2t 3 d 18 4 9 7 2 e 6 4a x c 9 1 1y
    1 m c 17 4 5 c h 3 1 3 1z 1 1 1 57 2 1r d 4 1 o i 1 q 2 d 1 2e 2d 1c 1y 6 1 3 3 2 1 l 2 7 7 6d
    c 81 2t 1 4 3 15 2 6 3 t 2 1f 34 4 4 3 5 3 d 6 12i 1eke 2 1eke
"""
_FIRST: Final = 0xA0
_LIMIT: Final = 0x110000


@cache
def table() -> bytes:
    """A byte a character: 0 for what joins the one before it and for controls, 2 for CJK, emoji."""
    found = bytearray(b"\1" * _LIMIT)
    found[:0x20] = bytes(0x20)
    found[0x7F:_FIRST] = bytes(_FIRST - 0x7F)
    for text, width in ((ZERO, b"\0"), (WIDE, b"\2")):
        at = _FIRST
        numbers = [int(each, 36) for each in text.split()]
        for before, size in zip(numbers[::2], numbers[1::2], strict=True):
            at += before
            found[at : at + size] = width * size
            at += size
    return bytes(found)
