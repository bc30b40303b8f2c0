"""What makes containers of a node's wishes: real ones in namespaces, bare ones, or models."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apiserver.node import cgroups
from apiserver.node.commands import Command, Model, NotStarted, Real, started

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Decoder, Frame, Tag, Type, fielded, fixed
from tfnz_notebook.engines import base
from tfnz_notebook.engines.fake.files import Files
from tfnz_notebook.engines.fake.guest import FakeGuest
from tfnz_notebook.engines.fake.programs import PROGRAMS
from tfnz_notebook.engines.fake.stream import FakeStream

if TYPE_CHECKING:
    from apiserver.node.images import Trees

#: What containerd leaves to root: chown … setfcap, without net_admin and sys_admin.
USUAL = 0xA80425FB
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID"),
    *("KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE"),
    *("NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK"),
    *("IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE"),
    *("SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE"),
    *("SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE"),
    *("AUDIT_CONTROL", "SETFCAP"),
)


@dataclass
class Wish:
    """A container to be started."""

    name: str
    home: Path
    tree: str
    argv: list[str]
    env: dict[str, str]
    cwd: str = "/"
    #: Source on this machine, target, writable.
    binds: list[tuple[Path, str, bool]] = field(default_factory=list)
    uid: int = 0
    gid: int = 0
    groups: list[int] = field(default_factory=list)
    capabilities: int = USUAL
    no_new_privileges: bool = False
    read_only: bool = False
    hostname: str = ""
    memory: int = 0
    cpu: float = 0.0


class Container(ABC):
    """One that was started."""

    @abstractmethod
    async def wait(self) -> int:
        """Its exit code."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """To its first process; 9 ends all of it."""

    @abstractmethod
    async def exec(self, argv: Sequence[str]) -> Command:
        """NotStarted."""

    @property
    @abstractmethod
    def out_of_memory(self) -> bool:
        """It was killed for that."""

    @abstractmethod
    async def close(self) -> None:
        """After its end: nothing of it is left."""


class Runtime(ABC):
    """A node's."""

    #: Its containers are processes.
    real = True

    @abstractmethod
    async def start(self, wish: Wish) -> Container:
        """NotStarted."""


class Sandboxes(Runtime):
    """Namespaces by sandbox.c, for root."""

    def __init__(self, program: Path, trees: Trees) -> None:
        self.program, self.trees = program, trees

    async def start(self, wish: Wish) -> Container:
        tree = await asyncio.to_thread(self.trees.of, wish.tree)
        parts = {part: wish.home / part for part in ("root", "upper", "work")}
        for path in parts.values():
            path.mkdir(parents=True)
        limits = cgroups.make(wish.home.name, wish.memory, wish.cpu)
        options = [
            f"--root={parts['root']}",
            f"--overlay=lowerdir={tree},upperdir={parts['upper']},workdir={parts['work']}",
            f"--hostname={wish.hostname}",
            *self.who(wish, limits),
            f"--cwd={wish.cwd}",
            *(["--read-only"] if wish.read_only else []),
            *(f"--bind={path}:/sys/fs/cgroup/{name}:ro" for name, path in limits.items()),
            *(
                f"--bind={source}:{target}:{'rw' if writable else 'ro'}"
                for source, target, writable in wish.binds
            ),
        ]
        with (wish.home / "log").open("ab") as log:
            program = [self.program, "run", *options, "--", *wish.argv]
            try:
                process, pid = await started(
                    program, wish.env, stdout=log.fileno(), stderr=log.fileno()
                )
            except BaseException:
                cgroups.remove(limits)
                raise
        return Sandbox(self, wish, process, pid, limits)

    def who(self, wish: Wish, limits: Mapping[str, Path]) -> list[str]:
        return [
            f"--uid={wish.uid}",
            f"--gid={wish.gid}",
            *(f"--group={group}" for group in wish.groups),
            f"--caps={wish.capabilities:x}",
            *(["--no-new-privs"] if wish.no_new_privileges else []),
            *(f"--cgroup={path}" for path in limits.values()),
        ]


class Sandbox(Container):
    """One in namespaces."""

    def __init__(
        self,
        runtime: Sandboxes,
        wish: Wish,
        process: asyncio.subprocess.Process,
        pid: int,
        limits: Mapping[str, Path],
    ) -> None:
        self._runtime, self.wish, self._process, self.pid = runtime, wish, process, pid
        self._limits = limits
        self._execs: list[asyncio.subprocess.Process] = []

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:
                os.kill(self.pid, number)

    async def exec(self, argv: Sequence[str]) -> Command:
        who = self._runtime.who(self.wish, self._limits)
        program = [self._runtime.program, "enter", str(self.pid), *who, f"--cwd={self.wish.cwd}"]
        pipe = asyncio.subprocess.PIPE
        process, _ = await started([*program, "--", *argv], self.wish.env, stdin=pipe)
        self._execs = [each for each in self._execs if each.returncode is None]
        self._execs.append(process)
        return Real(process)

    @property
    def out_of_memory(self) -> bool:
        return cgroups.killed(self._limits)

    async def close(self) -> None:
        await self._process.wait()
        for process in self._execs:
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]
        cgroups.remove(self._limits)
        for part in ("root", "upper", "work"):
            shutil.rmtree(self.wish.home / part, ignore_errors=True)


