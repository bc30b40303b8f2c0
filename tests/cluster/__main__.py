"""What `make cluster` and `make test-cluster` run.

python -m cluster up            a cluster on this machine, unless it is up
python -m cluster down          its end
python -m cluster build         its binary alone, for who wants it early
python -m cluster with COMMAND  run that with what tests need to know in its environment: of this
                                cluster, which is ended if it was not up before, or of the one that
                                $KUBECONFIG names
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from cluster.access import admitted, forget
from cluster.build import binary, say
from cluster.cluster import Cluster
from cluster.control import ROOT
from cluster.kubectl import Kubectl
from cluster.turn import turn

HERE = ROOT / "build" / "cluster"
#: Of the environment, what root needs, too.
KEPT = (
    *("PYTHONPATH", "PATH", "HOME", "XDG_CACHE_HOME", "TFNZ_CACHE", "TFNZ_CLUSTER"),
    *("TFNZ_TEST_PATIENCE", "CI"),
)


def up() -> None:
    """Bring it up unless it is, to stay."""
    cluster = Cluster()
    start(cluster)
    cluster.stay()


def start(cluster: Cluster) -> None:
    """Bring it up unless it is; say how to use it. What a run that was killed has left, goes."""
    if cluster.stays:
        say("it is up already")
    else:
        began = time.monotonic()
        cluster.up()
        say(f"up in {time.monotonic() - began:.1f} s, with {len(cluster.nodes)} nodes")
    HERE.mkdir(parents=True, exist_ok=True)
    kubeconfig, kubectl = HERE / "kubeconfig", HERE / "kubectl"
    shutil.copy(cluster.authority.home / "admin.kubeconfig", kubeconfig)
    kubectl.unlink(missing_ok=True)
    kubectl.symlink_to(binary())
    if owner := os.environ.get("SUDO_UID"):
        os.chown(kubeconfig, int(owner), -1)
    say(f"KUBECONFIG={kubeconfig} {kubectl} get nodes")
    say(f"TFNZ_REGISTRIES={cluster.registry} tells the package where its images come from")


def down() -> None:
    """End it."""
    Cluster().down()
    shutil.rmtree(HERE, ignore_errors=True)
    say("down")


def elsewhere(command: Sequence[str]) -> int:
    """That command's exit code, on the cluster that $KUBECONFIG names."""
    if shutil.which("kubectl") is None:
        sys.exit("Cannot use the cluster of $KUBECONFIG: there is no kubectl. Install it.")
    say("the cluster is the one that $KUBECONFIG names")
    return _inside(Kubectl(["kubectl"], None), command, {}, wait=True)


def here(command: Sequence[str]) -> int:
    """That command's exit code, on ours."""
    cluster = Cluster()
    stays = cluster.stays
    try:
        start(cluster)
        forget(cluster.kubectl)
        own = {"TFNZ_TEST_CLUSTER": "own", "TFNZ_REGISTRIES": cluster.registry}
        return _inside(cluster.kubectl, command, own, wait=False)
    finally:
        if not stays:
            down()


def _inside(kubectl: Kubectl, command: Sequence[str], more: dict[str, str], *, wait: bool) -> int:
    HERE.mkdir(parents=True, exist_ok=True)
    with admitted(kubectl, HERE, wait=wait) as (namespace, kubeconfig):
        settings = {
            "TFNZ_TEST_KUBERNETES": str(kubeconfig),
            "TFNZ_TEST_NAMESPACE": namespace,
            "TFNZ_TEST_KUBECTL": " ".join(kubectl.program),
            "TFNZ_TEST_ADMIN": str(kubectl.kubeconfig or ""),
            "TFNZ_TEST_ENGINES": "kubernetes",
        }
        environment = {**os.environ, **settings, **more}
        return subprocess.run(command, env=environment, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    work: Callable[[], int | None]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was begun is ended
    match arguments:
        case ["build"]:
            binary()
            return 0
        case ["with", _, *_] if os.environ.get("KUBECONFIG"):
            return elsewhere(arguments[1:])
        case ["up" | "down"] | ["with", _, *_] if os.geteuid() != 0:
            binary()  # what is built is the user's own; namespaces are root's to make
            kept = f"--preserve-env={','.join(KEPT)}"
            return subprocess.call(["sudo", kept, sys.executable, "-m", "cluster", *arguments])
        case ["up"]:
            work = up
        case ["down"]:
            work = down
        case ["with", _, *_]:
            work = partial(here, arguments[1:])
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    with turn(Cluster().home.name):
        return work() or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
