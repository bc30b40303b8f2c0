"""Compiles the guest and bundles the views while the wheel, or an editable install, is made.

The views' bundles (``widgets/static``) are made by npm from ``_frontend``, unless they are there
already and fit their sources: a source distribution carries both, and is built without npm.

``TFNZ_GUEST_CC`` chooses the compiler:

- unset: ``musl-gcc`` when there is one (a guest of some tens of kB), else ``$CC``, ``cc``, ``gcc``
  or ``clang`` linking glibc statically (some hundreds). One guest, for the machine that builds; the
  wheel is tagged for it.
- ``ziglang``: PyPI's ziglang builds guests for x86-64 and aarch64 anywhere, and the wheel fits
  every platform.
- anything else: that compiler.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ARCHITECTURES = ("x86_64", "aarch64")


KINDS = ("output", "shell", "plot", "explorer")
#: In ``_frontend``, but no part of a bundle.
ASIDE = {"node_modules", "test", "dev", "dist"}


class CannotBuild(Exception):
    """The build stops; the message names the remedy."""


def compilers() -> dict[str, str]:
    """Which command compiles the guest for which architecture."""
    wanted = os.environ.get("TFNZ_GUEST_CC", "")
    if wanted == "ziglang":
        zig = f"{shlex.quote(sys.executable)} -m ziglang cc"
        probe = [sys.executable, "-m", "ziglang", "version"]
        if subprocess.run(probe, capture_output=True, check=False).returncode:
            raise CannotBuild(
                "Cannot build the guest: TFNZ_GUEST_CC=ziglang, but this Python has no ziglang. "
                "Install it (pip install ziglang) and build without isolation."
            )
        return {arch: f"{zig} -target {arch}-linux-musl -static" for arch in ARCHITECTURES}

    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform != "linux" or machine not in ARCHITECTURES:
        raise CannotBuild(
            f"Cannot build the guest: it is a Linux program for {' or '.join(ARCHITECTURES)}, and "
            f"this is {sys.platform} on {machine}. Install a wheel, or build with ziglang "
            "(pip install ziglang; TFNZ_GUEST_CC=ziglang)."
        )
    usual = ("musl-gcc", os.environ.get("CC"), "cc", "gcc", "clang")
    candidates = [name for name in (usual if not wanted else (wanted,)) if name]
    for candidate in candidates:
        if shutil.which(shlex.split(candidate)[0]):
            return {machine: candidate}
    raise CannotBuild(
        "Cannot build the guest: no C compiler. Install gcc (Debian: apt-get install gcc "
        f"libc6-dev) or name one in TFNZ_GUEST_CC. Looked for: {', '.join(candidates)}."
    )


class FrontEnd:
    """The views' TypeScript, and the bundles that npm makes of it."""

    def __init__(self, package: Path) -> None:
        self.sources = package / "_frontend"
        self.static = package / "widgets" / "static"
        self.bundles = [self.static / f"{kind}.js" for kind in KINDS]
        # Times lie in a fresh clone and in a source distribution; what is written here does not.
        self.stamp = self.static / "made-from"

    def build(self) -> bool:
        """Make the bundles, unless those that lie there were made from these very sources."""
        if self._fits():
            return False
        npm = shutil.which("npm")
        if npm is None:
            raise CannotBuild(
                "Cannot bundle the views: no npm. Install it (Debian: apt-get install npm), or "
                "install a wheel."
            )
        lock, installed = (
            self.sources / name for name in ("package-lock.json", "node_modules/.package-lock.json")
        )
        if not installed.is_file() or installed.stat().st_mtime < lock.stat().st_mtime:
            self._run(npm, "ci", "--no-audit", "--no-fund")
        self._run(npm, "run", "build")
        missing = [bundle.name for bundle in self.bundles if not bundle.is_file()]
        if missing:
            raise CannotBuild(f"Cannot bundle the views: npm made no {', '.join(missing)}.")
        self.stamp.write_text(self._identity())
        return True

    def _fits(self) -> bool:
        made = all(path.is_file() for path in (*self.bundles, self.stamp))
        return made and self.stamp.read_text() == self._identity()

    def _identity(self) -> str:
        """A hash over sources and bundles: either may have been changed by hand."""
        paths = []
        for folder, folders, names in os.walk(self.sources):
            folders[:] = sorted(set(folders) - ASIDE)
            paths += [Path(folder, name) for name in sorted(names)]
        digest = hashlib.sha256()
        for path in (*paths, *self.bundles):
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
        return digest.hexdigest() + "\n"

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, cwd=self.sources, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CannotBuild(
                f"Cannot bundle the views: npm {' '.join(command[1:])} failed. It said:\n"
                f"{done.stdout}{done.stderr}"
            )


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts into the wheel what ``make`` and npm make of the sources in other languages."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, before hatchling collects files. ``version`` is "standard" or "editable"."""
        try:
            front_end = FrontEnd(Path(self.root, "tfnz_notebook"))
            made = front_end.build()
            sizes = (f"{path.name} {path.stat().st_size:,}" for path in front_end.bundles)
            self.app.display_info(f"views: {', '.join(sizes)} bytes{'' if made else ', as before'}")
            if self.target_name == "wheel":
                self._build(version, build_data)
        except CannotBuild as error:
            self.app.abort(str(error))  # the message alone, no traceback through three libraries

    def _build(self, version: str, build_data: dict[str, Any]) -> None:
        guest = Path(self.root, "tfnz_notebook", "_guest")
        # An editable install is read from the source tree, so the binary must lie there. A wheel
        # takes what was built for it and never what an editable install left behind.
        editable = version == "editable"
        out = guest / "bin" if editable else Path(self.root, "build", "guest")
        out.mkdir(parents=True, exist_ok=True)
        chosen = compilers()
        for architecture, compiler in chosen.items():
            binary = out / f"guest-{architecture}"
            self._make(guest, compiler, binary)
            if not editable:
                target = f"tfnz_notebook/_guest/bin/{binary.name}"
                build_data["force_include"][str(binary)] = target
        build_data["pure_python"] = len(chosen) > 1
        if len(chosen) == 1:
            build_data["tag"] = f"py3-none-linux_{next(iter(chosen))}"

    def _make(self, guest: Path, compiler: str, binary: Path) -> None:
        make = shutil.which("make") or shutil.which("gmake")
        if make is None:
            raise CannotBuild(
                "Cannot build the guest: no make. Install it (Debian: apt-get install make)."
            )
        binary.unlink(missing_ok=True)  # another compiler's leftover looks up to date to make
        command = [make, "--no-print-directory", "-C", str(guest)]
        command += [f"CC={compiler}", f"OUT={binary}"]
        # A make above us exports its own flags, which are not meant for this one.
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        if done.returncode or not binary.is_file():
            raise CannotBuild(
                f"Cannot build the guest: {compiler} failed. Is the C library's static archive "
                "installed (Debian: apt-get install libc6-dev)? It said:\n"
                f"{done.stdout}{done.stderr}"
            )
        binary.chmod(0o755)
        self.app.display_info(f"guest: {binary.name}, {binary.stat().st_size:,} bytes, {compiler}")
