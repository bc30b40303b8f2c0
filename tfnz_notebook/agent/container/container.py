"""A container: from its spec to a running guest, and to its end.

What it can be, and how it becomes that, is the table in ``states``. ``spawn`` returns at once; a
task brings the container up and tells every step with ``changed``. Whoever needs it running waits
in :meth:`Container.running`, in the container's scope, and gets what went wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base.text import command_line
from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Feature, Flag, Frame, Tag, Type
from tfnz_notebook._wire.operations import MAX_TAIL, MAX_TEXT
from tfnz_notebook.agent.container import forks
from tfnz_notebook.agent.container.files import transfers
from tfnz_notebook.agent.container.guest import MUTE, Guest
from tfnz_notebook.agent.container.info import info_of
from tfnz_notebook.agent.container.neighbours import Neighbours
from tfnz_notebook.agent.container.refusals import (
    exited_early,
    no_hello,
    no_user,
    out_of_memory,
    over,
    paused,
    start_error,
    taken,
    unmet,
    unresponsive,
)
from tfnz_notebook.agent.container.states import COMING, NEXT, OVER, SILENT, Event
from tfnz_notebook.agent.process.command import Command, remembered
from tfnz_notebook.agent.process.first import First
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.process import MAIN_QUOTA, Process
from tfnz_notebook.agent.process.records import Records
from tfnz_notebook.agent.scope import Scope, together
from tfnz_notebook.agent.world import REAL, World, now
from tfnz_notebook.engines.base import ContainerSpec, Engine, Image, Progress, PullPolicy, State
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    EngineError,
    EngineGone,
    Misuse,
    SpawnFailed,
    TfnzError,
)

log = logging.getLogger(__name__)

#: Seconds a guest has to say hello once its container was started.
HELLO: Final = 20.0
#: Seconds to wait for the engine to notice that a container whose guest has gone has ended.
EXIT_NOTICE: Final = 10.0
#: Seconds between two looks at an engine that does not say what a container is.
LOOK_AGAIN: Final = 5.0
#: Seconds that operations wait for a guest which its engine says to run.
PATIENCE: Final = 15.0
#: Seconds after a container's end in which what was asked of it may end by itself.
LAST: Final = 0.25
#: Seconds for the last of a main process's output, beyond the grace of a stop.
LAST_WORDS: Final = 2.0
#: Processes that ended and are told of all the same: what a card shows of them.
RECENT: Final = 3
#: Least seconds between two progress events of a pull.
PROGRESS_EVERY: Final = 0.1


#: A spare that can be what is wished for, of that image.
Take = Callable[[ContainerSpec, Image], "Container | None"]


class Container:
    """One container of a session."""

    def __init__(
        self,
        engine: Engine,
        session: str,
        spec: ContainerSpec,
        spool: Path,
        changed: Callable[[Container], None],
        process_changed: Callable[[Container, Process | Ended], None],
        neighbours: Neighbours,
        *,
        tag: str = "",
        origin: str = "",
        pull: PullPolicy = "missing",
        ref: str = "",
        created: float | None = None,
        forget: Callable[[str], None] = lambda _: None,
        world: World = REAL,
    ) -> None:
        self.ident = spec.id
        self.session = session
        self.spec = spec
        self.tag = tag
        #: What made it, in words of the kernel's own.
        self.origin = origin
        self.pull = pull
        self.created = world.wall() if created is None else created
        self.state = "creating"
        self.progress = Progress("")
        self.returncode: int | None = None
        self.error: TfnzError | None = None
        self.log_tail = b""
        self.ip = ""
        self.ref = ref
        self.guest: Guest | None = None
        self.scope = Scope()
        #: This agent knows its processes: it met the guest, or the container's end.
        self.met = False
        #: It has met them, or knows why it cannot.
        self.looked = asyncio.Event()
        #: It knows of those that ended under an earlier agent, if there was one.
        self.recalled = asyncio.Event()
        self._engine = engine
        self._records = Records(spool / spec.id, world)
        self.processes = self._records.processes
        #: Processes that are asked for while it cannot start them yet, until they are among those.
        self.coming: dict[str, asyncio.Event] = {}
        self._changed = changed
        self._process_changed = partial(process_changed, self)
        self._neighbours = neighbours
        self._image: Image | None = None
        self._up = _awaited()
        self._making: asyncio.Task[None] | None = None  # from its spec
        self._tasks: set[asyncio.Task[None]] = set()  # what goes on beside, for it
        self._news = 0  # how often somebody said that something happened at the engine
        self._looking: asyncio.Task[None] | None = None  # at what that was
        self._ending: asyncio.TimerHandle | None = None
        self._mute_since = 0.0
        #: What it was made as, if that was before anybody asked for it; its guest is told the rest.
        self.made: ContainerSpec | None = None
        self._forget = forget  # told when it is not what it was made as any more
        self._take: Take = _no_spare
        #: Its guest was restarted, and has not told yet what runs in it.
        self._reborn = False
        self._moving = asyncio.Lock()
        self._told = 0.0

    @property
    def unmodified_costs(self) -> str:
        """What its engine adds to what is weaker where the first process is the image's own."""
        return self._engine.unmodified_costs

    @property
    def lacks(self) -> Mapping[str, str]:
        """What its engine does not give it."""
        return self._engine.lacks(self.spec)

    def _happens(self, event: Event) -> bool:
        """Be what that makes of it, and tell; False where it changes nothing."""
        state = NEXT.get((self.state, event))
        if state is None:
            return False
        self.state = state
        self._changed(self)
        return True

    def _known(self) -> None:
        self.met = True
        self.looked.set()
        self.recalled.set()

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- coming up

    def bring_up(self, cleared: Callable[[], Awaitable[None]], take: Take | None = None) -> None:
        """Pull, create and start in the background, once its place is ``cleared``.

        Or ``take`` a spare, if there is one.
        """
        self._take = take or _no_spare
        self.recalled.set()
        self._making = asyncio.create_task(self._bring_up(cleared))

    async def _bring_up(self, cleared: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._moving:
                await cleared()
                await self._create_and_start()
        except TfnzError as error:
            await self._failed(error)
        except Exception as error:
            log.exception("container %s", self.ident)
            await self._failed(ContainerFailed(f"Cannot spawn a container: {error!r}."))

    async def _create_and_start(self) -> None:
        self._image = await self._engine.ensure_image(self.spec.image, self.pull, self._pulled)
        while (spare := self._take(self.spec, self._image)) is not None:
            if await self._wakes(spare):
                return
        self._happens(Event.MAKE)
        self.ref = await self._engine.create(self.spec, self._image)
        self._happens(Event.START)
        await self._start()

    def _pulled(self, progress: Progress) -> None:
        self.progress = progress
        if self.state != "pulling" or now() - self._told >= PROGRESS_EVERY:
            self._told = now()
            self._happens(Event.PULL)

    def tell(self) -> None:
        """Say what it is once more, for what is said of it has changed elsewhere."""
        self._changed(self)

    def waits(self, words: str) -> None:
        """Its engine says for what it waits, while that starts it."""
        if self.state == "starting":
            self.progress = Progress(words)
            self._changed(self)

    async def _start(self) -> None:
        """Start the created container and meet its guest. Raises what kept it from that."""
        await self._engine.start(self.ref)
        guest = self.guest = self._new_guest()

        async def there() -> None:
            # It is fenced off while its guest says hello, and not used before both are done.
            await together(guest.connect(), self._neighbours.up(self))
            if self.made is not None:
                await self._say_what_for(guest)

        await self._begins(guest, there)

    async def _begins(self, guest: Guest, there: Callable[[], Awaitable[None]]) -> None:
        """Be met, once it is ``there``; or be over, as what is quick is."""
        try:
            async with asyncio.timeout(HELLO):
                await there()
                if self.made is not None and not self.spec.sleep:
                    await self._start_woken(guest)
                if self.spec.unmodified:
                    self._follow_first()
                if self.main is not None and self.main.state in ("late", "exited", "ended"):
                    await self.main.done.wait()
                    guest.over = True
        except TimeoutError:
            raise no_hello(self.ref, HELLO) from None
        except ContainerGone:
            guest.over = True
        if guest.over:
            await self._ended_early()
        else:
            self._meets()

    def _new_guest(self) -> Guest:
        return Guest(self._engine, self.ref, **self._told_by_it())

    def _told_by_it(self) -> dict[str, Any]:
        """Who hears what a guest of its tells."""
        return {
            "adopt": self._adopt,
            "ended": self._ended,
            "restarted": self._restarted,
            "met": self._guest_is_there,
            "mute": self._look_why,
            "refused": self._is_unresponsive,
        }

    # -- made of a spare

    @property
    def waits_for_work(self) -> bool:
        """As a spare: it is there, asleep, and can be told what it is for."""
        guest = self.guest
        ready = self.state == "running" and guest is not None and guest.there
        return ready and guest is not None and guest.can(Feature.SETUP)

    @property
    def image(self) -> Image | None:
        """What it was made of; None before that."""
        return self._image

    @property
    def node(self) -> str:
        """The machine that it is on, or is wished to be; empty where that is not known."""
        return self._engine.where(self.ref) or self.spec.node or ""

    @property
    def made_ident(self) -> str:
        """The id under which its engine has it."""
        return self.ident if self.made is None else self.made.id

    async def _wakes(self, spare: Container) -> bool:
        """Be what a spare is, and tell its guest what for; False if it ended under our hands."""
        name = self.spec.name
        # From here on it is this container's, whatever becomes of that: who destroys this one
        # removes it.
        self.ref, self.made = spare.ref, dataclasses.replace(spare.spec, name=name)
        try:
            guest = self.guest = spare.handed_over()
            guest.tell(**self._told_by_it())
            self._neighbours.handed(spare, self)
            if name is not None:
                await self._engine.rename(self.ref, name)
            await self._say_what_for(guest)
        except (ContainerGone, EngineError, EngineGone) as error:
            log.info("container %s: a spare was of no use: %s", self.ident, error)
            self.let_go()
            self.guest = None
            await spare.destroy()
            await self._neighbours.gone(self)
            self.ref = ""
            self._is_as_spawned()
            return False
        self._happens(Event.MAKE)
        self._happens(Event.START)
        await self._begins(guest, _already)
        return True

    def handed_over(self) -> Guest:
        """As a spare: its guest, which is another's from now on. ContainerGone."""
        guest, self.guest = self.guest, None
        if guest is None or not guest.there:
            self.guest = guest
            raise ContainerGone("Cannot use this spare: it has just ended.")
        self.close()
        return guest

    async def _say_what_for(self, guest: Guest) -> None:
        """Its files, then what the image would say. Raises what stands against it."""
        owner = "0" if guest.can(Feature.OWNERS) else None
        for path, content in self.spec.files.items():
            transfer = transfers.Transfer(guest, "put", path)
            transfers.begin_put(transfer, 0o644, owner, parents=True)
            await transfer.upload(content)
            await transfer.finish_upload()
        assert self.made is not None
        image = self._image or Image("")
        fields = [(Tag.ARG, word) for word in self.spec.argv(image)]
        fields += [(Tag.ENV, f"{key}={value}") for key, value in self.spec.env.items()]
        user, before = (image.user if s.user is None else s.user for s in (self.spec, self.made))
        if user != before:
            fields.append((Tag.USER, user or "0"))
        number = (await guest.set_up(fields)).values[1]
        if number:
            raise no_user(user, number)

    async def _start_woken(self, guest: Guest) -> None:
        main = self._main()
        main.own(wire.MAIN)
        try:
            await self._start_asleep(guest, main)
        except SpawnFailed as error:
            raise ContainerFailed(str(error)) from None

    async def _wakes_again(self, guest: Guest) -> None:
        """Somebody restarted it, past us: it has forgotten what it is for."""
        try:
            await self._say_what_for(guest)
            if not self.spec.sleep:
                await self._start_woken(guest)
        except TfnzError as error:
            log.warning("container %s: restarted, and asleep: %s", self.ident, error)
        self._meets()

    def _meets(self) -> None:
        """Its guest is there, and it is fenced off: it can be used."""
        before = self.met
        self._known()
        # Of what an earlier agent started no snapshot has told; else there is the main process.
        told = self.counted(RECENT)[0] if not before else [self.main] if self.main else []
        for process in told:
            self._process_changed(process)
        if not self._happens(Event.MEET) and not before:
            self._changed(self)
        if not self._up.done():
            self._up.set_result(None)

    async def _ended_early(self) -> None:
        """It ended while it was started, as what is quick does."""
        state = await self._wait_for_exit()
        self.let_go()  # so that none waits for it to be up
        self._known()
        main = self.main
        if main is None or main.returncode is None:
            self.log_tail = await self._last_words()
            self.returncode = state.exit_code
            if state.exit_code != 0 or state.oom_killed:
                raise exited_early(self.spec, state, self.log_tail)
            # It was too quick to be met, and is none the worse.
            main = main or self._main()
            main.logs[0].append(0, self.log_tail)
        await self._exited(state)

    def _restarted(self) -> None:
        """Somebody restarted it, past us: another life, another address, and no fence."""
        if self.spec.unmodified:  # its guest was killed, and that is another, beside the same
            for process in self.processes.live:
                if process is not self.main:
                    process.gone()
            return
        self._reborn = True
        self._end_processes()
        self._records.discard()
        self.ip, self.returncode = "", None
        self._happens(Event.START)
        self._beside(self._neighbours.up(self))

    async def _last_words(self) -> bytes:
        main = self.main
        with contextlib.suppress(TfnzError, OSError):
            if main is not None and (said := b"".join(log.tail(MAX_TAIL) for log in main.logs)):
                return said
            return await self._engine.logs(self.ref)  # its guest says why nothing could be started
        return b""

    async def _failed(self, error: TfnzError) -> None:
        self.error = error
        if not self.log_tail:
            self.log_tail = error.details.get("log", b"")
        self.let_go()
        if not self._up.done():
            self._up.set_exception(error)
        self._end_processes()
        self._known()
        self._happens(Event.FAIL)
        self.scope.interrupt(error)
        await self._neighbours.gone(self)
        if self.ref:
            with contextlib.suppress(TfnzError):
                await self._engine.remove(self.ref)

    async def running(self) -> Guest:
        """The guest, once the container runs. Raises what keeps it from that.

        ContainerGone, ContainerPaused, ContainerUnresponsive; what it failed with.
        """
        if self.state == "paused":
            await self._look()  # somebody may just have let it go on
        if self.state in SILENT:
            raise self._silent()
        if self._moving.locked() and self.state == "running":
            async with self._moving:  # it is being rebooted or destroyed
                pass
        if not self._up.done() or self._up.exception() is not None:
            await asyncio.shield(self._up)
        if self.state == "failed" and self.error is not None:
            raise self.error
        if self.guest is None or self.state in OVER:
            raise over(self.state, self.returncode)
        await self.guest.up()
        return self.guest

    @property
    def ports(self) -> list[int]:
        """What it or its image exposes; nothing of those is kept for a later agent."""
        exposed = {*self.spec.flags.get("expose", ()), *(self._image.ports if self._image else ())}
        return sorted(exposed)

    @property
    def health(self) -> list[str]:
        """Its health check, as Docker writes it; nothing where that is too long to be told."""
        if self.spec.flags.get("no_healthcheck"):
            return []
        if line := self.spec.flags.get("health_cmd"):
            check = ["CMD-SHELL", str(line)]
        else:
            check = list(self._image.health) if self._image else []
        return check if sum(map(len, check)) <= MAX_TEXT else []

    @property
    def _called(self) -> str:
        return self.spec.name or self.ident[:12]

    def _silent(self) -> TfnzError:
        if self.state == "paused":
            return paused(self._called)
        return unresponsive(self._called, self.error)

    def check_met(self) -> None:
        """Raise why its processes are not known: it has not been met."""
        if not self.met:
            raise (self._silent() if self.state in SILENT else unmet(self._called))

    # -- its guest falls silent, and speaks again

    def _guest_is_there(self) -> None:
        if self._reborn:
            self._reborn = False
            if self.made is not None and self._image is not None and self.guest is not None:
                self._beside(self._wakes_again(self.guest))
            else:
                self._meets()
        elif not self.met:
            if self.state != "starting":  # an earlier agent's; else its fence is still waited for
                self._meets()
        elif self.state in SILENT:
            self.error = None
            self._goes_on()

    async def _look_why(self) -> None:
        """The guest has been silent: ask the engine, and say what that means."""
        lost = ""
        try:
            state = await self._engine.inspect(self.ref)
        except EngineGone as error:
            self.error = error
        else:
            if state.status == "paused":
                self._is_paused()
                return
            if state.status != "running":
                return  # its end is told by the end of the connection
            lost = state.error
        if self.guest is None or not self.guest.silent:
            return  # it has spoken meanwhile
        if lost:
            self._is_unresponsive(EngineGone(lost), Event.LOSE)
        else:
            self._is_unresponsive()

    def _is_unresponsive(self, cause: TfnzError | None = None, event: Event = Event.MUTE) -> None:
        self.error = cause or self.error
        if not self._happens(event) and self.state not in ("unresponsive", "unreachable"):
            return
        self.looked.set()
        self._mute_since = self._mute_since or now()
        if now() - self._mute_since >= PATIENCE - MUTE:
            self._give_up(self._silent())

    def _give_up(self, error: TfnzError) -> None:
        """End what is asked of it now; processes go on, and what they say is not lost."""
        self.scope.interrupt(error)
        if self.guest is not None:
            self.guest.give_up(error)

    def _is_paused(self) -> None:
        self._mute_since = 0.0
        self._happens(Event.PAUSE)
        self.looked.set()
        if self.guest is not None:
            self.guest.wait_for_a_word()

    def _goes_on(self) -> None:
        self._mute_since = 0.0
        self._happens(Event.HEAR)

    async def pause(self) -> None:
        """Have the engine stop all that runs in it, until :meth:`unpause`."""
        await self.running()
        await self._engine.pause(self.ref)
        self._is_paused()

    async def commit(self, name: str) -> str:
        """Make an image of it as it is; its id. Nothing else is done to it meanwhile."""
        if self.state != "exited":
            await self.running()
        async with self._moving:  # its engine may pause it for that, which is nobody's news
            if self.state in OVER and self.state != "exited":
                raise over(self.state, self.returncode)
            ident = await self._engine.commit(self.ref, name)
        self.look_soon()
        return ident

    async def unpause(self) -> None:
        """Let it go on."""
        if self.state in OVER:
            raise over(self.state, self.returncode)
        await self._engine.unpause(self.ref)
        self._goes_on()

    # -- processes

    @property
    def main(self) -> Process | None:
        """Its main process, once it was started; not one that ended under an earlier agent."""
        found = self.processes.get(self.ident)
        return found if isinstance(found, Process) else None

    def counted(self, recent: int) -> tuple[list[Process | Ended], int]:
        """The main process, what runs, the last ``recent`` that ended; and how many ended."""
        return self.processes.counted(self.ident, recent)

    def _follow_first(self, *, adopt: bool = False) -> None:
        """Its first process is not its guest's: its engine tells of that."""
        first = self._main(First, adopt=adopt)
        assert isinstance(first, First)
        first.begins(self._engine.output(self.ref))

    def _main(self, kind: type[Process] = Process, *, adopt: bool = False) -> Process:
        assert self.guest is not None
        argv = self.spec.argv(self._image or Image(""))
        # A command line that was given to a shell is shown as it was typed.
        typed = argv[2] if len(argv) == 3 and tuple(argv[:2]) == ("/bin/sh", "-c") else ""
        command = Command([], text=typed or command_line(argv) or "main process", retain="tail")
        process = kind(
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
            same = isinstance(before, Ended) and before.is_that(inventory)
            if before is not None and not same:
                before.discard()
            self._main(adopt=before is None or same).adopt(wire.MAIN, inventory)
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

    async def spawn(self, ident: str, command: Command) -> Process | Ended:
        """Start a process; a known id gives the one that is there."""
        coming = self.coming.setdefault(ident, asyncio.Event())
        try:
            guest = await self.running()
        finally:
            coming.set()
            self.coming.pop(ident, None)
        if (known := self.processes.get(ident)) is not None:
            if isinstance(known, Process):
                await known.ready()
            return known
        process = Process(ident, self.ident, guest, self._records, command, self._process_changed)
        self.processes[ident] = process
        try:
            await process.spawn()
        except BaseException:
            if self.processes.get(ident) is process:  # after a restart, who asked again has another
                del self.processes[ident]
            process.abandon()
            raise
        return process

    async def start(self) -> None:
        """Start the main process of a container spawned with ``sleep``."""
        guest = await self.running()
        if self.ident in self.processes:
            raise Misuse("Cannot start: the main process was started before.")
        main = self._main()  # now: who else asks finds it
        main.own(wire.MAIN)
        starting = self._beside(self._start_asleep(guest, main))
        starting.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Who asked may stop waiting; what the guest makes of it is known all the same.
        await asyncio.shield(starting)

    async def _start_asleep(self, guest: Guest, main: Process) -> None:
        try:
            frame = await self._say_start(main, guest)
        except BaseException:
            if not main.pid:
                self._forget_main(guest, main)
            raise
        if frame is not None and frame.values[1]:
            self._forget_main(guest, main)
            image = self._image or Image("")
            user = image.user if self.spec.user is None else self.spec.user
            cwd = image.workdir if self.spec.workdir is None else self.spec.workdir
            command = Command(list(self.spec.argv(image)), "", cwd=cwd, user=user)
            raise start_error(command, frame)
        self._process_changed(main)

    async def _say_start(self, main: Process, guest: Guest) -> Frame | None:
        """The guest's answer to START; None if it had started before we heard of it."""
        while True:
            try:
                return await guest.request(Type.START, wire.MAIN)
            except ContainerGone:
                await guest.up()  # the connection broke, not the container, or that is told now
                if main.returncode is not None:
                    raise  # it was restarted, past us
                if main.pid:
                    return None

    def _forget_main(self, guest: Guest, main: Process) -> None:
        guest.free(wire.MAIN)
        if self.main is main:
            del self.processes[self.ident]

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

    async def _ended(self, state: State) -> None:
        """The guest is gone and the container does not run any more."""
        if self._moving.locked():  # whoever starts, reboots or destroys it sees that
            return
        if state.status == "gone":
            await self._was_removed()
            return
        self.let_go()
        await self._exited(state)
        self.look_soon()  # it may have been started again since the engine said so

    @contextlib.asynccontextmanager
    async def _moves(self) -> AsyncIterator[None]:
        """While it is made, rebooted or destroyed, its end is no news; afterwards it is."""
        try:
            async with self._moving:
                yield
        except TfnzError as error:
            if self.state in COMING:
                await self._failed(error)
            else:  # the engine may have done it all the same
                self.look_soon()
            raise
        finally:
            if self.guest is not None and self.guest.over:
                self.guest.look_again()

    async def _exited(self, state: State) -> None:
        if self.state in OVER:
            return
        self.returncode = state.exit_code
        main = self.main
        oom = state.oom_killed
        if main is not None and main.returncode is not None:
            self.returncode = main.returncode
            oom = oom or bool(main.flags & Flag.OOM)  # Podman does not say
        if isinstance(main, First):
            await main.heard_out(LAST_WORDS)
        self.log_tail = await self._last_words()
        if oom:
            self.error = out_of_memory(self.spec, self.log_tail)
        if state.taken:
            self.error = taken(self._called, state.taken, self.log_tail)
        self._end_processes()
        await self._neighbours.gone(self)
        self._is_over(Event.FAIL if state.taken else Event.EXIT)

    def _is_over(self, event: Event = Event.EXIT) -> None:
        """Its end is known: tell it, and have none wait for what cannot come any more."""
        self._known()
        if not self._up.done():
            self._up.set_result(None)
        self._happens(event)
        # Not what is asked of it from now on: that knows, as a reboot and a commit do.
        before = self.scope.running()
        self._ending = asyncio.get_running_loop().call_later(LAST, self._end_scope, before)

    def _end_scope(self, those: Collection[asyncio.Task[object]]) -> None:
        if self.state in OVER:
            self.scope.interrupt(over(self.state, self.returncode), those)

    def let_go(self) -> None:
        """Drop the connection to the guest; the container goes on without us."""
        if self.guest is not None:
            self.guest.close()

    def close(self) -> None:
        """This agent ends; the container goes on without it."""
        self._records.write()
        self.let_go()
        for task in (self._making, *self._tasks):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        if self._ending is not None:
            self._ending.cancel()

    def _end_processes(self) -> None:
        killed = -signal.SIGKILL
        main = killed if self.returncode is None else self.returncode
        for process in self.processes.live:
            process.gone(main if process.ident == self.ident else killed)

    async def reboot(self, reset_filesystem: bool) -> None:
        """Stop and start again; with ``reset_filesystem`` from the image, as if never used.

        Where that fails the container is as it was, or exited; nothing of it is deleted.
        """
        await self.recalled.wait()
        if self.state != "exited":
            await self.running()
        async with self._moves():
            if self.made is not None:
                self._check_wishes("reboot this container")
            image = await self._image_again() if reset_filesystem else None
            if self.state not in ("running", "exited"):
                raise self._silent() if self.state in SILENT else over(self.state, self.returncode)
            self.scope.interrupt(ContainerGone("Cannot finish: the container was rebooted."))
            await self._engine.stop(self.ref, 2.0)  # its guest stays with us until it is gone
            self.let_go()
            self._end_processes()
            await self._neighbours.down(self)
            self._begins_anew()
            try:
                if image is not None and reset_filesystem:
                    self.ref = await self._engine.recreate(self.ref, self.spec, image)
                    self._is_as_spawned()
                await self._start()
            except TfnzError as error:
                self._is_not_started(error)
                raise

    def _begins_anew(self) -> None:
        """Another life of it begins: of the one before nothing is left."""
        self._records.discard()
        self._up, self.ip, self.error, self.returncode = _awaited(), "", None, None
        self._happens(Event.START)

    def _is_not_started(self, error: TfnzError) -> None:
        """That life did not come to be; the container stays, as one that has exited."""
        self.error = error
        self.let_go()
        self._is_over()

    async def _image_again(self) -> Image:
        """What it was made of, which must be there before anything is given up."""
        self._check_wishes("reset this container's filesystem")
        return await self._engine.ensure_image(self.spec.image, "never", lambda _: None)

    def _check_wishes(self, doing: str) -> None:
        """Misuse where they are not known any more."""
        if self._image is None:
            raise Misuse(
                f"Cannot {doing}: it was spawned under an earlier agent, which took its "
                "environment and files along. Spawn a new one."
            )

    async def destroy(self, grace: float = 0.0) -> None:
        """End and remove it, with everything of it. Idempotent."""
        if self.state == "destroyed":
            return
        gone = _destroyed()
        if self._making is not None and not self._making.done():
            self._making.cancel()
            await asyncio.wait([self._making])
        if self._moving.locked():
            self.scope.interrupt(gone)  # it is being rebooted
        async with self._moves():
            if grace > 0 and self.ref and self.state not in OVER:
                await self._stop(grace)
            if self.ref:
                await self._engine.remove(self.ref)  # its guest stays with us until it is gone
            else:
                # Cancelled between the engine's doing and our knowing: look for it.
                for found in await self._engine.find(dict(self.spec.labels)):
                    await self._engine.remove(found.ref)
            await self._is_gone()

    def _is_as_spawned(self) -> None:
        """Its engine has nothing of it, or what was spawned."""
        if self.made is not None:
            self._forget(self.made.id)
            self.made = None

    async def _was_removed(self) -> None:
        """By others, past us: what this machine holds of it goes as well."""
        with contextlib.suppress(TfnzError):
            await self._engine.remove(self.ref)
        await self._is_gone()

    async def _is_gone(self) -> None:
        """The engine has it no more, by us or by others: neither has anybody else."""
        gone = _destroyed()
        self.scope.interrupt(gone)  # before what they wait for is ended, which says no reason
        self.close()
        await self._neighbours.gone(self)
        self._end_processes()
        if not self._up.done():
            self._up.set_exception(gone)
        self._known()
        self._happens(Event.DESTROY)
        self.scope.interrupt(gone)
        self._records.discard()
        self._is_as_spawned()
        if forks.is_of(self.spec.image, self.ident):
            with contextlib.suppress(TfnzError):
                await self._engine.remove_image(self.spec.image, force=True)

    async def _stop(self, grace: float) -> None:
        """Have it end by itself, and hear its main process's last words and its code."""
        if self.state == "paused":
            with contextlib.suppress(TfnzError):
                await self._engine.unpause(self.ref)
        await self._engine.stop(self.ref, grace)
        main = self.main
        if isinstance(main, First):
            await main.heard_out(LAST_WORDS)
            main.gone((await self._engine.inspect(self.ref)).exit_code or 0)
        elif main is not None and not main.ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await main.done.wait()
        if main is not None and main.returncode is not None:
            self.returncode = main.returncode

    # -- what an earlier agent left, and what others do past us

    def adopt(self, state: State, turn: asyncio.Lock) -> None:
        """Be one that an earlier agent left; its guest is met in a task of its own.

        ``turn``: one container at a time reads of what ended in it.
        """
        running = state.status in ("running", "paused")
        self.state = state.status if running else "exited"
        self.guest = self._new_guest()
        if not running:
            self.returncode = state.exit_code
            self._up.set_result(None)
        self._beside(self._take_over(self.guest, turn, running=running))

    async def _take_over(self, guest: Guest, turn: asyncio.Lock, *, running: bool) -> None:
        """Know what ended in it, and tell who came before that was read; then meet its guest."""
        await self._records.load(turn, over=not running)
        if self.spec.unmodified and running:
            self._follow_first(adopt=True)
        self.recalled.set()
        for process in self.counted(RECENT)[0]:
            self._process_changed(process)
        if not running:
            self._known()
        self._changed(self)
        if running:
            if self.state == "paused":
                self.looked.set()
            await self._meet_again(guest)

    async def _meet_again(self, guest: Guest) -> None:
        try:
            await self._neighbours.up(self)
        except TfnzError as error:
            log.warning("container %s: %s", self.ident, error)
        await guest.again(at_once=True)

    def look_soon(self) -> None:
        """Something happened to it at the engine, by us or by others: see what, in the end."""
        self._news += 1
        if self._looking is None or self._looking.done():
            self._looking = self._beside(self._look_on())

    async def _look_on(self) -> None:
        """An engine that does not say is asked again, for nobody else would."""
        await self.recalled.wait()
        news = -1
        while news != self._news:
            news = self._news
            if not await self._look():
                news = -1
                await asyncio.sleep(LOOK_AGAIN)

    async def _look(self) -> bool:
        """See what it is; False if the engine does not say."""
        if self._moving.locked() or self.state in (*COMING, "failed", "destroyed"):
            return True  # one that failed is gone at the engine, and stays here to say why
        try:
            state = await self._engine.inspect(self.ref)
        except TfnzError:
            return False
        if self._moving.locked():
            return True
        if state.status == "gone":
            await self._was_removed()
        elif state.status == "paused":
            self._is_paused()
        elif state.status == "running" and self.state == "paused":
            self._goes_on()
        elif state.status == "running" and self.state == "exited":
            self._starts_again()
        return True

    def _starts_again(self) -> None:
        """Somebody started it, past us, after its end: it is another life of the same container."""
        self._begins_anew()
        self._beside(self._start_again())

    async def _start_again(self) -> None:
        try:
            async with self._moving:
                await self._start()
        except TfnzError as error:
            self._is_not_started(error)
            await asyncio.sleep(LOOK_AGAIN)  # it may run all the same
            self.look_soon()

    # -- telling

    @property
    def called(self) -> tuple[str, str]:
        """Its id and its name at the engine; empty before it is made there."""
        return self._engine.called(self.ref, self.made or self.spec) if self.ref else ("", "")

    def info(self) -> dict[str, Any]:
        """What kernels see, as in PROTOCOL.md."""
        return info_of(self)

    async def address(self) -> str:
        """Its IP address inside the engine's network, empty if it has none."""
        await self.running()
        if not self.ip:
            self.ip = (await self._engine.inspect(self.ref)).ip
        return self.ip


def _destroyed() -> ContainerGone:
    return ContainerGone("Cannot use this container: it was destroyed.")


async def _already() -> None:
    """It is there."""


def _no_spare(spec: ContainerSpec, image: Image) -> Container | None:
    del spec, image
    return None


def _awaited() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    # A container nobody waits for must not make asyncio complain about its error.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
