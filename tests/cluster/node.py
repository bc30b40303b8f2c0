"""A node of a test cluster: containerd, kubelet, kube-proxy, and who enforces network policies."""

import json
import subprocess
from pathlib import Path

from cluster.certificates import Authority
from cluster.control import ADDRESS, REGISTRY, SERVER, Control
from cluster.machine import Machine, until

#: Whose images the nodes pull from our registry, as if it were those.
MIRRORED = ("docker.io", "registry.test", REGISTRY)
PAUSE = "registry.test/pause:1"
PODS = "10.244.0.0/16"

CONTAINERD = """
version = 2
root = "{home}/root"
state = "{home}/state"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{home}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true # to lower it takes CAP_SYS_RESOURCE, which root may lack
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{home}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{home}/registries"
"""
HOSTS = f"""
server = "http://{REGISTRY}"
[host."http://{REGISTRY}"]
  capabilities = ["pull", "resolve"]
"""
#: Packets to and from pods wait in a queue until ``network-policies`` has decided. What the node
#: itself sends are the kubelet's probes.
RULES = """*mangle
:POLICIES - [0:0]
-A POSTROUTING -j POLICIES
-A POLICIES -m owner --uid-owner 0 -j RETURN
-A POLICIES -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
-A POLICIES -s {pods} -j NFQUEUE --queue-num 100
-A POLICIES -d {pods} -j NFQUEUE --queue-num 100
COMMIT
"""


class Node(Machine):
    """Number 1, 2, …: its name, its address and the range of its pods."""

    def __init__(self, number: int, home: Path) -> None:
        super().__init__(f"n{number}", home)
        self.number = number
        self.address = f"10.99.0.1{number}"
        self.pods = f"10.244.{number}.0/24"

    # -- its network

    def connect(self, control: Control, others: list["Node"]) -> None:
        """One cable to the bridge; a route to the pods of each other node."""
        there = str(control.pid("keeper"))
        pair = ("type", "veth", "peer", "name", f"v{self.name}", "netns", there)
        here = str(self.pid("keeper"))
        cable = ["ip", "link", "add", "eth0", "netns", here, *pair]
        subprocess.run(cable, check=True)  # out here, where both process ids mean something
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", ADDRESS)
        control.run("ip", "link", "set", f"v{self.name}", "master", "br0", "up")
        control.run("ip", "route", "add", self.pods, "via", self.address)
        for other in others:
            if other is not self:
                self.run("ip", "route", "add", other.pods, "via", other.address)
        # what two pods of a node say to each other passes a bridge: policies are about that, too
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")

    def unplug(self, control: Control) -> None:
        """Pull its cable; ``plug`` puts it back."""
        control.run("ip", "link", "set", f"v{self.name}", "down")

    def plug(self, control: Control) -> None:
        control.run("ip", "link", "set", f"v{self.name}", "up")

    # -- its programs

    @property
    def socket(self) -> Path:
        return self.home / "containerd.sock"

    def contain(self, archives: list[Path]) -> None:
        """Containerd with these images."""
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": f"{self.home}/addresses",
                "ranges": [[{"subnet": self.pods}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}
        self._write("cni/10-pods.conflist", json.dumps(network))
        for name in MIRRORED:
            self._write(f"registries/{name}/hosts.toml", HOSTS)
        config = self._write("containerd.toml", CONTAINERD.format(home=self.home, pause=PAUSE))
        self.start("containerd", "containerd", "--config", str(config))
        until(self.socket.exists, 30, f"containerd listens: {self.log('containerd')}")
        for archive in archives:
            self.images("import", str(archive))

    def stop(self) -> None:
        """Its containers' control groups are all that outlives it."""
        containers = self.home / "state/io.containerd.runtime.v2.task/k8s.io"
        groups = {path.name for path in containers.iterdir()} if containers.exists() else set()
        super().stop()
        for tree in {path.parent for path in Path("/sys/fs/cgroup").glob("**/k8s.io/*/")}:
            for group in groups:
                if (tree / group).exists():
                    (tree / group).rmdir()
            if not any(each.is_dir() for each in tree.iterdir()):
                tree.rmdir()

    def images(self, *arguments: str) -> str:
        return self.run(
            "ctr", f"--address={self.socket}", "--namespace=k8s.io", "images", *arguments
        )

    def join(self, binary: Path, authority: Authority) -> None:
        """The kubelet; it makes the node known when the API server is there."""
        subject = f"/O=system:nodes/CN=system:node:{self.name}"
        addresses = (f"IP:{self.address}", f"DNS:{self.name}")
        kubeconfig = authority.kubeconfig(self.name, SERVER, subject, *addresses)
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{authority.home}/{self.name}.crt",
            "tlsPrivateKeyFile": f"{authority.home}/{self.name}.key",
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            # There may be no systemd, the version of control groups may be 1, and who runs this may
            # not be allowed to lower a score.
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": False,
            "podLogsDir": f"{self.home}/pods",
            "volumePluginDir": f"{self.home}/plugins",
            "resolvConf": "",
            "clusterDNS": ["10.96.0.10"],
            "clusterDomain": "cluster.local",
            # The disk is the machine's, and others fill it.
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "serializeImagePulls": False,
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
            "syncFrequency": "10s",
            "nodeStatusUpdateFrequency": "5s",
            "maxPods": 250,
        }
        path = self._write("kubelet.json", json.dumps(config))
        self.start(
            "kubelet",
            *(str(binary), "kubelet", f"--config={path}", f"--kubeconfig={kubeconfig}"),
            *(f"--hostname-override={self.name}", f"--node-ip={self.address}"),
            f"--root-dir={self.home}/kubelet",
        )

    def forward(self, binary: Path, proxy: Path, policies: Path) -> None:
        """Services have addresses, and policies an effect."""
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(proxy)},
            "hostnameOverride": self.name,
            "clusterCIDR": PODS,
            "conntrack": {"maxPerCore": 0, "min": 0},
        }
        path = self._write("proxy.json", json.dumps(config))
        self.start("kube-proxy", str(binary), "kube-proxy", f"--config={path}")
        self.run("iptables-restore", "--noflush", text=RULES.format(pods=self.pods))
        who = (f"--kubeconfig={policies}", f"--node={self.name}")
        self.start("network-policies", str(binary), "network-policies", *who)

    def _write(self, name: str, text: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
