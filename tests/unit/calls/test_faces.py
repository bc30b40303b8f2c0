"""One coroutine, two faces; objects that only their parents make."""

import inspect
import threading

import pytest

from tfnz_notebook._calls.faces import Block, Closed, Twin, face
from tfnz_notebook._link import thread
from tfnz_notebook.errors import Misuse


class Thing(Block, metaclass=Closed):
    _comes_from = "Use make()."

    def __init__(self, number: int) -> None:
        self.number = number
        self.left = False

    @face
    async def add(self, more: int, *, twice: bool = False) -> int:
        """Add to it."""
        assert threading.get_ident() == thread.io().ident
        self.number += 2 * more if twice else more
        return self.number

    @face
    async def me(self) -> "Thing":
        """Itself."""
        return self

    @property
    def aio(self) -> "ThingAio":
        return ThingAio._see(self)

    async def _leave(self) -> None:
        self.left = True


class ThingAio(Twin, Thing):
    pass


def test_called_it_blocks() -> None:
    assert Thing._create(1).add(2, twice=True) == 5


async def test_under_aio_it_is_awaited() -> None:
    thing = Thing._create(1)
    assert await thing.aio.add(2) == 3
    assert thing.number == thing.aio.number == 3


async def test_the_twin_gives_the_object_itself() -> None:
    thing = Thing._create(1)
    assert await thing.aio.me() is thing


def test_both_have_the_signature_and_the_docstring() -> None:
    thing = Thing._create(1)
    for method in (thing.add, thing.aio.add):
        assert list(inspect.signature(method).parameters) == ["more", "twice"]
        assert inspect.getdoc(method) == "Add to it."
    assert inspect.isroutine(Thing.add)
    assert inspect.iscoroutinefunction(thing.aio.add)
    assert not inspect.iscoroutinefunction(thing.add)


def test_wrong_arguments_fail_here() -> None:
    with pytest.raises(TypeError):
        Thing._create(1).add()  # type: ignore[call-arg]


def test_nobody_else_makes_one() -> None:
    with pytest.raises(Misuse, match=r"Use make\(\)"):
        Thing(1)


async def test_blocks_are_left() -> None:
    with Thing._create(1) as thing:
        pass
    assert thing.left
    async with Thing._create(1) as other:
        pass
    assert other.left
