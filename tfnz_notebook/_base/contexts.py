"""Which cluster, namespace and user a location's name means: kubeconfigs, read as kubectl does.

``KUBECONFIG`` is a list of files, of which those that are missing are passed over, else there is
``~/.kube/config``; what several say of one name, the first says. Paths in a file are relative to
its directory. Where there is no file, a pod has the account that Kubernetes gave it, as the
context ``in-cluster``.

``kubernetes://CONTEXT/NAMESPACE`` has the context percent-encoded, because such names contain
slashes and colons. Either may be missing: the current context, the context's namespace.

Here is read and looked up; what credentials mean, ``engines/kubernetes/`` knows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from tfnz_notebook._base import numbers, paths
from tfnz_notebook.errors import Misuse, NoEngine

SCHEME: Final = "kubernetes"
#: What the kubelet puts into a pod: token, ca.crt, namespace.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER: Final = "in-cluster"
_MOST: Final = 4 << 20
_DEEPEST: Final = 100
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
#: So many contexts are named in an error.
_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file says of one context, cluster or user."""

    said: Mapping[str, Any]
    file: Path
    #: Nobody but this user and root can have written it: what it wants to run may run.
    ours: bool = True

    @property
    def home(self) -> Path:
        """What its paths are relative to."""
        return self.file.parent


@dataclass(frozen=True, slots=True)
class Context:
    """A context with the cluster and the user it names, in a namespace."""

    name: str
    namespace: str
    cluster: Entry
    user: Entry
    user_name: str
    #: The pod that this process is in, if that is in the namespace, and its account the user.
    pod: str = ""

    @property
    def server(self) -> str:
        return text(self.cluster.said.get("server"))

    @property
    def where(self) -> str:
        """The location's name that means just this, whatever becomes the current context."""
        return f"{SCHEME}://{quote(self.name, safe='')}/{self.namespace}"

    @property
    def identity(self) -> str:
        """The same for every name of one user's one namespace."""
        said = self.user.said
        acting = text(said.get("as")) or text(said.get("as-uid"))
        server = self.server.rstrip("/").lower()
        return f"{server}|{self.namespace}|{self.user_name}|{acting}"


@dataclass(slots=True)
class Config:
    """All files together."""

    files: list[Path]
    current: str = ""
    contexts: dict[str, Entry] = field(default_factory=dict)
    clusters: dict[str, Entry] = field(default_factory=dict)
    users: dict[str, Entry] = field(default_factory=dict)

    @property
    def sources(self) -> str:
        """The files, for people."""
        return ", ".join(map(str, self.files)) or "no kubeconfig"


def text(value: object) -> str:
    """A value as YAML had it; '' for what is none."""
    return "" if value is None or isinstance(value, (dict, list)) else str(value)


