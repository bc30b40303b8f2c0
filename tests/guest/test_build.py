"""What the build gives: small, static, warning-free with every compiler at hand; and fuzzed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from guest.conftest import SOURCES

LIMITS = {"musl-gcc": 104 << 10, "cc": 1 << 20, "clang": 1 << 20, "aarch64-linux-gnu-gcc": 1 << 20}


def make(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "-C", str(SOURCES), *arguments],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("compiler", LIMITS)
def test_compilers(compiler: str, tmp_path: Path) -> None:
    """Those that are installed; each makes a static program under its limit."""
    if not shutil.which(compiler):
        return
    made = tmp_path / "guest"
    make(f"CC={compiler}", f"OUT={made}")
    assert made.stat().st_size < LIMITS[compiler]
    head = made.read_bytes()[:20]
    assert head[:4] == b"\x7fELF"
    assert int.from_bytes(head[18:20], "little") == (183 if "aarch64" in compiler else 62)
    assert b"/ld-" not in made.read_bytes(), "static: no interpreter"
    if shutil.which("qemu-aarch64-static") and "aarch64" in compiler:
        ran = subprocess.run(
            ["qemu-aarch64-static", str(made), "version"], capture_output=True, check=True
        )
        assert ran.stdout == b"tfnz-guest 1\n"


@pytest.mark.parametrize(
    ("seconds", "least"), [(2, 1_100_000), pytest.param(60, 2_000_000, marks=pytest.mark.long)]
)
def test_fuzz(tmp_path: Path, seconds: int, least: int) -> None:
    """A million frames for the decoder; for the dispatcher as many as there is time for."""
    said = make("fuzz", f"FUZZ_SECONDS={seconds}", f"BUILD={tmp_path}")
    count = re.search(r"(\d+) frames, (\d+) connections, nothing found", said)
    assert count
    assert int(count[1]) >= least
