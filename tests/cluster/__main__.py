"""``python -m cluster up``, ``down`` or ``build``: what `make cluster` runs."""

import os
import shutil
import subprocess
import sys
import time

from cluster.build import binary, say
from cluster.cluster import Cluster
from cluster.control import ROOT

HERE = ROOT / "build" / "cluster"


def up() -> None:
    """Bring it up unless it is; say how to use it."""
    cluster = Cluster()
    if cluster.alive:
        say("it is up already")
    else:
        began = time.monotonic()
        cluster.up()
        say(f"up in {time.monotonic() - began:.1f} s, with {len(cluster.nodes)} nodes")
    HERE.mkdir(parents=True, exist_ok=True)
    kubeconfig = HERE / "kubeconfig"
    shutil.copy(cluster.kubectl.kubeconfig, kubeconfig)
    kubectl = HERE / "kubectl"
    kubectl.unlink(missing_ok=True)
    kubectl.symlink_to(binary())
    if owner := os.environ.get("SUDO_UID"):
        os.chown(kubeconfig, int(owner), -1)
    say(f"KUBECONFIG={kubeconfig} {kubectl} get nodes")


def down() -> None:
    Cluster().down()
    shutil.rmtree(HERE, ignore_errors=True)
    say("down")


def build() -> None:
    """The binary alone, for who wants it early."""
    binary()


COMMANDS = {"up": up, "down": down, "build": build}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    if os.geteuid() != 0 and sys.argv[1] != "build":
        # what is built is the user's own; namespaces are root's to make
        binary()
        kept = "--preserve-env=PYTHONPATH,PATH,HOME,XDG_CACHE_HOME,TFNZ_CACHE,TFNZ_CLUSTER"
        sys.exit(subprocess.call(["sudo", kept, sys.executable, "-m", "cluster", sys.argv[1]]))
    COMMANDS[sys.argv[1]]()
