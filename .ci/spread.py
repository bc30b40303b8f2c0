"""Tests, four at a time: python .ci/spread.py ARGUMENTS…, as for pytest.

The Python that runs this has the wheel under test. The tests are about processes, sockets and
browsers in real time, and share two cores with one another. What fails among others is run once
more, alone, if that is no more than three tests, and then that answer counts. A test that is right
only alone is a defect nevertheless, in it or in what it tests: how it failed stands whole at the
end, and its name in build/right-only-alone.txt. Four failures are no accident and get no second
look.
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
SAYS_ALL = ("-o", "junit_logging=all", "-o", "junit_family=xunit1")


def pytest(*arguments: str) -> int:
    """Run it; its exit code. A safe path: what tests import is the wheel, or nothing."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    # To compile all tests takes four seconds: once, and not in each worker of each run.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def stories(report: Path) -> dict[str, str]:
    """How each test failed: the traceback, and what was captured."""
    told = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own
        whole = [each for each in case if each.tag in ("failure", "error")]
        if whole:
            said = [each.text for each in case if each.tag in ("system-out", "system-err")]
            texts = [each.text for each in whole] + said
            told[f"{case.get('file')}::{case.get('name')}"] = "\n".join(filter(None, texts))
    return told


def main(arguments: Sequence[str], build: Path = BUILD) -> int:
    """The exit code of the run that counts."""
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pytest-", dir=build) as made:
        cache, report = ("-o", f"cache_dir={made}"), Path(made) / "report.xml"
        code = pytest(*cache, *SAYS_ALL, *SPREAD, str(report), *arguments)
        if code != 1:
            return code
        failed = list(json.loads((Path(made) / "v/cache/lastfailed").read_text()))
        if len(failed) > MOST:
            print(f"\n{len(failed)} tests failed: too many for a second look.")
            return code
        print("\nOnce more, alone:", *failed, sep="\n", flush=True)
        code = pytest(*cache, "--last-failed", "--last-failed-no-failures=none", *arguments)
        if code != 0:
            return code
        names = build / "right-only-alone.txt"
        with names.open("a") as file:
            file.writelines(f"{name}\n" for name in failed)
        print(f"\nRight only alone ({names}). Among others they failed so:")
        for name, story in stories(report).items():
            print(f"\n{name}\n{story}")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
