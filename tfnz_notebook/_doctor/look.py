"""Every check, each with a deadline; one that fails by itself is a finding, too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tfnz_notebook._base import paths
from tfnz_notebook._doctor import agents, cluster, engine, packages
from tfnz_notebook._doctor.findings import Finding
from tfnz_notebook.errors import TfnzError

#: Seconds for all that is asked of others.
DEADLINE = 60.0


def doctor() -> list[Finding]:
    """Look at everything. Takes a second or two, and at most about a minute. Never raises."""
    runtime = paths.runtime()
    return [
        *_safely("package", packages.python),
        *asyncio.run(_others(runtime)),
        *_safely("kernel", packages.kernel),
        *_safely("magics", packages.startup),
        *_safely("front-end", packages.front_ends),
        *_safely("limits", lambda: packages.room(paths.state())),
        *_safely("sockets", lambda: private(runtime)),
    ]


def _safely(topic: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except TfnzError as error:
        return [Finding(topic, "bad", *packages.cut(str(error)))]
    except Exception as error:  # noqa: BLE001 - the doctor tells of what is broken, and goes on
        return [Finding(topic, "bad", f"the check itself failed: {error!r}")]


async def _others(runtime: Path) -> list[Finding]:
    """The engines and the agents, all at once."""
    try:
        there = agents.there()
    except TfnzError:  # no place to look at, which "limits" says
        there = []
    checks = [
        *((name, engine.examine(name, runtime)) for name in engine.NAMES),
        (cluster.TOPIC, cluster.examine()),
        *((f"agent {each.name}", agents.ask(each)) for each in there),
    ]
    tasks = [asyncio.ensure_future(check) for _, check in checks]
    await asyncio.wait(tasks, timeout=DEADLINE)
    found = []
    for (topic, _), task in zip(checks, tasks, strict=True):
        if not task.done():
            task.cancel()
            found.append(Finding(topic, "bad", f"no answer within {DEADLINE:g} s"))
        elif error := task.exception():
            found.append(Finding(topic, "bad", f"the check itself failed: {error!r}"))
        else:
            found.append(task.result())
    engines = found[: len(engine.NAMES)]
    if not there:
        found.append(Finding("agent", "ok", "none runs; the first notebook starts one"))
    # What is not installed is worth a line only where nothing else is there.
    shown = [each for each in found if each.facts.get("installed", True)]
    return [engine.choice(engines), *shown]


def private(runtime: Path) -> Iterator[Finding]:
    """The directory of sockets is this user's alone."""
    facts = {"path": str(runtime)}
    if why := paths.unusable(runtime):
        remedy = "Set TFNZ_RUNTIME to a directory of yours."
        yield Finding("sockets", "bad", f"no socket can be made in {runtime}: {why}", remedy, facts)
        return
    try:
        status = runtime.lstat()
    except FileNotFoundError:
        yield Finding("sockets", "ok", f"{runtime}, made when needed", facts=facts)
        return
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        remedy = f"chmod 700 {runtime}, or set TFNZ_RUNTIME to a directory of yours"
        yield Finding("sockets", "bad", f"{runtime} is open to others", remedy, facts)
        return
    yield Finding("sockets", "ok", str(runtime), facts=facts)
