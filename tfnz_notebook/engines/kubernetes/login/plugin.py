"""Credentials from a program that the kubeconfig names, as kubectl runs it (``exec``).

It is told what it needs in ``KUBERNETES_EXEC_INFO`` and writes an ExecCredential to stdout: a
token, or a certificate with its key. What it said is good until it says so, or until a 401. It has
no terminal: one that must ask somebody is refused. It runs only when nobody but this user and
root can have written the kubeconfig, for whoever wrote it decides what runs.

Its stdout holds secrets and is quoted nowhere; of its stderr an error quotes the last words.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base.text import last_words
from tfnz_notebook.engines.http.client import Headers
from tfnz_notebook.engines.kubernetes.login.credentials import Credentials, Pair, bearer
from tfnz_notebook.errors import NoEngine

_GROUP: Final = "client.authentication.k8s.io"
VERSIONS: Final = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
#: Seconds that a plugin may take, which may ask a server of its own.
_PATIENCE: Final = 60.0
_MOST: Final = 1 << 20
#: Seconds for which nobody asks again because of a 401: the many requests under way at one share
#: one new answer.
_FRESH: Final = 5.0
#: Seconds before its end from which on what it said is not used any more: a request takes time.
_EARLY: Final = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """What a kubeconfig says of a plugin."""

    context: str
    version: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: What to say where it is not installed.
    hint: str = ""
    #: What it is told of the cluster, where it wants that.
    cluster: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Said:
    headers: Headers
    pair: Pair | None
    ends: float | None  # by the wall clock


class Plugin(Credentials):
    """One plugin, run when what it said last is not good any more; one run at a time."""

    def __init__(self, command: Command, environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ
        self._said: _Said | None = None
        self._when = 0.0  # it said so, by the loop's clock
        self._asking: asyncio.Future[_Said] | None = None

    async def headers(self) -> Headers:
        return (await self._current()).headers

    async def certificate(self) -> Pair | None:
        return (await self._current()).pair

    async def renew(self) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() - self._when > _FRESH:
            self._said = None
        return True

    async def _current(self) -> _Said:
        said = self._said
        if said is not None and (said.ends is None or said.ends - _EARLY > _now()):
            return said
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
            # Its failure is for who waits, and nobody may be left.
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        # A call that is out of patience leaves the run to the next one.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> _Said:
        said = self._said = self._understood(await self._run())
        self._when = asyncio.get_running_loop().time()
        return said

    async def _run(self) -> bytes:
        command = self._command
        told: dict[str, Any] = {"interactive": False}
        if command.cluster is not None:
            told["cluster"] = command.cluster
        info = {"kind": "ExecCredential", "apiVersion": command.version, "spec": told}
        environment = {**self._environ, **command.environment}
        environment["KUBERNETES_EXEC_INFO"] = json.dumps(info)
        try:
            child = await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except FileNotFoundError:
            hint = command.hint[:1000].strip() or "Install it, as the cluster's provider says."
            raise self._failed("it is not installed", hint) from None
        except OSError as error:
            raise self._failed(f"it does not run ({error.strerror})", "Mend it.") from None
        try:
            async with asyncio.timeout(_PATIENCE):
                out, words = await asyncio.gather(_read(child.stdout), _read(child.stderr))
                code = await child.wait()
        except TimeoutError:
            raise self._failed(f"it did not end within {_PATIENCE:g} s", self._try_it()) from None
        finally:
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)
                await child.wait()
        if code != 0:
            said = last_words(words, lines=1, most=300) or "it says nothing"
            raise self._failed(f"it ended with {code} ({said})", self._try_it())
        if len(out) > _MOST:
            raise self._failed("it says too much", self._try_it())
        return out

    def _understood(self, out: bytes) -> _Said:
        """What an ExecCredential says. Nothing of it is quoted."""
        try:
            said = json.loads(out)
            status = said["status"]
            version, token = said["apiVersion"], status.get("token") or ""
            chain, key = status.get("clientCertificateData"), status.get("clientKeyData")
            ends = status.get("expirationTimestamp")
            until = datetime.fromisoformat(ends).timestamp() if ends else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._failed("what it says is no ExecCredential", self._try_it()) from None
        if version != self._command.version:
            raise self._failed(
                f"it answers as {str(version)[:60]!r}, and {self._command.version!r} was asked for",
                "Correct 'apiVersion' in the kubeconfig.",
            )
        if bool(chain) != bool(key) or not (token or chain):
            raise self._failed("it gives neither a token nor a certificate and key", "Mend it.")
        pair = (str(chain).encode(), str(key).encode()) if chain else None
        return _Said(bearer(str(token).encode()) if token else [], pair, until)

    def _failed(self, cause: str, remedy: str) -> NoEngine:
        command = self._command
        return NoEngine(
            f"Cannot log in to the context {command.context!r} by its plugin "
            f"{Path(command.argv[0]).name!r}: {cause}. {remedy}"
        )

    def _try_it(self) -> str:
        return "Try 'kubectl get pods', which runs it too."


def _now() -> float:
    return datetime.now(UTC).timestamp()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """All of it, though never much more than is wanted."""
    assert stream is not None
    data = b""
    while piece := await stream.read(65536):
        if len(data) <= _MOST:
            data += piece
    return data


def command(said: object, context: str, home: Path, cluster: Mapping[str, Any]) -> Command:
    """The plugin that a user's ``exec`` names. Raises NoEngine where that cannot be used."""

    def refused(cause: str, remedy: str = "Correct the kubeconfig.") -> NoEngine:
        return NoEngine(f"Cannot log in to the context {context!r} by a plugin: {cause}. {remedy}")

    if not isinstance(said, dict) or not said.get("command"):
        raise refused("'exec' names no command")
    version, name = str(said.get("apiVersion")), str(said["command"])
    if version not in VERSIONS:
        raise refused(
            f"it speaks {version!r}, and {' and '.join(VERSIONS)} are understood",
            "Get a kubeconfig that is newer.",
        )
    if said.get("interactiveMode") == "Always":
        raise refused(
            f"{Path(name).name!r} must ask somebody, and there is no terminal here",
            "Use a user with a token or a certificate, or another way to log in of that plugin.",
        )
    try:
        arguments = [str(each) for each in said.get("args") or ()]
        given = {str(each["name"]): str(each["value"]) for each in said.get("env") or ()}
    except (TypeError, KeyError):
        raise refused("'args' or 'env' are no lists as they should be") from None
    if "\0" in "".join((name, *arguments, *given, *given.values())):
        raise refused("it holds a zero byte")
    if os.sep in name:
        name = str(home / name)
    told = None
    if said.get("provideClusterInfo"):
        try:
            told = json.loads(json.dumps(_told(cluster, home), default=str))  # YAML has dates
        except (ValueError, TypeError, RecursionError):
            raise refused("what it is to be told of the cluster is no JSON") from None
    hint = str(said.get("installHint") or "")
    return Command(context, version, (name, *arguments), given, hint, told)


def _told(cluster: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """What a plugin is told of its cluster: as the API has it, the authority as data."""
    kept = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    told = {key: cluster[key] for key in kept if cluster.get(key)}
    authority = cluster.get("certificate-authority-data")
    if not authority and (file := cluster.get("certificate-authority")):
        try:
            authority = base64.b64encode((home / str(file)).read_bytes()).decode()
        except OSError:
            authority = None  # whoever connects will say so
    if authority:
        told["certificate-authority-data"] = authority
    for each in cluster.get("extensions") or ():
        if isinstance(each, dict) and each.get("name") == f"{_GROUP}/exec":
            told["config"] = each.get("extension")
    return told
