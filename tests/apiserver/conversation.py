"""What is asked of an API server, once of a real one (``record.py``) and in each run of ours.

A subject is a function that talks and notes answers under names. :func:`plain` takes out what
differs from day to day: uids, times, versions, addresses, names of nodes and namespaces.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apiserver.client import PATIENCE, Answer, Exec, Refused, Target

Object = dict[str, Any]
GROUP = "/apis/networking.k8s.io/v1"
#: A container that does nothing, until it is told to end.
IDLE = ["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]


@dataclass
class Talk:
    """One server, a namespace there for this talk alone, and what was noted."""

    target: Target
    namespace: str
    image: str = "docker.io/library/busybox:latest"
    noted: dict[str, Any] = field(default_factory=dict)

    def path(self, resource: str, name: str = "", sub: str = "", root: str = "/api/v1") -> str:
        words = [root, "namespaces", self.namespace, resource, name, sub]
        return "/".join(word for word in words if word)

    def note(self, name: str, answer: Answer | Any) -> Any:
        """Keep it under this name."""
        said = {"code": answer.code, "body": answer.body} if isinstance(answer, Answer) else answer
        if isinstance(answer, Answer):
            for header in ("retry-after", "content-type"):
                if header in answer.headers:
                    said[header] = answer.headers[header]
        assert name not in self.noted, name
        self.noted[name] = said
        return answer.body if isinstance(answer, Answer) else answer

    async def ask(self, name: str, method: str, path: str, body: object = None, **more: Any) -> Any:
        return self.note(name, await self.target.call(method, path, body, **more))

    async def do(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        """Not noted, and no refusal."""
        answer = await self.target.call(method, path, body, **more)
        assert answer.code < 300, answer
        return answer.body

    # --- pods --------------------------------------------------------------------------------

    def pod(self, called: str, *command: str, spec: Object | None = None, **more: Any) -> Object:
        main = {"name": "c", "image": self.image, "imagePullPolicy": "Never"}
        main |= {"command": [*(command or IDLE)], **more}
        few = {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never"}
        few |= {"automountServiceAccountToken": False, "enableServiceLinks": False}
        about = {"name": called, "labels": {"app": "talk"}}
        whole = {**few, "containers": [main], **(spec or {})}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": whole}

    async def life(self, pod: Object, done: Callable[[Object], bool]) -> list[Object]:
        """Make it; its states from ADDED until one is as wanted, DELETED included."""
        made = await self.do("POST", self.path("pods"), pod)
        seen = [made]

        def looked(it: Object) -> bool:
            seen.append(it)
            return done(it)

        about = made["metadata"]
        await self.watched(about["name"], looked, about["resourceVersion"])
        return seen

    async def watched(self, name: str, done: Callable[[Object], bool], version: str = "") -> Object:
        """Its state, once it is so; the last one if it is gone."""
        query = {"fieldSelector": f"metadata.name={name}", "timeoutSeconds": "60"}
        if version:
            query["resourceVersion"] = version
        last = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                async for event in self.target.watch(self.path("pods"), query):
                    last = event["object"]
                    if done(last) or event["type"] == "DELETED":
                        return last
        raise AssertionError(f"{name} stays as it is: {last}")

    async def running(self, name: str, *command: str, **more: Any) -> Object:
        return (await self.life(self.pod(name, *command, **more), is_running))[-1]

    async def settled(self, name: str, pod: Object, done: Callable[[Object], bool]) -> Object:
        """Noted: the status in which it comes to rest."""
        last = (await self.life(pod, done))[-1]
        self.note(name, last["status"])
        return last

    async def exec(self, pod: str, *argv: str, **more: Any) -> Exec:
        return await Exec.open(self.target, self.path("pods", pod, "exec"), argv, **more)

    async def refused_exec(self, name: str, path: str, *argv: str, **more: Any) -> None:
        try:
            opened = await Exec.open(more.pop("target", self.target), path, argv, **more)
        except Refused as refused:
            code, body = refused.args
            with contextlib.suppress(ValueError):
                import json

                body = json.loads(body)
            self.note(name, {"code": code, "body": body})
        else:
            await opened.end()
            self.note(name, {"frames": ends(opened), "close": opened.close})


def is_running(it: Object) -> bool:
    return it["status"].get("phase") == "Running"


def is_over(it: Object) -> bool:
    return it["status"].get("phase") in ("Succeeded", "Failed")


def waits(reason: str) -> Callable[[Object], bool]:
    """Its container waits for this reason."""

    def done(it: Object) -> bool:
        states = [each["state"] for each in it["status"].get("containerStatuses") or ()]
        return any((state.get("waiting") or {}).get("reason") == reason for state in states)

    return done


def ends(exec_: Exec) -> Object:
    """What came on each channel: whole, and the last one's frames."""
    return {
        str(channel): exec_.channel(channel).decode("utf-8", "replace")
        for channel in sorted({channel for channel, _ in exec_.frames})
    }


