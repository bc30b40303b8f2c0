"""Addresses of engines."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfnz_notebook import engines
from tfnz_notebook._base import endpoints, paths
from tfnz_notebook._base.docker import daemons
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
        ("ssh://me:secret@box", "neither"),
        ("ssh://", "neither"),
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
    monkeypatch.setattr(paths, "users_runtime", lambda environ: tmp_path)
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman" / "podman.sock").touch()
    (tmp_path / "system").touch()
    found = endpoints.podman({})
    assert [e.path for e in found] == [
        str(tmp_path / "podman" / "podman.sock"),
        str(tmp_path / "system"),
    ]
    assert endpoints.podman_binary({"CONTAINER_HOST": "unix:///x", "PATH": "/usr/bin"}) is None
    assert endpoints.podman_binary({"PATH": str(tmp_path)}) is None


# --- which of them a name means ------------------------------------------------------------------


class Listener:
    """Answers pings on a socket, as an engine does; ``silent`` closes instead."""

    def __init__(self, path: Path, *, silent: bool = False) -> None:
        self.answer = b"" if silent else b"HTTP/1.0 200 OK\r\n\r\nOK"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.socket.accept()[0]
                client.recv(4096)
                client.sendall(self.answer)
                client.close()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without any engine, of a user who is not root, and short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="tfnz-"))
    (path / "own").mkdir()
    for name in ("docker", "podman"):
        monkeypatch.setattr(endpoints, f"{name.upper()}_SYSTEM", str(path / f"{name}.sock"))
    monkeypatch.setattr(paths, "users_runtime", lambda environ: path / "own")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    yield path
    shutil.rmtree(path)


def test_the_usual_endpoint_is_called_as_the_engine_is(here: Path) -> None:
    (here / "link").symlink_to(here)
    usual = [{}, {"DOCKER_HOST": f"unix://{here}/docker.sock"}]
    usual.append({"DOCKER_HOST": f"unix://{here}/link/docker.sock"})
    for running in (False, True):
        if running:
            Listener(here / "docker.sock")
        found = [endpoints.resolve("docker", environ) for environ in usual]
        assert {(each.name, each.key, each.former) for each in found} == {
            ("docker", "docker-default", "docker")
        }
    for where in ("host", "fake"):
        target = endpoints.resolve(where, {"DOCKER_HOST": "tcp://box"})
        assert (target.name, target.key, target.former) == (where, where, "")


def test_any_other_has_an_agent_of_its_own(here: Path) -> None:
    def name(address: str, where: str = "docker") -> str:
        return endpoints.resolve(where, {"DOCKER_HOST": address, "CONTAINER_HOST": address}).name

    (here / "link").symlink_to(here / "x.sock")
    assert name(f"unix://{here}/x.sock") == name(f"{here}/x.sock") == name(f"unix://{here}/link")
    assert name("tcp://Box") == name("http://box:2375") == name("tcp://box:2375")
    names = [name("tcp://box"), name("tcp://box:1"), name("tcp://other"), name(f"{here}/x.sock")]
    assert len(set(names)) == 4
    assert name("tcp://box", "podman").removeprefix("podman") == names[0].removeprefix("docker")
    assert re.fullmatch("docker-[0-9a-f]{8}", names[0])
    target = endpoints.resolve("docker", {"DOCKER_HOST": "tcp://box"})
    assert (target.key, target.former) == (target.name, "docker")
    network = target.on_network()
    assert (network.name, network.former) == (f"{target.name}-tcp", "docker-tcp")
    assert endpoints.resolve("docker+exec", {"DOCKER_HOST": "tcp://box"}).name == names[0].replace(
        "docker", "docker_exec"
    )


def test_a_name_is_one_part_of_a_path() -> None:
    name = endpoints.resolve("elsewhere://ctx/name space/..", {}).name
    assert name == "elsewhere___ctx_name_space_.."


def test_a_malformed_variable_is_told(here: Path) -> None:
    with pytest.raises(NoEngine, match="DOCKER_HOST"):
        endpoints.resolve("docker", {"DOCKER_HOST": "what"})


def test_a_users_docker_is_another_than_the_systems(here: Path) -> None:
    rootless = Listener(here / "own" / "docker.sock")
    only = endpoints.resolve("docker", {})
    assert only.endpoint is not None
    assert only.endpoint.path == str(here / "own" / "docker.sock")
    assert only.name != "docker"
    system = Listener(here / "docker.sock", silent=True)
    assert endpoints.resolve("docker", {}) == only, "the system's does not answer"
    system.answer = rootless.answer
    assert endpoints.resolve("docker", {}).name == "docker"


def test_podman_is_this_users_own_whoever_serves_it(here: Path) -> None:
    (here / "podman").touch(mode=0o755)
    command = {"PATH": str(here)}
    assert endpoints.resolve("podman", {}).name == "podman", "there is none"
    own = endpoints.resolve("podman", command)
    assert (own.name, own.endpoint) == ("podman", None)
    assert own.environment({"A": "b", "CONTAINER_HOST": "tcp://changed"}) == {"A": "b"}
    Listener(here / "podman.sock", silent=True)
    assert endpoints.resolve("podman", command).name == "podman", "the system's does not answer"
    assert endpoints.listening("podman", command) == []
    (here / "podman.sock").unlink()
    Listener(here / "podman.sock")
    systems = endpoints.resolve("podman", command)
    assert systems.endpoint is not None
    assert systems.endpoint.path == str(here / "podman.sock")
    assert re.fullmatch("podman-[0-9a-f]{8}", systems.name)
    Listener(here / "own" / "podman" / "podman.sock")
    for environ in (command, {"CONTAINER_HOST": endpoints.own_podman()}):
        assert endpoints.resolve("podman", environ).name == "podman"
        (found,) = endpoints.listening("podman", environ)
        assert found.path == endpoints.own_podman()


def test_the_agent_that_is_started_understands_the_same(here: Path) -> None:
    Listener(here / "own" / "docker.sock")
    Listener(here / "podman.sock")
    for environ in (
        {"A": "b"},
        {"A": "b", "DOCKER_HOST": "tcp://box", "CONTAINER_HOST": "tcp://other"},
    ):
        for where in ("docker", "podman", "host"):
            target = endpoints.resolve(where, environ)
            changed = dict.fromkeys(("DOCKER_HOST", "CONTAINER_HOST"), "tcp://changed")
            handed = target.environment({**environ, **changed})
            assert handed["A"] == "b"
            if where != "podman":
                (here / "docker.sock").touch()  # started meanwhile
            assert endpoints.resolve(where, handed).name == target.name
            (here / "docker.sock").unlink(missing_ok=True)


def test_what_variables_name_is_meant_where_nothing_is(here: Path) -> None:
    def meant(**environ: str) -> list[str]:
        return [target.where for target in endpoints.targets(None, environ)]

    assert meant() == ["podman", "docker"]
    assert meant(DOCKER_HOST="tcp://box") == ["docker"]
    assert meant(CONTAINER_HOST="tcp://box") == ["podman"]
    assert meant(DOCKER_HOST="tcp://box", CONTAINER_HOST="tcp://box") == ["podman", "docker"]
    assert meant(DOCKER_HOST=f"unix://{endpoints.own_podman()}") == ["podman"], "Docker's tools"
    assert [target.where for target in endpoints.targets("host", {"DOCKER_HOST": "x"})] == ["host"]


def test_what_a_variable_names_is_not_replaced_by_another(here: Path) -> None:
    Listener(here / "podman.sock")
    assert endpoints.usual({}) == "podman"
    with pytest.raises(NoEngine, match=r"Nothing answers at unix:///x, which DOCKER_HOST names"):
        endpoints.usual({"DOCKER_HOST": "unix:///x"})


def test_docker_over_ssh_is_another_engine(here: Path) -> None:
    found = endpoints.parse("ssh://me@box:2222/run/podman.sock", {})
    assert (found.host, found.port, found.remote) == ("me@box", 2222, "/run/podman.sock")
    assert (found.local, found.path) == (False, None)
    for where, engine, variable in (
        ("ssh://me@box", "docker", "DOCKER_HOST"),
        ("ssh://me@box/run/user/1/podman/podman.sock", "podman", "CONTAINER_HOST"),
    ):
        target = endpoints.resolve(where, {})
        assert target.where == engine
        assert target.name == endpoints.resolve(engine, {variable: where}).name
        assert target.environment({"A": "b"}) == {"A": "b", variable: where}
    assert endpoints.resolve("ssh://box", {}).name != endpoints.resolve("ssh://me@box", {}).name
    assert endpoints.usual({"DOCKER_HOST": "ssh://box"}) == "docker"


class Config:
    """A directory of the docker command's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environ = {"DOCKER_CONFIG": str(path)}

    def context(self, name: str, host: str, **more: object) -> Path:
        """Make one; where its certificates lie."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        meta = self.path / "contexts" / "meta" / digest
        meta.mkdir(parents=True)
        told = {"Name": name, "Endpoints": {"docker": {"Host": host, **more}}}
        (meta / "meta.json").write_text(json.dumps(told))
        return self.path / "contexts" / "tls" / digest / "docker"

    def use(self, name: str) -> None:
        (self.path / "config.json").write_text(json.dumps({"currentContext": name}))


def test_proxies_of_the_docker_command(here: Path) -> None:
    config = Config(here / "config")
    config.path.mkdir(parents=True)
    told = {
        "default": {"httpProxy": "http://p:1", "noProxy": "a,b", "httpsProxy": "", "ftpProxy": 7},
        "tcp://box:2376": {"allProxy": "socks5://q:2"},
    }
    (config.path / "config.json").write_text(json.dumps({"proxies": told}))
    usual = {"HTTP_PROXY": "http://p:1", "http_proxy": "http://p:1", "NO_PROXY": "a,b"}
    assert daemons.proxies("unix:///x", config.environ) == {**usual, "no_proxy": "a,b"}
    named = {"ALL_PROXY": "socks5://q:2", "all_proxy": "socks5://q:2"}
    assert daemons.proxies("tcp://box:2376", config.environ) == named
    for broken in ("{", "[]", '{"proxies": 3}', '{"proxies": {"default": []}}'):
        (config.path / "config.json").write_text(broken)
        assert daemons.proxies("unix:///x", config.environ) == {}
    assert daemons.proxies("unix:///x", {}) == {}


def test_contexts_of_the_docker_command(here: Path) -> None:
    config = Config(here / "config")
    tls = config.context("far", "tcp://box:2376", SkipTLSVerify=True)
    config.context("near", f"unix://{here}/near.sock")
    environ = config.environ
    assert daemons.names(environ) == ["far", "near"]
    assert endpoints.docker(environ) == [], "none is the current one"
    config.use("default")
    assert endpoints.docker(environ) == []
    config.use("near")
    (near,) = endpoints.docker(environ)
    assert (near.path, near.context) == (f"{here}/near.sock", "near")
    assert [each.where for each in endpoints.targets(None, environ)] == ["docker"]
    (far,) = endpoints.docker({**environ, "DOCKER_CONTEXT": "far"})
    assert (far.host, far.port, far.tls) == ("box", 2376, None)
    tls.mkdir(parents=True)
    (far,) = endpoints.docker({**environ, "DOCKER_CONTEXT": "far"})
    assert far.tls is not None
    assert not far.tls.check_hostname
    (named,) = endpoints.docker({**environ, "DOCKER_HOST": "tcp://other"})
    assert (named.host, named.context) == ("other", ""), "DOCKER_HOST comes first, as theirs"
    with pytest.raises(NoEngine, match="near.sock, which docker's context 'near' names"):
        endpoints.usual(environ)


def test_a_context_is_a_place(here: Path) -> None:
    config = Config(here / "config")
    config.context("far", "ssh://me@box")
    config.context("odd", "")
    config.use("far")
    target = endpoints.resolve("docker://far", {"DOCKER_HOST": "tcp://x", **config.environ})
    assert (target.where, target.name) == ("docker", endpoints.resolve("ssh://me@box", {}).name)
    handed = target.environment({"DOCKER_HOST": "tcp://x", **config.environ})
    assert handed == {**config.environ, "DOCKER_CONTEXT": "far"}
    assert endpoints.resolve("docker", handed).name == target.name
    assert endpoints.resolve("docker://", config.environ).name == target.name
    for name, says in (("none", r"no.* that name \(there are: far, odd\)"), ("odd", "no host")):
        with pytest.raises(NoEngine, match=says):
            endpoints.resolve(f"docker://{name}", config.environ)
    next((here / "config" / "contexts" / "meta").glob("*/meta.json")).write_text("{")
    with pytest.raises(NoEngine, match="docker's context '(far|odd)'"):
        [endpoints.resolve(f"docker://{name}", config.environ) for name in ("far", "odd")]
    (here / "config" / "config.json").write_text("nonsense")
    assert daemons.current(config.environ) == ""


def test_nothing_there_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DOCKER_SYSTEM", "PODMAN_SYSTEM"):
        monkeypatch.setattr(endpoints, name, str(tmp_path / name))
    for name in ("DOCKER_HOST", "CONTAINER_HOST", "XDG_RUNTIME_DIR", "TFNZ_LOCATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(endpoints, "podman_binary", lambda environ: None)
    with pytest.raises(NoEngine, match=r"[Ii]nstall .*Location\('host'\)"):
        engines.create(None, runtime=tmp_path, guest=tmp_path, owner="x")


@pytest.mark.parametrize(
    ("where", "name", "transport"),
    [
        ("docker", "docker", None),
        ("docker+exec", "docker", "exec"),
        ("podman?transport=socket", "podman", "socket"),
        ("docker?transport=exec", "docker", "exec"),
        ("host", "host", None),
        ("fake", "fake", None),
    ],
)
def test_create(where: str, name: str, transport: str | None, tmp_path: Path) -> None:
    engine = engines.create(where, runtime=tmp_path, guest=tmp_path, owner="x")
    assert engine.name == name == endpoints.kind(where)
    if name in ("docker", "podman"):
        assert engine._asked == transport  # type: ignore[attr-defined]


def test_location_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFNZ_LOCATION", "host")
    assert engines.create(None, runtime=tmp_path, guest=tmp_path, owner="x").name == "host"


@pytest.mark.parametrize("where", ["dokcer", "docker+pigeon", "host+exec", "mesos://x"])
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
