"""What a cell in a container shows, made harmless for a page.

Text is text, of pictures PNG and JPEG are pictures. HTML and SVG go into a frame that runs no
script, has no origin, and may load nothing: it cannot tell its size, which is guessed. All else
would have to be believed, and is, of an interpreter with ``trust=True``; else it is not shown.
"""

from __future__ import annotations

import base64
import html
import re
from typing import Any, Final

from tfnz_notebook._base.numbers import size
from tfnz_notebook.interpreter import Result
from tfnz_notebook.magics.shown.text import clean

#: Characters of text, and pixels of a picture, that a page is given.
MOST_TEXT: Final = 1 << 20
MOST_PIXELS: Final = 50_000_000
#: What begins a file of each kind.
_PICTURES: Final = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
#: Pixels: a row of a table, all around, and as high as a frame is at most.
_ROW: Final = 25
_AROUND: Final = 24
_HIGHEST: Final = 480
_ROWS: Final = re.compile(r"<(tr|br|p|li|h[1-6]|pre|div)\b|\n(?=[^\n]*</pre>)", re.IGNORECASE)
_HEIGHT: Final = re.compile(
    r"""<svg\b[^>]*?\bheight=["']?(\d{1,5})(?:\.\d*)?(pt)?""", re.IGNORECASE
)
_HEAD: Final = (
    "<!doctype html><meta charset=utf-8><meta http-equiv=Content-Security-Policy "
    """content="default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'">"""
    "<style>body{margin:8px;font:13px system-ui,sans-serif;color:#111}"
    "table{border-collapse:collapse;font-size:12px}th,td{padding:4px 8px;text-align:right}"
    "table,th,td{border:0}"
    "thead{border-bottom:1px solid #bbb}tbody tr:nth-child(odd){background:#f5f5f5}</style>"
)


def shown(data: dict[str, Any], *, trusted: bool) -> dict[str, Any]:
    """A value by MIME type, as a page may have it."""
    if trusted:
        return data
    text = str(data.get("text/plain", ""))
    found: dict[str, Any] = {"text/plain": clean(text[:MOST_TEXT])}
    if len(text) > MOST_TEXT:
        found["text/plain"] += f"\n[{size(len(text) - MOST_TEXT)} left out]"
    for kind in _PICTURES:
        picture = _picture(kind, data.get(kind))
        if picture:
            found[kind] = picture
    for kind in ("text/html", "image/svg+xml"):
        if isinstance(data.get(kind), str):
            found["text/html"] = frame(data[kind])
            break
    return found


def of_result(result: Result) -> dict[str, Any]:
    """For IPython: what a result's value is shown as."""
    if result.value is None:
        return {"text/plain": repr(result)}
    return shown(result.value, trusted=result.trusted)


def frame(content: str) -> str:
    """HTML of a container's, where it can do nothing."""
    drawn = _HEIGHT.search(content)
    if drawn:
        high = int(int(drawn[1]) * (4 / 3 if drawn[2] else 1))
    else:
        rows = [each.lower() for each in _ROWS.findall(content)]
        around = rows.count("div") if "tr" in rows else 0  # a table has its own rows
        high = _ROW * max(1, len(rows) - around)
    return (
        f'<iframe sandbox="" referrerpolicy="no-referrer" title="Output of a container" '
        f'srcdoc="{html.escape(_HEAD + content)}" style="display:block;width:100%;'
        f"height:{min(high + _AROUND, _HIGHEST)}px;border:0;background:#fff;color-scheme:light;"
        'resize:vertical"></iframe>'
    )


def _picture(kind: str, given: object) -> str:
    """In base64, if it is one, and of a size that a page can draw."""
    if not isinstance(given, str):
        return ""
    try:
        picture = base64.b64decode("".join(given.split()), validate=True)
    except ValueError:
        return ""
    if not picture.startswith(_PICTURES[kind]):
        return ""
    if kind == "image/png":
        wide, high = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        if wide * high > MOST_PIXELS:
            return ""
    return base64.b64encode(picture).decode()