# --- the subjects --------------------------------------------------------------------------------


async def server(talk: Talk) -> None:
    await talk.ask("version", "GET", "/version")
    await talk.ask("healthy", "GET", "/readyz")
    await talk.ask("no such path", "GET", "/nowhere")
    await talk.ask("no such group", "GET", "/apis/nowhere.io/v1/things")
    await talk.ask("no such resource", "GET", talk.path("things"))
    await talk.ask("not allowed", "PUT", talk.path("pods"), {})
    await talk.ask("no json", "POST", talk.path("configmaps"), b"{")
    await talk.ask("no such form", "POST", talk.path("configmaps"), b"x", kind="text/plain")
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    await talk.ask("another kind", "POST", talk.path("configmaps"), other)
    there = {"apiVersion": "v1", "kind": "ConfigMap"}
    there |= {"metadata": {"name": "x", "namespace": "elsewhere"}}
    await talk.ask("another namespace", "POST", talk.path("configmaps"), there)
    somebody = talk.target.as_(Impersonate_User="somebody")
    for name, path in (
        ("pods", talk.path("pods")),
        ("one pod", talk.path("pods", "p")),
        ("nodes", "/api/v1/nodes"),
        ("policies", talk.path("networkpolicies", root=GROUP)),
    ):
        talk.note(f"forbidden {name}", await somebody.call("GET", path))
    answer = await somebody.call("POST", talk.path("pods"), talk.pod("p"))
    talk.note("forbidden create", answer)
    await talk.refused_exec(
        "forbidden exec", talk.path("pods", "p", "exec"), "true", target=somebody
    )
    stranger = talk.target.without_certificate().as_(Authorization="Bearer nonsense")
    talk.note("unauthorized", await stranger.call("GET", talk.path("pods")))
    await talk.ask("namespace", "GET", f"/api/v1/namespaces/{talk.namespace}")
    await talk.ask("no such namespace", "GET", "/api/v1/namespaces/nowhere-at-all")
    nowhere = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    await talk.ask(
        "in no namespace", "POST", "/api/v1/namespaces/nowhere-at-all/configmaps", nowhere
    )


async def reviews(talk: Talk) -> None:
    authorization = "/apis/authorization.k8s.io/v1"
    for who in ("", "somebody"):
        target = talk.target.as_(Impersonate_User=who) if who else talk.target
        asked = {"namespace": talk.namespace, "verb": "create", "resource": "pods"}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        body |= {"spec": {"resourceAttributes": {**asked, "subresource": "exec"}}}
        answer = await target.call("POST", f"{authorization}/selfsubjectaccessreviews", body)
        talk.note(f"access {who}".strip(), answer)
        rules = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
        rules |= {"spec": {"namespace": talk.namespace}}
        answer = await target.call("POST", f"{authorization}/selfsubjectrulesreviews", rules)
        answer.body["status"] = {
            key: len(value) > 0 if isinstance(value, list) else value
            for key, value in answer.body["status"].items()
        }
        talk.note(f"rules {who}".strip(), answer)


