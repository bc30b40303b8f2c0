"""A container: from its spec to a running guest, and to its end.

States: pulling, creating, starting, running, then exited, failed or destroyed. ``spawn`` returns
at once; a task brings the container up and tells every step with ``changed``. Whoever needs a
running container waits in :meth:`Container.running`, which raises what went wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base.text import command_line
from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Flag, Frame, Type
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.info import MAX_TAIL, info_of
from tfnz_notebook.agent.container.neighbours import Neighbours
from tfnz_notebook.agent.container.refusals import exited_early, out_of_memory, over
from tfnz_notebook.agent.process.command import Command, remembered
from tfnz_notebook.agent.process.process import MAIN_QUOTA, Process, recalled
from tfnz_notebook.agent.process.records import Records
from tfnz_notebook.agent.world import REAL, World, now
from tfnz_notebook.engines.base import ContainerSpec, Engine, Image, Progress, PullPolicy, State
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    Misuse,
    TfnzError,
)

log = logging.getLogger(__name__)

#: Seconds to wait for the engine to notice that a container whose guest has gone has ended.
EXIT_NOTICE: Final = 10.0
#: Least seconds between two progress events of a pull.
PROGRESS_EVERY: Final = 0.1


class Container:
    """One container of a session."""

    def __init__(
        self,
        engine: Engine,
        session: str,
        spec: ContainerSpec,
        spool: Path,
        changed: Callable[[Container], None],
        process_changed: Callable[[Container, Process], None],
        neighbours: Neighbours,
        *,
        tag: str = "",
        pull: PullPolicy = "missing",
        ref: str = "",
        created: float | None = None,
        world: World = REAL,
    ) -> None:
        self.ident = spec.id
        self.session = session
        self.spec = spec
        self.tag = tag
        self.pull = pull
        self.created = world.wall() if created is None else created
        self.state = "creating"
        self.progress = Progress("")
        self.returncode: int | None = None
        self.error: TfnzError | None = None
        self.log_tail = b""
        self.ip = ""
        self.node = ""
        self.ref = ref
        self.guest: Guest | None = None
        self.processes: dict[str, Process] = {}
        self._engine = engine
        self._records = Records(spool / spec.id, world)
        self._changed = changed
        self._process_changed = partial(process_changed, self)
        self._neighbours = neighbours
        self._image: Image | None = None
        self._up = _awaited()
        self._task: asyncio.Task[None] | None = None
        self._fencing: asyncio.Task[None] | None = None
        self._moving = asyncio.Lock()
        self._told = 0.0

    # -- coming up

    def bring_up(self) -> None:
        """Pull, create and start in the background."""
        self._task = asyncio.create_task(self._bring_up())

    async def _bring_up(self) -> None:
        try:
            async with self._moving:
                await self._create_and_start()
        except TfnzError as error:
            await self._failed(error)
        except Exception as error:
            log.exception("container %s", self.ident)
            await self._failed(ContainerFailed(f"Cannot spawn a container: {error!r}."))

    async def _create_and_start(self) -> None:
        self._image = await self._engine.ensure_image(self.spec.image, self.pull, self._pulled)
        self._set("creating")
        self.ref = await self._engine.create(self.spec, self._image)
        self._set("starting")
        await self._start()

    def _pulled(self, progress: Progress) -> None:
        self.progress = progress
        if self.state != "pulling" or now() - self._told >= PROGRESS_EVERY:
            self._told = now()
            self._set("pulling")

    async def _start(self) -> None:
        """Start the created container and meet its guest."""
        await self._engine.start(self.ref)
        try:
            await self._meet()
        except ContainerGone:
            state = await self._wait_for_exit()
            main = self.main
            if main is None or main.returncode is None:
                self.log_tail = await self._last_words()
                self.returncode = state.exit_code
                raise exited_early(self.spec, state, self.log_tail) from None
            self._up.set_result(None)  # it ran, and ended at once
            await self._exited(state)

    async def _meet(self) -> None:
        self.guest = Guest(
            *(self._engine, self.ref),
            adopt=self._adopt,
            ended=self._ended,
            restarted=self._restarted,
        )
        # It is fenced off while its guest says hello, and not used before both are done.
        await asyncio.gather(self.guest.connect(), self._neighbours.up(self))
        main = self.main
        if main is not None and main.late:
            await main.done.wait()
            raise ContainerGone("Cannot use this container: it ended before it was met.")
        if main is not None:
            self._process_changed(main)
        self._set("running")
        if not self._up.done():
            self._up.set_result(None)

    def _restarted(self) -> None:
        """Somebody restarted it, past us: another address, and no fence."""
        self.ip = ""
        self._fencing = asyncio.create_task(self._neighbours.up(self))

    async def _last_words(self) -> bytes:
        main = self.main
        if main is not None:
            return b"".join(log.tail(MAX_TAIL) for log in main.logs)
        with contextlib.suppress(TfnzError):
            return await self._engine.logs(self.ref)
        return b""

    async def _failed(self, error: TfnzError) -> None:
        self.error = error
        if not self.log_tail:
            self.log_tail = error.details.get("log", b"")
        self.let_go()
        if not self._up.done():
            self._up.set_exception(error)
        self._set("failed")
        await self._neighbours.gone(self)
        if self.ref:
            with contextlib.suppress(TfnzError):
                await self._engine.remove(self.ref)

    async def running(self) -> Guest:
        """The guest, once the container runs. Raises what kept it from that, or ContainerGone."""
        if not self._up.done() or self._up.exception() is not None:
            await asyncio.shield(self._up)
        if self.guest is None or self.state in ("exited", "destroyed"):
            raise over(self.state, self.returncode)
        return self.guest

    # -- processes

    @property
    def main(self) -> Process | None:
        """Its main process, once it was started."""
        return self.processes.get(self.ident)

    def counted(self, recent: int) -> tuple[list[Process], int]:
        """The main process, what runs, the last ``recent`` that ended; and how many ended."""
        others = [each for each in self.processes.values() if each.ident != self.ident]
        ended = [each for each in others if each.returncode is not None]
        shown = {each.ident for each in ended[-recent:]}
        running = [each for each in others if each.returncode is None or each.ident in shown]
        return [*([self.main] if self.main else []), *running], len(ended)

    def _main(self, *, adopt: bool = False) -> Process:
        assert self.guest is not None
        argv = self.spec.argv(self._image or Image(""))
        command = Command([], text=command_line(argv) or "main process", retain="tail")
        process = Process(
            self.ident,
            self.ident,
            self.guest,
            self._records,
            command,
            self._process_changed,
            quota=MAIN_QUOTA,
            adopt=adopt,
        )
        self.processes[self.ident] = process
        return process

    def _adopt(self, inventory: Frame) -> None:
        """The guest lists a process we do not know: its main one, or an earlier agent's."""
        if inventory.channel == wire.MAIN:
            before = self.processes.get(self.ident)
            if before is not None:
                before.discard()
            self._main(adopt=before is None).adopt(wire.MAIN, inventory)
            return
        assert self.guest is not None
        known = remembered(inventory)
        if known is None:
            log.warning("container %s: a process with foreign meta is left alone", self.ident)
            return
        ident, command = known
        options = (self._records, command, self._process_changed)
        process = Process(ident, self.ident, self.guest, *options, adopt=True)
        self.processes[ident] = process
        process.adopt(inventory.channel, inventory)

    async def spawn(self, ident: str, command: Command, *, closed: bool = False) -> Process:
        """Start a process, its stdin ``closed`` or not; a known id gives the one that is there."""
        guest = await self.running()
        if ident in self.processes:
            return self.processes[ident]
        process = Process(ident, self.ident, guest, self._records, command, self._process_changed)
        self.processes[ident] = process
        try:
            await process.spawn(closed=closed)
        except BaseException:
            self.processes.pop(ident, None)
            raise
        return process

    async def start(self) -> None:
        """Start the main process of a container spawned with ``sleep``."""
        guest = await self.running()
        if self.ident in self.processes:
            raise Misuse("Cannot start: the main process was started before.")
        if guest.sleeping:
            process = self._main()
            guest.attach(wire.MAIN, process)
        frame = await guest.request(Type.START, wire.MAIN)
        if frame.values[1]:
            self.processes.pop(self.ident, None)
            raise ContainerFailed(
                f"Cannot start the main process: errno {frame.values[1]}. The image may name no "
                "command, or one that is not there."
            )
        if self.main is not None:
            self._process_changed(self.main)

    # -- the end

    async def _wait_for_exit(self) -> State:
        deadline = now() + EXIT_NOTICE
        delay = 0.005
        while True:
            state = await self._engine.inspect(self.ref)
            if state.status != "running" or now() > deadline:
                return state
            await asyncio.sleep(delay)
            delay = min(delay * 2, 0.25)

    async def _ended(self) -> None:
        """The guest is gone and the container does not run any more."""
        state = await self._engine.inspect(self.ref)
        self.let_go()
        if self.state == "running":
            await self._exited(state)

    async def _exited(self, state: State) -> None:
        self.returncode = state.exit_code
        main = self.main
        oom = state.oom_killed
        if main is not None and main.returncode is not None:
            self.returncode = main.returncode
            oom = oom or bool(main.flags & Flag.OOM)  # Podman does not say
        self.log_tail = await self._last_words()
        if oom:
            self.error = out_of_memory(self.spec, self.log_tail)
        self._end_processes()
        await self._neighbours.gone(self)
        self._set("exited")

    def let_go(self) -> None:
        """Drop the connection to the guest; the container goes on without us."""
        if self.guest is not None:
            self.guest.close()

    def _end_processes(self) -> None:
        for process in self.processes.values():
            if not process.ended:
                process.gone(self.returncode if process.ident == self.ident else -9)  # type: ignore[arg-type]

    async def reboot(self, reset_filesystem: bool) -> None:
        """Stop and start again; with ``reset_filesystem`` from the image, as if never used."""
        await self.running()
        async with self._moving:
            if reset_filesystem and self._image is None:
                raise Misuse(
                    "Cannot reset this container's filesystem: it was spawned under an earlier "
                    "agent, which took its environment and files along. Spawn a new one."
                )
            self.let_go()
            self.state = "starting"
            self.ip = ""
            self._end_processes()
            self.processes.clear()
            self._records.discard()
            self._up = _awaited()
            self._set("starting")
            await self._neighbours.down(self)
            try:
                if reset_filesystem and self._image is not None:
                    await self._engine.remove(self.ref)
                    self.ref = await self._engine.create(self.spec, self._image)
                else:
                    await self._engine.stop(self.ref, 2.0)
                await self._start()
            except TfnzError as error:
                await self._failed(error)
                raise

    async def destroy(self, grace: float = 0.0) -> None:
        """End and remove it, with everything of it. Idempotent."""
        if self.state == "destroyed":
            return
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        async with self._moving:
            self.let_go()
            await self._neighbours.gone(self)
            if self.ref:
                if grace > 0:
                    await self._engine.stop(self.ref, grace)
                await self._engine.remove(self.ref)
            else:
                # Cancelled between the engine's doing and our knowing: look for it.
                for found in await self._engine.find(dict(self.spec.labels)):
                    await self._engine.remove(found.ref)
            self._end_processes()
            if not self._up.done():
                self._up.set_exception(
                    ContainerGone("Cannot use this container: it was destroyed.")
                )
            if self.state != "destroyed":
                self._set("destroyed")
            self.processes.clear()
            self._records.discard()

    async def take_over(self, state: State) -> None:
        """Meet the guest of an adopted container, or know that it has ended."""
        nobody = Guest(self._engine, self.ref, adopt=lambda _: None, ended=self._ended)
        told = (self._records, self._process_changed)
        for process in recalled(self.ident, nobody, *told, over=state.status != "running"):
            self.processes[process.ident] = process
        if state.status == "running":
            try:
                await self._meet()
            except TfnzError as error:
                log.warning("container %s cannot be adopted: %s", self.ident, error)
                self.error = error
        if self.guest is None or self.state != "running":
            self.returncode = state.exit_code
            self.state = "exited"
            if not self._up.done():
                self._up.set_result(None)

    # -- telling

    def _set(self, state: str) -> None:
        self.state = state
        self._changed(self)

    def info(self) -> dict[str, Any]:
        """What kernels see, as in PROTOCOL.md."""
        return info_of(self)

    async def address(self) -> str:
        """Its IP address inside the engine's network, empty if it has none."""
        await self.running()
        if not self.ip:
            self.ip = (await self._engine.inspect(self.ref)).ip
        return self.ip


def _awaited() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    # A container nobody waits for must not make asyncio complain about its error.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
