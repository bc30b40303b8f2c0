"""Who asks, and what they may: tokens, client certificates, impersonation, rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from apiserver.objects.refusals import Object, Refusal, forbidden, unauthorized
from apiserver.objects.resources import ALL_VERBS


@dataclass(frozen=True)
class Rule:
    """As in a Role: ``resources`` may be ``pods/exec``; ``namespace`` '' is everywhere."""

    verbs: tuple[str, ...]
    resources: tuple[str, ...]
    groups: tuple[str, ...] = ("",)
    namespace: str = ""

    def allows(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        return (
            _in(verb, self.verbs)
            and _in(resource, self.resources)
            and _in(group, self.groups)
            and self.namespace in ("", namespace)
        )


def _in(word: str, words: Iterable[str]) -> bool:
    return word in words or "*" in words


EVERYTHING = Rule(("*",), ("*",), ("*",))


@dataclass
class User:
    """One of them."""

    name: str
    rules: list[Rule] = field(default_factory=list)


class Access:
    """All of them. A test adds tokens, and takes them away."""

    def __init__(self) -> None:
        self.admin = User("admin", [EVERYTHING])
        self.users = {"admin": self.admin}
        self.tokens = {"admin-token": "admin"}
        #: Whoever says nothing at all; None: 401.
        self.anonymous: User | None = None

    def grant(self, name: str, *rules: Rule, token: str = "") -> User:
        """A user of these rules alone, or more rules for one."""
        user = self.users.setdefault(name, User(name))
        user.rules += rules
        if token:
            self.tokens[token] = name
        return user

    def who(self, headers: dict[str, str], certificate: str) -> User:
        """Raises 401."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if token not in self.tokens:
                raise unauthorized()
            user = self.users[self.tokens[token]]
        elif certificate:
            user = self.users.get(certificate) or User(certificate)
        elif self.anonymous is not None:
            user = self.anonymous
        else:
            raise unauthorized()
        other = headers.get("impersonate-user")
        if other:
            self.check(user, "impersonate", "", "users", "", other)
            user = self.users.get(other) or User(other)
        return user

    def may(self, user: User, verb: str, group: str, resource: str, namespace: str) -> bool:
        return any(rule.allows(verb, group, resource, namespace) for rule in user.rules)

    def check(
        self, user: User, verb: str, group: str, resource: str, namespace: str, name: str
    ) -> None:
        """Raises 403."""
        if not self.may(user, verb, group, resource, namespace):
            raise denied(user, verb, group, resource, namespace, name)

    def reviewed(self, user: User, it: Object) -> Object:
        """The answer to a SelfSubject…Review."""
        spec = it.get("spec") or {}
        if it["kind"] == "SelfSubjectAccessReview":
            asked = spec.get("resourceAttributes") or {}
            resource = "/".join(filter(None, [asked.get("resource"), asked.get("subresource")]))
            place = asked.get("namespace", "")
            group, verb = asked.get("group", ""), asked.get("verb", "")
            status: Object = {"allowed": self.may(user, verb, group, resource, place)}
        elif it["kind"] == "SelfSubjectRulesReview":
            place = spec.get("namespace", "")
            status = {
                "resourceRules": [
                    {
                        "verbs": [*rule.verbs],
                        "apiGroups": [*rule.groups],
                        "resources": [*rule.resources],
                    }
                    for rule in user.rules
                    if rule.namespace in ("", place)
                ]
                + [
                    {
                        "verbs": ["create"],
                        "apiGroups": ["authorization.k8s.io"],
                        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                    }
                ],
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/version"]}],
                "incomplete": False,
            }
            spec = {}
        else:
            status, spec = {"userInfo": {"username": user.name}}, {}
        said = {key: it[key] for key in ("kind", "apiVersion")}
        told = {**said, "metadata": {}, "spec": spec, "status": status}
        if it["kind"] == "SelfSubjectReview":
            del told["spec"]
        return told


def denied(user: User, verb: str, group: str, resource: str, namespace: str, name: str) -> Refusal:
    place = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {verb} resource "{resource}" in API group "{group}" {place}'
    return forbidden(resource.partition("/")[0], group, name, why)


#: What docs/kubernetes grants; a namespace is enough.
def namespaced(namespace: str) -> list[Rule]:
    """Everything in one namespace, nothing outside."""
    return [Rule(ALL_VERBS, ("*",), ("*",), namespace)]