def configmap(name: str, **more: Any) -> Object:
    about = {"name": name, **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, **more}


async def objects(talk: Talk) -> None:
    maps = talk.path("configmaps")
    made = await talk.ask("created", "POST", maps, configmap("a", data={"k": "v"}))
    await talk.ask("exists", "POST", maps, configmap("a"))
    await talk.ask("got", "GET", f"{maps}/a")
    await talk.ask("not found", "GET", f"{maps}/b")
    await talk.ask("updated", "PUT", f"{maps}/a", {**made, "data": {"k": "w"}})
    await talk.ask("conflict", "PUT", f"{maps}/a", {**made, "data": {"k": "x"}})
    merge = "application/merge-patch+json"
    patch = {"metadata": {"labels": {"l": "1"}}, "data": {"k": None, "n": "y"}}
    await talk.ask("patched", "PATCH", f"{maps}/a", patch, kind=merge)
    await talk.ask("nothing to patch", "PATCH", f"{maps}/b", patch, kind=merge)
    await talk.ask("no such patch", "PATCH", f"{maps}/a", patch, kind="application/json")
    fixed = configmap("fixed", immutable=True, binaryData={"b": base64.b64encode(b"\0").decode()})
    await talk.ask("immutable", "POST", maps, fixed)
    change = {"binaryData": {"b": "AQ=="}}
    await talk.ask("immutable changed", "PATCH", f"{maps}/fixed", change, kind=merge)
    for name, wrong in {
        "bad name": configmap("A_b"),
        "no name": configmap(""),
        "long name": configmap("a" * 254),
        "bad label": configmap("c", metadata={"labels": {"l": "no spaces"}}),
        "long label": configmap("c", metadata={"labels": {"l": "x" * 64}}),
        "bad label key": configmap("c", metadata={"labels": {"no spaces": "x"}}),
        "owner without uid": configmap(
            "c", metadata={"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]}
        ),
        "bad key": configmap("c", data={"a b": "x"}),
        "too large": configmap("c", data={"k": "x" * ((1 << 20) + 1)}),
        "data that is no string": configmap("c", data={"k": 1}),
    }.items():
        await talk.ask(name, "POST", maps, wrong)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    await talk.ask("secret", "POST", talk.path("secrets"), {**secret, "stringData": {"k": "v"}})
    generated = configmap("", metadata={"generateName": "some-"})
    del generated["metadata"]["name"]
    made = (await talk.target.call("POST", maps, generated)).body
    assert re.fullmatch(r"some-[a-z0-9]{5}", made["metadata"].pop("name"))
    talk.note("generated name", made)
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    policy |= {"metadata": {"name": "deny"}, "spec": {"podSelector": {}}}
    await talk.ask("policy", "POST", talk.path("networkpolicies", root=GROUP), policy)
    await talk.ask("policy not found", "GET", talk.path("networkpolicies", "x", root=GROUP))


async def lists(talk: Talk) -> None:
    maps = talk.path("configmaps")
    for name in "abcd":
        labels = {"n": name, **({"odd": "yes"} if name in "ac" else {})}
        await talk.do("POST", maps, configmap(name, metadata={"labels": labels}))
    ours = {"labelSelector": "n"}

    async def names(**query: str) -> list[str]:
        return [it["metadata"]["name"] for it in (await talk.do("GET", maps, query=query))["items"]]

    for selector in (
        "n",
        "n=a",
        "n==a",
        "n,n!=a",
        "n in (a, b)",
        "n,n notin (a,b)",
        "odd",
        "n,!odd",
    ):
        talk.note(f"selected by {selector}", await names(labelSelector=selector))
    by_field = "metadata.name!=a,metadata.name!=kube-root-ca.crt"
    talk.note("selected by field", await names(fieldSelector=by_field))
    whole = await talk.do("GET", maps, query=ours)
    talk.note("list", {**whole, "items": len(whole["items"])})
    assert all("kind" not in it for it in whole["items"]), "items have no kind of their own"
    first = await talk.do("GET", maps, query={**ours, "limit": "3"})
    about = first["metadata"]
    talk.note("page", {key: key in about for key in ("continue", "remainingItemCount")})
    await talk.do("POST", maps, configmap("bb", metadata={"labels": {"n": "b"}}))
    await talk.do("DELETE", f"{maps}/d")
    rest = await talk.do("GET", maps, query={**ours, "limit": "3", "continue": about["continue"]})
    talk.note("pages are of one moment", [it["metadata"]["name"] for it in rest["items"]])
    talk.note(
        "of the same version", about["resourceVersion"] == rest["metadata"]["resourceVersion"]
    )
    await talk.ask("bad selector", "GET", maps, query={"labelSelector": "a=b=c"})
    await talk.ask("bad field", "GET", maps, query={"fieldSelector": "spec.x=y"})
    await talk.ask("bad limit", "GET", maps, query={"limit": "x"})
    await talk.ask("bad continue", "GET", maps, query={"continue": "xx"})
    swept = await talk.do("DELETE", maps, query={"labelSelector": "odd"})
    talk.note("swept", {"kind": swept["kind"], "items": len(swept["items"])})
    talk.note("after the sweep", await names(**ours))


async def watches(talk: Talk) -> None:
    maps = talk.path("configmaps")
    version = (await talk.do("GET", maps))["metadata"]["resourceVersion"]

    async def events(query: Mapping[str, str]) -> list[Object]:
        async with asyncio.timeout(PATIENCE):
            return [event async for event in talk.target.watch(maps, query)]

    def told(events: list[Object]) -> list[str]:
        return [f"{each['type']} {each['object']['metadata']['name']}" for each in events]

    merge = "application/merge-patch+json"
    for name in "ab":
        await talk.do("POST", maps, configmap(name, metadata={"labels": {"l": name}}))
    await talk.do("PATCH", f"{maps}/a", {"metadata": {"labels": {"l": "b"}}}, kind=merge)
    await talk.do("PATCH", f"{maps}/b", {"metadata": {"labels": {"l": "a"}}}, kind=merge)
    await talk.do("DELETE", f"{maps}/a")
    since = {"resourceVersion": version, "timeoutSeconds": "1"}
    seen = await events(since)
    talk.note("since a version", told(seen))
    talk.note("an event", seen[0])
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in seen]
    talk.note("in order", versions == sorted(set(versions)))
    talk.note("by label", told(await events({**since, "labelSelector": "l=b"})))
    only = {"fieldSelector": "metadata.name=b", "timeoutSeconds": "1"}
    talk.note("without a version, what is there", told(await events(only)))
    talk.note("from 0", told(await events({**only, "resourceVersion": "0"})))
    marked = await events({**since, "allowWatchBookmarks": "true"})
    (bookmark,) = [each for each in marked if each["type"] == "BOOKMARK"] or [None]
    talk.note("bookmark at the end", bookmark)
    too_old = await events({"resourceVersion": "1", "timeoutSeconds": "1"})
    for each in too_old:
        if each["type"] == "ERROR":  # a young cluster still has all of it
            each["object"]["message"] = re.sub(r"\d+", "N", each["object"]["message"])
            talk.note("too old", each)
    answer = await talk.target.call(
        "GET", maps, query={"watch": "1", "resourceVersion": "x", "timeoutSeconds": "1"}
    )
    talk.note("no version", answer)
    ahead = str(int(version) + 1_000_000)
    answer = await talk.target.call(
        "GET", maps, query={"resourceVersion": ahead, "resourceVersionMatch": "NotOlderThan"}
    )
    answer.body["message"] = re.sub(r"\d+", "N", answer.body["message"])
    talk.note("from the future", answer)


