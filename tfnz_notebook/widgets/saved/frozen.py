"""Output as it stays in a notebook: safe text, and HTML that looks like the view it was.

Nothing here needs a page, a stylesheet or a script: the HTML is read on GitHub and in exported
pages, in light and in dark. Colours are JupyterLab's variables where there are such, else ones that
read on white and on black; where our views are, the sixteen are theirs, by class. Text is escaped,
always; sizes are bounded, so that a cell stays small.

Pages make the same of what their views show (``_frontend/src/still.ts``), of the same
:data:`TEMPLATES`, which the hub brings; ``tests/vectors/stills.json`` holds both to one HTML.
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
#: As backgrounds, and upon such: everywhere the same, as in ``output/draw.ts``.
FIXED: Final = (
    *("#000000", "#c62828", "#1a7f37", "#9a6700", "#0a5bc4", "#8e3fae", "#0f7680", "#d0d7de"),
    *("#57606a", "#ff7b72", "#56d364", "#f2cc60", "#79b8ff", "#d2a8ff", "#56d4dd", "#ffffff"),
)
_CUBE: Final = (0, 95, 135, 175, 215, 255)

INK: Final = "var(--jp-content-font-color1,inherit)"
#: JupyterLab's own second colour, and those of success and failure, are too pale on its grounds.
DIM: Final = "color-mix(in srgb,currentColor 70%,transparent)"
LINE: Final = "var(--jp-border-color2,rgba(128,128,128,.4))"
PAPER: Final = "var(--jp-layout-color1,transparent)"
BAR: Final = "var(--jp-layout-color2,rgba(128,128,128,.12))"
BAD: Final = "color-mix(in srgb,#d33f3f 80%,currentColor)"
GOOD: Final = "color-mix(in srgb,#2e8b3d 75%,currentColor)"
WARN: Final = "color-mix(in srgb,#b07800 70%,currentColor)"
#: The same where a declaration with ``color-mix`` is not let through.
_PLAIN: Final = {DIM: "#767676", BAD: "#d33f3f", GOOD: "#2e8b3d", WARN: "#9a6700"}
SIZE: Final = "var(--jp-code-font-size,13px)"
MONO: Final = "var(--jp-code-font-family,ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace)"
UI: Final = "var(--jp-ui-font-family,system-ui,sans-serif)"


def safe(name: str, value: str, plain: str = "") -> str:
    """A declaration with a simpler one before it.

    JupyterLab shows notebooks that are not trusted without declarations that it cannot judge, as
    those with ``var()``. What stays must do: the height above all.
    """
    other = value.partition("(")[2].partition(",")[2].removesuffix(")")
    plain = plain or _PLAIN.get(value, other)
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
    found = [(line, n == 2) for n, data in pieces for line in parsers[n].feed(data)]
    found += [(line, n == 2) for n in parsers for line in parsers[n].close()]
    return [Row(line.spans(), stderr) for line, stderr in found]


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
    used: int | None = None,
) -> str:
    """The last of it as HTML, with its status line; ``tall``: lines seen without scrolling.

    ``used``: it is a terminal, of which so many rows were in use.
    """
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
        parts.append(TEMPLATES["above"].format(above=html.escape(_above(above, gone))))
    if kept or used:
        blocks = "".join(
            _block(list(group), stderr=stderr)
            for stderr, group in groupby(kept, key=lambda row: row.stderr)
        )
        # A line break right after <pre> is not part of it.
        blocks = "\n" + blocks if blocks.startswith("\n") else blocks
        room = 8 - 19 * bool(above)  # padding, and the line above
        kind, each = ("lines", 18) if used is None else ("screen", 15)
        least = min(used or 0, tall)
        box = TEMPLATES[kind].format(
            tall=tall, room=room, most=tall * each + room, least=least, blocks=blocks
        )
        parts.append(box)
    if status is not None:
        parts.append(bar(status, title=title))
    return frame("".join(parts))


def frame(inside: str) -> str:
    """The border and the ground of a view around some HTML."""
    return TEMPLATES["frame"].format(inside=inside)


def bar(status: Status, *, title: str = "") -> str:
    """A status line: how it is, what it is, and what is known of it."""
    template = TEMPLATES[f"bar-{status.state}"]
    return template.format(words=_text(status.words), title=_text(title), facts=_text(status.facts))


def _frame() -> str:
    return (
        f'<div class="tfnz-kept" style="border:1px solid #8886;border-color:{LINE};'
        f"border-radius:4px;color:{INK};background:{PAPER};font:12px/1.4 {UI};"
        f'overflow:hidden;{FLUSH}">{{inside}}</div>'
    )


def _bar(state: str) -> str:
    colour = {"ok": GOOD, "bad": BAD, "running": GOOD}.get(state, DIM)
    said = safe("color", colour) if state in ("ok", "bad") else "color:inherit"
    radius = "1px" if state == "bad" else "50%"
    dot = f"flex:none;width:8px;height:8px;border-radius:{radius};{safe('background', colour)}"
    rest = "min-width:0;overflow:hidden;text-overflow:ellipsis"
    return (
        '<div style="display:flex;align-items:center;gap:8px;height:28px;padding:0 8px;'
        f'white-space:nowrap;{safe("background", BAR)}"><span style="{dot}"></span>'
        f'<span style="flex:none;font-weight:600;{said}">{{words}}</span>'
        f'<span style="{rest};font-family:{MONO}">{{title}}</span>'
        f'<span style="flex:none;{safe("color", DIM)}">{{facts}}</span></div>'
    )


def _box(kind: str) -> str:
    """What scrolls. From below: a scrolled box without a script begins at its end."""
    # xterm.js has its lines as high as their font is.
    height, leading = ("1.4", "1.4") if kind == "lines" else ("1.17", "normal")
    most = safe("max-height", f"calc({{tall}}*{height}*{SIZE} + {{room}}px)", "{most}px")
    least = "" if kind == "lines" else f";min-height:calc({{least}}*1.15*{SIZE})"
    # JupyterLab would have words of a <pre> broken anywhere, as the view has not.
    wrap = "pre-wrap;overflow-wrap:anywhere;word-break:normal" if kind == "lines" else "pre"
    pre = (
        "flex:none;overflow:visible;margin:0;padding:4px 8px;border:0;background:none;"
        f"color:inherit;white-space:{wrap};font:{SIZE}/{leading} {MONO}{least}"
    )
    return (
        f'<div style="display:flex;flex-direction:column-reverse;overflow:auto;{most}">'
        f'<pre style="{pre}">{{blocks}}</pre></div>'
    )


_STDERR: Final = (
    f"display:block;{safe('color', BAD)};border-left:2px solid;margin-left:-8px;padding-left:6px"
)

#: What a still is made of, with the names of its parts in braces.
TEMPLATES: Final[Mapping[str, str]] = {
    "frame": _frame(),
    "above": (
        f'<div style="padding:1px 8px;border-bottom:1px dashed {LINE};color:{DIM};'
        'font-size:11px;line-height:1.5">{above}</div>'
    ),
    "lines": _box("lines"),
    "screen": _box("screen"),
    "stderr": f'<span style="{_STDERR}">{{lines}}</span>',
    **{f"bar-{state}": _bar(state) for state in ("starting", "running", "ok", "bad")},
}
#: What a change to stderr costs.
_EDGE: Final = len(TEMPLATES["stderr"])


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
    return TEMPLATES["stderr"].format(lines=inside) if stderr else inside


def _span(span: Span) -> str:
    # quote=False: it is never inside an attribute
    text = html.escape(span.text, quote=False)
    rule, name = css(span.style), _class(span.style)
    return f'<span{name} style="{rule}">{text}</span>' if rule else text


def _class(style: Style) -> str:
    """By which a page with our views has the colour that they have."""
    plain = style.bg is None and not style.inverse and not style.hidden
    own = plain and isinstance(style.fg, int) and style.fg < 16
    return f' class="tfnz-a{style.fg}"' if own else ""


def css(style: Style) -> str:
    """A style as CSS declarations; nothing in it comes from output but numbers."""
    fg, bg = _colours(style)
    rules = [f"color:{'transparent' if style.hidden else fg}"] if fg or style.hidden else []
    rules += [f"background:{bg}"] if bg else []
    rules += ["font-weight:bold"] if style.bold else []
    rules += ["opacity:.7"] if style.dim else []
    rules += ["font-style:italic"] if style.italic else []
    under, through = "underline" * style.underline, "line-through" * style.strike
    rules += [f"text-decoration:{f'{under} {through}'.strip()}"] if under or through else []
    return ";".join(rules)


def _colours(style: Style) -> tuple[str, str]:
    """Those of the text and behind it; empty for what is around."""
    fg, bg = style.fg, style.bg
    if style.inverse:
        if fg is None and bg is None:
            return "#fff;color:var(--jp-layout-color1,#fff)", f"#555;background:{INK}"
        fg, bg = bg, fg
        if bg is None:
            return _fixed(fg), f"#555;background:{INK}"
    if bg is not None:
        return _upon(_fixed(bg)) if fg is None else _fixed(fg), _fixed(bg)
    return colour(fg), ""


def _fixed(which: Colour) -> str:
    return FIXED[which] if isinstance(which, int) and which < 16 else colour(which)


def _upon(background: str) -> str:
    """Black or white, whichever reads on it."""
    red, green, blue = (int(background[at : at + 2], 16) for at in (1, 3, 5))
    return "#111" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff"


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
