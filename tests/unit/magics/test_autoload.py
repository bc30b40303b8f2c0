"""Placeholders in a new kernel: they cost nothing, and load the extension when one is used."""

import atexit
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import tfnz_notebook
from tfnz_notebook.magics import autoload
from tfnz_notebook.magics.registered import MAGICS
from tfnz_notebook.widgets import cells

STARTUP = Path(__file__).parents[3] / "jupyter-config" / "ipython_startup"
(FILE,) = STARTUP.glob("*.py")

Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a shell; ``kernel=True``: one that shows views."""
    monkeypatch.delenv("TFNZ_AUTOLOAD", raising=False)
    made = []

    def shell(*, kernel: bool = False, **settings: Any) -> Any:
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.ipython_dir = str(tmp_path)
        config.TfnzNotebook = Config(settings)
        ip: Any = InteractiveShell(config=config)
        ip.Completer.use_jedi = False
        if kernel:
            ip.kernel = object()
        made.append(ip)
        return ip

    yield shell
    for ip in made:
        tfnz_notebook.unload_ipython_extension(ip)
        ip.atexit_operations()
        atexit.unregister(ip.atexit_operations)


def asleep(ip: Any) -> bool:
    return isinstance(ip.magics_manager.magics["line"].get("tf_spawn"), autoload.Stub)


def awake(ip: Any) -> bool:
    """Everything is there, and no placeholder is."""
    held = ip.magics_manager.magics
    stubs = [each for kind in held.values() for each in kind.values()]
    return "tf_spawn" in held["line"] and not any(isinstance(s, autoload.Stub) for s in stubs)


def complete(ip: Any, line: str) -> list[str]:
    with provisionalcompleter():
        return [each.text for each in ip.Completer.completions(line, len(line))]


def test_a_placeholder_for_each_magic() -> None:
    assert sorted(autoload.LINE) == sorted(magic.name for magic in MAGICS if magic.line)
    assert sorted(autoload.CELL) == sorted(magic.name for magic in MAGICS if magic.cell)


def test_a_placeholder_for_each_object_that_shows_itself() -> None:
    from tfnz_notebook.widgets.register import SHOWN

    assert sorted(autoload.SHOWN) == sorted((each.__module__, each.__name__) for each in SHOWN)


@pytest.mark.parametrize(
    "cell",
    [
        "import tfnz_notebook.location",
        "from tfnz.location import Location",
        "x = %tf_signal",
        "%%tf_run nothing\ntrue",
        "tf_ps --nonsense",
    ],
)
def test_a_cell_that_speaks_of_us_loads_the_extension(
    make: Make, cell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFNZ_LOCATION", "the moon")
    ip = make()
    assert autoload.install(ip) and asleep(ip)
    ip.run_cell("tf_idf = 1")
    loaded = "tfnz_notebook.location" in sys.modules  # by other tests: then any cell wakes it
    assert asleep(ip) or loaded
    ip.run_cell(cell)
    assert awake(ip)
    assert "not found" not in capsys.readouterr().out


def test_the_first_cell_is_known_when_it_runs_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "_typed", cells._NONE)
    ip = make()
    assert autoload.install(ip)
    said = []
    for _ in range(2):
        ip.run_cell("_ = 'tfnz'")
        said.append(cells.present())
    assert said[0].name == said[1].name != ""
    assert said[0].run != said[1].run


def test_help_tab_and_tool_tip(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    ip = make()
    autoload.install(ip)
    assert "%tf_spawn" in complete(ip, "%tf_sp") and asleep(ip)
    assert "--follow" in complete(ip, "%tf_logs --f")
    assert awake(ip)

    ip = make()
    autoload.install(ip)
    assert "--detach" in ip.object_inspect("tf_run", detail_level=0)["docstring"]
    assert awake(ip)


def test_an_object_shows_itself_whoever_made_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfnz_notebook.node import Node
    from tfnz_notebook.widgets import register

    shown: list[Any] = []
    monkeypatch.setattr(register, "display", shown.append)
    ip = make(kernel=True)
    autoload.install(ip)
    node = object.__new__(Node)
    assert ip.display_formatter.ipython_display_formatter(node)
    assert shown == [node] and awake(ip)
    assert ip.display_formatter.ipython_display_formatter(node)
    assert shown == [node, node]


def test_it_is_loaded_once_and_load_ext_says_nothing(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    ip = make()
    autoload.install(ip)
    for _ in range(2):
        ip.run_cell("%load_ext tfnz_notebook")
        assert awake(ip)
        assert "already loaded" not in capsys.readouterr().out
        ip.extension_manager.loaded.clear()
    matchers = list(ip.Completer.custom_matchers)
    assert not autoload.install(ip), "what is loaded has no placeholders put over it"
    assert awake(ip) and ip.Completer.custom_matchers == matchers


def test_one_line_switches_it_off(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ip = make(autoload=False)
    assert not autoload.install(ip) and not asleep(ip)
    monkeypatch.setenv("TFNZ_AUTOLOAD", "0")
    ip = make()
    assert not autoload.install(ip) and not asleep(ip)
    ip.run_cell("%load_ext tfnz_notebook")
    assert awake(ip)


def test_a_broken_package_costs_one_line_and_no_kernel(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(ip: Any) -> None:
        raise RuntimeError("no disk\nno memory")

    monkeypatch.setattr(autoload, "install", broken)
    left = runpy.run_path(str(FILE))
    assert not [name for name in left if "tfnz" in name]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no disk" in said


def test_another_python_of_the_machine_hears_nothing(tmp_path: Path) -> None:
    """/usr/local/etc belongs to all of them, the package to one."""
    code = f"import sys, runpy; sys.modules['tfnz_notebook'] = None; runpy.run_path({str(FILE)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_new_kernel_imports_next_to_nothing_of_us() -> None:
    code = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "ip = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        f"import runpy; runpy.run_path({str(FILE)!r})\n"
        "print(*sorted(set(sys.modules) - before))\n"
        "assert 'tf_spawn' in ip.magics_manager.magics['line']\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = {name for name in done.stdout.split() if name.startswith("tfnz")}
    assert ours == {
        "tfnz_notebook",
        "tfnz_notebook.errors",
        "tfnz_notebook.magics",
        "tfnz_notebook.magics.autoload",
    }
    assert len(done.stdout.split()) < 10