async def pods(talk: Talk) -> None:
    where = talk.path("pods")
    seen = await talk.life(talk.pod("p"), is_running)
    phases = [phase(it) for it in seen]
    talk.note("life", [it for n, it in enumerate(phases) if it not in phases[:n]])
    talk.note("new", {**seen[0], "spec": {**seen[0]["spec"]}})
    talk.note("running", seen[-1])
    await talk.ask("log of it", "GET", f"{where}/p/log")
    label = {"metadata": {"labels": {"x": "y"}, "annotations": {"a": "b"}}}
    patched = await talk.target.call(
        "PATCH", f"{where}/p", label, kind="application/merge-patch+json"
    )
    talk.note("labels patched", patched.body["metadata"])
    change = {"spec": {"nodeSelector": {"a": "b"}}}
    answer = await talk.target.call(
        "PATCH", f"{where}/p", change, kind="application/merge-patch+json"
    )
    answer.body["message"] = answer.body["message"].split("\n")[0]
    for cause in answer.body["details"]["causes"]:
        cause["message"] = cause["message"].split("\n")[0]
    talk.note("spec patched", answer)
    wrong = {"preconditions": {"uid": "another"}}
    await talk.ask("delete another", "DELETE", f"{where}/p", wrong)
    gone = await talk.target.call("DELETE", f"{where}/p", {"gracePeriodSeconds": 1})
    talk.note("deleted", {k: k in gone.body["metadata"] for k in DELETION})
    last = await talk.watched("p", lambda it: False)
    talk.note("last seen", {"phase": last["status"]["phase"], **states(last)})
    await talk.ask("delete nothing", "DELETE", f"{where}/p")
    for name, pod in {
        "no containers": talk.pod("q", spec={"containers": []}),
        "no image": talk.pod("q", image=""),
        "bad container name": talk.pod("q", name="C_d"),
        "unknown volume": talk.pod("q", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
        "bad quantity": talk.pod("q", resources={"limits": {"cpu": "much"}}),
        "request over limit": talk.pod(
            "q", resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}
        ),
        "bad restart policy": talk.pod("q", spec={"restartPolicy": "Sometimes"}),
    }.items():
        await talk.ask(name, "POST", where, pod)


