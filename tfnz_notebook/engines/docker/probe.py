"""What is found out about a Docker-like engine before its first container; nothing is assumed.

- The API version: 1.41 where the engine still speaks it, else the oldest it does.
- Whether its containers can share a directory with us: a Unix socket that our own user listens
  on, no user-namespace remapping, and files that are ours too, which a volume tells that is made
  and looked for. (A socket may be forwarded, or mounted into the container that we are in.) Then
  the guest is reached over its socket, else by exec, and why is kept.
- Whether it may raise resource limits. Podman asks for a million files, which fails at start
  where the service lacks CAP_SYS_RESOURCE; its own hard limits are then asked for explicitly.
- Whether we can keep its containers apart (:mod:`docker_isolation`).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tfnz_notebook._base import paths, proc
from tfnz_notebook._base.endpoints import Endpoint
from tfnz_notebook.engines.docker import answers
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.docker import isolation as docker_isolation
from tfnz_notebook.engines.docker.isolation import Isolation
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.errors import EngineGone, NoEngine

Transport = Literal["socket", "exec"]
#: What we write for. An engine that no longer speaks it is asked in the oldest it does.
_VERSION: Final = (1, 41)
_OLDEST: Final = (1, 40)
_CAP_SYS_RESOURCE: Final = 24


@dataclass(frozen=True, slots=True)
class Facts:
    """An engine as it was found."""

    podman: bool = False
    version: str = ""
    api: str = ""
    address: str = ""
    #: '' where asking would be slow.
    runtime: str = ""
    rootless: bool = False
    #: Its registry for short names, as a URL; '' where only it knows.
    default_registry: str = ""
    transport: Transport = "exec"
    #: Why it is no other; '' where that is the first choice.
    why: str = ""
    #: Its files are not ours.
    elsewhere: bool = False
    #: The machine that it is on, where that is not this one: name, cores, bytes.
    machine: tuple[str, int, int] | None = None
    quirks: shape.Quirks = field(default_factory=shape.Quirks)
    isolation: Isolation = field(default_factory=Isolation)

    @property
    def limits(self) -> str:
        """Whose they are, or why there are none."""
        if not self.quirks.cgroups:
            return "none: this engine runs as a user, who has no part in cgroups of version 1"
        return "explicit" if self.quirks.ulimits else "the engine's"

    def about(self) -> dict[str, str]:
        """The same for people."""
        said = {
            "engine": "podman" if self.podman else "docker",
            "version": self.version,
            "api": self.api,
            "address": self.address,
            "runtime": self.runtime,
            "rootless": str(self.rootless).lower(),
            "transport": f"{self.transport} ({self.why})" if self.why else self.transport,
            "limits": self.limits,
            "isolation": str(self.isolation),
        }
        return {key: value for key, value in said.items() if value}


async def reach(name: str, endpoints: Sequence[Endpoint]) -> tuple[Client | None, str]:
    """A client of the first that answers; else None and why each did not ('' if there are none)."""
    causes = []
    for endpoint in endpoints:
        client = Client(endpoint, name)
        try:
            await client.request("GET", "/_ping", timeout=15)
            return client, ""
        except (NoEngine, EngineGone) as error:  # the latter: it answered, but no engine does so
            causes.append(str(error))
    return None, " ".join(causes)


async def probe(client: Client, asked: Transport | None) -> Facts:
    """Ask it, and set the client's API version. NoEngine if it is none that we can use."""
    ping = await client.request("GET", "/_ping", timeout=15)
    where = client.endpoint.address
    if ping.status != 200 or "api-version" not in ping.headers:
        raise NoEngine(
            f"Cannot use {client.name} at {where}: it answered {ping.status} "
            f"({ping.message[:80]}), as no container engine does. Correct the address."
        )
    # Podman's /version and /info take 0.3 s each (they ask the package database who owns what);
    # the headers of a ping tell what we need of a local one.
    podman = "libpod-api-version" in ping.headers
    quick = podman and client.endpoint.local
    speaks = answers.version(ping.headers["api-version"])
    version, oldest = ping.headers.get("libpod-api-version", ""), _VERSION
    if not podman:
        said = answers.mapping((await client.request("GET", "/version", timeout=15)).json())
        version = str(said.get("Version", ""))
        oldest = answers.version(said.get("MinAPIVersion"))
    if speaks < _OLDEST:
        raise NoEngine(
            f"Cannot use {client.name} {version} at {where}: its API is "
            f"{ping.headers['api-version']}, 1.40 is needed. Upgrade it."
        )
    number = max(min(_VERSION, speaks), oldest)
    client.prefix = f"/v{number[0]}.{number[1]}"
    info: dict[str, Any] = {}
    if not quick:
        info = answers.mapping((await client.request("GET", "/info", timeout=30)).json())
    owner = socket_owner(client.endpoint)
    rootless = answers.rootless(info) or (quick and owner != 0)
    separate = podman and rootless and _of_a_user(client.peer)
    apart = _apart(owner, info, rootless)
    other = "" if asked or apart else await _elsewhere(client)
    why = "asked for" if asked else apart or other
    return Facts(
        podman=podman,
        version=version,
        api=client.prefix.removeprefix("/v"),
        address=where,
        runtime=str(info.get("DefaultRuntime", "")),
        rootless=rootless,
        default_registry=str(info.get("IndexServerAddress") or ""),
        transport=asked or ("exec" if why else "socket"),
        why=why,
        elsewhere=bool(other),
        machine=None if client.endpoint.local else _machine(info, client.name),
        quirks=shape.Quirks(
            ulimits=_limits(client.peer) if quick else None,
            selinux=client.endpoint.local and selinux(),
            private_network=separate,
            cgroups=not (rootless and _cgroups(info) == "1"),
            podman=podman,
            version=version,
        ),
        isolation=await docker_isolation.find_out(
            owner, separate=separate, seen=not client.endpoint.local or bool(client.peer)
        ),
    )


