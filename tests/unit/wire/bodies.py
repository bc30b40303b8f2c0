"""Messages that fit their row, for tests that go through all rows."""

from __future__ import annotations

from typing import Any

from tfnz_notebook._wire.operations import Field, Operation, Shape

_VALUES: dict[type, Any] = {int: 1, str: "a" * 8, bool: True, dict: {"k": 1}, float: 0.5}
_VALUES |= {bytes: b"x", list: []}


def value_of(rule: Field) -> Any:
    """Something that a field may be."""
    kind = rule.kind[0] if isinstance(rule.kind, tuple) else rule.kind
    return [_VALUES[rule.of]] if kind is list and rule.of else _VALUES[kind]


def full(shape: Shape) -> dict[str, Any]:
    """Every field of it."""
    return {key: value_of(rule) for key, rule in shape.items()}


def body_of(row: Operation, **given: Any) -> dict[str, Any]:
    """The fields that a request must have, with those values where it has them."""
    body = {key: value_of(rule) for key, rule in row.fields.items() if rule.required}
    return body | {key: value for key, value in given.items() if key in row.fields}
