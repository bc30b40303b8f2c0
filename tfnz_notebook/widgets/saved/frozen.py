"""Output as it stays in a notebook: safe text, and HTML that looks like the view it was.

Nothing here needs a page, a stylesheet or a script: the HTML is read on GitHub and in exported
pages, in light and in dark. Colours are JupyterLab's variables where there are such, else ones that
read on white and on black. Text is escaped, always; sizes are bounded, so that a cell stays small.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from tfnz_notebook._base.numbers import size
from tfnz_notebook.widgets.saved.ansi import Colour, Parser, Span, Style, visible
from tfnz_notebook.widgets.status import Status

#: Most lines and characters of plain text; most lines, and bytes of markup, of HTML.
TEXT_LINES, TEXT_SIZE = 200, 16 << 10
HTML_LINES, HTML_SIZE = 2500, 56 << 10
#: Bytes of output that are looked at: more cannot fit.
TAIL: Final = 48 << 10
#: Lines that are seen without scrolling, as in the view.
ROWS: Final = 20

#: The sixteen colours, readable on both grounds.
PALETTE: Final = (
    *("#6b6b6b", "#d33f3f", "#2e8b3d", "#a97a00", "#3b78d8", "#a94fc4", "#138a96", "#8c8c8c"),
    *("#8a8a8a", "#ef5350", "#3fa34d", "#c79100", "#5b93f0", "#c06bd8", "#26a5b5", "#a8a8a8"),
)
_CUBE: Final = (0, 95, 135, 175, 215, 255)

INK: Final = "var(--jp-content-font-color1,inherit)"
DIM: Final = "var(--jp-content-font-color2,#767676)"
LINE: Final = "var(--jp-border-color2,rgba(128,128,128,.4))"
PAPER: Final = "var(--jp-layout-color1,transparent)"
BAR: Final = "var(--jp-layout-color2,rgba(128,128,128,.12))"
BAD: Final = "var(--jp-error-color1,#d33f3f)"
GOOD: Final = "var(--jp-success-color1,#2e8b3d)"
SIZE: Final = "var(--jp-code-font-size,13px)"
MONO: Final = "var(--jp-code-font-family,ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace)"
UI: Final = "var(--jp-ui-font-family,system-ui,sans-serif)"


def _safe(name: str, value: str, plain: str = "") -> str:
    """A declaration with a simpler one before it.

    JupyterLab shows notebooks that are not trusted without declarations that it cannot judge, as
    those with ``var()``. What stays must do: the height above all.
    """
    plain = plain or value.partition("(")[2].partition(",")[2].removesuffix(")")
    return f"{name}:{plain};{name}:{value}"


#: JupyterLab leaves 20 pixels beside HTML and none beside a view; without this the text would be
#: wrapped anew when a view freezes. Elsewhere the variable is not there, and the margin 0.
FLUSH: Final = "margin-right:calc(-20px*min(1,var(--jp-code-line-height,0)))"
#: Classes of what MathJax 3 and 2 leave alone.
NO_MATH: Final = "mathjax_ignore tex2jax_ignore"


class Row(NamedTuple):
    """A line of output, and whether it came from stderr."""

    spans: Sequence[Span]
    stderr: bool = False

    @property
    def size(self) -> int:
        """Its characters."""
        return sum(len(span.text) for span in self.spans) + 1


def rows(pieces: Iterable[tuple[int, bytes]]) -> list[Row]:
    """The lines of some output: (stream, bytes) in the order in which they came."""
    parsers = {1: Parser(), 2: Parser()}
    found = [Row(spans, n == 2) for n, data in pieces for spans in parsers[n].feed(data)]
    return found + [Row(spans, n == 2) for n in parsers for spans in parsers[n].close()]


def weave(
    streams: Mapping[int, tuple[int, bytes]], order: Iterable[tuple[int, int]]
) -> list[tuple[int, bytes]]:
    """Pieces of several streams (each with the offset of its first byte) as they came.

    ``order``: (stream, offset) of each change from one to another; what came before the first
    change of its stream that is known comes first.
    """
    marks = [(stream, offset) for stream, offset in order if stream in streams]
    ends: list[int] = []
    following = {stream: start + len(data) for stream, (start, data) in streams.items()}
    for stream, offset in reversed(marks):
        ends.append(following[stream])
        following[stream] = min(offset, following[stream])
    runs = [(stream, 0, following[stream]) for stream in streams]
    runs += [(*mark, end) for mark, end in zip(marks, reversed(ends), strict=True)]
    found = []
    for stream, begin, end in runs:
        start, data = streams[stream]
        piece = data[max(0, begin - start) : max(0, end - start)]
        if piece:
            found.append((stream, piece))
    return found


def plain(found: Sequence[Row], above: int = 0, status: str = "", *, gone: int = 0) -> str:
    """The last of it as text, with what it stands under and how it ended.

    ``above``: bytes before ``found``; ``gone`` of them are not in the log any more.
    """
    kept: list[str] = []
    taken = 0
    for row in reversed(found[-TEXT_LINES:]):
        taken += row.size
        if taken > TEXT_SIZE and kept:
            break
        kept.append("".join(span.text for span in row.spans)[:TEXT_SIZE])
    above += sum(row.size for row in found[: len(found) - len(kept)])
    head = [f"[{_above(above, gone)}]"] if above else []
    return "\n".join([*head, *reversed(kept), *([f"[{status}]"] if status else [])])


def markup(
    found: Sequence[Row],
    above: int = 0,
    status: Status | None = None,
    *,
    title: str = "",
    tall: int = ROWS,
    gone: int = 0,
) -> str:
    """The last of it as HTML, with its status line; ``tall``: lines seen without scrolling."""
    kept: list[Row] = []
    room = HTML_SIZE
    for row in reversed(found[-HTML_LINES:]):
        room -= _cost(row) + (_EDGE if kept and row.stderr and not kept[-1].stderr else 1)
        if room < 0:
            if not kept:
                kept.append(_end(row))
            break
        kept.append(row)
    above += sum(row.size for row in found) - sum(row.size for row in kept)
    kept.reverse()
    parts = []
    if above:
        parts.append(
            f'<div style="padding:1px 8px;border-bottom:1px dashed {LINE};color:{DIM};'
            f'font-size:11px;line-height:1.5">{html.escape(_above(above, gone))}</div>'
        )
    if kept:
        blocks = "".join(
            _block(list(group), stderr=stderr)
            for stderr, group in groupby(kept, key=lambda row: row.stderr)
        )
        # A line break right after <pre> is not part of it.
        blocks = "\n" + blocks if blocks.startswith("\n") else blocks
        # From below: a scrolled box without a script begins at its end.
        room = 8 - 19 * bool(above)  # padding, and the line above
        height = _safe("max-height", f"calc({tall}*1.4*{SIZE} + {room}px)", f"{tall * 18 + room}px")
        box = f"display:flex;flex-direction:column-reverse;overflow:auto;{height}"
        parts.append(f'<div style="{box}"><pre style="{_PRE}">{blocks}</pre></div>')
    if status is not None:
        parts.append(bar(status, title=title))
    return frame("".join(parts))


def frame(inside: str) -> str:
    """The border and the ground of a view around some HTML."""
    return (
        f'<div style="border:1px solid #8886;border-color:{LINE};border-radius:4px;color:{INK};'
        f'background:{PAPER};font:12px/1.4 {UI};overflow:hidden;{FLUSH}">{inside}</div>'
    )


def bar(status: Status, *, title: str = "") -> str:
    """A status line: how it is, what it is, and what is known of it."""
    colour = {"ok": GOOD, "bad": BAD, "running": GOOD}.get(status.state, DIM)
    said = _safe("color", colour) if status.state in ("ok", "bad") else "color:inherit"
    radius = "1px" if status.state == "bad" else "50%"
    dot = f"flex:none;width:8px;height:8px;border-radius:{radius};{_safe('background', colour)}"
    rest = "min-width:0;overflow:hidden;text-overflow:ellipsis"
    return (
        '<div style="display:flex;align-items:center;gap:8px;height:26px;padding:0 8px;'
        f'white-space:nowrap;{_safe("background", BAR)}"><span style="{dot}"></span>'
        f'<span style="flex:none;font-weight:600;{said}">{_text(status.words)}</span>'
        f'<span style="{rest};font-family:{MONO}">{_text(title)}</span>'
        f'<span style="flex:none;{_safe("color", DIM)}">{_text(status.facts)}</span></div>'
    )


_PRE: Final = (
    "flex:none;overflow:visible;margin:0;padding:4px 8px;border:0;background:none;color:inherit;"
    f"white-space:pre-wrap;overflow-wrap:anywhere;font:{SIZE}/1.4 {MONO}"
)
_STDERR: Final = (
    f"display:block;{_safe('color', BAD)};border-left:2px solid;margin-left:-8px;padding-left:6px"
)
_EDGE: Final = len(_STDERR) + 24


def _text(text: str) -> str:
    return html.escape(visible(text))


def _above(before: int, gone: int) -> str:
    if gone:
        lost = f"the first {size(gone)} of it dropped"
        return f"{size(before)} above, {lost}: process.log() has the rest"
    return f"{size(before)} above: process.log() has all of it"


def _cost(row: Row) -> int:
    return sum(len(_span(span).encode("utf-8", "replace")) for span in row.spans)


def _end(row: Row) -> Row:
    """What of a line's end fits."""
    room, kept = HTML_SIZE // 8, list[Span]()
    for span in reversed(row.spans):
        # A span's style takes up to a hundred bytes, a character up to six.
        room -= 16 + len(span.text)
        if room < 0:
            kept.append(span._replace(text=span.text[-(16 + len(span.text) + room) :]))
            break
        kept.append(span)
    return row._replace(spans=kept[::-1])


