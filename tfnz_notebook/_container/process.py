"""Processes in a container: spawn, run, talk, end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

from tfnz_notebook._base.names import fresh
from tfnz_notebook._base.text import last_words
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.arguments import Command, Environment
from tfnz_notebook._calls.deadline import WORD, within
from tfnz_notebook._calls.faces import face
from tfnz_notebook._calls.follow import Data, Follower
from tfnz_notebook._calls.follow import callbacks as check_callbacks
from tfnz_notebook._container.base import Base
from tfnz_notebook._link import thread
from tfnz_notebook._wire import starts
from tfnz_notebook._wire.operations import MAX_CHUNK, MAX_SAID, MAX_TEXT
from tfnz_notebook.errors import (
    ContainerGone,
    Misuse,
    ProcessFailed,
    ProcessGone,
    WaitTimeout,
)
from tfnz_notebook.process import Completed, Process

#: The user's login shell: bash where there is one.
#: Its terminal is UTF-8, which images seldom say.
SHELL: Final = (
    '[ "$LC_ALL$LC_CTYPE$LANG" ] || export LANG=C.UTF-8; '
    'exec "$(command -v bash || echo /bin/sh)" -l'
)
HOME_SHELL: Final = f'[ -d "$HOME" ] && cd "$HOME"; {SHELL}'


#: What is told of a process that was given up.
_NOTHING: Final = Completed(b"", b"", -9)._asdict()


class Processes(Base):
    """Spawning processes, and what there are."""

    @face
    async def spawn_process(
        self,
        remote_command: Command,
        data_callback: Callable[[Process, bytes], object] | None = None,
        termination_callback: Callable[..., object] | None = None,
        stderr_callback: Callable[[Process, bytes], object] | None = None,
        *,
        env: Environment | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        tty: bool = False,
        size: tuple[int, int] | None = None,
        timeout: float | None = None,
        retain: Literal["all", "tail"] | None = None,
    ) -> Process:
        r"""Start a process in the container (20ft).

        Returns once it runs. What it writes is kept, and callbacks are called as it comes::

            >>> process = container.spawn_process('echo out; echo oops >&2; exit 3')
            >>> process.wait(), process.stdout, process.stderr
            (3, b'out\n', b'oops\n')
            >>> def show(process, data):
            ...     print('it says', data)
            >>> container.spawn_process(['echo', 'hello'], show).wait()
            it says b'hello\n'
            0

        :param remote_command: a string for ``/bin/sh -c``; or an argv, which needs no shell.
        :param data_callback: called with (process, bytes) of its stdout, in order.
        :param termination_callback: called with (process) or (process, returncode), after that.
        :param stderr_callback: as data_callback, of its stderr.
        :param env: added to the container's.
        :param cwd: absolute path, default the container's.
        :param user: name, uid, or either with a group, ``'daemon:www-data'``.
        :param tty: give it a terminal, of ``size`` (rows, columns), default (24, 80).
        :param timeout: seconds after which it and its tree are ended; WaitTimeout if it could not
            be started by then.
        :param retain: ``'all'`` output, so that it waits when the quota is full (the default), or
            the newest: ``'tail'``.

        Raises CommandNotFound and CommandNotExecutable (of an argv; a shell's tell by its code
        127 and 126), SpawnFailed (user, cwd, limits), TooLarge (128 KiB an argument or variable,
        some 2 MiB in all, as Linux has it), Misuse, ContainerGone, ContainerFailed.
        """
        async with within("spawn a process", timeout):
            return await self._spawn(
                remote_command,
                (data_callback, termination_callback, stderr_callback),
                env=env,
                cwd=cwd,
                user=user,
                tty=tty,
                size=size,
                timeout=timeout,
                retain=retain,
            )

    async def _spawn(
        self,
        command: Command,
        callbacks: tuple[Data | None, Callable[..., object] | None, Data | None],
        *,
        env: Environment | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        tty: bool = False,
        login: bool = False,
        size: tuple[int, int] | None = None,
        timeout: float | None = None,
        retain: str | None = None,
        text: str | None = None,
        ident: str | None = None,
        stdin: bytes | None = None,
        origin: str = "",
    ) -> Process:
        """``stdin``: all that it gets there, at most MAX_CHUNK; None: it is written to later."""
        doing = "spawn a process"
        argv, shown = arguments.argv(doing, command)
        check_callbacks(doing, *callbacks)
        if size is not None and not tty:
            raise Misuse(f"Cannot {doing}: size is for terminals. Add tty=True.")
        if cwd is not None:
            cwd = arguments.path(f"{doing} in", cwd)
        text = shown if text is None else text
        rows, columns = (24, 80) if size is None else arguments.size(doing, size)
        if retain is not None:
            arguments.choice(doing, "retain", retain, ("all", "tail"))
        options = {
            "cwd": cwd,
            "user": arguments.user(doing, user),
            "tty": bool(tty),
            "login": login,
            "rows": rows if tty else None,
            "columns": columns if tty else None,
            "timeout": arguments.seconds(doing, "timeout", timeout),
            "retain": retain,
            "origin": origin or None,
            "said": 0 if tty else MAX_SAID,
            "last": stdin is not None,
        }
        body: dict[str, Any] = {
            "container": self._id,
            "process": ident or fresh(),
            "command": argv,
            "text": text[:MAX_TEXT],
            "env": [f"{key}={value}" for key, value in arguments.environment(doing, env).items()],
            **{
                key: value
                for key, value in options.items()
                if value is not None and value is not False
            },
        }
        self._check(doing)
        if self.state == "exited":
            raise await self._exited(doing)
        process = Process._create(self, body["process"], text, bool(tty))
        streams = {1: callbacks[0], 2: callbacks[2]}
        follower = process._follow(process, streams, callbacks[1])
        if follower is not None:
            body["readers"] = [[r.stream, r.number, r.credit] for r in follower.readers]
        self._keep(process)
        await self._start_process(process, body, stdin or None, follower)
        return process

    async def _start_process(
        self,
        process: Process,
        body: dict[str, Any],
        stdin: bytes | None,
        follower: Follower | None,
    ) -> None:
        gone = {"process": process.id, "grace": 0.0}
        destroy = partial(self._link.take_back, "process.destroy", gone)
        try:
            await self._link.request("process.spawn", body, stdin, undo=destroy)
        except BaseException as error:
            self._process_over(process)
            if follower is not None:
                follower.close()
            if isinstance(error, ContainerGone) and self.state == "exited":
                raise await self._exited("spawn a process") from None
            raise
        thread.unless_taken(destroy)

    def _keep(self, process: Process) -> None:
        self._known[process.id] = process
        self._live[process.id] = process
        self._link.listen("process", process.id, process._heard)

    @face
    async def run_process(
        self,
        remote_command: Command,
        *,
        data_callback: Callable[[Process, bytes], object] | None = None,
        stderr_callback: Callable[[Process, bytes], object] | None = None,
        timeout: float | None = None,
        check: bool = False,
        env: Environment | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        input: bytes | None = None,  # noqa: A002  # as subprocess.run calls it
    ) -> Completed:
        r"""Run a process to its end: (stdout, stderr, returncode).

        As ``subprocess.run`` with its output captured::

            >>> container.run_process('cat', input=b'text')
            Completed(stdout=b'text', stderr=b'', returncode=0)

        Arguments as in :meth:`spawn_process`; ``input`` is its whole stdin, without it stdin is
        at its end. After ``timeout`` seconds it is ended and WaitTimeout raised; with ``check``
        a code other than 0 raises ProcessFailed. Both have the output in ``details``.
        An interrupt ends the process.
        """
        callbacks = (data_callback, None, stderr_callback)
        return await self._run(
            remote_command, callbacks, input, check, env=env, cwd=cwd, user=user, timeout=timeout
        )

    async def _run(
        self,
        command: Command,
        callbacks: tuple[Data | None, None, Data | None],
        given: bytes | None,
        check: bool,
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> Completed:
        payload = b"" if given is None else arguments.stdin(given)
        small = payload if len(payload) <= MAX_CHUNK else None
        async with within("run the process", timeout, slack=WORD, **_NOTHING):
            process = await self._spawn(command, callbacks, timeout=timeout, stdin=small, **options)
            try:
                if small is None:
                    await self._feed(process, payload)
                return await self._complete(process, timeout, check)
            except asyncio.CancelledError:
                if process.returncode is None:
                    gone = {"process": process.id, "grace": 0.0}
                    self._link.take_back("process.destroy", gone)
                raise

    async def _feed(self, process: Process, payload: bytes) -> None:
        """Write its whole stdin, as far as it takes that."""
        try:
            for start in range(0, len(payload), MAX_CHUNK):
                piece = payload[start : start + MAX_CHUNK]
                await self._link.request("process.stdin", {"process": process.id}, piece)
            if process.returncode is None:
                await self._link.request("process.close_stdin", {"process": process.id})
        except ProcessGone:
            pass  # it ended without reading all of it, as it may

    async def _complete(self, process: Process, timeout: float | None, check: bool) -> Completed:
        await process._finished(None)
        out, err = await process._output(1), await process._output(2)
        done = Completed(out, err, process.returncode or 0)
        if process.timed_out:
            raise WaitTimeout(
                f"Cannot complete {process.command!r} within {timeout} s: it was ended. "
                "Give it more time.",
                **done._asdict(),
            )
        if check and done.returncode:
            said = last_words(err, most=2000)
            raise ProcessFailed(
                f"Cannot complete {process.command!r}: it ended with code {done.returncode}. "
                f"{said or 'It said nothing on stderr.'}{starts.forbidden(err)}",
                **done._asdict(),
            )
        return done

    @face
    async def spawn_shell(
        self,
        data_callback: Callable[[Process, bytes], object] | None = None,
        termination_callback: Callable[..., object] | None = None,
        *,
        command: Command | None = None,
        size: tuple[int, int] = (24, 80),
        user: str | int | None = None,
        env: Environment | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
    ) -> Process:
        r"""Start a login shell in a terminal (20ft): bash where there is one, else ``/bin/sh``.

        It has a prompt and history, and can be talked to by programs too::

            >>> shell = container.spawn_shell()
            >>> shell.stdin(b'echo hello\n', return_reply=True, drop_echo=True)
            b'hello\n'

        ``command`` runs instead of it, in the same kind of terminal; ``cwd`` is the user's home
        unless given; ``timeout`` as of :meth:`spawn_process`. What is typed with ``stdin`` is
        echoed, as terminals do.
        """
        callbacks = (data_callback, termination_callback, None)
        options: dict[str, Any] = {"size": size, "user": user, "env": env, "cwd": cwd}
        async with within("spawn a shell", timeout):
            return await self._shell(command, callbacks, timeout=timeout, **options)

    async def _shell(
        self,
        command: Command | None,
        callbacks: tuple[Data | None, Callable[..., object] | None, None],
        *,
        cwd: str | None = None,
        **options: Any,
    ) -> Process:
        shell: Command = SHELL if cwd is not None else HOME_SHELL
        text = "login shell" if command is None else None
        begun = shell if command is None else command
        return await self._spawn(
            begun, callbacks, cwd=cwd, tty=True, login=True, text=text, **options
        )

    @face
    async def destroy_process(
        self, process: Process, *, grace: float = 5.0, timeout: float | None = None
    ) -> int:
        """End a process and everything it started: TERM, KILL after ``grace`` seconds (20ft).

        Daemons that left its process group are its own all the same::

            >>> process = container.spawn_process('sleep 1000')
            >>> container.destroy_process(process), process.returncode
            (0, -15)

        Its termination callback is called as for any other end, before this returns. Returns the
        number of survivors (normally 0). ProcessGone if it has ended.
        """
        async with within("destroy the process", timeout):
            if getattr(process, "_container", None) is not self:
                raise Misuse(
                    f"Cannot destroy a process: {process!r} is none of {self._called}. "
                    "Give what its spawn_process made."
                )
            return await process._destroy(grace)

    @face
    async def all_processes(
        self, *, ended: bool = False, timeout: float | None = None
    ) -> list[Process]:
        """What kernels (others too) started in it and still runs; with ``ended``, all of it."""
        async with within("list processes", timeout):
            self._check("list processes")
            await self._link.caught_up()
            self._check("list processes")
            if ended or not self._info.get("met", True):  # a fresh agent waits for its guest
                infos = await self._list()
            else:
                infos = list(self._link.known.processes.get(self._id, {}).values())
            found = []
            for info in infos:
                if info["process"] == self._id or (
                    info.get("returncode") is not None and not ended
                ):
                    continue
                process = self._known.get(info["process"])
                if process is None:
                    process = Process._create(
                        self, info["process"], str(info.get("text")), bool(info.get("tty"))
                    )
                    process._info = info
                    self._known[process.id] = process
                    if not info.get("ended"):
                        self._keep(process)
                found.append(process)
            return found

    async def _list(self) -> list[dict[str, Any]]:
        """All that kernels started in it, in that order."""
        with self._link.known.hearing() as heard:
            reply = await self._link.request("process.list", {"container": self._id})
        infos: list[dict[str, Any]] = reply.body["processes"]
        return [heard.get(info["process"], info) for info in infos]
