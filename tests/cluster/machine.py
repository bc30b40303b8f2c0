"""Machines of a test cluster: namespaces for network, processes and mounts, and who keeps them.

Whatever runs in one is a process below that first one, whatever is mounted there is mounted for it
alone, and its network has links to the cluster's other machines only. So to end it is to kill one
process: the kernel ends the others, and takes mounts and network with them.
"""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
#: Where Debian keeps what the programs call.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Run in the new namespaces as ``sh -c SETUP NAME HOME PAUSE``. Programs that insist on some paths
#: have their own there; what a kubelet sets for the whole machine are files without effect.
SETUP = """
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir /run/home
mount --bind "$1" /run/home
for path in /var/lib /var/log; do
  upper=/run/over$path/upper work=/run/over$path/work
  mkdir -p $upper $work
  mount -t overlay overlay -o lowerdir=$path,upperdir=$upper,workdir=$work $path
done
mount --bind /run/home "$1"
for knob in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \\
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  [ -e "/proc/sys/$knob" ] || continue
  mkdir -p "/run/knobs/${knob%/*}"
  cat "/proc/sys/$knob" >"/run/knobs/$knob"
  mount --bind "/run/knobs/$knob" "/proc/sys/$knob"
done
hostname "$0"
ip link set lo up
exec "$2"
"""


def until(wanted: Callable[[], T | None], seconds: float, what: str) -> T:
    """The first true answer; looks again every 50 ms."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Cannot go on: not within {seconds:g} s: {what}.")
        time.sleep(0.05)
    return found


def started(pid: int) -> str:
    """When a process started, in ticks; empty when it is no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = stat.rpartition(") ")[2].split()
    return "" if state in "ZX" else fields[18]


def children(pid: int) -> list[int]:
    """The children of a process."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Machine:
    """One of them; an object of another Python finds by the folder what an earlier one started."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home

    # -- the machine

    def boot(self, pause: Path) -> None:
        """Its namespaces, and nothing in them."""
        for folder in ("programs", "logs"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        spaces = ["--mount", "--net", "--pid", "--uts", "--propagation=private", "--mount-proc"]
        setup = ["/bin/sh", "-euc", SETUP, self.name, str(self.home.parent), str(pause)]
        parent = self._spawn("keeper", ["unshare", *spaces, "--fork", "--kill-child", *setup])
        keeper = until(lambda: children(parent.pid), 10, f"{self.name}: {self.log('keeper')}")[0]
        self._remember("keeper", keeper, {"parent": parent.pid})
        parent.returncode = 0  # it stays, and nobody waits for it
        until(lambda: self._runs(pause.name), 20, f"{self.name} is set up: {self.log('keeper')}")

    def _runs(self, what: str) -> bool:
        """Whether its first process is that already, and no more the shell that set up."""
        try:
            return Path(f"/proc/{self.pid('keeper')}/comm").read_text().strip() == what
        except OSError:
            return False

    @property
    def alive(self) -> bool:
        return self.runs("keeper")

    def stop(self) -> None:
        """End it and all in it, at once."""
        if self.alive:
            keeper = self.pid("keeper")
            os.kill(keeper, signal.SIGKILL)
            parent = json.loads(self._record("keeper").read_text())["parent"]
            if keeper in children(parent):
                os.kill(parent, signal.SIGKILL)  # it could be stopped, and would not reap it
            until(lambda: not Path(f"/proc/{keeper}").exists(), 30, f"{self.name} is gone")

    # -- what runs in it

    def inside(self, *argv: str, network: bool = True) -> list[str]:
        """The command line that runs another one there."""
        spaces = ["--mount", "--pid", "--uts", *(["--net"] if network else [])]
        return ["nsenter", f"--target={self.pid('keeper')}", *spaces, "--", *argv]

    def tried(self, *argv: str) -> bool:
        """Run it there; whether it succeeded."""
        return subprocess.run(self.inside(*argv), capture_output=True, check=False).returncode == 0

    def run(self, *argv: str, text: str = "") -> str:
        """Run it there to its end; what it printed."""
        done = subprocess.run(
            self.inside(*argv), input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)} on {self.name}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self, name: str, *argv: str, network: bool = True) -> None:
        """Start a program that stays; without ``network`` in this machine's own.

        It is left to the machine's first process, so that whoever started it may end, or be
        stopped, and it is known by what only it has in its environment.
        """
        mark = f"TFNZ_PROGRAM={uuid.uuid4()}"
        command = self.inside("env", mark, "setsid", "--fork", *argv, network=network)
        self._spawn(name, command).wait()
        pid = until(lambda: self._marked(mark), 10, f"{name} on {self.name}: {self.log(name)}")
        self._remember(name, pid, {"argv": argv, "network": network})

    def _marked(self, mark: str) -> int | None:
        for pid in children(self.pid("keeper")):
            try:
                if mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return pid
            except OSError:
                continue  # it ended
        return None

    def _spawn(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        with self.log(name).open("ab") as log:
            return subprocess.Popen(
                command,
                cwd="/",
                env={"PATH": PATH},  # nothing of a test's world, which is looked for afterwards
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _remember(self, name: str, pid: int, how: dict[str, object]) -> None:
        self._record(name).write_text(json.dumps({"pid": pid, "started": started(pid), **how}))

    def _record(self, name: str) -> Path:
        return self.home / "programs" / name

    def log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def pid(self, name: str) -> int:
        """Its process id on this machine."""
        return int(json.loads(self._record(name).read_text())["pid"])

    def runs(self, name: str) -> bool:
        try:
            told = json.loads(self._record(name).read_text())
        except FileNotFoundError:
            return False
        return bool(told["started"]) and started(told["pid"]) == told["started"]

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """A signal to a program; killed, it is waited for."""
        assert self.runs(name), f"{name} does not run on {self.name}"
        pid = self.pid(name)
        os.kill(pid, number)
        if number == signal.SIGKILL:
            until(lambda: not started(pid), 20, f"{name} is gone")

    def again(self, name: str) -> None:
        """Start a program that was killed as it was started before."""
        assert not self.runs(name), f"{name} runs on {self.name}"
        told = json.loads(self._record(name).read_text())
        self.start(name, *told["argv"], network=told["network"])
