"""What kernels see of a container, as in PROTOCOL.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._wire.guest import Feature
from tfnz_notebook._wire.operations import MAX_INFO, MAX_WORDS
from tfnz_notebook.errors import TfnzError, to_wire

if TYPE_CHECKING:
    from tfnz_notebook.agent.container.container import Container

#: Ports that are told: an image may expose a range of thousands.
MAX_PORTS: Final = 64


def info_of(container: Container) -> dict[str, Any]:
    """The ``info`` of its events: a few KiB, whatever it is and did."""
    spec, progress, error = container.spec, container.progress, container.error
    engine_id, engine_name = container.called
    told = {
        "container": container.ident,
        "state": container.state,
        "met": container.met,
        "ended": container.counted(0)[1],
        "image": spec.image,
        "name": spec.name or "",
        "engine_id": engine_id,
        "engine_name": engine_name,
        "node": container.node,
        "session": container.session,
        "created": container.created,
        "ip": container.ip,
        "sleep": spec.sleep,
        "tag": container.tag,
        "origin": container.origin,
        "ports": container.ports[:MAX_PORTS],
        "health": container.health,
        "text": progress.text,
        "done": progress.done,
        "total": progress.total,
        "returncode": container.returncode,
        "error": _cause(error) if error is not None else None,
        "log": container.log_tail[-MAX_WORDS:],
        "about": _about(container),
    }
    return {key: each[:MAX_INFO] if isinstance(each, str) else each for key, each in told.items()}


def _about(container: Container) -> dict[str, str]:
    """What is less than usual in it, and why."""
    about, guest = dict(container.lacks), container.guest
    if container.spec.unmodified:
        about["entrypoint"] = (
            "unmodified: the image's own first process is PID 1, the guest runs beside it. Of the "
            "first there is the output, from the engine's log, but no stdin, signals or tree. Who "
            "is root in the container can end the guest, and what was spawned with it; it has no "
            "rank above busy processes; orphans of execs are PID 1's to reap. "
            f"{container.unmodified_costs}"
        ).strip()
    if guest is None or guest.features is None:
        return about
    if Feature.USERS not in guest.features:
        about["user"] = f"{guest.uid} alone: the guest is not root and cannot change users"
    if Feature.OWNERS not in guest.features:
        about["files"] = f"belong to {guest.uid}: the guest is not root and cannot give any away"
    return about


def _cause(error: TfnzError) -> dict[str, Any]:
    """Without the log, which is told beside it."""
    told = to_wire(error)
    details = {key: each for key, each in told["details"].items() if key != "log"}
    return {**told, "message": told["message"][:MAX_INFO], "details": details}
