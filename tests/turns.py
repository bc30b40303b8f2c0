"""Whose turn it is: a test that runs in one of several places runs in the same one each time."""

import zlib
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")


def turn(metafunc: pytest.Metafunc, among: Sequence[T], *, whole_file: bool = False) -> T:
    """The one of these whose turn this test has, or its file."""
    name = metafunc.definition.path.stem
    if not whole_file:
        name += f"::{metafunc.function.__name__}"
    return among[zlib.crc32(name.encode()) % len(among)]
