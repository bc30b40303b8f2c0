"""The extension as a Jupyter server meets it, and as everybody else does not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jupyter_server.extension.config import ExtensionConfigManager

from tfnz_notebook import direct

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "jupyter-config" / "jupyter_server_config.d" / "tfnz-notebook.json"


def python(code: str) -> str:
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_installed_enables_what_can_be_loaded() -> None:
    enabled = json.loads(CONFIG.read_text())["ServerApp"]["jpserver_extensions"]
    (point,) = direct._jupyter_server_extension_points()
    assert enabled == {point["module"]: True}
    assert callable(direct._load_jupyter_server_extension)


def test_who_disables_it_has_it_disabled(tmp_path: Path) -> None:
    """Of the files in one folder the last by name counts, and Jupyter writes one of its own."""
    (folder := tmp_path / "jupyter_server_config.d").mkdir()
    shutil.copy(CONFIG, folder)
    (point,) = direct._jupyter_server_extension_points()
    manager = ExtensionConfigManager(read_config_path=[str(tmp_path)], write_config_dir=str(folder))
    assert manager.enabled(point["module"])
    manager.disable(point["module"])
    assert not manager.enabled(point["module"])
    manager.enable(point["module"])
    assert manager.enabled(point["module"])


def test_pages_are_told_that_it_is_there() -> None:
    """Others would try, and the browser log an error for each view."""
    handlers: list[tuple[Any, ...]] = []
    app = SimpleNamespace(
        settings={"base_url": "/user/ann/", "page_config_data": {"other": 1}},
        add_handlers=lambda _host, made: handlers.extend(made),
    )
    direct._load_jupyter_server_extension(SimpleNamespace(web_app=app))  # type: ignore[arg-type]
    assert app.settings["page_config_data"] == {"other": 1, "tfnzViews": "true"}
    assert next(url for url, *_ in handlers) == "/user/ann/tfnz/views"
    assert all(url.startswith("/user/ann/tfnz/") for url, *_ in handlers)


def test_the_package_needs_no_jupyter_server() -> None:
    loaded = python("import tfnz_notebook.direct, sys; print(*sys.modules)").split()
    assert not {"jupyter_server", "tornado", "zmq", "tfnz_notebook.direct.handler"} & set(loaded)
    python(
        "import sys; sys.modules['jupyter_server'] = sys.modules['tornado'] = None\n"
        "import tfnz_notebook.direct, tfnz_notebook.location"
    )


def test_a_server_pays_for_no_notebook() -> None:
    loaded = set(python("import tfnz_notebook.direct.handler, sys; print(*sys.modules)").split())
    assert not {"ipywidgets", "anywidget", "ipykernel", "pandas"} & loaded
    assert not {name for name in loaded if name.startswith("tfnz_notebook.agent")}
