"""What Linux says of this machine and its processes in /proc.

Processes go by pid *and* start time, so that a recycled pid is never taken for ours: field 22 of
``/proc/PID/stat``, in clock ticks since boot. The second field, the command's name, may hold spaces
and parentheses, so fields are counted after its last one. A zombie has ended, whether or not its
parent cares.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from pathlib import Path


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> int:
    """When it started, in ticks; 0 if there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def alive(pid: int, started: int) -> bool:
    """The same process still runs."""
    fields = _stat(pid)
    return len(fields) > 19 and int(fields[19]) == started and fields[0] not in "ZX"


def status(pid: int) -> dict[str, str]:
    """What ``/proc/PID/status`` says, line by line; empty if there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: said.strip() for name, _, said in (line.partition(":") for line in lines)}


def environ(pid: int) -> dict[str, str] | None:
    """The environment it was started with; None if that cannot be read."""
    try:
        said = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    pairs = (os.fsdecode(each).partition("=") for each in said if each)
    return {name: value for name, _, value in pairs}


def has_open(pid: int, path: Path) -> bool:
    """It has that very file open."""
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(each.stat(), wanted):
                    return True
    return False


def here() -> str:
    """A word for where a pid means the same: this boot of this machine, and who sees its pids.

    Homes are shared by machines, and by containers of one machine.
    """
    boot, pids = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        words = f"{boot.read_text().strip()} {pids.stat().st_ino}"
    except OSError:
        return "here"
    return hashlib.sha256(words.encode()).hexdigest()[:8]


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, as /proc shows them now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and len(fields := _stat(int(entry.name))) > 1:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def kill_tree(pid: int, started: int) -> None:
    """KILL a process and everything below it. Stopped first, so that it cannot fork meanwhile."""
    if not alive(pid, started):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGSTOP)
    below: set[int] = set()
    while more := set(descendants(pid)) - below:
        for member in more:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGSTOP)
        below |= more
    for member in (*below, pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def capable(pid: int, capability: int) -> bool | None:
    """Its effective capabilities include this bit; None if that cannot be known."""
    try:
        return bool(int(status(pid)["CapEff"], 16) >> capability & 1)
    except (KeyError, ValueError):
        return None


def hard_limits(pid: int) -> tuple[int, int] | None:
    """Its hard limits of open files and of processes; None if they cannot be known."""
    found: dict[str, int] = {}
    try:
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            for name in ("Max open files", "Max processes"):
                if line.startswith(name):
                    hard = line[len(name) :].split()[1]
                    found[name] = (1 << 20) if hard == "unlimited" else int(hard)
    except (OSError, ValueError, IndexError):
        return None
    if len(found) < 2:
        return None
    return found["Max open files"], min(found["Max processes"], most_processes())


def most_processes() -> int:
    """What Podman caps its own limit at, and thereby what its containers can have."""
    try:
        return int(Path("/proc/sys/kernel/pid_max").read_text())
    except (OSError, ValueError):
        return 32768


def cpu_free(cpus: int) -> float:
    """Cores that the last minute's load left idle; the load average counts waiting ones too."""
    try:
        load = os.getloadavg()[0]
    except OSError:
        return float(cpus)
    return max(0.0, round(cpus - load, 2))


def memory() -> tuple[int, int]:
    """Total and available bytes, as /proc/meminfo has them; zeroes where there is none."""
    found = {"MemTotal": 0, "MemAvailable": 0}
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
    return found["MemTotal"], found["MemAvailable"]
