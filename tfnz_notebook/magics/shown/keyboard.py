"""The real terminal, given to a process: raw keys for one that has a terminal, else lines."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from tfnz_notebook._base.descriptors import readable
from tfnz_notebook.errors import ProcessGone
from tfnz_notebook.magics.shown.text import SCREEN, Clean
from tfnz_notebook.process import Process

#: Leaves the process to itself: Ctrl-], as in telnet.
LEAVE: Final = b"\x1d"


class _Bell:
    """What happens elsewhere, as a file that can be waited for."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        return self._read

    def ring(self, what: bytes) -> None:
        with suppress(OSError):  # closed, or so full that it rings anyhow
            os.write(self._write, what)

    def heard(self) -> bytes:
        return os.read(self._read, 4096)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead is for the process
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _resized(tell: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.signal(signal.SIGWINCH, lambda *_: tell())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def attach(process: Process) -> bool:
    """Connect keyboard and screen to its terminal until it ends; True if the user left it."""
    keys, bell, shown = sys.stdin.fileno(), _Bell(), Clean(SCREEN)
    left = threading.Event()

    def show(_: Process, data: bytes) -> None:
        if not left.is_set():
            sys.stdout.write(shown.feed(data))
            sys.stdout.flush()

    try:
        with _raw(keys), _resized(lambda: bell.ring(b"w")):
            process.attach(show, lambda _: bell.ring(b"x"))
            bell.ring(b"w")
            while True:
                ready = readable(keys, bell.fileno())
                if bell.fileno() in ready:
                    heard = bell.heard()
                    if b"x" in heard:
                        return False
                    _fit(process)
                if keys in ready and not _type(process, os.read(keys, 4096)):
                    left.set()
                    return True
    finally:
        left.set()
        bell.close()


def _fit(process: Process) -> None:
    found = os.get_terminal_size(sys.stdout.fileno())
    with suppress(ProcessGone):
        process.resize(max(found.lines, 1), max(found.columns, 1))


def _type(process: Process, data: bytes) -> bool:
    """Pass keys on; False if they say to leave, or there will be no more."""
    before, leave, _ = data.partition(LEAVE)
    with suppress(ProcessGone):  # its end rings
        if before:
            process.stdin(before)
    return bool(data) and not leave


def lines(process: Process) -> None:
    """Pass lines of stdin on until it ends, or they do (Ctrl-D)."""
    try:
        keys = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):  # nobody can type anything
        with suppress(ProcessGone):
            process.close_stdin()
        return
    bell = _Bell()
    try:
        process.attach(None, lambda _: bell.ring(b"x"))
        while True:
            if bell.fileno() in readable(keys, bell.fileno()):
                return
            data = os.read(keys, 65536)
            with suppress(ProcessGone):
                if not data:
                    process.close_stdin()
                    return
                process.stdin(data)
    finally:
        bell.close()
