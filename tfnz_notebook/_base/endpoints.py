"""Which engine a location's name means here and now, where it listens, and its agent's name.

Docker: ``DOCKER_HOST``, the docker command's context (:mod:`.docker.daemons`), the system's socket,
the rootless one of this user. Podman: ``CONTAINER_HOST``, the rootless socket of this user, the
system's, and the ``podman`` command, whose service we start. A set variable is an order: nothing
else is tried then.

Kernels and agents both :func:`resolve` names, so that a kernel finds the agent of its endpoint
without asking an engine. The agent of the usual endpoint is called as the engine is; any other has
a digest of its endpoint behind that: ``docker`` and ``docker-1a2b3c4d``.

A cluster's agent is that of one user in one namespace of it, whichever contexts name those
(:mod:`contexts`): ``kubernetes-1a2b3c4d``, wherever kubeconfigs lie.

``unix://PATH`` (or a bare path) and ``tcp://HOST:PORT``; the latter with TLS when
``DOCKER_TLS_VERIFY`` or ``DOCKER_CERT_PATH`` is set, as Docker's own client has it, but with the
server always verified. ``ssh://USER@HOST:PORT[/SOCKET]`` through the system's ssh. As locations:
``docker://CONTEXT`` and ``ssh://…`` are Docker (or Podman, where the socket's path says so) there.
"""

from __future__ import annotations

import grp
import hashlib
import os
import re
import shutil
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tfnz_notebook._base import contexts, paths, system
from tfnz_notebook._base.docker import daemons
from tfnz_notebook.errors import NoEngine

DOCKER_SYSTEM = "/var/run/docker.sock"
PODMAN_SYSTEM = "/run/podman/podman.sock"
#: Engines that listen somewhere, and what names another place; in the order of preference.
VARIABLES: Final = {"podman": "CONTAINER_HOST", "docker": "DOCKER_HOST"}
#: The end of a message about what is not there.
LOOK_CLOSER: Final = "'python -m tfnz_notebook doctor' looks closer."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address. ``path`` for a Unix socket, else ``host`` and ``port`` (and maybe TLS).

    ``remote``: of ssh, the socket over there, '' for the usual one; ``host`` is then as ssh takes
    it, ``user@host``. ``context``: docker's, that names it. ``forwarded``: ``path`` leads there.
    """

    address: str
    path: str | None = None
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None
    remote: str | None = None
    context: str = ""
    forwarded: bool = False

    @property
    def local(self) -> bool:
        """The engine is (as far as an address can tell) on this machine."""
        return self.path is not None and not self.forwarded

    @property
    def identity(self) -> str:
        """The same for every way to write this address."""
        if self.path is not None:
            return f"unix://{os.path.realpath(self.path)}"  # /var/run is /run
        if self.remote is not None:
            return f"ssh://{self.host}:{self.port}{self.remote}"
        return f"tcp://{self.host.lower()}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """An engine at its endpoint, and what its agent is called."""

    where: str
    """As locations name it: 'docker', 'host', ..."""
    name: str
    """The agent's: of its files in the runtime directory, and for people."""
    key: str
    """Of what the agent owns: in the owner's label, and of spools, secret and lock in the state
    directory. Never :attr:`former`, even at the usual endpoint."""
    former: str = ""
    """The name and key that agents of 0.1 had at any endpoint of this engine; '' where that is
    still the name and key."""
    endpoint: Endpoint | None = None
    """None: this user's own Podman, by its socket or by a service of ours; an engine that is
    nowhere; one that listens nowhere."""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """One in which the name means just this."""
        given = dict(environ)
        if variable := VARIABLES.get(kind(self.where)):
            given.pop(variable, None)
            if self.endpoint is not None and self.endpoint.context:
                given["DOCKER_CONTEXT"] = self.endpoint.context
            elif self.endpoint is not None:
                given[variable] = self.endpoint.address
        return given

    def on_network(self) -> Target:
        """The agent that other machines may reach; it owns things of its own."""
        name, key = f"{self.name}-tcp", f"{self.key}-tcp"
        return replace(self, name=name, key=key, former=self.former and f"{self.former}-tcp")


def kind(where: str) -> str:
    """The engine alone: 'docker' of 'docker+exec' and 'docker?transport=exec'."""
    return re.split(r"[+?:]", where, maxsplit=1)[0]


def resolve(where: str, environ: Mapping[str, str] = os.environ) -> Target:
    """What a location's name means. Raises NoEngine if a variable or a context names no address.

    Asks engines only where there are several to choose from. Blocks briefly then.
    """
    where, environ = meant(where, environ)
    plain = re.sub(r"[^a-z0-9._-]", "_", where.lower())
    engine = kind(where)
    if engine == contexts.SCHEME:
        found = contexts.find(where, environ)
        name = f"{engine}-{_digest(found.identity)}"
        return Target(found.where, name, name)
    if engine not in VARIABLES:
        return Target(where, plain, plain)
    endpoint = _docker(environ) if engine == "docker" else _podman(environ)
    usual = DOCKER_SYSTEM if engine == "docker" else own_podman(environ)
    if endpoint is None or endpoint.identity == parse(usual).identity:
        return Target(where, plain, f"{plain}-default", plain, endpoint)
    name = f"{plain}-{_digest(endpoint.identity)}"
    return Target(where, name, name, plain, endpoint)


