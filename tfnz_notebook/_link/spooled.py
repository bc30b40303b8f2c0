"""A log's file, read where its agent keeps it: what is there need not come over the link."""

from __future__ import annotations

import errno
import os
from typing import Final

_HOW: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read(path: str, at: int, size: int) -> bytes:
    """So many bytes from that place on. Raises OSError if they are not there."""
    file = os.open(path, _HOW)
    try:
        found = os.pread(file, size, at)
    finally:
        os.close(file)
    if len(found) < size:
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
    return found
