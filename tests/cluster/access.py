"""Who the tests are: an account that may do in one namespace what the documented role says."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.control import ROOT
from cluster.kubectl import Kubectl

ROLE = ROOT / "docs" / "kubernetes" / "role"
ACCOUNT = "tfnz-notebook"
NAMESPACE = "tfnz-test"


def kubeconfig(kubectl: Kubectl, path: Path, account: str = ACCOUNT) -> Path:
    """That account's, at the server of the one who asks, written there."""
    told = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
    token = kubectl("create", "token", account, "--duration=24h")
    (context,) = told["contexts"]
    context["context"].update({"user": account, "namespace": kubectl.namespace})
    told["users"] = [{"name": account, "user": {"token": token}}]
    path.write_text(json.dumps(told, indent=1))
    path.chmod(0o600)
    return path


@contextmanager
def admitted(kubectl: Kubectl, home: Path, *, wait: bool) -> Iterator[tuple[str, Path]]:
    """A namespace and the kubeconfig of who may work there; afterwards it is deleted.

    ``wait``: until it is gone. Where the cluster ends next, or forgets it, nobody has to.
    """
    namespace = f"{NAMESPACE}-{os.getpid()}"
    kubectl("create", "namespace", namespace)
    try:
        there = kubectl.within(namespace)
        there("apply", f"--kustomize={ROLE}")
        yield namespace, kubeconfig(there, home / f"{namespace}.kubeconfig")
    finally:
        until_gone = ("--timeout=120s",) if wait else ("--wait=false",)
        kubectl("delete", "namespace", namespace, *until_gone)


def forget(kubectl: Kubectl) -> None:
    """Delete the namespaces of runs that were killed: for who alone may have some there."""
    names = kubectl("get", "namespaces", "--output=name").split()
    if left := [name for name in names if name.startswith(f"namespace/{NAMESPACE}-")]:
        kubectl("delete", *left, "--timeout=120s")
