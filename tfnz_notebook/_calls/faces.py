"""One coroutine, two faces.

A public method is written once, as a coroutine of the I/O loop, under :class:`face`. Called on the
object it blocks; called on the object's ``aio`` twin it returns an awaitable for the caller's own
loop. Both have the coroutine's signature and docstring, for readers and for type checkers.

An object belongs to the process that made it. In a forked child both faces raise ForkedError before
anything is asked or waited for, and leaving a block leaves it to the parent.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from tfnz_notebook._link.faults import FORKED
from tfnz_notebook._link.thread import awaitable, wait
from tfnz_notebook.errors import ForkedError, Misuse


class Owned:
    """What has faces."""

    #: The process that it belongs to: no other has the thread that answers it.
    _pid: int

    @property
    def _forked(self) -> bool:
        return self._pid != os.getpid()


P = ParamSpec("P")
S = TypeVar("S", bound=Owned)
R = TypeVar("R")
T = TypeVar("T")


class Closed(type):
    """Metaclass of classes whose objects come from their parent alone (trio's idea)."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002  # whatever is given
        raise Misuse(
            f"Cannot make a {cls.__name__} by calling the class: it would belong to nothing. "
            f"{getattr(cls, '_comes_from', '')}"
        )

    def _create(cls: type[T], *args: Any, **kwargs: Any) -> T:
        made: T = type.__call__(cls, *args, **kwargs)
        if isinstance(made, Owned):
            made._pid = os.getpid()  # noqa: SLF001  # Owned is of this file
        return made


class Twin:
    """Base of the awaitable twins: the same object, seen through awaitable methods."""

    __slots__ = ("_of",)
    _of: Any

    @classmethod
    def _see(cls, of: object) -> Self:
        twin = object.__new__(cls)
        twin.__dict__ = of.__dict__  # type: ignore[misc]  # subclasses have one
        twin._of = of
        return twin


class Block(Owned):
    """With-blocks, plain and ``async``; both leave through ``_leave``."""

    async def _leave(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._forked:
            wait(self._leave())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if not self._forked:
            await awaitable(self._leave())


class face(Generic[S, P, R]):  # noqa: N801  # read as property is, and written as a decorator
    """Decorator of methods that are coroutines of the I/O loop."""

    def __init__(self, core: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None:
        forked = f"Cannot call {core.__name__}(): {FORKED}"

        @functools.wraps(core)
        def blocking(of: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if of._forked:  # noqa: SLF001  # Owned is of this file
                raise ForkedError(forked)
            return wait(core(of, *args, **kwargs))

        @functools.wraps(core)
        async def awaited(of: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if of._forked:  # noqa: SLF001  # Owned is of this file
                raise ForkedError(forked)
            return await awaitable(core(of, *args, **kwargs))

        self.__doc__ = core.__doc__
        self._blocking = blocking
        self._awaited = awaited

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[Concatenate[S, P], R]: ...
    @overload
    def __get__(self, instance: Twin, owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, R]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self._blocking
        if isinstance(instance, Twin):
            return MethodType(self._awaited, instance._of)  # noqa: SLF001  # Twin is of this file
        return MethodType(self._blocking, instance)