DELETION = ("deletionTimestamp", "deletionGracePeriodSeconds")


def phase(it: Object) -> str:
    waiting = [
        (each["state"].get("waiting") or {}).get("reason", *each["state"])
        for each in it["status"].get("containerStatuses") or ()
    ]
    bound = "bound" if it["spec"].get("nodeName") else "unbound"
    return " ".join([it["status"]["phase"], bound, *waiting])


def states(it: Object) -> Object:
    return {"states": [each["state"] for each in it["status"].get("containerStatuses") or ()]}


async def endings(talk: Talk) -> None:
    """How pods end, and why they do not start."""
    await talk.settled("completed", talk.pod("ok", "true"), is_over)
    code = talk.pod("code", "sh", "-c", "echo out; echo err >&2; exit 3")
    await talk.settled("exit code", code, is_over)
    log = await talk.target.call("GET", talk.path("pods", "code", "log"))
    talk.note("log", {"code": log.code, "lines": sorted(log.body.splitlines())})
    await talk.ask("log tail", "GET", talk.path("pods", "code", "log"), query={"tailLines": "0"})
    await talk.settled("no such program", talk.pod("exe", "/no/such"), is_over)
    limited = {"limits": {"memory": "16Mi"}}
    greedy = talk.pod("greedy", "tail", "/dev/zero", resources=limited)
    await talk.settled("out of memory", greedy, is_over)
    never = talk.pod("never", image="registry.test/nothing:1")
    await talk.settled("never pulled", never, waits("ErrImageNeverPull"))
    bad = talk.pod("bad", image="UPPER/x:::")
    await talk.settled("bad image name", bad, waits("InvalidImageName"))
    missing = talk.pod("lost", image="127.0.0.1:1/nothing:1", imagePullPolicy="IfNotPresent")
    last = (await talk.life(missing, waits("ErrImagePull")))[-1]
    talk.note("pull failed", pull(last))
    backed = await talk.watched("lost", waits("ImagePullBackOff"))
    talk.note("pull back-off", pull(backed))
    full = {"requests": {"cpu": "1000"}}

    def unschedulable(it: Object) -> bool:
        return any(
            each["reason"] == "Unschedulable" for each in it["status"].get("conditions") or ()
        )

    await talk.settled("too much cpu", talk.pod("big", resources=full), unschedulable)
    memory = {"requests": {"cpu": "1000", "memory": "10Ti"}}
    await talk.settled("too much of all", talk.pod("bigger", resources=memory), unschedulable)
    choosy = talk.pod("choosy", spec={"nodeSelector": {"no": "such"}})
    await talk.settled("no such node", choosy, unschedulable)
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["nowhere"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    affine = talk.pod("affine", spec={"affinity": {"nodeAffinity": required}})
    await talk.settled("no node of that name", affine, unschedulable)
    await talk.refused_exec("exec without a node", talk.path("pods", "big", "exec"), "true")
    volume = [{"name": "v", "configMap": {"name": "absent"}}]
    mounted = talk.pod(
        "mount", volumeMounts=[{"name": "v", "mountPath": "/v"}], spec={"volumes": volume}
    )
    await talk.settled("no such config map", mounted, waits("ContainerCreating"))
    await talk.refused_exec("exec before it runs", talk.path("pods", "mount", "exec"), "true")
    await talk.ask("log before it runs", "GET", talk.path("pods", "mount", "log"))
    source = {"configMapKeyRef": {"name": "absent", "key": "k"}}
    env = talk.pod("env", env=[{"name": "A", "valueFrom": source}])
    await talk.settled("no such key", env, waits("CreateContainerConfigError"))
    async with asyncio.timeout(PATIENCE):
        while True:
            events = await talk.do(
                "GET", talk.path("events"), query={"fieldSelector": FAILED_MOUNT}
            )
            if events["items"]:
                break
            await asyncio.sleep(0.2)
    event = events["items"][0]
    talk.note("failed mount", {key: event[key] for key in ("reason", "message", "type")})
    events = await talk.do(
        "GET", talk.path("events"), query={"fieldSelector": "involvedObject.name=code"}
    )
    told = {
        (each["reason"], each["type"], each["message"].split(" in ")[0]) for each in events["items"]
    }
    talk.note("events", sorted({(reason, kind) for reason, kind, _ in told}))
    evict = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "mount"}}
    await talk.ask("evicted", "POST", talk.path("pods", "mount", "eviction"), evict)


