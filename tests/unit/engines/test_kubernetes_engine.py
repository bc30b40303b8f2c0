"""The engine on a cluster that misbehaves: what it is told, what it says, what it asks for."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from apiserver.cluster import Cluster
from apiserver.faults import answers, hangs
from apiserver.objects.refusals import Refusal
from apiserver.objects.resources import CONFIGMAPS, PODS, POLICIES
from contract.talk import Talk, talking

from tfnz_notebook import engines
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook._wire.guest import Tag, Type
from tfnz_notebook.engines.base import LABEL_DURABLE, LABEL_SESSION, ContainerSpec, Engine
from tfnz_notebook.engines.kubernetes import isolation
from tfnz_notebook.engines.kubernetes.engine import KubernetesEngine
from tfnz_notebook.engines.kubernetes.pod import manifest
from tfnz_notebook.errors import ContainerGone, EngineGone, ImageMissing, Misuse, TfnzError


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(models=True) as cluster:
        yield cluster


Make = Callable[..., KubernetesEngine]


@pytest.fixture
async def make(cluster: Cluster, short: Path) -> AsyncIterator[Make]:
    """Engines, as agents have them; a guest that is only looked at."""
    guest = short / "guest"
    head = bytearray(64)
    head[:4], head[18:20] = b"\x7fELF", (62).to_bytes(2, "little")
    guest.write_bytes(head)
    made: list[Engine] = []

    def make(**kubeconfig: str) -> KubernetesEngine:
        environ = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig(**kubeconfig))}
        environ["TFNZ_REGISTRIES"] = f"docker.io={cluster.url}"
        engine = engines.create(
            "kubernetes:///", runtime=short, guest=guest, owner="unit", environ=environ
        )
        assert isinstance(engine, KubernetesEngine)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.close()


@pytest.fixture
async def engine(make: Make) -> KubernetesEngine:
    engine = make()
    await engine.open()
    return engine


async def run(engine: Engine, name: str = "one", **options: Any) -> str:
    image = await engine.ensure_image("busybox", "missing", lambda progress: None)
    options.setdefault("image", "busybox")
    spec = ContainerSpec(id=name, sleep=True, **options)
    ref = await engine.create(spec, image)
    await engine.start(ref)
    return ref


async def echoes(engine: Engine, ref: str) -> None:
    async with talking(engine, ref) as talk:
        assert (await talk.run("echo", "here"))[1] == b"here\n"


# --- the server's moods --------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
async def test_a_start_waits_moods_out(cluster: Cluster, engine: Engine, code: int) -> None:
    for on in ("create pods", "create configmaps", "get pods", "patch pods"):
        cluster.api.faults.add(answers(code, retry_after=0), on=on, times=1)
    await echoes(engine, await run(engine))


async def test_who_is_believed_without_a_proof_is_said(engine: KubernetesEngine) -> None:
    assert "trust" not in engine.about()
    engine.api.cluster = dataclasses.replace(engine.api.cluster, insecure=True)
    assert "insecure-skip-tls-verify" in engine.about()["trust"]


async def test_what_a_dead_agent_was_about_to_remove_never_ran(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    image = await engine.ensure_image("busybox", "missing", lambda progress: None)
    made = await engine.create(ContainerSpec(id="one", image="busybox", sleep=True), image)
    ran = await run(engine, "two")

    def goes(it: dict[str, Any]) -> None:
        it["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        ended = {"terminated": {"exitCode": 143, "reason": "Error"}}
        it["status"] = {"phase": "Failed", "containerStatuses": [{"name": "main", "state": ended}]}

    later = make()
    await later.open()
    for ref in (made, ran):
        cluster.store.edit(PODS, "default", ref, goes)
    found = {each.ref: each.state for each in await later.find({})}
    assert found[made].status == "created"
    assert (found[ran].status, found[ran].exit_code) == ("exited", 143)


async def test_what_was_made_is_made_once_though_its_answer_is_lost(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    other = make()
    await other.open()
    image = await engine.ensure_image("busybox", "missing", lambda progress: None)
    spec = ContainerSpec(id="one", image="busybox", sleep=True)
    assert await other.create(spec, image) == await engine.create(spec, image)
    await engine.start("tfnz-one")
    await echoes(engine, "tfnz-one")
    spec = ContainerSpec(id="two", image="busybox", sleep=True, name="tfnz-one")
    with pytest.raises(Misuse, match="the name is taken"):
        await other.create(spec, image)


async def test_a_connect_has_an_end(
    cluster: Cluster, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes calls and answers none is waited for as long as is said."""
    ref = await run(engine)
    await echoes(engine, ref)  # on the stream that its start had left
    monkeypatch.setattr("tfnz_notebook.engines.kubernetes.engine.PATIENCE", 0.3)
    for on in ("get pods/exec", "create pods/exec", "get pods"):
        cluster.api.faults.add(hangs(), on=on)
    async with asyncio.timeout(20):
        with pytest.raises(EngineGone):
            await engine.connect(ref, lambda data: None, lambda cause: None)


