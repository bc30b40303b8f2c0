"""Messages between a browser's view and a desk: VIEWS.md as tables, and their two encodings.

A message is a *head*, a JSON object, and for some types a binary payload. What comes from a page is
checked here; what goes to one is ours.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping, Sized
from typing import Any, Final

from tfnz_notebook.errors import ProtocolError

#: 2: bytes of stdin have offsets, by which a view may say them again over another carrier.
VERSION: Final = 2
#: Most bytes of one message from a page, head and payload.
MAX_MESSAGE: Final = 1 << 20
MAX_HEAD: Final = 64 << 10
#: Most bytes of output in one message to a page.
MAX_DATA: Final = 64 << 10
#: Bytes of a view's stdin that may be without an answer.
INPUT: Final = 128 << 10
#: Seconds without credit after which a view that holds its process back is closed.
PATIENCE: Final = 10.0

Head = dict[str, Any]

_SIZE: Final = struct.Struct("<I")
VIEW: Final = re.compile(r"[0-9a-f]{16,32}")

#: What a page may say: fields and their types; those after the bar may be left out.
FROM_VIEW: Final[Mapping[str, tuple[dict[str, type], dict[str, type]]]] = {
    "hello": ({"version": int, "agent": str, "process": str, "ticket": str}, {}),
    "open": (
        {"subject": str},
        {"mode": str, "window": int, "keep": int, "from": dict, "rows": int, "columns": int},
    ),
    "close": ({}, {}),
    "credit": ({"stream": int, "upto": int}, {}),
    "stdin": ({"offset": int}, {}),
    "eof": ({"offset": int}, {}),
    "signal": ({"signal": str}, {"tree": bool}),
    "destroy": ({}, {}),
    "resize": ({"rows": int, "columns": int}, {}),
    "do": ({"action": str}, {"args": dict}),
}

#: What a desk says.
TO_VIEW: Final = ("opened", "data", "eof", "state", "rows", "ack", "error", "closed")
#: Why a desk closed a view.
REASONS: Final = ("gone", "slow", "link", "unknown")


def check(head: object) -> Head:
    """A head from a page, held to the table; unknown fields are left out. Raises ProtocolError."""
    if not isinstance(head, dict):
        raise ProtocolError("A view's message that is no object.")
    kind = head.get("t")
    table = FROM_VIEW.get(kind) if isinstance(kind, str) else None
    if table is None:
        raise ProtocolError(f"A view's message of type {str(kind)[:32]!r}.")
    view = head.get("view", "")
    if kind != "hello" and not (isinstance(view, str) and VIEW.fullmatch(view)):
        raise ProtocolError(f"{kind} without the id of a view.")
    known: Head = {"t": kind, "view": view}
    required, optional = table
    for name, wanted in (required | optional).items():
        value = head.get(name)
        if value is None:
            if name in required:
                raise ProtocolError(f"{kind} lacks {name!r}.")
            continue
        known[name] = _field(str(kind), name, value, wanted)
    return known


def _field(kind: str, name: str, value: object, wanted: type) -> object:
    # JSON has one kind of number, and JavaScript writes 3 for 3.0; bool is an int to isinstance.
    if wanted is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ProtocolError(f"{kind}: {name!r} is a {type(value).__name__}.")
    size = value if isinstance(value, int) else len(value) if isinstance(value, Sized) else 0
    if not 0 <= size <= (1 << 53 if wanted is int else 4096):
        raise ProtocolError(f"{kind}: {name!r} is over its limit.")
    return value


def starts(head: Head) -> dict[int, int]:
    """The offsets in an ``open``'s ``from``, by stream. Raises ProtocolError."""
    found: dict[int, int] = {}
    for stream, offset in head.get("from", {}).items():
        if stream not in ("1", "2"):
            raise ProtocolError(f"open: a stream {str(stream)[:16]!r}.")
        found[int(stream)] = int(str(_field("open", "from", offset, int)))
    return found


def pack(head: Head, payload: bytes | None = None) -> bytes:
    """A websocket's message."""
    text = json.dumps(head, separators=(",", ":")).encode("utf-8", "replace")
    return b"".join((_SIZE.pack(len(text)), text, payload or b""))


def unpack(message: bytes) -> tuple[object, bytes]:
    """The inverse of :func:`pack`: a head that is not checked yet, and the payload.

    Raises ProtocolError.
    """
    if not _SIZE.size <= len(message) <= MAX_MESSAGE:
        raise ProtocolError(f"A view's message of {len(message)} bytes.")
    (size,) = _SIZE.unpack_from(message)
    if size > min(MAX_HEAD, len(message) - _SIZE.size):
        raise ProtocolError(f"A head of {size} bytes in a message of {len(message)}.")
    end = _SIZE.size + size
    try:
        return json.loads(message[_SIZE.size : end]), bytes(message[end:])
    except (ValueError, RecursionError):
        raise ProtocolError("A head that is not JSON.") from None


def gather(messages: Iterable[tuple[Head, bytes | None]]) -> tuple[dict[str, Any], list[bytes]]:
    """A comm's content and buffers for several messages."""
    heads: list[Head] = []
    buffers: list[bytes] = []
    for head, payload in messages:
        if payload is None:
            heads.append(head)
        else:
            heads.append({**head, "b": len(buffers)})
            buffers.append(payload)
    return {"v": VERSION, "m": heads}, buffers


def scatter(content: object, buffers: list[Any]) -> list[tuple[object, bytes]]:
    """The messages of a comm's content, heads not checked yet. Raises ProtocolError."""
    if not isinstance(content, dict) or content.get("v") != VERSION:
        raise ProtocolError("A comm message of another version.")
    heads = content.get("m")
    if not isinstance(heads, list) or len(heads) > 1024:
        raise ProtocolError("A comm message without messages.")
    found: list[tuple[object, bytes]] = []
    for head in heads:
        index = head.get("b") if isinstance(head, dict) else None
        payload = b""
        if isinstance(index, int) and 0 <= index < len(buffers):
            payload = bytes(buffers[index])
        if len(payload) > MAX_MESSAGE:
            raise ProtocolError(f"A view's payload of {len(payload)} bytes.")
        found.append((head, payload))
    return found


# -- what the views' TypeScript is given


def typescript() -> str:
    """``_frontend/src/protocol.ts``."""
    constants = {
        "VERSION": VERSION,
        "MAX_MESSAGE": MAX_MESSAGE,
        "MAX_HEAD": MAX_HEAD,
        "MAX_DATA": MAX_DATA,
        "INPUT": INPUT,
        "PATIENCE": PATIENCE,
    }
    names = {int: "number", str: "string", bool: "boolean", dict: "Record<string, unknown>"}
    lines = [
        "// Made by `python -m tfnz_notebook._wire.view`. Do not edit.",
        "",
    ]
    lines += [f"export const {name} = {value!r};" for name, value in constants.items()]
    lines += ["", "export interface FromView {"]
    for kind, (required, optional) in FROM_VIEW.items():
        fields = [f"{name}: {names[wanted]}" for name, wanted in required.items()]
        fields += [f"{name}?: {names[wanted]}" for name, wanted in optional.items()]
        lines.append(f"  {kind}: {{ {'; '.join(fields)} }};" if fields else f"  {kind}: object;")
    lines += ["}", ""]
    for name, values in (("ToView", TO_VIEW), ("Reason", REASONS)):
        choices = " | ".join(f'"{each}"' for each in values)
        lines.append(f"export type {name} = {choices};")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(typescript())
