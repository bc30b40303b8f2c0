"""Keeping containers of a Docker-like engine apart, by what the engine says of them.

A fence needs root on the engine's own machine, and an iptables that works there. Elsewhere
containers are as the engine has them: those of a user's Podman are made with networks of their
own; others share a bridge, and :func:`find_out` says why that is so. Neither is believed: once two
run that are to be kept apart, :class:`Trial` has one connect to the other, and says what came of
it. Nobody's start waits for that: until then it is said that it is still to be verified.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any, Final

from tfnz_notebook.engines.docker import answers
from tfnz_notebook.engines.docker.exec import bridge
from tfnz_notebook.engines.launch import between, fence, lan
from tfnz_notebook.errors import EngineError, TfnzError

log = logging.getLogger(__name__)

Said = Mapping[str, Any]
#: What the engine says of a container; None: it is gone.
Inspect = Callable[[str], Awaitable[Said | None]]

#: How often it is tried where it cannot be, by other two each time.
_TRIES: Final = 3
#: Seconds after the start of the second, for which the machine is left to what was started.
_BEHIND: Final = 0.5


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this engine's containers get: a fence by that tool, or why there is none."""

    tool: str = ""
    why_not: str = "nobody looked"
    #: They share no network to begin with.
    separate: bool = False
    #: It was tried; or why it cannot be. '': not yet.
    verdict: str = ""

    @property
    def holds(self) -> bool:
        """Containers are kept apart, as far as is known."""
        return self.separate or bool(self.tool)

    def __str__(self) -> str:
        if not self.holds:
            return f"none: {self.why_not}"
        how = "networks of their own" if self.separate else f"fence ({self.tool})"
        return f"{how}, {self.verdict or 'to be verified once two containers run'}"


async def find_out(owner: int | None, *, separate: bool, seen: bool = True) -> Isolation:
    """What is possible with an engine whose socket is that user's (None: it is elsewhere).

    ``separate``: it is a Podman that runs as a user, whose containers share no network. ``seen``:
    its process is among ours; else its socket comes from elsewhere, whoever's it is here.
    """
    if separate:
        return Isolation(separate=True)
    if not seen:
        return Isolation(why_not="the engine is in another container or machine")
    if owner is None:
        return Isolation(why_not="the engine is on another machine")
    if owner != 0 or os.geteuid() != 0:
        return Isolation(why_not="this agent is not root on the engine's machine")
    return Isolation(*await asyncio.to_thread(fence.tool))


async def tried(isolation: Isolation, said: Said, other: Said) -> Isolation:
    """What is known of it once the first of these containers has tried to reach the other."""
    here, there = process(said), process(other)
    if not here or not there:
        return isolation  # one is gone: the next two
    known = [str(address) for address in attached(other).addresses]
    try:
        reached = await between.reaches(here, there, known)
    except between.Unknown as error:
        return replace(isolation, verdict=f"unverified: {error}")
    if not reached:
        return replace(isolation, verdict="verified")
    how = "their networks do" if isolation.separate else f"the rules of {isolation.tool} do"
    why = f"it was tried, and one reached another: {how} not part them here"
    return Isolation(why_not=why, verdict="refuted")


class Trial:
    """Two at a time that run and may not connect to each other try to, until that is known.

    In the background. What fails for a reason of these two, or of the moment, is tried again by
    the next, ``_TRIES`` times at most. If they were allowed to meanwhile, it says nothing.
    """

    def __init__(self, inspect: Inspect, found: Callable[[Isolation], None]) -> None:
        self._inspect = inspect
        self._found = found
        self._left = _TRIES
        #: The last that was kept apart.
        self._last = ""
        #: Those that try now.
        self._two: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def gone(self, ref: str) -> None:
        """There is nothing more to try with that one."""
        if self._last == ref:
            self._last = ""
        if ref in self._two and self._task is not None:
            self._task.cancel()

    def apart(self, isolation: Isolation, ref: str, friends: Collection[str]) -> None:
        """That container is kept apart from all but its friends, from now on."""
        if ref in self._two and not self._two.isdisjoint(friends):
            self._two = frozenset()
        before, self._last = self._last, ref
        if not before or before in (ref, *friends) or self._task is not None or not self._left:
            return
        if isolation.holds and isolation.verdict != "verified":
            self._two = frozenset((ref, before))
            self._task = asyncio.create_task(self._try(isolation, ref, before))
            self._task.add_done_callback(self._over)

    def _over(self, _: object) -> None:
        self._two, self._task = frozenset(), None

    async def _try(self, isolation: Isolation, ref: str, other: str) -> None:
        try:
            await asyncio.sleep(_BEHIND)
            both = [await self._inspect(each) or {} for each in (ref, other)]
            found = await tried(isolation, *both)
            if not self._two or found is isolation:
                return
            self._left -= 1
            self._found(found)
            if not found.holds:
                log.error("containers are not kept apart: %s", found.why_not)
        except TfnzError as error:
            log.info("whether containers are kept apart is not known yet: %s", error)

    async def close(self) -> None:
        """Try no more, with those that are there."""
        self._last = ""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


