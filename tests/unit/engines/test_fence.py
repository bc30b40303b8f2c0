"""What the rules of a fence mean: packets against them, in order, as the kernel goes about it."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook.engines.base import ContainerSpec
from tfnz_notebook.engines.docker import isolation
from tfnz_notebook.engines.docker.engine import DockerEngine
from tfnz_notebook.engines.docker.isolation import Isolation
from tfnz_notebook.engines.docker.probe import Facts
from tfnz_notebook.engines.launch import between, fence, lan
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
            case "version":
                return self.peer.version == int(value)
        raise AssertionError(option)


def options(words: list[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for option in rest:
        yield option, "" if option == "--syn" else next(rest)


def iptables(rules: str, chain: str) -> Iterator[tuple[list[tuple[str, str]], str]]:
    """What each rule asks for, and what it does then."""
    for line in rules.splitlines():
        if line.startswith(f"-A {chain} "):
            told = dict(options(line.split()[2:]))
            target = told.pop("-j")
            yield list(told.items()), target


#: Words of nft, as the others have them.
NFT = {
    'iifname "lo"': ("-i", "lo"),
    'oifname "lo"': ("-o", "lo"),
    "ct state established,related": ("--ctstate", ""),
    "meta l4proto tcp": ("-p", "tcp"),
    "tcp flags & (fin|syn|rst|ack) == syn": ("--syn", ""),
}
NFT_TARGETS = {"accept": "ACCEPT", "drop": "DROP", "reject": "REJECT", "with tcp reset": "REJECT"}


def nft(rules: str, chain: str) -> Iterator[tuple[list[tuple[str, str]], str]]:
    body = rules.partition(f"chain {chain.lower()} {{\n")[2].partition("\n}\n")[0]
    for line in body.splitlines()[1:]:  # the first says where it hooks in
        rest, told = line, []
        kind = {"ip": 4, "meta nfproto ipv4": 4, "ip6": 6, "meta nfproto ipv6": 6}
        for word in sorted(kind, key=len, reverse=True):
            if rest.startswith(f"{word} "):
                rest = rest.removeprefix(f"{word} ")
                told.append(("version", str(kind[word])))
                break
        if rest.startswith(("saddr ", "daddr ")):
            _, address, rest = rest.split(" ", 2)
            told.append(("-s", address))
        for word, asked in NFT.items():
            if rest.startswith(f"{word} "):
                rest = rest.removeprefix(f"{word} ")
                told.append(asked)
        if rest.startswith("icmpv6 type {"):
            kinds, rest = rest.removeprefix("icmpv6 type { ").split(" } ")
            for each in kinds.split(", "):
                yield [*told, ("-p", "icmpv6"), ("--icmpv6-type", each)], NFT_TARGETS[rest]
            continue
        assert told, line
        yield told, NFT_TARGETS[rest.removeprefix("reject ")]


def passes(rules: str, chain: str, packet: Packet) -> bool:
    """Whether the first rule that fits accepts it; the policy does."""
    read = nft if rules.startswith("add table") else iptables
    for told, target in read(rules, chain):
        if all(packet.fits(*each) for each in told):
            return target == "ACCEPT"
    return True


def both_ways(family: int, own: Attached, **given: Any) -> list[str]:
    """The rules of one IP version, as each kind of tool reads them; nft's with the other's."""
    made = {version: fence.plan(version, own, **given) for version in (4, 6)}
    return [fence.iptables(made[family]), fence.nft(made)]


def seen(family: int, **given: Any) -> dict[str, str]:
    """For each of the people: may it begin a connection to us (i), do its answers come (a); out."""
    others = [ip_network("10.88.0.0/16")]
    seen = []
    for rules in both_ways(family, OWN, **given, others=others):
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
        seen.append(found)
    assert seen[0] == seen[1], "nft has it as iptables has"
    return seen[0]


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
    own, stranger = (ip_address(PEOPLE[family][who]) for who in ("friend", "stranger"))
    for rules in both_ways(family, OWN):
        for chain in ("INPUT", "OUTPUT"):
            assert passes(rules, chain, Packet(own, lo=True))
            for kind in ("133", "134", "135", "136"):
                found = passes(rules, chain, Packet(stranger, icmpv6=kind))
                assert found is (family == 6)
            assert not passes(rules, chain, Packet(stranger, icmpv6="128"))


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
        assert isolation.namespace(path) is None
        assert len(os.listdir("/proc/self/fd")) == before, path  # noqa: PTH208


@pytest.mark.parametrize(
    ("owner", "separate", "said"),
    [
        (1000, True, "networks of their own"),
        (1000, False, "none: this agent is not root"),
        (None, False, "none: the engine is on another machine"),
        (0, False, "none: the engine is in another container"),
    ],
)
async def test_where_there_is_no_fence(owner: int | None, separate: bool, said: str) -> None:
    found = await isolation.find_out(owner, separate=separate, seen=owner != 0)
    assert str(found).startswith(said)

    async def inspect(ref: str) -> None:
        raise AssertionError(ref)

    await isolation.isolate(found, inspect, "a", [], [])
    with pytest.raises(EngineError, match="Cannot allow a connection: .* network="):
        await isolation.isolate(found, inspect, "a", ["b"], [])


RUNNING = {"State": {"Pid": 7}, "NetworkSettings": {"IPAddress": "10.1.0.5", "IPPrefixLen": 24}}


@pytest.mark.parametrize(
    ("outcome", "said", "holds"),
    [
        (False, "fence (nft), verified", True),
        (True, "none: it was tried, and one reached another: the rules of nft do not part", False),
        (between.Unknown("no right to"), "fence (nft), unverified: no right to", True),
    ],
)
async def test_what_is_said_of_it_was_tried(
    monkeypatch: pytest.MonkeyPatch, outcome: bool | Exception, said: str, holds: bool
) -> None:
    async def reaches(source: int, target: int, addresses: list[str]) -> bool:
        assert (source, target, addresses) == (8, 7, ["10.1.0.5"])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(between, "reaches", reaches)
    before = Isolation("nft")
    assert "to be verified" in str(before)
    assert await isolation.tried(before, {"State": {"Pid": 0}}, RUNNING) is before
    found = await isolation.tried(before, {"State": {"Pid": 8}}, RUNNING)
    assert str(found).startswith(said)
    assert found.holds is holds


class Trials:
    """A trial over containers that are there as long as they have a process's number here."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.engine = DockerEngine("docker", runtime=Path(), guest=Path(), owner="x")
        self.engine.facts = Facts(isolation=Isolation("nft"))
        self.pids: dict[str, int] = {}
        #: What comes of each, in order; and who tried.
        self.outcomes: list[bool | Exception] = []
        self.tried: list[tuple[int, int]] = []
        self.lacking: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.engine.found_lacking = lambda: self.lacking.append(self.said)
        patch.setattr(isolation, "_BEHIND", 0.0)
        patch.setattr(between, "reaches", self.reaches)
        patch.setattr(isolation, "isolate", self.isolate)
        patch.setattr(self.engine._trial, "_inspect", self.inspect)

    async def reaches(self, source: int, target: int, addresses: list[str]) -> bool:
        self.tried.append((source, target))
        await self.may_end.wait()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def isolate(self, *_: object) -> None:
        pass

    async def inspect(self, ref: str) -> dict[str, Any]:
        if ref == "unknown":
            raise EngineError("Cannot look at the container: a moment")
        return {"State": {"Pid": self.pids.get(ref, 0)}}

    async def up(self, *refs: str, friends: tuple[str, ...] = ()) -> str:
        """They are fenced off, one after the other; what is said of it once that was tried."""
        for ref in refs:
            self.pids.setdefault(ref, len(self.pids) + 1)
            await self.engine.isolate(ref, friends)
            if self.may_end.is_set() and (task := self.engine._trial._task) is not None:
                await asyncio.wait([task])
        return self.said

    @property
    def said(self) -> str:
        return self.engine.about()["isolation"]


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Trials:
    return Trials(monkeypatch)


