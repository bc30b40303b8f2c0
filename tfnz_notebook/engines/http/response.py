"""What a server answers: whole, or as it comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tfnz_notebook._base import numbers
from tfnz_notebook.errors import EngineGone

#: Answers of an engine are small (an inspect is some 10 KiB); more than this is not an engine's.
MAX_BODY: Final = 64 << 20


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; an engine that sends anything else is not one (EngineGone)."""
        try:
            return json.loads(self.body or b"null")
        except ValueError as error:
            raise EngineGone(
                f"Cannot understand the engine: it answered {self.body[:80]!r}, which is not JSON. "
                "Check that the address is a container engine's."
            ) from error

    @property
    def message(self) -> str:
        """What an error answer says: Docker's and Podman's ``message``, else the body."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return self.body.decode("utf-8", "replace").strip()[:500]
        if isinstance(said, dict):
            return str(said.get("message") or said.get("cause") or said.get("error") or said)
        return str(said)


@dataclass(slots=True)
class Streamed:
    """The head of an answer whose body is still coming."""

    status: int
    headers: Mapping[str, str]
    _chunks: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def whole(self) -> Response:
        """Read the rest (an error's text)."""
        body = bytearray()
        async for chunk in self._chunks:
            body += chunk
            if len(body) > MAX_BODY:
                raise EngineGone(
                    f"Cannot read the engine's answer: it has more than {numbers.size(MAX_BODY)}. "
                    "Check that the address is a container engine's."
                )
        return Response(self.status, self.headers, bytes(body))
