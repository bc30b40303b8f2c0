"""Python and what is installed in it: versions, the start-up file, the server's extension."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from tfnz_notebook import __version__
from tfnz_notebook._base import paths, system
from tfnz_notebook._base.numbers import size
from tfnz_notebook._base.versions import older
from tfnz_notebook._doctor.findings import Finding
from tfnz_notebook.engines.launch import binary
from tfnz_notebook.errors import AgentError, NoEngine

STARTUP: Final = "50-tfnz-notebook.py"
#: Below these the package does not work; pip keeps to them, a hand-made environment may not.
_NEEDED: Final = {
    "ipykernel": "6.29",
    "ipython": "8.18",
    "ipywidgets": "8.1",
    "anywidget": "0.9",
    "pyzmq": "26",
    "msgpack": "1.1",
    "h11": "0.14",
}
#: Front-ends, and the oldest that show views.
_FRONT_ENDS: Final = {"jupyterlab": "4", "notebook": "7"}
#: Free bytes for spools below which somebody should know.
_ROOM: Final = 1 << 30


def version(package: str) -> str:
    """Of an installed package; '' if it is not here."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def python() -> Iterator[Finding]:
    """The system, this Python, the guest's program."""
    here = system.look()
    place = here.hub or ("inside a container" if here.container else "WSL" if here.wsl else "")
    said = f"{here.name}, {platform.machine()}{place and f', {place}'}"
    facts: dict[str, Any] = {"system": here.name, "machine": platform.machine(), "place": place}
    yield Finding("system", "ok", said, facts=facts)
    said = f"tfnz_notebook {__version__}, Python {platform.python_version()} ({sys.executable})"
    facts = {"tfnz_notebook": __version__, "python": platform.python_version()}
    facts["executable"] = sys.executable
    yield Finding("package", "ok", said, facts=facts)
    try:
        guest = binary.locate()
    except NoEngine as error:
        yield Finding("guest", "bad", *cut(str(error)))
        return
    said = f"{guest.name}, {size(guest.stat().st_size)}"
    yield Finding("guest", "ok", said, facts={"path": str(guest)})


def cut(message: str) -> tuple[str, str]:
    """A message of ours as cause and remedy: its last sentence is the remedy."""
    cause, stop, remedy = message.rpartition(". ")
    return (f"{cause}{stop}".strip(), remedy) if stop else (message, "")


def kernel() -> Iterator[Finding]:
    """The kernel's packages."""
    found = {name: version(name) for name in _NEEDED}
    bad = [name for name, least in _NEEDED.items() if older(found[name], least)]
    said = ", ".join(f"{name} {number or 'missing'}" for name, number in found.items())
    if bad:
        remedy = f"pip install --upgrade {' '.join(bad)}"
        yield Finding("kernel", "bad", said, remedy, facts=dict(found))
    elif older(found["ipykernel"], "7"):
        yield Finding(
            "kernel",
            "note",
            f"{said}. This kernel hears pages between cells only, in front-ends other than "
            "JupyterLab and Notebook 7: there, views do not react while a cell runs.",
            "pip install --upgrade 'ipykernel>=7'",
            facts=dict(found),
        )
    else:
        yield Finding("kernel", "ok", said, facts=dict(found))


def front_ends() -> Iterator[Finding]:
    """JupyterLab and Notebook, where they are in this environment; the path past the kernel."""
    found = {name: number for name in _FRONT_ENDS if (number := version(name))}
    facts: dict[str, Any] = {**found, "jupyter_server": version("jupyter_server")}
    said = ", ".join(f"{name} {number}" for name, number in found.items())
    old = [name for name, number in found.items() if older(number, _FRONT_ENDS[name])]
    if old:
        remedy = f"pip install --upgrade {' '.join(old)}"
        said += ": too old to show live views. The text of outputs is there"
        yield Finding("front-end", "note", said, remedy, facts=facts)
    elif found and not version("jupyterlab_widgets"):
        said += ", without jupyterlab_widgets: no views"
        yield Finding("front-end", "note", said, "pip install jupyterlab_widgets", facts=facts)
    else:
        said = (
            said or "none in this environment (VS Code, Colab and other environments have theirs)"
        )
        yield Finding("front-end", "ok", said, facts=facts)
    if not facts["jupyter_server"]:
        return
    enabled = direct_path()
    facts = {"enabled": enabled}
    if enabled:
        said = "enabled in this environment's Jupyter server"
        yield Finding("direct path", "ok", said, facts=facts)
    else:
        yield Finding(
            "direct path",
            "note",
            "this environment's Jupyter server does not load our extension: terminals answer "
            "through the kernel alone",
            "jupyter server extension enable tfnz_notebook.direct",
            facts=facts,
        )


