"""A fence around one container: packet rules in its own network namespace, put there from outside.

Containers of an engine share a bridge, on which all reach each other. A network for each would
part them, and takes the engine 100 ms and more; the rules below take a few, and know directions.
They hold because a container has no NET_ADMIN: one that asked for it can change its own fence,
and no other's. All of them are set at once (``iptables-restore``), so that putting up a fence
again, or another one in its place, leaves no gap. Not held back are packets that root in a
container makes by hand (NET_RAW, which engines give it so that ping works): they may carry
another's address.

Seen from the container, in this order:

========================  ====================================  ==================================
from, to                  in                                    out
========================  ====================================  ==================================
itself (lo)               yes                                   yes
who may connect to it     yes                                   answers
to whom it may connect    answers                               yes
the gateway               yes: the engine's machine             yes: names, that machine's ports
the rest of its networks  no                                    refused
other engines' networks   no                                    refused
the world                 answers, no new TCP connection        yes
========================  ====================================  ==================================

"Answers" come after the refusals of its own networks, so that what is not allowed any more ends,
connections that are open included.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from ipaddress import (
    IPv4Address,
    IPv6Address,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Any, Final

from tfnz_notebook.engines.launch import lan
from tfnz_notebook.engines.launch.lan import Network
from tfnz_notebook.errors import EngineError

Address = IPv4Address | IPv6Address

#: Which of them work is up to the kernel. The legacy one first: its rules count at once, while
#: nf_tables has every change wait for the other processors (3 ms against 15).
_TOOLS: Final = ("iptables-legacy", "iptables", "iptables-nft", "nft")
#: Where a user's PATH does not look, and an engine's does.
_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
#: The tools' lock is one for all namespaces, and engines hold it often: each has its own here.
_ENVIRON: Final = {"PATH": _PATH, "XTABLES_LOCKFILE": "/proc/self/ns/net", "LC_ALL": "C"}
_PATIENCE: Final = 10.0
#: Of setns(2) and unshare(2).
_NEWNET: Final = 0x40000000
_ALWAYS: Final[dict[int, tuple[Network, ...]]] = {
    # To many at once: other containers are among them. IPv6 has an address on each link by itself.
    4: (ip_network("224.0.0.0/4"), ip_network("255.255.255.255/32")),
    6: (ip_network("fe80::/10"), ip_network("ff00::/8")),
}
#: Neighbour discovery, without which IPv6 finds nobody, the gateway neither (ICMPv6 types).
_DISCOVERY: Final = (133, 134, 135, 136)


@dataclass(frozen=True, slots=True)
class Attached:
    """How a container is connected: its addresses, the networks they are of, their gateways."""

    addresses: tuple[Address, ...] = ()
    networks: tuple[Network, ...] = ()
    gateways: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One of them: what it is of, and what becomes of that. The first that fits counts.

    ``peer`` None is anybody; ``what``: ``'lo'``, ``'answers'``, ``'tcp'``, ``'new tcp'``,
    ``'discovery'`` or all. ``then``: ``'accept'``, ``'drop'``, ``'refuse'``, ``'reset'``.
    """

    then: str
    peer: Address | Network | None = None
    what: str = ""


#: What comes in, and what goes out.
Plan = tuple[list[Rule], list[Rule]]


def plan(
    version: int,
    own: Attached,
    sources: Iterable[Address] = (),
    targets: Iterable[Address] = (),
    others: Iterable[Network] = (),
) -> Plan:
    """The table above, of one IP version."""
    free = [Rule("accept", what="lo")]
    if version == 6:
        free.append(Rule("accept", what="discovery"))
    into, out = [*free], [*free]
    for each in _of(version, sources):
        into.append(Rule("accept", each))
        out.append(Rule("accept", each, "answers"))
    for each in _of(version, targets):
        into.append(Rule("accept", each, "answers"))
        out.append(Rule("accept", each))
    for each in _of(version, own.gateways):
        into.append(Rule("accept", each))
        out.append(Rule("accept", each))
    for each in _of(version, [*own.networks, *others, *_ALWAYS[version]]):
        into.append(Rule("drop", each))
        # A reset and not only "unreachable": it ends a connection that is open, at once.
        out += [Rule("reset", each, "tcp"), Rule("refuse", each)]
    # No connection from elsewhere; but answers to what was asked before the fence was there.
    into += [Rule("accept", what="answers"), Rule("drop", what="new tcp")]
    return into, out


#: What an iptables rule says of ``what`` and ``then``.
_WHAT: Final = {
    "": "",
    "answers": " -m conntrack --ctstate ESTABLISHED,RELATED",
    "tcp": " -p tcp",
    "new tcp": " -p tcp --syn",
}
_THEN: Final = {
    "accept": "ACCEPT",
    "drop": "DROP",
    "refuse": "REJECT",
    "reset": "REJECT --reject-with tcp-reset",
}


