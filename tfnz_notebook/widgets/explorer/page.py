"""Cards and tables as HTML that needs nothing: for saved notebooks and exported pages.

The design is that of the live view (``_frontend/src/explorer/explorer.css``), line by line, so that
nothing jumps when one takes the other's place. Inline styles only, and everything escaped that came
from elsewhere; that is why all of it is made by :func:`tag`. Where there is little room the
columns shrink by importance, names last.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tfnz_notebook._base.numbers import percent, progress, rate, size
from tfnz_notebook.widgets.explorer import text
from tfnz_notebook.widgets.explorer.tail import Said
from tfnz_notebook.widgets.saved.frozen import (
    BAD,
    BAR,
    DIM,
    FLUSH,
    GOOD,
    INK,
    LINE,
    MONO,
    PAPER,
    UI,
    WARN,
    safe,
)

Info = Mapping[str, Any]


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


#: A number that is not known.
NOTHING: Final = "\N{EN DASH}"

_QUIET: Final = safe("color", DIM)
_EDGE: Final = f"1px solid #8886;border-color:{LINE}"
_CLIP: Final = (
    "min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;unicode-bidi:isolate"
)
_BOX: Final = (
    f"border:{_EDGE};border-radius:4px;color:{INK};"
    f"background:{PAPER};font:12px/1.4 {UI};text-align:left;overflow:hidden;{FLUSH}"
)
_STATUS: Final = (
    "display:flex;align-items:center;gap:8px;height:28px;padding:0 8px;box-sizing:border-box;"
    f"white-space:nowrap;border-bottom:{_EDGE};{safe('background', BAR)}"
)
#: What finds no room in it is in a second line, which is not seen.
_ROW: Final = (
    "display:flex;flex-wrap:wrap;align-items:center;gap:0 16px;height:24px;padding:0 8px;"
    "box-sizing:border-box;overflow:hidden;white-space:nowrap;font-variant-numeric:tabular-nums"
)
_FACT: Final = "flex:none;display:inline-flex;align-items:center;gap:4px"
_SPARK: Final = f"flex:none;width:48px;height:14px;border-bottom:{_EDGE}"
_PRE: Final = (
    "margin:0;padding:4px 8px;max-height:180px;overflow:auto;border:0;box-sizing:border-box;"
    f"border-top:{_EDGE};background:none;color:inherit;"
    f"font:12px/17px {MONO};white-space:pre;unicode-bidi:plaintext"
)
_WRAP: Final = "white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal"
_TONES: Final = {"good": GOOD, "bad": BAD, "warn": WARN, "quiet": DIM}

#: Columns: how wide, and how readily they give way.
_NAME: Final = "flex:1 1 0;min-width:140px"


def _column(width: int, gives: int = 0, *, right: bool = False) -> str:
    return f"flex:0 {gives} {width}px" + (";text-align:right" if right else "")


def tag(name: str, style: str, *inside: str) -> Html:
    """An element; what is not :class:`Html` is escaped."""
    body = "".join(each if isinstance(each, Html) else html.escape(each) for each in inside)
    return Html(f'<{name} style="{style}">{body}</{name}>' if style else f"<{name}>{body}</{name}>")


def draw(info: Info) -> str:
    """The HTML of any ``info``."""
    parts = list(_DRAWN[info["kind"]](info))
    if not info.get("connected", True) and info["kind"] != "location":
        said = "Disconnected: this is what was last known."
        parts.append(tag("div", f"padding:4px 8px;border-top:1px solid #8886;{_QUIET}", said))
    return tag("div", _BOX, *parts)


# -- what they are made of


def _status(tone: str, said: str, *rest: str) -> Html:
    colour = safe("background", _TONES[tone])
    radius = "1px" if tone in ("bad", "warn") else "50%"
    dot = tag("span", f"flex:none;width:8px;height:8px;border-radius:{radius};{colour}")
    loud = f";{safe('color', _TONES[tone])}" if tone in ("bad", "warn") else ""
    return tag(
        "div",
        _STATUS,
        dot,
        tag("span", f"flex:none;font-weight:600{loud}", said),
        *(
            each if isinstance(each, Html) else tag("span", f"flex:0 9 auto;{_CLIP};{_QUIET}", each)
            for each in rest
            if each
        ),
    )


def _title(title: str, *, strong: bool = True) -> Html:
    weight = ";font-weight:600" if strong else ""
    return tag("span", f"{_CLIP};font-family:{MONO}{weight}", title)


def _line(*inside: str, first: bool = False) -> Html:
    place = "padding-top:2px;line-height:22px" if first else "line-height:24px"
    return tag("div", f"{_ROW};{place}", *inside)


def _fact(name: str, value: str, *, least: int = 0, spark: bool = False) -> Html:
    room = f"white-space:pre;min-width:{least}ch" if least else _CLIP
    style = _FACT if least or spark else f"{_FACT};flex:0 1 auto;min-width:48px"
    curve = (tag("span", _SPARK),) if spark else ()
    return tag("span", style, tag("span", _QUIET, name), *curve, tag("span", room, value))


def _table(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Html]], *, first: bool = False
) -> Html:
    """A table of named columns with their styles; its cells are made by :func:`_cell`.

    ``first``: it is right beneath the status line, which has an edge.
    """
    line = "display:flex;background:none;border:0;padding:0"
    head = [_cell(style, name, _QUIET, name="th") for name, style in columns]
    drawn = [tag("tr", line, *row) for row in (head, *rows)]
    inside = tag("tbody", "display:block;border:0", *drawn)
    edge = "border:0" if first else f"border:0;border-top:{_EDGE}"
    font = "font-size:12px;line-height:1.4;color:inherit"
    return tag("table", f"display:block;margin:0;{font};{edge}", inside)


def _cell(column: str, said: str, style: str = "", *, name: str = "td") -> Html:
    box = "box-sizing:border-box;height:24px;padding:0 8px;border:0;line-height:24px"
    font = "font-variant-numeric:tabular-nums;font-weight:normal;max-width:none"
    clip = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap;text-align:left"
    clip += ";unicode-bidi:plaintext"  # a name may be written from the right
    return tag(name, ";".join(filter(None, (box, font, clip, column, style))), said)


def _tone(info: Info) -> str:
    if info["state"] in ("paused", "unresponsive", "unreachable"):
        return "warn"
    if info["state"] == "failed" or (info["state"] == "exited" and info["returncode"]):
        return "bad"
    return "good" if info["state"] == "running" else "quiet"


def _did(process: Info) -> str:
    if process["returncode"] is None:
        return "quiet" if process["why"] == "gone" else "good"
    return "bad" if process["returncode"] else "quiet"


def _coloured(tone: str) -> str:
    return safe("color", _TONES[tone])


def _since(info: Info) -> str:
    if info["state"] != "running" or not info["created"]:
        return ""
    return time.strftime("since %Y-%m-%d %H:%M", time.localtime(info["created"]))


def _more(left: int, what: str) -> list[Html]:
    return [_line(tag("span", _QUIET, each)) for each in text.more(left, what)]


def _pre(said: str, style: str = "") -> list[Html]:
    return [tag("pre", f"{_PRE};{style}", said)] if said else []


def _said(said: Said | None) -> Iterable[Html]:
    """What a process wrote, of one whose row was open."""
    if said:
        bad = safe("color", BAD)
        parts = [tag("span", bad if stream == 2 else "", f"{text}\n") for stream, text in said]
        # From below: a scrolled box without a script begins at its end.
        box = "display:flex;flex-direction:column-reverse;max-height:180px;overflow:auto"
        whole = tag("pre", f"{_PRE};max-height:none;padding-left:20px;flex:none", *parts)
        yield tag("div", f"{box};{safe('background', BAR)}", whole)


def _ports(info: Info) -> str:
    return "  ".join(f"{each['port']} → {each['local']}" for each in info["tunnels"])


# -- each kind


_STATE: Final = _column(132)
_PROCESSES: Final = (
    ("process", _NAME),
    ("state", _STATE),
    ("pid", _column(64, 10, right=True)),
    ("", _column(60, 99)),
)


def _container(info: Info) -> Iterable[Html]:
    image = info["image"] if info["image"] != info["title"] else ""
    yield _status(_tone(info), text.state(info), _title(info["title"]), image, _since(info))
    if info["state"] != "failed":
        yield _pull(info["pull"]) if info["pull"] else _use(info["usage"] or {})
    facts = (
        ("ports", _ports(info)),
        ("id", (info["engine_id"] or info["id"])[:12]),
        ("name", info["engine_name"] if info["engine_name"] != info["title"] else ""),
        ("tag", info["tag"] if info["tag"] != info["title"] else ""),
        ("engine", info["engine"]),
        ("node", info["node"]),
        ("address", info["ip"]),
    )
    yield _line(*(_fact(name, value) for name, value in facts if value))
    tails: Mapping[str, Said] = info.get("tails") or {}
    if info["processes"]:
        yield _table(_PROCESSES, map(_process, info["processes"]))
    for process in info["processes"]:
        yield from _said(tails.get(process["id"]))
    yield from _more(info["more"], "process")
    yield from _pre(info["error"], f"{safe('color', BAD)};{_WRAP};max-height:none")
    if info["log"] not in info["error"] and info["id"] not in tails:
        yield from _pre(info["log"])


def _use(used: Info) -> Html:
    memory = size(used.get("memory"))
    if memory and used["limit"]:
        memory = f"{memory} of {size(used['limit'])}"
    return _line(
        _fact("CPU", percent(used.get("cpu")) or NOTHING, least=6, spark=True),
        _fact("memory", memory or NOTHING, least=19, spark=True),
        _fact("pids", str(used.get("pids") or NOTHING), least=3),
        _fact("disk", _moved(used, "read", "written"), least=21),
        _fact("network", _moved(used, "received", "sent"), least=21),
        first=True,
    )


def _moved(used: Info, down: str, up: str) -> str:
    if used.get(down) is None:
        return NOTHING
    return f"↓ {rate(used[down])}  ↑ {rate(used[up])}"


def _pull(pull: Info) -> Html:
    said = (progress(pull["done"], pull["total"]), pull["text"])
    return _line(tag("span", f"{_CLIP};{_QUIET}", " · ".join(filter(None, said))), first=True)


def _process(process: Info) -> Sequence[Html]:
    over = "" if _did(process) == "good" else _QUIET
    columns = [style for _, style in _PROCESSES]
    return (
        _cell(columns[0], process["text"], f"padding-left:20px;font-family:{MONO};{over}"),
        _cell(columns[1], text.ended(process), _coloured(_did(process))),
        _cell(columns[2], str(process["pid"] or ""), over),
        _cell(columns[3], ""),
    )


_PS: Final = (
    ("", _column(26, 99)),
    ("container", _NAME),
    ("state", _STATE),
    ("ports", _column(112, 20)),
    ("image", "flex:0 40 20%"),
    ("pid", _column(64, 60, right=True)),
    ("", _column(148, 99)),
)


def _ps(info: Info) -> Iterable[Html]:
    running = sum(each["state"] == "running" for each in info["containers"])
    count = f"{running} of {len(info['containers']) + info['more']} running"
    session = _title(f"session {info['session']}", strong=False)
    yield _status("good", "Containers", session, count)
    rows: list[Sequence[Html]] = []
    columns = [style for _, style in _PS]
    for number, each in enumerate(info["containers"]):
        edge = f"border-top:{_EDGE};line-height:23px" if number else ""
        more = f" (+{each['more']})" if each["more"] else ""
        said = ("", each["title"] + more, text.state(each), _ports(each), each["image"], "", "")
        looks = ("", "font-weight:600", _coloured(_tone(each)), "", _QUIET, "", "")
        drawn = zip(columns, said, looks, strict=True)
        rows.append([_cell(col, what, f"{look};{edge}") for col, what, look in drawn])
        for process in each["processes"]:
            over = "" if _did(process) == "good" else _QUIET
            command = f"padding-left:34px;font-family:{MONO};{over}"
            looks = ("", command, _coloured(_did(process)), "", "", over, "")
            said = ("", process["text"], text.ended(process), "", "", str(process["pid"] or ""), "")
            drawn = zip(columns, said, looks, strict=True)
            rows.append([_cell(col, what, look) for col, what, look in drawn])
    yield _table(_PS, rows, first=True) if rows else _line(tag("span", _QUIET, "No containers."))
    yield from _more(info["more"], "container")


_TOP: Final = (
    ("container", _NAME),
    ("CPU", _column(128, right=True)),
    ("memory", _column(204, 10, right=True)),
    ("read", _column(86, 99, right=True)),
    ("written", _column(86, 99, right=True)),
    ("received", _column(86, 60, right=True)),
    ("sent", _column(86, 60, right=True)),
    ("pids", _column(52, 20, right=True)),
)


def _top(info: Info) -> Iterable[Html]:
    yield _status("good", "Usage", _title(f"session {info['session']}", strong=False))
    rows = []
    for each in info["containers"]:
        used = each["usage"] or {}
        memory = size(used.get("memory"))
        if memory and used["limit"]:
            memory += f" / {size(used['limit'])}"
        moved = [rate(used.get(key)) for key in ("read", "written", "received", "sent")]
        does = percent(used.get("cpu")) if each["state"] == "running" else text.state(each)
        said = (each["title"], does, memory, *moved, str(used.get("pids") or ""))
        over = "" if each["state"] == "running" else _QUIET
        looks = ("font-weight:600", *[""] * 7)
        drawn = zip([style for _, style in _TOP], said, looks, strict=True)
        rows.append([_cell(col, what, f"{look};{over}") for col, what, look in drawn])
    yield _table(_TOP, rows, first=True) if rows else _line(tag("span", _QUIET, "No containers."))
    yield from _more(info["more"], "container")


_SUMMARIES: Final = (
    ("container", _NAME),
    ("state", _STATE),
    ("image", "flex:0 40 40%"),
)


def _location(info: Info) -> Iterable[Html]:
    engine = "" if info["engine"] == info["where"] else f"{info['engine']} "
    session = f"session {info['session']}" + (", durable" if info["durable"] else "")
    said = "Location" if info["connected"] else "disconnected"
    tone = "good" if info["connected"] else "quiet"
    yield _status(tone, said, _title(info["where"]), f"{engine}{info['version']}".strip(), session)
    for each in info["nodes"]:
        yield _node_line(each, ("node", each["name"]))
    columns = [style for _, style in _SUMMARIES]
    rows = [
        (
            _cell(columns[0], each["title"], "font-weight:600"),
            _cell(columns[1], text.state(each), _coloured(_tone(each))),
            _cell(columns[2], each["image"], _QUIET),
        )
        for each in info["containers"]
    ]
    if rows:
        yield _table(_SUMMARIES, rows)
    yield from _more(info["more"], "container")


def _node(info: Info) -> Iterable[Html]:
    yield _status("good", "Node", _title(info["node"]["name"]), f"of {info['where']}")
    yield _node_line(info["node"])


def _node_line(node: Info, *named: tuple[str, str]) -> Html:
    """Without what changes all the time."""
    facts = (*named, ("cores", str(node["cpus"] or "")), ("memory", size(node["memory"])))
    return _line(*(_fact(name, value) for name, value in facts if value))


def _tunnel(info: Info) -> Iterable[Html]:
    to = f"→ port {info['port']} of {info['container']}"
    tone, said = ("good", "open") if info["open"] else ("quiet", "closed")
    yield _status(tone, said, _title(info["url"], strong=False), to)
    if info["open"] and info["listening"] is False:
        said = f"Nothing listens on port {info['port']} of {info['container']} yet."
        yield _line(tag("span", _QUIET, said))


_DRAWN: Final[Mapping[str, Callable[[Info], Iterable[Html]]]] = {
    "container": _container,
    "ps": _ps,
    "top": _top,
    "location": _location,
    "node": _node,
    "tunnel": _tunnel,
}