def meant(where: str, environ: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """An engine's name, and the environment in which it means what a place's address does."""
    scheme, separator, rest = where.partition("://")
    if not separator or scheme not in ("docker", "ssh"):
        return where, environ
    if scheme == "ssh":
        name = "podman" if "podman" in rest else "docker"
        return name, {**environ, VARIABLES[name]: where}
    kept = {key: value for key, value in environ.items() if key != VARIABLES["docker"]}
    return "docker", {**kept, "DOCKER_CONTEXT": rest.strip("/")} if rest.strip("/") else kept


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def targets(where: str | None, environ: Mapping[str, str] = os.environ) -> list[Target]:
    """All that a location's name may mean, the preferred first; None as in ``Location(None)``."""
    return [resolve(each, environ) for each in ([where] if where else _preferred(environ))]


def _preferred(environ: Mapping[str, str]) -> list[str]:
    """The engines that variables name, if any do: what the user's own tools would use."""
    named = [engine for engine, variable in VARIABLES.items() if environ.get(variable)]
    if not named and daemons.current(environ):
        return ["docker"]
    if named == ["docker"] and docker(environ)[0].identity == parse(own_podman(environ)).identity:
        return ["podman"]  # as those have it who run Docker's tools on their Podman
    return named or list(VARIABLES)


def usual(environ: Mapping[str, str] = os.environ) -> str:
    """The first of Podman and Docker that is there: 'podman', 'docker', or NoEngine."""
    preferred = _preferred(environ)
    for engine in preferred:
        found = podman(environ) if engine == "podman" else docker(environ)
        if any(map(answers, found)) or (engine == "podman" and podman_binary(environ)):
            return engine
    causes = silent(environ)
    if not any(environ.get(variable) for variable in VARIABLES.values()):
        causes.insert(0, "Neither Podman nor Docker answers, and there is no podman command.")
    raise NoEngine(
        f"Cannot find a container engine: {' '.join([*causes, system.look().advice()])} "
        f"{LOOK_CLOSER}"
    )


def listening(engine: str, environ: Mapping[str, str] = os.environ) -> list[Endpoint]:
    """Addresses at which that engine is to be tried, and no other: see :func:`resolve`."""
    endpoint = resolve(engine, environ).endpoint
    if endpoint is not None:
        return [endpoint]
    own = own_podman(environ)
    return [parse(own)] if engine == "podman" and paths.there(own) else []


def parse(address: str, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """The endpoint an address names. Raises NoEngine for one that cannot be used."""
    if address.startswith("/"):
        return Endpoint(f"unix://{address}", path=address)
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port
    except ValueError:  # brackets, ports
        url, host, port = urlsplit(""), None, None
    if url.scheme == "unix":
        path = url.netloc + url.path
        if not path.startswith("/"):
            raise NoEngine(
                f"Cannot use the engine address {address!r}: a socket's path is absolute. "
                "Write unix:///path/to/socket."
            )
        return Endpoint(address, path=path)
    if url.scheme == "ssh" and host and not url.password:
        named = f"{url.username}@{host}" if url.username else host
        return Endpoint(address, host=named, port=port or 0, remote=url.path.removesuffix("/"))
    if url.scheme not in ("tcp", "http", "https") or not host:
        raise NoEngine(
            f"Cannot use the engine address {address!r}: it is neither unix:///PATH nor "
            "tcp://HOST:PORT nor ssh://USER@HOST. Correct DOCKER_HOST or CONTAINER_HOST, or unset "
            "it."
        )
    tls = None
    if environ.get("DOCKER_TLS_VERIFY") or environ.get("DOCKER_CERT_PATH"):
        own = (paths.home(environ) or Path("/")) / ".docker"
        tls = _tls(Path(environ.get("DOCKER_CERT_PATH") or own))
    elif url.scheme == "https":
        tls = ssl.create_default_context()
    return Endpoint(address, host=host, port=port or (2376 if tls else 2375), tls=tls)


def _tls(home: Path, *, verify: bool = True) -> ssl.SSLContext:
    """The context from Docker's certificate directory: ca.pem, cert.pem, key.pem."""
    authority, cert, key = home / "ca.pem", home / "cert.pem", home / "key.pem"
    try:
        context = ssl.create_default_context(
            cafile=str(authority) if paths.there(authority) else None
        )
        if paths.there(cert):
            context.load_cert_chain(str(cert), str(key))
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    except (OSError, ssl.SSLError) as error:
        raise NoEngine(
            f"Cannot use the certificates in {str(home)!r}: {error}. "
            "Correct DOCKER_CERT_PATH, or unset it and DOCKER_TLS_VERIFY."
        ) from error
    return context


def forbidden(path: str, name: str) -> str:
    """What to say of a socket that we may not open."""
    try:
        status = Path(path).stat()
        group = grp.getgrgid(status.st_gid).gr_name if status.st_mode & 0o020 else ""
    except (OSError, KeyError):
        group = ""
    remedy = (
        f"Join the group {group!r} (sudo usermod -aG {group} $USER, then log in again)"
        if group and group != "root"
        else "Run as the user who owns it, or use a rootless engine of your own"
    )
    return f"Cannot open the socket {path!r} of {name}: permission denied. {remedy}."


def docker(environ: Mapping[str, str] = os.environ) -> list[Endpoint]:
    """Addresses at which a Docker daemon may listen."""
    if named := environ.get("DOCKER_HOST"):
        return [parse(named, environ)]
    if context := daemons.current(environ):
        return [_of_context(context, environ)]
    known = [DOCKER_SYSTEM]
    if runtime := paths.users_runtime(environ):
        known.append(f"{runtime}/docker.sock")
    return [parse(path) for path in known if paths.there(path)]


def _of_context(context: str, environ: Mapping[str, str]) -> Endpoint:
    """What a context of the docker command names; its certificates are its own."""
    daemon = daemons.find(context, environ)
    found = parse(daemon.host, {})
    if found.host and found.remote is None and daemon.certificates is not None:
        found = replace(found, tls=_tls(daemon.certificates, verify=daemon.verify))
        if not urlsplit(daemon.host).port:
            found = replace(found, port=2376)
    return replace(found, context=context)


def _docker(environ: Mapping[str, str]) -> Endpoint | None:
    found = docker(environ)
    if len(found) > 1:
        return next(filter(answers, found), found[0])
    return found[0] if found else None


def podman(environ: Mapping[str, str] = os.environ) -> list[Endpoint]:
    """Addresses at which a Podman API service may listen."""
    if named := environ.get("CONTAINER_HOST"):
        return [parse(named, environ)]
    # A user's own comes first: its containers run as the user, and need no permission.
    known = dict.fromkeys((own_podman(environ), PODMAN_SYSTEM))
    return [parse(path) for path in known if paths.there(path)]


def own_podman(environ: Mapping[str, str] = os.environ) -> str:
    """Where a service for this user's own containers listens, if the system runs one."""
    if os.geteuid() == 0:
        return PODMAN_SYSTEM
    runtime = paths.users_runtime(environ) or Path(f"/run/user/{os.geteuid()}")
    return f"{runtime}/podman/podman.sock"


def _podman(environ: Mapping[str, str]) -> Endpoint | None:
    """None is this user's own, whether its socket is there or we start a service for it."""
    found = podman(environ)
    if environ.get(VARIABLES["podman"]):
        return found[0]
    others = [each for each in found if each.path != own_podman(environ)]
    if not others:
        return None
    answering = next(filter(answers, found), None)
    if answering is None and podman_binary(environ):
        return None
    chosen = answering or found[0]
    return chosen if chosen in others else None


def podman_binary(environ: Mapping[str, str] = os.environ) -> str | None:
    """The ``podman`` command, whose API service we can start ourselves; None if there is none."""
    if environ.get("CONTAINER_HOST"):
        return None
    return shutil.which("podman", path=environ.get("PATH"))


def answers(endpoint: Endpoint, patience: float = 2.0) -> bool:
    """Something there accepts connections, and on a Unix socket answers a ping. Blocks briefly."""
    if endpoint.remote is not None:
        return True  # ssh finds out, and may have to ask elsewhere
    try:
        if endpoint.path is None:
            socket.create_connection((endpoint.host, endpoint.port), patience).close()
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(patience)
            sock.connect(endpoint.path)
            sock.sendall(b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200" in sock.recv(64)
    except OSError:
        return False


def silent(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Why engines that seem to be there do not answer, a sentence each: refused, not running."""
    causes = []
    for name in _preferred(environ):
        variable, found = VARIABLES[name], podman(environ) if name == "podman" else docker(environ)
        for endpoint in found:
            path = endpoint.path
            if path is not None and paths.there(path) and not os.access(path, os.W_OK):
                causes.append(forbidden(path, name))
            elif endpoint.context:
                causes.append(
                    f"Nothing answers at {endpoint.address}, which docker's context "
                    f"{endpoint.context!r} names: start it there, or choose another context."
                )
            elif environ.get(variable):
                causes.append(
                    f"Nothing answers at {endpoint.address}, which {variable} names: start it "
                    f"there, or correct {variable}."
                )
            else:
                causes.append(f"Nothing answers at {endpoint.address}: start {name}.")
    if not docker(environ) and shutil.which("dockerd", path=environ.get("PATH")):
        causes.append("Docker is installed, and its daemon does not run: start it.")
    return causes