async def test_a_watch_that_skips(cluster: Cluster, engine: Engine) -> None:
    """What it does not tell is found by looking: a start does not wait for ever."""
    cluster.api.faults.watching.skip = lambda kind, it: it["kind"] == "Pod"
    async with asyncio.timeout(20):
        await echoes(engine, await run(engine))


async def test_a_watch_that_is_stale_or_says_everything_twice(
    cluster: Cluster, engine: Engine
) -> None:
    watching = cluster.api.faults.watching
    watching.twice = True
    ref = await run(engine)
    watching.fresh.clear()
    await engine.remove(ref)
    assert (await engine.inspect(ref)).status == "gone"
    again = await asyncio.wait_for(run(engine, "two"), 20)
    watching.fresh.set()
    await echoes(engine, again)


async def test_the_watch_is_lost_and_its_past_too(cluster: Cluster, engine: Engine) -> None:
    ref = await run(engine)
    cluster.server.cut()
    cluster.store.compact()
    cluster.api.faults.add(answers(410), on="watch pods", times=1)
    assert (await engine.inspect(ref)).status == "running"  # and its connections are new ones
    await echoes(engine, await run(engine, "two"))
    assert (await engine.inspect(ref)).status == "running"


async def test_the_server_is_away_while_a_process_runs(cluster: Cluster, engine: Engine) -> None:
    ref = await run(engine)
    async with talking(engine, ref) as talk:
        process = talk.spawn("cat", meta="kept")
        process.stdin(b"before ")
        await process.until(lambda: process.out == b"before ")
        channel = process.channel
        await cluster.server.stop()
        await talk.until(lambda: bool(talk.closed))
    talk = Talk()
    connecting = asyncio.create_task(engine.connect(ref, talk.received, talk.ended))
    await asyncio.wait([connecting], timeout=0.2)
    assert not connecting.done(), "an engine that is away is not an engine without the container"
    await cluster.server.start()
    talk.stream = await asyncio.wait_for(connecting, 20)
    await talk.hello()
    try:
        kept = talk.on(channel)
        inventory = next(frame for frame in kept.frames if frame.type is Type.PROC)
        kept.output[Which.OUT] += b"before "[: inventory.integer(Tag.OUT_BASE)]
        for stream in (Which.OUT, Which.ERR):
            kept.acknowledge(stream)
        kept.stdin(b"and after", 7)
        kept.stdin_ends(16)
        assert await kept.end() == 0
        assert kept.out == b"before and after"
    finally:
        talk.stream.close()
        await talk.until(lambda: bool(talk.closed))


# --- what befalls pods ---------------------------------------------------------------------------


async def test_a_node_is_lost_and_found(cluster: Cluster, engine: Engine) -> None:
    ref = await run(engine)
    node = cluster.store.get(PODS, "default", ref)["spec"]["nodeName"]
    cluster.lose(node)
    state = await engine.inspect(ref)
    assert state.status == "running"  # not gone: nobody knows
    cluster.regain(node)
    await echoes(engine, ref)


@pytest.mark.parametrize("how", ["evicted", "deleted"])
async def test_a_pod_goes_without_us(cluster: Cluster, engine: Engine, how: str) -> None:
    ref = await run(engine)
    talk = Talk()
    talk.stream = await engine.connect(ref, talk.received, talk.ended)
    await talk.hello()
    if how == "evicted":
        cluster.evict("default", ref)
    else:
        cluster.api.delete(PODS, "default", ref, {"gracePeriodSeconds": 0})
    await talk.until(lambda: bool(talk.closed))
    state = await engine.inspect(ref)
    assert state.status == ("exited" if how == "evicted" else "gone")
    if how == "evicted":
        assert "low on resource: memory" in state.error
    with pytest.raises(ContainerGone):
        await engine.connect(ref, lambda data: None, lambda cause: None)