def socket_owner(endpoint: Endpoint) -> int | None:
    """The user who listens on the engine's socket; None where that is not known."""
    if not endpoint.local or endpoint.path is None or not sys.platform.startswith("linux"):
        return None  # elsewhere, or (other systems) in a virtual machine
    try:
        return Path(endpoint.path).stat().st_uid
    except OSError:
        return None


def _machine(info: Mapping[str, Any], name: str) -> tuple[str, int, int]:
    """What it says of its own."""
    cpus, memory = int(info.get("NCPU") or 1), int(info.get("MemTotal") or 0)
    return str(info.get("Name") or name), cpus, memory


def _cgroups(info: Mapping[str, Any]) -> str:
    """The version that the engine has, of which users have no part in the first."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return str(info.get("CgroupVersion") or ("2" if unified else "1"))


def selinux() -> bool:
    """This kernel labels files."""
    return Path("/sys/fs/selinux/enforce").exists()


def _apart(owner: int | None, info: dict[str, Any], rootless: bool) -> str:
    """Why no directory of ours can be mounted for a root that is this user as we see it, or ''."""
    if owner is None:
        return "the engine is on another machine, as far as its address tells"
    if any("name=userns" in str(option) for option in info.get("SecurityOptions") or ()):
        return "root in its containers is another user here"
    if owner != os.geteuid() or not (rootless or owner == 0):
        return f"the engine is user {owner}'s, and this is {os.geteuid()}"
    return ""


async def _elsewhere(client: Client) -> str:
    """Why its files are not ours, or ''. Where it cannot be asked, it is believed.

    Nothing of an engine's may be taken for a path here before that: it would make the directories
    on its own side.
    """
    if not client.peer:
        return "the engine is in another container or machine: its process is not seen from here"
    name = f"tfnz-probe-{secrets.token_hex(8)}"
    made = await client.request("POST", "/volumes/create", payload={"Name": name}, timeout=30)
    if made.status >= 300:
        return ""
    try:
        place = str(answers.mapping(made.json()).get("Mountpoint") or "")
        there = not place or await asyncio.to_thread(Path(place).exists)
    except PermissionError:
        there = True
    finally:
        await client.request("DELETE", f"/volumes/{name}", timeout=30)
    return "" if there else "its files are not this machine's: its socket comes from elsewhere"


def _limits(service: int) -> tuple[int, int] | None:
    """The hard limits of the service, if they are all that its containers may have.

    A user's Podman keeps to them by itself. Where systemd listens for the service, ``service`` is
    systemd, which may do everything; if that is wrong, the first start tells.
    """
    if not service or os.geteuid() != 0 or proc.capable(service, _CAP_SYS_RESOURCE) is not False:
        return None
    return proc.hard_limits(service)


def _of_a_user(service: int) -> bool:
    """It runs as somebody who is not root. A socket does not tell: it can be given away."""
    try:
        return Path(f"/proc/{service}").stat().st_uid != 0
    except OSError:
        return False


def socket_directory(said: Mapping[str, Any]) -> Path | None:
    """The directory of the guest's socket, of a container made earlier, if there and private."""
    for mount in said.get("Mounts") or ():
        if mount.get("Destination") == shape.RUN and mount.get("Type") == "bind":
            path = Path(str(mount.get("Source")))
            return path if paths.ours(path) else None
    return None
