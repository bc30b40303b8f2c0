"""Debian's Firefox, driven by playwright over WebDriver BiDi.

Playwright tells each of its contexts what a page may ask of its media, in a command that Firefox
153 does not know yet. So it is given this file for a Firefox: as a program it runs the real one,
stands between the two, and takes note of that command in its place.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from playwright.sync_api import BrowserContext, Playwright
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

from browser.chromium import SIZE, STEP_MS

EXECUTABLE = os.environ.get("TFNZ_TEST_FIREFOX", "/usr/bin/firefox-esr")
PREFERENCES = {
    "network.notify.changed": False,  # containers' network interfaces come and go
    "dom.events.testing.asyncClipboard": True,  # what tests copy, they read without being asked
}
MEDIA = "emulation.setMediaFeaturesOverride"
#: A picture of a page is one message.
LARGEST = 1 << 28


@contextmanager
def firefox(driver: Playwright) -> Iterator[BrowserContext]:
    """A browser with a fresh profile."""
    with tempfile.TemporaryDirectory(prefix="tfnz-firefox-") as made:
        program = Path(made) / "firefox"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P {__file__} "$@"\n')
        program.chmod(0o700)
        running = driver.firefox.launch(
            channel="moz-firefox",
            executable_path=program,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            firefox_user_prefs=PREFERENCES,
        )
        try:
            context = running.new_context(viewport=SIZE)
            context.set_default_timeout(STEP_MS)
            yield context
        finally:
            running.close()


class Between(WebSocketHandler):
    """What one side says, the other hears."""

    _there: WebSocketClientConnection

    def initialize(self, real: str) -> None:
        self._real = real

    async def open(self) -> None:
        self._there = await websocket_connect(
            self._real, on_message_callback=self._said, max_message_size=LARGEST
        )

    async def on_message(self, message: str | bytes) -> None:
        asked = json.loads(message)
        if asked["method"] == MEDIA:
            await self.write_message({"type": "success", "id": asked["id"], "result": {}})
        else:
            await self._there.write_message(message)

    def _said(self, message: str | bytes | None) -> None:
        if message is None:
            self.close()
        else:
            self.write_message(message)

    def on_close(self) -> None:
        self._there.close()


def _listen(real: str) -> int:
    """For playwright; the port."""
    (socket,) = bind_sockets(0, "127.0.0.1")
    application = Application([("/session", Between, {"real": f"{real}/session"})])
    server = HTTPServer(application, max_buffer_size=LARGEST)
    application.settings["websocket_max_message_size"] = LARGEST
    server.add_sockets([socket])
    return int(socket.getsockname()[1])


def _relay(said: IO[str], loop: IOLoop) -> None:
    """Say what Firefox says, but for where it listens."""

    def say(line: str) -> None:
        if found := re.search(r"listening on (ws://\S+)", line):
            line = line.replace(found[1], f"ws://127.0.0.1:{_listen(found[1])}")
        print(line, end="", file=sys.stderr, flush=True)

    for line in said:
        loop.add_callback(say, line)
    loop.add_callback(loop.stop)


def main() -> None:
    command = [EXECUTABLE, *sys.argv[1:]]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        loop = IOLoop.current()
        assert running.stderr
        threading.Thread(target=_relay, args=(running.stderr, loop), daemon=True).start()
        loop.start()
    sys.exit(running.returncode)


if __name__ == "__main__":
    main()
