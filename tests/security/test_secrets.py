"""What was given as a secret is where it was asked for, and nowhere else."""

import json
import logging
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from integration.beside import Beside
from integration.polling import until
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import CommandNotFound, Misuse, ProcessFailed, TfnzError
from tfnz_notebook.location import Location

#: In the environment of a container, of a process; in a file there before boot, in one put later.
SECRETS = tuple(f"hunter{number}-{uuid.uuid4().hex}" for number in range(4))
OF_CONTAINER, OF_PROCESS, OF_BOOT, OF_PUT = SECRETS


def leaks(what: str, text: str | bytes) -> list[str]:
    found = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return [f"{name} in {what}" for name in SECRETS if name.encode() in found]


@contextmanager
def debugging(world: World, where: str) -> Iterator[Path]:
    """An agent that logs all it can; its log."""
    log = world.home / "debug.log"
    with log.open("wb") as file:
        agent = subprocess.Popen(
            [
                *(sys.executable, "-m", "tfnz_notebook.agent", "serve"),
                *("--where", where, "--log-level", "debug"),
            ],
            env=world.environment(),
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
    try:
        until(lambda: where in world.agents(), 60, "the agent listens")
        yield log
    finally:
        agent.terminate()
        agent.wait(30)


class CommandLines(Beside):
    """Those of all processes of this machine, looked at all the time."""

    period = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[bytes] = set()

    def look(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.seen.add(path.read_bytes())
            except OSError:
                continue


def shown(container: Container) -> Iterator[tuple[str, str]]:
    """All that is said of a container and its processes, by the objects and their displays."""
    from tfnz_notebook.widgets.explorer import page, text
    from tfnz_notebook.widgets.explorer.card import ContainerCard
    from tfnz_notebook.widgets.explorer.tables import ProcessTable

    for thing in (container, container.location, container.main, *container.all_processes()):
        yield "repr", repr(thing)
        yield "attributes", repr(getattr(thing, "_info", ""))
    for each in (ContainerCard(container), ProcessTable(container.location)):
        info = each.known()
        yield type(each).__name__, f"{info!r} {text.draw(info)} {page.draw(info)}"


def refusals(container: Container) -> Iterator[tuple[str, BaseException]]:
    """Errors of calls to which secrets were given."""
    node = container.location.best_node()
    wrong: list[tuple[type[TfnzError], Callable[[], Any]]] = [
        (Misuse, lambda: node.spawn_container("debian", env=[f"A={OF_CONTAINER}"])),  # type: ignore[list-item]
        (Misuse, lambda: node.spawn_container("debian", env={f"A={OF_CONTAINER}": "b"})),
        (Misuse, lambda: node.spawn_container("debian", env={"A": OF_CONTAINER + "\0"})),
        (Misuse, lambda: node.spawn_container("debian", env=[(b"A", OF_CONTAINER)])),  # type: ignore[list-item]
        (Misuse, lambda: node.spawn_container("debian", pre_boot_files=[OF_BOOT])),  # type: ignore[list-item]
        (Misuse, lambda: node.spawn_container("debian", pre_boot_files=[("/a", [OF_BOOT])])),  # type: ignore[list-item]
        (CommandNotFound, lambda: container.spawn_process(["/none"], env={"T": OF_PROCESS})),
        (Misuse, lambda: container.spawn_process("true", env=[OF_PROCESS])),  # type: ignore[list-item]
        (ProcessFailed, lambda: container.run_process("exit 3", env={"T": OF_PROCESS}, check=True)),
    ]
    for number, (kind, call) in enumerate(wrong):
        with pytest.raises(kind) as caught:
            call()
        yield f"error {number}", caught.value


def test_secrets_are_where_they_were_asked_for_alone(
    own_world: Callable[..., World], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world = own_world()
    found: list[str] = []
    with debugging(world, where) as log:
        with Location(where) as location, CommandLines() as lines:
            container = location.best_node().spawn_container(
                "debian",
                sleep=True,
                env={"TOKEN": OF_CONTAINER},
                pre_boot_files={"/tmp/secret": OF_BOOT.encode()},
            )
            process = container.spawn_process(
                "while read line; do echo $line; done", env={"KEY": OF_PROCESS}
            )
            assert process.stdin(b"ready\n", return_reply=True, timeout=30) == b"ready\n"
            container.put("/tmp/put", OF_PUT.encode())

            # They did arrive.
            said = 'printf %s "$TOKEN $KEY" | sha256sum'
            told = container.run_process(said, env={"KEY": OF_PROCESS}).stdout.split()[0]
            assert told.decode() == sha256(f"{OF_CONTAINER} {OF_PROCESS}".encode()).hexdigest()
            assert container.fetch("/tmp/secret") == OF_BOOT.encode()
            assert container.fetch("/tmp/put") == OF_PUT.encode()

            for what, text in shown(container):
                found += leaks(what, text)
            for what, error in refusals(container):
                found += leaks(what, f"{error} {error!r} {vars(error)}")
            if where != "host":
                held = world.container(where, container.id)
                # Who asks the engine is root, and is told the environment: docs/security.md.
                assert OF_CONTAINER in json.dumps(held["Config"].pop("Env"))
                found += leaks("the engine's inspect", json.dumps(held))
            found += on_disk(world, where)
        assert any(b"guest" in line for line in lines.seen), "it looked at something"
        for line in lines.seen:
            found += leaks("a command line", line)
        found += leaks("the agent's log", log.read_bytes())
        assert "asyncio" in log.read_text(), "it was at debug level"
    found += leaks("a log of this process", caplog.text)
    assert not found, found


def on_disk(world: World, where: str) -> list[str]:
    """In files of the agent. The host engine, which has no engine to remember, keeps a state."""
    found = []
    for top in (world.runtime, world.state):
        for path in (each for each in top.rglob("*") if each.is_file()):
            own = where == "host" and (path.name == "state.json" or "root" in path.parts)
            if own:
                assert path.stat().st_mode & 0o077 == 0 or "root" in path.parts
                continue
            found += leaks(str(path), path.read_bytes())
    return found
