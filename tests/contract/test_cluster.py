"""What is a cluster's alone: nodes, what others see of a pod, what a namespace refuses."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from contract import cluster
from contract.conftest import CLUSTER, Place
from contract.talk import Talk, dial, talking

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook.engines.base import Claim, Mount, Scheduling
from tfnz_notebook.engines.kubernetes.engine import KubernetesEngine
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    ImageConfigUnknown,
    ImageMissing,
    Misuse,
    TfnzError,
    VolumeError,
)

pytestmark = pytest.mark.only(CLUSTER)


def engine_of(place: Place) -> KubernetesEngine:
    assert isinstance(place.engine, KubernetesEngine)
    return place.engine


async def pod(place: Place, ref: str) -> dict[str, Any]:
    api = engine_of(place).api
    return await api.call("GET", api.path("pods", ref))


async def until(done: Any, patience: float = 60.0) -> Any:
    async with asyncio.timeout(patience):
        while not (found := await done()):
            await asyncio.sleep(0.1)
    return found


# --- what others see -----------------------------------------------------------------------------


async def test_others_see_nothing_of_what_it_is_for(place: Place) -> None:
    said = "what-is-nobody-s-business"
    ref = await place.run(
        env={"PASSWORD": said},
        command=("sh", "-c", f"echo {said} | wc -c; sleep 1000"),
        files={"/etc/key": said.encode()},
    )
    assert said not in json.dumps(await pod(place, ref))
    assert "PASSWORD" not in json.dumps(await pod(place, ref))
    async with talking(place.engine, ref) as talk:
        assert (await talk.run("sh", "-c", "echo $PASSWORD; cat /etc/key"))[1].count(b"nobody") == 2
        assert not (await talk.run("ls", "/var/run/secrets/kubernetes.io"))[1]


async def test_what_a_session_has_goes_with_its_last_pod(place: Place) -> None:
    refs = [await place.run() for _ in range(2)]
    await place.engine.remove(refs[0])
    assert any("configmaps" in each for each in await cluster.left(engine_of(place)))
    await place.engine.remove(refs[1])
    await cluster.nothing_is_left(place.engine)


async def test_what_an_agent_that_died_left_is_swept(place: Place) -> None:
    kept = await place.run()
    dead = await place.second(owner=f"{place.owner}-x")
    assert isinstance(dead, KubernetesEngine)
    await dead._anchors.hold("lost", "never-made")
    fresh = await place.second(owner=f"{place.owner}-x")
    assert await fresh.find({}) == []
    await fresh.sweep(set())
    await cluster.nothing_is_left(fresh)
    again = await place.second()
    assert [each.ref for each in await again.find({})] == [kept]
    await again.sweep({f"{place.owner}-1"})
    async with talking(again, kept) as talk:
        assert (await talk.run("echo", "still here"))[1] == b"still here\n"
    await again.remove(kept)


async def test_deleted_by_others_it_is_gone(place: Place) -> None:
    told: list[str] = []
    watching = asyncio.create_task(place.engine.watch(told.append))
    ref = await place.run()
    talk = await dial(place.engine, ref)
    await talk.hello()
    api = engine_of(place).api
    await api.call("DELETE", api.path("pods", ref), body={"gracePeriodSeconds": 1})
    await talk.until(lambda: bool(talk.closed))

    async def gone() -> bool:
        return (await place.engine.inspect(ref)).status == "gone"

    await until(gone)
    assert ref in told
    watching.cancel()
    with pytest.raises(ContainerGone):
        await dial(place.engine, ref)
    await place.engine.remove(ref)  # as an agent does who finds it gone


async def test_a_later_agent_starts_it_again(place: Place) -> None:
    ref = await place.run(env={"A": "kept"}, files={"/etc/a": b"too\n"})
    fresh = await place.second()
    await fresh.find({})
    await fresh.stop(ref, 1)
    await fresh.start(ref)
    async with talking(fresh, ref) as talk:
        assert (await talk.run("sh", "-c", "echo $A; cat /etc/a"))[1] == b"kept\ntoo\n"


async def test_one_exec_at_a_time(place: Place, box: str) -> None:
    first = await dial(place.engine, box)
    await first.hello()
    async with talking(place.engine, box) as second:
        await first.until(lambda: bool(first.closed))
        code, out, _ = await second.run("sh", "-c", "cat /proc/*/comm | grep -c tfnz-guest")
        assert (code, int(out)) == (0, 2), "PID 1, and the one bridge"


# --- images --------------------------------------------------------------------------------------


async def test_the_node_says_which_image_is_missing(place: Place) -> None:
    for name, pull, words in (
        ("registry.test/none:1", "missing", "cannot pull it"),
        ("tfnz-nowhere:1", "never", "pulling is off"),
    ):
        image = await place.engine.ensure_image(name, pull, lambda progress: None)  # type: ignore[arg-type]
        ref = await place.engine.create(place.spec(name), image)
        with pytest.raises(ImageMissing, match=words):
            async with asyncio.timeout(60):
                await place.engine.start(ref)


async def test_the_registry_says_what_it_starts(place: Place) -> None:
    ref = await place.run("nginx", sleep=False)
    async with talking(place.engine, ref) as talk:
        await until(lambda: answers(talk))


async def answers(talk: Talk) -> bool:
    return (await talk.run("sh", "-c", "cat /proc/[0-9]*/comm"))[1].count(b"nginx") > 0


async def test_what_nobody_says_is_asked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    images = engine_of(place)._images
    images._known.clear()
    monkeypatch.setattr(images, "_environ", {"TFNZ_REGISTRIES": "docker.io=http://127.0.0.1:1"})
    ref = await place.create(command=("echo", "x"))
    with pytest.raises(ImageConfigUnknown, match="entrypoint="):
        await place.engine.start(ref)
    ref = await place.run(entrypoint=("echo", "mine"), sleep=False)

    async def said() -> bool:
        return await place.engine.logs(ref) == b"mine\n"

    await until(said)
    ref = await place.run()  # one that sleeps may stay unknown
    async with talking(place.engine, ref) as talk:
        assert (await talk.run("echo", "well"))[1] == b"well\n"


@pytest.mark.only(("kubernetes",))  # pods in memory have no network but their own
async def test_the_pod_asks_a_registry_that_only_it_can_reach(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = os.environ.get("TFNZ_TEST_REGISTRY_INSIDE", "http://10.99.0.1:5000")
    images = engine_of(place)._images
    monkeypatch.setattr(images, "_environ", {"TFNZ_REGISTRIES": f"docker.io={inside}"})
    monkeypatch.setattr(images, "prepare", lambda *_: None)
    images._silent[inside] = float("inf")
    ref = await place.run(command=("sh", "-c", "echo from inside; exit 3"))
    async with talking(place.engine, ref) as talk:
        main = talk.on(wire.MAIN)
        for stream in (Which.OUT, Which.ERR):
            main.acknowledge(stream)
        assert (await main.end(), main.out) == (3, b"from inside\n")


# --- nodes ---------------------------------------------------------------------------------------


async def test_it_is_placed_where_it_is_wanted(place: Place) -> None:
    nodes = await node_names(place)
    refs = [await place.run(node=name) for name in nodes]
    assert [(await pod(place, ref))["spec"]["nodeName"] for ref in refs] == nodes
    assert [place.engine.where(ref) for ref in refs] == nodes


async def test_it_is_scheduled_as_it_is_asked_for(place: Place) -> None:
    nodes = await node_names(place)
    selector = {"kubernetes.io/hostname": nodes[-1]}
    ref = await place.run(scheduling=Scheduling(node_selector=selector))
    assert (await pod(place, ref))["spec"]["nodeName"] == nodes[-1]
    taint = {"key": "tfnz-test", "value": place.owner, "effect": "NoSchedule"}
    async with cluster.administrator(place) as engine:

        async def taints(*wanted: dict[str, str]) -> None:
            path, kind = f"/api/v1/nodes/{nodes[-1]}", "application/merge-patch+json"
            body = {"spec": {"taints": list(wanted)}}
            await engine.api.call("PATCH", path, body=body, kind=kind)

        await taints(taint)
        try:
            allowed = Scheduling(node_selector=selector, tolerations=(taint,))
            ref = await place.run(scheduling=allowed)
            assert (await pod(place, ref))["spec"]["nodeName"] == nodes[-1]
            await waits(place, "untolerated taint", scheduling=Scheduling(node_selector=selector))
        finally:
            await taints()
    gpu = "nvidia.com/gpu"
    await waits(place, f"Insufficient {gpu}", scheduling=Scheduling(gpus={gpu: 1}))
    one = {"count": 1, "ids": [], "capabilities": ["gpu"], "driver": ""}
    await waits(place, f"Insufficient {gpu}", flags={"gpus": one})
    ref = await place.create(scheduling=Scheduling(pull_secrets=("ours",)))
    assert (await pod(place, ref))["spec"]["imagePullSecrets"] == [{"name": "ours"}]
    with pytest.raises(TfnzError, match='"no-such-class" not found'):
        await place.create(scheduling=Scheduling(runtime_class="no-such-class"))


async def waits(place: Place, words: str, **options: object) -> None:
    """A start of such a container waits, and says that of it."""
    told: list[tuple[str, str]] = []
    place.engine.waits = lambda ref, said: told.append((ref, said))
    starting = asyncio.create_task(place.engine.start(await place.create(**options)))
    await until(lambda: _one(told, words))
    starting.cancel()


async def test_what_it_waits_for_is_said(place: Place) -> None:
    told: list[tuple[str, str]] = []
    place.engine.waits = lambda ref, words: told.append((ref, words))
    ref = await place.create(node="no-such-node")
    starting = asyncio.create_task(place.engine.start(ref))

    async def said() -> bool:
        return bool(told)

    await until(said)
    assert told[0][0] == ref
    assert "Unschedulable" in told[0][1]
    starting.cancel()
    await waits(place, "Insufficient memory", memory=1 << 50)


async def _one(told: list[tuple[str, str]], words: str) -> bool:
    return any(words in each for _, each in told)


# --- wishes --------------------------------------------------------------------------------------


async def test_what_a_pod_cannot_be_is_refused(place: Place, subtests: pytest.Subtests) -> None:
    wishes: dict[str, object] = {
        "pids": 100,
        "network": "mine",
        "hostname": "No_Host",
        "name": "Not A Name",
    }
    for name, value in wishes.items():
        with subtests.test(name), pytest.raises(Misuse, match="Cannot"):
            await place.create(**{name: value})
    with pytest.raises(TfnzError, match="Cannot pause"):
        await place.engine.pause(await place.create())


@asynccontextmanager
async def namespace(
    place: Place, name: str, labels: dict[str, str]
) -> AsyncIterator[KubernetesEngine]:
    """Another namespace, and an engine in it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    async with cluster.administrator(place, name) as engine:
        await engine.api.call("POST", "/api/v1/namespaces", body=body)
        try:
            yield engine
        finally:
            for found in await engine.find({}):
                await engine.remove(found.ref)
            await engine.api.call("DELETE", f"/api/v1/namespaces/{name}")


