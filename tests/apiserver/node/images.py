"""The images that nodes have, or can pull: trees made of what this machine has."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: As containerd parses a reference; what does not match is no image name.
_REFERENCE = re.compile(
    r"(?:(?P<host>localhost(?::\d+)?|[\w.-]+(?:\.[\w-]+|:\d+))/)?"
    r"(?P<path>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::(?P<tag>[\w.-]{1,128}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)


def canonical(name: str) -> str:
    """``busybox`` is ``docker.io/library/busybox:latest``; ValueError for no name."""
    found = _REFERENCE.fullmatch(name)
    if found is None:
        raise ValueError(name)
    path = found["path"]
    host = found["host"] or "docker.io"
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    tag = found["digest"] or f":{found['tag'] or 'latest'}"
    return f"{host}/{path}{tag}"


@dataclass
class Image:
    """One. ``kind`` names its tree; ``present``: nodes have it, else it has to be pulled."""

    kind: str
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=lambda: [PATH])
    user: str = ""
    workdir: str = "/"
    present: bool = True


def usual() -> dict[str, Image]:
    """Those of .ci/images, by their canonical names; and where the real cluster has them."""
    nginx = ["nginx", "-g", "daemon off;"]
    images = {
        "busybox": Image("busybox", command=["sh"]),
        "alpine": Image("busybox", command=["sh"]),
        "debian": Image("debian", command=["bash"]),
        "httpd": Image("debian", command=["bash"]),
        "nginx": Image("debian", command=nginx),
        "tfnz-empty": Image("empty"),
    }
    told = {canonical(name): image for name, image in images.items()}
    told["registry.test/busybox:1"] = images["busybox"]
    return told


class Trees:
    """Root file systems, each made when it is first wanted."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._one = threading.Lock()

    def of(self, kind: str) -> Path:
        """Raises LookupError where this machine cannot have it."""
        with self._one:  # several nodes may want it at once
            path = self._home / kind
            if not path.exists():
                path.mkdir(parents=True)
                if kind == "busybox":
                    busybox(path)
                elif kind != "empty":
                    self._unpacked(kind, path)
            return path

    def _unpacked(self, kind: str, path: Path) -> None:
        """Out of what .ci/images keeps."""
        usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tfnz-notebook"
        cache = Path(os.environ.get("TFNZ_CACHE", usual)) / "images"
        found = [*cache.glob(f"{kind}-*.tar")]
        if not found:
            path.rmdir()
            raise LookupError(f"no image of {kind}: run .ci/images")
        subprocess.run(["tar", "xf", found[0], "-C", path], check=True)


def busybox(root: Path) -> None:
    """The tree of .ci/images' busybox."""
    program = shutil.which("busybox")
    if program is None:
        raise LookupError("no busybox: run .ci/setup-system")
    top = ("bin", "sbin", "etc", "home", "proc", "sys", "dev", "var", "root")
    for name in (*top, "usr/bin", "usr/sbin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).mkdir()
        (root / name).chmod(0o1777)
    shutil.copy(program, root / "bin/busybox")
    listed = subprocess.run([program, "--list-full"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        if applet != "bin/busybox" and not (root / applet).exists():
            (root / applet).parent.mkdir(parents=True, exist_ok=True)
            (root / applet).symlink_to("/bin/busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
        "guest:x:405:100:guest:/home:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nusers:x:100:\nnogroup:x:65534:\n")


@functools.cache
def shared() -> Path:
    """What all clusters of this process have in common, made once."""
    path = temporary()
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def sandbox() -> Path | None:
    """sandbox.c as a program; None where this user, or this machine, can make no namespaces."""
    made = shared() / "sandbox"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source = Path(__file__).with_name("sandbox.c")
    subprocess.run([compiler, "-O1", "-o", str(made), str(source)], check=True)
    able = subprocess.run([made, "probe"], check=False, stderr=subprocess.DEVNULL)
    return made if able.returncode == 0 else None


def temporary() -> Path:
    """A short path that all users may enter."""
    path = Path(tempfile.mkdtemp(prefix="tfnz-k-"))
    path.chmod(0o711)
    return path
