"""What the agent told of the session: its containers, what runs in them, and who listens.

After each ``hello`` a snapshot comes in pages, then every change as an event, in the order in which
they happened: what was told last holds, and nobody has to ask. Everything is on the I/O loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

Info = dict[str, Any]
Listener = Callable[[Info | None], None]

#: States of a container that has not been there yet; "starting" also is one that is rebooted.
COMING: Final = frozenset({"pulling", "creating", "starting"})
#: Processes of a container that ended and are still known.
RECENT: Final = 3


class Known:
    """A session, as it was told.

    ``containers`` by id; ``processes`` by container and id: its main one, those that run, the last
    that ended; ``ended``: by container how many did, its main one not counted.
    """

    def __init__(self, *, session: bool = True) -> None:
        """``session``: of a whole one; else of one process, whose container is not told of."""
        self._session = session
        self.containers: dict[str, Info] = {}
        self.processes: dict[str, dict[str, Info]] = {}
        self.ended: dict[str, int] = {}
        self._listeners: dict[tuple[str, str], list[Listener]] = {}
        #: What the snapshot that is coming, or an event since its begin, named.
        self._seen: set[tuple[str, str]] | None = None
        self._hearing: list[dict[str, Info]] = []

    # -- who listens

    def listen(self, name: str, ident: str, listener: Listener) -> None:
        """Hear of a container (``name`` 'container') or process; ident "": of all of the session.

        It gets the ``info`` at each change, and None when the agent does not know it any more.
        """
        self._listeners.setdefault((name, ident), []).append(listener)

    def forget(self, name: str, ident: str, listener: Listener | None = None) -> None:
        """Have one listener hear no more of it, or all."""
        if listener in (left := self._listeners.get((name, ident), [])):
            left.remove(listener)
        if listener is None or not left:
            self._listeners.pop((name, ident), None)

    @contextmanager
    def hearing(self) -> Iterator[dict[str, Info]]:
        """What is told of processes inside, the last of each by its id.

        For who asks for some: what was listed may be older than an event by the time it is looked
        at, and then the event holds. Not one of an earlier connection: over this one it is asked
        again.
        """
        heard: dict[str, Info] = {}
        self._hearing.append(heard)

        def hear(info: Info | None) -> None:
            if info is not None:
                heard[str(info["process"])] = info

        self.listen("process", "", hear)
        try:
            yield heard
        finally:
            self._hearing = [each for each in self._hearing if each is not heard]
            self.forget("process", "", hear)

    def _tell(self, name: str, ident: str, info: Info | None) -> None:
        for key in ((name, ident), (name, "")):
            for listener in list(self._listeners.get(key, ())):
                listener(info)

    # -- what is told

    def process(self, ident: str) -> Info | None:
        """What is known of a process, if anything."""
        for held in self.processes.values():
            if ident in held:
                return held[ident]
        return None

    def container_is(self, info: Info) -> None:
        """A container is as ``info`` says."""
        ident, state = str(info.get("container")), info.get("state")
        self._saw("container", ident)
        before = self.containers.get(ident, {}).get("state")
        if state == "destroyed":
            self._lose(ident)
        else:
            if state == "starting" and before not in (None, *COMING):  # a reboot ends them all
                self.processes.pop(ident, None)
                self.ended.pop(ident, None)
            self.containers[ident] = info
            if "ended" in info:
                self.ended[ident] = int(info["ended"])
        self._tell("container", ident, info)

    def process_is(self, info: Info, said: list[bytes] | None = None) -> None:
        """A process is as ``info`` says; ``said`` is all that it wrote, if that came along."""
        ident, container = str(info.get("process")), str(info.get("container"))
        if self._hold(ident, container, info) and ident != container:
            self.ended[container] = self.ended.get(container, 0) + 1
        self._tell("process", ident, info if said is None else {**info, "said": said})

    def _hold(self, ident: str, container: str, info: Info) -> bool:
        """Keep it; whether that is how we know of its end."""
        self._saw("process", ident)
        if self._session and container not in self.containers:
            return False  # a last word of one that was destroyed
        held = self.processes.setdefault(container, {})
        over = info.get("returncode") is not None
        before = held.get(ident)
        held[ident] = info
        if not over or (before is not None and before.get("returncode") is not None):
            return False
        ended = [key for key, each in held.items() if each.get("returncode") is not None]
        for old in [key for key in ended if key != container][:-RECENT]:
            del held[old]
        return True

    def gone(self, name: str, ident: str) -> None:
        """The agent does not know it."""
        if name == "container":
            self._lose(ident)
        else:
            for held in self.processes.values():
                held.pop(ident, None)
        self._tell(name, ident, None)

    def _saw(self, name: str, ident: str) -> None:
        if self._seen is not None:
            self._seen.add((name, ident))

    def _lose(self, container: str) -> None:
        for held in (self.containers, self.processes, self.ended):
            held.pop(container, None)

    # -- a snapshot

    def begin(self) -> None:
        """A new connection: what its snapshot does not name is not there any more."""
        self._seen = set()
        for heard in self._hearing:
            heard.clear()

    def page(self, containers: Iterable[Info], processes: Iterable[Info], ended: Info) -> None:
        """One page of it."""
        for info in containers:
            self.container_is(info)
        for info in processes:
            ident = str(info.get("process"))
            self._hold(ident, str(info.get("container")), info)
            self._tell("process", ident, info)
        self.ended.update(ended)

    def missing(self) -> tuple[list[str], list[str]]:
        """Containers and processes that are known or listened to, and that no page named."""
        seen, self._seen = self._seen or set(), None
        known = [("container", each) for each in self.containers]
        known += [("process", each) for held in self.processes.values() for each in held]
        known += [key for key in self._listeners if key[1]]
        left = [key for key in dict.fromkeys(known) if key not in seen]
        return (
            [ident for name, ident in left if name == "container"],
            [ident for name, ident in left if name == "process"],
        )

    def end(self) -> None:
        """Nothing will be told any more."""
        for name, ident in list(self._listeners):
            for listener in list(self._listeners.get((name, ident), ())):
                listener(None)
        self._listeners.clear()
