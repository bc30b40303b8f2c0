"""Ports of a container: waiting until they answer, and tunnels to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._base.text import last_words
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.deadline import WORD
from tfnz_notebook._calls.faces import face
from tfnz_notebook._container.base import Base
from tfnz_notebook._link import thread
from tfnz_notebook._link.ports.dial import accepts, http_status
from tfnz_notebook._link.ports.forward import Listener
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    LinkClosed,
    Misuse,
    PortClosed,
    TfnzError,
    TunnelGone,
)
from tfnz_notebook.tunnel import Tunnel

if TYPE_CHECKING:
    from tfnz_notebook.container import Container

#: Seconds between attempts at a port that does not answer yet: from the first to the second.
POLL: Final = (0.01, 0.25)
#: Seconds that the first attempt may take which has been accepted; each that does is given double.
ATTEMPT: Final = 2.0


class Ports(Base):
    """All through the guest: no network is needed."""

    @face
    async def wait_tcp(self, dest_port: int, *, timeout: float | None = 60.0) -> Container:
        """Wait until something accepts connections on that port inside the container.

        Fails at once when the container has exited; PortClosed, with the log's tail, after
        ``timeout`` seconds.
        """
        port = arguments.port("wait for a port", dest_port)

        async def attempt() -> str:
            await accepts(self._link, self._id, port)
            return ""

        await self._poll(f"wait for port {port}", port, attempt, timeout)
        return self._me

    @face
    async def wait_http_200(
        self,
        dest_port: int = 80,
        fqdn: str = "localhost",
        path: str = "",
        *,
        localport: int | None = None,
        timeout: float | None = 60.0,
    ) -> Tunnel:
        """Wait until a GET is answered with 200 and return a tunnel to the port (20ft).

        ``fqdn`` is the Host asked for, ``path`` what of it. Other answers and redirects are not
        accepted. Asks through the guest, so it needs no network. Fails at once with the log's tail
        when the container has exited; PortClosed, with the last answer, after ``timeout`` seconds.
        """
        doing = "wait for HTTP 200"
        port = arguments.port(doing, dest_port)
        host = arguments.text(doing, "fqdn", fqdn)
        where = "/" + arguments.text(doing, "path", path, empty=True).removeprefix("/")
        if any(c.isspace() for c in where + host):
            raise Misuse(f"Cannot {doing}: path and fqdn hold a blank. Quote them as in URLs.")
        if localport is not None:
            arguments.port(doing, localport, "localport")

        async def attempt() -> str:
            head = f"Host: {host}\r\n"
            status = await http_status(self._link, self._id, port, f"GET {where}", head)
            if status.split(" ")[1:2] == ["200"]:
                return ""
            return f"it answered {status!r}" if status else "it closed without an answer"

        await self._poll(f"wait for HTTP 200 on port {port}", port, attempt, timeout)
        return await self._attach(port, localport, "127.0.0.1")

    async def _poll(
        self, doing: str, port: int, attempt: Callable[[], Awaitable[str]], timeout: float | None
    ) -> None:
        """Try until an attempt gives no complaint; the last one goes into the error."""
        seconds = arguments.seconds(doing, "timeout", timeout)
        lacking = {doing: "it does not run yet"}
        try:
            async with asyncio.timeout(seconds):
                await self._until(doing, doing, attempt, lacking)
        except TimeoutError:
            log, tail = await self._last_words()
            raise PortClosed(
                f"Cannot {doing} any longer: {lacking[doing]}, after {timeout} s. Look at the port "
                f"and at container.logs().{tail}",
                log=log,
            ) from None
        self._answered.add(port)

    async def _until(
        self,
        doing: str,
        what: str,
        attempt: Callable[[], Awaitable[str]],
        lacking: dict[str, str],
        *,
        after: bool = False,
    ) -> None:
        """Try until an attempt gives no complaint; ``lacking`` has the last one of ``what``.

        ``after``: it may come true of a container that has ended, which is asked once more.
        """
        delay, patience = POLL[0], ATTEMPT
        while True:
            ended: TfnzError | None = None
            try:
                await self._running(doing)
            except ContainerFailed as error:
                if not after or self.state != "exited":
                    raise
                ended = error
            try:
                async with asyncio.timeout(patience):
                    lacking[what] = await attempt()
                if not lacking[what]:
                    return
            except TimeoutError:  # that attempt hangs; the next one may not
                lacking[what] = f"it does not answer within {patience:g} s"
                patience *= 2
            except PortClosed:
                lacking[what] = "nothing listens there"
            except ContainerGone:
                pass  # exited just now: _running says so better
            except LinkClosed:
                self._check(doing)
            if ended is not None:
                raise ended
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, POLL[1])

    async def _last_words(self) -> tuple[bytes, str]:
        """The tail of its log, and what of it an error tells."""
        log = await self._words() if self.state == "running" else b""
        said = last_words(log)
        return log, f" Its last words:\n{said}" if said else ""

    async def _words(self) -> bytes:
        """The tail of its log, if it is to be had."""
        try:
            async with asyncio.timeout(WORD):
                return await self._logs(None, 20)
        except (TimeoutError, TfnzError):
            return b""

    # -- tunnels

    @face
    async def attach_tunnel(
        self, dest_port: int, *, localport: int | None = None, bind: str | None = None
    ) -> Tunnel:
        """A tunnel from a port here to one in the container (20ft).

        For the usual clients of what runs there: a browser, a database's driver::

            >>> tunnel = container.attach_tunnel(5432)
            >>> tunnel.url('people', scheme='postgresql')
            'postgresql://127.0.0.1:.../people'
            >>> container.destroy_tunnel(tunnel)

        ``localport`` None: a free one. ``bind``: the address to listen on, default 127.0.0.1, so
        that only this machine gets in. Raises TunnelError if the local port is taken.
        """
        doing = "attach a tunnel"
        port = arguments.port(doing, dest_port, "dest_port")
        if localport is not None:
            arguments.port(doing, localport, "localport")
        where = "127.0.0.1" if bind is None else arguments.text(doing, "bind", bind)
        return await self._attach(port, localport, where)

    async def _attach(self, port: int, localport: int | None, bind: str) -> Tunnel:
        self._check("attach a tunnel")
        listener = Listener(self._link, self._id, port, self._answered, self._listener_closed)
        await listener.listen(bind, localport or 0)
        thread.unless_taken(listener.close)
        tunnel = Tunnel._create(self, listener, bind, await self._through(port))
        self._tunnels.append(tunnel)
        return tunnel

    async def _through(self, port: int) -> dict[str, Any] | None:
        """What lets the Jupyter server of this machine show that port; None if it cannot."""
        try:
            reply = await self._link.request("dial.ticket", {"container": self._id, "port": port})
        except TfnzError:  # the tunnel is good without
            return None
        told = {"container": self._id, "port": port, **reply.body}
        return told if told.get("agent") else None

    def _listener_closed(self, listener: Listener) -> None:
        self._tunnels = [each for each in self._tunnels if each._listener is not listener]

    @face
    async def destroy_tunnel(self, tunnel: Tunnel) -> None:
        """Destroy a tunnel (20ft). TunnelGone if that was done before."""
        if getattr(tunnel, "_container", None) is not self:
            raise Misuse(
                f"Cannot destroy a tunnel: {tunnel!r} is none of {self._called}. "
                "Give what its attach_tunnel made."
            )
        if tunnel not in self._tunnels:
            raise TunnelGone("Cannot destroy this tunnel: it was destroyed before.")
        await tunnel._destroy()

    def all_tunnels(self) -> list[Tunnel]:
        """Its tunnels from this kernel (20ft)."""
        return list(self._tunnels)