async def test_admission_has_its_way(cluster: Cluster, engine: Engine) -> None:
    def refuse(resource: object, it: dict[str, Any]) -> None:
        if it["kind"] == "Pod":
            raise Refusal(403, "Forbidden", 'admission webhook "w" denied the request: no')

    def mutate(resource: object, it: dict[str, Any]) -> None:
        if it["kind"] == "Pod":
            sidecar = {"name": "proxy", "image": "busybox", "imagePullPolicy": "Never"}
            it["spec"]["containers"].append({**sidecar, "resources": {}})
            it["metadata"]["labels"]["injected"] = "yes"

    hooks = cluster.api.admission.hooks
    hooks.append(refuse)
    with pytest.raises(TfnzError, match='admission webhook "w" denied the request: no'):
        await run(engine)
    hooks[:] = [mutate]
    await echoes(engine, await run(engine, "two"))


async def test_an_image_that_nobody_has(cluster: Cluster, engine: Engine) -> None:
    with pytest.raises(ImageMissing, match=r"example\.com/no/such:1"):
        await run(engine, image="example.com/no/such:1")


async def test_a_place_in_the_queue_is_told(cluster: Cluster, engine: Engine) -> None:
    told: list[tuple[str, str]] = []
    engine.waits = lambda ref, why: told.append((ref, why))
    starting = asyncio.create_task(run(engine, cpu=1000.0))
    async with asyncio.timeout(20):
        while not told:
            await asyncio.sleep(0.01)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert "Insufficient cpu" in told[0][1]


async def test_what_an_agent_in_the_cluster_made_goes_with_its_pod(
    cluster: Cluster, engine: KubernetesEngine
) -> None:
    about = {"name": "agent-1", "namespace": "default"}
    containers = [{"name": "main", "image": "busybox", "command": ["/.tfnz/bin/guest", "init"]}]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": about,
        "spec": {"containers": containers},
    }
    agent = await engine.api.call("POST", engine.api.path("pods"), body=body)
    for pod, session, durable in (
        ("agent-1", "a", False),
        ("a-host", "b", False),
        ("agent-1", "c", True),
    ):
        engine.api.cluster = dataclasses.replace(engine.api.cluster, pod=pod)
        labels = {LABEL_SESSION: session} | ({LABEL_DURABLE: ""} if durable else {})
        await run(engine, session, labels=labels)
        (anchor,) = (
            each
            for each in cluster.store.all(CONFIGMAPS, "default")
            if manifest.labels_of(each).get(LABEL_SESSION) == session
        )
        owners = [each["uid"] for each in anchor["metadata"].get("ownerReferences", ())]
        assert owners == ([agent["metadata"]["uid"]] if session == "a" else [])


def ours(cluster: Cluster) -> list[str]:
    return [
        it["metadata"]["name"]
        for resource in (PODS, CONFIGMAPS, POLICIES)
        for it in cluster.store.all(resource, "default")
        if it["metadata"]["name"].startswith("tfnz-")
    ]


async def test_nothing_is_left_of_what_was_given_up(cluster: Cluster, engine: Engine) -> None:
    starting = asyncio.create_task(run(engine))
    await cluster.until(lambda: cluster.store.all(PODS))
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    for found in await engine.find({}):
        await engine.remove(found.ref)
    await cluster.until(lambda: not ours(cluster))


async def test_nothing_is_left_where_pods_cannot_be_kept_apart(
    cluster: Cluster, engine: Engine
) -> None:
    cluster.api.faults.add(answers(409), on="create networkpolicies")
    cluster.api.faults.add(answers(404), on="update networkpolicies")
    with pytest.raises(TfnzError, match="networkpolicies"):
        await run(engine)
    await cluster.until(lambda: not ours(cluster))


async def test_a_first_pod_after_the_last_is_kept_apart(cluster: Cluster, engine: Engine) -> None:
    """Though what kept the last one apart is not collected yet: that may be at any moment."""
    collect = next(each for each in cluster.controllers.turns if each[0].__name__ == "_garbage")
    cluster.controllers.turns.remove(collect)

    async def now() -> None:
        collect[0]()

    cluster.api.faults.add(now, on="update networkpolicies")
    for name in ("one", "two"):
        ref = await run(engine, name)
        if name == "one":
            await engine.remove(ref)
    await now()
    (policy,) = cluster.store.all(POLICIES, "default")
    (anchor,) = (it for it in cluster.store.all(CONFIGMAPS, "default") if "binaryData" in it)
    assert [each["uid"] for each in policy["metadata"]["ownerReferences"]] == [
        anchor["metadata"]["uid"]
    ]
    chosen = policy["spec"]["podSelector"]["matchLabels"].items()
    assert chosen <= cluster.store.get(PODS, "default", ref)["metadata"]["labels"].items()


