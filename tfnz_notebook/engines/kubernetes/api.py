"""Calls to an API server: JSON in, JSON out, watches, execs; its moods are waited out here.

What is tried again, within a call's ``timeout``: anything that the server asks for again (429, or
5xx with Retry-After) and anything that never left; of what may be repeated (GET, or what the
caller says is) also what failed on the way, and 5xx a few times. A server that never answered is
not waited for: its address may be wrong.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from tfnz_notebook._base import numbers
from tfnz_notebook._base.endpoints import Endpoint
from tfnz_notebook.engines.base import Closed, Received
from tfnz_notebook.engines.http.client import Advice, Client, Query
from tfnz_notebook.engines.http.dial import proxy, usual_proxy
from tfnz_notebook.engines.http.response import Response
from tfnz_notebook.engines.kubernetes.login.credentials import Access, Cluster
from tfnz_notebook.engines.kubernetes.refusals import ApiError, Gone410, refusal, told
from tfnz_notebook.engines.kubernetes.websocket import ChannelStream, open_exec
from tfnz_notebook.errors import EngineError, EngineGone, LocationError, NoEngine

__all__ = ["Api", "ApiError", "ChannelStream", "Cluster", "Gone410"]

#: Calls and execs at once, each for so many seconds: of a thousand pods', as they start or a server
#: comes back, none would be answered in time. What takes longer holds up nothing else. An exec is
#: a node's work, too: a tenth of a second of a processor, or more.
_CALLS: Final = (32, 2.0)
_EXECS: Final = (16, 5.0)
#: Pauses between two tries, in seconds, where the server names none; and how often a 5xx without
#: a word of when is asked again.
_FIRST_PAUSE: Final = 0.1
_LAST_PAUSE: Final = 2.0
_FAILURES: Final = 4
#: Items in one page of a list.
_PAGE: Final = 500
#: Seconds of one watch, and of silence in it: a server sends a bookmark a minute.
_WATCH: Final = 290
_SILENCE: Final = 90.0
#: Seconds of silence in what is followed: then it is asked again, lest nobody be there.
_QUIET: Final = 300.0
#: Bytes of one object in a watch. etcd takes 1.5 MiB, as protobuf.
_OBJECT: Final = 16 << 20


class Turns:
    """So many at once; who has one for more than ``hold`` seconds does not count any more."""

    def __init__(self, places: int, hold: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._hold = hold

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """One of them; the seconds that it was waited for, which were nobody's but ours."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._places.acquire()
        with ExitStack() as place:
            place.callback(self._places.release)
            late = loop.call_later(self._hold, place.close)
            place.callback(late.cancel)
            yield loop.time() - began


