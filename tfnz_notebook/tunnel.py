"""A tunnel: a port of this machine that leads to a port inside a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfnz_notebook._calls.drawing import Drawn
from tfnz_notebook._calls.faces import Closed, Owned, Twin, face
from tfnz_notebook.errors import TunnelGone

if TYPE_CHECKING:
    from tfnz_notebook._link.ports.forward import Listener
    from tfnz_notebook.container import Container

__all__ = ["Tunnel", "TunnelAio"]


class Tunnel(Drawn, Owned, metaclass=Closed):
    """Made by :meth:`Container.attach_tunnel` and :meth:`Container.wait_http_200`.

    Goes through the container's guest: no network is needed in the container, and each connection
    is dialled anew, so it outlives a reboot of the container and a break of the link.
    """

    _comes_from = "Use container.attach_tunnel()."

    def __init__(
        self,
        container: Container,
        listener: Listener,
        bind: str,
        through: dict[str, Any] | None = None,
    ) -> None:
        self._container = container
        self._listener = listener
        self._bind = bind
        #: What shows it in pages of the Jupyter server: agent, container, port, ticket.
        self._through = through

    @property
    def container(self) -> Container:
        """Where it leads."""
        return self._container

    @property
    def dest_port(self) -> int:
        """The TCP port inside the container."""
        return self._listener.port

    @property
    def port(self) -> int:
        """The TCP port here. TunnelGone once destroyed."""
        if not self._listener.open:
            raise TunnelGone(
                "Cannot use this tunnel: it was destroyed. Attach another with attach_tunnel()."
            )
        return self._listener.local

    def localport(self) -> int:
        """:attr:`port`, as 20ft calls it."""
        return self.port

    def url(self, path: str = "", *, scheme: str = "http") -> str:
        """A URL that leads through it, ``http://127.0.0.1:40001/path``. TunnelGone if destroyed."""
        everywhere = ("0.0.0.0", "::", "")  # noqa: S104  # told apart here, not bound
        host = "127.0.0.1" if self._bind in everywhere else self._bind
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{self.port}/{path.removeprefix('/')}"

    @property
    def connections(self) -> int:
        """How many connections are open through it now."""
        return len(self._listener.pipes)

    @property
    def aio(self) -> TunnelAio:
        """The same tunnel with awaitable methods."""
        return TunnelAio._see(self)

    @face
    async def destroy(self) -> None:
        """Stop listening, drop its connections. TunnelGone if that was done before."""
        await self._destroy()

    async def _destroy(self) -> None:
        if not self._listener.open:
            raise TunnelGone("Cannot destroy this tunnel: it was destroyed before.")
        self._listener.close()

    def __repr__(self) -> str:
        if not self._listener.open:
            return f"<Tunnel to port {self.dest_port} of {self._container._called}: destroyed>"
        where = f"{self._bind}:{self._listener.local}"
        return f"<Tunnel {where} to port {self.dest_port} of {self._container._called}>"


class TunnelAio(Twin, Tunnel):
    """A tunnel whose methods are awaitable."""