async def test_who_looks_at_news_is_told_once(cluster: Cluster, engine: Engine) -> None:
    """As agents do: each piece of news costs one call, and then there is quiet."""
    ref = await run(engine)
    looks: list[asyncio.Task[object]] = []
    watching = asyncio.create_task(
        engine.watch(lambda name: looks.append(asyncio.create_task(engine.inspect(name))))
    )
    await asyncio.sleep(0)
    before = len(cluster.calls)
    cluster.store.edit(PODS, "default", ref, lambda it: it["metadata"]["labels"].update(a="b"))
    async with asyncio.timeout(20):
        while not looks:
            await asyncio.sleep(0)
    done = 0
    while done != len(looks):  # a look that is news would be looked at
        done = len(looks)
        await asyncio.gather(*looks)
    assert cluster.counted(before)["get pods"] == 1
    watching.cancel()


async def test_what_an_earlier_agent_allowed_is_taken_back(
    cluster: Cluster, make: Make, engine: Engine
) -> None:
    refs = [await run(engine, name) for name in ("one", "two")]
    await engine.isolate(refs[0], [refs[1]])

    def allowing() -> int:
        return sum(bool(it["spec"].get("ingress")) for it in cluster.store.all(POLICIES))

    assert allowing() == 1
    later = make()
    await later.open()
    await later.find({})
    await asyncio.gather(*(later.isolate(ref) for ref in refs))
    assert allowing() == 0


async def test_who_runs_already_is_told_that_nobody_parts_pods(
    engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless they were allowed to connect before that was tried: then the next two try."""
    monkeypatch.setattr(isolation, "_EFFECT", 0.0)
    told: list[str] = []
    monkeypatch.setattr(engine, "found_lacking", lambda: told.append(engine.about()["isolation"]))
    asked, may_end = asyncio.Event(), asyncio.Event()

    async def reach(*_: object) -> str:
        asked.set()
        await may_end.wait()
        return "refused"

    monkeypatch.setattr(engine, "_reach", reach)
    one, two = [await run(engine, name) for name in ("one", "two")]
    await asyncio.gather(engine.isolate(one), engine.isolate(two))
    await asked.wait()
    await asyncio.gather(engine.isolate(one, [two]), engine.isolate(two, [one]))
    may_end.set()
    await asyncio.gather(*engine._probes)
    assert told == []
    assert engine.about()["isolation"] == "unverified: not tried yet"
    await engine.isolate(await run(engine, "three"))
    await asyncio.gather(*engine._probes)
    assert told[0].startswith("unverified: nobody enforces network policies here")


# --- what it costs -------------------------------------------------------------------------------


async def test_a_thousand_processes_cost_no_call(cluster: Cluster, engine: Engine) -> None:
    ref = await run(engine)
    async with talking(engine, ref) as talk:
        before = len(cluster.calls)
        for _ in range(10):
            processes = [talk.spawn("true") for _ in range(100)]
            for process in processes:
                assert await process.end() == 0
        assert cluster.counted(before) == {}


async def test_a_thousand_pods_are_found_in_three_calls(
    cluster: Cluster, make: Make, engine: Engine
) -> None:
    """As an agent starts: two pages, one watch; and nothing while nothing happens."""
    ref = await run(engine)
    await engine.close()
    model = cluster.store.get(PODS, "default", ref)
    model = {**model, "spec": {**model["spec"], "nodeName": "elsewhere"}}  # where they need no life
    labels = {**model["metadata"]["labels"]}
    del labels[manifest.APART]  # or they are tried whether they are kept apart
    for number in range(1, 1000):
        about = {**model["metadata"], "name": f"tfnz-{number}", "labels": labels}
        cluster.store.create(PODS, {**model, "metadata": about})
    before = len(cluster.calls)
    fresh = make()
    await fresh.open()
    found = await fresh.find({})
    assert len(found) == 1000
    heard: list[str] = []
    watching = asyncio.create_task(fresh.watch(heard.append))
    async with asyncio.timeout(20):
        while not any(call.verb == "watch" for call in cluster.calls[before:]):
            await asyncio.sleep(0)
    watching.cancel()
    assert not heard, "what was found is no news"
    await asyncio.gather(*(fresh.isolate(each.ref) for each in found))
    asked = cluster.counted(before)
    assert asked["list pods"] <= 4, asked
    assert asked["watch pods"] == 1
    assert sum(asked.values()) <= 8, asked
