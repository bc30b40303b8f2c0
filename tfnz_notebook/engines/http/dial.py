"""The way to a server: its socket, a proxy on the way, TLS over both.

A proxy is always asked to CONNECT, for plain http too: what travels are upgraded streams as well
as requests, and a proxy that only forwards requests would end those.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

import h11

from tfnz_notebook._base.endpoints import Endpoint
from tfnz_notebook.engines.http.connection import Wire
from tfnz_notebook.errors import Misuse

#: A peer that is silent for so long (seconds) is asked by TCP itself, and again, before it counts
#: as gone: what is half open is noticed in half a minute, also where nothing is being sent.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class ProxyRefused(OSError):
    """The proxy does not connect us; what it said."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is asked to connect. ``tls`` if it is spoken to over TLS itself."""

    host: str
    port: int
    tls: bool = False
    authorization: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """For people: without its password."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


def proxy(url: str, source: str) -> Proxy:
    """The proxy at an address that ``source`` names. Raises Misuse: it never quotes a password."""
    try:
        parsed = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parsed.hostname or "", parsed.port
    except ValueError:  # brackets, ports
        parsed, host, port = urlsplit(""), "", None
    if parsed.scheme.startswith("socks"):
        raise Misuse(
            f"Cannot use the proxy that {source} names: SOCKS is not spoken here. Name an http or "
            "https proxy, or forward a port (ssh -N -L 6443:SERVER:6443 HOST) and use that."
        )
    if parsed.scheme not in ("http", "https") or not host:
        raise Misuse(
            f"Cannot use the proxy that {source} names: it is no address of a proxy. "
            "Write http://HOST:PORT."
        )
    said = ""
    if parsed.username is not None:
        pair = f"{unquote(parsed.username)}:{unquote(parsed.password or '')}"
        said = f"Basic {base64.b64encode(pair.encode()).decode()}"
    tls = parsed.scheme == "https"
    return Proxy(host, port or (443 if tls else 80), tls, said)


def usual_proxy(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """What ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` say of an address, as Go reads them."""
    name = f"{scheme.upper()}_PROXY"
    source = name if environ.get(name) else name.lower()
    url = environ.get(source, "")
    if not url or _direct(host.lower(), port, environ):
        return None
    return proxy(url, source)


def _direct(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Never through a proxy: this machine, and what NO_PROXY names."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    rules = (environ.get("NO_PROXY") or environ.get("no_proxy") or "").lower().split(",")
    return any(_covers(rule.strip(), host, address, port) for rule in rules)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _covers(rule: str, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
    """A rule of NO_PROXY: ``*``, a network, a name and what is below it, maybe with a port."""
    if rule == "*":
        return True
    if address is not None and _address(rule.partition("/")[0]) is not None:
        try:
            return address in ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, number = rule.rpartition(":")
    if colon and number.isdecimal():
        if int(number) != port:
            return False
        rule = name.strip("[]")
    bare = rule.removeprefix("*").removeprefix(".")
    exact = host == bare and not rule.startswith((".", "*"))
    return bool(bare) and (exact or host.endswith(f".{bare}"))


async def dial(
    where: Endpoint, tls: ssl.SSLContext | None, server_name: str, through: Proxy | None
) -> Wire:
    """A connection to an endpoint. OSError (SSLError, ProxyRefused among them) if there is none."""
    loop = asyncio.get_running_loop()
    if where.path is not None:
        _, wire = await loop.create_unix_connection(Wire, where.path)
        return wire
    named = (server_name or where.host) if tls else None
    if through is None:
        _, wire = await loop.create_connection(
            Wire, where.host, where.port, ssl=tls, server_hostname=named
        )
        _attend(wire)
        return wire
    own = ssl.create_default_context() if through.tls else None
    _, wire = await loop.create_connection(Wire, through.host, through.port, ssl=own)
    try:
        _attend(wire)
        await _connect(wire, where, through)
        if tls is not None:
            assert wire.transport is not None
            wire.transport = await loop.start_tls(wire.transport, wire, tls, server_hostname=named)
    except BaseException:
        wire.close()
        raise
    return wire


async def _connect(wire: Wire, where: Endpoint, through: Proxy) -> None:
    """Ask the proxy for the rest of the way."""
    host = f"[{where.host}]" if ":" in where.host else where.host
    target = f"{host}:{where.port}"
    headers = [("Host", target), ("User-Agent", "tfnz-notebook")]
    if through.authorization:
        headers.append(("Proxy-Authorization", through.authorization))
    parser = h11.Connection(h11.CLIENT)
    asked = parser.send(h11.Request(method="CONNECT", target=target, headers=headers))
    await wire.write((asked or b"") + (parser.send(h11.EndOfMessage()) or b""))
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            raise ProxyRefused(f"the proxy {through.address} does not speak HTTP") from error
        if event is h11.NEED_DATA:
            parser.receive_data(await wire.read())
        elif isinstance(event, h11.Response):
            break
        elif not isinstance(event, h11.InformationalResponse):
            raise ProxyRefused(f"the proxy {through.address} closed the connection")
    if not 200 <= event.status_code < 300:
        said = event.reason.decode("latin-1")
        why = "it wants a name and a password" if event.status_code == 407 else "it refuses"
        raise ProxyRefused(f"the proxy {through.address}: {why} ({event.status_code} {said})")


def _attend(wire: Wire) -> None:
    """Let the kernel notice a peer that vanished without a word."""
    sock = wire.transport.get_extra_info("socket") if wire.transport is not None else None
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if (number := getattr(socket, option, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)


def peer(transport: asyncio.Transport) -> int:
    """The pid that listens on a Unix socket's other end (Linux), or 0."""
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if sock is None or option is None:
        return 0
    raw: bytes = sock.getsockopt(socket.SOL_SOCKET, option, 12)
    return int(struct.unpack("3i", raw)[0])
