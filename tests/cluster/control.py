"""The machine of a test cluster that no pod runs on: etcd, the API server, controllers, scheduler.

Its bridge is what all machines of the cluster are plugged into. A registry is here, too.
"""

import json
from pathlib import Path

from cluster.certificates import Authority
from cluster.machine import Machine, until

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = str(ROOT / ".ci/archive.py")
ADDRESS = "10.99.0.1"
SERVER = f"https://{ADDRESS}:6443"
SERVICES = "10.96.0.0/16"
#: Where the API server is for pods: the first of the services' addresses.
SERVICE = "10.96.0.1"
REGISTRY = f"{ADDRESS}:5000"


class Control(Machine):
    """All its programs by their usual names, and ``registry``."""

    def connect(self) -> None:
        """The bridge that nodes are plugged into."""
        self.run("ip", "link", "add", "br0", "type", "bridge")
        self.run("ip", "address", "add", f"{ADDRESS}/24", "dev", "br0")
        self.run("ip", "link", "set", "br0", "up")

    def serve(self, binary: Path, authority: Authority) -> None:
        """Etcd and the API server, which waits for it."""
        pki = authority.home
        names = ("", ".default", ".default.svc")
        addresses = [f"DNS:kubernetes{each}" for each in names]
        addresses += ["DNS:localhost", "IP:127.0.0.1", f"IP:{ADDRESS}", f"IP:{SERVICE}"]
        certificate, key = authority.sign("apiserver", "/CN=kube-apiserver", *addresses)
        client = authority.sign("kubelet-client", "/O=system:masters/CN=kubelet-client")
        self.start("etcd", str(binary), "etcd", f"--data-dir={self.home}/etcd")
        self.start(
            "kube-apiserver",
            str(binary),
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            "--secure-port=6443",
            f"--advertise-address={ADDRESS}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={authority.certificate}",
            f"--kubelet-client-certificate={client[0]}",
            f"--kubelet-client-key={client[1]}",
            f"--kubelet-certificate-authority={authority.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/tokens.pub",
            f"--service-account-signing-key-file={pki}/tokens.key",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            "--profiling=false",
            # without these the controllers log an error a second
            f"--requestheader-client-ca-file={authority.certificate}",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        )

    def direct(self, binary: Path, authority: Authority) -> None:
        """What makes things so as the API server says they shall be."""
        for name, user, more in (
            (
                "kube-controller-manager",
                "system:kube-controller-manager",
                (
                    "--use-service-account-credentials",
                    f"--service-account-private-key-file={authority.home}/tokens.key",
                    f"--root-ca-file={authority.certificate}",
                    f"--flex-volume-plugin-dir={self.home}/flex",
                    # a namespace has its default account after 0.1 s instead of 5
                    "--kube-api-qps=500",
                    "--kube-api-burst=1000",
                    # a pod on a node that went away is evicted within a test's time
                    "--node-monitor-grace-period=20s",
                ),
            ),
            ("kube-scheduler", "system:kube-scheduler", ()),
        ):
            kubeconfig = authority.kubeconfig(name, SERVER, f"/CN={user}")
            uses = [
                f"--{each}kubeconfig={kubeconfig}"
                for each in ("", "authentication-", "authorization-")
            ]
            fixed = ("--leader-elect=false", "--bind-address=127.0.0.1")
            self.start(name, str(binary), name, *uses, *fixed, *more)

    def keep_images(self, archive: Path) -> None:
        """A registry at REGISTRY, over plain HTTP, with these images."""
        config = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": f"{self.home}/registry"}},
            "http": {"addr": REGISTRY},
        }
        path = self.home / "registry.json"
        path.write_text(json.dumps(config))  # JSON is YAML
        self.start("registry", "docker-registry", "serve", str(path))
        until(lambda: self.tried("curl", "-sf", f"http://{REGISTRY}/v2/"), 20, "the registry")
        self.run("python3", ARCHIVE, "push", str(archive), REGISTRY)
