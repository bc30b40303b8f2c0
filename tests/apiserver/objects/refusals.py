"""How an API server says no: a Status, in its own words, which ``recorded/`` has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]


class Refusal(Exception):
    """An answer that is no success. ``text`` instead of a Status: from what is before the API."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Object | None = None,
        *,
        text: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, reason, message)
        self.code, self.reason, self.message, self.details = code, reason, message, details
        self.text, self.headers = text, dict(headers or {})

    def status(self) -> Object:
        """The body."""
        said: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        said["message"] = self.message
        if self.reason:
            said["reason"] = self.reason
        if self.details is not None:
            said["details"] = self.details
        return {**said, "code": self.code}


def named(resource: str, group: str) -> str:
    """'pods', 'networkpolicies.networking.k8s.io'."""
    return f"{resource}.{group}" if group else resource


def details(resource: str, group: str, name: str = "", **more: object) -> Object:
    told: Object = {"name": name} if name else {}
    if group:
        told["group"] = group
    return {**told, "kind": resource, **more}


def not_found(resource: str, group: str, name: str) -> Refusal:
    message = f'{named(resource, group)} "{name}" not found'
    return Refusal(404, "NotFound", message, details(resource, group, name))


def no_such_resource() -> Refusal:
    message = "the server could not find the requested resource"
    return Refusal(404, "NotFound", message, {})


def nothing_here() -> Refusal:
    """What a kubelet that restarts says for a second, and any server of a path that it has not."""
    return Refusal(404, "NotFound", "", text="404 page not found\n")


def exists(resource: str, group: str, name: str) -> Refusal:
    message = f'{named(resource, group)} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, details(resource, group, name))


def conflict(resource: str, group: str, name: str, why: str = "") -> Refusal:
    why = why or (
        "the object has been modified; please apply your changes to the latest version and "
        "try again"
    )
    message = f'Operation cannot be fulfilled on {named(resource, group)} "{name}": {why}'
    return Refusal(409, "Conflict", message, details(resource, group, name))


def being_deleted(resource: str, group: str, name: str) -> Refusal:
    """A new object under the name of one that is still on its way out."""
    message = f'object is being deleted: {named(resource, group)} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, details(resource, group, name))


def invalid(kind: str, group: str, name: str, causes: Sequence[tuple[str, str, str]]) -> Refusal:
    """``causes``: field, reason (``FieldValueInvalid``), what is wrong with it."""
    said = [f"{field}: {message}" for field, _, message in causes]
    what = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    told = [
        {"reason": reason, "message": message, "field": field} for field, reason, message in causes
    ]
    message = f'{named(kind, group)} "{name}" is invalid: {what}'
    return Refusal(422, "Invalid", message, details(kind, group, name, causes=told))


def forbidden(resource: str, group: str, name: str, why: str) -> Refusal:
    whom = f' "{name}"' if name else ""
    message = f"{named(resource, group)}{whom} is forbidden: {why}"
    return Refusal(403, "Forbidden", message, details(resource, group, name))


def unauthorized() -> Refusal:
    return Refusal(401, "Unauthorized", "Unauthorized")


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def unsupported_media(kind: str, known: Sequence[str]) -> Refusal:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(known)
    )
    return Refusal(415, "UnsupportedMediaType", message)


def not_allowed() -> Refusal:
    message = "the server does not allow this method on the requested resource"
    return Refusal(405, "MethodNotAllowed", message, {})


def expired_page() -> Refusal:
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results. Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted between "
        "the time the first chunk was returned and now may show up in the list."
    )
    return Refusal(410, "Expired", message)


def too_old(asked: int, oldest: int) -> Refusal:
    return Refusal(410, "Expired", f"too old resource version: {asked} ({oldest})")


def internal(message: str) -> Refusal:
    """500 with the server's usual wrapping."""
    said = {"causes": [{"message": message}]}
    return Refusal(500, "InternalError", f"Internal error occurred: {message}", said)


def too_many(retry_after: int = 1) -> Refusal:
    """Priority and fairness: no Status, a line."""
    message = "Too many requests, please try again later."
    headers = {"Retry-After": str(retry_after)}
    return Refusal(429, "TooManyRequests", message, text=f"{message}\n", headers=headers)


def unavailable(retry_after: int = 1) -> Refusal:
    message = "the server is currently unable to handle the request"
    told = {"retryAfterSeconds": retry_after}
    headers = {"Retry-After": str(retry_after)}
    return Refusal(503, "ServiceUnavailable", message, told, headers=headers)


def store_timeout() -> Refusal:
    """Behind the server, etcd does not answer."""
    return Refusal(500, "", "etcdserver: request timed out")
