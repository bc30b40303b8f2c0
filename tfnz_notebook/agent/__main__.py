"""``tfnz-agent``: serve, keygen, authorize, status, stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tfnz_notebook import __version__
from tfnz_notebook.agent.door import keys
from tfnz_notebook.agent.service import DRAIN, Options, Running, run
from tfnz_notebook.agent.sessions import start_of
from tfnz_notebook.errors import TfnzError, harmless, to_wire


def default_runtime() -> Path:
    """Where agents of this user listen; the kernel side has the same rule."""
    configured = os.environ.get("TFNZ_RUNTIME")
    if configured:
        return Path(configured)
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "tfnz" if base else Path(f"/tmp/tfnz-{os.getuid()}")


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or path.is_symlink():
        raise SystemExit(
            f"Cannot use {path}: it is open to others or not yours. Remove it, or set TFNZ_RUNTIME."
        )
    return path


class _OneLine(logging.Formatter):
    """What is quoted in a message begins no line of its own, and moves no terminal's cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return harmless(super().formatMessage(record)).replace("\n", "\\n")


def _serve(args: argparse.Namespace) -> int:
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=args.log_level.upper(), handlers=[to_stderr])
    where = None if args.where == "auto" else args.where
    runtime = _private(Path(args.runtime) if args.runtime else default_runtime())
    options = Options(where, runtime, args.bind, stay=bool(args.bind) or args.stay)

    def announce(about: dict[str, Any]) -> None:
        if args.announce:
            print(json.dumps(about), flush=True)
            # The pipe belongs to whoever started us and will be closed; nothing else goes there.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        else:
            print(f"serving {about['where']} on {about['socket']} (pid {about['pid']})", flush=True)

    try:
        asyncio.run(run(options, announce))
    except Running as running:
        announce(running.about)
    except TfnzError as error:
        if args.announce:
            print(json.dumps({"error": to_wire(error)}, default=repr), flush=True)
        else:
            print(error, file=sys.stderr)
        return 1
    return 0


def _keygen(args: argparse.Namespace) -> int:
    public = keys.generate("server" if args.server else "client")
    print(public)
    if args.server:
        print("Give this file to clients as known/HOST_PORT.key; authorize their client.key here.")
    else:
        print("Have it authorized on the agent's machine: tfnz-agent authorize client.key")
    return 0


def _authorize(args: argparse.Namespace) -> int:
    try:
        print(keys.authorize(Path(args.key), args.name))
    except TfnzError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _agents(runtime: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if not runtime.exists():
        return found
    # Somebody else's files could name any process of ours.
    for path in sorted(_private(runtime).glob("*.pid")):
        try:
            about = json.loads(path.read_text())
            os.kill(about["pid"], 0)
        except (OSError, ValueError, KeyError):
            continue
        found.append(about)
    return found


def _status(args: argparse.Namespace) -> int:
    agents = _agents(Path(args.runtime) if args.runtime else default_runtime())
    for about in agents:
        print(f"{about['where']}: pid {about['pid']} on {about['socket']}")
    if not agents:
        print("no agent runs")
    return 0


def _stop(args: argparse.Namespace) -> int:
    for about in _agents(Path(args.runtime) if args.runtime else default_runtime()):
        if args.where in (None, about["where"]):
            pid, born = about["pid"], start_of(about["pid"])
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + DRAIN + 10
            while start_of(pid) == born and time.monotonic() < deadline:
                time.sleep(0.02)
            print(f"stopped the agent for {about['where']} (pid {pid}); containers go on")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tfnz-agent", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True)

    serve = commands.add_parser("serve", help="run an agent until it is idle, or told to stop")
    serve.add_argument("--where", default="auto", help="podman, docker, host or auto")
    serve.add_argument("--runtime", help="directory for sockets (0700)")
    serve.add_argument("--bind", help="tcp://address:port (CURVE); default: a local socket")
    serve.add_argument("--stay", action="store_true", help="do not end when idle")
    serve.add_argument("--announce", action="store_true", help="one line of JSON once it listens")
    serve.add_argument("--log-level", default="info")
    serve.set_defaults(run=_serve)

    keygen = commands.add_parser("keygen", help="make this user's key pair")
    keygen.add_argument("--server", action="store_true", help="this machine's, for serve --bind")
    keygen.set_defaults(run=_keygen)

    authorize = commands.add_parser("authorize", help="let a client's public key in")
    authorize.add_argument("key")
    authorize.add_argument("--name", help="under which to keep it")
    authorize.set_defaults(run=_authorize)

    for name, action, text in (
        ("status", _status, "which agents run"),
        ("stop", _stop, "stop agents; containers go on"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--runtime")
        if action is _stop:
            command.add_argument("where", nargs="?")
        command.set_defaults(run=action)

    args = parser.parse_args(arguments)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
