"""A real Jupyter server of the tests' own, and pages that speak to it as a browser's would."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import websocket
from integration.page import PageView
from integration.polling import until
from integration.world import World
from jupyter_server.auth import passwd

from tfnz_notebook._link.thread import wait
from tfnz_notebook._wire import view as wire
from tfnz_notebook.process import Process

TOKEN, PASSWORD = "a-token-of-the-tests", "a password of the tests"
#: Extensions that take seconds to load and have nothing to do with ours.
OTHERS = ("jupyterlab", "jupyter_lsp", "notebook", "notebook_shim")
#: What the wheel installs. The source tree's own, where that is what is tested.
CONFIG = Path(__file__).parents[2] / "jupyter-config"


class JupyterServer:
    """One ``jupyter server``: it asks for a token, or with ``password`` for that.

    ``settings`` as on its command line; ``files`` by name: modules that these speak of.
    """

    def __init__(
        self,
        world: World,
        *settings: str,
        password: bool = False,
        files: dict[str, str] | None = None,
    ) -> None:
        self.password = password
        home = world.home / f"jupyter-{secrets.token_hex(4)}"
        home.mkdir()
        for name, text in (files or {}).items():
            (home / name).write_text(text)
        self.runtime = home / "runtime"
        self._log = home / "log"
        config = home / "config" / "jupyter_server_config.d"
        config.mkdir(parents=True)
        others = dict.fromkeys(OTHERS, False)
        text = json.dumps({"ServerApp": {"jpserver_extensions": others}})
        (config / "lean.json").write_text(text)
        hashed = passwd(PASSWORD, "sha1") if password else ""
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": "0",
            "ServerApp.open_browser": "False",
            "ServerApp.allow_root": "True",
            "ServerApp.root_dir": str(home),
            "IdentityProvider.token": "" if password else TOKEN,
            "PasswordIdentityProvider.hashed_password": hashed,
        }
        command = [sys.executable, "-m", "jupyter_server"]
        command += [f"--{name}={value}" for name, value in options.items()] + list(settings)
        environment = world.environment(
            PYTHONPATH=os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])]),
            JUPYTER_RUNTIME_DIR=str(self.runtime),
            JUPYTER_CONFIG_DIR=str(home / "config"),
            JUPYTER_DATA_DIR=str(home / "data"),
            IPYTHONDIR=str(home / "ipython"),
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.url = until(self._listening, 90, "the server listens", every=0.05)
        parts = urlsplit(self.url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._jar = CookieJar()

    def _listening(self) -> str:
        assert self.process.poll() is None, self.log()
        for path in self.runtime.glob("jpserver-*.json"):
            try:
                told = json.loads(path.read_text())
                socket.create_connection(("127.0.0.1", told["port"]), 5).close()
            except (ValueError, ConnectionRefusedError):
                continue  # it is being written, and then it is said a moment too early
            return str(told["url"])
        return ""

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def login(self) -> str:
        """Give the password, as its form does; the cookies that say so."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))
        opener.open(self.url + "login").close()
        xsrf = {cookie.name: cookie.value for cookie in self._jar}["_xsrf"]
        form = urlencode({"password": PASSWORD, "_xsrf": xsrf}).encode()
        opener.open(self.url + "login", form).close()
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Ask its REST interface."""
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def connect(
        self,
        path: str = "tfnz/views",
        *,
        token: str | None = TOKEN,
        cookie: str | None = None,
        origin: str | None = None,
    ) -> websocket.WebSocket:
        """A websocket, with the origin that the server's own pages have unless one is given."""
        query = f"?token={token}" if token and not self.password else ""
        return websocket.create_connection(
            self.url.replace("http", "ws", 1) + path + query,
            origin=origin or self.origin,
            cookie=cookie,
            timeout=30,
        )


def ticket(process: Process) -> dict[str, str]:
    """What a kernel gives its views for the direct path."""
    asked = process._link.request("process.ticket", {"process": process.id})
    return {"process": process.id, **wait(asked).body}


def hello(connection: websocket.WebSocket, told: dict[str, str], **other: Any) -> None:
    """The first message; ``other`` changes it."""
    head = {"t": "hello", "version": wire.VERSION, **told, **other}
    connection.send_binary(wire.pack(head))


def close_code(connection: websocket.WebSocket) -> int:
    """The code with which the server closes it."""
    while True:
        opcode, data = connection.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            connection.shutdown()
            return int.from_bytes(data[:2], "big")


class DirectPage:
    """As :class:`~integration.page.Page`, over a websocket of its own."""

    def __init__(self, server: JupyterServer, told: dict[str, str], **options: Any) -> None:
        self.changed = threading.Condition()
        self.heads: list[dict[str, Any]] = []
        self.views: dict[str, PageView] = {}
        self.code: int | None = None
        self.socket = server.connect(**options)
        self._thread = threading.Thread(target=self._read, daemon=True)
        hello(self.socket, told)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the tab."""
        if self.code is None:
            self.socket.send_close()
            self._thread.join(10)
        self.socket.shutdown()
        self._thread.join(10)

    def _read(self) -> None:
        while True:
            try:
                opcode, message = self.socket.recv_data()
            except (OSError, websocket.WebSocketException):
                break
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                self.code = int.from_bytes(message[:2], "big")
                break
            head, payload = wire.unpack(message)
            assert isinstance(head, dict)
            with self.changed:
                self.heads.append(head)
                view = self.views.get(head["view"])
                if view is not None:
                    view.hear(head, payload)
                self.changed.notify_all()
        with self.changed:
            self.code = self.code or 1006
            self.changed.notify_all()

    def say(self, head: dict[str, Any], payload: bytes = b"") -> None:
        try:
            self.socket.send_binary(wire.pack(head, payload))
        except (OSError, websocket.WebSocketException):
            pass  # it was closed; `code` says why

    def open(self, *, takes: bool = True, **fields: Any) -> PageView:
        view = PageView(self, secrets.token_hex(8))  # type: ignore[arg-type]  # the same to it
        if not takes:
            view.window = None
        self.views[view.ident] = view
        view.say("open", subject="whatever the kernel calls it", **fields)
        return view


if not (Path(sys.prefix) / "etc/jupyter/jupyter_server_config.d/tfnz-notebook.json").exists():
    # The source tree is tested, not an installed wheel: its servers find the file here.
    os.environ.setdefault("JUPYTER_CONFIG_PATH", str(CONFIG))