def iptables(made: Plan) -> str:
    """As ``iptables-restore`` and ``ip6tables-restore`` read it."""
    lines = ["*filter", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    for chain, side, link, rules in zip(("INPUT", "OUTPUT"), "sd", "io", made, strict=True):
        for rule in rules:
            peer = f" -{side} {rule.peer}" if rule.peer is not None else ""
            what = [_WHAT.get(rule.what, "")]
            if rule.what == "lo":
                what = [f" -{link} lo"]
            elif rule.what == "discovery":
                what = [f" -p icmpv6 --icmpv6-type {kind}" for kind in _DISCOVERY]
            lines += [f"-A {chain}{peer}{each} -j {_THEN[rule.then]}" for each in what]
    return "\n".join([*lines, "COMMIT\n"])


_NFT_WHAT: Final = {
    "": "",
    "answers": " ct state established,related",
    "tcp": " meta l4proto tcp",
    "new tcp": " tcp flags & (fin|syn|rst|ack) == syn",
    "discovery": f" icmpv6 type {{ {', '.join(map(str, _DISCOVERY))} }}",
}
_NFT_THEN: Final = {"refuse": "reject", "reset": "reject with tcp reset"}


def nft(made: Mapping[int, Plan]) -> str:
    """The same of all IP versions as ``nft -f`` reads it: one table, in the place of the last."""
    lines = ["add table inet tfnz", "delete table inet tfnz", "table inet tfnz {"]
    for number, (chain, side, link) in enumerate((("input", "s", "i"), ("output", "d", "o"))):
        lines += [f"chain {chain} {{", f"type filter hook {chain} priority 0; policy accept;"]
        for version, both in made.items():
            for rule in both[number]:
                word = "ip6" if version == 6 else "ip"
                of = f"{word} {side}addr {rule.peer}" if rule.peer is not None else ""
                # "ip saddr" is of IPv4 by itself; what names no address is not.
                of = of or f"meta nfproto ipv{version}"
                what = f' {link}ifname "lo"' if rule.what == "lo" else _NFT_WHAT[rule.what]
                lines.append(f"{of}{what} {_NFT_THEN.get(rule.then, rule.then)}")
        lines.append("}")
    return "\n".join([*lines, "}\n"])


def _of(version: int, given: Iterable[Any]) -> list[Any]:
    return [each for each in given if each.version == version]


# -- doing it --------------------------------------------------------------------------------------


def versions() -> tuple[int, ...]:
    """The IP versions that this machine's kernel has."""
    return (4, 6) if Path("/proc/net/if_inet6").exists() else (4,)


def tool() -> tuple[str, str]:
    """(the first tool that works with this kernel, ''), or ('', why there is none). Blocks.

    It is tried with rules as they will be, in a network namespace that is thrown away.
    """
    near: list[Address] = [ip_address("192.0.2.1"), ip_address("2001:db8::1")]
    own = Attached(networks=tuple(ip_network(each) for each in near), gateways=tuple(near))
    why = ""
    for name in _TOOLS:
        made = {version: plan(version, own, near, near) for version in versions()}
        try:
            inside(None, partial(restore, name, made)).result()
        except (EngineError, OSError) as error:
            why = str(error) if isinstance(error, EngineError) else why or str(error)
        else:
            return name, ""
    return "", why


def inside(namespace: int | None, work: Callable[[], None]) -> Future[None]:
    """Do something in a network namespace (open under that number), or in one of its own.

    In a thread that ends with it: the kernel gives each thread a network namespace, and what the
    thread starts is there too. So no ``nsenter`` is needed, which takes as long as the rest.
    """
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()  # it is seen through, whoever still waits for it

    def run() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_NEWNET) if namespace is None else libc.setns(namespace, _NEWNET):
                cause = os.strerror(ctypes.get_errno())
                raise EngineError(f"a network namespace cannot be entered: {cause}")  # noqa: TRY301
            work()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it belongs to who waits
            done.set_exception(error)

    threading.Thread(target=run, name="fence", daemon=True).start()
    return done


def put_up(name: str, own: Attached, come: Iterable[Address], go: Iterable[Address]) -> None:
    """Fence off the container whose network namespace this thread is in. Raises EngineError."""
    given = (list(come), list(go), [network for _, network in lan.bridges()])
    made = {4: plan(4, own, *given)}
    if 6 in versions() and (_of(6, own.addresses) or not _no_ipv6()):
        made[6] = plan(6, own, *given)
    restore(name, made)


def _no_ipv6() -> bool:
    """Where a network has no IPv6, a container still has an address on the link: take it away.

    Only other containers could reach it there. As Docker does; loopback keeps its own (::1). It
    takes no process, as rules do. False where this machine's /proc/sys is not for writing.
    """
    try:
        for each in Path("/proc/sys/net/ipv6/conf").iterdir():
            switch = each / "disable_ipv6"
            if each.name not in ("all", "default", "lo") and switch.read_text() != "1\n":
                switch.write_text("1")
    except OSError:
        return False
    return True


def restore(name: str, made: Mapping[int, Plan]) -> None:
    """Set the rules of each IP version in this thread's network namespace."""
    if name == "nft":
        _run(["nft", "-f", "-"], nft(made))
        return
    for version, both in made.items():
        command = f"{name.replace('ip', 'ip6', 1) if version == 6 else name}-restore"
        _run([command, "--wait", "10"], iptables(both))


def _run(command: list[str], text: str) -> None:
    program = command[0]
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            env=_ENVIRON,
            timeout=_PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        raise EngineError(f"{program} is not there") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{program} does not come to an end") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise EngineError(f"{program}: {said[0] if said else done.returncode}")
