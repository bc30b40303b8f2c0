"""What an API server does to us, and what becomes of it: each mood of tests/apiserver."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from apiserver.access import Rule
from apiserver.cluster import Cluster
from apiserver.faults import answers, cuts, hangs, waits
from apiserver.objects.refusals import Refusal

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Decoder, Frame, Tag, Type
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook.engines.kubernetes.api import Api, ChannelStream
from tfnz_notebook.engines.kubernetes.refusals import ApiError, Gone410
from tfnz_notebook.errors import EngineGone, LocationError, NoEngine

SENTENCE = r"^Cannot .*\.$"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(models=True) as cluster:
        yield cluster


@asynccontextmanager
async def connected(cluster: Cluster, **options: str) -> AsyncIterator[Api]:
    api = Api(cluster.described(**options))
    try:
        await api.open()
        yield api
    finally:
        await api.close()


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    async with connected(cluster) as api:
        yield api


def configmap(name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


async def made(api: Api, name: str) -> dict[str, Any]:
    return await api.call("POST", api.path("configmaps"), body=configmap(name))


# --- calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_mood_is_waited_out(cluster: Cluster, api: Api, code: int) -> None:
    """As long as it passes: what was asked is done, once."""
    await made(api, "x")
    fault = cluster.api.faults.add(answers(code, retry_after=0), on="get configmaps", times=2)
    assert (await api.call("GET", api.path("configmaps", "x")))["metadata"]["name"] == "x"
    assert fault.met == 2


async def test_what_is_made_is_tried_again_only_where_the_server_says_so(
    cluster: Cluster, api: Api
) -> None:
    for code in (429, 503):
        cluster.api.faults.add(answers(code, retry_after=0), on="create configmaps", times=1)
    await made(api, "asked-again")
    fault = cluster.api.faults.add(answers(500), on="create configmaps", times=1)
    with pytest.raises(ApiError, match="etcdserver: request timed out"):
        await made(api, "not-known")
    assert fault.met == 1


async def test_a_mood_that_stays_is_told(cluster: Cluster, api: Api) -> None:
    cluster.api.faults.add(answers(429, retry_after=1), on="list pods")
    with pytest.raises(ApiError, match=SENTENCE) as caught:
        await api.call("GET", api.path("pods"), timeout=0.5)
    assert caught.value.status == 429
    assert "Too many requests" in str(caught.value)
    assert not caught.value.structured


async def test_half_open_ends_in_time(cluster: Cluster, api: Api) -> None:
    cluster.api.faults.add(hangs(), on="get pods")
    with pytest.raises(LocationError, match=SENTENCE):
        await api.call("GET", api.path("pods", "x"), timeout=0.3)


async def test_slow_is_not_dead(cluster: Cluster, api: Api) -> None:
    gate = asyncio.Event()
    cluster.api.faults.add(waits(gate), on="list pods")
    asking = asyncio.create_task(api.call("GET", api.path("pods")))
    await api.call("GET", api.path("configmaps"))  # others go on
    assert not asking.done()
    gate.set()
    assert (await asking)["items"] == []


async def test_a_connection_that_breaks_is_asked_again(cluster: Cluster, api: Api) -> None:
    fault = cluster.api.faults.add(cuts(), on="get configmaps", times=3)
    await made(api, "x")
    assert (await api.call("GET", api.path("configmaps", "x")))["kind"] == "ConfigMap"
    assert fault.met == 3


async def test_what_may_have_been_done_is_not_done_twice(cluster: Cluster, api: Api) -> None:
    fault = cluster.api.faults.add(cuts(), on="create configmaps")
    with pytest.raises(EngineGone, match=SENTENCE):
        await made(api, "x")
    assert fault.met == 1


async def test_killed_and_started_again(cluster: Cluster, api: Api) -> None:
    await made(api, "x")
    await cluster.server.stop()
    asking = asyncio.create_task(api.call("GET", api.path("configmaps", "x")))
    with pytest.raises(EngineGone, match=SENTENCE):
        await api.call("GET", api.path("configmaps", "x"), timeout=0.2)
    assert not asking.done()
    await cluster.server.start()
    assert (await asking)["metadata"]["name"] == "x"


async def test_nobody_there(cluster: Cluster) -> None:
    await cluster.server.stop()
    with pytest.raises(NoEngine, match=SENTENCE):
        await Api(cluster.described()).open()
    await cluster.server.start()


async def test_a_token_that_is_none_any_more(cluster: Cluster, api: Api) -> None:
    """A 401 in the middle; it is good again, and so are calls."""
    token = cluster.api.access.tokens.pop("admin-token")
    with pytest.raises(ApiError, match=r"Unauthorized\. Log in") as caught:
        await api.call("GET", api.path("pods"))
    assert caught.value.status == 401
    cluster.api.access.tokens["admin-token"] = token
    await api.call("GET", api.path("pods"))


async def test_who_may_not_is_told_what(cluster: Cluster) -> None:
    cluster.api.access.grant("me", Rule(("get", "list"), ("pods",)), token="mine")
    async with connected(cluster, token="mine") as api:
        await api.call("GET", api.path("pods"))
        with pytest.raises(ApiError, match='User "me" cannot create resource "configmaps"'):
            await made(api, "x")
        with pytest.raises(ApiError, match="pods/exec") as caught:
            await api.exec("p", "c", ["true"], lambda data: None, lambda cause: None)
        assert caught.value.status == 403


# --- lists and watches ---------------------------------------------------------------------------


async def test_a_list_that_expires_begins_anew(cluster: Cluster, api: Api) -> None:
    for number in range(7):
        await made(api, f"x{number}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfnz_notebook.engines.kubernetes.api._PAGE", 3)
        names = []
        async for item in api.pages(api.path("configmaps")):
            names.append(item["metadata"]["name"])
            if len(names) == 3:
                await made(api, "y")
                cluster.store.compact()
    assert {f"x{number}" for number in range(7)} <= {*names}
    assert names.count("x0") == 2


async def follow(
    api: Api, version: str, until: Callable[[list[str]], bool]
) -> tuple[list[str], str]:
    """As a reader of watches: what it learnt of names, and the version where it is."""
    seen: list[str] = []
    async for kind, it in api.watch(api.path("configmaps"), version=version):
        version = it["metadata"]["resourceVersion"]
        if kind != "BOOKMARK":
            seen.append(f"{kind} {it['metadata']['name']}")
        if until(seen):
            break
    return seen, version


async def now(api: Api) -> str:
    listed = await api.call("GET", api.path("configmaps"))
    return str(listed["metadata"]["resourceVersion"])


async def test_a_watch_that_breaks_goes_on_where_it_was(cluster: Cluster, api: Api) -> None:
    there = asyncio.Event()

    def two(seen: list[str]) -> bool:
        if len(seen) == 2:
            there.set()
        return False

    following = asyncio.create_task(follow(api, await now(api), two))
    for number in range(2):
        await made(api, f"x{number}")
    await there.wait()
    cluster.server.cut()
    seen, version = await following
    for number in range(2, 4):
        await made(api, f"x{number}")
    more, _ = await follow(api, version, lambda more: len(more) == 2)
    assert seen + more == [f"ADDED x{number}" for number in range(4)]


async def test_a_watch_from_too_long_ago(cluster: Cluster, api: Api) -> None:
    version = await now(api)
    await made(api, "x")
    cluster.store.compact()
    with pytest.raises(Gone410):
        await follow(api, version, lambda seen: bool(seen))


async def test_bookmarks_spare_a_list(cluster: Cluster, api: Api) -> None:
    """Quiet for long, and what others do is compacted: it goes on all the same."""
    cluster.api.faults.watching.bookmarks = 0.01
    version = await now(api)
    await api.call("POST", api.path("secrets"), body={"metadata": {"name": "s"}, "kind": "Secret"})
    async for kind, it in api.watch(api.path("configmaps"), version=version):
        assert kind == "BOOKMARK"
        version = it["metadata"]["resourceVersion"]
        if int(version) >= cluster.store.version:
            break
    cluster.store.compact()
    await made(api, "x")
    seen, _ = await follow(api, version, lambda seen: bool(seen))
    assert seen == ["ADDED x"]


# --- streams -------------------------------------------------------------------------------------


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "imagePullPolicy": "Never"}
    spec = {"containers": [container], "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def running(cluster: Cluster, api: Api, name: str = "p") -> None:
    await api.call("POST", api.path("pods"), body=pod(name))

    def runs() -> bool:
        from apiserver.objects.resources import PODS

        return cluster.store.get(PODS, "default", name)["status"]["phase"] == "Running"

    await cluster.until(runs)


class Reader:
    """One process's output over as many connections as it takes."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.output = bytearray()
        self.streams = 0
        self.over = asyncio.Event()
        self.channel = wire.FIRST_CHANNEL

    async def connect(self, first: Callable[[ChannelStream], None]) -> Exception | None:
        """One stream to its end; why it ended."""
        decoder, ended = Decoder(), asyncio.get_running_loop().create_future()
        self.streams += 1
        holder: list[ChannelStream] = []

        def received(data: bytes) -> None:
            for frame in decoder.feed(data):
                self.frame(holder[0], frame, first)

        stream = await self.api.exec(
            "p", "c", ["/.tfnz/bin/guest", "connect"], received, ended.set_result
        )
        holder.append(stream)
        stream.deliver()
        done = asyncio.create_task(self.over.wait())
        await asyncio.wait({ended, done}, return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        stream.close()
        return ended.result() if ended.done() else None

    def frame(
        self, stream: ChannelStream, frame: Frame, first: Callable[[ChannelStream], None]
    ) -> None:
        if frame.type is Type.HELLO:
            fields = [(Tag.VERSION, wire.VERSION), (Tag.VERSION_MIN, wire.VERSION_MIN)]
            stream.write(wire.fielded(Type.HELLO, 0, [*fields, (Tag.NAME, "unit")]))
        elif frame.type is Type.READY:
            first(stream)
        elif frame.type is Type.DATA and frame.stream == Which.OUT:
            (offset,) = frame.values
            assert offset <= len(self.output), "bytes are missing"
            self.output += frame.data[len(self.output) - offset :]
            stream.write(wire.fixed(Type.ACK, self.channel, len(self.output), stream=Which.OUT))
        elif frame.type is Type.EOF and frame.stream == Which.OUT:
            assert frame.values[0] == len(self.output)
            self.over.set()


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_however_streams_break(cluster: Cluster, api: Api, seed: int) -> None:
    """At any frame, either way; as a break, and as an end that says Success."""
    await running(cluster, api)
    size = 5 << 20
    streams = cluster.api.faults.streams
    if seed % 2:
        streams.at_random(0.04, seed)
    else:
        count = itertools.count()
        streams.succeed = lambda: next(count) % (29 + seed) == 28
    reader = Reader(api)

    def first(stream: ChannelStream) -> None:
        argv = [(Tag.ARG, word) for word in ("head", "-c", str(size), "/dev/zero")]
        stream.write(wire.fielded(Type.SPAWN, reader.channel, [*argv, (Tag.META, "")]))
        stream.write(wire.fixed(Type.ACK, reader.channel, len(reader.output), stream=Which.OUT))

    async with asyncio.timeout(60):
        while not reader.over.is_set():
            try:
                await reader.connect(first)
            except EngineGone:
                pass  # the handshake met it
    assert len(reader.output) == size
    assert min(reader.streams, streams.broken) > 3


async def test_what_an_end_says_is_not_believed(cluster: Cluster, api: Api) -> None:
    """Success and close 1000, and the pod lives: an end without a cause, as any other."""
    await running(cluster, api)
    reader = Reader(api)
    cluster.api.faults.streams.succeed = lambda: reader.streams == 1
    await reader.connect(lambda stream: None)
    pods = await api.call("GET", api.path("pods", "p"))
    assert pods["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    ("upset", "status", "structured", "words"),
    [
        ("restarting", 404, False, "404 page not found"),
        ("down", 500, True, "error dialing backend"),
    ],
)
async def test_a_kubelet_that_is_away(
    cluster: Cluster, api: Api, upset: str, status: int, structured: bool, words: str
) -> None:
    """Its 404 is plain text: no word about the pod."""
    await running(cluster, api)
    for kubelet in cluster.api.kubelets.values():
        setattr(kubelet, upset, True)
    with pytest.raises(ApiError, match=words) as caught:
        await Reader(api).connect(lambda stream: None)
    assert (caught.value.status, caught.value.structured) == (status, structured)
    with pytest.raises(ApiError, match='pods "q" not found') as caught:
        await api.exec("q", "c", ["true"], lambda data: None, lambda cause: None)
    assert (caught.value.status, caught.value.structured) == (404, True)


async def test_a_stream_that_is_half_open_ends(cluster: Cluster, api: Api) -> None:
    await running(cluster, api)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfnz_notebook.engines.kubernetes.websocket._ROUND", 0.05)
        reader = Reader(api)

        def mute(stream: ChannelStream) -> None:
            cluster.api.faults.streams.mute = True

        cause = await asyncio.wait_for(reader.connect(mute), 20)
    assert isinstance(cause, EngineGone)
    assert "does not answer" in str(cause)


# --- all of it, behind TLS -----------------------------------------------------------------------


async def test_behind_certificates(api: Api) -> None:
    async with Cluster(models=True, tls=True) as cluster, connected(cluster) as behind:
        await running(cluster, behind)
        reader = Reader(behind)

        def first(stream: ChannelStream) -> None:
            argv = [(Tag.ARG, word) for word in ("echo", "hello")]
            stream.write(wire.fielded(Type.SPAWN, reader.channel, [*argv, (Tag.META, "")]))

        await asyncio.wait_for(reader.connect(first), 20)
        assert reader.output == b"hello\n"


Work = Callable[[Api], Awaitable[object]]
GIVEN_UP: dict[str, Work] = {
    "a call": lambda api: api.call("GET", api.path("pods")),
    "an exec": lambda api: api.exec("p", "c", ["x"], lambda data: None, lambda cause: None),
    "a watch": lambda api: anext(aiter(api.watch(api.path("pods")))),
}


@pytest.mark.parametrize("what", GIVEN_UP)
async def test_what_is_given_up_leaves_no_connection(cluster: Cluster, api: Api, what: str) -> None:
    before = cluster.server.connections
    cluster.api.faults.add(hangs(), on="* pods")
    cluster.api.faults.add(hangs(), on="* pods/exec")
    asking = asyncio.ensure_future(GIVEN_UP[what](api))
    count = len(cluster.calls)
    while len(cluster.calls) == count:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(10):
        while cluster.server.connections > before:
            await asyncio.sleep(0.001)


async def test_a_refusal_of_admission_is_told_whole(cluster: Cluster, api: Api) -> None:
    def refuse(resource: object, it: dict[str, Any]) -> None:
        raise Refusal(403, "Forbidden", 'admission webhook "w" denied the request: not here')

    cluster.api.admission.hooks.append(refuse)
    with pytest.raises(ApiError, match='admission webhook "w" denied the request: not here'):
        await made(api, "x")
