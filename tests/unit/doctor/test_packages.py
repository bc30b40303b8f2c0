"""What is installed in this Python, and what it lacks."""

import json
from pathlib import Path

import pytest

from tfnz_notebook._base import paths
from tfnz_notebook._doctor import packages

GOOD = {
    "ipykernel": "7.4.0",
    "ipython": "9.0",
    "ipywidgets": "8.1.9",
    "anywidget": "0.11.0",
    "pyzmq": "27.0",
    "msgpack": "1.1.0",
    "h11": "0.16.0",
    "jupyterlab": "4.6.6",
    "notebook": "7.6.5",
    "jupyterlab_widgets": "3.0.17",
    "jupyter_server": "2.21",
}


def installed(monkeypatch: pytest.MonkeyPatch, **others: str) -> None:
    found = {**GOOD, **others}
    monkeypatch.setattr(packages, "version", lambda name: found.get(name, ""))


def test_this_python(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = home / "guest"
    monkeypatch.setenv("TFNZ_GUEST_BINARY", str(guest))
    (*_, missing) = packages.python()
    assert missing.state == "bad" and "Correct TFNZ_GUEST_BINARY" in missing.remedy
    guest.touch(mode=0o755)
    assert [(each.topic, each.state) for each in packages.python()] == [
        ("system", "ok"),
        ("package", "ok"),
        ("guest", "ok"),
    ]


def test_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    (found,) = packages.kernel()
    assert found.state == "ok" and found.facts["ipykernel"] == "7.4.0"
    installed(monkeypatch, ipykernel="6.31.0")
    (found,) = packages.kernel()
    assert found.state == "note" and "ipykernel>=7" in found.remedy
    installed(monkeypatch, ipykernel="6.4", anywidget="")
    (found,) = packages.kernel()
    assert found.state == "bad" and found.remedy == "pip install --upgrade ipykernel anywidget"
    assert "anywidget missing" in found.said


def test_an_old_front_end_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, jupyterlab="3.6.8", notebook="")
    found = {each.topic: each for each in packages.front_ends()}["front-end"]
    assert found.state == "note" and found.remedy == "pip install --upgrade jupyterlab"
    installed(monkeypatch, jupyterlab_widgets="")
    found = {each.topic: each for each in packages.front_ends()}["front-end"]
    assert found.state == "note" and "jupyterlab_widgets" in found.remedy
    installed(monkeypatch, jupyterlab="", notebook="", jupyter_server="")
    (found,) = packages.front_ends()
    assert found.state == "ok" and "VS Code" in found.said


def test_the_direct_path_is_what_the_strongest_configuration_says(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    strong, weak = home / "strong", home / "weak"
    monkeypatch.setattr("jupyter_core.paths.jupyter_config_path", lambda: [str(strong), str(weak)])
    assert not packages.direct_path()
    assert {each.topic: each.state for each in packages.front_ends()}["direct path"] == "note"

    def say(path: Path, enabled: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        told = {"ServerApp": {"jpserver_extensions": {"tfnz_notebook.direct": enabled}}}
        path.write_text(json.dumps(told))

    say(weak / "jupyter_server_config.d" / "tfnz-notebook.json", True)
    (weak / "jupyter_server_config.d" / "other.json").write_text("not JSON")
    assert packages.direct_path()
    say(strong / "jupyter_server_config.json", False)
    assert not packages.direct_path()


def test_the_start_up_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ipython, data = home / "ipython", home / "data"
    monkeypatch.setenv("IPYTHONDIR", str(ipython))
    monkeypatch.setattr("IPython.core.application.ENV_CONFIG_DIRS", [])
    monkeypatch.setattr("IPython.core.application.SYSTEM_CONFIG_DIRS", [])
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(data))
    (found,) = packages.startup()
    assert found.state == "note" and found.remedy.startswith("%load_ext")
    lies = data / "etc/ipython/startup" / packages.STARTUP  # as pip install --user has it
    lies.parent.mkdir(parents=True)
    lies.touch()
    (found,) = packages.startup()
    assert found.state == "note" and f"cp {lies} {ipython}/profile_default/startup" in found.remedy
    monkeypatch.setattr("IPython.core.application.ENV_CONFIG_DIRS", [str(data / "etc/ipython")])
    (found,) = packages.startup()
    assert found.state == "ok" and found.facts["file"] == str(lies)
    monkeypatch.setenv("TFNZ_AUTOLOAD", "off")
    (found,) = packages.startup()
    assert found.state == "note" and "TFNZ_AUTOLOAD" in found.said


def test_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = packages.room(home / "not" / "there" / "yet")
    assert found.facts["path"] == str(home)
    monkeypatch.setattr(packages, "_ROOM", 1 << 60)
    (found,) = packages.room(home)
    assert found.state == "note" and "TFNZ_STATE" in found.remedy
    monkeypatch.setattr(paths, "unusable", lambda _: "Read-only file system")
    (found,) = packages.room(home)
    assert found.state == "bad" and "Read-only file system" in found.said
    assert "TFNZ_STATE" in found.remedy


def test_the_files_name_is_the_one_that_is_installed() -> None:
    (file,) = (Path(__file__).parents[3] / "jupyter-config" / "ipython_startup").iterdir()
    assert file.name == packages.STARTUP
