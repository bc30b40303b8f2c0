"""Which system this is, and what a person types here to have a container engine.

``/etc/os-release`` (freedesktop's) names a Linux; a few files and variables tell the places where
no engine can be had, or not in the usual way: containers, Colab, Binder, hubs, WSL.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tfnz_notebook._base.text import one_line

#: Command and packages by distribution, looked for by ID and then by each of ID_LIKE.
_COMMANDS: Final[dict[str, dict[str, str]]] = {
    "debian": {"podman": "apt-get install podman", "docker": "apt-get install docker.io"},
    "ubuntu": {"podman": "apt-get install podman", "docker": "apt-get install docker.io"},
    "amzn": {"podman": "dnf install docker", "docker": "dnf install docker"},  # it has no Podman
    "fedora": {"podman": "dnf install podman", "docker": "dnf install moby-engine"},
    "rhel": {"podman": "dnf install podman", "docker": "dnf install podman-docker"},
    "arch": {"podman": "pacman -S podman", "docker": "pacman -S docker"},
    "alpine": {"podman": "apk add podman", "docker": "apk add docker"},
    "suse": {"podman": "zypper install podman", "docker": "zypper install docker"},
    "gentoo": {"podman": "emerge app-containers/podman", "docker": "emerge app-containers/docker"},
    "void": {"podman": "xbps-install podman", "docker": "xbps-install docker"},
}
#: What has to be done besides, where the package does not do it.
_THEN: Final = {
    ("alpine", "podman"): "rc-service cgroups start",
    ("alpine", "docker"): "rc-service docker start",
    ("amzn", "podman"): "systemctl start docker",
    ("amzn", "docker"): "systemctl start docker",
    ("arch", "docker"): "systemctl start docker",
    ("suse", "docker"): "systemctl start docker",
}
#: Places of which somebody else decides what runs there.
_HUBS: Final = (
    ("COLAB_RELEASE_TAG", "Google Colab"),
    ("COLAB_GPU", "Google Colab"),
    ("KAGGLE_KERNEL_RUN_TYPE", "Kaggle"),
    ("BINDER_SERVICE_HOST", "Binder"),
    ("BINDER_LAUNCH_HOST", "Binder"),
    ("JUPYTERHUB_API_URL", "a JupyterHub"),
)
_ALONE: Final = "Location('host') works without one: processes here, in no container, not isolated"


@dataclass(frozen=True, slots=True)
class System:
    """``name`` for people; ``family`` of :data:`_COMMANDS`, 'macos', 'nixos', 'windows' or ''."""

    name: str
    family: str = ""
    #: 'Google Colab', 'Binder', 'a JupyterHub', ...; '' where the machine is the user's own.
    hub: str = ""
    container: bool = False
    wsl: bool = False

    def install(self, engine: str = "podman", *, prefix: str | None = None) -> str:
        """What to type to install an engine, or a package of another name.

        ``prefix`` becomes root; None: what this machine has.
        """
        if self.family == "macos":
            return f"brew install {engine}" + (
                " && podman machine init --now" if engine == "podman" else ""
            )
        if self.family == "nixos":
            return f"virtualisation.{engine}.enable = true; in configuration.nix"
        if self.family == "windows":
            return "wsl --install, and this package in the Linux it gives you"
        if self.family not in _COMMANDS:
            return f"{engine}, with your system's package manager"
        usual = _COMMANDS[self.family]
        command = usual.get(engine) or f"{usual['podman'].rpartition(' ')[0]} {engine}"
        steps = [command, _THEN.get((self.family, engine), "")]
        become = _prefix() if prefix is None else prefix
        return " && ".join(become + step for step in steps if step)

    def advice(self, engine: str = "podman") -> str:
        """Sentences on how to have an engine here, and what works without one."""
        if self.hub:
            return (
                f"This is {self.hub}, which lets nobody run one. {_ALONE}; "
                "Location('tcp://host:2020') uses an agent on a machine of yours."
            )
        if self.container:
            return (
                "This is inside a container: start it with its host's engine (docker run -v "
                "/var/run/docker.sock:/var/run/docker.sock; whoever is in it then commands the "
                "host), name one with DOCKER_HOST, or, if it is privileged, install one in it: "
                f"{self.install(engine)}. {_ALONE}."
            )
        also = ", or turn on Docker Desktop's integration with WSL" if self.wsl else ""
        return f"On {self.name}: {self.install(engine)}{also}. {_ALONE}."


def missing(engine: str) -> str:
    """What to say where an engine was asked for by name, and is nowhere."""
    return (
        f"Cannot find {engine}: nothing listens at its usual places. Start it, or install it. "
        f"{look().advice(engine)}"
    )


def _called() -> str:
    import platform  # as much to load as all of _base; who lacks something waits for that

    return platform.system()


def look(
    root: Path = Path("/"),
    environ: Mapping[str, str] = os.environ,
    system: Callable[[], str] = _called,
) -> System:
    """The system we are on. Never raises."""
    hub = next((name for variable, name in _HUBS if environ.get(variable)), "")
    if system() == "Darwin":
        return System("macOS", "macos", hub)
    if system() == "Windows":
        return System("Windows", "windows", hub)
    told = _os_release(root)
    alike = [told.get("ID", ""), *told.get("ID_LIKE", "").split()]
    known = (*_COMMANDS, "nixos")
    family = next((f for each in alike for f in known if each == f or each.startswith(f)), "")
    # openSUSE calls itself opensuse-leap, and alike "suse opensuse"
    if not family and any("suse" in each for each in alike):
        family = "suse"
    kernel = _read(root / "proc/sys/kernel/osrelease").lower()
    inside = any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv"))
    return System(
        name=one_line(told.get("PRETTY_NAME") or told.get("NAME") or "this system", 60),
        family=family,
        hub=hub,
        container=inside or bool(environ.get("KUBERNETES_SERVICE_HOST")),
        wsl="microsoft" in kernel,
    )


def _os_release(root: Path) -> dict[str, str]:
    """As os-release(5) has it: assignments in a shell's words."""
    text = _read(root / "etc/os-release") or _read(root / "usr/lib/os-release")
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith("#"):
            continue
        try:
            found[key] = " ".join(shlex.split(value))
        except ValueError:  # an open quote
            found[key] = value.strip("\"'")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _prefix() -> str:
    """What makes a command root's: nothing where we are root, or cannot say."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return ""
    return next((f"{name} " for name in ("sudo", "doas") if shutil.which(name)), "as root: ")
