"""What the rules of a fence mean: packets against them, in order, as the kernel goes about it."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook.engines.docker import isolation
from tfnz_notebook.engines.docker.isolation import Isolation
from tfnz_notebook.engines.launch import fence
from tfnz_notebook.engines.launch.fence import Address, Attached
from tfnz_notebook.errors import ContainerGone, EngineError

FAMILIES = pytest.mark.parametrize("family", [4, 6])
#: Of each family, everybody who matters to one container.
PEOPLE: dict[int, dict[str, str]] = {
    4: {
        "gateway": "10.1.0.1",
        "friend": "10.1.0.7",
        "stranger": "10.1.0.8",
        "elsewhere": "10.88.0.3",
        "world": "203.0.113.9",
        "everybody": "224.0.0.251",
    },
    6: {
        "gateway": "fd00::1",
        "friend": "fd00::7",
        "stranger": "fd00::8",
        "elsewhere": "fe80::3",
        "world": "2001:db8::9",
        "everybody": "ff02::fb",
    },
}
OWN = Attached(
    tuple(map(ip_address, ("10.1.0.5", "fd00::5"))),
    tuple(map(ip_network, ("10.1.0.0/24", "fd00::/64"))),
    tuple(map(ip_address, ("10.1.0.1", "fd00::1"))),
)
FRIENDS = [ip_address(PEOPLE[family]["friend"]) for family in (4, 6)]


@dataclass
class Packet:
    """Of a TCP connection that it begins, or (``answer``) that is known; or ICMPv6."""

    peer: Address
    answer: bool = False
    lo: bool = False
    icmpv6: str = ""

    def fits(self, option: str, value: str) -> bool:
        match option:
            case "-i" | "-o":
                return self.lo
            case "-s" | "-d":
                return self.peer in ip_network(value)
            case "-p":
                return value == ("icmpv6" if self.icmpv6 else "tcp")
            case "--icmpv6-type":
                return value == self.icmpv6
            case "--syn":
                return not self.answer
            case "--ctstate":
                return self.answer
            case "-m" | "--reject-with":
                return True
        raise AssertionError(option)


def options(words: list[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for option in rest:
        yield option, "" if option == "--syn" else next(rest)


def passes(rules: str, chain: str, packet: Packet) -> bool:
    """Whether the first rule that fits accepts it; the policy does."""
    for line in rules.splitlines():
        if line.startswith(f"-A {chain} "):
            told = dict(options(line.split()[2:]))
            target = told.pop("-j")
            if all(packet.fits(*each) for each in told.items()):
                return target == "ACCEPT"
    return True


def seen(family: int, **given: Any) -> dict[str, str]:
    """For each of the people: may it begin a connection to us (i), do its answers come (a); out."""
    others = [ip_network("10.88.0.0/16")]
    rules = fence.rules(family, OWN, **given, others=others)
    found = {}
    for name, address in PEOPLE[family].items():
        peer = ip_address(address)
        found[name] = "".join(
            letter
            for letter, chain, answer in (
                ("i", "INPUT", False),
                ("a", "INPUT", True),
                ("o", "OUTPUT", False),
                ("r", "OUTPUT", True),
            )
            if passes(rules, chain, Packet(peer, answer))
        )
    return found


ALONE = {
    "gateway": "iaor",
    "friend": "",
    "stranger": "",
    "elsewhere": "",
    "world": "aor",  # no connection from there, everything to there
    "everybody": "",
}


@FAMILIES
def test_alone(family: int) -> None:
    assert seen(family) == ALONE


@FAMILIES
def test_who_may_connect_to_it_is_answered_and_no_more(family: int) -> None:
    assert seen(family, sources=FRIENDS) == {**ALONE, "friend": "iar"}


@FAMILIES
def test_to_whom_it_may_connect_answers_and_no_more(family: int) -> None:
    assert seen(family, targets=FRIENDS) == {**ALONE, "friend": "aor"}


@FAMILIES
def test_both_ways(family: int) -> None:
    assert seen(family, sources=FRIENDS, targets=FRIENDS) == {**ALONE, "friend": "iaor"}


@FAMILIES
def test_itself_and_discovery(family: int) -> None:
    rules = fence.rules(family, OWN)
    own, stranger = (ip_address(PEOPLE[family][who]) for who in ("friend", "stranger"))
    for chain in ("INPUT", "OUTPUT"):
        assert passes(rules, chain, Packet(own, lo=True))
        for kind in ("133", "134", "135", "136"):
            found = passes(rules, chain, Packet(stranger, icmpv6=kind))
            assert found is (family == 6)
        assert not passes(rules, chain, Packet(stranger, icmpv6="128"))


def test_bridges_are_told_from_other_interfaces() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "br-0123456789ab\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "br-lan\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "podman1\t0000580A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert [str(each) for each in fence.bridges(table)] == [
        "172.17.0.0/16",
        "172.18.0.0/16",
        "10.88.0.0/16",
    ]


# --- what an engine says of a container ----------------------------------------------------------


def test_how_it_is_attached() -> None:
    both = {
        "IPAddress": "10.1.0.5",
        "IPPrefixLen": 24,
        "Gateway": "10.1.0.1",
        "GlobalIPv6Address": "fd00::5",
        "GlobalIPv6PrefixLen": 64,
        "IPv6Gateway": "fd00::1",
    }
    assert isolation.attached({"NetworkSettings": {"Networks": {"bridge": both}}}) == OWN
    assert isolation.attached({"NetworkSettings": both}) == OWN
    empty = {"IPAddress": "", "IPPrefixLen": 0, "Gateway": "", "GlobalIPv6Address": None}
    for said in ({}, {"NetworkSettings": None}, {"NetworkSettings": {"Networks": {"a": empty}}}):
        assert isolation.attached(said) == Attached()


def test_no_namespace_but_a_containers(tmp_path: Path) -> None:
    """This machine's own is never entered, nor anything that is no namespace."""
    plain = tmp_path / "plain"
    plain.touch()
    for path in ("/proc/self/ns/net", str(plain), str(tmp_path / "none"), "", None):
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - their number is all
        assert isolation.namespace({"NetworkSettings": {"SandboxKey": path}}) is None
        assert len(os.listdir("/proc/self/fd")) == before, path  # noqa: PTH208


