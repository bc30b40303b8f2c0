"""Cards and tables as HTML that needs nothing: for saved notebooks and exported pages.

Inline styles only, no colours that a dark page would swallow, and everything escaped that came from
elsewhere; that is why all of it is made by :func:`tag`.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tfnz_notebook._base.numbers import percent, rate, size
from tfnz_notebook._base.text import clip
from tfnz_notebook.widgets.explorer import text

Info = Mapping[str, Any]


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


_LINE: Final = "1px solid rgba(128,128,128,.35)"
_BOX: Final = (
    f"border:{_LINE};border-radius:4px;padding:6px 10px;max-width:1000px;overflow-x:auto;"
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45"
)
_TABLE: Final = "border-collapse:collapse;font-size:13px;line-height:1.45;margin:4px 0"
_CELL: Final = "text-align:left;padding:1px 14px 1px 0;border:0;white-space:nowrap"
_CODE: Final = "font-family:monospace;font-size:12px"
_QUIET: Final = "opacity:.65"
_GOOD, _BAD = "color:#2a8a3c", "color:#d0453e"


def tag(name: str, style: str, *inside: str) -> Html:
    """An element; what is not :class:`Html` is escaped."""
    body = "".join(each if isinstance(each, Html) else html.escape(each) for each in inside)
    return Html(f'<{name} style="{style}">{body}</{name}>' if style else f"<{name}>{body}</{name}>")


def draw(info: Info) -> str:
    """The HTML of any ``info``."""
    parts = list(_DRAWN[info["kind"]](info))
    if not info.get("connected", True) and info["kind"] != "location":
        parts.append(tag("div", _QUIET, "Disconnected: this is what was last known."))
    return tag("div", _BOX, *parts)


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]], code: int = -1) -> Html:
    """A table; the column ``code`` in a fixed-width font."""
    top = tag("tr", "", *(tag("th", f"{_CELL};{_QUIET};font-weight:normal", h) for h in head))
    drawn = [
        tag(
            "tr",
            "",
            *(
                tag("td", f"{_CELL};{_CODE}" if i == code else _CELL, each)
                for i, each in enumerate(row)
            ),
        )
        for row in rows
    ]
    return tag("table", _TABLE, tag("tbody", "", top, *drawn))


def _state(info: Info) -> Html:
    said = text.state(info)
    bad = info["state"] == "failed" or (info["state"] == "exited" and info["returncode"])
    return tag("span", _GOOD if said == "running" else _BAD if bad else _QUIET, said)


def _title(what: str, name: str, *rest: str) -> Html:
    return tag("div", "", tag("span", _QUIET, f"{what} "), tag("b", "", name), "  ", *rest)


def _facts(pairs: Iterable[tuple[str, str]]) -> Html:
    shown = [
        tag("span", "margin-right:14px", tag("span", _QUIET, f"{k} "), v) for k, v in pairs if v
    ]
    return tag("div", "", *shown)


def _since(info: Info) -> str:
    if info["state"] != "running" or not info["created"]:
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(info["created"]))


def _more(left: int, what: str) -> list[Html]:
    return [tag("div", _QUIET, each) for each in text.more(left, what)]


def _pre(said: str) -> list[Html]:
    style = f"{_CODE};white-space:pre-wrap;margin:4px 0;max-height:16em;overflow:auto"
    return [tag("pre", style, said)] if said else []


def _process(process: Info) -> tuple[str, str, str]:
    return str(process["pid"] or ""), text.ended(process), process["text"]


def _container(info: Info) -> Iterable[Html]:
    yield _title("container", info["title"], _state(info))
    yield _facts(
        (
            ("image", info["image"] if info["image"] != info["title"] else ""),
            ("tag", info["tag"] if info["tag"] != info["title"] else ""),
            ("node", info["node"]),
            ("since", _since(info)),
            *((f"port {each['port']}", each["url"]) for each in info["tunnels"]),
        )
    )
    if info["processes"]:
        yield _rows(("pid", "state", "command"), map(_process, info["processes"]), code=2)
    yield from _more(info["more"], "process")
    yield from _pre(info["error"] or info["log"])


def _ps(info: Info) -> Iterable[Html]:
    yield _title("session", info["session"])
    rows: list[Sequence[str]] = []
    for each in info["containers"]:
        ports = " ".join(f"{t['port']} → {t['url']}" for t in each["tunnels"])
        rows.append((tag("b", "", each["title"]), each["image"], _state(each), "", ports))
        for process in each["processes"]:
            pid, said, command = _process(process)
            shown = tag("span", f"{_CODE};padding-left:1.5em", clip(command, 80))
            rows.append((shown, "", said, pid, ""))
    if rows:
        yield _rows(("container", "image", "state", "pid", "ports"), rows)
    else:
        yield tag("div", _QUIET, "no containers")
    yield from _more(info["more"], "container")


def _top(info: Info) -> Iterable[Html]:
    rows = []
    for each in info["containers"]:
        used = each["usage"] or {}
        memory = size(used.get("memory"))
        if used.get("limit"):
            memory += f" / {size(used['limit'])}"
        moved = [rate(used.get(key)) for key in ("read", "written", "received", "sent")]
        pids = str(used.get("pids") or "")
        rows.append((each["title"], percent(used.get("cpu")), memory, *moved, pids))
    head = ("container", "cpu", "memory", "read", "written", "received", "sent", "pids")
    yield _rows(head, rows) if rows else tag("div", _QUIET, "no containers")
    yield from _more(info["more"], "container")


def _location(info: Info) -> Iterable[Html]:
    session = f"session {info['session']}" + (", durable" if info["durable"] else "")
    connected = session if info["connected"] else f"{session}, disconnected"
    yield _title("location", info["where"], tag("span", _QUIET, connected))
    yield _facts([("engine", f"{info['engine']} {info['version']}".strip())])
    for each in info["nodes"]:
        yield from _node({"node": each})
    rows = [(each["title"], each["image"], _state(each)) for each in info["containers"]]
    if rows:
        yield _rows(("container", "image", "state"), rows)
    yield from _more(info["more"], "container")


def _node(info: Info) -> Iterable[Html]:
    node = info["node"]
    yield _title("node", node["name"])
    yield _facts(
        (
            ("cores", str(node["cpus"])),
            ("memory", size(node["memory"])),
            ("containers", str(node["containers"])),
        )
    )


def _tunnel(info: Info) -> Iterable[Html]:
    yield _title("tunnel", info["url"], tag("span", _QUIET, "" if info["open"] else "closed"))
    yield _facts((("container", info["container"]), ("port", str(info["port"]))))


_DRAWN: Final[Mapping[str, Callable[[Info], Iterable[Html]]]] = {
    "container": _container,
    "ps": _ps,
    "top": _top,
    "location": _location,
    "node": _node,
    "tunnel": _tunnel,
}