FAILED_MOUNT = "involvedObject.name=mount,reason=FailedMount"


def pull(it: Object) -> Object:
    """Its container's state; what failed below is the node's own business."""
    (status,) = it["status"]["containerStatuses"]
    message = status["state"]["waiting"]["message"]
    status["state"]["waiting"]["message"] = re.sub(
        r"(failed to resolve reference \S+).*", r"\1 …", message
    )
    return status


async def execs(talk: Talk) -> None:
    await talk.running("p", volumeMounts=[], resources={})
    path = talk.path("pods", "p", "exec")

    async def run(name: str, *argv: str, stdin: bytes | None = None, **more: Any) -> None:
        opened = await talk.exec("p", *argv, **more)
        if stdin is not None:
            opened.send(stdin)
            opened.close_stdin()
        await opened.end()
        talk.note(name, {"said": ends(opened), "close": opened.close, "as": opened.subprotocol})

    await run("success", "echo", "hello")
    await run("failure", "sh", "-c", "echo no >&2; exit 7")
    await run("killed", "sh", "-c", "kill -9 $$")
    await run("no such program", "/no/such")
    await run("stdin", "cat", stdin=b"to and fro")
    await run("as v4", "echo", "hello", protocols=["v4.channel.k8s.io"])
    opened = await talk.exec("p", "head", "-c", "1000000", "/dev/zero")
    await opened.end()
    sizes = [len(data) for channel, data in opened.frames if channel == 1]
    talk.note("frames", {"bytes": sum(sizes), "most": max(sizes)})
    talk.note("empty frames", sorted({c for c, data in opened.frames if not data}))
    await talk.refused_exec("no such pod", talk.path("pods", "nobody", "exec"), "true")
    await talk.refused_exec("no such container", path, "true", container="other")
    await talk.refused_exec("no command", path)
    await talk.refused_exec("unknown protocol", path, "true", protocols=["v9.channel.k8s.io"])
    answer = await talk.target.call("POST", path, query={"command": "true", "stdout": "true"})
    talk.note("no upgrade", answer)
    opened = await talk.exec("p", "sh", "-c", "echo up; sleep 1000")
    await opened.until(lambda: b"up" in opened.channel(1))
    await talk.do("DELETE", talk.path("pods", "p"), {"gracePeriodSeconds": 0})
    await opened.end()
    talk.note("pod deleted meanwhile", {"said": ends(opened), "close": opened.close})
    await talk.life(talk.pod("over", "true"), is_over)
    await talk.refused_exec("over", talk.path("pods", "over", "exec"), "true")


