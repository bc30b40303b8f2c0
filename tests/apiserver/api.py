"""The API itself: a request in, an answer out. Knows nothing of sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apiserver.access import Access, User
from apiserver.admission import Admission
from apiserver.faults import Faults
from apiserver.node import registry
from apiserver.node.images import usual
from apiserver.objects import patches, refusals, resources, selectors
from apiserver.objects.refusals import Object, Refusal
from apiserver.objects.resources import NAMESPACES, PODS, Resource
from apiserver.objects.store import Change, Store, versioned

if TYPE_CHECKING:
    from apiserver.node.kubelet import Kubelet

VERSION = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.2",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-11-01T00:00:00Z",
    "goVersion": "go1.26.8",
    "compiler": "gc",
    "platform": "linux/amd64",
}
#: Seconds a watch lasts that does not say.
WATCH = 1800.0


@dataclass
class Request:
    """What came; header names in small letters."""

    method: str
    path: str
    query: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    certificate: str = ""

    def get(self, key: str, default: str = "") -> str:
        return self.query.get(key, [default])[0]

    def true(self, key: str) -> bool:
        return self.get(key).lower() in ("true", "1")

    @property
    def upgrades(self) -> bool:
        return self.headers.get("upgrade", "").lower() == "websocket"


@dataclass
class Response:
    """What goes back. ``body`` is an object, bytes, or pieces as they come."""

    code: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One request, as an audit log has it."""

    verb: str
    resource: str
    namespace: str
    name: str
    user: str
    at: float


@dataclass(frozen=True)
class ExecAsked:
    """An exec that may begin: the kubelet that has the pod, and what it is asked for."""

    kubelet: Kubelet
    pod: Object
    container: str
    request: Request


