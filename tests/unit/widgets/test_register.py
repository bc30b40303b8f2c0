"""Objects show themselves in a kernel, once a cell, and as text elsewhere."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter

from tfnz_notebook.container import Container
from tfnz_notebook.widgets import display, publish, register


@pytest.fixture
def ip() -> Any:
    return SimpleNamespace(kernel=object(), display_formatter=DisplayFormatter())


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(display, "show", found.append)
    monkeypatch.setattr(publish, "cell", lambda: "cell-1")
    monkeypatch.setattr(publish, "_seen", ("", []))
    return found


def test_an_object_is_a_view(ip: Any, shown: list[Any], container: Container) -> None:
    register.register(ip)
    assert ip.display_formatter.format(container) == ({}, {})
    process = container.spawn_process("true")
    assert ip.display_formatter.format(process) == ({}, {})
    assert [each.kind for each in shown] == ["explorer", "output"]
    terminal = container.spawn_process("sh", tty=True)
    ip.display_formatter.format(terminal)
    assert shown[-1].kind == "shell"


@pytest.mark.parametrize("name", ["location", "node", "container"])
def test_each_has_a_picture(ip: Any, shown: list[Any], container: Container, name: str) -> None:
    location = container.location
    thing = {"location": location, "node": location.nodes()[0], "container": container}[name]
    register.register(ip)
    ip.display_formatter.format(thing)
    assert len(shown) == 1 and shown[0].text


def test_what_this_cell_has_shown_is_not_shown_again(
    ip: Any, shown: list[Any], container: Container
) -> None:
    register.register(ip)
    publish.mark_shown(container)
    assert ip.display_formatter.format(container) == ({}, {})
    assert shown == []


def test_the_awaitable_twin_is_shown_like_the_object(
    ip: Any, shown: list[Any], container: Container
) -> None:
    register.register(ip)
    ip.display_formatter.format(container.aio)
    assert len(shown) == 1


def test_twice_and_away_again(ip: Any, shown: list[Any], container: Container) -> None:
    register.register(ip)
    register.register(ip)
    register.unregister(ip)
    register.unregister(ip)
    data, _ = ip.display_formatter.format(container)
    assert data["text/plain"].startswith("<Container ") and shown == []


def test_a_terminal_shows_text(shown: list[Any], container: Container) -> None:
    ip = SimpleNamespace(display_formatter=DisplayFormatter())
    register.register(ip)
    data, _ = ip.display_formatter.format(container)
    assert data["text/plain"].startswith("<Container ") and shown == []


def test_showing_by_hand(
    ip: Any, shown: list[Any], container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "shell", lambda: ip)
    register.register(ip)
    container.show()
    process = container.spawn_process("cat")
    process.show(stdin=True, rows=3)
    assert [each.kind for each in shown] == ["explorer", "output"]
    assert shown[1].options == {"stdin": True, "rows": 3}
    assert ip.display_formatter.format(process) == ({}, {}) and len(shown) == 2


def test_showing_by_hand_in_a_terminal(
    container: Container, capsys: pytest.CaptureFixture[str]
) -> None:
    container.show()
    assert capsys.readouterr().out == f"{container!r}\n"


def test_loading_the_extension_imports_no_widgets() -> None:
    code = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import tfnz_notebook\n"
        "ip = InteractiveShell.instance()\n"
        "ip.kernel = object()\n"
        "for _ in range(2): tfnz_notebook.load_ipython_extension(ip)\n"
        "assert not {'ipywidgets', 'anywidget'} & set(sys.modules)\n"
        "assert 'tf_run' in ip.magics_manager.magics['line']\n"
        "for _ in range(2): tfnz_notebook.unload_ipython_extension(ip)\n"
        "assert 'tf_run' not in ip.magics_manager.magics['line']\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
