"""What holds for every test. Fixtures live beside the tests that use them."""

import gc
import os
import re
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

import tfnz_notebook

# A run in the background may inherit an ignored SIGINT; tests of Ctrl-C need Python's handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


#: The rooms by how long their tests take: at the end of a parallel run short ones are left, and no
#: worker waits for another.
ROOMS = (
    *("cluster", "browser", "notebooks", "faults", "integration", "contract", "security"),
    *("simulation", "guest", "apiserver", "unit"),
)
#: Whose tests share what is there once: a second set of engines.
WHOLE = "faults/test_engine_restart.py"
#: Whose tests share nothing, and each of them takes its time.
SINGLE = ("notebooks/test_notebooks.py", "simulation/test_seeds.py")
#: Whose files share what takes long to start: a Jupyter server, a browser with its front-end.
SHARED = "/browser/"
#: Rooms whose tests compute most of the time they take; those of the others mostly wait.
BUSY = re.compile(r"(?:^|/)(?:browser|notebooks|simulation|guest)/")
#: Words in a test's parameters that say where it runs: an engine, a kind of Jupyter server.
PLACE = re.compile(r"\b(?:host|podman|docker|lab|notebook|comm|direct)\b")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; otherwise as they were."""
    home = Path(__file__).parent
    items.sort(key=lambda item: ROOMS.index(item.path.relative_to(home).parts[0]))


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage: they are looked through seldom. Not frozen: Hypothesis
    asks the collector who refers to a thing."""
    gc.set_threshold(50_000, 20, 100)


class Together(LoadScopeScheduling):
    """What one worker does in one go: a file's tests at one place. They share what they start;
    those in the browser do with all that have the same kind of server.

    Two workers, one a core, begin with what computes, two with what waits: else both cores
    are fought for first, and idle later.
    """

    def _assign_work_unit(self, node: WorkerController) -> None:
        computes = node in self.nodes[:2]
        for scope in self.workqueue:
            if bool(BUSY.search(scope)) == computes:
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if file.endswith(WHOLE):
            return file
        if file.endswith(SINGLE):
            return nodeid
        place = " ".join(PLACE.findall(test.partition("[")[2]))
        return f"{SHARED} {place}" if SHARED in file and place else f"{file} {place}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """For parallel runs, which .ci/spread.py begins."""
    return Together(config, log)


def pytest_report_header() -> str:
    """Say which package is tested: `make` sees to it that it is the installed wheel's."""
    return f"tfnz_notebook {tfnz_notebook.__version__} from {Path(tfnz_notebook.__file__).parent}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test skipped in continuous integration is a failed test: what it needs, .ci/ installs."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Cannot pass: a skipped test proves nothing here. {reason}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what tests measured, and how many bytes of numbered lines they have checked.

    Properties of reports, because those come here from the workers of a parallel run, too.
    """
    told = [
        pair
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for pair in report.user_properties
    ]
    size = sum(value for name, value in told if name == "bytes checked")
    lines = [value for name, value in told if name == "measured"]
    if size or lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"{size / (1 << 30):.2f} GiB of lines checked and found right")
