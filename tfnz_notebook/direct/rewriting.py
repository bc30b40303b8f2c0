"""Which headers pass between a page and the port of a container that it is of, and as what.

What the container serves is hostile, and comes from the address of the Jupyter server. So both ways
only those pass that are known to speak of this one request: neither what says who the user is (the
server's cookies, its token, what a proxy before it adds), nor what browsers and proxies take for
the word of the whole address (HSTS, Clear-Site-Data, a service worker's scope, X-Accel-Redirect).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

Headers = list[tuple[str, str]]

#: Scripts, forms, windows and downloads; and an origin of its own, which none of that changes.
#: Not to move the page around it away, nor anything that the server's own pages may.
SANDBOX: Final = (
    "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads "
    "allow-pointer-lock allow-presentation"
)
OURS: Final = (
    ("Content-Security-Policy", SANDBOX),
    ("Referrer-Policy", "no-referrer"),  # the address is a password for the port
)

_IN: Final = re.compile(
    r"accept(-charset|-encoding|-language)?|cache-control|content-(disposition|encoding|language|"
    r"length|type)|if-(match|modified-since|none-match|range|unmodified-since)|last-event-id|pragma|"
    r"range|sec-fetch-(dest|mode|user)|sec-websocket-(extensions|key|protocol|version)|"
    r"upgrade-insecure-requests|user-agent|x-csrf-?token|x-requested-with|hx-[a-z-]+|turbo-frame",
    re.IGNORECASE,
)
_OUT: Final = re.compile(
    r"accept-ranges|age|allow|cache-control|content-(disposition|encoding|language|length|range|"
    r"security-policy|type)|date|etag|expires|hx-[a-z-]+|last-modified|pragma|retry-after|"
    r"sec-websocket-(accept|extensions|protocol)|vary|x-content-type-options|x-frame-options",
    re.IGNORECASE,
)
#: Of a Set-Cookie, what is kept. Its path and domain are ours to say.
_KEPT: Final = ("expires", "max-age", "samesite", "secure")
_LOCAL: Final = re.compile(r"localhost|127(\.\d+){3}|0\.0\.0\.0|::1?|", re.IGNORECASE)


class Rewriting:
    """Of one port: ``prefix`` is where its root is at the Jupyter server, ``name`` its cookies'."""

    def __init__(self, prefix: str, name: str, port: int) -> None:
        self._prefix = prefix
        #: No cookie of Jupyter's begins so, and no other port's.
        self._mark = f"tfnz-{name}-"
        self._host = f"localhost:{port}"
        self._port = port

    def inward(self, headers: Iterable[tuple[str, str]]) -> Headers:
        """What the container is told of a request."""
        found = [("Host", self._host)]
        for name, value in headers:
            if _IN.fullmatch(name):
                found.append((name, value))
            elif name.lower() == "origin":
                found.append((name, f"http://{self._host}"))  # as servers expect that look
            elif name.lower() == "cookie" and (own := self._own(value)):
                found.append((name, own))
        return found

    def _own(self, cookies: str) -> str:
        pairs = (pair.strip() for pair in cookies.split(";"))
        return "; ".join(p.removeprefix(self._mark) for p in pairs if p.startswith(self._mark))

    def outward(self, headers: Iterable[tuple[str, str]]) -> Headers:
        """What the browser is told of an answer."""
        found: Headers = list(OURS)
        for name, value in headers:
            if _OUT.fullmatch(name):
                found.append((name, value))
            elif name.lower() == "location":
                found.append((name, self._location(value)))
            elif name.lower() == "set-cookie" and (kept := self._cookie(value)):
                found.append((name, kept))
        return found

    def _location(self, value: str) -> str:
        """A redirect to the same server, as a path here. Others lead where they say."""
        try:
            parts = urlsplit(value)
            here = not parts.netloc or (
                _LOCAL.fullmatch(parts.hostname or "") and (parts.port or 80) == self._port
            )
        except ValueError:
            return self._prefix + "/"
        if parts.scheme not in ("", "http", "https") or not here:
            return value
        if not parts.netloc and not value.startswith("/"):
            return value  # from the page's own path
        rest = parts._replace(scheme="", netloc="").geturl()
        return f"{self._prefix}/{rest.lstrip('/')}"

    def _cookie(self, value: str) -> str:
        """One for the port's own path, by a name that is nobody else's."""
        pair, *attributes = (part.strip() for part in value.split(";"))
        if "=" not in pair:
            return ""
        kept = [each for each in attributes if each.partition("=")[0].strip().lower() in _KEPT]
        return "; ".join([f"{self._mark}{pair}", f"Path={self._prefix}/", "HttpOnly", *kept])


def allowed(origin: str | None, host: str) -> bool:
    """Whether who asks is a page of a port's (whose sandbox has no origin), or of the server's."""
    return origin is None or origin == "null" or urlsplit(origin).netloc.lower() == host.lower()


def shared(origin: str | None) -> Headers:
    """What lets a page in its sandbox read what its own server answers: to it all is elsewhere."""
    if origin != "null":
        return []
    return [
        ("Access-Control-Allow-Origin", "null"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Vary", "Origin"),
    ]