@pytest.mark.parametrize(
    ("owner", "separate", "said"),
    [
        (1000, True, "networks of their own"),
        (1000, False, "none: this agent is not root"),
        (None, False, "none: the engine is on another machine"),
    ],
)
async def test_where_there_is_no_fence(owner: int | None, separate: bool, said: str) -> None:
    found = await isolation.find_out(owner, separate=separate)
    assert str(found).startswith(said)

    async def inspect(ref: str) -> None:
        raise AssertionError(ref)

    await isolation.isolate(found, inspect, "a", [], [])
    with pytest.raises(EngineError, match="Cannot allow a connection: .* network="):
        await isolation.isolate(found, inspect, "a", ["b"], [])


async def test_a_container_that_cannot_be_fenced_off_must_not_run() -> None:
    states: list[str] = []

    async def inspect(ref: str) -> dict[str, Any]:
        return {"State": {"Status": states.pop(0)}, "NetworkSettings": {"SandboxKey": "/none"}}

    states += ["running", "running"]
    with pytest.raises(EngineError, match="Cannot keep the container apart from others: its net"):
        await isolation.isolate(Isolation("iptables"), inspect, "a", [], [])
    for now in (["exited"], ["running", "exited"]):  # it ended, before or meanwhile
        states += now
        with pytest.raises(ContainerGone):
            await isolation.isolate(Isolation("iptables"), inspect, "a", [], [])


def test_which_tool_works(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def restore(name: str, made: dict[int, str]) -> None:
        assert all("tcp-reset" in text for text in made.values())
        tried.append(f"{name} {sorted(made)}")
        if name == "iptables-legacy":
            raise EngineError("Table does not exist")

    def inside(namespace: int | None, work: Callable[[], None]) -> Future[None]:
        assert namespace is None
        done: Future[None] = Future()
        try:
            done.set_result(work())
        except EngineError as error:
            done.set_exception(error)
        return done

    monkeypatch.setattr(fence, "inside", inside)
    monkeypatch.setattr(fence, "restore", restore)
    monkeypatch.setattr(fence, "versions", lambda: (4, 6))
    assert fence.tool() == ("iptables", "")
    assert tried == ["iptables-legacy [4, 6]", "iptables [4, 6]"]

    def broken(*_: object) -> None:
        raise EngineError("Table does not exist")

    monkeypatch.setattr(fence, "restore", broken)
    assert fence.tool() == ("", "Table does not exist")


def test_tools_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fence._ENVIRON, "PATH", "/nonexistent")
    with pytest.raises(EngineError, match="iptables-restore is not there"):
        fence.restore("iptables", {4: "x"})
    with pytest.raises(EngineError, match="ip6tables-restore is not there"):
        fence.restore("iptables", {6: "x"})


def test_a_namespace_that_is_none_is_not_entered(tmp_path: Path) -> None:
    entered: list[bool] = []
    with (tmp_path / "plain").open("w") as plain:
        done = fence.inside(plain.fileno(), lambda: entered.append(True))
        with pytest.raises(EngineError, match="cannot be entered"):
            done.result(10)
    assert not entered


@pytest.mark.parametrize(
    ("own", "takes_away", "families"),
    [
        (OWN, True, [4, 6]),
        (Attached(OWN.addresses[:1], OWN.networks[:1]), True, [4]),
        (Attached(OWN.addresses[:1], OWN.networks[:1]), False, [4, 6]),
    ],
)
def test_ipv6_is_fenced_off_or_away(
    monkeypatch: pytest.MonkeyPatch, own: Attached, takes_away: bool, families: list[int]
) -> None:
    told: list[dict[int, str]] = []
    monkeypatch.setattr(fence, "restore", lambda name, made: told.append(made))
    monkeypatch.setattr(fence, "_no_ipv6", lambda: takes_away)
    monkeypatch.setattr(fence, "versions", lambda: (4, 6))
    fence.put_up("iptables", own, [], [])
    assert [sorted(made) for made in told] == [families]
