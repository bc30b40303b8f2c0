"""Everything that is said and logged in a world, line under line, as it happens."""

from __future__ import annotations

import logging

from tfnz_notebook._wire import link as wire

from . import network, play
from .nodes import Clock, Node
from .script import Script

_LONG = 160


class _Lines(logging.Handler):
    def __init__(self, clock: Clock) -> None:
        super().__init__(logging.INFO)
        self._clock = clock

    def emit(self, record: logging.LogRecord) -> None:
        print(f"{self._clock.now - 1000:9.4f}  {record.getMessage()}")


def trace(seed: int, script: Script) -> None:
    """Play it, and print all."""
    made = play.Play(seed, script)
    clock = made.scene.clock

    def say(node: Node, parts: list[bytes]) -> None:
        message = wire.decode(parts)
        size = f" +{len(message.payload)}" if message.payload is not None else ""
        told = f"{message.kind.name} {message.ident} {message.name}{size} {message.body}"
        if message.name != "ping":
            print(f"{clock.now - 1000:9.4f}  {node.name:8} {told[:_LONG]}")

    logger, lines = logging.getLogger("tfnz_notebook"), _Lines(clock)
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    network.TRACE.append(say)
    try:
        made.run()
    except AssertionError as error:
        print(error)
    finally:
        network.TRACE.clear()
        logger.removeHandler(lines)
        logger.setLevel(logging.NOTSET)
