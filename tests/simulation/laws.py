"""What must hold of every world, whatever befell it."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from tfnz_notebook.errors import ProtocolError, TfnzError

from .nodes import Broken
from .scene import PERIOD

if TYPE_CHECKING:
    from .acts import Box, Proc
    from .play import Act, Play


#: Why links break that nobody has cut.
MISUNDERSTOOD = ("some of what it told", "it speaks as", "it said something")
#: Seconds after which a session that is over is gone: until it is looked at, and destroyed.
SOON = PERIOD + 5.0
#: Acts that go on as long as their process does; that wait until it takes what it is told.
FOLLOW = {"process", "box", "iterate", "view", "look"}
TELL = {"ask", "write", "close_stdin"}


def _story(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def answers(play: Play) -> None:
    """What has ended has ended with an answer, or an error of the tree; nobody else complains."""
    for who, context in play.scene.clock.complaints:
        error = context.get("exception")
        story = _story(error) if error is not None else ""
        raise Broken(f"{who}: {context.get('message')}{_disk(play)}\n{story}")
    for act in play.acts:
        if not act.task.done() or not act.kernel.node.alive:
            continue
        if act.task.cancelled():
            if not act.cancelled:
                raise Broken(f"{act.kernel.name}: {act.what} was cancelled, and by nobody")
            continue
        error = act.task.exception()
        if error is None:
            continue
        if isinstance(error, Broken):
            raise Broken(f"{act.kernel.name}: {act.what}: {error}")
        if not isinstance(error, TfnzError) or type(error) is TfnzError:
            raise Broken(f"{act.kernel.name}: {act.what} raised\n{_story(error)}")
        if isinstance(error, ProtocolError):
            raise Broken(f"{act.kernel.name}: {act.what}: they do not understand another: {error}")

    for link in play.scene.links:
        for reason in link.broke:
            if reason.startswith(MISUNDERSTOOD):
                raise Broken(f"a link broke, and nobody had cut it: {reason}")


def _waits_rightly(play: Play, act: Act) -> bool:
    """It waits for a process that lives, and has nothing to say to it."""
    proc = play.procs.get(act.proc)
    if proc is None and act.what == "box":
        return True
    if proc is None or not _lives(play, proc):
        return False
    guest, process = [*play.truth(proc)][-1]
    return guest.paused or act.what in FOLLOW or (act.what in TELL and not _reads(process))


def _lives(play: Play, proc: Proc, *, paused: bool = True) -> bool:
    """Whether it runs; also where it is ``paused``."""
    lives = list(play.truth(proc))
    if not lives:
        return False
    guest, process = lives[-1]
    return not guest.exited and process.status is None and (paused or not guest.paused)


def _reads(process: Any) -> bool:
    """It has taken all there is, and waits for more."""
    return process._reading and not process._stdin


def all_rest(play: Play) -> None:
    """Nothing waits, but for what still goes on."""
    answers(play)
    for act in play.acts:
        if act.kernel.node.alive and not act.task.done() and not _waits_rightly(play, act):
            raise _endless(play, act)
    for heard in play.heard:
        if heard.follows and heard.node.alive and _lives(play, heard.proc):
            guest, process = [*play.truth(heard.proc)][-1]
            head = process.streams[heard.stream].window.head
            if not guest.paused and heard.offset < head:
                raise Broken(f"{heard} rests at {heard.offset}, and {head} were written")


def all_done(play: Play) -> None:
    """Nothing waits."""
    answers(play)
    for act in play.acts:
        if act.kernel.node.alive and not act.task.done():
            raise _endless(play, act)


def _endless(play: Play, act: Act) -> Broken:
    box = play.boxes.get(str(act.about.get("box") or ""))
    proc = play.procs.get(act.proc)
    if proc is not None:
        box = proc.box
    state = ""
    if box is not None:
        guest = play.scene.guest(box.ident)
        state = " in a container that has ended" if guest is None or guest.exited else ""
        state += " and was disturbed" if box.disturbed else ""
        state += _after(box)
    state += _disk(play)
    return Broken(f"{act.kernel.name}: {act.what} {act.proc} does not end{state}: {_where(act)}")


def _disk(play: Play) -> str:
    return ", and the disk had failed" if play.scene.platter.failed else ""


def _after(box: Box | None) -> str:
    return "; its destruction had failed" if box is not None and box.refused else ""


def _where(act: Act) -> str:
    """Where it waits, the innermost last."""
    told, waits = [], act.task.get_coro()
    while waits is not None and hasattr(waits, "cr_frame"):
        if waits.cr_frame is not None:
            told.append(f"{waits.cr_code.co_name}:{waits.cr_frame.f_lineno}")
        waits = waits.cr_await
    return " > ".join(told)


def streams(play: Play) -> None:
    """Who read to the end has all; what is told of an end is true."""
    for heard in play.heard:
        lives = list(play.truth(heard.proc))
        if heard.left or heard.proc is heard.proc.box.main or heard.error is not None:
            continue
        if heard.proc.box.disturbed or not lives or lives[-1][0].exited:
            continue
        process = lives[-1][1]
        wrote = process.streams[heard.stream].window.head
        if heard.whole and heard.offset < wrote:
            raise Broken(f"{heard} ended at {heard.offset}, and {wrote} were written")
    for proc in play.procs.values():
        told, lives = proc.told, list(play.truth(proc))
        if told is None or proc.box.disturbed or not lives or lives[-1][0].exited:
            continue
        process = lives[-1][1]
        true = (process.status, *(process.streams[n].window.head for n in (1, 2)))
        said = (told["returncode"], told["out"], told["err"])
        if true != said:
            raise Broken(f"{proc.key}: {said} was told of its end, which was {true}")


def pictures(play: Play) -> None:
    """What kernels know is so, and what they did not want any more is not there."""
    for proc in play.procs.values():
        # Who leaves, leaves what is durable: what could not be undone yet, too. And what is paused
        # cannot be undone.
        link = proc.kernel.link
        stays = link is not None and link is proc.undone and not link.over
        if stays and proc.kernel in play.there() and _lives(play, proc, paused=False):
            raise Broken(f"{proc.key} runs, and its spawn was cancelled")
    spare = play.scene.spares()
    held = {play.scene.ours(each): each for each in play.scene.held() if each not in spare}
    keys = {box.ident: box.key for box in play.boxes.values()}
    for kernel in play.there():
        link = kernel.link
        assert link is not None
        if link.over:
            continue
        known = link.known
        there = {i for i, each in held.items() if _session(each) == link.session}
        failed = {i for i, told in known.containers.items() if told["state"] == "failed"}
        seen = set(known.containers)
        if there - seen or seen - there - failed:
            many = {keys.get(i, i) for i in seen - there - failed}
            few = {keys.get(i, i) for i in there - seen}
            after = "".join(_after(play.boxes.get(key)) for key in sorted(many | few))
            never = all(held[i].guest is None for i in there - seen)
            which = f"too many containers {sorted(many)}, too few {sorted(few)}"
            never = ", which never ran" if few and never else ""
            never += ", and there were several agents" if play.scene.agents > 1 else ""
            raise Broken(f"{kernel.name} knows {which}{never}{after}")
        for ident in sorted(there - failed):
            guest = held[ident].guest
            true = "running" if guest is not None and not guest.exited else "exited"
            if true == "running" and guest.paused:
                true = "paused"  # a pause was said again, after we had let all go on
            if (state := known.containers[ident]["state"]) != true:
                key = keys[ident]
                raise Broken(
                    f"{kernel.name}: {key} is {state}, and in truth {true}"
                    f"{_after(play.boxes[key])}{_disk(play)}"
                )
            if true == "running":
                _running(kernel.name, keys[ident], guest, known.processes.get(ident, {}), ident)


def _running(name: str, key: str, guest: Any, told: dict[str, Any], ident: str) -> None:
    true = {i or ident for i, process in guest.history.items() if process.status is None}
    seen = {i for i, info in told.items() if info["returncode"] is None}
    if true != seen:
        raise Broken(
            f"{name}: in {key} there run {len(true)} processes, and {len(seen)} are known to: "
            f"{sorted(true ^ seen)}"
        )


def spares(play: Play) -> None:
    """There are as many as were asked for, of who is there to take one; and no more."""
    agent = play.scene.agent
    if agent is None or not agent.listens:
        return
    told = {s.name: s.spares for s in agent.sessions if s.spares is not None}
    there: dict[str, int] = {}
    for each in play.scene.spares():
        there[_session(each)] = there.get(_session(each), 0) + 1
    for name in sorted(there.keys() | told.keys()):
        kinds = told[name]._kinds if name in told else []
        wanted, kept = sum(k.wanted for k in kinds), sum(len(k.there) for k in kinds)
        if name in told and told[name].left:
            raise Broken(f"{len(told[name].left)} spares could not be removed")
        failed = any(kind.failed for kind in kinds)
        if there.get(name, 0) != kept or kept > wanted or (kept < wanted and not failed):
            how = f"{there.get(name, 0)} are there, {kept} known, {wanted} wanted"
            never = "which never ran: " if any(e.guest is None for e in play.scene.spares()) else ""
            raise Broken(f"spares {never}{how}{', and one failed' if failed else ''}")


def screens(play: Play) -> None:
    """What pages show of a process is so, and terminals are as large as is said."""
    for screen in play.screens:
        shown, proc = screen.info, screen.proc
        if screen.open and screen.node.alive and _lives(play, proc):
            process = [*play.truth(proc)][-1][1]
            size = process.size if process.tty else (shown["rows"], shown["columns"])
            if (shown["state"], shown["rows"], shown["columns"]) != ("running", *size):
                raise Broken(f"{proc.key} runs in {size}, and is shown as {shown}")
    for kernel in play.there():
        for proc in play.procs.values():
            told = kernel.link.known.process(proc.ident) if kernel.link is not None else None
            if told is not None and told["tty"] and _lives(play, proc):
                size = [*play.truth(proc)][-1][1].size
                if (told["rows"], told["columns"]) != size and not kernel.link.over:
                    raise Broken(f"{kernel.name} knows {told}, and {proc.key} has {size}")


def _session(held: Any) -> str:
    return str(held.labels["io.tfnz.session"])


def lasts(play: Play, key: str, least: float, most: float) -> None:
    """A session that nobody is in ends then: not before, and soon after."""
    clock, ident = play.scene.clock, play.ident(key)
    clock.run(lambda: False, least - 0.1)
    if play.scene.guest(ident) is None:
        raise Broken("a durable session ended before its time")
    clock.run(lambda: False, most + SOON)
    if play.scene.guest(ident) is not None:
        raise Broken("a durable session did not end in its time")


def nothing_left(play: Play) -> None:
    """All sessions have ended: there is no task, timer, reader or file of them."""
    scene, agent = play.scene, play.scene.agent
    assert agent is not None
    if held := scene.held():
        never = " that never ran" if all(each.guest is None for each in held) else ""
        left = ", and a kernel had left" if any(act.what == "leave" for act in play.acts) else ""
        refs = [each.ref for each in held]
        raise Broken(f"containers{never} are left at the engine{left}: {refs}")
    left = [str(path) for path in scene.platter.files]
    if left:
        raise Broken(f"files are left{_disk(play)}: {left}")
    if agent.disk.open:
        raise Broken(f"{agent.disk.open} descriptors are left open")
    if left := [task for task in agent.node.pending() if task not in (agent.life, agent.watching)]:
        raise Broken(f"tasks are left in the agent: {left}")
    if len(left := agent.node.timers()) > 1:
        raise Broken(f"timers are left in the agent: {left}")
    if clients := agent.server.clients:
        left = sorted(each.session.name for i, each in clients.items() if i in agent.router.lines)
        lines = f", of lines that are there, in {left}" if left else ", of lines that are gone"
        cancelled = any(act.what == "leave" and act.cancelled for act in play.acts)
        after = ", and a close was cancelled" if cancelled else ""
        raise Broken(f"clients are left in the agent{lines}{after}")
    if twice := sum(line.twice for line in scene.lines):
        raise Broken(f"{twice} requests were said twice on one line")
    for kernel in (*play.kernels.values(), *play.pages):
        if kernel.node.alive and (tasks := kernel.node.pending()):
            raise Broken(f"tasks are left in {kernel.name}: {tasks}")
        if kernel.node.alive and (timers := kernel.node.timers()):
            raise Broken(f"timers are left in {kernel.name}: {timers}")
