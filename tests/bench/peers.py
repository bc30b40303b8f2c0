"""Whom we are measured against: docker-py, the command lines, and processes of this machine."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from integration.engine_api import socket_path

ENGINES = ("podman", "docker")


def environment(home: Path, package: str = "docker") -> Path:
    """The Python of an environment with that in it, made at the first call."""
    python = home / "bin" / "python"
    done = home / ".made"
    if not done.exists():
        print(f"bench: making {home} for {package}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, package], check=True, stdout=sys.stderr)
        done.touch()
    return python


class DockerPy:
    """docker-py on one engine, in its own process."""

    def __init__(self, python: Path, engine: str) -> None:
        self.engine, self.python, self.socket = engine, python, socket_path(engine)
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("peer.py")), self.socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        #: A sleeping Debian of its own, to run things in.
        self.box = str(self.ask("container", image="debian")["id"])

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Have it do something; its answer. RuntimeError if that went wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "it ended"}')
        if "error" in answer:
            raise RuntimeError(f"docker-py on {self.engine}: {op}: {answer['error']}")
        return dict(answer)

    def close(self) -> None:
        """Remove its containers and end it."""
        self._process.communicate(timeout=120)


class CommandLine:
    """``docker`` or ``podman``, about one container."""

    def __init__(self, engine: str, container: str) -> None:
        self._program, self._container = shutil.which(engine) or engine, container

    def true(self) -> float:
        """``exec`` of /bin/true; seconds."""
        return timed([self._program, "exec", self._container, "/bin/true"])

    def copy(self, source: str, target: str) -> float:
        """``cp``; of the two, the path in the container begins with a colon. Seconds."""
        pair = [f"{self._container}{each}" if each[0] == ":" else each for each in (source, target)]
        return timed([self._program, "cp", *pair])


class Published:
    """A container of Debian with one port of it on loopback."""

    def __init__(self, engine: str, command: list[str], port: int) -> None:
        self._program = shutil.which(engine) or engine
        labelled = ("run", "--detach", "--rm", "--label", "io.tfnz.bench=peer")
        shown = ("--publish", f"127.0.0.1::{port}")
        self._container = self._ask(*labelled, *shown, "debian", *command)
        self.port = int(self._ask("port", self._container, str(port)).rpartition(":")[2])

    def _ask(self, *arguments: str) -> str:
        command = [self._program, *arguments]
        done = subprocess.run(command, env=_itself(), check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def close(self) -> None:
        """Remove it."""
        self._ask("rm", "--force", self._container)


def _itself() -> dict[str, str]:
    # Without CONTAINER_HOST podman works on its storage itself, as it usually does; with it,
    # it would go through the service, which takes longer.
    return {key: value for key, value in os.environ.items() if key != "CONTAINER_HOST"}


def timed(command: list[str]) -> float:
    """Run it once; seconds."""
    began = time.perf_counter()
    quiet = subprocess.DEVNULL
    subprocess.run(command, env=_itself(), check=True, stdin=quiet, stdout=quiet, stderr=quiet)
    return time.perf_counter() - began


def host_true() -> float:
    """``subprocess.run(['/bin/true'])``."""
    began = time.perf_counter()
    subprocess.run(["/bin/true"], check=True)
    return time.perf_counter() - began


def said_after(python: Path | str, code: str, *arguments: str, **environment: str) -> float:
    """Seconds until that, in a new interpreter, has printed its first line; then to its end."""
    command = [str(python), "-c", code, *arguments]
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        seconds = time.perf_counter() - began
    assert said.strip() == "0" and running.returncode == 0, f"{command}: {said}"
    return seconds


def host_many(count: int) -> float:
    """So many of them at once."""
    began = time.perf_counter()
    running = [subprocess.Popen(["/bin/true"]) for _ in range(count)]
    codes = [each.wait() for each in running]
    seconds = time.perf_counter() - began
    assert codes == [0] * count
    return seconds


class HostTerminal:
    """cat on a pty of this machine: no echo can be faster."""

    def __init__(self) -> None:
        self._fd, inside = os.openpty()
        self._cat = subprocess.Popen(["/bin/cat"], stdin=inside, stdout=inside)
        os.close(inside)

    def echo(self) -> float:
        """One keystroke, there and back."""
        began = time.perf_counter()
        os.write(self._fd, b"x")
        said = os.read(self._fd, 64)
        seconds = time.perf_counter() - began
        assert said == b"x"
        return seconds

    def close(self) -> None:
        """End cat."""
        self._cat.kill()
        self._cat.wait()
        os.close(self._fd)
