"""Cards and tables as text: for terminals, and for ``text/plain`` in a notebook.

Drawn of the ``info`` that views get. Nothing in it can be a terminal's escape (see ``facts``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from tfnz_notebook._base.numbers import (
    elapsed,
    number,
    percent,
    plural,
    progress,
    rate,
    share,
    size,
)
from tfnz_notebook._base.text import clip, table
from tfnz_notebook.widgets.explorer.facts import MEASURED
from tfnz_notebook.widgets.status import short

Info = Mapping[str, Any]

#: Columns of a terminal that a text fits in.
WIDTH: Final = 100
_GONE: Final = "(disconnected: what is shown is what was last known)"


def draw(info: Info) -> str:
    """The text of any ``info``."""
    lines = _DRAWN[info["kind"]](info)
    if not info.get("connected", True) and info["kind"] != "location":
        lines.append(_GONE)
    return "\n".join(line for text in lines for line in text.split("\n"))


def state(info: Info) -> str:
    """``running``, ``exit 1``, ``pulling 42 %``."""
    if info["state"] == "exited" and info["returncode"] is not None:
        return short(info["returncode"])
    pull = info.get("pull") or {"done": 0, "total": 0}
    return f"{info['state']} {share(pull['done'], pull['total'])}".rstrip()


def up(info: Info) -> str:
    """For how long it is there, while it runs."""
    if info["state"] != "running" or not info["created"]:
        return ""
    return elapsed(time.time() - info["created"])


def more(left: int, what: str) -> list[str]:
    """What was left out."""
    return [f"({plural(left, f'more {what}')})"] if left else []


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _container(info: Info) -> list[str]:
    lines = [f"container {info['title']}: {state(info)}"]
    about = [("image", info["image"]), ("tag", info["tag"])]
    about += [("id", (info["engine_id"] or info["id"])[:12]), ("name", info["engine_name"])]
    about += [("node", info["node"]), ("up", up(info))]
    lines.append("  " + "  ".join(f"{k} {v}" for k, v in about if v and v != info["title"]))
    usage = info.get("usage")
    if usage and info["state"] in MEASURED:
        used = [("cpu", percent(usage["cpu"])), ("memory", size(usage["memory"]))]
        if usage["limit"]:
            used[1] = ("memory", f"{size(usage['memory'])} of {size(usage['limit'])}")
        used.append(("pids", str(usage["pids"] or "")))
        lines.append("  " + "  ".join(f"{k} {v}" for k, v in used if v))
    if info["pull"]:
        pull = info["pull"]
        words = (pull["text"], progress(pull["done"], pull["total"]))
        lines.append(f"  {' '.join(filter(None, words))}")
    lines += [f"  port {each['port']}: {each['url']}" for each in info["tunnels"]]
    if info["processes"]:
        rows = [(str(p["pid"]), ended(p), p["text"]) for p in info["processes"]]
        lines.append(
            _indented(table(("PID", "STATE", "COMMAND"), rows, right=(0,), most=WIDTH - 2))
        )
    lines += [f"  {line}" for line in more(info["more"], "process")]
    if info["error"]:
        lines.append(_indented(info["error"]))
    elif info["log"] and info["state"] == "failed":
        lines.append(_indented(info["log"]))
    return lines


def ended(process: Info) -> str:
    """How a process does: ``running``, ``exit 0``, ``SIGKILL (memory)``, ``ended``."""
    if process["returncode"] is None:
        return "ended" if process["why"] == "gone" else "running"
    return short(process["returncode"], process["why"])


def _ps(info: Info) -> list[str]:
    if not info["containers"]:
        return [f"session {info['session']} has no containers"]
    rows: list[tuple[str, ...]] = []
    for each in info["containers"]:
        ports = " ".join(f"{t['port']}→{t['local']}" for t in each["tunnels"])
        name = (each["title"], each["image"], state(each), up(each), "", ports)
        rows.append(name)
        for process in each["processes"]:
            command = f"  {clip(process['text'], 48)}"
            rows.append((command, "", ended(process), "", str(process["pid"] or ""), ""))
        if each["more"]:
            rows.append((f"  ({each['more']} more)", "", "", "", "", ""))
    head = ("CONTAINER", "IMAGE", "STATE", "UP", "PID", "PORTS")
    return [table(head, rows, right=(4,), most=WIDTH), *more(info["more"], "container")]


def _top(info: Info) -> list[str]:
    if not info["containers"]:
        return ["no containers to measure"]
    rows = []
    for each in info["containers"]:
        used = each["usage"] or dict.fromkeys(
            ("cpu", "memory", "limit", "read", "written", "received", "sent", "pids")
        )
        memory = size(used["memory"]) + (f" / {size(used['limit'])}" if used["limit"] else "")
        moved = [rate(used[key]) for key in ("read", "written", "received", "sent")]
        pids = "" if used["pids"] is None else str(used["pids"])
        rows.append((each["title"], state(each), percent(used["cpu"]), memory, *moved, pids))
    head = ("CONTAINER", "STATE", "CPU", "MEMORY", "READ", "WRITTEN", "RECEIVED", "SENT", "PIDS")
    drawn = table(head, rows, right=range(2, 9), most=120)
    return [drawn, *more(info["more"], "container")]


def _location(info: Info) -> list[str]:
    where = " ".join(word for word in (info["engine"], info["version"]) if word)
    session = f"session {info['session']}" + (" (durable)" if info["durable"] else "")
    told = session if info["connected"] else f"{session}, disconnected"
    lines = [f"location {info['where']}: {where}, {told}"]
    lines += [_indented(line) for each in info["nodes"] for line in _node({"node": each})]
    for each in info["containers"]:
        image = f" ({each['image']})" if each["image"] not in each["title"] else ""
        lines.append(f"  container {each['title']}{image}: {state(each)}")
    return lines + [f"  {line}" for line in more(info["more"], "container")]


def _node(info: Info) -> list[str]:
    node = info["node"]
    if node["cpu_free"] is None or node["memory_free"] is None:
        free = "what is free is unknown"
    else:
        cores = f"{number(node['cpu_free'], places=1)} of {node['cpus']} cores"
        free = f"{cores} and {size(node['memory_free'])} of {size(node['memory'])} free"
    running = node["containers"]
    run = "" if running is None else f", {plural(running, 'container')} running"
    return [f"node {node['name']}: {free}{run}"]


def _tunnel(info: Info) -> list[str]:
    if not info["open"]:
        return [f"tunnel to port {info['port']} of {info['container']}: closed"]
    lines = [f"tunnel {info['url']} to port {info['port']} of {info['container']}"]
    if info["listening"] is False:
        lines.append("  nothing listens there yet")
    return lines


_DRAWN: Final[Mapping[str, Callable[[Info], list[str]]]] = {
    "container": _container,
    "ps": _ps,
    "top": _top,
    "location": _location,
    "node": _node,
    "tunnel": _tunnel,
}
