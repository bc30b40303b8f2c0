"""Compiles the guest while the wheel, or an editable install, is made.

``TFNZ_GUEST_CC`` chooses the compiler:

- unset: ``musl-gcc`` when there is one (a guest of some tens of kB), else ``$CC``, ``cc``, ``gcc``
  or ``clang`` linking glibc statically (some hundreds). One guest, for the machine that builds; the
  wheel is tagged for it.
- ``ziglang``: PyPI's ziglang builds guests for x86-64 and aarch64 anywhere, and the wheel fits
  every platform.
- anything else: that compiler.
"""

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


class CannotBuildGuest(Exception):
    """The build stops; the message names the remedy."""


def compilers() -> dict[str, str]:
    """Which command compiles the guest for which architecture."""
    wanted = os.environ.get("TFNZ_GUEST_CC", "")
    if wanted == "ziglang":
        zig = f"{shlex.quote(sys.executable)} -m ziglang cc"
        probe = [sys.executable, "-m", "ziglang", "version"]
        if subprocess.run(probe, capture_output=True, check=False).returncode:
            raise CannotBuildGuest(
                "Cannot build the guest: TFNZ_GUEST_CC=ziglang, but this Python has no ziglang. "
                "Install it (pip install ziglang) and build without isolation."
            )
        return {arch: f"{zig} -target {arch}-linux-musl -static" for arch in ARCHITECTURES}

    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform != "linux" or machine not in ARCHITECTURES:
        raise CannotBuildGuest(
            f"Cannot build the guest: it is a Linux program for {' or '.join(ARCHITECTURES)}, and "
            f"this is {sys.platform} on {machine}. Install a wheel, or build with ziglang "
            "(pip install ziglang; TFNZ_GUEST_CC=ziglang)."
        )
    usual = ("musl-gcc", os.environ.get("CC"), "cc", "gcc", "clang")
    candidates = [name for name in (usual if not wanted else (wanted,)) if name]
    for candidate in candidates:
        if shutil.which(shlex.split(candidate)[0]):
            return {machine: candidate}
    raise CannotBuildGuest(
        "Cannot build the guest: no C compiler. Install gcc (Debian: apt-get install gcc "
        f"libc6-dev) or name one in TFNZ_GUEST_CC. Looked for: {', '.join(candidates)}."
    )


class GuestBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs ``make`` in ``tfnz_notebook/_guest`` and puts what it made into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before hatchling collects files. ``version`` is "standard" or "editable"."""
        if self.target_name != "wheel":
            return
        try:
            self._build(version, build_data)
        except CannotBuildGuest as error:
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
            raise CannotBuildGuest(
                "Cannot build the guest: no make. Install it (Debian: apt-get install make)."
            )
        binary.unlink(missing_ok=True)  # another compiler's leftover looks up to date to make
        command = [make, "--no-print-directory", "-C", str(guest)]
        command += [f"CC={compiler}", f"OUT={binary}"]
        # A make above us exports its own flags, which are not meant for this one.
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        if done.returncode or not binary.is_file():
            raise CannotBuildGuest(
                f"Cannot build the guest: {compiler} failed. Is the C library's static archive "
                "installed (Debian: apt-get install libc6-dev)? It said:\n"
                f"{done.stdout}{done.stderr}"
            )
        binary.chmod(0o755)
        self.app.display_info(f"guest: {binary.name}, {binary.stat().st_size:,} bytes, {compiler}")