async def rules(talk: Talk) -> None:
    """Admission: security, quotas, claims in use."""
    space = f"/api/v1/namespaces/{talk.namespace}"
    merge = "application/merge-patch+json"
    enforce = "pod-security.kubernetes.io/enforce"
    await talk.do("PATCH", space, {"metadata": {"labels": {enforce: "restricted"}}}, kind=merge)
    await talk.ask("restricted", "POST", talk.path("pods"), talk.pod("p"))
    few = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    user = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    good = talk.pod("good", securityContext=few, spec={"securityContext": user})
    await talk.do("POST", talk.path("pods"), good)
    await talk.watched("good", is_running)
    opened = await talk.exec(
        "good", "sh", "-c", "id -u; grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status"
    )
    await opened.end()
    talk.note("as restricted", ends(opened)["1"])
    await talk.do("PATCH", space, {"metadata": {"labels": {enforce: "baseline"}}}, kind=merge)
    host = talk.pod("host", spec={"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})
    await talk.ask("baseline", "POST", talk.path("pods"), host)
    await talk.do("PATCH", space, {"metadata": {"labels": {enforce: None}}}, kind=merge)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}}
    await talk.do("POST", talk.path("resourcequotas"), {**quota, "spec": {"hard": {"pods": "1"}}})
    async with asyncio.timeout(PATIENCE):  # it has to be counted first
        while not (await talk.do("GET", talk.path("resourcequotas", "q")))["status"].get("used"):
            await asyncio.sleep(0.1)
    await talk.ask("over quota", "POST", talk.path("pods"), talk.pod("more"))
    await talk.do("DELETE", talk.path("resourcequotas", "q"))
    much = {"hard": {"requests.cpu": "100m", "limits.memory": "64Mi"}}
    quota["metadata"] = {"name": "r"}
    await talk.do("POST", talk.path("resourcequotas"), {**quota, "spec": much})
    async with asyncio.timeout(PATIENCE):
        while not (await talk.do("GET", talk.path("resourcequotas", "r")))["status"].get("used"):
            await asyncio.sleep(0.1)
    await talk.ask("quota wants requests", "POST", talk.path("pods"), talk.pod("vague"))
    resources = {
        "requests": {"cpu": "1", "memory": "1Mi"},
        "limits": {"cpu": "1", "memory": "128Mi"},
    }
    await talk.ask("over both", "POST", talk.path("pods"), talk.pod("big", resources=resources))
    await talk.do("DELETE", talk.path("resourcequotas", "r"))
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    await talk.ask("claim", "POST", talk.path("persistentvolumeclaims"), {**claim, "spec": spec})
    bare = {**claim, "metadata": {"name": "bare"}, "spec": {}}
    await talk.ask("bare claim", "POST", talk.path("persistentvolumeclaims"), bare)
    lost = {"persistentVolumeClaim": {"claimName": "absent"}}
    user_of = talk.pod("lost", spec={"volumes": [{"name": "v", **lost}]})
    waiting = (await talk.life(user_of, lambda it: bool(it["status"].get("conditions"))))[-1]
    talk.note("no such claim", waiting["status"]["conditions"][0])
    account = talk.pod("account", spec={"serviceAccountName": "nobody"})
    await talk.ask("no such account", "POST", talk.path("pods"), account)


