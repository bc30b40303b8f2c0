"""How bad input is refused: its class, a ValueError or not, and "Cannot X: cause. Remedy."."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tfnz_notebook.errors import (
    CommandNotExecutable,
    CommandNotFound,
    ContainerGone,
    FileError,
    ImageMissing,
    ImageNameInvalid,
    LinkClosed,
    Misuse,
    ProcessGone,
    SpawnFailed,
    TfnzError,
    TunnelGone,
)

#: As a documentation of which classes users may catch as ValueError.
VALUE_ERRORS = {
    *(ImageMissing, ImageNameInvalid, CommandNotFound, CommandNotExecutable, SpawnFailed),
    *(FileError, Misuse, ContainerGone, ProcessGone, TunnelGone, LinkClosed),
}


def check(error: TfnzError, kind: type[TfnzError], remedy: str) -> None:
    """Class, ValueError or not, "Cannot X: cause. Remedy."."""
    assert type(error) is kind, f"{type(error).__name__}: {error}"
    assert isinstance(error, ValueError) is (kind in VALUE_ERRORS)
    message = str(error)
    assert message.startswith("Cannot "), message
    assert re.search(remedy, message, re.IGNORECASE), message


@contextmanager
def refused(kind: type[TfnzError], remedy: str) -> Iterator[None]:
    """The block raises just that, well said."""
    with pytest.raises(TfnzError) as caught:
        yield
    check(caught.value, kind, remedy)
