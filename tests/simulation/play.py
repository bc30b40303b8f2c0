"""One world from its seed to its end: the script is played, faults are mended, laws looked at."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from tfnz_notebook._link.link import Link
from tfnz_notebook._link.reader import Reader
from tfnz_notebook.errors import TfnzError

from . import acts, laws, network
from .acts import Box, Heard, Kernel, Proc
from .engine import Guest
from .nodes import Broken
from .page import Screen
from .scene import PERIOD, Scene
from .script import Script, Step, draw

#: Seconds that everything may take to come to rest once nothing fails any more; to end.
REST, END = 200.0, 200.0
#: Seconds that faults may last beyond the last step.
LASTS = (0.5, 0.5, 6.0, 26.0)
#: How often faults are mended, half a minute apart.
HEALED = 4
#: Seconds to wait before looking again whether what was under way has arrived.
WAITS = (0.1, 1.0, 10.0, 40.0, 0.0)
#: Seconds after which a vanished kernel's session ends.
GRACE = 45.0


@dataclass(slots=True, eq=False)
class Act:
    """Something that a kernel does."""

    kernel: Kernel
    what: str
    task: asyncio.Task[Any]
    proc: str
    about: dict[str, Any] = field(default_factory=dict)
    #: We cancelled it.
    cancelled: bool = False


class Complaints(logging.Handler):
    """What the product logs as an error of its own, with its traceback."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(logging.WARNING)
        self._scene = scene

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            told = {"message": record.getMessage(), "exception": record.exc_info[1]}
            self._scene.clock.complaints.append((record.name, told))


