"""What an API server says when it says no: a Status, or whatever stands between us and it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from tfnz_notebook.errors import EngineError

#: What is kept of words that a server chose; it may be hostile, and errors travel in messages.
_WORDS: Final = 1000
_CAUSES: Final = 10
_VERBS: Final = {
    "GET": "read",
    "POST": "create",
    "PUT": "replace",
    "PATCH": "change",
    "DELETE": "delete",
}
_REMEDIES: Final = {
    401: "Log in to the cluster again (what 'kubectl get pods' wants, this wants).",
    403: "Ask an administrator for the role that 'python -m tfnz_notebook doctor' prints.",
    404: "Check the name and the namespace.",
    409: "Look at what is there already.",
    410: "Ask again.",
    422: "Correct the arguments.",
}


class ApiError(EngineError):
    """The API server's refusal.

    ``details`` has ``status`` and ``reason``, and of the Status's own details ``name``, ``kind``,
    ``group`` and ``causes`` where it has them.
    """

    def __init__(
        self,
        text: str,
        status: int,
        reason: str = "",
        message: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        structured: bool = False,
    ) -> None:
        super().__init__(text, **{**(details or {}), "status": status, "reason": reason})
        self.status = status
        #: As Kubernetes names it: 'NotFound', 'AlreadyExists', 'Expired'; '' for plain text.
        self.reason = reason
        #: The server's own words.
        self.message = message
        #: Seconds after which it wants to be asked again, if it said so.
        self.retry_after = retry_after
        #: It is the API server's own, a Status: a proxy or a kubelet says plain text.
        self.structured = structured


class Gone410(ApiError):
    """What was asked for by its resourceVersion is too old: list again."""


def refusal(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
) -> ApiError:
    """The error for an answer that is none."""
    said = _status(body)
    message = str(said.get("message") or "")[:_WORDS]
    if not said:
        message = body[: _WORDS * 4].decode("utf-8", "replace").strip()[:_WORDS]
        if message.startswith("<"):  # some proxy's page
            message = "it answered with a web page"
    return _error(_asked(method, path), status, said, message, headers)


def told(what: str, said: Mapping[str, Any]) -> ApiError:
    """The error for a Status that came as an object: in a watch, behind an exec."""
    code = said.get("code")
    status = code if isinstance(code, int) else 500
    return _error(what, status, said, str(said.get("message") or "")[:_WORDS], {})


def _error(
    what: str, status: int, said: Mapping[str, Any], message: str, headers: Mapping[str, str]
) -> ApiError:
    kind = Gone410 if status == 410 else ApiError
    details = said.get("details")
    details = details if isinstance(details, dict) else {}
    cause = message or f"it answered {status} without a word"
    remedy = _REMEDIES.get(status) or (
        "Try again later." if status == 429 or status >= 500 else "Look at its log."
    )
    return kind(
        f"Cannot {what}: {cause.rstrip('.')}. {remedy}",
        status,
        str(said.get("reason") or "")[:100],
        message,
        _plain(details),
        _wait(headers, details),
        bool(said),
    )


def _status(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) and said.get("kind") == "Status" else {}


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """What programs may want of a Status's details, and no more than fits a message."""
    kept: dict[str, Any] = {
        key: str(details[key])[:_WORDS] for key in ("name", "kind", "group") if details.get(key)
    }
    causes = details.get("causes")
    if isinstance(causes, list):
        kept["causes"] = [
            {str(key)[:100]: str(value)[:_WORDS] for key, value in list(cause.items())[:5]}
            for cause in causes[:_CAUSES]
            if isinstance(cause, dict)
        ]
    return kept


def _wait(headers: Mapping[str, str], details: Mapping[str, Any]) -> float | None:
    for said in (headers.get("retry-after"), details.get("retryAfterSeconds")):
        try:
            if said and (seconds := float(said)) >= 0:
                return seconds
        except (TypeError, ValueError):  # a date: nobody sends that here
            pass
    return None


def _asked(method: str, path: str) -> str:
    """``read pods 'web'`` of a request: what a sentence calls it."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else parts
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    if parts[2:] == ["exec"]:
        return f"run a command in the pod {parts[1]!r}"
    verb = _VERBS.get(method, method)
    if len(parts) < 2:
        return f"{verb} {parts[0] if parts and parts[0] else path}"
    return f"{verb} {'/'.join([parts[0], *parts[2:]])} {parts[1]!r}"
