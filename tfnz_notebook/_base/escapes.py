"""Escape sequences (ECMA-48): what they look like, whole or broken off.

A terminal does what they tell it, so whatever shows what a container says takes them out, all or
all but the harmless; what is one of them is decided here and nowhere else. One that does not end
hides the rest of its line at most. ``_frontend/src/output/ansi.ts`` reads them by the same rules.
"""

from __future__ import annotations

import re
from typing import Final

#: Cursor, colours and the like: ``ESC [`` or its C1 form, parameters, intermediates, the final.
CSI: Final = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
_STRING: Final = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c\n]*"
#: Titles, links, the clipboard: OSC, DCS, SOS, PM and APC, up to BEL, ST, CAN or SUB.
STRING: Final = rf"{_STRING}(?:[\x07\x18\x1a\x9c]|\x1b\\)?"
#: The short ones. After the two above: these begin as they do.
SHORT: Final = r"\x1b[ -/]*[0-~]?"
#: Controls that are no sequence, but for tab and newline.
CONTROL: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"

#: The end of a text, where a sequence has begun and more may come.
BEGUN: Final = re.compile(rf"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*|{_STRING}\x1b?|\x1b[ -/]*)\Z")

_ANY: Final = re.compile(f"{CSI}|{STRING}|{SHORT}")


def without(text: str) -> str:
    """Text without its escape sequences."""
    return _ANY.sub("", text)