async def test_it_is_tried_once_by_the_first_two_that_are_apart(trials: Trials) -> None:
    trials.outcomes = [False]
    assert (await trials.up("a")).endswith("to be verified once two containers run")
    await trials.up("b", friends=("a",))
    assert trials.tried == [], "they may connect"
    assert await trials.up("c", "d") == "fence (nft), verified"
    assert trials.tried == [(3, 2)]
    assert trials.lacking == []


async def test_a_trial_that_fails_is_made_again_and_not_for_ever(trials: Trials) -> None:
    trials.outcomes = [between.Unknown(f"no {number}") for number in range(9)]
    for refs, said in (("ab", "no 0"), ("c", "no 1"), ("d", "no 2"), ("efg", "no 2")):
        assert await trials.up(*refs) == f"fence (nft), unverified: {said}"
    assert len(trials.tried) == 3


async def test_who_is_gone_or_asked_in_vain_counts_for_nothing(trials: Trials) -> None:
    trials.outcomes = [between.Unknown("a moment"), False]
    trials.pids["gone"] = 0
    assert (await trials.up("a", "unknown", "b", "gone")).endswith("once two containers run")
    assert (await trials.up("c")).endswith("once two containers run")
    assert (await trials.up("d")).endswith("unverified: a moment")
    assert (await trials.up("e")).endswith("verified")


