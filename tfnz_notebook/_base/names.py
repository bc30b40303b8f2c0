"""Names and their grammar: of images, of signals; and ids, which mean nothing.

Images: ``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``, the distribution reference grammar. Checked before
any request, because engines answer a malformed name in a dozen ways (Podman even tries to pull
it). Names go to the engine as the user gave them: what a short name stands for is the engine's
configuration, not ours.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from tfnz_notebook.errors import ImageNameInvalid, Misuse

_HOST: Final = (
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
)
_DOMAIN: Final = rf"(?:{_HOST}|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_ID: Final = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.ASCII)
_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Name:
    """A parsed name. ``registry`` is '' where the engine's default one is meant."""

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        """The name without tag and digest, as it was given."""
        return f"{self.registry}/{self.path}" if self.registry else self.path


def fresh() -> str:
    """An id that nothing else has: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def parse(image: str) -> Name:
    """Take a name apart. Raises ImageNameInvalid, which says what is wrong."""
    if not isinstance(image, str):
        raise ImageNameInvalid(
            f"Cannot use {image!r} as an image: it is no string. Name it as in 'nginx:latest'."
        )
    if _ID.fullmatch(image):
        return Name("", image, "", "")
    found = _NAME.fullmatch(image)
    if found is None or len(image.partition("@")[0]) > _MAX:
        raise ImageNameInvalid(
            f"Cannot use {image[:300]!r} as an image: {_why(image)}. "
            "Name it as in 'nginx', 'nginx:1.25' or 'registry:5000/team/nginx'."
        )
    domain, path = found["domain"] or "", found["path"]
    # 'team/nginx' is a path at the default registry; a host has a dot, a port, capitals, or is
    # 'localhost'. The grammar alone cannot tell; this is the rule that Docker added to it.
    host = "." in domain or ":" in domain or domain == "localhost" or domain != domain.lower()
    if domain and not host:
        domain, path = "", f"{domain}/{path}"
        if not re.fullmatch(rf"{_PART}(?:/{_PART})*", path):
            raise ImageNameInvalid(
                f"Cannot use {image!r} as an image: {_why(image)}. "
                "Name it as in 'nginx', 'nginx:1.25' or 'registry:5000/team/nginx'."
            )
    return Name(domain, path, found["tag"] or "", found["digest"] or "")


def is_id(image: str) -> bool:
    """It names an image by its full id, which no registry knows."""
    return _ID.fullmatch(image) is not None


def _why(image: str) -> str:
    if not image:
        return "the name is empty"
    if len(image) > _MAX:
        return f"the name is longer than {_MAX} characters"
    if any(c.isspace() or not c.isprintable() for c in image):
        return "it has spaces or control characters"
    if "://" in image:
        return "it is an address, not a name"
    last = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    if any(c.isupper() for c in last):
        return "a repository is lower case"
    if image.endswith((":", "@")):
        return "the tag or digest after the last sign is missing"
    return "it does not fit the grammar of image names"


def signal_name(number: int, *, numbered: bool = False) -> str:
    """``SIGTERM`` for 15, or ``SIGTERM (15)``; ``signal 99`` for one without a name."""
    import signal

    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} ({number})" if numbered else name


def signal_number(value: object) -> int:
    """A signal's number, from a number or a name like 'TERM' or 'SIGTERM'. Raises Misuse."""
    import signal

    if isinstance(value, str):
        word = value.upper()
        word = word if word.startswith("SIG") else f"SIG{word}"
        found = getattr(signal.Signals, word, None)
        if found is None:
            raise Misuse(f"Cannot signal: {value!r} is no signal. Give one as in 'TERM' or 15.")
        return int(found)
    if not isinstance(value, int) or isinstance(value, bool):
        kind = type(value).__name__
        raise Misuse(f"Cannot signal: the signal is a {kind}. Give one as in 'TERM' or 15.")
    if not 0 <= value <= 64:
        raise Misuse(f"Cannot signal: the signal is {int(value)}. Give one from 0 to 64.")
    return int(value)