class Api:
    """One API server, as one user, in one namespace."""

    def __init__(self, cluster: Cluster, *, environ: Mapping[str, str] | None = None) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace
        self._client = _client(cluster, environ or {})
        self._calls = Turns(*_CALLS)
        #: Whoever opens an exec and talks to it takes one of these.
        self.execs = Turns(*_EXECS)

    async def open(self) -> dict[str, Any]:
        """What ``GET /version`` says. NoEngine when nobody there is an API server."""
        await self._client.identify()  # a plugin that logs in has patience of its own
        try:
            version = await self.call("GET", "/version", timeout=15.0)
        except ApiError as error:
            raise NoEngine(
                f"Cannot use {self._client.name} at {self.cluster.server}: it refuses to say its "
                f"version ({error.message or error.status}). Log in to the cluster, or correct "
                "the kubeconfig."
            ) from error
        if not isinstance(version.get("gitVersion"), str):
            raise NoEngine(
                f"Cannot use {self._client.name} at {self.cluster.server}: what answers is no "
                "Kubernetes API server. Correct 'server' in the kubeconfig."
            )
        return version

    async def close(self) -> None:
        """Let go of the connections that are kept; streams go on."""
        self._client.close()

    def path(
        self, resource: str, name: str = "", sub: str = "", group: str = "", version: str = "v1"
    ) -> str:
        """Of a resource in the namespace: ``path('pods', 'p1', 'log')``."""
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        parts = [root, "namespaces", self.namespace, resource, name, sub]
        return "/".join(part for part in parts if part)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        kind: str = "application/json",
        timeout: float = 30.0,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """One call. Raises ApiError for a refusal, NoEngine or EngineGone where none came.

        ``kind`` is the body's type (patches have several). ``repeatable``: the server may get it
        twice; by default what GET asks for may.
        """
        answer = await self._persist(
            method, path, query=query, body=body, kind=kind, timeout=timeout, repeatable=repeatable
        )
        return self._object(answer, method, path)

    async def text(self, path: str, *, query: Query | None = None, timeout: float = 30.0) -> bytes:
        """A GET whose answer is no JSON: a pod's log."""
        return (await self._persist("GET", path, query=query, timeout=timeout)).body

    async def follow(self, path: str, query: Query | None = None) -> AsyncGenerator[bytes]:
        """A GET whose answer goes on as long as there is something to tell. As :meth:`watch`."""
        async with self._client.stream("GET", path, query=query, idle=_QUIET) as answer:
            if answer.status != 200:
                whole = await answer.whole()
                raise refusal("GET", path, whole.status, whole.headers, whole.body)
            async for chunk in answer:
                yield chunk

    async def pages(
        self, path: str, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The items of a list, a page at a time. A list that expires meanwhile begins anew.

        So an item may come twice: who collects does it by name.
        """
        token, begun = "", 0
        while True:
            asked = {**(query or {}), "limit": str(_PAGE)}
            if token:
                asked["continue"] = token
            try:
                page = await self.call("GET", path, query=asked)
            except Gone410:
                begun += 1
                if not token or begun > _FAILURES:
                    raise
                token = ""
                continue
            for item in page.get("items") or ():
                if isinstance(item, dict):
                    yield item
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return

    async def watch(
        self, path: str, query: Mapping[str, str] | None = None, version: str = ""
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """What happens from ``version`` on: ('ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK'; object).

        Ends at the server's read timeout, and when the connection breaks: go on at the last
        object's resourceVersion. Raises Gone410 when that is too old (list again), ApiError,
        EngineGone when nobody answers.
        """
        asked = {
            **(query or {}),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH),
        }
        if version:
            asked["resourceVersion"] = version
        async with self._client.stream("GET", path, query=asked, idle=_SILENCE) as answer:
            if answer.status != 200:
                whole = await answer.whole()
                raise refusal("GET", path, whole.status, whole.headers, whole.body)
            async with aclosing(_lines(aiter(answer))) as lines:
                async for line in lines:
                    yield _event(line, path)

    async def exec(
        self,
        pod: str,
        container: str,
        argv: Sequence[str],
        received: Received,
        closed: Closed,
        *,
        timeout: float = 30.0,
    ) -> ChannelStream:
        """Run a command in a pod: its stdin and stdout as a stream.

        The stream listens and does not deliver yet: await ``spoke``, then ``deliver()``, or
        ``forget()`` it. What it says of its end is not to be believed (``websocket``). ApiError
        when the server refuses: 404 and ``structured`` if there is no such pod, 500 while the
        container does not run, plain text when its kubelet is away.
        """
        asked = [("container", container), *(("command", each) for each in argv)]
        asked += [(channel, "true") for channel in ("stdin", "stdout", "stderr")]
        path = self.path("pods", pod, "exec")
        answer = await open_exec(
            self._client, f"{quote(path)}?{urlencode(asked)}", received, closed, timeout
        )
        if isinstance(answer, Response):
            raise refusal("POST", path, answer.status, answer.headers, answer.body)
        return answer

    # -- one call -----------------------------------------------------------------------------

    async def _persist(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        kind: str = "application/json",
        timeout: float,
        repeatable: bool | None = None,
    ) -> Response:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        again = method == "GET" if repeatable is None else repeatable
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json"} | ({"Content-Type": kind} if data else {})
        pause, failures = _FIRST_PAUSE, 0
        while True:
            wanted = None
            try:
                async with self._calls.turn() as waited:
                    deadline += waited
                    answer = await self._client.request(
                        method,
                        path,
                        query=query,
                        body=data,
                        headers=headers,
                        timeout=max(deadline - loop.time(), 0.001),
                        repeatable=again,
                    )
            except LocationError as error:
                lost: Exception = error
                sent = error.details.get("sent")  # None: it is not about the connection
                retry = self._client.proven and sent is not None and (again or not sent)
            else:
                if 200 <= answer.status < 300:
                    return answer
                said = refusal(method, path, answer.status, answer.headers, answer.body)
                lost, wanted = said, said.retry_after
                busy = said.status == 429 or (said.status >= 500 and wanted is not None)
                failed = again and said.status in (500, 502, 503, 504) and failures < _FAILURES
                failures += 1
                retry = busy or failed
            wait = max(wanted or 0.0, pause * random.uniform(0.75, 1.25))  # noqa: S311  # no secret
            if not retry or loop.time() + wait >= deadline:
                raise lost
            await asyncio.sleep(wait)
            pause = min(pause * 2, _LAST_PAUSE)

    def _object(self, answer: Response, method: str, path: str) -> dict[str, Any]:
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise EngineGone(
                f"Cannot understand {self._client.name}: to {method} {path} it answered "
                f"{answer.body[:80]!r}, which is no JSON object. Check 'server' in the kubeconfig."
            )
        return said


def _client(cluster: Cluster, environ: Mapping[str, str]) -> Client:
    """The HTTP client for a cluster. NoEngine for an address that is none, Misuse for a proxy."""
    try:
        url = urlsplit(cluster.server if "://" in cluster.server else f"https://{cluster.server}")
        host, port = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
    except ValueError:  # brackets, ports
        url, host, port = urlsplit(""), "", 0
    if url.scheme not in ("http", "https") or not host:
        raise NoEngine(
            f"Cannot use the context {cluster.name!r}: its server {cluster.server!r} is no "
            "address. Write https://HOST:PORT in the kubeconfig."
        )
    through = (
        proxy(cluster.proxy, f"the context {cluster.name!r}")
        if cluster.proxy
        else usual_proxy(url.scheme, host, port, environ)
    )
    client = Client(
        Endpoint(cluster.server, host=host, port=port),
        f"the cluster of the context {cluster.name!r}",
        host=url.netloc.rpartition("@")[2],
        access=Access(cluster, plain=url.scheme == "http"),
        server_name=cluster.server_name,
        proxy=through,
        keep=_CALLS[0],
        advice=Advice(
            start="Start it, or correct 'server' in the kubeconfig.",
            again="Its containers are found again when it answers.",
            tls="Check the certificates that the kubeconfig names.",
        ),
    )
    client.prefix = url.path.rstrip("/")
    return client


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Whole lines, until the end of a watch, however it comes."""
    held = bytearray()
    try:
        async for chunk in chunks:
            held += chunk
            *whole, rest = held.split(b"\n") if b"\n" in chunk else [held]
            for line in whole:
                if line.strip():
                    yield bytes(line)
            held = bytearray(rest)
            if len(held) > _OBJECT:
                raise EngineError(
                    f"Cannot watch the cluster: an object has more than {numbers.size(_OBJECT)}. "
                    "Check 'server' in the kubeconfig."
                )
    except LocationError as error:
        if not isinstance(error, (EngineGone, NoEngine)):
            raise


def _event(line: bytes, path: str) -> tuple[str, dict[str, Any]]:
    try:
        said = json.loads(line)
        kind, thing = said["type"], said["object"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise EngineError(
            f"Cannot watch the cluster: it said {line[:80]!r}, which is no event. "
            "Check 'server' in the kubeconfig."
        ) from error
    if not isinstance(kind, str) or not isinstance(thing, dict):
        raise EngineError(f"Cannot watch the cluster: an event has no type, in {path}.")
    if kind == "ERROR":
        raise told(f"watch {path}", thing)
    return kind, thing