class Api:
    """Verbs on resources."""

    def __init__(self) -> None:
        self.store = Store()
        self.access = Access()
        self.admission = Admission(self.store)
        self.faults = Faults()
        self.kubelets: dict[str, Kubelet] = {}
        self.calls: list[Call] = []
        self.images = usual()
        self._snapshots: dict[int, list[Object]] = {}

    # --- from a path to a verb ---------------------------------------------------------------

    async def answer(self, request: Request) -> Response | ExecAsked:
        """Raises Refusal and Cut."""
        words = [word for word in request.path.split("/") if word]
        if words in (["version"], ["healthz"], ["readyz"], ["livez"]):
            await self.faults.before("get", words[0])
            self._note("get", words[0], "", "", "")
            return Response(200, VERSION) if words == ["version"] else Response(200, b"ok")
        if words[:1] == ["v2"]:  # a registry at the same address
            self._note("get", "registry", "", "", "")
            await self.faults.before("get", "registry")
            said = registry.answer(request.path, self.images)
            if said is None:
                raise refusals.nothing_here()
            return Response(200, said[0], {"Content-Type": said[1]})
        if words[:1] == ["api"] and len(words) > 2:
            group, version, *rest = "", *words[1:]
        elif words[:1] == ["apis"] and len(words) > 3:
            group, version, *rest = words[1:]
        else:
            raise refusals.nothing_here()
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = (*rest, "", "")[:3]
        resource = resources.find(group, version, plural)
        if resource is None:
            if all(group != each.group for each in resources.TABLE):
                raise refusals.nothing_here()
            raise refusals.no_such_resource()
        if sub and sub not in resource.subresources:
            raise refusals.no_such_resource()
        verb = self._verb(request, resource, name, sub)
        asked = f"{plural}/{sub}" if sub else plural
        user = self.access.who(request.headers, request.certificate)
        self._note(verb, asked, namespace, name, user.name)
        await self.faults.before(verb, asked)
        if resource.review:
            return Response(201, self.access.reviewed(user, self._body(request, resource, "")))
        self.access.check(user, verb, group, asked, namespace, name)
        if sub:
            return await self._sub(request, user, resource, namespace, name, sub, verb)
        return await self._do(verb, request, resource, namespace, name)

    def _note(self, verb: str, resource: str, namespace: str, name: str, user: str) -> None:
        at = asyncio.get_running_loop().time()
        self.calls.append(Call(verb, resource, namespace, name, user, at))

    def _verb(self, request: Request, resource: Resource, name: str, sub: str) -> str:
        of_one = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        of_all = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
        if resource.review:
            of_one, of_all = {}, {"POST": "create"}
        if sub:
            of_one = {**of_one, "POST": "create"}
        verb = (of_one if name else of_all).get(request.method)
        if verb is None:
            raise refusals.not_allowed()
        if request.method == "GET" and request.true("watch"):
            return "watch"
        return verb

    async def _do(
        self, verb: str, request: Request, resource: Resource, namespace: str, name: str
    ) -> Response:
        match verb:
            case "get":
                return Response(200, self.store.get(resource, namespace, name))
            case "list":
                return Response(200, self._list(request, resource, namespace))
            case "watch":
                return self._watch(request, resource, namespace, name)
            case "create":
                return Response(201, self.create(request, resource, namespace))
            case "update":
                return Response(200, self._update(request, resource, namespace, name))
            case "patch":
                return Response(200, self._patch(request, resource, namespace, name))
            case "delete":
                options = self._options(request)
                return Response(200, self.delete(resource, namespace, name, options))
        test = self._test(request, resource)
        options = self._options(request)
        gone = [it for it in self.store.all(resource, namespace) if test(it)]
        for it in gone:
            about = it["metadata"]
            self.delete(resource, about.get("namespace", ""), about["name"], options)
        return Response(200, self._listed(resource, gone, self.store.version))

    # --- reading -----------------------------------------------------------------------------

    def _test(self, request: Request, resource: Resource) -> selectors.Test:
        by_label = selectors.labels(request.get("labelSelector"))
        by_field = selectors.fields(request.get("fieldSelector"), resource.fields)
        return lambda it: by_label(it) and by_field(it)

    def _list(self, request: Request, resource: Resource, namespace: str) -> Object:
        test = self._test(request, resource)
        limit = self._integer(request.get("limit", "0"))
        version, after = self.store.version, ("", "")
        if request.get("continue"):
            version, after = self._continued(request.get("continue"))
            if version < self.store.oldest or version not in self._snapshots:
                raise refusals.expired_page()
        elif (asked := request.get("resourceVersion")) and self._version(asked) > version:
            raise future(int(asked), version)
        whole = self._snapshots.get(version) if after != ("", "") else None
        if whole is None:
            whole = [it for it in self.store.all(resource, namespace) if test(it)]
        left = [it for it in whole if _place(it) > after]
        told = self._listed(resource, left[:limit] if limit else left, version)
        if limit and len(left) > limit:
            self._snapshots[version] = whole
            where = {"rv": version, "start": _place(left[limit - 1])}
            token = base64.urlsafe_b64encode(json.dumps(where).encode()).decode().rstrip("=")
            told["metadata"]["continue"] = token
            if not request.get("labelSelector") and not request.get("fieldSelector"):
                told["metadata"]["remainingItemCount"] = len(left) - limit
        return told

    def _listed(self, resource: Resource, items: Iterable[Object], version: int) -> Object:
        about = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        bare = [{k: v for k, v in it.items() if k not in ("kind", "apiVersion")} for it in items]
        return {**about, "metadata": {"resourceVersion": str(version)}, "items": bare}

    def _continued(self, token: str) -> tuple[int, tuple[str, str]]:
        try:
            said = json.loads(base64.urlsafe_b64decode(token + "=="))
            return said["rv"], (said["start"][0], said["start"][1])
        except (ValueError, KeyError, TypeError):
            message = (
                "invalid continue token: continue key is not valid: invalid character 'Ç' looking "
                "for beginning of value"
            )
            raise refusals.bad_request(message) from None

    def _integer(self, text: str) -> int:
        try:
            return int(text or 0)
        except ValueError:
            message = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise refusals.bad_request(message) from None

    def _version(self, text: str) -> int:
        if not text.isdecimal():
            parsing = f'strconv.ParseUint: parsing "{text}": invalid syntax'
            raise Refusal(500, "", f'resourceVersion: Invalid value: "{text}": {parsing}')
        return int(text)

    # --- watching ----------------------------------------------------------------------------

    def _watch(self, request: Request, resource: Resource, namespace: str, name: str) -> Response:
        test = self._test(request, resource)
        if name:
            by_label = test
            test = lambda it: it["metadata"]["name"] == name and by_label(it)  # noqa: E731
        since = self._version(request.get("resourceVersion") or "0")
        lasts = float(request.get("timeoutSeconds") or WATCH)
        marks = request.true("allowWatchBookmarks")
        first = request.true("sendInitialEvents")
        events = self._events(resource, namespace, test, since, lasts, marks, first)
        return Response(200, events, {"Content-Type": "application/json"})

    async def _events(
        self,
        resource: Resource,
        namespace: str,
        test: selectors.Test,
        since: int,
        lasts: float,
        marks: bool,
        first: bool,
    ) -> AsyncIterator[bytes]:
        """Lines, until the time is over; a bookmark now and then where they are wanted."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Change]()
        mood = self.faults.watching
        self.store.heard.append(queue.put_nowait)
        until = loop.time() + lasts
        try:
            if since and since < self.store.oldest:
                status = refusals.too_old(since, self.store.oldest).status()
                yield line("ERROR", status)
                return
            if since == 0 or first:
                for it in self.store.all(resource, namespace):
                    if test(it):
                        yield line("ADDED", it)
                if first:
                    note = {"k8s.io/initial-events-end": "true"}
                    yield self._bookmark(resource, note)
            else:
                for change in [*self.store.history]:
                    if change.version > since:
                        queue.put_nowait(change)
            while (left := until - loop.time()) > 0:
                try:
                    async with asyncio.timeout(min(left, mood.bookmarks) if marks else left):
                        change = await queue.get()
                        await mood.fresh.wait()
                except TimeoutError:
                    if marks and mood.fresh.is_set() and loop.time() < until:
                        yield self._bookmark(resource, {})
                    continue
                told = event(change, resource, namespace, test)
                if told is not None and not mood.skip(*told):
                    yield line(*told)
                    if mood.twice:
                        yield line(*told)
        finally:
            self.store.heard.remove(queue.put_nowait)

    def _bookmark(self, resource: Resource, annotations: dict[str, str]) -> bytes:
        about: Object = {"resourceVersion": str(self.store.version)}
        if annotations:
            about["annotations"] = annotations
        said = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": about}
        return line("BOOKMARK", said)

    # --- changing ----------------------------------------------------------------------------

    def _body(self, request: Request, resource: Resource, namespace: str) -> Object:
        kind = request.headers.get("content-type", "application/json").partition(";")[0]
        if kind not in ("application/json", "application/yaml"):
            known = ("json", "yaml", "vnd.kubernetes.protobuf")
            raise refusals.unsupported_media(kind, [f"application/{each}" for each in known])
        try:
            said = json.loads(request.body)
        except ValueError:
            what = request.body.decode("utf-8", "replace")
            raise refusals.bad_request(
                f"the object provided is unrecognized (must be of type {resource.kind}): couldn't "
                f"get version/kind; json parse error: unexpected end of JSON input ({what})"
            ) from None
        if said.get("kind", resource.kind) != resource.kind:
            other = said["kind"]
            raise refusals.bad_request(
                f'{other} in version "v1" cannot be handled as a {resource.kind}: converting '
                f"(v1.{other}) to (core.{resource.kind}): unknown conversion"
            )
        typed(said, resource)
        there = (said.get("metadata") or {}).get("namespace")
        if resource.namespaced and there not in (None, "", namespace):
            raise refusals.bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        assert isinstance(said, dict)
        return said

    def create(self, request: Request, resource: Resource, namespace: str) -> Object:
        said = self._body(request, resource, namespace)
        if resource.namespaced:
            self.store.get(NAMESPACES, "", namespace)
        made = resources.checked(said, resource, namespace)
        self.admission.admit(resource, made)
        if request.get("dryRun"):
            return made
        return self.store.create(resource, made)

    def _update(
        self, request: Request, resource: Resource, namespace: str, name: str, only: str = ""
    ) -> Object:
        said = self._body(request, resource, namespace)
        about = said.setdefault("metadata", {})
        about.setdefault("name", name)
        if resource.namespaced:
            about.setdefault("namespace", namespace)
        said |= {"kind": resource.kind, "apiVersion": resource.api_version}
        return self._replaced(resource, namespace, name, said, only)

    def _replaced(
        self, resource: Resource, namespace: str, name: str, new: Object, only: str = ""
    ) -> Object:
        old = self.store.get(resource, namespace, name)
        if not only:
            causes = [*resources.metadata(new, resource)]
            if causes:
                raise refusals.invalid(resource.kind, resource.group, name, causes)
            if refusal := resources.unchangeable(old, new, resource):
                raise refusal
        return self.store.replace(resource, new, only=only)

    def _patch(
        self, request: Request, resource: Resource, namespace: str, name: str, only: str = ""
    ) -> Object:
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind not in (patches.MERGE, patches.STRATEGIC, patches.JSON, patches.APPLY):
            raise patches.unsupported()
        if kind == patches.APPLY and self.store.find(resource, namespace, name) is None:
            request.headers = {**request.headers, "content-type": "application/yaml"}
            return self.create(request, resource, namespace)
        old = self.store.get(resource, namespace, name)
        new = patches.patched(old, json.loads(request.body), kind)
        if new.get("metadata", {}).get("resourceVersion") == old["metadata"]["resourceVersion"]:
            new = {**new, "metadata": {**new["metadata"], "resourceVersion": ""}}
        return self._replaced(resource, namespace, name, new, only)

    def _options(self, request: Request) -> Object:
        said: Object = {}
        if request.body:
            try:
                said = json.loads(request.body)
            except ValueError:
                raise refusals.bad_request("unexpected end of JSON input") from None
        for key in ("gracePeriodSeconds", "propagationPolicy"):
            if key in request.query:
                value = request.get(key)
                said[key] = int(value) if key == "gracePeriodSeconds" else value
        return said

    def delete(self, resource: Resource, namespace: str, name: str, options: Object) -> Object:
        """Gone, or going; what the server says to that."""
        it = self.store.get(resource, namespace, name)
        about = it["metadata"]
        for key, value in (options.get("preconditions") or {}).items():
            if about.get(key) != value:
                word = "UID" if key == "uid" else "ResourceVersion"
                why = (
                    f"the {word} in the precondition ({value}) does not match the {word} in record "
                    f"({about.get(key)}). The object might have been deleted and then recreated"
                )
                of = resource.kind if resource is PODS else resource.plural
                raise refusals.conflict(of, resource.group, name, why)
        if resource is PODS:
            return self._delete_pod(it, options)
        if about.get("finalizers") or resource is NAMESPACES:
            return self._going(resource, it, 0)
        self.store.remove(resource, namespace, name)
        told = refusals.details(resource.plural, resource.group, name, uid=about["uid"])
        said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return {**said, "details": told}

    def _delete_pod(self, it: Object, options: Object) -> Object:
        about, spec = it["metadata"], it["spec"]
        grace = options.get("gracePeriodSeconds")
        grace = spec["terminationGracePeriodSeconds"] if grace is None else grace
        if not spec.get("nodeName") or it["status"]["phase"] in ("Succeeded", "Failed"):
            grace = 0
        if grace == 0 and not about.get("finalizers"):
            self.store.remove(PODS, about["namespace"], about["name"])
            return it
        return self._going(PODS, it, grace)

    def _going(self, resource: Resource, it: Object, grace: int) -> Object:
        about = it["metadata"]
        old = about.get("deletionGracePeriodSeconds")
        if "deletionTimestamp" in about and (old is None or old <= grace):
            return it
        end = datetime.now(UTC) + timedelta(seconds=grace)

        def go(it: Object) -> None:
            it["metadata"]["deletionTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
            it["metadata"]["deletionGracePeriodSeconds"] = grace
            if resource is NAMESPACES:
                it["status"]["phase"] = "Terminating"
                del it["metadata"]["deletionGracePeriodSeconds"]

        return self.store.edit(resource, about.get("namespace", ""), about["name"], go)

    # --- subresources ------------------------------------------------------------------------

    async def _sub(
        self,
        request: Request,
        user: User,
        resource: Resource,
        namespace: str,
        name: str,
        sub: str,
        verb: str,
    ) -> Response | ExecAsked:
        it = self.store.get(resource, namespace, name)
        if sub == "status":
            match verb:
                case "get":
                    return Response(200, it)
                case "update":
                    return Response(200, self._update(request, resource, namespace, name, sub))
                case "patch":
                    return Response(200, self._patch(request, resource, namespace, name, sub))
        elif sub == "exec" and verb in ("get", "create"):
            # Whoever may not create may not get either, whatever the verb: since 1.35.
            self.access.check(user, "create", "", "pods/exec", namespace, name)
            return self._exec(request, it)
        elif sub == "log" and verb == "get":
            return Response(200, self._log(request, it), {"Content-Type": "text/plain"})
        elif sub == "eviction" and verb == "create":
            self.store.edit(PODS, namespace, name, evicting)
            self.delete(PODS, namespace, name, {})
            said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
            return Response(201, {**said, "code": 201})
        raise refusals.not_allowed()

    def _container(self, request: Request, it: Object) -> str:
        names = [container["name"] for container in it["spec"]["containers"]]
        asked, name = request.get("container"), it["metadata"]["name"]
        if asked and asked not in names:
            raise refusals.bad_request(f"container {asked} is not valid for pod {name}")
        if not asked and len(names) > 1:
            raise refusals.bad_request(
                f"a container name must be specified for pod {name}, choose one of: "
                f"[{' '.join(names)}]"
            )
        return asked or names[0]

    def _exec(self, request: Request, it: Object) -> ExecAsked:
        container = self._container(request, it)
        node = it["spec"].get("nodeName")
        if not node:
            name = it["metadata"]["name"]
            raise refusals.bad_request(f"pod {name} does not have a host assigned")
        if not request.upgrades:
            raise refusals.bad_request("Upgrade request required")
        kubelet = self.kubelets[node]
        kubelet.reached()
        return ExecAsked(kubelet, it, container, request)

    def _log(self, request: Request, it: Object) -> bytes | AsyncIterator[bytes]:
        container, name = self._container(request, it), it["metadata"]["name"]
        node = it["spec"].get("nodeName")
        if not node:
            return b""
        kubelet = self.kubelets[node]
        kubelet.reached()
        raw = kubelet.log(it, container)
        if raw is None:
            statuses = it["status"].get("containerStatuses") or ()
            (state,) = [each["state"] for each in statuses if each["name"] == container] or [{}]
            why = (state.get("waiting") or {}).get("reason", "ContainerCreating")
            raise refusals.bad_request(
                f'container "{container}" in pod "{name}" is waiting to start: {why}'
            )
        if request.true("follow"):
            return kubelet.follow(it, container)
        if request.get("tailLines"):
            lines = raw.splitlines(keepends=True)
            raw = b"".join(lines[max(0, len(lines) - int(request.get("tailLines"))) :])
        if request.get("limitBytes"):
            raw = raw[: int(request.get("limitBytes"))]
        return raw


def typed(said: Object, resource: Resource) -> None:
    """What Go could not read."""
    for part in ("data", "binaryData", "stringData"):
        for value in (said.get(part) or {}).values() if resource.plural != "events" else ():
            if not isinstance(value, str):
                raise refusals.bad_request(
                    f'{resource.kind} in version "v1" cannot be handled as a {resource.kind}: '
                    "json: cannot unmarshal number into Go struct field "
                    f"{resource.kind}.{part} of type string"
                )


def evicting(it: Object) -> None:
    """What an eviction by the API leaves on a pod until it is gone."""
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    condition["message"] = "Eviction API: evicting"
    it["status"].setdefault("conditions", []).append(condition)


def future(asked: int, current: int) -> Refusal:
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    told = {"causes": [cause], "retryAfterSeconds": 1}
    return Refusal(504, "Timeout", message, told, headers={"Retry-After": "1"})


def event(
    change: Change, resource: Resource, namespace: str, test: Callable[[Object], bool]
) -> tuple[str, Object] | None:
    """What a watch of these sees of a change."""
    if change.resource is not resource:
        return None
    if namespace and change.last["metadata"].get("namespace") != namespace:
        return None
    before = change.old is not None and test(change.old)
    after = change.new is not None and test(change.new)
    if after:
        return ("MODIFIED" if before else "ADDED"), change.last
    if before:
        assert change.old is not None
        return "DELETED", versioned(change.old, change.version)
    return None


def line(kind: str, it: Object) -> bytes:
    return json.dumps({"type": kind, "object": it}).encode() + b"\n"


def _place(it: Object) -> tuple[str, str]:
    return it["metadata"].get("namespace", ""), it["metadata"]["name"]
