"""The bridges that containers share: their networks, and an address that each of them keeps.

A bridge that nobody gave an address has the lowest of its ports', and so another one when a
container comes or goes. What others still send to the former one is lost until they ask again, and
a tunnel hangs for as long: ten seconds and more. Docker gives its bridges one, and so do newer
Podmans (netavark's change 833; Debian 12 is older). So where a container of ours is on a bridge,
that one's is made to stay.
"""

from __future__ import annotations

import fcntl
import logging
import re
import socket
import struct
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network

#: Bridges that Docker, Podman and nerdctl make, by their names.
_BRIDGES: Final = re.compile(r"docker\d+|br-[0-9a-f]{12}|(cni-)?podman\d+|nerdctl\d+")
_SYS: Final = Path("/sys/class/net")
#: NET_ADDR_SET of the kernel's netdevice.h: somebody chose it.
_CHOSEN: Final = "3"
#: netdevice(7), and the family of an Ethernet address.
_SIOCSIFHWADDR: Final = 0x8924
_ARPHRD_ETHER: Final = 1


def routed(table: str) -> Iterator[tuple[str, Network]]:
    """(its name, its IPv4 network) of each bridge, from /proc/net/route."""
    for line in table.splitlines()[1:]:
        name, destination, _gateway, _flags, _, _, _, mask, *_ = line.split()
        if _BRIDGES.fullmatch(name):
            # The kernel prints them as the machine's own integers; Linux on x86-64 and arm64.
            octets = [bytes.fromhex(each)[::-1] for each in (destination, mask)]
            address, netmask = (IPv4Address(each) for each in octets)
            yield name, ip_network(f"{address}/{netmask}")


def bridges() -> list[tuple[str, Network]]:
    """:func:`routed` of this machine, now."""
    return list(routed(Path("/proc/net/route").read_text()))


def steady(shared: Collection[Network]) -> None:
    """The bridges of these networks keep the addresses that they have. Without root: nothing."""
    for name, network in bridges():
        if network in shared:
            try:
                _keep(name)
            except OSError as error:
                log.info("%s does not keep its address: %s", name, error)


def _keep(name: str) -> None:
    here = _SYS / name
    if (here / "addr_assign_type").read_text().strip() == _CHOSEN:
        return
    address = bytes.fromhex((here / "address").read_text().strip().replace(":", ""))
    ifreq = struct.pack("16sH14s", name.encode(), _ARPHRD_ETHER, address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFHWADDR, ifreq)
