"""The door to other machines: ZeroMQ on TCP, for those whose CURVE keys were authorised."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import zmq

from tfnz_notebook._base import paths
from tfnz_notebook.agent.door import keys
from tfnz_notebook.agent.door.admission import Door
from tfnz_notebook.agent.door.router import Incoming, Router
from tfnz_notebook.errors import AgentError


class Network(Router):
    """A router that is bound to ``tcp://host:port``."""

    def __init__(self, address: str, incoming: Incoming) -> None:
        """Listen. Raises AgentError: without keys nothing is bound."""
        if urlsplit(address).scheme != "tcp":
            raise AgentError(f"Cannot listen on {address!r}: give tcp://host:port.")
        folder = paths.configuration() / "authorized"
        if not any(folder.glob("*.key")):
            raise AgentError(
                f"Cannot listen on {address}: nobody is authorized, and without keys anybody could "
                "connect. Run 'tfnz-agent authorize KEY' with the public key of a client."
            )
        public, secret = keys.load(paths.configuration() / "server.key_secret")
        if secret is None:
            raise AgentError("Cannot listen: server.key_secret has no secret key.")
        self._context: zmq.Context[Any] = zmq.Context(1)
        super().__init__(self._context, incoming)
        self._door = Door(self._context, self.socket, folder)
        self.socket.curve_publickey = public
        self.socket.curve_secretkey = secret
        self.socket.curve_server = True
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            raise AgentError(f"Cannot listen on {address}: {error.strerror}.") from None
        self.start()

    def close(self) -> None:
        """Let nobody in any more; what is queued goes out."""
        if not self._closed:
            self._door.close()
            super().close()
            self._context.destroy(linger=500)
