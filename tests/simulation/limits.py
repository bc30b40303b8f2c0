"""Limits shrunk, so that what takes megabytes happens within a few milliseconds of a small world.

:func:`shrink` is called before the product's other modules are imported, in a process of its own:
they take each other's constants by name, and as defaults.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

#: Module, constant, value; each before the modules that take it from there.
SMALL: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "_wire.guest",
        {"WINDOW_OUT": 4096, "WINDOW_TTY": 1024, "WINDOW_IN": 2048, "WINDOW_WIDE": 6000}
        | {"MAX_DATA": 1500, "MAX_CHANNELS": 52},
    ),
    (
        "_wire.operations",
        {"MAX_CHUNK": 2048, "PAGE": 1024, "MAX_BODY": 16 << 10, "MAX_WORDS": 512, "MAX_TAIL": 1024},
    ),
    ("_wire.window", {"MOST": 16 << 10}),
    ("agent.process.log", {"TAIL": 2048, "SEGMENT": 3000, "MERGE": 256, "RESERVE": 1024}),
    ("agent.process.output", {"HOLD": 1024, "PIPE": 1024}),
    ("agent.process.records", {"SURPLUS": 4, "AT_ONCE": 3}),
    ("agent.process.kept.pack", {"SIZE": 3000}),
    ("agent.process.kept.index", {"SLICE": 700}),
    ("agent.process.kept.marks", {"MOST": 16, "EXACT": 8, "FEW": 2, "SAVED": 8, "PART": 4}),
    ("agent.process.writes", {"GENERATION": 8 * 64}),
    ("agent.process.stdin", {"HELD": 4096}),
    ("agent.container.guest", {"TOGETHER": 2048}),
    ("_link.link", {"ASKED": 2}),
    ("_link.reader", {"WINDOW": 6000, "PIECE": 1500, "SMALL": 2000}),
    ("_link.ports.dial", {"WINDOW": 4096, "PIECE": 1000}),
)


def missing() -> list[str]:
    """Constants that are not where this file says; what was moved has its whole size."""
    modules = ((importlib.import_module(f"tfnz_notebook.{name}"), each) for name, each in SMALL)
    return [f"{m.__name__}.{name}" for m, each in modules for name in each if not hasattr(m, name)]


def shrink() -> None:
    """Make all of it small."""
    for name, values in SMALL:
        module = importlib.import_module(f"tfnz_notebook.{name}")
        for constant, value in values.items():
            before = getattr(module, constant, None)
            if before is None:
                continue
            setattr(module, constant, value)
            _defaults(module, before, value)
    hello: Any = importlib.import_module("tfnz_notebook._link.hello")
    hello.proc = SimpleNamespace(start_time=lambda pid: pid)  # a file of this machine


def _defaults(module: Any, before: int, value: int) -> None:
    """What was taken as an argument's default, when its function was made."""
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    for owner in (module, *(each for each in classes if each.__module__ == module.__name__)):
        for function in vars(owner).values():
            defaults = getattr(function, "__kwdefaults__", None) or {}
            for key in [key for key, default in defaults.items() if default is before]:
                defaults[key] = value
