"""A pod out of a spec, what a pod's object says, and what a guest is told first. No cluster."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Decoder, Frame, Tag, Type
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook.engines.base import (
    LABEL_CONTAINER,
    LABEL_OWNER,
    LABEL_SESSION,
    ContainerSpec,
    Mount,
    Scheduling,
    State,
    Stream,
)
from tfnz_notebook.engines.kubernetes import nodes
from tfnz_notebook.engines.kubernetes.pod import manifest, status
from tfnz_notebook.engines.kubernetes.pod.boot import Boot, Line
from tfnz_notebook.engines.kubernetes.pod.kept import Kept, Made
from tfnz_notebook.engines.kubernetes.pod.manifest import Anchor, Remote, Volumes
from tfnz_notebook.errors import ContainerFailed, EngineGone, ImageMissing, Misuse

ANCHOR = Anchor("tfnz-anchor", "u-1", "amd64")
LABELS = {
    LABEL_OWNER: "o" * 70,
    LABEL_SESSION: "s",
    LABEL_CONTAINER: "c",
    "x.y": '{"k": 1}',
    "a": "b",
}


def pod(**options: Any) -> dict[str, Any]:
    spec = ContainerSpec(id="c1", image="busybox", labels=LABELS, **options)
    return manifest.pod(spec, Remote("", pull="always"), ANCHOR, Volumes())


def main(said: dict[str, Any]) -> dict[str, Any]:
    (found,) = said["spec"]["containers"]
    return dict(found)


# --- a pod out of a spec -------------------------------------------------------------------------


def test_a_pod_sleeps_and_tells_nothing() -> None:
    secret = "nobody's business"
    said = pod(env={"A": secret}, command=(secret,), files={"/a": secret.encode()}, user="7")
    assert secret not in json.dumps(said)
    assert main(said)["command"] == [
        *("/.tfnz/bin/guest", "init", "--sleep"),
        *("--orphan", str(manifest.ORPHAN)),
    ]
    assert main(said)["imagePullPolicy"] == "Always"
    assert said["spec"]["automountServiceAccountToken"] is False
    assert said["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert said["spec"]["nodeSelector"]["kubernetes.io/arch"] == "amd64"


def test_labels_are_exact_and_selectable() -> None:
    about = pod()["metadata"]
    assert manifest.labels_of({"metadata": about}) == LABELS
    assert about["labels"]["a"] == "b"
    assert "x.y" not in about["labels"], "its value can be no label"
    assert f"{LABEL_OWNER}={about['labels'][LABEL_OWNER]}" == manifest.owner_selector("o" * 70)
    for said in ({}, {"metadata": {"annotations": {manifest.LABELS: "[1]"}}}, {"metadata": None}):
        assert manifest.labels_of(said) == {}


def test_wishes_are_in_the_pod() -> None:
    said = pod(
        cpu=0.5, memory=64 << 20, hostname="pluto", node="n1", read_only=True, network="host",
        capabilities=("NET_ADMIN",), new_privileges=True,
    )  # fmt: skip
    container = main(said)
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": str(64 << 20)}
    security = container["securityContext"]
    assert security["capabilities"] == {"add": ["NET_ADMIN"]}
    assert security["allowPrivilegeEscalation"] and security["readOnlyRootFilesystem"]
    assert said["spec"]["hostname"] == "pluto" and said["spec"]["hostNetwork"]
    assert "nodeName" not in said["spec"]
    assert '"metadata.name"' in json.dumps(said["spec"]["affinity"])
    assert manifest.APART not in said["metadata"]["labels"]
    assert manifest.APART in pod()["metadata"]["labels"]


def test_what_a_cluster_alone_can_have_is_in_the_pod() -> None:
    said = pod(
        scheduling=Scheduling(
            runtime_class="gvisor",
            node_selector={"disk": "fast"},
            tolerations=({"key": "jupyter", "operator": "Exists"},),
            pull_secrets=("ours",),
            gpus={"nvidia.com/gpu": 2},
        )
    )["spec"]
    assert said["runtimeClassName"] == "gvisor"
    assert said["nodeSelector"] == pod()["spec"]["nodeSelector"] | {"disk": "fast"}
    assert said["tolerations"][-1] == {"key": "jupyter", "operator": "Exists"}
    assert said["imagePullSecrets"] == [{"name": "ours"}]
    assert main({"spec": said})["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert "resources" not in main(pod())


def test_an_image_s_own_process_is_told_by_the_pod() -> None:
    said = pod(
        unmodified=True, sleep=False, command=("echo", "$$ $(A)"), env={"A": "$1"}, workdir="/srv",
        user="7:8", files={"/etc//a": b"1", "/b": b"2"},
    )  # fmt: skip
    container = main(said)
    assert "command" not in container
    assert container["args"] == ["echo", "$$$$ $$(A)"], "nothing is expanded"
    assert container["env"] == [{"name": "A", "value": "$$1"}]
    assert container["workingDir"] == "/srv"
    context = container["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (7, 8)
    mounts = [each for each in container["volumeMounts"] if "subPath" in each]
    assert [(each["mountPath"], each["subPath"]) for each in mounts] == [
        ("/etc/a", "0"),
        ("/b", "1"),
    ]
    spec = ContainerSpec(id="c", image="i", files={"/etc//a": b"1", "/b": b"2"})
    held = manifest.files(spec, ANCHOR)
    assert held["binaryData"] == {"0": "MQ==", "1": "Mg=="}
    assert held["metadata"]["ownerReferences"] == ANCHOR.reference()


def test_a_restricted_namespace_gets_what_it_wants() -> None:
    for user, wanted in (
        (None, (1000, 1000)),
        ("7", (7, 7)),
        ("7:8", (7, 8)),
        ("web", (1000, 1000)),
    ):
        spec = ContainerSpec(id="c", image="i", user=user)
        hard = manifest.hardened(spec)
        assert (hard.user, hard.group) == wanted
        security = main(manifest.pod(spec, Remote(""), ANCHOR, Volumes(), hard))["securityContext"]
        assert security["runAsNonRoot"]
        assert security["capabilities"]["drop"] == ["ALL"]
    spec = ContainerSpec(id="c", image="i", flags={"cap_drop": ["KILL"]})
    said = manifest.pod(spec, Remote(""), ANCHOR, Volumes(), manifest.hardened(spec))
    assert main(said)["securityContext"]["capabilities"]["drop"] == ["ALL", "KILL"]
    for told in (
        {"capabilities": ("KILL",)},
        {"new_privileges": True},
        {"user": "0"},
        {"user": "x"},
    ):
        assert manifest.softened(ContainerSpec(id="c", image="i", **told)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"pids": 7},
        {"network": "mine"},
        {"hostname": "A_b"},
        {"unmodified": True, "sleep": True},
        {"unmodified": True, "user": "nobody"},
        {"unmodified": True, "files": {"/a": bytes(2 << 20)}},
    ],
)
def test_what_no_pod_can_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Misuse, match=r"^Cannot .*\. .*\."):
        manifest.refuse(ContainerSpec(id="c", image="i", **options))


def test_names() -> None:
    assert manifest.pod_name(ContainerSpec(id="AB", image="i")) == "tfnz-ab"
    assert manifest.pod_name(ContainerSpec(id="x", image="i", name="web.1")) == "web.1"
    for name in ("Web", "-a", "a_b", "a" * 254):
        with pytest.raises(Misuse):
            manifest.pod_name(ContainerSpec(id="x", image="i", name=name))


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("2", 2.0), ("1930m", 1.93), ("7Gi", 7 * 1024**3), ("1e3", 1000.0), ("5k", 5000.0),
        ("128974848", 128974848.0), ("1.5G", 1.5e9), ("", 0.0), (None, 0.0), ("many", 0.0),
    ],
)  # fmt: skip
def test_quantities(said: object, value: float) -> None:
    assert nodes.quantity(said) == pytest.approx(value)


def test_what_pods_ask_for() -> None:
    def of(cpu: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}}

    spec = {"containers": [of("1"), of("500m")], "initContainers": [of("2")]}
    assert nodes.requested(spec, "cpu") == 2.0
    assert nodes.requested({**spec, "overhead": {"cpu": "250m"}}, "cpu") == 2.25
    assert nodes.requested({}, "memory") == 0.0


# --- what its object says ------------------------------------------------------------------------


def seen(state: dict[str, Any] | None = None, *, told: bool = True, **more: Any) -> dict[str, Any]:
    held = [] if state is None else [{"name": manifest.MAIN, "state": state}]
    annotations = {manifest.STARTED: "true"} if told else {}
    return {
        "metadata": {"name": "p", "annotations": annotations},
        "spec": {"nodeName": "n1", "containers": [{"name": manifest.MAIN, "image": "busybox"}]},
        "status": {"podIP": "10.0.0.1", "containerStatuses": held, **more},
    }


UNREADY = {"type": "Ready", "status": "False", "message": "node is gone"}
UNPLACED = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes.",
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, State("created")),
        (seen(), State("created")),
        (seen(conditions=[UNPLACED]), State("created", error="Unschedulable: 0/2 nodes")),
        (seen({"running": {}}, told=False), State("created")),
        (seen({"running": {}}), State("running", ip="10.0.0.1")),
        (seen({"terminated": {"exitCode": 4}}), State("exited", exit_code=4)),
        (
            seen({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            State("exited", exit_code=137, oom_killed=True),
        ),
        (
            seen(phase="Failed", reason="Evicted", message="out of disk."),
            State("exited", error="Evicted: out of disk", taken="Evicted: out of disk"),
        ),
    ],
)
def test_states(said: dict[str, Any], state: State) -> None:
    assert status.state(said) == state


def test_a_node_that_does_not_answer_takes_nothing_with_it() -> None:
    state = status.state(seen({"running": {}}, conditions=[UNREADY]))
    assert state.status == "running"
    assert "its node n1 does not answer" in state.error


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (seen({"waiting": {"reason": "ContainerCreating"}}), None, ""),
        (
            seen({"waiting": {"reason": "ImagePullBackOff", "message": "no such manifest"}}),
            ImageMissing, "'busybox'.*no such manifest",
        ),
        (seen({"waiting": {"reason": "ErrImageNeverPull"}}), ImageMissing, "pulling is off"),
        (
            seen({"waiting": {"reason": "CreateContainerConfigError", "message": "secret x"}}),
            ContainerFailed, "secret x",
        ),
        (
            seen({"terminated": {"reason": "StartError", "message": "exec format"}}),
            ContainerFailed, "exec format",
        ),
        (seen(phase="Failed", reason="Preempted", message="by y"), ContainerFailed, "Preempted"),
    ],
)  # fmt: skip
def test_why_it_does_not_come_up(said: dict[str, Any], kind: type | None, words: str) -> None:
    found = status.failure(said)
    if kind is None:
        assert found is None
    else:
        with pytest.raises(kind, match=words):
            raise found or AssertionError("nothing is wrong")


# --- what its guest is told first ----------------------------------------------------------------


class Exec(Stream):
    """A guest's side of a stream, played by the test."""

    def __init__(self, line: Line) -> None:
        self.line, self.decoder, self.frames = line, Decoder(), list[Frame]()
        self.answer: Callable[[Frame], None] = lambda frame: None

    def write(self, data: bytes) -> None:
        for frame in self.decoder.feed(data):
            self.frames.append(frame)
            self.answer(frame)

    @property
    def writable(self) -> bool:
        return True

    async def drain(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None:
        self.line.ended(None)

    def says(self, *frames: bytes) -> None:
        self.line.received(b"".join(frames))

    def kinds(self) -> list[Type]:
        return [frame.type for frame in self.frames]


HELLO = [(Tag.VERSION, 1), (Tag.VERSION_MIN, 1), (Tag.BOOT, b"b" * 16), (Tag.SLEEPING, 1)]


def opened(hello: list[tuple[Tag, int | bytes]] | None = None) -> tuple[Line, Exec]:
    line = Line()
    there = Exec(line)
    line.attach(there)

    def answer(frame: Frame) -> None:
        if frame.type is Type.HELLO:
            there.says(wire.fixed(Type.READY, 0))
        elif frame.type in (Type.PUT, Type.MKDIR):
            there.says(wire.fielded(Type.STAT, frame.channel, []))
        elif frame.type is Type.SETUP:
            there.says(wire.fixed(Type.RESULT, wire.MAIN, frame.integer(Tag.REQUEST), 0, 0))
        elif frame.type is Type.START:
            there.says(
                wire.fixed(Type.SPAWNED, wire.MAIN, 7),
                wire.fixed(Type.RESULT, wire.MAIN, frame.values[0], 0, 7),
                wire.data(wire.MAIN, Which.OUT, 0, b"early"),
            )

    there.answer = answer
    there.says(wire.fielded(Type.HELLO, 0, hello or HELLO))
    return line, there


async def taken(line: Line) -> list[Frame]:
    """What an agent hears that connects now, and says its HELLO."""
    heard = list[Frame]()
    decoder = Decoder()
    line.hand_over(lambda data: heard.extend(decoder.feed(data)), lambda cause: None)
    await asyncio.sleep(0)
    assert [frame.type for frame in heard] == [Type.HELLO]
    line.write(wire.fielded(Type.HELLO, 0, []) + wire.fixed(Type.PING, 0, 1))
    await asyncio.sleep(0)
    return heard


async def test_a_guest_is_told_in_order_and_its_stream_is_then_the_agents() -> None:
    line, there = opened()
    boot = Boot(("sh",), {"A": "1"}, "7", "/work", files={"/a": b"x"})
    assert await line.greet()
    await line.boot(boot)
    await line.start()
    kinds = there.kinds()
    assert kinds.index(Type.PUT) < kinds.index(Type.SETUP) < kinds.index(Type.START)
    setup = next(frame for frame in there.frames if frame.type is Type.SETUP)
    assert (Tag.ENV, b"A=1") in setup.fields
    heard = await taken(line)
    assert [frame.type for frame in heard] == [Type.HELLO, Type.PROC, Type.READY, Type.DATA]
    assert heard[0].integer(Tag.SLEEPING) == 0
    assert heard[1].integer(Tag.PID) == 7
    assert heard[3].data == b"early"
    assert there.kinds()[-1] is Type.PING
    assert there.kinds().count(Type.HELLO) == 1, "the agent's was said before"
    there.says(wire.data(wire.MAIN, Which.OUT, 5, b"late"))
    assert heard[4].data == b"late"


async def test_what_is_not_whole_yet_is_the_agents_too() -> None:
    line, there = opened()
    await line.greet()
    whole = wire.data(wire.MAIN, Which.OUT, 0, b"in two pieces")
    there.says(whole[:20])
    heard = await taken(line)
    there.says(whole[20:])
    assert heard[-1].data == b"in two pieces"


async def test_one_that_was_told_is_told_nothing_again() -> None:
    line, _ = opened([*HELLO, (Tag.CONFIGURED, 1)])
    assert not await line.greet()


async def test_a_stream_that_was_not_greeted_is_handed_over_as_it_is() -> None:
    line, there = opened()
    heard = list[bytes]()
    line.hand_over(heard.append, lambda cause: None)
    await asyncio.sleep(0)
    assert next(Decoder().feed(b"".join(heard))).type is Type.HELLO
    line.write(wire.fielded(Type.HELLO, 0, []))
    assert there.kinds() == [Type.HELLO]


async def test_a_stream_that_ends_meanwhile_is_said() -> None:
    line, there = opened()
    await line.greet()
    there.answer = lambda frame: line.ended(EngineGone("it broke"))
    with pytest.raises(EngineGone, match="it broke"):
        await line.boot(Boot(files={"/a": b"x"}))


async def test_large_files_wait_for_room() -> None:
    line, there = opened()
    await line.greet()
    content = bytes(3 * wire.WINDOW_IN)
    usual = there.answer

    def slow(frame: Frame) -> None:
        if frame.type is Type.PUT:
            return
        if frame.type is Type.DATA:
            end = frame.values[0] + len(frame.data)
            sent = sum(len(each.data) for each in there.frames if each.type is Type.DATA)
            assert sent - (end - len(frame.data)) <= wire.WINDOW_IN
            there.says(wire.fixed(Type.ACK, frame.channel, end, stream=Which.IN))
        elif frame.type is Type.EOF:
            there.says(wire.fielded(Type.STAT, frame.channel, []))
        else:
            usual(frame)

    there.answer = slow
    await line.boot(Boot(files={"/a": content}))
    got = b"".join(frame.data for frame in there.frames if frame.type is Type.DATA)
    assert got == content


# --- what is kept of it --------------------------------------------------------------------------


def test_a_later_agent_knows_what_it_is_made_of(tmp_path: Path) -> None:
    spec = ContainerSpec(
        id="c", image="i", env={"A": "\udcff"}, files={"/a": b"\0"}, command=("x",),
        labels={"l": "m"}, mounts=(Mount("v", "/v", True),),
        scheduling=Scheduling(tolerations=({"key": "a"},), gpus={"g": 1}),
    )  # fmt: skip
    Kept(tmp_path, "owner").put("p", Made(spec, Remote("", pull="never")))
    later = Kept(tmp_path, "owner")
    found = later.get("p", "c")
    assert found is not None
    assert dataclasses.asdict(found.spec) == {**dataclasses.asdict(spec), "capabilities": ()}
    assert found.image.pull == "never"
    (path,) = (tmp_path / "kubernetes").glob("*/*")
    assert path.stat().st_mode & 0o777 == 0o600
    assert Kept(tmp_path, "another").get("p", "c") is None
    path.write_bytes(b"garbage")
    assert Kept(tmp_path, "owner").get("p", "c") is None
    Kept(tmp_path, "owner").sweep(set())
    assert not path.exists()