async def owners(talk: Talk) -> None:
    """What an owner has goes with it."""
    maps = talk.path("configmaps")
    anchor = await talk.do("POST", maps, configmap("anchor"))
    about = {"apiVersion": "v1", "kind": "ConfigMap", "name": "anchor"}
    owner = {**about, "uid": anchor["metadata"]["uid"]}
    await talk.do("POST", maps, configmap("owned", metadata={"ownerReferences": [owner]}))
    pod = talk.pod("p")
    pod["metadata"]["ownerReferences"] = [owner]
    await talk.life(pod, is_running)
    await talk.ask("anchor deleted", "DELETE", f"{maps}/anchor")
    async with asyncio.timeout(PATIENCE):
        for path in (f"{maps}/owned", talk.path("pods", "p")):
            while (await talk.target.call("GET", path)).code != 404:
                await asyncio.sleep(0.05)
    lost = {**owner, "name": "gone"}
    await talk.do("POST", maps, configmap("orphan", metadata={"ownerReferences": [lost]}))
    async with asyncio.timeout(PATIENCE):
        while (await talk.target.call("GET", f"{maps}/orphan")).code != 404:
            await asyncio.sleep(0.05)
    talk.note("nothing left", True)


Subject = Callable[[Talk], Awaitable[None]]
SUBJECTS: dict[str, Subject] = {
    subject.__name__: subject
    for subject in (server, reviews, objects, lists, watches, pods, endings, execs, rules, owners)
}


async def hold(subject: Subject, target: Target, namespace: str, image: str) -> dict[str, Any]:
    """One subject in a namespace of its own; what was noted, plain."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    talk = Talk(target, namespace, image)
    await talk.do("POST", "/api/v1/namespaces", space)
    try:
        async with asyncio.timeout(PATIENCE):
            accounts = talk.path("serviceaccounts", "default")
            while (await target.call("GET", accounts)).code != 200:
                await asyncio.sleep(0.05)
        await subject(talk)
    finally:
        await target.call("DELETE", f"/api/v1/namespaces/{namespace}")
    return {name: plain(said, namespace) for name, said in talk.noted.items()}


# --- what differs from day to day ----------------------------------------------------------------

#: Keys whose value is another each time, or another server's.
MASKED = {
    *("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "startTime", "startedAt"),
    *(
        "finishedAt",
        "lastTransitionTime",
        "lastProbeTime",
        "time",
        "continue",
        "nodeName",
        "hostIP",
    ),
    *("podIP", "ip", "imageID", "containerID", "gitCommit", "gitVersion", "gitTreeState", "major"),
    *(
        "minor",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
        "emulationMajor",
        "emulationMinor",
    ),
    *("minCompatibilityMajor", "minCompatibilityMinor", "storageClassName", "cpu", "memory"),
    *("image",),
}
#: Keys that our server leaves out: bookkeeping that no client of ours reads.
LEFT_OUT = {
    "managedFields",
    "allocatedResources",
    "observedGeneration",
    "generation",
    "volumeMounts",
}
TEXTS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"0/\d+ nodes"), "0/N nodes"),
    (re.compile(r"\b\d+ (?=Insufficient|node\(s\)|No preempt|Preemption)"), "N "),
    (re.compile(r"(docker\.io/library|registry\.test)/busybox(:\w+)?"), "IMAGE"),
)


def plain(it: Any, namespace: str) -> Any:
    """Without what differs."""
    if isinstance(it, Mapping):
        return {
            key: f"<{key}>"
            if key in MASKED and not isinstance(value, (dict, list))
            else plain(value, namespace)
            for key, value in sorted(it.items())
            if key not in LEFT_OUT
        }
    if isinstance(it, list | tuple):
        return [plain(each, namespace) for each in it]
    if isinstance(it, str):
        said = it.replace(namespace, "NAMESPACE")
        for pattern, word in TEXTS:
            said = pattern.sub(word, said)
        return said
    return it
