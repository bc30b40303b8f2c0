"""An IPython shell of a terminal, with the magics, before a scripted agent."""

import atexit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook import magics
from tfnz_notebook._calls import goodbye
from tfnz_notebook.location import Location


class Shell:
    """Runs lines as a user does."""

    def __init__(self, home: Path) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.ipython_dir = str(home)
        self.ip: Any = InteractiveShell(config=config)
        self.ip.Completer.use_jedi = False
        magics.register(self.ip)

    def run(self, code: str) -> Any:
        """Run a cell; its value. What it raises is raised."""
        found = self.ip.run_cell(code)
        found.raise_error()
        return found.result

    def complete(self, line: str) -> list[str]:
        """What Tab offers at the end of a line."""
        with provisionalcompleter():
            return [each.text for each in self.ip.Completer.completions(line, len(line))]

    def __getitem__(self, name: str) -> Any:
        return self.ip.user_ns[name]


@pytest.fixture
def shell(tmp_path: Path, agent: ScriptedAgent) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    # While their agent is there: at exit they would look for it, and start a real one.
    for each in list(goodbye._open):
        if isinstance(each, Location) and each.connected:
            each.disconnect()
    magics.unregister(made.ip)
    made.ip.atexit_operations()
    atexit.unregister(made.ip.atexit_operations)


@pytest.fixture
def web(shell: Shell) -> str:
    """A container in the variable and of the name ``web``; its id."""
    shell.run("web = %tf_spawn --name web nginx")
    return str(shell["web"].id)
