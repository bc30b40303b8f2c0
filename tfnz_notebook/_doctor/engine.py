"""Podman and Docker as they answer now; nothing is started that stays."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base import endpoints, paths, system
from tfnz_notebook._base.endpoints import LOOK_CLOSER, Endpoint, parse
from tfnz_notebook._doctor.findings import Finding
from tfnz_notebook.engines.docker import answers, probe
from tfnz_notebook.engines.docker.podman import (
    SOCKET,
    environment,
    hybrid_cgroups,
    network_trouble,
)
from tfnz_notebook.errors import NoEngine, TfnzError

NAMES: Final = ("podman", "docker")
#: Seconds for an engine's answers, and for ``podman info``, which may have to set up its storage.
PATIENCE: Final = 10.0
COMMAND_PATIENCE: Final = 30.0
_LIMITS: Final = {"MemoryLimit": "memory", "CpuCfsQuota": "cpu", "PidsLimit": "pids"}


async def examine(name: str, runtime: Path) -> Finding:
    """One engine; ``facts['usable']`` says whether it could be used now."""
    try:
        async with asyncio.timeout(PATIENCE):
            client, why = await probe.reach(name, candidates(name, runtime))
            if client is not None:
                facts = await probe.probe(client, None)
                answer = await client.request("GET", "/info", timeout=PATIENCE)
                return _answered(name, facts, answers.mapping(answer.json()))
    except TimeoutError:
        said = f"it does not answer within {PATIENCE:g} s"
        return _finding(name, False, said, f"Start {name} again.")
    except TfnzError as error:
        return _finding(name, False, str(error))
    binary = endpoints.podman_binary() if name == "podman" else None
    if binary is not None:
        return await _command(binary)
    said = why or "not here"
    if not why and name == "docker" and shutil.which("dockerd"):
        said = "installed, and its daemon does not run"
    return _finding(name, False, said, facts={"installed": bool(why)})


def candidates(name: str, runtime: Path) -> list[Endpoint]:
    """Where it may listen; for Podman also where an agent of ours had it listen."""
    found, own = endpoints.listening(name), runtime / SOCKET
    if name == "podman" and not os.environ.get("CONTAINER_HOST") and paths.there(own):
        found.append(parse(str(own)))
    return found


def _answered(name: str, facts: probe.Facts, info: dict[str, Any]) -> Finding:
    about = facts.about()
    limits = {word: bool(info.get(key, True)) for key, word in _LIMITS.items()}
    runtime = str(info.get("DefaultRuntime") or about.get("runtime", ""))
    rootless = facts.rootless or answers.rootless(info)
    told: dict[str, Any] = {**about, "runtime": runtime, "rootless": rootless, "limits": limits}
    told["cgroups"] = str(info.get("CgroupVersion") or "")
    if rootless and told["cgroups"] == "1":
        limits = dict.fromkeys(limits, False)  # whatever it says: users have no part in version 1
        told["limits"] = limits
    said = (
        f"{facts.version} at {facts.address}, {'rootless' if rootless else 'root'}, runtime "
        f"{runtime or 'unknown'}, cgroups v{told['cgroups'] or '?'}; guests by {facts.transport}; "
        f"containers kept apart: {about['isolation']}"
    )
    if about["isolation"].startswith("none"):
        remedy = "Spawn with network='none', or use a rootless Podman, which keeps them apart."
        return Finding(name, "note", said, remedy, {**told, "usable": True})
    return _judged(name, said, told, limits)


async def _command(binary: str) -> Finding:
    """Podman without its service, which the agent starts when it is needed."""
    try:
        child = await asyncio.create_subprocess_exec(
            binary,
            *("info", "--format", "json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(os.environ),
        )
    except OSError as error:
        return _finding("podman", False, f"{binary} does not run: {error.strerror}")
    try:
        async with asyncio.timeout(COMMAND_PATIENCE):
            out, err = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        said = f"'podman info' does not end within {COMMAND_PATIENCE:g} s"
        return _finding("podman", False, said, "Run 'podman info' in a terminal.")
    words = err.decode("utf-8", "replace").strip().splitlines()
    try:
        told = json.loads(out)
        host, number = told["host"], str(told["version"]["Version"])
        rootless = bool(host["security"]["rootless"])
    except (ValueError, KeyError, TypeError):
        said = f"'podman info' fails: {words[-1] if words else 'it says nothing'}"
        return _finding("podman", False, said, _mapping_remedy() or "Run it in a terminal.")
    controllers = host.get("cgroupControllers")
    limits = {
        word: controllers is None or word in controllers or not rootless
        for word in _LIMITS.values()
    }
    runtime = str((host.get("ociRuntime") or {}).get("name", ""))
    if runtime == "crun" and hybrid_cgroups():
        runtime = "runc" if shutil.which("runc") else runtime  # as the agent will have it
    facts: dict[str, Any] = {"engine": "podman", "version": number, "runtime": runtime}
    facts |= {"rootless": rootless, "limits": limits, "service": "started when needed"}
    facts["cgroups"] = str(host.get("cgroupVersion", "")).lstrip("v")
    said = (
        f"{number}, {'rootless' if rootless else 'root'}, runtime {runtime or 'unknown'}, cgroups "
        f"v{facts['cgroups'] or '?'}; its API service is started when it is needed"
    )
    if runtime == "crun" and hybrid_cgroups():
        remedy = f"crun refuses this machine's hybrid cgroups: {system.look().install('runc')}"
        return Finding("podman", "note", said, remedy, {**facts, "usable": True})
    if rootless and (remedy := _mapping_remedy()):
        said += ". This user has no subordinate ids: most images cannot be unpacked"
        return Finding("podman", "note", said, remedy, {**facts, "usable": True})
    if rootless and (trouble := network_trouble())[0]:
        said += f". No networks: {trouble[0]}"
        return Finding("podman", "note", said, trouble[1], {**facts, "usable": True})
    return _judged("podman", said, facts, limits)


def _judged(name: str, said: str, facts: dict[str, Any], limits: dict[str, bool]) -> Finding:
    facts = {**facts, "usable": True}
    missing = [word for word, there in limits.items() if not there]
    if missing:
        said += f". No limits of {', '.join(missing)}"
        remedy = (
            "systemd must delegate them to users: Delegate=cpu cpuset io memory pids for "
            "user@.service, and cgroups v2"
            if facts.get("rootless")
            else "The kernel has them switched off: cgroup_enable=memory on its command line."
        )
        return Finding(name, "note", said, remedy, facts)
    return Finding(name, "ok", said, facts=facts)


def _mapping_remedy() -> str:
    """What a user needs for rootless containers and does not have; '' if all is there."""
    if os.geteuid() == 0:
        return ""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    if shutil.which("newuidmap") is None:
        return f"{system.look().install('uidmap')} (newuidmap and newgidmap)"
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            lines = []
        if not any(line.split(":")[0] in (user, str(os.geteuid())) for line in lines):
            return (
                "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "
                f"{user} && podman system migrate"
            )
    return ""


def _finding(
    name: str, usable: bool, said: str, remedy: str = "", facts: dict[str, Any] | None = None
) -> Finding:
    told = {"installed": True, **(facts or {}), "usable": usable}
    return Finding(name, "ok" if usable else "note", said, remedy, told)


def choice(found: list[Finding]) -> Finding:
    """Which one Location() takes; the one bad thing is that there is none."""
    named = os.environ.get("TFNZ_LOCATION")
    usable = [each.topic for each in found if each.facts.get("usable")]
    facts: dict[str, Any] = {"usable": usable, "TFNZ_LOCATION": named}
    if named:
        usual = named
    else:
        try:
            usual = endpoints.usual()
        except NoEngine as error:
            cause, _, remedy = str(error).partition(": ")[2].partition(". ")
            remedy = remedy.removesuffix(LOOK_CLOSER).strip()  # this is the doctor
            return Finding("engine", "bad", f"no container engine: {cause}", remedy, facts)
    facts["usual"] = usual
    if usual in NAMES and usual not in usable:
        other = f"TFNZ_LOCATION={usable[0]} takes the other one. " if usable else ""
        remedy = f"{other}{system.look().advice(usual)}"
        return Finding("engine", "bad", f"Location() is {usual!r}, which fails", remedy, facts)
    return Finding("engine", "ok", f"Location() is {usual!r}", facts=facts)
