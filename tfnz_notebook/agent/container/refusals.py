"""What refusals mean to people: errno, stage and exit code become an error with a remedy."""

from __future__ import annotations

from tfnz_notebook._base.text import last_words
from tfnz_notebook._wire import starts
from tfnz_notebook._wire.guest import Frame, Tag
from tfnz_notebook.agent.process.command import Command
from tfnz_notebook.engines.base import ContainerSpec, State
from tfnz_notebook.errors import (
    CommandNotExecutable,
    CommandNotFound,
    ContainerFailed,
    ContainerGone,
    ContainerPaused,
    ContainerUnresponsive,
    FileError,
    OutOfMemory,
    SpawnFailed,
    TfnzError,
)


def spawn_error(command: Command, frame: Frame) -> SpawnFailed:
    """Why a process could not be started, from the guest's FAILED."""
    number = frame.integer(Tag.ERRNO)
    return _not_started(command, number, frame.text(Tag.STAGE), frame.text(Tag.TEXT))


def start_error(command: Command, frame: Frame) -> SpawnFailed:
    """Why a main process could not be started, from the guest's RESULT."""
    _, number, stage = frame.values
    known = 0 < stage < len(starts.STAGES)
    return _not_started(command, number, starts.STAGES[stage] if known else "exec", "")


def _not_started(command: Command, errno: int, stage: str, said: str) -> SpawnFailed:
    program = command.argv[0] if command.argv else "the image's command"
    about = {"cwd": command.cwd or "", "user": command.user or ""}
    told = starts.why(program, stage, errno, said, **about)
    kind = SpawnFailed
    if stage == "exec" and errno in (2, 20):  # ENOENT, ENOTDIR
        kind = CommandNotFound
    elif stage == "exec" and errno in (13, 8, 21):  # EACCES, ENOEXEC, EISDIR
        kind = CommandNotExecutable
    return kind(f"Cannot {told}", errno=errno, stage=stage)


def no_user(user: str, number: int) -> ContainerFailed:
    """A container that was asleep may not begin as that user."""
    why = starts.why("it", "user", number, "", user=user)
    return ContainerFailed(f"Cannot {why}", errno=number)


def out_of_memory(spec: ContainerSpec, tail: bytes) -> OutOfMemory:
    """The kernel killed the container's main process for its memory limit."""
    return OutOfMemory(
        f"Cannot go on with this container: it was killed for its memory limit of {spec.memory} "
        "bytes. Spawn one with more.",
        log=tail,
    )


def taken(name: str, words: str, tail: bytes) -> ContainerFailed:
    """Its engine ended it, for reasons of its own."""
    return ContainerFailed(
        f"Cannot go on with the container {name}: it was taken away ({words}). Spawn another one.",
        log=tail,
    )


def over(state: str, returncode: int | None) -> ContainerGone:
    """The container cannot be used any more."""
    if state == "failed":
        return ContainerGone("Cannot use this container: it has failed. Spawn another one.")
    if state == "destroyed":
        return ContainerGone("Cannot use this container: it was destroyed. Spawn another one.")
    return ContainerGone(
        f"Cannot use this container: it exited with code {returncode}. "
        "Look at container.logs(), then spawn another one."
    )


def paused(name: str) -> ContainerPaused:
    """Nothing can be asked of it now."""
    return ContainerPaused(
        f"Cannot use the container {name}: it is paused. Let it go on with its unpause()."
    )


def unresponsive(name: str, cause: TfnzError | None) -> ContainerUnresponsive:
    """Nothing it is asked will be answered, for what one can see."""
    why = f" ({cause})" if cause is not None else ""
    return ContainerUnresponsive(
        f"Cannot use the container {name}: its guest does not answer{why}. It may have been "
        "stopped, or its machine is out of breath; it goes on by itself once it answers. Else "
        "destroy it."
    )


def unmet(name: str) -> ContainerUnresponsive:
    """A fresh agent has not met it."""
    return ContainerUnresponsive(
        f"Cannot say that yet: the container {name} is only being met by its new agent. Try again."
    )


def no_hello(ref: str, seconds: float) -> ContainerFailed:
    """It was started, and its guest said nothing."""
    return ContainerFailed(
        f"Cannot reach the guest of container {ref[:12]}: it did not say hello within "
        f"{seconds:.0f} s. Spawn another one."
    )


def exited_early(spec: ContainerSpec, state: State, tail: bytes) -> ContainerFailed | OutOfMemory:
    """Why a container never became ready; ``tail`` is the end of its output."""
    if state.oom_killed:
        return out_of_memory(spec, tail)
    if (told := starts.noted(tail)) is not None:
        return ContainerFailed(
            f"Cannot start a container of {spec.image!r}: it could not {told}",
            log=tail,
            returncode=state.exit_code,
        )
    said = last_words(tail)
    words = f" Its last words:\n{said}" if said else " It said nothing."
    code = "" if state.exit_code is None else f" with code {state.exit_code}"
    return ContainerFailed(
        f"Cannot start a container of {spec.image!r}: it exited{code} before it was ready."
        f"{words}\nCorrect its command, or spawn it with sleep=True and look inside.",
        log=tail,
        returncode=state.exit_code,
    )


_REMEDY = {
    2: "It is not there.",
    13: "The container's user may not.",
    17: "It is there already.",
    20: "A part of the path is not a directory.",
    21: "It is a directory; name a file.",
    22: "Give an absolute path without '..'.",
    28: "The container's disk is full.",
    30: "The filesystem is read-only; mount a volume there.",
    40: "The path leads through too many links.",
}


def file_error(verb: str, path: str, frame: Frame) -> FileError:
    """Why a file operation failed."""
    errno = frame.integer(Tag.ERRNO)
    cause = frame.text(Tag.TEXT) or starts.reason(errno)
    remedy = _REMEDY.get(errno, "")
    if (frame.text(Tag.STAGE), errno) == ("kind", 22):
        cause = "it is no file but a pipe, a socket or a device"
        remedy = "Let a process read or write it."
    return FileError(f"Cannot {verb} {path!r}: {cause}. {remedy}".rstrip(), errno=errno)
