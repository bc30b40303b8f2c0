"""What kernels see of a container, as in PROTOCOL.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook.errors import to_wire

if TYPE_CHECKING:
    from tfnz_notebook.agent.container.container import Container

#: Bytes of a container's last words that travel with its end.
MAX_TAIL: Final = 65536


def info_of(container: Container) -> dict[str, Any]:
    """The ``info`` of its events."""
    spec, progress, error = container.spec, container.progress, container.error
    return {
        "container": container.ident,
        "state": container.state,
        "met": container.met,
        "image": spec.image,
        "name": spec.name or "",
        "node": container.node,
        "session": container.session,
        "created": container.created,
        "ip": container.ip,
        "sleep": spec.sleep,
        "tag": container.tag,
        "text": progress.text,
        "done": progress.done,
        "total": progress.total,
        "returncode": container.returncode,
        "error": to_wire(error) if error is not None else None,
        "log": container.log_tail[-MAX_TAIL:],
    }
