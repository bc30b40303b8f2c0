"""What an attacker would try, each kind of attacker in a file of its own.

One place and not beside the rooms: an attack goes through several of them, and docs/security.md is
a list of claims, each held by a test here (or by one that it names). What needs no engine runs
without one; engines are chosen as in tests/integration, whose world and fixtures these use.
"""

from integration.conftest import (
    box,
    entered,
    location,
    node,
    own_world,
    pytest_collection_modifyitems,
    pytest_generate_tests,
    spawn,
    where,
    world,
)

__all__ = [
    "box",
    "entered",
    "location",
    "node",
    "own_world",
    "pytest_collection_modifyitems",
    "pytest_generate_tests",
    "spawn",
    "where",
    "world",
]
