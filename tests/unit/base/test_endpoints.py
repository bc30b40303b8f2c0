"""Addresses of engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfnz_notebook import engines
from tfnz_notebook._base import endpoints
from tfnz_notebook.engines.launch import binary as guest_binary
from tfnz_notebook.errors import Misuse, NoEngine


@pytest.mark.parametrize("address", ["/run/x.sock", "unix:///run/x.sock"])
def test_unix(address: str) -> None:
    found = endpoints.parse(address, {})
    assert (found.path, found.local, found.address) == ("/run/x.sock", True, "unix:///run/x.sock")


def test_tcp() -> None:
    found = endpoints.parse("tcp://box", {})
    assert (found.host, found.port, found.tls, found.local) == ("box", 2375, None, False)
    assert endpoints.parse("tcp://box:1", {}).port == 1


def test_tls(tmp_path: Path) -> None:
    found = endpoints.parse(
        "tcp://box", {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    )
    assert found.port == 2376
    assert found.tls is not None
    assert found.tls.check_hostname
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(NoEngine, match="certificates"):
        endpoints.parse("tcp://box", {"DOCKER_CERT_PATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ssh://me@box", "ssh -N -L"),
        ("unix://relative", "absolute"),
        ("ftp://box", "neither"),
        ("tcp://", "neither"),
        ("tcp://box:port", "neither"),
        ("tcp://[::1", "neither"),
        ("what", "neither"),
    ],
)
def test_unusable(address: str, why: str) -> None:
    with pytest.raises(NoEngine, match=why):
        endpoints.parse(address, {})


def test_docker_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "DOCKER_SYSTEM", str(tmp_path / "system"))
    assert endpoints.docker({}) == []
    (tmp_path / "docker.sock").touch()
    (tmp_path / "system").touch()
    found = endpoints.docker({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert [e.path for e in found] == [str(tmp_path / "system"), str(tmp_path / "docker.sock")]
    (only,) = endpoints.docker({"DOCKER_HOST": "tcp://box:1", "XDG_RUNTIME_DIR": str(tmp_path)})
    assert only.host == "box"


def test_podman_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "PODMAN_SYSTEM", str(tmp_path / "system"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman" / "podman.sock").touch()
    (tmp_path / "system").touch()
    found = endpoints.podman({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert [e.path for e in found] == [
        str(tmp_path / "podman" / "podman.sock"),
        str(tmp_path / "system"),
    ]
    assert endpoints.podman_binary({"CONTAINER_HOST": "unix:///x", "PATH": "/usr/bin"}) is None
    assert endpoints.podman_binary({"PATH": str(tmp_path)}) is None


def test_nothing_there_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DOCKER_SYSTEM", "PODMAN_SYSTEM"):
        monkeypatch.setattr(endpoints, name, str(tmp_path / name))
    for name in ("DOCKER_HOST", "CONTAINER_HOST", "XDG_RUNTIME_DIR", "TFNZ_LOCATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(endpoints, "podman_binary", lambda: None)
    with pytest.raises(NoEngine, match=r"[Ii]nstall .*Location\('host'\)"):
        engines.create(None, runtime=tmp_path, guest=tmp_path, owner="x")


@pytest.mark.parametrize(
    ("where", "name", "transport"),
    [
        ("docker", "docker", None),
        ("docker+exec", "docker", "exec"),
        ("podman?transport=socket", "podman", "socket"),
        ("host", "host", None),
        ("fake", "fake", None),
    ],
)
def test_create(where: str, name: str, transport: str | None, tmp_path: Path) -> None:
    engine = engines.create(where, runtime=tmp_path, guest=tmp_path, owner="x")
    assert engine.name == name
    if name in ("docker", "podman"):
        assert engine._asked == transport  # type: ignore[attr-defined]


def test_location_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFNZ_LOCATION", "host")
    assert engines.create(None, runtime=tmp_path, guest=tmp_path, owner="x").name == "host"


@pytest.mark.parametrize("where", ["dokcer", "docker+pigeon", "host+exec", "kubernetes://x"])
def test_no_such_engine(where: str, tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="no engine has that name"):
        engines.create(where, runtime=tmp_path, guest=tmp_path, owner="x")


def test_guest_binary(tmp_path: Path) -> None:
    binary = tmp_path / "guest"
    with pytest.raises(NoEngine, match="TFNZ_GUEST_BINARY"):
        guest_binary.locate(environ={"TFNZ_GUEST_BINARY": str(binary)})
    binary.touch(mode=0o644)
    with pytest.raises(NoEngine, match="chmod"):
        guest_binary.locate(environ={"TFNZ_GUEST_BINARY": str(binary)})
    binary.chmod(0o755)
    assert guest_binary.locate(environ={"TFNZ_GUEST_BINARY": str(binary)}) == binary
    with pytest.raises(NoEngine, match="guest-vax"):
        guest_binary.locate("vax", {})