async def node_names(place: Place) -> list[str]:
    """Which there are, whoever may know."""
    async with cluster.administrator(place) as engine:
        return [node.name for node in await engine.nodes()]


async def test_a_restricted_namespace(place: Place) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    async with namespace(place, f"{place.owner}-restricted", labels) as engine:
        for user, wanted in ((None, b"1000\n"), ("65534:65534", b"65534\n")):
            image = await place.image()
            ref = await engine.create(place.spec(user=user, files={"/tmp/a": b"x"}), image)
            await engine.start(ref)
            async with talking(engine, ref) as talk:
                assert (await talk.run("id", "-u"))[1] == wanted
                assert (await talk.run("cat", "/tmp/a"))[1] == b"x"
        assert engine.about()["security"].startswith("restricted")
        with pytest.raises(TfnzError, match="PodSecurity"):
            await engine.create(place.spec(capabilities=("NET_ADMIN",)), image)
        with pytest.raises(VolumeError, match="policy refuses"):
            await engine.create(place.spec(mounts=(Mount("/tmp", "/host"),)), image)
        ref = await engine.create(place.spec(files={"/etc/a": b"x"}), image)
        with pytest.raises(ContainerFailed, match="before boot"):
            await engine.start(ref)


@pytest.mark.only(("kubernetes",))  # in memory nobody enforces policies
async def test_what_has_no_network_reaches_nobody_and_is_not_reached(place: Place) -> None:
    refs = [await place.run("nginx", sleep=False, network=each) for each in ("none", "bridge")]
    shut, open_ = [(await place.engine.inspect(ref)).ip for ref in refs]
    async with talking(place.engine, refs[0]) as one, talking(place.engine, refs[1]) as two:
        assert (await one.page(80)).startswith(b"HTTP/1.1 200"), "a tunnel needs no network"
        dial = ("timeout", "3", "bash", "-c", "echo >/dev/tcp/$0/80")

        async def closed() -> bool:
            return (await one.run(*dial, open_))[0] == (await two.run(*dial, shut))[0] == 124

        await until(closed)
        assert (await two.run(*dial, open_))[0] == 0


