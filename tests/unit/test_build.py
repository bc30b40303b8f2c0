"""The views' bundles, as the wheel's build hook makes or takes them."""

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOOK = runpy.run_path(str(ROOT / ".ci" / "hatch_build.py"))
NPM = """#!/bin/sh
echo "$@" >>../calls
[ "$1" = run ] || { mkdir -p node_modules && touch node_modules/.package-lock.json; exit; }
mkdir -p ../widgets/static
for kind in output shell plot explorer; do cat src/*.ts >../widgets/static/$kind.js; done
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    sources = tmp_path / "package" / "_frontend"
    (sources / "src").mkdir(parents=True)
    (sources / "src" / "hub.ts").write_text("hub")
    (sources / "package-lock.json").write_text("{}")
    return sources.parent


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for npm: notes how it was called, and makes bundles of what the sources say."""
    path = tmp_path / "bin" / "npm"
    path.parent.mkdir()
    path.write_text(NPM)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def build(package: Path) -> Any:
    return HOOK["FrontEnd"](package).build()


def test_bundles_are_made_once_and_again_when_a_source_changes(package: Path, npm: Path) -> None:
    calls = package / "calls"
    shell = package / "widgets" / "static" / "shell.js"
    assert build(package) is True
    said = calls.read_text().splitlines()
    assert [line.split()[:2] for line in said] == [["ci", "--no-audit"], ["run", "build"]]
    calls.unlink()
    assert build(package) is False and not calls.exists()

    (package / "_frontend" / "src" / "hub.ts").write_text("other")
    assert build(package) is True
    assert shell.read_text() == "other"
    calls.unlink()
    shell.write_text("by hand")
    assert build(package) is True
    assert shell.read_text() == "other"


def test_a_source_distribution_needs_no_npm(
    package: Path, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(package)
    copy = tmp_path / "unpacked"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build(copy) is False
    (copy / "_frontend" / "src" / "hub.ts").write_text("changed")
    with pytest.raises(HOOK["CannotBuild"], match="no npm. Install it"):
        build(copy)


def test_what_npm_did_not_make_stops_the_build(package: Path, npm: Path) -> None:
    npm.write_text("#!/bin/sh\necho no such thing >&2; exit 1\n")
    with pytest.raises(HOOK["CannotBuild"], match="npm ci .*failed. It said:\nno such thing"):
        build(package)
