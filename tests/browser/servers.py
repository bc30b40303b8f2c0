"""A Jupyter server as a user starts it: a process on loopback, with its own directories."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
from integration.polling import until

from browser.chromium import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
#: Where `.ci/old-kernel` puts its kernel specification.
SPECS = ROOT / "build" / "jupyter"
KERNELS = {"new": "python3", "old": "tfnz-ipykernel6"}

START_SECONDS = 60 * PATIENCE
STOP_SECONDS = 20

# The first start asks whether it may look for news; a test has no use for the answer.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # A notebook is saved when the test says so: a save in between would mend what reload broke.
    "docmanager-extension/plugin": {"autosave": False},
}

DISABLED = "{'tfnz_notebook.direct': False}"


def _free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Server:
    """``jupyter lab`` or ``jupyter notebook``; ``direct=False`` disables our server extension."""

    def __init__(
        self, front: str, home: Path, environment: dict[str, str], *, direct: bool
    ) -> None:
        self.front, self.direct, self.home = front, direct, home
        self.token = secrets.token_hex(16)
        self.files = home / "files"
        own = {
            "JUPYTER_CONFIG_DIR": home / "config",
            "JUPYTER_DATA_DIR": home / "data",
            "JUPYTER_RUNTIME_DIR": home / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": home / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
            "IPYTHONDIR": home / "ipython",
        }
        for path in (self.files, *own.values()):
            path.mkdir(parents=True, mode=0o700)
        for name, value in SETTINGS.items():
            path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        self.log = home / "server.log"
        self._environment = environment | {name: str(path) for name, path in own.items()}
        self._environment["JUPYTER_PATH"] = str(SPECS)
        self._start()

    def _command(self) -> list[str]:
        app = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}[self.front]
        return [
            *(sys.executable, "-P", "-m", f"jupyter{'lab' if self.front == 'lab' else ''}"),
            *([] if self.front == "lab" else ["notebook"]),
            *("--no-browser", "--ip=127.0.0.1", "--allow-root"),
            f"--ServerApp.port={_free_port()}",
            "--ServerApp.port_retries=100",  # somebody may take it before the server does
            f"--ServerApp.root_dir={self.files}",
            # Lets a test ask what state the page is in, rather than guess from its pixels.
            f"--{app}.expose_app_in_browser=True",
            # Installed, it is enabled; those who do not want it disable it so.
            *([] if self.direct else ["--ServerApp.jpserver_extensions=" + DISABLED]),
        ]

    def _start(self) -> None:
        # The environment, not the command line: other users of the machine can read the latter.
        environment = self._environment | {"JUPYTER_TOKEN": self.token}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=environment,
                cwd=self.files,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.url = until(self._answers, START_SECONDS, f"a Jupyter server; see {self.log}")
        except AssertionError:
            self.close()
            raise AssertionError(f"no server:\n{self.log.read_text()[-3000:]}") from None

    def _answers(self) -> str:
        """Its address, once it serves."""
        if self._process.poll() is not None:
            raise AssertionError(f"it ended with {self._process.returncode}")
        path = self.home / "runtime" / f"jpserver-{self._process.pid}.json"
        with contextlib.suppress(OSError, ValueError):
            self.url = json.loads(path.read_text())["url"]
            self.ask("api/status")
            return self.url
        return ""

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask its REST interface."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    # -- notebooks

    def write(self, name: str, cells: list[str], kernel: str = "new") -> Path:
        """A notebook of these cells, not yet run."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells]
        )
        notebook.metadata["kernelspec"] = {
            "name": KERNELS[kernel],
            "display_name": KERNELS[kernel],
            "language": "python",
        }
        path = self.files / name
        nbformat.write(notebook, path)
        return path

    def sessions(self, name: str) -> list[dict[str, Any]]:
        """The sessions of a notebook."""
        return [each for each in self.ask("api/sessions") if each["path"] == name]

    def kernel_pid(self, name: str) -> int:
        """The process that runs a notebook's kernel."""
        (session,) = self.sessions(name)
        mark = session["kernel"]["id"].encode()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                command = path.read_bytes()
                if mark in command and b"ipykernel_launcher" in command:
                    return int(path.parent.name)
        raise AssertionError(f"no process of kernel {mark!r}")

    def end_sessions(self, name: str) -> None:
        """Shut its kernels down, as closing with "shut down kernel" does."""
        for session in self.sessions(name):
            with contextlib.suppress(OSError):
                self.ask(f"api/sessions/{session['id']}", "DELETE")

    def close(self) -> None:
        """TERM, which ends its kernels too; then KILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.kill(self._process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_SECONDS)
