"""Why the guest could not start something: its stage and error number, in words for people.

It says them in FAILED, in RESULT of START (whose value then is the stage's number; a guest of
before says 0, and meant exec), and of a main process at boot in a line on stderr, before anybody
listens: the last of its container's log.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

#: By their numbers in the guest (guest.h, enum stage).
STAGES: Final = ("", "user", "cwd", "tty", "exec", "env")

#: ``cannot start PROGRAM: CAUSE (STAGE)``; behind the stage the user or directory that it is about.
_NOTED: Final = re.compile(
    r"tfnz-guest: cannot start (?P<program>.*): (?P<cause>[^:()]*)"
    r" \((?P<stage>user|cwd|tty|exec|env|fork)(?: (?P<about>.*))?\)"
)
_NUMBERS: Final = {os.strerror(number): number for number in (1, 2, 7, 8, 11, 12, 13, 20, 21, 40)}


@dataclass(frozen=True, slots=True)
class Why:
    """``could`` is what could not be done (``run 'x'``); then the cause, and a remedy or ''."""

    could: str
    cause: str
    remedy: str
    errno: int
    stage: str

    def __str__(self) -> str:
        return f"{self.could}: {self.cause}. {self.remedy}".rstrip()


def noted(log: bytes) -> Why | None:
    """What the end of a container's log says of it, if that is the guest's line."""
    line = log[-1024:].rstrip().rpartition(b"\n")[2].decode("utf-8", "replace")
    if (found := _NOTED.fullmatch(line)) is None:
        return None
    program, cause, stage, about = found.group("program", "cause", "stage", "about")
    number = _NUMBERS.get(cause, 0)
    return why(program, stage, number, cause, cwd=about or "", user=about or "")


def why(
    program: str, stage: str, errno: int, said: str = "", *, cwd: str = "", user: str = ""
) -> Why:
    """Of a program that was to run in that directory, as that user; ``said``: the cause as told."""
    cause, remedy = said or reason(errno), ""
    could = f"run {program[:200]!r}"
    match stage, errno:
        case "exec", 2 | 20:  # ENOENT, ENOTDIR
            cause = f"it is not in the container (127; {cause})"
            remedy = "Give its full path, or spawn from an image that has it."
        case "exec", 13 | 8 | 21:  # EACCES, ENOEXEC, EISDIR
            cause = f"it is there but not executable (126; {cause})"
            remedy = "Give it the x permission, or name its interpreter."
        case "user", 1:
            could = f"run as user {user!r}" if user else "change users"
            cause = "this container's guest is not root and cannot change users"
        case "user", _:
            could = f"run as user {user!r}" if user else f"run {program!r} as its user"
            cause = "the container does not know it"
            remedy = "Give a name from its /etc/passwd, or numbers as uid:gid."
        case "cwd", 13:
            could = f"run in {cwd!r}" if cwd else f"run {program!r} in its directory"
            cause = "its user may not enter that directory"
            remedy = "Name another one, or run it as a user who may."
        case "cwd", _:
            could = f"run in {cwd!r}" if cwd else f"run {program!r} in its directory"
            remedy = "Make the directory first."
        case _, 7:  # E2BIG
            cause += ". Its arguments and environment are more than the container's system takes"
            remedy = "Put them in a file, or write them to stdin."
        case _, 11:  # EAGAIN
            could = "start another process"
            cause = "the container's limit on processes is reached"
            remedy = "End some, or spawn the container with a larger 'pids'."
        case _, _:
            could, cause = f"start {program!r}", f"{stage}: {cause}"
    return Why(could, cause, remedy, errno, stage)


def forbidden(err: bytes) -> str:
    """What to add where a program says, as sudo does, that it may gain no privileges; else ''."""
    if b"no new privileges" not in err and b"no_new_privs" not in err:
        return ""
    return (
        " Processes gain no privileges here, by sudo neither: spawn the container with "
        "new_privileges=True, or run this as user='root'."
    )


def reason(errno: int) -> str:
    """What an error number of the guest's means; it may be any number."""
    try:
        return os.strerror(errno)
    except (OverflowError, ValueError):
        return f"errno {errno}"
