"""``tfnz-agent``: serve, keygen, authorize, status, stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

from tfnz_notebook import __version__
from tfnz_notebook._base import paths, running
from tfnz_notebook._base.running import Agent, Running
from tfnz_notebook.agent.door import keys
from tfnz_notebook.agent.service import DRAIN, Options, run
from tfnz_notebook.errors import TfnzError, harmless, to_wire

#: glibc's mallopt: which of its settings, and its bytes. See malloc.h.
_ALLOCATION: Final = {-1: 4 << 20, -3: 1 << 20}  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD


class _OneLine(logging.Formatter):
    """What is quoted in a message begins no line of its own, and moves no terminal's cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return harmless(super().formatMessage(record)).replace("\n", "\\n")


def keep_memory() -> None:
    """Have what a piece of a stream took kept for the next piece.

    By itself glibc gives so much back to the system each time it is free, and asks for it anew:
    most of what the system did for an agent through which much went.
    """
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # musl has no such setting
        for setting, size in _ALLOCATION.items():
            libc.mallopt(setting, size)


def _serve(args: argparse.Namespace) -> int:
    keep_memory()
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=args.log_level.upper(), handlers=[to_stderr])
    where = None if args.where == "auto" else args.where

    def announce(agent: Agent) -> None:
        if args.announce:
            told = {"where": agent.where, "socket": agent.socket, "pid": agent.pid}
            print(json.dumps(told), flush=True)
            # The pipe belongs to whoever started us and will be closed; nothing else goes there.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        else:
            print(f"serving {agent.where} on {agent.socket} (pid {agent.pid})", flush=True)

    try:
        runtime = paths.private(_runtime(args))
        options = Options(where, runtime, args.bind, stay=bool(args.bind) or args.stay)
        asyncio.run(run(options, announce))
    except Running as other:
        announce(other.agent)
    except TfnzError as error:
        if not args.announce:
            raise
        print(json.dumps({"error": to_wire(error)}, default=repr), flush=True)
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
    print(keys.authorize(Path(args.key), args.name))
    return 0


def _runtime(args: argparse.Namespace) -> Path:
    return Path(args.runtime).absolute() if args.runtime else paths.runtime()


def _agents(args: argparse.Namespace) -> list[Agent]:
    """Those of this user; with ``--runtime``, of that directory alone."""
    runtime = _runtime(args)
    if runtime.exists():
        paths.private(runtime)  # somebody else's files could name any process of ours
    found = running.agents(runtime, paths.state())
    inside = f"ipc://{runtime}/"
    return [agent for agent in found if not args.runtime or agent.socket.startswith(inside)]


def _status(args: argparse.Namespace) -> int:
    agents = _agents(args)
    for agent in agents:
        doing = f"on {agent.socket}" if agent.socket else "about to start or to end"
        print(f"{agent.name}: pid {agent.pid}, version {agent.version}, {doing}")
    if not agents:
        print("no agent runs")
    return 0


def _stop(args: argparse.Namespace) -> int:
    code = 0
    for agent in _agents(args):
        if args.where in (None, agent.name, agent.where):
            if agent.end((signal.SIGTERM, DRAIN + 10)):
                print(f"stopped the agent {agent.name} (pid {agent.pid}); containers go on")
            else:
                print(f"Cannot stop the agent {agent.name}: it does not end. Run kill {agent.pid}.")
                code = 1
    return code


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
            command.add_argument("where", nargs="?", help="one agent, or all of one engine")
        command.set_defaults(run=action)

    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except TfnzError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