async def test_a_quota_is_said_with_its_numbers(place: Place) -> None:
    async with namespace(place, f"{place.owner}-quota", {}) as engine:
        api = engine.api
        body = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "one"},
            "spec": {"hard": {"pods": "1"}},
        }
        await api.call("POST", api.path("resourcequotas"), body=body)

        async def counted() -> bool:
            said = await api.call("GET", api.path("resourcequotas", "one"))
            return bool((said.get("status") or {}).get("hard"))

        await until(counted)
        image = await place.image()
        await engine.create(place.spec(), image)
        with pytest.raises(TfnzError, match=r"quota is full .*limited: pods=1"):
            await engine.create(place.spec(), image)


# --- volumes -------------------------------------------------------------------------------------


async def test_a_claim_is_where_it_is_used(place: Place) -> None:
    nodes = await node_names(place)
    name = f"{place.owner}-v"
    await place.engine.create_volume(name, {})
    first = await place.run(mounts=(Mount(name, "/data"),))
    where = (await pod(place, first))["spec"]["nodeName"]
    second = await place.run(mounts=(Mount(name, "/data"),))
    assert (await pod(place, second))["spec"]["nodeName"] == where
    other = next((node for node in nodes if node != where), None)
    if other is not None:
        with pytest.raises(VolumeError, match="one node has it at a time"):
            await place.create(mounts=(Mount(name, "/data"),), node=other)
    with pytest.raises(VolumeError, match="no claim"):
        await place.create(mounts=(Mount("nobody-made-it", "/data"),))


