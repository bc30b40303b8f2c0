"""Who is let in over TCP: clients whose key is authorised, and a line in the log for all others.

libzmq asks here about each key that completed a CURVE handshake (ZAP, rfc.zeromq.org/spec/27).
The keys are read from their files each time: who was authorised comes in at once, who was removed
does not come back. What fails before that - another protocol, another server key, bytes that were
recorded and are played again, silence - libzmq ends by itself and tells its monitor. That does not
say whose connection it was; the address is looked up when the connection is accepted, and may come
too late for one that is gone at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from collections import deque
from pathlib import Path
from typing import Any, Final

import zmq
from zmq.auth.certs import load_certificates
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from tfnz_notebook.agent.sparse import Sparse

log = logging.getLogger(__name__)

#: Milliseconds for a handshake, after which a silent connection is closed.
HANDSHAKE: Final = 10_000
#: Connections that may wait to be accepted.
BACKLOG: Final = 512
#: Descriptors wanted, as far as the hard limit goes: strangers hold some until HANDSHAKE is over.
DESCRIPTORS: Final = 65536
_FAILED: Final[dict[int, str]] = {
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "it does not speak as an agent's client, or has another "
    "key for this agent",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "it broke off before it had shown a key",
}
_STRANGE: Final = "it does not speak as an agent's client"
_EVENTS: Final = (
    zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | sum(_FAILED)
)


class Door:
    """Guards one ROUTER socket, which is not yet bound; ``authorized`` holds public keys' files."""

    def __init__(
        self, context: zmq.Context[Any], router: zmq.Socket[bytes], authorized: Path
    ) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
        self._authorized = authorized
        self._said = Sparse(log)
        #: By descriptor: who, and how many had shaken hands when they came.
        self._peers: dict[int, tuple[str, int]] = {}
        self._let_in = 0
        #: Why, of failures of which the next event tells the connection.
        self._causes: deque[str] = deque(maxlen=1)
        router.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE)
        router.setsockopt(zmq.BACKLOG, BACKLOG)
        self._asked = context.socket(zmq.REP)
        self._asked.linger = 0
        self._asked.bind("inproc://zeromq.zap.01")
        self._router = router
        self._told = router.get_monitor_socket(_EVENTS)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._asked.fileno(), self._ask)
        self._loop.add_reader(self._told.fileno(), self._tell)
        self._tell()  # only who has found nothing is woken

    # -- keys

    def _ask(self) -> None:
        # The descriptor is edge-triggered: all that is there, as in agent/door/router.py.
        with contextlib.suppress(zmq.Again):
            while True:
                self._asked.send_multipart(
                    self._answer(self._asked.recv_multipart(zmq.NOBLOCK)), zmq.NOBLOCK
                )
        self._loop.call_soon(self._look_again)

    def _look_again(self) -> None:
        if not self._asked.closed and int(self._asked.get(zmq.EVENTS)) & zmq.POLLIN:
            self._ask()

    def _answer(self, asked: list[bytes]) -> list[bytes]:
        version, request, _domain, address, _identity, mechanism, *credentials = asked
        user = b""
        if mechanism == b"CURVE" and len(credentials) == 1:
            key = z85.encode(credentials[0])
            if key in self._keys():
                user = key
            else:
                who = address.decode("ascii", "replace")
                self._said.warning(
                    "refused %s: its key %s is not authorised.", who, key.decode("ascii")
                )
        code, text = (b"200", b"OK") if user else (b"400", b"Unknown key")
        return [version, request, code, text, user, b""]

    def _keys(self) -> set[bytes]:
        try:
            return set(load_certificates(self._authorized))
        except (OSError, ValueError) as error:
            self._said.warning("the authorised keys cannot be read: %s.", error)
            return set()

    # -- what fails before

    def _tell(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                event = parse_monitor_message(self._told.recv_multipart(zmq.NOBLOCK))
                self._happened(event["event"], event["value"])

    def _happened(self, event: int, value: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._peers[value] = (_peer(value), self._let_in)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._let_in += 1
        elif event in _FAILED:
            self._causes.append(_FAILED[event])
        elif event == zmq.EVENT_DISCONNECTED:
            who, before = self._peers.pop(value, ("", -1))
            # One I/O thread: a connection's failure and its end follow each other. Of what is no
            # ZeroMQ at all, no failure is told; but if nobody was let in since, it was not this.
            cause = self._causes.pop() if self._causes else ""
            if cause or before == self._let_in:
                self._said.warning(
                    "refused %s: %s.", who or "somebody who had left", cause or _STRANGE
                )

    def close(self) -> None:
        """Let nobody in any more. The router is closed by who made it, afterwards."""
        for told in (self._asked, self._told):
            self._loop.remove_reader(told.fileno())
        self._router.disable_monitor()
        self._asked.close()
        self._told.close()


def _peer(descriptor: int) -> str:
    """The far end of a connection of libzmq's, which may be closed by now."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            host, port = copy.getpeername()[:2]
    except (OSError, ValueError):
        return ""
    return f"{host}:{port}"
