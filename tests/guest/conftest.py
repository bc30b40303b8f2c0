"""The binary under test, and a guest and an agent over each transport."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guest.harness import Agent, Guest

REPOSITORY = Path(__file__).parents[2]
SOURCES = REPOSITORY / "tfnz_notebook" / "_guest"
#: An unprivileged user for the cases that need one; no entry in passwd is needed.
OTHER_UID = 54321


@pytest.fixture(scope="session")
def binary() -> Iterator[Path]:
    """``TFNZ_GUEST_BINARY``, or one made with the compiler at hand."""
    given = os.environ.get("TFNZ_GUEST_BINARY")
    if given:
        yield Path(given)
        return
    # Not pytest's temporary directory: other users must be able to execute it.
    directory = Path(tempfile.mkdtemp(prefix="tfnz-guest-build-"))
    directory.chmod(0o755)
    compiler = "musl-gcc" if shutil.which("musl-gcc") else "cc"
    made = directory / "guest"
    subprocess.run(["make", "-s", "-C", str(SOURCES), f"CC={compiler}", f"OUT={made}"], check=True)
    yield made
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def misbehaving() -> Iterator[str]:
    """Path of misbehaving.c, compiled."""
    directory = Path(tempfile.mkdtemp(prefix="tfnz-guest-misbehaving-"))
    directory.chmod(0o755)
    made = directory / "misbehaving"
    source = Path(__file__).with_name("misbehaving.c")
    subprocess.run(["cc", "-static", "-o", str(made), str(source)], check=True)
    yield str(made)
    shutil.rmtree(directory)


@pytest.fixture
def start(binary: Path) -> Iterator[Callable[..., Guest]]:
    """Start guests; all are ended with the test."""
    guests: list[Guest] = []

    def start(*command: str, **keywords: Any) -> Guest:
        guests.append(Guest(binary, *command, **keywords))
        return guests[-1]

    yield start
    for guest in guests:
        guest.close()


@pytest.fixture(params=["socket", "connect"])
def guest(start: Callable[..., Guest], request: pytest.FixtureRequest) -> Guest:
    """A sleeping guest, over both transports."""
    return start(transport=request.param)


@pytest.fixture
def agent(guest: Guest) -> Agent:
    """A connection that has shaken hands and acknowledges what it reads."""
    return guest.agent()


@pytest.fixture
def plain(start: Callable[..., Guest]) -> Agent:
    """The same, over the socket alone: for what has nothing to do with the transport."""
    return start().agent()


@pytest.fixture
def root() -> None:
    """The test changes users."""
    if os.geteuid() != 0:
        pytest.skip("changing users takes root")
