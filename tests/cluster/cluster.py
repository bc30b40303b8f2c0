"""A test cluster as a whole: brought up, asked, taken down without a trace."""

import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster.build import binary
from cluster.certificates import Authority
from cluster.control import ADDRESS, ARCHIVE, ROOT, SERVER, Control
from cluster.kubectl import Kubectl
from cluster.machine import PATH, until
from cluster.node import PAUSE, Node

NODES = 2
PLACE = Path("/var/lib")
#: There while bridges' packets may be filtered.
FILTER = Path("/proc/sys/net/bridge")
#: Volumes for claims, on each node; each says that it has 10 GiB.
VOLUMES = 40


class Cluster:
    """Known by where it lies: an object of another Python finds what an earlier one started."""

    def __init__(self, name: str = "") -> None:
        self.home = PLACE / (name or os.environ.get("TFNZ_CLUSTER", "tfnz-cluster"))
        self.authority = Authority(self.home / "pki")
        self.control = Control("control", self.home / "control")
        self.nodes = [Node(number, self.home / f"n{number}") for number in range(1, NODES + 1)]

    @property
    def machines(self) -> list[Control | Node]:
        return [self.control, *self.nodes]

    @property
    def kubectl(self) -> Kubectl:
        """As its administrator, from this machine."""
        return Kubectl([str(self.home / "kubectl")], self.authority.home / "admin.kubeconfig")

    @property
    def alive(self) -> bool:
        """Whether it came up whole, and all of it still runs."""
        return (self.home / "whole").exists() and all(
            machine.runs(program.name)
            for machine in self.machines
            for program in (machine.home / "programs").iterdir()
        )

    @property
    def stays(self) -> bool:
        """It is up, and :meth:`stay` was said: not what a run that was killed has left."""
        return (self.home / "stays").exists() and self.alive

    def stay(self) -> None:
        """It ends when it is told to."""
        (self.home / "stays").touch()

    def beside(self, mark: int) -> "Cluster":
        """Another, for the one who has this one's turn."""
        return Cluster(f"{self.home.name}-{mark}")

    # -- up and down

    def up(self) -> None:
        """From nothing, or from what is left of an earlier one, to nodes that take pods."""
        made = binary()
        self.down()
        for path in PLACE.glob(f"{self.home.name}-[0-9]*"):
            Cluster(path.name).down()
        _filters_bridges()
        self.home.mkdir()
        (self.home / "kubectl").symlink_to(made)
        pause = self._pause()
        self.authority.found()
        for machine in self.machines:
            machine.boot(pause)
        self.control.connect()
        for node in self.nodes:
            node.connect(self.control, self.nodes)
        archives = [self._pause_image(pause), self._images()]
        with ThreadPoolExecutor() as together:
            filled = [together.submit(node.contain, archives) for node in self.nodes]
            self.control.serve(made, self.authority)
            self.bridge("bridge", self._address("api"), "6443")
            self.bridge("registry-bridge", self._address("registry"), "5000")
            self.authority.kubeconfig(
                "admin", f"https://{self._address('api')}", "/O=system:masters/CN=admin"
            )
            until(
                self._ready, 120, f"the API server is ready: {self.control.log('kube-apiserver')}"
            )
            self.control.direct(made, self.authority)
            self.control.keep_images(archives[1])
            for each in filled:
                each.result()
        proxy = self.authority.kubeconfig("proxy", SERVER, "/CN=system:kube-proxy")
        policies = self.authority.kubeconfig("policies", SERVER, "/O=system:masters/CN=policies")
        for node in self.nodes:
            node.join(made, self.authority)
            node.forward(made, proxy, policies)
        self._offer_volumes()
        ready = ("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        until(
            lambda: self.kubectl.tried("get", *(f"node/{node.name}" for node in self.nodes)),
            60,
            "nodes",
        )
        self.kubectl(*ready)
        (self.home / "whole").touch()

    def down(self) -> None:
        """End it, or what is left of it."""
        (self.home / "whole").unlink(missing_ok=True)
        for machine in reversed(self.machines):
            machine.stop()
        if self.home.exists():
            shutil.rmtree(self.home)

    def _pause(self) -> Path:
        made, source = self.home / "pause", Path(__file__).parent / "pause.c"
        subprocess.run(["cc", "-static", "-Os", "-s", "-o", made, source], check=True)
        return made

    def _pause_image(self, pause: Path) -> Path:
        tree, archive = self.home / "pause-tree.tar", self.home / "pause.tar"
        subprocess.run(["tar", "-cf", tree, "-C", pause.parent, pause.name], check=True)
        image = ("--image", PAUSE, tree, 'ENTRYPOINT ["/pause"]')
        subprocess.run(["python3", ARCHIVE, "make", archive, *image], check=True)
        return archive

    def _images(self) -> Path:
        """Those that tests and notebooks name."""
        archive = self.home / "images.tar"
        subprocess.run([ROOT / ".ci/images", "archive", archive], check=True)
        return archive

    def _address(self, of: str) -> str:
        """A port of the loopback that leads there; the same one each time it is asked for."""
        told = self.home / f"address-{of}"
        if not told.exists():
            with socket.create_server(("127.0.0.1", 0)) as free:
                told.write_text("{}:{}".format(*free.getsockname()))
        return told.read_text()

    def bridge(self, name: str, here: str, port: str) -> None:
        """Lead from an address of the loopback to a port of the control machine."""
        # seen from where it runs, the machine's keeper is process 1
        ways = ("--namespace=/proc/1/ns/net", f"--listen={here}", f"--to={ADDRESS}:{port}")
        program = str((self.home / "kubectl").resolve())
        self.control.start(name, program, "bridge", *ways, network=False)

    @property
    def registry(self) -> str:
        """What $TFNZ_REGISTRIES says of it: its images are those that docker.io would have."""
        return f"docker.io=http://{self._address('registry')}"

    def _ready(self) -> bool:
        return self.kubectl.tried("get", "--raw=/readyz")

    def _offer_volumes(self) -> None:
        """A class whose volumes are folders of one node: what is claimed there, is used there."""
        kind = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "local",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        volumes = [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{node.name}-{number}"},
                "spec": {
                    "storageClassName": "local",
                    "capacity": {"storage": "10Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "local": {"path": str(_made(node.home / "volumes" / str(number)))},
                    "nodeAffinity": {"required": on(node.name)},
                },
            }
            for node in self.nodes
            for number in range(VOLUMES)
        ]
        self.kubectl.create(kind, *volumes)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def on(node: str) -> dict[str, object]:
    """A selector of one node, by its name."""
    name = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"nodeSelectorTerms": [{"matchFields": [name]}]}


def _filters_bridges() -> None:
    """What policies need of the kernel, and the kernel does not load by itself."""
    if not FILTER.exists():
        load = ["modprobe", "br_netfilter"]
        subprocess.run(load, env={"PATH": PATH}, capture_output=True, check=False)
    if not FILTER.exists():
        sys.exit("Cannot start a node: this kernel has no br_netfilter. Load that module.")