async def test_who_may_connect_before_a_trial_is_over_refutes_nothing(trials: Trials) -> None:
    trials.outcomes = [True, False]
    trials.may_end.clear()
    await trials.up("a", "b")
    await asyncio.sleep(0)
    trials.may_end.set()
    assert (await trials.up("a", friends=("b",))).endswith("once two containers run")
    assert (await trials.up("c")).endswith("verified")
    assert trials.lacking == []


async def test_what_ran_before_it_was_refuted_is_told(trials: Trials) -> None:
    trials.outcomes = [True]
    said = await trials.up("a", "b", "c")
    assert said.startswith("none: it was tried, and one reached another")
    assert trials.lacking == [said], "once"
    assert trials.engine.lacks(ContainerSpec("a", "busybox")) == {"isolation": said}


async def test_who_is_removed_is_asked_for_no_more(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where one after the other is spawned and destroyed: that costs no request, nor a trial."""
    monkeypatch.setattr(isolation, "_BEHIND", 60.0)
    asked: list[str] = []
    monkeypatch.setattr(trials.engine._trial, "_inspect", asked.append)
    trials.may_end.clear()
    await trials.up("a", "b")
    trials.engine._trial.gone("b")
    await trials.up("c")
    trials.engine._trial.gone("c")
    await trials.up("d")
    trials.engine._trial.gone("d")
    async with asyncio.timeout(10):
        while trials.engine._trial._task is not None:
            await asyncio.sleep(0)
    assert asked == []


async def test_a_trial_ends_with_its_engine(trials: Trials) -> None:
    trials.may_end.clear()
    await trials.up("a", "b")
    while not trials.tried:
        await asyncio.sleep(0)
    await trials.engine.close()
    assert trials.engine._trial._task is None
    trials.may_end.set()
    trials.outcomes = [False]
    assert (await trials.up("c")).endswith("once two containers run"), "as one that is opened again"
    assert (await trials.up("d")).endswith("verified")


@pytest.fixture
async def two(request: pytest.FixtureRequest) -> AsyncIterator[tuple[int, int]]:
    """Processes in network namespaces with a cable between them: 10.9.0.1 and 10.9.0.2.

    Another user's have a user namespace each, too, as with a Docker that remaps them.
    """
    more = ["--user", "--map-root-user"] if getattr(request, "param", "") == "users" else []
    ends = [
        await asyncio.create_subprocess_exec(
            "unshare", *more, "--net", "cat", stdin=subprocess.PIPE
        )
        for _ in range(2)
    ]
    first, second = (each.pid for each in ends)
    own = Path("/proc/self/ns/net").stat().st_ino
    for pid in (first, second):
        while Path(f"/proc/{pid}/ns/net").stat().st_ino == own:
            await asyncio.sleep(0.002)

    def ip(pid: int, *lines: str) -> None:
        for line in lines:
            command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *line.split()]
            subprocess.run(command, check=True)

    ip(first, f"link add v0 type veth peer name v0 netns {second}")
    for number, pid in enumerate((first, second), 1):
        ip(pid, f"addr add 10.9.0.{number}/24 dev v0", "link set v0 up", "link set lo up")
    yield first, second
    for each in ends:
        each.kill()
        await each.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has namespaces of networks")
async def test_an_engine_with_mounts_of_its_own_is_fenced_by_its_containers_process(
    two: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it calls the namespace is not here; and a number may be another process's by now."""
    monkeypatch.setattr(lan, "bridges", list)
    networks = {"IPAddress": "10.9.0.1", "IPPrefixLen": 24, "SandboxKey": "/nowhere/netns"}
    said = {"State": {"Status": "running", "Pid": two[0]}, "NetworkSettings": networks, "Id": ""}

    async def inspect(ref: str) -> dict[str, Any]:
        return said

    with pytest.raises(isolation.Unseen, match="its network namespace is not visible here"):
        await isolation.isolate(Isolation("nft"), inspect, "c" * 64, [], [])
    said["Id"] = Path(f"/proc/{two[0]}/cgroup").read_text().splitlines()[0]
    await isolation.isolate(Isolation("nft"), inspect, "a", [], [])
    assert not await between.reaches(two[1], two[0], ["10.9.0.1"])


async def test_what_cannot_be_fenced_off_elsewhere_runs_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def isolate(*_: object) -> None:
        raise isolation.Unseen("Cannot keep it apart")

    monkeypatch.setattr(isolation, "isolate", isolate)
    engine = DockerEngine("docker", runtime=tmp_path, guest=tmp_path, owner="x")
    engine.facts = Facts(isolation=Isolation("nft"))
    with pytest.raises(isolation.Unseen):
        await engine.isolate("a")
    engine.facts = Facts(isolation=Isolation("nft"), elsewhere=True)
    await engine.isolate("a")
    told = {"isolation": "none: the engine's containers are not to be seen from here"}
    assert engine.lacks(ContainerSpec("a", "busybox")) == told
    assert engine.lacks(ContainerSpec("a", "busybox", network="bridge")) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has namespaces of networks")
@pytest.mark.parametrize(
    ("two", "tool"),
    [
        ("root", "none"),
        ("root", "iptables-legacy"),
        ("root", "nft"),
        ("users", "none"),
        ("users", "nft"),
    ],
    indirect=["two"],
)
async def test_a_connection_is_tried_and_a_fence_holds_it_back(
    two: tuple[int, int], tool: str
) -> None:
    if tool != "none":
        own = Attached(networks=(ip_network("10.9.0.0/24"),))
        opened = os.open(f"/proc/{two[0]}/ns/net", os.O_RDONLY)
        work = partial(fence.put_up, tool, own, [], [])
        await asyncio.wrap_future(fence.inside(opened, work))
        os.close(opened)
    for source, target in (two, two[::-1])[tool != "nft" :]:
        assert await between.reaches(source, target, ["10.9.0.1", "10.9.0.2"]) is (tool == "none")


async def test_namespaces_that_are_none_of_a_containers() -> None:
    for pid, why in ((os.getpid(), "this machine's own network"), (1 << 22, "just ended")):
        with pytest.raises(between.Unknown, match=why):
            await between.reaches(pid, pid, [])


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

    def restore(name: str, made: dict[int, fence.Plan]) -> None:
        assert all(out[-1].then == "refuse" for _, out in made.values())
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
    for name, version, missing in (
        ("iptables", 4, "iptables-restore"),
        ("iptables", 6, "ip6tables-restore"),
        ("nft", 4, "nft"),
    ):
        with pytest.raises(EngineError, match=f"{missing} is not there"):
            fence.restore(name, {version: fence.plan(version, OWN)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has namespaces to throw away")
def test_nft_takes_it_again_and_again() -> None:
    made = {version: fence.plan(version, OWN, FRIENDS, FRIENDS) for version in (4, 6)}

    def twice() -> None:
        fence.restore("nft", made)
        fence.restore("nft", made)

    fence.inside(None, twice).result(20)


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
    told: list[dict[int, fence.Plan]] = []
    monkeypatch.setattr(fence, "restore", lambda name, made: told.append(made))
    monkeypatch.setattr(fence, "_no_ipv6", lambda: takes_away)
    monkeypatch.setattr(fence, "versions", lambda: (4, 6))
    fence.put_up("iptables", own, [], [])
    assert [sorted(made) for made in told] == [families]
