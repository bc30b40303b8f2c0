"""Which daemon the ``docker`` command would use: its contexts, read as it reads them.

``DOCKER_CONTEXT``, else ``currentContext`` of ``config.json``; ``default`` is none. A context lies
in ``contexts/meta/<sha256 of its name>/meta.json``, its certificates in ``contexts/tls/…/docker``.
All of it below ``DOCKER_CONFIG``, else ``~/.docker``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base import paths
from tfnz_notebook.errors import NoEngine

#: The context that is none.
DEFAULT: Final = "default"
_MOST: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Daemon:
    """What a context says of one. ``certificates``: a directory of ca.pem, cert.pem and key.pem."""

    context: str
    host: str
    certificates: Path | None = None
    verify: bool = True


def current(environ: Mapping[str, str] = os.environ) -> str:
    """The context in use, '' for none. Whatever cannot be read counts as none."""
    named = environ.get("DOCKER_CONTEXT") or ""
    if not named and (home := _home(environ)) is not None:
        try:
            named = str(_read(home / "config.json").get("currentContext") or "")
        except (OSError, ValueError):
            return ""
    return "" if named == DEFAULT else named


def names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The contexts there are, the default one not among them."""
    home, found = _home(environ), []
    if home is None or not paths.there(home / "contexts" / "meta"):
        return []
    for path in sorted(home.glob("contexts/meta/*/meta.json")):
        try:
            found.append(str(_read(path)["Name"]))
        except (OSError, ValueError, KeyError):
            continue
    return sorted(found)


def find(context: str, environ: Mapping[str, str] = os.environ) -> Daemon:
    """What a context names. Raises NoEngine."""
    home = _home(environ) or Path(os.devnull)
    digest = hashlib.sha256(context.encode()).hexdigest()
    try:
        told = _read(home / "contexts" / "meta" / digest / "meta.json")
        said = told["Endpoints"]["docker"]
        host = str(said.get("Host") or "")
    except (FileNotFoundError, NotADirectoryError):
        known = ", ".join(names(environ)) or "none"
        raise NoEngine(
            f"Cannot use docker's context {context!r}: there is none of that name "
            f"(there are: {known}). Choose another, or unset DOCKER_CONTEXT."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoEngine(
            f"Cannot use docker's context {context!r}: it cannot be read ({error}). "
            "'docker context inspect' may say more."
        ) from None
    if not host:
        raise NoEngine(
            f"Cannot use docker's context {context!r}: it names no host. Choose another."
        )
    tls = home / "contexts" / "tls" / digest / "docker"
    return Daemon(context, host, tls if tls.is_dir() else None, not said.get("SkipTLSVerify"))


#: What ``proxies`` of ``config.json`` may say, and the variable that it is for.
_PROXIES: Final = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
    "noProxy": "NO_PROXY",
}


def proxies(host: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that ``docker run`` adds for proxies, in both spellings, of that daemon.

    Of one that is not named it is what ``default`` says. Whatever cannot be read counts as none.
    """
    found: dict[str, str] = {}
    try:
        home = _home(environ) or Path(os.devnull)
        told = _read(home / "config.json").get("proxies") or {}
        said = told.get(host) or told.get("default") or {}
        for key, variable in _PROXIES.items():
            if isinstance(value := said.get(key), str) and value:
                found[variable] = found[variable.lower()] = value
    except (OSError, ValueError, AttributeError):
        return {}
    return found


def _home(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("DOCKER_CONFIG"):
        return Path(named)
    home = environ.get("HOME")
    return Path(home) / ".docker" if home else None


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        told = json.loads(file.read(_MOST))
    if not isinstance(told, dict):
        raise ValueError("it is no mapping")  # noqa: TRY004  # as json's own
    return told