class Bare(Runtime):
    """No namespaces, for other users: the guest as a plain process, in directories of its own.

    What is mounted at ``/.tfnz`` lies in a directory; so the guest is told where its socket is.
    """

    def __init__(self, sandbox: Path | None = None) -> None:
        del sandbox

    async def start(self, wish: Wish) -> Container:
        return BareContainer(wish, await self.run(wish, wish.argv, log=True))

    async def run(
        self, wish: Wish, argv: Sequence[str], *, log: bool = False
    ) -> asyncio.subprocess.Process:
        places = {target: source for source, target, _ in wish.binds}
        program = next(
            (
                str(places[place] / argv[0].removeprefix(place).lstrip("/"))
                for place in places
                if argv[0].startswith(f"{place}/")
            ),
            argv[0],
        )
        words = [*argv[1:]]
        if argv[0].startswith("/.tfnz/") and words[:1] in (["init"], ["connect"]):
            (root := wish.home / "root").mkdir(parents=True, exist_ok=True)
            words[1:1] = ["--socket", str(places["/.tfnz/run"] / "guest.sock")]
            words[1:1] = ["--root", str(root)] if words[0] == "init" else []
        pipe = asyncio.subprocess.PIPE
        out: int = pipe
        if log:
            out = os.open(wish.home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            return await asyncio.create_subprocess_exec(
                program,
                *words,
                env={**os.environ, **wish.env, "PATH": os.environ["PATH"]},
                stdin=asyncio.subprocess.DEVNULL if log else pipe,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        except OSError as error:
            what = f'exec: "{argv[0]}": stat {argv[0]}: {(error.strerror or "").lower()}'
            raise NotStarted(f"unable to start container process: {what}") from None
        finally:
            if log:
                os.close(out)


class BareContainer(Container):
    """One without."""

    out_of_memory = False

    def __init__(self, wish: Wish, process: asyncio.subprocess.Process) -> None:
        self.wish, self._process = wish, process
        self._execs: list[asyncio.subprocess.Process] = []

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
            if number == signal.SIGKILL:
                for process in self._execs:
                    if process.returncode is None:
                        process.kill()

    async def exec(self, argv: Sequence[str]) -> Command:
        process = await Bare().run(self.wish, argv)
        self._execs.append(process)
        return Real(process)

    async def close(self) -> None:
        await self._process.wait()
        for process in self._execs:
            if process.returncode is None:
                process.kill()
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]


class Models(Runtime):
    """No processes at all: model guests, for a thousand pods."""

    real = False

    async def start(self, wish: Wish) -> Container:
        return ModelContainer(wish)


class Sleeper(FakeGuest):
    """The guest of :mod:`tfnz_notebook.engines.fake`, which may be told what its container is."""

    configured = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._handlers[Type.SETUP] = self._on_setup

    def connect(self, received: base.Received, closed: base.Closed) -> FakeStream:
        return super().connect(lambda data: received(self._hello_of(data)), closed)

    def _hello_of(self, data: bytes) -> bytes:
        """Its HELLO comes alone, and says whether it was told already."""
        frames = [*Decoder().feed(data)] if self.configured and not self.ready else []
        if [frame.type for frame in frames] != [Type.HELLO]:
            return data
        fields = [*frames[0].fields, (Tag.CONFIGURED, 1)]
        return fielded(Type.HELLO, wire.CONNECTION, fields)

    def _on_setup(self, frame: Frame) -> None:
        channel, before = self._ahead
        fields = (*before, *frame.fields) if channel == frame.channel else frame.fields
        self._ahead = (0, ())
        words: dict[Tag, list[str]] = {Tag.ARG: [], Tag.ENV: []}
        for tag, value in fields:
            if tag in words and isinstance(value, bytes):
                words[tag].append(value.decode("utf-8", "surrogateescape"))
        self._argv = words[Tag.ARG] or self._argv
        self._env |= dict(pair.split("=", 1) for pair in words[Tag.ENV] if "=" in pair)
        self._cwd = frame.text(Tag.CWD, self._cwd)
        self.configured = True
        self.say(fixed(Type.RESULT, frame.channel, frame.integer(Tag.REQUEST), 0, 0))


class ModelContainer(Container):
    """A model guest, which sleeps."""

    out_of_memory = False

    def __init__(self, wish: Wish) -> None:
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.guest = Sleeper(
            argv=[],
            env=wish.env,
            user="",
            cwd="/",
            files=Files(),
            programs=PROGRAMS,
            log=lambda data: None,
            finished=self._finished,
        )

    def _finished(self, code: int) -> None:
        if not self._over.done():
            self._over.set_result(code)

    async def wait(self) -> int:
        return await asyncio.shield(self._over)

    def signal(self, number: int) -> None:
        self.guest.exit(128 + number) if number == signal.SIGKILL else self.guest.terminate()

    async def exec(self, argv: Sequence[str]) -> Command:
        if argv[-1:] != ["connect"] and "connect" not in argv:
            raise NotStarted(f'exec: "{argv[0]}": a model runs nothing but its guest')
        return Model(self.guest)

    async def close(self) -> None:
        await self.wait()
