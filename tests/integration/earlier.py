"""The package as it was before agents were named by their endpoints: a wheel built of that commit.

It is built as any other, from the files that git has of that time, and kept in ``build/earlier``.
The bundles of the views, or what npm needs to make them, are those of this tree where they fit.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

#: The last one of 0.1.
COMMIT: Final = "2e0250f31b64899d96a73974e715432f93a10a11"
ROOT: Final = Path(__file__).resolve().parents[2]


def installed() -> Path:
    """A directory to put first on PYTHONPATH. Fails the test where it cannot be made."""
    home = ROOT / "build" / "earlier"
    home.mkdir(parents=True, exist_ok=True)
    site = home / COMMIT[:12]
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other tests run beside this one
        if not site.exists():
            with tempfile.TemporaryDirectory(dir=home) as name:
                _build(Path(name)).rename(site)
    return site


def _build(work: Path) -> Path:
    """Build it in that directory; where it is installed there."""
    source, wheels, site = work / "source", work / "wheels", work / "site"
    _extract(source)
    package = Path("tfnz_notebook")
    bundles, modules = package / "widgets" / "static", package / "_frontend" / "node_modules"
    if (ROOT / bundles).is_dir():
        shutil.copytree(ROOT / bundles, source / bundles, dirs_exist_ok=True)
    if (ROOT / modules).is_dir():
        (source / modules).symlink_to(ROOT / modules)
    python = [sys.executable, "-P", "-m"]
    _run(*python, "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source))
    (wheel,) = wheels.glob("*.whl")
    _run(*python, "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    return site


def _extract(source: Path) -> None:
    """The commit's files, there."""
    git = shutil.which("git")
    if git is None:
        pytest.fail("Cannot build the earlier wheel: there is no git. Install it.")
    archive = [git, "-c", "safe.directory=*", "-C", str(ROOT), "archive", COMMIT]
    done = subprocess.run(archive, capture_output=True, check=False)
    if done.returncode:
        pytest.fail(
            f"Cannot build the earlier wheel: the commit {COMMIT[:12]} is not here "
            f"({done.stderr.decode().strip()}). The whole history is needed: "
            "git fetch --unshallow, in a clone of the repository."
        )
    source.mkdir()
    subprocess.run(["tar", "-x", "-C", source], input=done.stdout, check=True)


def _run(*command: str) -> None:
    # What a make above exports is not meant for another build.
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("MAKE")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        pytest.fail(f"Cannot build the earlier wheel: {done.stdout}{done.stderr}")
