"""What to install, told for each system in its own words."""

import os
import socket
from pathlib import Path

import pytest

from tfnz_notebook._base import endpoints, system
from tfnz_notebook.errors import NoEngine

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nID=debian\n'
UBUNTU = 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\nID_LIKE=debian\n'
MINT = 'PRETTY_NAME="Linux Mint 22"\nID=linuxmint\nID_LIKE="ubuntu debian"\n'
FEDORA = 'NAME="Fedora Linux"\nID=fedora\nPRETTY_NAME="Fedora Linux 42 (Workstation)"\n'
ROCKY = 'PRETTY_NAME="Rocky Linux 9.5"\nID="rocky"\nID_LIKE="rhel centos fedora"\n'
AMAZON = 'PRETTY_NAME="Amazon Linux 2023"\nID="amzn"\nID_LIKE="fedora"\n'
ARCH = 'NAME="Arch Linux"\nPRETTY_NAME="Arch Linux"\nID=arch\n'
MANJARO = 'NAME="Manjaro Linux"\nID=manjaro\nID_LIKE=arch\n'
ALPINE = 'NAME="Alpine Linux"\nID=alpine\nPRETTY_NAME="Alpine Linux v3.22"\n'
LEAP = 'NAME="openSUSE Leap"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\n'
TUMBLEWEED = (
    'PRETTY_NAME="openSUSE Tumbleweed"\nID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n'
)
NIXOS = 'PRETTY_NAME="NixOS 25.05"\nID=nixos\n'
STRANGE = "# none\nID=solaris\nPRETTY_NAME='Who \x1b[31mknows\x07'\nbroken\nA='open\n"


def machine(root: Path, release: str = "", **files: str) -> Path:
    """A root directory with that os-release, and other files by their path."""
    made = {"etc/os-release": release, **{k.replace("__", "/"): v for k, v in files.items()}}
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def look(root: Path, name: str = "Linux", **environ: str) -> system.System:
    return system.look(root, environ, lambda: name)


@pytest.mark.parametrize(
    ("release", "name", "podman", "docker"),
    [
        (DEBIAN, "Debian GNU/Linux 12 (bookworm)", "apt-get install podman", "docker.io"),
        (UBUNTU, "Ubuntu 24.04.1 LTS", "apt-get install podman", "docker.io"),
        (MINT, "Linux Mint 22", "apt-get install podman", "docker.io"),
        (FEDORA, "Fedora Linux 42 (Workstation)", "dnf install podman", "moby-engine"),
        (ROCKY, "Rocky Linux 9.5", "dnf install podman", "podman-docker"),
        (AMAZON, "Amazon Linux 2023", "dnf install docker", "systemctl start docker"),
        (ARCH, "Arch Linux", "pacman -S podman", "systemctl start docker"),
        (MANJARO, "Manjaro Linux", "pacman -S podman", "systemctl start docker"),
        (ALPINE, "Alpine Linux v3.22", "rc-service cgroups start", "rc-service docker start"),
        (LEAP, "openSUSE Leap", "zypper install podman", "zypper install docker"),
        (TUMBLEWEED, "openSUSE Tumbleweed", "zypper install podman", "zypper install docker"),
        (NIXOS, "NixOS 25.05", "virtualisation.podman.enable", "virtualisation.docker.enable"),
    ],
)
def test_each_distribution_in_its_own_words(
    tmp_path: Path, release: str, name: str, podman: str, docker: str
) -> None:
    found = look(machine(tmp_path, release))
    assert found.name == name
    assert podman in found.install("podman", prefix="sudo ")
    assert docker in found.install("docker", prefix="sudo ")
    advice = found.advice()
    assert advice.startswith(f"On {name}: ") and podman in advice
    assert "Location('host') works without one" in advice and "not isolated" in advice


def test_every_step_is_roots(tmp_path: Path) -> None:
    found = look(machine(tmp_path, ALPINE))
    assert found.install(prefix="doas ") == "doas apk add podman && doas rc-service cgroups start"
    assert found.install(prefix="") == "apk add podman && rc-service cgroups start"


def test_other_systems(tmp_path: Path) -> None:
    assert "podman machine init" in look(tmp_path, "Darwin").advice()
    assert "brew install docker" in look(tmp_path, "Darwin").advice("docker")
    assert "wsl --install" in look(tmp_path, "Windows").advice()
    nothing = look(tmp_path / "nowhere")
    assert nothing.name == "this system" and "package manager" in nothing.advice()


def test_a_hostile_or_broken_os_release(tmp_path: Path) -> None:
    found = look(machine(tmp_path, STRANGE))
    assert found.name == "Who \\x1b[31mknows\\x07" and not found.family
    assert found.advice().isprintable()


def test_places_that_are_none_of_the_users_own(tmp_path: Path) -> None:
    root = machine(tmp_path, DEBIAN)
    for variable, name in (
        ("COLAB_RELEASE_TAG", "Google Colab"),
        ("BINDER_SERVICE_HOST", "Binder"),
        ("JUPYTERHUB_API_URL", "a JupyterHub"),
    ):
        advice = look(root, **{variable: "x"}).advice()
        assert name in advice and "apt-get" not in advice
        assert "Location('host')" in advice and "tcp://" in advice


@pytest.mark.parametrize("mark", [".dockerenv", "run__.containerenv"])
def test_inside_a_container(tmp_path: Path, mark: str) -> None:
    advice = look(machine(tmp_path, DEBIAN, **{mark: ""})).advice()
    assert "inside a container" in advice and "DOCKER_HOST" in advice
    assert "if it is privileged, install one in it: " in advice and "install podman" in advice
    assert "Location('host')" in advice


def test_wsl(tmp_path: Path) -> None:
    kernel = "5.15.167.4-microsoft-standard-WSL2\n"
    advice = look(machine(tmp_path, UBUNTU, proc__sys__kernel__osrelease=kernel)).advice()
    assert "apt-get install podman" in advice and "integration with WSL" in advice


def test_what_is_there_and_silent_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setattr(endpoints, "DOCKER_SYSTEM", str(path))
    monkeypatch.setattr(endpoints, "PODMAN_SYSTEM", str(tmp_path / "none"))
    environ = {"PATH": str(tmp_path)}
    assert endpoints.silent(environ) == []
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))  # and nobody listens
    assert endpoints.silent(environ) == [f"Nothing answers at unix://{path}: start docker."]
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: mode == os.F_OK and Path(path).exists())
        (cause,) = endpoints.silent(environ)
        assert "permission denied" in cause
    (named,) = endpoints.silent({**environ, "DOCKER_HOST": "tcp://127.0.0.1:1"})
    assert "which DOCKER_HOST names" in named
    path.unlink()
    (tmp_path / "dockerd").touch(mode=0o755)
    assert "daemon does not run" in endpoints.silent(environ)[0]


def test_no_engine_names_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_SYSTEM", "PODMAN_SYSTEM"):
        monkeypatch.setattr(endpoints, name, str(tmp_path / name))
    for name in ("DOCKER_HOST", "CONTAINER_HOST", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(endpoints, "podman_binary", lambda environ: None)
    here = look(machine(tmp_path, FEDORA))
    monkeypatch.setattr(system, "look", lambda: here)
    with pytest.raises(NoEngine) as caught:
        endpoints.usual()
    said = str(caught.value)
    assert said.startswith("Cannot find a container engine: ")
    for part in ("On Fedora", "dnf install podman", "Location('host')", "tfnz_notebook doctor"):
        assert part in said