def _block(lines: list[Row], *, stderr: bool) -> str:
    # Each line with its end, so that it reads well also where styles are not shown.
    inside = "".join("".join(map(_span, row.spans)) + "\n" for row in lines)
    return f'<span style="{_STDERR}">{inside}</span>' if stderr else inside


def _span(span: Span) -> str:
    # quote=False: it is never inside an attribute
    text = html.escape(span.text, quote=False)
    rule = css(span.style)
    return f'<span style="{rule}">{text}</span>' if rule else text


def css(style: Style) -> str:
    """A style as CSS declarations; nothing in it comes from output but numbers."""
    fg, bg = colour(style.fg), colour(style.bg)
    if style.fg == 0 and bg:  # the grey that is black on both grounds is none on a colour
        fg = "#000"
    if style.inverse:
        fg, bg = bg or "var(--jp-layout-color1,#fff)", fg or "var(--jp-content-font-color1,#555)"
    fg = "transparent" if style.hidden else fg
    rules = [f"color:{fg}"] if fg else []
    rules += [f"background:{bg}"] if bg else []
    rules += ["font-weight:bold"] if style.bold else []
    rules += ["opacity:.7"] if style.dim else []
    rules += ["font-style:italic"] if style.italic else []
    under, through = "underline" * style.underline, "line-through" * style.strike
    rules += [f"text-decoration:{under} {through}".rstrip()] if under or through else []
    return ";".join(rules)


def colour(which: Colour) -> str:
    """A colour as CSS; empty for that of the text around."""
    match which:
        case None:
            return ""
        case (red, green, blue):
            return f"#{red:02x}{green:02x}{blue:02x}"
        case index if index < 16:
            return PALETTE[index]
        case index if index < 232:
            red, rest = divmod(index - 16, 36)
            return "#" + "".join(f"{_CUBE[part]:02x}" for part in (red, *divmod(rest, 6)))
        case index:
            return "#" + f"{8 + 10 * (index - 232):02x}" * 3