class Play:
    """A script in its world."""

    def __init__(self, seed: int, script: Script) -> None:
        self.seed, self.script = seed, script
        self.scene = Scene(f"play {seed} {script.salt}", grace=GRACE)
        self.began = self.scene.clock.now
        self.kernels = {
            name: Kernel(self, name, told, script.ttl) for name, told in script.kernels.items()
        }
        self.pages: list[Kernel] = []
        self.boxes: dict[str, Box] = {}
        self.procs: dict[str, Proc] = {}
        self.heard: list[Heard] = []
        self.screens: list[Screen] = []
        self.acts: list[Act] = []
        self.steps: dict[int, Act] = {}
        for step in script.steps:
            if step.who != "director":
                self._cast(step)

    def ident(self, key: str) -> str:
        return hashlib.md5(f"{self.seed} {key}".encode(), usedforsecurity=False).hexdigest()

    def _cast(self, step: Step) -> None:
        kernel, about = self.kernels[step.who], step.about
        if step.kind == "box":
            key, ident = about["box"], self.ident(about["box"])
            made = self.boxes[key] = Box(key, ident, kernel)
            if not about["sleep"]:
                made.main = Proc(f"{key}'s main", ident, 1000 + len(self.boxes), made, kernel)
                made.main.asked = made.asked
        elif "words" in about and about["box"] in self.boxes:
            key = about["process"]
            where = self.boxes[about["box"]]
            self.procs[key] = Proc(key, self.ident(key), 1 + len(self.procs), where, kernel)

    # -- what acts need

    def launch(
        self,
        kernel: Kernel,
        what: str,
        work: Coroutine[Any, Any, Any],
        about: dict[str, Any] | None = None,
    ) -> Act:
        """Have a kernel do it."""
        about = about or {}
        proc = str(about.get("process") or "")
        act = Act(kernel, what, kernel.node.create_task(work), proc, about)
        self.acts.append(act)
        return act

    def reader(self, link: Link, proc: Proc, stream: int, offset: int) -> tuple[Reader, Heard]:
        """A reader that takes what comes."""
        heard = self.hears(proc, stream, offset)

        def received(payload: bytes) -> None:
            heard.take(reader.offset - len(payload), payload)
            reader.taken(len(payload))

        def ended(error: TfnzError | None) -> None:
            heard.error, heard.whole = error, error is None

        reader = Reader(link, proc.ident, stream, offset, received, ended)
        return reader, heard

    def hears(self, proc: Proc, stream: int, offset: int, *, skips: bool = False) -> Heard:
        """Somebody begins to read there, on the node that runs."""
        node: Any = asyncio.get_running_loop()
        heard = Heard(proc, stream, offset, node, skips or proc is proc.box.main)
        self.heard.append(heard)
        return heard

    def truth(self, proc: Proc) -> Iterator[tuple[Guest, Any]]:
        """Its lives in guests, the first one first."""
        name = "" if proc is proc.box.main else proc.ident
        for guest in self.scene.machine.guests:
            own = self.scene.became.get(guest.container, guest.container)
            if name in guest.history and (name or own == proc.box.ident):
                yield guest, guest.history[name]

    # -- the play

    def run(self) -> None:
        """Raise Broken if a law is."""
        logger, said = logging.getLogger("tfnz_notebook"), Complaints(self.scene)
        logger.addHandler(said)
        logger.propagate = False
        try:
            self._run()
        finally:
            self.scene.clock.bury()
            logger.removeHandler(said)
            logger.propagate = True

    def _run(self) -> None:
        clock, steps = self.scene.clock, self.script.steps
        for kernel in self.kernels.values():
            self.launch(kernel, "open", kernel.open())
        for step in steps:
            self.scene.director.call_at(self.began + step.at, self._do, step)
        last = self.began + (steps[-1].at if steps else 0)
        clock.run(lambda: False, last + clock.chance.choice(LASTS))
        if self.scene.down_until > clock.now:
            clock.run(lambda: False, self.scene.down_until)
        for _ in range(HEALED):
            self._heal()  # again, of what came late
            if clock.run(self._at_rest, clock.now + 30):
                break
        if not clock.run(self._at_rest, clock.now + REST):
            laws.all_rest(self)
        laws.answers(self)
        for kernel in self.there():
            self.launch(kernel, "caught_up", acts.caught_up(self, kernel, kernel.link, {}))
        clock.run(self._all_done, clock.now + 60)
        self._quiet(laws.all_rest)
        laws.streams(self)
        self._quiet(laws.pictures)
        self._quiet(laws.screens)
        self._quiet(laws.spares)
        self._leave()

    def _quiet(self, law: Callable[[Play], None]) -> None:
        """What holds when nothing is under way: it may still be, for a while."""
        for wait in WAITS:
            try:
                law(self)
                return
            except Broken:
                if not wait:
                    raise
            self.scene.clock.run(lambda: False, self.scene.clock.now + wait)

    def there(self) -> list[Kernel]:
        """The kernels that live and have a link."""
        return [k for k in self.kernels.values() if k.node.alive and k.link is not None]

    def _all_done(self) -> bool:
        return all(act.task.done() for act in self.acts)

    def _at_rest(self) -> bool:
        return self._all_done() and not self.scene.machine.node.pending()

    def _leave(self) -> None:
        clock, script = self.scene.clock, self.script
        if script.later is not None:
            self._outlives(script.later)
        # A durable session with nobody in it would wait for somebody.
        last = self._joins("last", "shared", script.ttl)
        if last.link is not None and script.words:
            about = {"words": script.words, "after": clock.chance.choice((0, 0.01, 1))}
            self._done(self.launch(last, "farewell", acts.farewell(self, last, last.link, about)))
        for kernel in self.there():
            assert kernel.link is not None
            none = acts.prepare(self, kernel, kernel.link, {"spares": 0})
            self.launch(kernel, "prepare", none)
            for ident in list(kernel.link.known.containers):
                body = {"container": ident, "grace": 0.0}
                self.launch(kernel, "destroy", kernel.link.request("container.destroy", body))
        clock.run(self._all_done, clock.now + END)
        laws.all_done(self)
        for kernel in self.there():
            assert kernel.link is not None
            self.launch(kernel, "close", kernel.link.close())
        clock.run(self._all_done, clock.now + END)
        laws.all_done(self)
        if self.scene.agent is None or not self.scene.agent.node.alive:
            self.scene.start()
        clock.run(lambda: False, clock.now + GRACE + 20)
        laws.answers(self)
        laws.nothing_left(self)

    def _joins(self, name: str, session: str | None, ttl: float | None) -> Kernel:
        """One more kernel, that knows all there is."""
        made = self.kernels[name] = Kernel(self, name, session, ttl)
        self._done(self.launch(made, "open", made.open()))
        if made.link is not None:
            work = acts.caught_up(self, made, made.link, {})
            self._done(self.launch(made, "caught_up", work))
        return made

    def _done(self, *launched: Act) -> None:
        """Nothing fails any more: these end."""
        clock = self.scene.clock
        clock.run(lambda: all(act.task.done() for act in launched), clock.now + END)
        self._quiet(laws.all_rest)

    def _outlives(self, ttl: float) -> None:
        """The durable session ends when it was said last, whoever comes back and dies meanwhile."""
        clock, chance = self.scene.clock, self.scene.clock.chance
        heir = self._joins("heir", "shared", ttl)
        if heir.link is None:
            return
        spec = {"image": "debian", "sleep": True}
        body = {"container": self.ident("heir"), "spec": spec}
        self.launch(heir, "box", heir.link.request("container.spawn", body))
        clock.run(lambda: False, clock.now + GRACE + PERIOD + 1)  # whoever was killed is missed
        if chance.random() < 0.5:
            self._kill_agent({})
            clock.run(lambda: False, clock.now + 10)
        since, leave = clock.now, [k for k in self.there() if k.session == "shared"]
        self._done(*(self.launch(k, "close", k.link.close()) for k in leave if k.link is not None))
        left = clock.now
        if chance.random() < 0.7:
            clock.run(lambda: False, since + chance.random() * 0.9 * ttl)  # it is still there
            self._kill_agent({})
            since = left = clock.now
        self._joins("another", None, None)
        laws.lasts(self, "heir", since + ttl, left + ttl)

    # -- steps

    def _do(self, step: Step) -> None:
        if network.TRACE:
            logging.getLogger("tfnz_notebook").info("%s", step)
        if step.who == "director":
            getattr(self, f"_{step.kind.replace(' ', '_')}")(step.about)
            return
        kernel = self.kernels[step.who]
        if kernel.node.alive:
            self.steps[step.number] = self.launch(
                kernel, step.kind, acts.perform(self, kernel, step), step.about
            )
        else:
            self._not_asked(step.about, kernel)

    def _not_asked(self, about: dict[str, Any], kernel: Kernel) -> None:
        for held in (
            self.boxes.get(about.get("box") or ""),
            self.procs.get(about.get("process") or ""),
        ):
            if held is not None and held.kernel is kernel:
                held.asked.settle(False)

    def _heal(self) -> None:
        scene, machine = self.scene, self.scene.machine
        for node in scene.clock.nodes:
            node.resume()
        platter = scene.platter
        platter.full = platter.short = platter.bad = 0.0
        machine.gone = machine.erring = machine.slow = scene.down_until = 0.0
        for guest in machine.guests:
            self._speaks(guest)
        for spare in scene.spares():
            if spare.guest is not None and spare.guest.paused:
                machine.pause(spare.guest, paused=False)
        kernels = self.there()
        for box in self.boxes.values():
            guest = scene.guest(box.ident)
            if guest is not None and guest.paused:
                # Who paused it through us unpauses it through us, where somebody is there to.
                if box.paused and kernels:
                    about = {"box": box.key}
                    self.launch(kernels[0], "unpause", self._unpauses(kernels, about), about)
                else:
                    machine.pause(guest, paused=False)
        for box in self.boxes.values():
            box.asked.settle(False)
        for proc in self.procs.values():
            proc.asked.settle(False)

    async def _unpauses(self, kernels: list[Kernel], about: dict[str, Any]) -> None:
        try:
            link = await asyncio.shield(kernels[0].opening)
            await acts.ALL["unpause"](self, kernels[0], link, about)
        except TfnzError:
            guest = self._guest(about)
            if guest is not None and guest.paused:
                self.scene.machine.pause(guest, paused=False)

    @staticmethod
    def _speaks(guest: Guest) -> None:
        if guest.mute:
            guest.mute = ""
            if guest.stream is not None:
                guest.stream.cut()  # type: ignore[attr-defined]

    def _line(self, about: dict[str, Any]) -> Any:
        link = self.kernels[about["kernel"]].link
        return self.scene.line(link) if link is not None else None

    def _cut(self, about: dict[str, Any]) -> None:
        if (line := self._line(about)) is not None:
            self._slowly(line, about)

    def _slowly(self, way: Any, about: dict[str, Any]) -> None:
        """It is slow before it breaks: much is under way then, and the first of it arrives."""
        way.hold(about["slow"])
        self.scene.director.call_later(about["slow"], way.cut)

    def _silence(self, about: dict[str, Any]) -> None:
        if (line := self._line(about)) is not None:
            line.silence()

    def _hold(self, about: dict[str, Any]) -> None:
        if (line := self._line(about)) is not None:
            line.hold(about["seconds"])

    def _kill_agent(self, about: dict[str, Any]) -> None:
        if self.scene.agent is not None:
            self.scene.agent.kill()

    def _network_down(self, about: dict[str, Any]) -> None:
        """For all of them."""
        self.scene.down_until = self._until(about)
        if self.scene.agent is not None:
            self.scene.agent.router.close()

    def _stop_agent(self, about: dict[str, Any]) -> None:
        agent = self.scene.agent
        if agent is not None and agent.node.alive and agent.listens:
            agent.node.create_task(agent.stop())

    def _kill_kernel(self, about: dict[str, Any]) -> None:
        kernel = self.kernels[about["kernel"]]
        kernel.kill()
        for held in (*self.boxes.values(), *self.procs.values()):
            if held.kernel is kernel:
                held.asked.settle(False)
        if kernel.session is None:
            self._disturb(kernel)

    def _disturb(self, kernel: Kernel) -> None:
        for box in self.boxes.values():
            if box.kernel is kernel:
                box.disturbed = box.unwanted = True

    def _stall(self, node: Any, seconds: float) -> None:
        node.stall()
        self.scene.director.call_later(seconds, node.resume)

    def _stall_agent(self, about: dict[str, Any]) -> None:
        if self.scene.agent is not None:
            self._stall(self.scene.agent.node, about["seconds"])

    def _stall_kernel(self, about: dict[str, Any]) -> None:
        self._stall(self.kernels[about["kernel"]].node, about["seconds"])

    def _guest(self, about: dict[str, Any]) -> Guest | None:
        box = self.boxes.get(about["box"])
        guest = self.scene.guest(box.ident) if box is not None else None
        return guest if guest is not None and not guest.exited else None

    def _stall_guest(self, about: dict[str, Any]) -> None:
        if (guest := self._guest(about)) is not None:
            self._stall(guest.node, about["seconds"])

    def _pause_guest(self, about: dict[str, Any]) -> None:
        """Past us."""
        if (guest := self._guest(about)) is not None:
            self.scene.machine.pause(guest, paused=True)
            self.scene.director.call_later(about["seconds"], self._unpause, guest)

    def _unpause(self, guest: Guest) -> None:
        self.scene.machine.pause(guest, paused=False)

    def _mute_guest(self, about: dict[str, Any]) -> None:
        if (guest := self._guest(about)) is not None:
            guest.mute = "from now on"
            self.scene.director.call_later(about["seconds"], self._speaks, guest)

    def _break_guest(self, about: dict[str, Any]) -> None:
        if (guest := self._guest(about)) is not None and guest.stream is not None:
            self._slowly(guest.stream, about)

    def _kill_guest(self, about: dict[str, Any]) -> None:
        if (guest := self._guest(about)) is not None:
            self.boxes[about["box"]].disturbed = True
            guest.exit(137)

    def _restart_guest(self, about: dict[str, Any]) -> None:
        if self._guest(about) is not None:
            self.boxes[about["box"]].disturbed = True
            ident, core = self.boxes[about["box"]].ident, self.scene.machine.core

            async def restart() -> None:
                for held in self.scene.held():
                    if self.scene.ours(held) == ident:
                        await core.stop(held.ref, 0.0)
                        await core.start(held.ref)

            self.scene.machine.node.create_task(restart())

    def _spare(self, about: dict[str, Any]) -> Guest | None:
        """One that waits for a spawn, and has just been started perhaps."""
        guests = [e.guest for e in self.scene.spares() if e.guest is not None]
        there = [guest for guest in guests if not guest.exited]
        return there[about["which"] % len(there)] if there else None

    def _kill_spare(self, about: dict[str, Any]) -> None:
        if (guest := self._spare(about)) is not None:
            guest.exit(137)

    def _break_spare(self, about: dict[str, Any]) -> None:
        if (guest := self._spare(about)) is not None and guest.stream is not None:
            self._slowly(guest.stream, about)

    def _mute_spare(self, about: dict[str, Any]) -> None:
        if (guest := self._spare(about)) is not None:
            guest.mute = "from now on"
            self.scene.director.call_later(about["seconds"], self._speaks, guest)

    def _pause_spare(self, about: dict[str, Any]) -> None:
        """Past us."""
        if (guest := self._spare(about)) is not None:
            self.scene.machine.pause(guest, paused=True)
            self.scene.director.call_later(about["seconds"], self._unpause, guest)

    def _until(self, about: dict[str, Any]) -> float:
        return self.scene.clock.now + float(about["seconds"])

    def _engine_slow(self, about: dict[str, Any]) -> None:
        self.scene.machine.slow = self._until(about)

    def _engine_erring(self, about: dict[str, Any]) -> None:
        self.scene.machine.erring = self._until(about)

    def _engine_gone(self, about: dict[str, Any]) -> None:
        self.scene.machine.gone = self._until(about)

    def _disk_full(self, about: dict[str, Any]) -> None:
        self.scene.platter.full = self._until(about)

    def _disk_short(self, about: dict[str, Any]) -> None:
        self.scene.platter.short = self._until(about)

    def _disk_bad(self, about: dict[str, Any]) -> None:
        self.scene.platter.bad = self._until(about)

    def _clock(self, about: dict[str, Any]) -> None:
        self.scene.jumped += about["seconds"]

    def _cancel(self, about: dict[str, Any]) -> None:
        act = self.steps.get(about["step"])
        if act is not None and act.kernel.node.alive and not act.task.done():
            act.cancelled = True
            with act.kernel.node.within():
                act.task.cancel()


def play(seed: int, script: Script | None = None) -> Broken | None:
    """Play a seed; the law that it broke."""
    made = Play(seed, script or draw(seed))
    try:
        made.run()
    except Broken as error:
        return error
    return None


def plays(first: int, count: int) -> Iterator[tuple[int, Broken]]:
    """Those of a range of seeds that break a law."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for seed in range(first, first + count):
            error = play(seed)
            if error is not None:
                yield seed, error
            if seed % 50 == 0:
                gc.collect()
    finally:
        gc.enable()
