"""What a card or a table shows, as plain data: the ``info`` that its views get.

Made of what the agent says (``_wire/PROTOCOL.md``, "info") and of nothing else, so that the same
data is drawn in the browser, as text and as HTML. Names are made harmless here, once for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._base.text import last_words, one_line
from tfnz_notebook.errors import TunnelGone

if TYPE_CHECKING:
    from tfnz_notebook.container import Container
    from tfnz_notebook.location import Location
    from tfnz_notebook.process import Process
    from tfnz_notebook.tunnel import Tunnel
    from tfnz_notebook.widgets.explorer.ledger import Ledger

Info = dict[str, Any]

#: Of a container's processes, how many are shown.
MOST_RUNNING: Final = 50
MOST_ENDED: Final = 3

#: Of all containers of a table, which is sent whole each time: about half a MiB.
MOST_ROWS: Final = 1000

#: States that nothing follows.
OVER: Final = frozenset({"failed", "destroyed"})
#: Those in which what was measured last still is what it uses.
MEASURED: Final = frozenset({"running", "paused", "unresponsive", "unreachable"})


def process(told: Mapping[str, Any]) -> Info:
    """One process, of the agent's ``info``.

    ``why`` it ended: ``timeout``, ``memory``, or ``gone``: with its container, nobody knows how.
    """
    return {
        "id": str(told.get("process") or ""),
        "text": one_line(told.get("text")) or "main process",
        "pid": int(told.get("pid") or 0),
        "tty": bool(told.get("tty")),
        "returncode": told.get("returncode"),
        "started": float(told.get("started") or 0),
        "main": told.get("process") == told.get("container"),
        "why": "timeout" if told.get("timed_out") else "memory" if told.get("oom") else "",
    }


def processes(told: Iterable[Mapping[str, Any]], ended: int = 0) -> tuple[list[Info], int]:
    """The main one and then as they were started: those that run, and the last that ended.

    So a row stays where it is when its process ends. And how many are left out; ``ended`` counts
    all that did, if more did than are told of.
    """
    drawn = sorted(map(process, told), key=lambda p: (not p["main"], p["started"], p["pid"]))
    others = [p for p in drawn if not p["main"]]
    kept = {p["id"] for p in drawn if p["main"]}
    kept |= {p["id"] for p in [p for p in others if p["returncode"] is None][:MOST_RUNNING]}
    kept |= {p["id"] for p in [p for p in others if p["returncode"] is not None][-MOST_ENDED:]}
    untold = max(0, ended - sum(p["returncode"] is not None for p in others))
    return [p for p in drawn if p["id"] in kept], len(drawn) - len(kept) + untold


def tunnel(each: Tunnel) -> Info | None:
    """An open tunnel; None for one that is closed."""
    try:
        local = {"port": each.dest_port, "local": each.port, "url": each.url()}
        return {**local, "through": each._through}
    except TunnelGone:
        return None


def container(
    told: Mapping[str, Any],
    ran: Iterable[Mapping[str, Any]] = (),
    usage: Info | None = None,
    tunnels: Iterable[Tunnel] = (),
    ended: int = 0,
) -> Info:
    """A container, its processes, what it uses, its tunnels."""
    state = str(told.get("state") or "creating")
    processes_shown, more = processes(ran, ended)
    error = told.get("error") or {}
    name, tag = one_line(told.get("name"), 64), one_line(told.get("tag"), 64)
    image = one_line(told.get("image"), 120)
    ident = str(told.get("container") or "")
    log = bytes(told.get("log") or b"")
    drawn = [_gone(each) for each in processes_shown] if state in OVER else processes_shown
    return {
        "id": ident,
        "engine_id": one_line(told.get("engine_id"), 64),
        "engine_name": one_line(told.get("engine_name"), 300),
        "title": name or tag or f"{image} {ident[:8]}",
        "name": name,
        "tag": tag,
        "image": image,
        "node": one_line(told.get("node"), 64),
        "ip": one_line(told.get("ip"), 64),
        "state": state,
        "returncode": told.get("returncode"),
        "created": float(told.get("created") or 0),
        "pull": pull(told) if state == "pulling" else None,
        "error": last_words(str(error.get("message") or "").encode("utf-8", "replace"), lines=20),
        "log": last_words(log, lines=20) if state in ("failed", "exited") else "",
        "usage": usage if state in MEASURED else None,
        "ports": [int(port) for port in told.get("ports") or ()],
        "tunnels": [shown for each in tunnels if (shown := tunnel(each))],
        "processes": drawn,
        "more": more,
    }


def left(over: Info, before: Info) -> Info:
    """A container that is over, with what it showed before."""
    ended = {each["id"]: each for each in over["processes"]}
    # What is told of a main process that is gone need not have its image's command.
    shown = [
        {**ended.pop(each["id"], _gone(each)), "text": each["text"]} for each in before["processes"]
    ]
    return {
        **over,
        **{key: over[key] or before[key] for key in ("ip", "node", "usage", "log")},
        "processes": [*shown, *ended.values()],
        "more": before["more"],
    }


def _gone(each: Info) -> Info:
    return each if each["returncode"] is not None else {**each, "why": "gone"}


def fitted(containers: list[Info], most: int = MOST_ROWS) -> list[Info]:
    """The same with no more processes than that in all; those left out are counted in ``more``."""
    found = []
    for each in containers:
        shown = each["processes"][:most]
        most -= len(shown)
        left = len(each["processes"]) - len(shown)
        found.append({**each, "processes": shown, "more": each["more"] + left})
    return found


def pull(told: Mapping[str, Any]) -> Info:
    """How far a pull is; ``total`` is 0 while unknown."""
    return {
        "text": one_line(told.get("text"), 120),
        "done": int(told.get("done") or 0),
        "total": int(told.get("total") or 0),
    }


def node(told: Mapping[str, Any]) -> Info:
    """A machine; None is what is not known of it."""
    keys = ("cpus", "cpu_free", "memory", "memory_free", "containers")
    return {
        "name": one_line(told.get("name"), 64),
        **{key: told.get(key) for key in keys},
        "labels": {one_line(k, 40): one_line(v, 80) for k, v in (told.get("labels") or {}).items()},
    }


# -- of our objects; one family with them, so that what is told of them need not be copied


def told_of(each: Container) -> Info:
    """The last ``info`` that a container heard of itself."""
    return {**each._info, "container": each.id, "returncode": each.returncode}


def ran_in(each: Container, ledger: Ledger) -> Iterable[Info]:
    """``info`` of its processes: the ledger's, or of those that this kernel knows."""
    if each.id in ledger.processes:
        return ledger.processes[each.id].values()
    mains = [each.main] if each.main.pid else []
    return [_told_of_process(p) for p in [*mains, *each.processes]]


def _told_of_process(each: Process) -> Info:
    named = {"process": each.id, "container": each.container.id, "text": each.command}
    return {**each._info, **named}


def tunnels_of(location: Location, ident: str) -> list[Tunnel]:
    """This kernel's tunnels to a container."""
    found = location._containers.get(ident)
    return found.all_tunnels() if found is not None else []