def read(environ: Mapping[str, str] = os.environ) -> Config:
    """What the kubeconfigs say together. Raises NoEngine for one that cannot be read."""
    listed = [each for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    if not listed and (home := paths.home(environ)) is not None:
        listed = [str(home / ".kube" / "config")]
    config = Config([Path(each).absolute() for each in dict.fromkeys(listed)])
    for file in config.files:
        said, ours = _load(file)
        config.current = config.current or text(said.get("current-context"))
        for kind in ("context", "cluster", "user"):
            known: dict[str, Entry] = getattr(config, f"{kind}s")
            for name, entry in _named(said.get(f"{kind}s"), kind, file):
                known.setdefault(name, Entry(entry, file, ours))
    return config


def names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The contexts there are, the current one first."""
    config = read(environ)
    known = sorted(config.contexts) or ([IN_CLUSTER] if _in_a_pod(environ) else [])
    return sorted(known, key=lambda name: name != config.current)


def places(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Locations' names: each context, and in each the namespaces that contexts of its cluster name.

    None where a kubeconfig cannot be read: this is for completion, which has nobody to tell.
    """
    try:
        config = read(environ)
    except NoEngine:
        return []
    named: dict[str, dict[str, None]] = {}
    for entry in config.contexts.values():
        own = named.setdefault(text(entry.said.get("cluster")), {"default": None})
        own[text(entry.said.get("namespace")) or "default"] = None
    found = []
    for name, entry in config.contexts.items():
        place = f"{SCHEME}://{quote(name, safe='')}"
        found += [place, *(f"{place}/{own}" for own in named[text(entry.said.get("cluster"))])]
    return found


def find(where: str, environ: Mapping[str, str] = os.environ) -> Context:
    """The context that a location's name means. Raises Misuse for a name that is none, NoEngine."""
    name, namespace = split(where)
    config = read(environ)
    if not config.contexts and name in ("", IN_CLUSTER) and _in_a_pod(environ):
        return _own(namespace, environ)
    name = name or config.current
    if not name:
        raise NoEngine(
            f"Cannot use {where!r}: no context is the current one in {config.sources}. "
            f"{_known(config)}"
        )
    if name not in config.contexts:
        whole = unquote(where.partition("://")[2])
        cause = f"there is none of that name in {config.sources}"
        if whole in config.contexts:
            raise NoEngine(
                f"Cannot use the context {name!r}: {cause}. For {whole!r}, write "
                f"'{SCHEME}://{quote(whole, safe='')}'."
            )
        raise NoEngine(f"Cannot use the context {name!r}: {cause}. {_known(config)}")
    said = config.contexts[name].said
    user = text(said.get("user"))
    own = namespace or text(said.get("namespace")) or "default"
    if not namespace and not _NAMESPACE.fullmatch(own):
        raise _broken(config.contexts[name].file, f"{own!r} is no name of a namespace")
    cluster = _part(config.clusters, "cluster", text(said.get("cluster")), name, config)
    nobody = Entry({}, cluster.file)
    person = _part(config.users, "user", user, name, config) if user else nobody
    return Context(name, own, cluster, person, user)


def split(where: str) -> tuple[str, str]:
    """(context, namespace) of a location's name, '' for what it leaves open. Raises Misuse."""
    scheme, separator, rest = where.partition("://")
    if scheme != SCHEME or (not separator and where != SCHEME):
        raise Misuse(f"Cannot use {where!r} as a location: {_form()}")
    context, _, namespace = rest.partition("/")
    namespace = namespace.removesuffix("/")
    if "/" in namespace or "?" in rest or "#" in rest:
        raise Misuse(
            f"Cannot use {where!r} as a location: a context's name is percent-encoded. "
            f"{_form()}, as in '{SCHEME}://{quote(unquote(rest), safe='')}'."
        )
    if namespace and not _NAMESPACE.fullmatch(namespace):
        raise Misuse(
            f"Cannot use {where!r} as a location: {namespace!r} is no name of a namespace (small "
            f"letters, digits and hyphens, at most 63). {_form()}."
        )
    decoded = unquote(context)
    if not decoded.isprintable():
        raise Misuse(f"Cannot use {where!r} as a location: it cannot be printed. {_form()}.")
    return decoded, namespace


def _form() -> str:
    return f"Write '{SCHEME}://CONTEXT/NAMESPACE'"


def _known(config: Config) -> str:
    found = sorted(config.contexts)
    if not found:
        return "Name one in KUBECONFIG, or make one with 'kubectl config set-context'."
    more = ", …" if len(found) > _NAMED else ""
    return f"Contexts: {', '.join(found[:_NAMED])}{more}."


def _part(known: Mapping[str, Entry], kind: str, name: str, of: str, config: Config) -> Entry:
    if name in known:
        return known[name]
    there = f"names the {kind} {name!r}, which is not there" if name else f"names no {kind}"
    raise NoEngine(f"Cannot use the context {of!r}: it {there}. Correct {config.sources}.")


def _named(said: object, kind: str, file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, entry) of a list of a kubeconfig."""
    if said is None:
        return []
    if not isinstance(said, list):
        raise _broken(file, f"'{kind}s' is no list")
    found = []
    for each in said:
        entry = each.get(kind) if isinstance(each, dict) else None
        if not isinstance(each, dict) or not isinstance(entry or {}, dict):
            raise _broken(file, f"an entry of '{kind}s' has no '{kind}'")
        found.append((text(each.get("name")), entry or {}))
    return found


_NOT_ONE: Final = "it is no mapping of a few lists"


def _load(file: Path) -> tuple[Mapping[str, Any], bool]:
    """What a file says, and whether nobody else can have written it."""
    import yaml

    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            data = opened.read(_MOST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}, True
    except OSError as error:
        raise _broken(file, error.strerror or str(error)) from error
    if len(data) > _MOST:
        raise _broken(file, f"it has more than {numbers.size(_MOST)}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(data, loader):
            begins = isinstance(event, yaml.CollectionStartEvent)
            depth += begins - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:  # the loader would run out of stack, and Python with it
                raise _broken(file, _NOT_ONE)
        said = yaml.load(data, loader)  # noqa: S506  # a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise _broken(file, f"it is no YAML ({error.problem}{line})") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _broken(file, f"it is no YAML of a kubeconfig ({type(error).__name__})") from None
    if not isinstance(said or {}, dict):
        raise _broken(file, _NOT_ONE)
    ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o002
    return said or {}, ours


def _broken(file: Path, why: str) -> NoEngine:
    return NoEngine(f"Cannot use the kubeconfig {str(file)!r}: {why}. Correct it.")


# --- in a pod -------------------------------------------------------------------------------------


def _in_a_pod(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (ACCOUNT / "token").exists()


def _own(namespace: str, environ: Mapping[str, str]) -> Context:
    """The pod's own account."""
    host = environ["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    port = environ.get("KUBERNETES_SERVICE_PORT") or "443"
    try:
        own = (ACCOUNT / "namespace").read_text().strip()
    except OSError:
        own = ""
    cluster = {"server": f"https://{host}:{port}", "certificate-authority": "ca.crt"}
    here = environ.get("POD_NAMESPACE") or own or "default"
    pod = environ.get("POD_NAME") or environ.get("HOSTNAME", "")
    return Context(
        IN_CLUSTER,
        namespace or here,
        Entry(cluster, ACCOUNT / "ca.crt"),
        Entry({"tokenFile": "token"}, ACCOUNT / "token"),
        "the pod's service account",
        pod if namespace in ("", here) else "",
    )
