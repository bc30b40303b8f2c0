"""Tests, four at a time: python .ci/spread.py ARGUMENTS… [--then ARGUMENTS…], as for pytest.

The Python that runs this has the wheel under test. The tests are about processes, sockets and
browsers in real time, and share two cores with one another. What fails among others is run once
more, alone, if that is no more than three tests, and then that answer counts. A test that is right
only alone is a defect nevertheless, in it or in what it tests: how it failed stands whole at the
end, and its name in build/right-only-alone.txt. Four failures are no accident and get no second
look. What comes behind ``--then`` runs afterwards (``-n 0``: in order, in one process) and counts
with what ran before.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

BUILD = Path(__file__).resolve().parents[1] / "build"
MOST = 3
#: Most wait most of the time. Parts of a file stay together: tests/conftest.py says which, and
#: which begin.
SPREAD = ("-n", "4", "--no-loadscope-reorder", "--junitxml")
#: What pytest answers where no test is chosen.
NOTHING = 5
SAYS_ALL = ("-o", "junit_logging=all", "-o", "junit_family=xunit1")


def pytest(*arguments: str) -> int:
    """Run it; its exit code. A safe path: what tests import is the wheel, or nothing."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    # To compile all tests takes four seconds: once, and not in each worker of each run.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def stories(report: Path) -> dict[str, str]:
    """How each test failed: tracebacks, of its teardown too, and what was captured."""
    told: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own
        whole = [each for each in case if each.tag in ("failure", "error")]
        if whole:
            said = [each.text for each in case if each.tag in ("system-out", "system-err")]
            texts = [each.text for each in whole] + said
            name = f"{case.get('file')}::{case.get('name')}"
            # What failed and fails in its teardown is there twice.
            told[name] = "\n".join(filter(None, [told.get(name), *texts]))
    return told


class Run:
    """One of pytest's, and which tests of it have failed."""

    def __init__(self, arguments: Sequence[str], home: Path) -> None:
        home.mkdir()
        self._arguments = ("-o", f"cache_dir={home}", *arguments)
        self.report = home / "report.xml"
        self.code = pytest(*SAYS_ALL, *SPREAD, str(self.report), *self._arguments)
        failed = home / "v/cache/lastfailed"
        self.failed = list(json.loads(failed.read_text())) if self.code == 1 else []

    def again(self) -> int:
        """The exit code of what has failed, alone."""
        alone = ("--last-failed", "--last-failed-no-failures=none")
        return pytest(*alone, *self._arguments) if self.failed else 0


def split(arguments: Sequence[str]) -> list[list[str]]:
    """Those of each run."""
    runs: list[list[str]] = [[]]
    for each in arguments:
        if each == "--then":
            runs.append([])
        else:
            runs[-1].append(each)
    return runs


def main(arguments: Sequence[str], build: Path = BUILD) -> int:
    """The exit code of the runs that count."""
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pytest-", dir=build) as made:
        runs = []
        for number, part in enumerate(split(arguments)):
            runs.append(Run(part, Path(made) / str(number)))
            if runs[-1].code not in (0, 1, NOTHING):  # Ctrl-C, say
                return runs[-1].code
        failed = [name for run in runs for name in run.failed]
        if not failed:
            return min(run.code for run in runs)
        if len(failed) > MOST:
            print(f"\n{len(failed)} tests failed: too many for a second look.")
            return 1
        print("\nOnce more, alone:", *failed, sep="\n", flush=True)
        if code := max(run.again() for run in runs):
            return code
        names = build / "right-only-alone.txt"
        with names.open("a") as file:
            file.writelines(f"{name}\n" for name in failed)
        print(f"\nRight only alone ({names}). Among others they failed so:")
        for run in runs:
            for name, story in stories(run.report).items():
                print(f"\n{name}\n{story}")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