def direct_path() -> bool:
    """The configuration of this environment's Jupyter servers enables ``direct/``."""
    from jupyter_core.paths import jupyter_config_path

    enabled = False
    try:
        folders = [Path(each) for each in reversed(jupyter_config_path())]  # the first is strongest
    except RuntimeError:
        raise AgentError(
            f"Cannot find Jupyter's configuration: uid {os.geteuid()} has no home. "
            "Set HOME to a directory of yours."
        ) from None
    for folder in folders:
        own = folder / "jupyter_server_config.d"
        parts = sorted(own.glob("*.json")) if paths.there(own) else []
        for path in (*parts, folder / "jupyter_server_config.json"):
            try:
                told = json.loads(path.read_text())["ServerApp"]["jpserver_extensions"]
                enabled = bool(told["tfnz_notebook.direct"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return enabled


def startup() -> Iterator[Finding]:
    """The file that brings the magics into new kernels."""
    try:
        from IPython.core.application import ENV_CONFIG_DIRS, SYSTEM_CONFIG_DIRS
        from IPython.paths import get_ipython_dir
    except ImportError:
        return  # told above
    own = Path(get_ipython_dir(), "profile_default")
    folders = [Path(each) for each in (*ENV_CONFIG_DIRS, *SYSTEM_CONFIG_DIRS)]
    found = [p for each in (own, *folders) if paths.there(p := each / "startup" / STARTUP)]
    if os.environ.get("TFNZ_AUTOLOAD", "").strip().lower() in ("0", "false", "no", "off"):
        said, remedy = "switched off by TFNZ_AUTOLOAD", "%load_ext tfnz_notebook in each notebook"
        yield Finding("magics", "note", said, remedy, facts={"file": None})
    elif found:
        said = f"in every new kernel, by {found[0]}"
        yield Finding("magics", "ok", said, facts={"file": str(found[0])})
    else:
        # pip install --user, and builds of Python with other ideas, put data where IPython does
        # not look.
        schemes = [sysconfig.get_path("data"), sysconfig.get_path("data", f"{os.name}_user")]
        lies = [
            p for each in schemes if paths.there(p := Path(each, "etc/ipython/startup", STARTUP))
        ]
        copy = f"mkdir -p {own / 'startup'} && cp {lies[0]} {own / 'startup'}/, or " if lies else ""
        yield Finding(
            "magics",
            "note",
            "not loaded by themselves: IPython finds no start-up file of ours",
            f"{copy}%load_ext tfnz_notebook in each notebook",
            facts={"file": None, "elsewhere": [str(each) for each in lies]},
        )


def room(state: Path) -> Iterator[Finding]:
    """Disk for the spools of outputs, descriptors for streams."""
    import resource

    if why := paths.unusable(state):
        remedy = "Free some, or set TFNZ_STATE to a directory of yours."
        yield Finding("limits", "bad", f"outputs cannot be kept at {state}: {why}", remedy)
        return
    there = next(each for each in (state, *state.parents) if each.exists())
    free = shutil.disk_usage(there).free
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"{size(free)} free for outputs at {there}; {soft} open files"
    facts: dict[str, Any] = {"free": free, "path": str(there), "files": [soft, hard]}
    if free < _ROOM:
        remedy = "Free some, or set TFNZ_STATE to a directory with more: outputs are kept there."
        yield Finding("limits", "note", said, remedy, facts=facts)
    elif soft < 512:
        yield Finding("limits", "note", said, "ulimit -n 4096 before Jupyter starts", facts=facts)
    else:
        yield Finding("limits", "ok", said, facts=facts)
