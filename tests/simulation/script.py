"""What is done in a world, step by step: drawn from the seed before anything runs.

Steps name what they are about by a key, so that one can be deleted and the others still mean the
same: a step whose container or process was never asked for does nothing. That is how a script that
breaks a law is shrunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from .known import UNDRAWN


@dataclass(slots=True)
class Step:
    """At ``at`` seconds, ``who`` (a kernel, or the director) does ``kind``."""

    at: float
    who: str
    kind: str
    about: dict[str, Any] = field(default_factory=dict)
    #: What others call it.
    number: int = 0

    def __str__(self) -> str:
        told = " ".join(f"{key}={value}" for key, value in self.about.items())
        return f"#{self.number:<3} {self.at:9.4f}  {self.who:8}  {self.kind} {told}".rstrip()


@dataclass(slots=True)
class Script:
    """``kernels``: by name, the durable session that it joins, or None; ``ttl`` is of that one.

    ``later``: what another kernel says of it at the end; ``None``: nothing is tried then.
    """

    kernels: dict[str, str | None]
    ttl: float | None
    later: float | None
    #: What is said at its end by a container that is destroyed.
    words: list[str]
    steps: list[Step]
    #: Another one plays the same steps in another order of things.
    salt: int = 0

    def __str__(self) -> str:
        last = f"ttl: {self.ttl}, then {self.later}, last words: {self.words}"
        return "\n".join([f"kernels: {self.kernels}, {last}", *map(str, self.steps)])


#: What a kernel does, and how often beside the others.
ACTS = {
    "box": 8,
    "prepare": 3,
    "process": 30,
    "read": 6,
    "iterate": 8,
    "log": 3,
    "write": 9,
    "close_stdin": 4,
    "ask": 5,
    "signal": 3,
    "end": 3,
    "resize": 4,
    "look": 5,
    "destroy": 3,
    "reboot": 2,
    "start": 1,
    "pause": 2,
    "unpause": 2,
    "put": 5,
    "fetch": 5,
    "list": 3,
    "mkdir": 2,
    "stats": 1,
    "info": 2,
    "nodes": 1,
    "images": 1,
    "volume": 1,
    "processes": 2,
    "dial": 4,
    "view": 3,
    "allow": 2,
    "leave": 2,
}
#: What befalls them.
FAULTS = {
    "cut": 5,
    "silence": 2,
    "hold": 3,
    "kill agent": 7,
    "stop agent": 2,
    "network down": 3,
    "kill kernel": 2,
    "stall agent": 3,
    "stall kernel": 2,
    "stall guest": 4,
    "mute guest": 3,
    "break guest": 5,
    "kill guest": 2,
    "pause guest": 3,
    "restart guest": 1,
    "kill spare": 2,
    "break spare": 2,
    "mute spare": 1,
    "pause spare": 1,
    "engine slow": 2,
    "engine erring": 2,
    "engine gone": 2,
    "disk full": 2,
    "disk short": 2,
    "disk bad": 1,
    "clock": 2,
    "cancel": 6,
}
#: Seconds that a connection is slow before it breaks.
SLOW = (0, 0.001, 0.01, 0.3)
#: What a kernel says last of how long its session lasts.
LATER = (None, None, None, None, 3.0, 60.0)
#: How often a notebook begins with spares.
PREPARED = 0.3
#: How often, after a step, somebody talks to a process of their own.
TALKS = 0.02


def words(random: Random, *, reads: bool | None = None) -> list[str]:
    """A script for a process."""
    said: list[str] = []
    for _ in range(random.randrange(4)):
        kind = random.choice("oooes")
        if kind == "s":
            said.append(f"s{random.choice((0, 0.01, 0.5, 3))}")
        else:
            said.append(f"{kind}{random.choice((1, 20, 300, 1500, 5000, 12000))}")
    if reads if reads is not None else random.random() < 0.25:
        said.insert(random.randrange(len(said) + 1), random.choice("iir"))
        if random.random() < 0.5:
            said.append(f"o{random.choice((5, 900))}")
    if random.random() < 0.2:
        said.insert(random.randrange(len(said) + 1), f"t{random.choice((1, 90, 3000))}")
    if random.random() < 0.3:
        said.append(f"x{random.choice((1, 3, 137))}")
    return said


class _Draw:
    """One seed's script."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(f"script {seed}")
        count = random.choice((1, 1, 2, 2, 3))
        shared = random.random() < 0.6
        self.kernels: dict[str, str | None] = {}
        for number in range(count):
            self.kernels[f"kernel{number}"] = "shared" if shared and random.random() < 0.8 else None
        self.boxes: list[str] = []
        self.processes: list[str] = []
        self.steps: list[Step] = []
        self.at = 0.0

    def _key(self, of: list[str]) -> str | None:
        # Mostly what was made last: it is still there.
        if not of:
            return None
        return of[-1] if self.random.random() < 0.5 else self.random.choice(of)

    def whole(self) -> Script:
        """The script."""
        random, self.at = self.random, 0.0
        if random.random() < PREPARED:
            self._act(random.choice([*self.kernels]), "prepare")
            self.at += random.choice((0, 0.01, 0.2))
        for _ in range(random.randrange(6, 36)):
            self.at += random.choice((0, 0, 0, 0.0005, 0.01, 0.2, 1.5))
            kind = "box" if not self.boxes else random.choices([*ACTS], [*ACTS.values()])[0]
            who = random.choice([*self.kernels])
            self._act(who, kind)
            if self.boxes and random.random() < TALKS:
                self._talk(who)
        for _ in range(random.choice((0, 1, 1, 2, 3, 5))):
            kind = random.choices([*FAULTS], [*FAULTS.values()])[0]
            box, kernel = self._key(self.boxes), random.choice([*self.kernels])
            self._fault(kind, self._when(), box, kernel)
        self.steps.sort(key=lambda step: step.at)
        ttl, later = random.choice((None, 3.0, 600.0)), random.choice(LATER)
        last = ["t2000", *self._last()] if random.random() < 0.2 else []
        return Script(self.kernels, ttl, later, last, self.steps)

    def _last(self) -> list[str]:
        # No more than a reader has credit for: what a container's end finds unread is deleted.
        return [f"o{self.random.choice((1, 900, 1900))}", "r"]

    def _talk(self, who: str) -> None:
        """Much is said to one process, and in the midst of it something breaks."""
        random, key, begins = self.random, f"p{len(self.processes)}", len(self.steps)
        asked = [random.choice(("i", "i", "i", "o20", "o900", "s0.01", "s3")) for _ in range(6)]
        about = {"process": key, "box": self._key(self.boxes), "words": ["i", *asked, "r"]}
        self.processes.append(key)
        self._add(self.at, who, "process", about)
        for _ in range(random.randrange(2, 7)):
            self.at += random.choice((0, 0.001, 0.01, 0.4))
            kind = random.choice(("write", "write", "ask"))
            more = {"process": key, "size": random.choice((1, 50, 600, 2000, 5000))}
            if kind == "ask":
                more |= {"timeout": None, "settle": random.random() < 0.3}
            self._add(self.at, who, kind, more)
        for _ in range(random.choice((1, 1, 2))):
            step = random.choice(self.steps[begins:])
            kind = random.choice(("break guest", "break guest", "kill agent", "stall guest", "cut"))
            self._fault(kind, step.at + random.choice((0, 0.0005, 0.004)), about["box"], who)

    def _act(self, who: str, kind: str) -> None:
        random, about = self.random, dict[str, Any]()
        box, process = self._key(self.boxes), self._key(self.processes)
        match kind:
            case "box":
                about = {"box": f"b{len(self.boxes)}", "sleep": random.random() < 0.7}
                if not about["sleep"]:
                    about["words"] = words(random)
                self.boxes.append(about["box"])
            case "prepare":
                about = {"spares": random.choice((0, 1, 1, 2, 3))}
            case "process":
                about = {"process": f"p{len(self.processes)}", "box": box, "words": words(random)}
                about["readers"] = random.random() < 0.5
                about["said"] = random.choice((0, 2000))
                about["last"] = random.random() < 0.4
                about["tty"] = random.random() < 0.15
                if random.random() < 0.2:
                    about["stdin"] = random.choice((1, 700, 1900))
                if random.random() < 0.05:
                    about["env"] = random.choice((100, 1000))
                if random.random() < 0.1:
                    about["timeout"] = random.choice((0.001, 0.3, 1))
                self.processes.append(about["process"])
            case "ask":
                if process is None or random.random() < 0.7:
                    asked = words(random, reads=True) + ["i"] * random.randrange(3)
                    process = f"p{len(self.processes)}"
                    self.processes.append(process)
                    about = {"process": process, "box": box, "words": asked}
                else:
                    about = {"process": process}
                about["size"] = random.choice((1, 100, 3000))
                about["timeout"] = random.choice((None, None, 0.01, 2))
                about["settle"] = random.random() < 0.3
            case (
                "read"
                | "log"
                | "close_stdin"
                | "view"
                | "iterate"
                | "write"
                | "signal"
                | "end"
                | "resize"
                | "look"
            ):
                about = {"process": process}
                if kind == "resize":
                    size = random.randrange(10, 60), random.randrange(40, 200)
                    about["size"] = dict(zip(("rows", "columns"), size, strict=True))
                if kind == "look":
                    about["mode"] = random.choice(("all", "all", "tail"))
                    about["pause"] = random.choice((0, 0, 0.01, 1))
                if kind in ("read", "log", "iterate", "view"):
                    about |= {
                        "stream": random.choice((1, 1, 2)),
                        "offset": random.choice((0, 0, 1, 777)),
                    }
                if kind in ("iterate", "view"):
                    about["pause"] = random.choice((0, 0, 0.01, 1))
                    about["most"] = random.choice((None, None, 2))
                if kind == "write":
                    about["size"] = random.choice((1, 50, 2000, 5000))
                if kind == "signal":
                    about |= {"signal": random.choice((0, 9, 15)), "target": random.randrange(3)}
                if kind == "end":
                    about["grace"] = random.choice((0, 0.1, 5))
            case "destroy":
                about = {"box": box, "grace": random.choice((0, 0, 1))}
            case "reboot":
                about = {"box": box, "reset": random.random() < 0.3}
            case "put" | "fetch" | "list" | "mkdir":
                about = {"box": box, "path": f"/f{random.randrange(3)}"}
                if kind == "put":
                    about["size"] = random.choice((0, 10, 3000, 9000))
                if kind == "list":
                    about["path"] = random.choice(("/", "/tmp", "/f0"))
            case "dial":
                about = {
                    "box": box,
                    "port": random.choice((7, 7, 7, 80)),
                    "size": random.choice((1, 900, 7000)),
                }
            case "allow":
                about = {"box": box, "other": random.choice(self.boxes)}
            case "leave":
                about = {"again": random.choice((None, 0.0, 0.1, 5.0))}
            case "volume":
                about = {
                    "name": f"v{random.randrange(2)}",
                    "what": random.choice(("create", "list", "remove")),
                }
            case _:
                about = {"box": box}
        self._add(self.at, who, kind, about)

    def _add(self, at: float, who: str, kind: str, about: dict[str, Any]) -> None:
        self.steps.append(Step(at, who, kind, about, len(self.steps)))

    def _when(self) -> float:
        random = self.random
        if random.random() < 0.6 and self.steps:  # just when something else happens
            return random.choice(self.steps).at + random.choice((0, 0.0002, 0.003, 0.3))
        return random.random() * (self.at + 1.0)

    def _fault(self, kind: str, at: float, box: str | None, kernel: str) -> None:
        random = self.random
        if kind in UNDRAWN:
            return
        about: dict[str, Any] = {}
        seconds = random.choice((0.01, 0.5, 4, 12, 25))
        match kind:
            case "cut":
                about = {"kernel": kernel, "slow": random.choice(SLOW)}
                at = max(0.0, at - random.random() * about["slow"])
            case "silence" | "kill kernel":
                about = {"kernel": kernel}
            case "hold" | "stall kernel":
                about = {"kernel": kernel, "seconds": seconds}
            case "stall guest" | "mute guest" | "pause guest":
                about = {"box": box, "seconds": seconds}
            case "break guest":
                about = {"box": box, "slow": random.choice(SLOW)}
                at = max(0.0, at - random.random() * about["slow"])
            case "mute spare" | "pause spare":
                about = {"which": random.randrange(3), "seconds": seconds}
            case "kill spare":
                about = {"which": random.randrange(3)}
            case "break spare":
                about = {"which": random.randrange(3), "slow": random.choice(SLOW)}
            case "kill guest" | "restart guest":
                about = {"box": box}
            case "cancel":
                step = random.choice(self.steps)
                about = {"step": step.number}
                at = step.at + random.choice((0, 0.0002, 0.001, 0.004, 0.05, 1))
            case "network down":
                about = {"seconds": random.choice((0.5, 8, 34, 61))}
            case "clock":
                about = {"seconds": random.choice((-3600.0, -1.0, 5.0, 86400.0))}
            case "stall agent" | "disk full" | "disk short" | "disk bad":
                about = {"seconds": seconds}
            case _ if kind.startswith("engine"):
                about = {"seconds": seconds}
        self._add(at, "director", kind, about)


def draw(seed: int) -> Script:
    """The script of a seed."""
    return _Draw(seed).whole()