async def test_a_claim_is_as_it_was_asked_for(place: Place) -> None:
    api, name = engine_of(place).api, f"{place.owner}-w"
    claim = Claim(size=64 << 20, access="container")
    await place.engine.create_volume(name, {}, claim)
    said = (await api.call("GET", api.path("persistentvolumeclaims", name)))["spec"]
    assert said["accessModes"] == ["ReadWriteOncePod"]
    assert said["resources"]["requests"]["storage"] in ("64Mi", str(64 << 20))
    await place.engine.remove_volume(name)


async def test_what_a_namespace_has_is_mounted(place: Place) -> None:
    async with cluster.administrator(place) as engine:
        api, name = engine.api, f"{place.owner}-conf"
        about = {"metadata": {"name": name}, "apiVersion": "v1"}
        for kind, resource, more in (
            ("ConfigMap", "configmaps", {"data": {"a": "told\n"}}),
            ("Secret", "secrets", {"stringData": {"b": "quiet\n"}}),
        ):
            await api.call("POST", api.path(resource), body={**about, "kind": kind, **more})
        try:
            mounts = (Mount(f"configmap:{name}", "/conf"), Mount(f"secret:{name}", "/secret"))
            ref = await place.run(mounts=mounts)
            async with talking(place.engine, ref) as talk:
                assert (await talk.run("cat", "/conf/a", "/secret/b"))[1] == b"told\nquiet\n"
        finally:
            for resource in ("configmaps", "secrets"):
                await api.call("DELETE", api.path(resource, name))