async def isolate(
    isolation: Isolation,
    inspect: Inspect,
    ref: str,
    sources: Collection[str],
    targets: Collection[str],
) -> None:
    """``Engine.isolate``, of an engine whose containers ``inspect`` tells of."""
    if not isolation.tool:
        if sources or targets:
            raise _cannot_allow(isolation)
        return
    refs = (ref, *sources, *targets)
    said, *peers = [each or {} for each in await asyncio.gather(*map(inspect, refs))]
    come, go = peers[: len(sources)], peers[len(sources) :]
    if answers.state(said).status == "running":
        try:
            await _put_up(isolation.tool, ref, said, come, go)
            return
        except EngineError as error:
            if answers.state(await inspect(ref) or {}).status == "running":
                raise _cannot_isolate(error) from error
    raise bridge.gone(ref)


def _cannot_allow(isolation: Isolation) -> EngineError:
    """Why nothing can be allowed where nothing is fenced off."""
    if isolation.separate:
        return EngineError(
            "Cannot allow a connection: containers of a user's Podman share no network. Use a "
            "tunnel, or spawn both with network= and the name of a network that you made."
        )
    return EngineError(
        f"Cannot allow a connection: containers are not kept apart here, {isolation.why_not}, so "
        "they may reach each other already. Run the kernel as root on the engine's machine, or "
        "spawn both with network= and the name of a network that you made."
    )


class Unseen(EngineError):
    """The container is where nobody can be fenced off from here."""


def _cannot_isolate(cause: EngineError) -> EngineError:
    """The error for a container that would be open to the others, and so must not run."""
    return type(cause)(
        f"Cannot keep the container apart from others: {cause}. Install iptables for this kernel, "
        "or spawn it with network='bridge', where containers reach each other."
    )


async def _put_up(
    tool: str, ref: str, said: Said, sources: Iterable[Said], targets: Iterable[Said]
) -> None:
    own = attached(said)
    come, go = ([a for s in some for a in attached(s).addresses] for some in (sources, targets))
    opened = namespace((said.get("NetworkSettings") or {}).get("SandboxKey"))
    if opened is None and (pid := process(said)):
        # The engine has mounts of its own. Its first process has that namespace, too; if that is
        # what the number means here, now that it is open.
        opened = namespace(f"/proc/{pid}/ns/net")
        if opened is not None and not _is_of(pid, str(said.get("Id") or ref)):
            os.close(opened)
            opened = None
    if opened is None:
        raise Unseen("its network namespace is not visible here")
    work = fence.inside(opened, partial(fence.put_up, tool, own, come, go))
    work.add_done_callback(lambda _: os.close(opened))
    await asyncio.wrap_future(work)
    lan.steady(own.networks)


def attached(said: Said) -> fence.Attached:
    """A container inspect's networks; nothing for one that does not run, or has none."""
    settings = said.get("NetworkSettings") or {}
    addresses: list[fence.Address] = []
    networks: list[lan.Network] = []
    gateways: list[fence.Address] = []
    for each in (settings.get("Networks") or {}).values() or [settings]:
        for address, prefix, gateway in (
            ("IPAddress", "IPPrefixLen", "Gateway"),
            ("GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway"),
        ):
            if each and each.get(address):
                own = ip_interface(f"{each[address]}/{each.get(prefix) or 0}")
                addresses.append(own.ip)
                networks.append(own.network)
                if each.get(gateway):
                    gateways.append(ip_address(each[gateway]))
    return fence.Attached(tuple(addresses), tuple(networks), tuple(gateways))


def _is_of(pid: int, container: str) -> bool:
    """That process is in that container's cgroup: its id is in the path, at every engine."""
    try:
        return bool(container) and container in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def process(said: Said) -> int:
    """The number of its first process, while it runs; 0."""
    return int((said.get("State") or {}).get("Pid") or 0)


def namespace(path: object) -> int | None:
    """A container's network namespace, open; whoever gets it closes it. None: it is not here.

    Best by the name that the engine gives it, which no other namespace ever gets. Never this
    machine's own.
    """
    if not path:
        return None
    try:
        opened = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    told, ours = os.fstat(opened), Path("/proc/self/ns/net").stat()
    # All namespaces are files of one file system, where their number tells which they are.
    if told.st_dev == ours.st_dev and told.st_ino not in (ours.st_ino, _of_the_machine()):
        return opened
    os.close(opened)
    return None


def _of_the_machine() -> int | None:
    try:
        return Path("/proc/1/ns/net").stat().st_ino
    except OSError:  # root without SYS_PTRACE may not look
        return None
