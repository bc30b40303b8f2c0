"""Which cluster, namespace and user a location's name means."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook._base import contexts, endpoints
from tfnz_notebook.errors import Misuse, NoEngine


def kubeconfig(
    path: Path, *names: str, current: str = "", server: str = "", **context: Any
) -> Path:
    """A file with contexts of these names, each with a cluster and a user of that name."""
    told = {
        "current-context": current,
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, **context}} for name in names
        ],
        "clusters": [
            {"name": name, "cluster": {"server": server or f"https://{name}.test"}}
            for name in names
        ],
        "users": [{"name": name, "user": {"token": f"of {path.name}"}} for name in names],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told))  # JSON is YAML
    return path


def files(*paths: Path) -> dict[str, str]:
    return {"KUBECONFIG": os.pathsep.join(map(str, paths))}


def test_of_several_files_the_first_says_what_both_say(tmp_path: Path) -> None:
    one = kubeconfig(tmp_path / "one", "a", "b")
    two = kubeconfig(tmp_path / "sub" / "two", "b", "c", current="c")
    environ = files(one, tmp_path / "missing", two, one)
    assert contexts.names(environ) == ["c", "a", "b"]  # the current one first
    assert contexts.find("kubernetes", environ).name == "c"
    b, c = (contexts.find(f"kubernetes://{name}", environ) for name in "bc")
    assert (b.user.said["token"], b.user.home) == ("of one", tmp_path)
    assert (c.user.said["token"], c.user.home) == ("of two", tmp_path / "sub")
    assert contexts.read(environ).files == [one, tmp_path / "missing", two]


def test_without_the_variable_it_is_the_users_own(tmp_path: Path) -> None:
    kubeconfig(tmp_path / ".kube" / "config", "mine", current="mine")
    assert contexts.find("kubernetes", {"HOME": str(tmp_path)}).name == "mine"
    assert contexts.names({"HOME": str(tmp_path / "nobody")}) == []


@pytest.mark.parametrize(
    ("where", "name", "namespace"),
    [
        ("kubernetes", "a/b:c", "default"),
        ("kubernetes://", "a/b:c", "default"),
        ("kubernetes:///team-1", "a/b:c", "team-1"),
        ("kubernetes://a%2Fb%3Ac", "a/b:c", "default"),
        ("kubernetes://a%2Fb:c/", "a/b:c", "default"),
        ("kubernetes://a%2Fb%3Ac/x", "a/b:c", "x"),
        ("kubernetes://ü@example.com/x", "ü@example.com", "x"),
    ],
)
def test_names(tmp_path: Path, where: str, name: str, namespace: str) -> None:
    environ = files(kubeconfig(tmp_path / "k", "a/b:c", "ü@example.com", current="a/b:c"))
    found = contexts.find(where, environ)
    assert (found.name, found.namespace) == (name, namespace)
    again = contexts.find(found.where, environ)  # means just this
    assert (again.name, again.namespace) == (name, namespace)


def test_a_contexts_own_namespace(tmp_path: Path) -> None:
    environ = files(kubeconfig(tmp_path / "k", "a", namespace="team"))
    assert contexts.find("kubernetes://a", environ).namespace == "team"
    assert contexts.find("kubernetes://a/x", environ).namespace == "x"


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("kubernetes://a/b/c", "percent-encoded.*'kubernetes://a%2Fb%2Fc'"),
        ("kubernetes://a/x?y=1", "percent-encoded"),
        ("kubernetes://a/Team", "'Team' is no name of a namespace"),
        ("kubernetes://a/x_y", "no name of a namespace"),
        ("kubernetes://a/" + "x" * 64, "at most 63"),
        ("kubernetes://a/-x", "no name of a namespace"),
        ("kubernetes://a%00b/x", "cannot be printed"),
        ("kubernetes:a", "Write 'kubernetes://CONTEXT/NAMESPACE'"),
        ("kubernetes+exec", "Write"),
    ],
)
def test_names_that_are_none(where: str, why: str) -> None:
    with pytest.raises(Misuse, match=why):
        contexts.find(where, {})


def test_contexts_that_are_not_there(tmp_path: Path) -> None:
    k = kubeconfig(tmp_path / "k", "b", "a", "arn:aws:eks:eu:1:cluster/x")
    for where, why in (
        ("kubernetes://x", rf"Cannot use the context 'x': .*{k}\. Contexts: a, arn:.*, b\."),
        ("kubernetes://arn:aws:eks:eu:1:cluster/x", "write 'kubernetes://arn%3Aaws%3A.*%2Fx'"),
        ("kubernetes", "no context is the current one"),
    ):
        with pytest.raises(NoEngine, match=why):
            contexts.find(where, files(k))
    with pytest.raises(NoEngine, match="KUBECONFIG, or make one"):
        contexts.find("kubernetes", files(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("a: [", "no YAML .*in line"),
        ("\tx", "no YAML"),
        ("[1, 2]", "no mapping"),
        ("just words", "no mapping"),
        ("!!python/object/apply:os.system ['touch x']", "no YAML"),
        ("contexts: 1", "'contexts' is no list"),
        ("contexts: [1]", "an entry of 'contexts' has no 'context'"),
        ("users: [{name: x, user: 1}]", "an entry of 'users' has no 'user'"),
        ("x: " + "[" * 100_000 + "]" * 100_000, "no mapping"),
        ("#" * (5 << 20), "more than 4 MiB"),
        ("a: \x00", "no YAML"),
        ("contexts: [{name: c, context: {cluster: k, namespace: A}}]", "'A' is no name"),
        ("contexts: [{name: c, context: {cluster: k}}]", "names the cluster 'k', which is not"),
        ("contexts: [{name: c, context: {}}]", "names no cluster"),
        ("contexts: [{name: c}]", "names no cluster"),
        (
            "{contexts: [{name: c, context: {cluster: k, user: u}}], clusters: [{name: k}]}",
            "names the user 'u', which is not there",
        ),
    ],
)
def test_bad_kubeconfigs_are_clear_errors(tmp_path: Path, said: str, why: str) -> None:
    (tmp_path / "k").write_text(said)
    with pytest.raises(NoEngine, match=rf"^Cannot use the [ck].*{why}") as caught:
        contexts.find("kubernetes://c", files(tmp_path / "k"))
    assert str(tmp_path / "k") in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NoEngine, match="Is a directory"):
        contexts.find("kubernetes", files(tmp_path))


# --- whose agent --------------------------------------------------------------------------------


def test_two_names_of_one_place_are_one_agent(tmp_path: Path) -> None:
    told = json.loads(kubeconfig(tmp_path / "k", "a", current="a").read_text())
    told["contexts"] += [
        {"name": "other", "context": {"cluster": "a", "user": "a", "namespace": "team"}},
        {"name": "root", "context": {"cluster": "a", "user": "root"}},
    ]
    told["users"].append({"name": "root", "user": {"as": "root"}})
    (tmp_path / "k").write_text(json.dumps(told))
    environ = files(tmp_path / "k")
    a = endpoints.resolve("kubernetes", environ)
    same = ("kubernetes://a", "kubernetes://a/default", "kubernetes:///default")
    assert {endpoints.resolve(each, environ).name for each in same} == {a.name}
    assert (a.where, a.key, a.former) == ("kubernetes://a/default", a.name, "")
    assert endpoints.kind(a.where) == "kubernetes"
    assert a.name.startswith("kubernetes-")
    team = endpoints.resolve("kubernetes:///team", environ)
    assert team.name == endpoints.resolve("kubernetes://other", environ).name != a.name
    assert endpoints.resolve("kubernetes://root", environ).name not in (a.name, team.name)


def test_what_becomes_current_later_moves_nobody(tmp_path: Path) -> None:
    k = kubeconfig(tmp_path / "k", "a", "b", current="a")
    before = endpoints.resolve("kubernetes", files(k))
    kubeconfig(k, "a", "b", current="b")
    assert endpoints.resolve(before.where, files(k)).name == before.name
    assert endpoints.resolve("kubernetes", files(k)).name != before.name


# --- in a pod -----------------------------------------------------------------------------------


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    account = tmp_path / "account"
    account.mkdir()
    for name in ("token", "ca.crt"):
        (account / name).write_text(name)
    (account / "namespace").write_text("jupyter\n")
    monkeypatch.setattr(contexts, "ACCOUNT", account)
    return {
        "HOME": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": "fd00::1",
        "KUBERNETES_SERVICE_PORT": "6443",
    }


def test_in_a_pod_it_is_the_pods_account(pod: dict[str, str]) -> None:
    for where in ("kubernetes", "kubernetes://in-cluster", "kubernetes://in-cluster/jupyter"):
        found = contexts.find(where, pod)
        assert (found.name, found.namespace) == ("in-cluster", "jupyter")
        assert found.server == "https://[fd00::1]:6443"
        assert found.user.home / found.user.said["tokenFile"] == contexts.ACCOUNT / "token"
    assert contexts.names(pod) == ["in-cluster"]
    assert contexts.find("kubernetes:///x", pod).namespace == "x"
    named = {**pod, "HOSTNAME": "jupyter-1"}
    assert contexts.find("kubernetes", named).pod == "jupyter-1"
    assert contexts.find("kubernetes", {**named, "POD_NAME": "agent-1"}).pod == "agent-1"
    assert contexts.find("kubernetes:///x", named).pod == "", "it is in another namespace"
    (contexts.ACCOUNT / "namespace").unlink()
    assert contexts.find("kubernetes", pod).namespace == "default"
    assert contexts.find("kubernetes", {**pod, "POD_NAMESPACE": "p"}).namespace == "p"


def test_in_a_pod_a_kubeconfig_comes_first(pod: dict[str, str], tmp_path: Path) -> None:
    k = kubeconfig(tmp_path / ".kube" / "config", "a", current="a")
    assert contexts.find("kubernetes", pod).name == "a"
    k.unlink()
    (contexts.ACCOUNT / "token").unlink()
    with pytest.raises(NoEngine, match="no context"):
        contexts.find("kubernetes", pod)
