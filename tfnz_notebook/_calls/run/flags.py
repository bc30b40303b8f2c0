"""The whole of ``docker run --help``, a row a flag.

From it are derived parsing, completion, help and refusals of ``%tf_spawn``, what
``spawn_container`` takes, and the lines of ``docker_run()``.

A flag is *ours* under a keyword that spawn_container has for it; *passed* on, in its own words
(``--shm-size`` is ``shm_size``), for the engine to take or refuse; *shown*, which is what a magic
does with what it made; or refused, with the sentence that names what there is instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict

from tfnz_notebook._base.numbers import number
from tfnz_notebook._calls.run import values
from tfnz_notebook.errors import Misuse

Way = Literal["ours", "passed", "shown", "refused"]
Texts = list[str]


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: how it is written, what it is here."""

    names: tuple[str, ...]
    way: Way
    #: spawn_container's, of the same word.
    keyword: str
    #: What its value is called in help; '': it has none.
    metavar: str = ""
    help: str = ""
    many: bool = False
    #: What completion offers.
    kind: str = ""
    read: Callable[[str, Any], Any] = values.word
    #: Plain data, as ``read`` gives it, in the words of a command line.
    write: Callable[[Any], Texts] = field(default=lambda value: [str(value)])
    refusal: str = ""

    @property
    def name(self) -> str:
        """The long one."""
        return self.names[-1]

    def refuse(self) -> Misuse:
        """Why not, and what instead."""
        return Misuse(f"Cannot spawn a container with {self.name}: {self.refusal}")


def _flag(way: Way, names: str, metavar: str = "", help: str = "", **more: Any) -> Flag:  # noqa: A002
    split = tuple(names.split())
    keyword = more.pop("keyword", split[-1].removeprefix("--").replace("-", "_"))
    if not metavar and way == "passed":
        more.setdefault("read", values.flag)
    return Flag(split, way, keyword, metavar, help, **more)


def _ours(names: str, metavar: str = "", help: str = "", **more: Any) -> Flag:  # noqa: A002
    return _flag("ours", names, metavar, help, **more)


def _passed(names: str, metavar: str = "", help: str = "", **more: Any) -> Flag:  # noqa: A002
    return _flag("passed", names, metavar, help, **more)


def _shown(names: str, metavar: str = "", help: str = "", **more: Any) -> Flag:  # noqa: A002
    return _flag("shown", names, metavar, help, **more)


def _no(names: str, refusal: str, *, value: bool = True) -> Flag:
    return _flag("refused", names, "VALUE" if value else "", refusal=refusal)


# --- plain data as a command line has it


def _each(value: Any) -> Texts:
    return [str(each) for each in value]


def _pairs(sign: str = "=") -> Callable[[Any], Texts]:
    return lambda value: [f"{k}{sign}{v}" if v or sign == "=" else k for k, v in value.items()]


def _size(value: int) -> Texts:
    for shift, unit in ((30, "g"), (20, "m"), (10, "k")):
        if value > 0 and not value % (1 << shift):
            return [f"{value >> shift}{unit}"]
    return [str(value)]


def _seconds(value: float) -> Texts:
    return [f"{number(value, 15)}s"]


def _columns(value: Any) -> Texts:
    return [":".join(map(str, each)) for each in value]


def _limits(value: Any) -> Texts:
    return [f"{name}={soft}:{hard}" for name, (soft, hard) in value.items()]


def _gpus(value: Any) -> Texts:
    which = f'"device={",".join(value["ids"])}"' if value["ids"] else f"count={value['count']}"
    told = [which.replace("count=-1", "count=all")]
    told += [f'"capabilities={",".join(value["capabilities"])}"'] * (len(value["capabilities"]) > 1)
    told += [f"driver={value['driver']}"] * bool(value["driver"])
    return [",".join(told)]


# --- the table: as docker run --help lists them

_MANY: Final[dict[str, Any]] = {"many": True, "read": values.words, "write": _each}
_RATE: Final[dict[str, Any]] = {"many": True, "read": values.rates, "write": _columns}
_MAP: Final[dict[str, Any]] = {"many": True, "read": values.pairs, "write": _pairs()}
_NUMBER: Final[dict[str, Any]] = {"read": values.whole}
_TIME: Final[dict[str, Any]] = {"read": values.duration, "write": _seconds}
_WINDOWS: Final = "it is for Windows' containers. Write --cpus or --device-read-bps here."

FLAGS: Final[tuple[Flag, ...]] = (
    _passed("--add-host", "NAME:IP", "a line of /etc/hosts", **{**_MANY, "read": values.hosts}),
    _no("--annotation", "its API does not tell whether it was taken. Write --label NAME=VALUE."),
    _no("-a --attach", "its output is always followed, and -i has a line for its stdin. Leave "
        "it out."),
    _passed("--blkio-weight", "N", "10 to 1000", **_NUMBER),
    _passed("--blkio-weight-device", "DEVICE:N", "the same for one device", **_RATE),
    _ours("--cap-add", "NAME", "a Linux capability, as in SYS_PTRACE", many=True,
          read=values.capabilities, write=_each),
    _passed("--cap-drop", "NAME", "one less; ALL of them", many=True,
            read=values.capabilities, write=_each),
    _passed("--cgroup-parent", "PATH", "of its cgroup"),
    _passed("--cgroupns", "host|private", "its cgroup namespace"),
    _no("--cidfile", "the container is an object here, and container.id its id. Leave it out."),
    _no("--cpu-count", _WINDOWS),
    _no("--cpu-percent", _WINDOWS),
    _passed("--cpu-period", "US", "of the scheduler", **_NUMBER),
    _passed("--cpu-quota", "US", "in each period", read=values.limit),
    _passed("--cpu-rt-period", "US", "of the real-time scheduler", **_NUMBER),
    _passed("--cpu-rt-runtime", "US", "in each of those", **_NUMBER),
    _passed("-c --cpu-shares", "N", "relative weight", **_NUMBER),
    _ours("--cpu --cpus", "CORES", "limit, may be a fraction", read=values.cores),
    _passed("--cpuset-cpus", "0-3", "cores to run on"),
    _passed("--cpuset-mems", "0-3", "memory nodes"),
    _shown("-d --detach", help="do not wait until it runs"),
    _no("--detach-keys", "a view is left by leaving it, and Ctrl-] leaves a terminal. Leave it "
        "out."),
    _passed("--device", "DEVICE[:INSIDE][:rwm]", "a device of the engine's machine, or its CDI "
            "name", many=True, read=values.devices, write=_columns),
    _passed("--device-cgroup-rule", "RULE", "as in 'c 42:* rmw'", **_MANY),
    _passed("--device-read-bps", "DEVICE:BYTES", "bytes per second", **_RATE),
    _passed("--device-read-iops", "DEVICE:N", "reads per second", **_RATE),
    _passed("--device-write-bps", "DEVICE:BYTES", "bytes per second", **_RATE),
    _passed("--device-write-iops", "DEVICE:N", "writes per second", **_RATE),
    _no("--disable-content-trust", "no signatures of images are looked at. Name a digest to be "
        "sure of an image (NAME@sha256:…), and leave it out.", value=False),
    _passed("--dns", "IP", "a name server", **_MANY),
    _passed("--dns-option", "OPTION", "of resolv.conf", **_MANY),
    _passed("--dns-search", "DOMAIN", "to search", **_MANY),
    _passed("--domainname", "NAME", "NIS domain"),
    _ours("--entrypoint", "WORD", "instead of the image's; unmodified: its own first process stays "
          "PID 1"),
    _ours("-e --env", "NAME=VALUE", "a variable", many=True),
    _ours("--env-file", "FILE", "variables, a line each", many=True, kind="local",
          read=values.lines),
    _passed("--expose", "PORT", "it listens there: see -P", many=True, read=values.exposed,
            write=_each),
    _passed("--gpus", "all|N|device=…", "GPUs", read=values.gpus, write=_gpus),
    _passed("--group-add", "GROUP", "another group", many=True, read=values.numbered, write=_each),
    _passed("--health-cmd", "COMMAND", "a shell's, 0 if it is healthy"),
    _passed("--health-interval", "30s", "between checks", **_TIME),
    _passed("--health-retries", "N", "until it is unhealthy", **_NUMBER),
    _passed("--health-start-interval", "5s", "between checks while it starts", **_TIME),
    _passed("--health-start-period", "0s", "until failures count", **_TIME),
    _passed("--health-timeout", "30s", "of one check", **_TIME),
    _ours("-h --hostname", "NAME", "what it believes to be called"),
    _passed("--init", help="as the guest is always: it reaps"),
    _shown("-i --interactive", help="show a line to type into its stdin"),
    _no("--io-maxbandwidth", _WINDOWS),
    _no("--io-maxiops", _WINDOWS),
    _passed("--ip", "IP", "in its --network"),
    _passed("--ip6", "IP", "in its --network"),
    _passed("--ipc", "MODE", "private, shareable, host, none"),
    _no("--isolation", "it is for Windows' containers. location.about['isolation'] tells how "
        "containers are kept apart."),
    _passed("--kernel-memory", "SIZE", "limit", read=values.size, write=_size),
    _ours("-l --label", "NAME=VALUE", "for the engine's listings", **_MAP),
    _ours("--label-file", "FILE", "labels, a line each", many=True, kind="local",
          read=values.lines),
    _no("--link", "containers are not linked. Let one connect to the other with "
        "b.allow_connection_from(a) and b.ip(), or name one --network for both."),
    _passed("--link-local-ip", "IP", "in its --network", **_MANY),
    _passed("--log-driver", "NAME", "of the engine's own log"),
    _passed("--log-opt", "NAME=VALUE", "for that", **_MAP),
    _passed("--mac-address", "MAC", "in its --network"),
    _ours("-m --memory", "SIZE", "limit, as in 512m", write=_size),
    _passed("--memory-reservation", "SIZE", "soft limit", read=values.size, write=_size),
    _passed("--memory-swap", "SIZE", "limit with swap; default as --memory",
            read=values.size_or_none, write=_size),
    _passed("--memory-swappiness", "N", "0 to 100", read=values.limit),
    _ours("--mount", "type=…,source=…,target=…", "a bind, a volume or a tmpfs", many=True,
          read=values.mounts),
    _ours("--name", "NAME", "its name, for the engine too"),
    _ours("--network --net", "NAME", "none, host, or the engine's own", keyword="network"),
    _passed("--network-alias", "NAME", "another name in its --network", **_MANY),
    _passed("--no-healthcheck", help="nor the image's"),
    _passed("--oom-kill-disable", help="wait at the memory limit instead"),
    _passed("--oom-score-adj", "N", "-1000 to 1000", read=lambda k, v: values.whole(k, v, -1000)),
    _no("--pid", "the guest is the first process of a namespace of its own. Processes of the "
        "machine itself are Location('host')'s."),
    _ours("--pids-limit", "N", "limit of processes, -1: none", read=values.limit),
    _passed("--platform", "OS/ARCH", "of the image, as in linux/arm64"),
    _passed("--privileged", help="all capabilities and devices: no isolation"),
    _ours("-p --publish", "[[BIND:]PORT:]PORT", "a tunnel from a port here to one in the "
          "container", many=True, read=values.ports),
    _shown("-P --publish-all", help="a tunnel to each port that the image exposes"),
    _ours("--pull", "missing|always|never", "whether to ask the registry", kind="pull"),
    _shown("-q --quiet", help="as it is"),
    _ours("--read-only", help="its root file system cannot be written"),
    _ours("--restart", "no", "it is not", read=values.restart),
    _shown("--rm", help="destroy it when its main process ends"),
    _passed("--runtime", "NAME", "of the engine's"),
    _passed("--security-opt", "OPTION", "as in seccomp=unconfined",
            **{**_MANY, "read": values.security}),
    _passed("--shm-size", "SIZE", "of /dev/shm", read=values.size, write=_size),
    _no("--sig-proxy", "signals go where they are sent: container.main.signal('HUP').",
        value=False),
    _passed("--stop-signal", "NAME", "that ends it"),
    _passed("--stop-timeout", "S", "for that, until it is killed", read=values.limit),
    _passed("--storage-opt", "NAME=VALUE", "of its root file system", **_MAP),
    _passed("--sysctl", "NAME=VALUE", "a namespaced one", **_MAP),
    _passed("--tmpfs", "DIR[:OPTIONS]", "a file system in memory", many=True, read=values.tmpfs,
            write=_pairs(":")),
    _passed("-t --tty", help="a terminal for its main process"),
    _passed("--ulimit", "NAME=SOFT[:HARD]", "as in nofile=1024", many=True, read=values.limits,
            write=_limits),
    _no("--use-api-socket", "nothing here mounts the engine's socket. -v mounts what you name.",
        value=False),
    _ours("-u --user", "USER", "name or uid, or either with :group"),
    _no("--userns", "that is the engine's to say for all its containers: the guest is root in "
        "there. Start processes as another with --user."),
    _passed("--uts", "host", "the machine's own name"),
    _ours("-v --volume", "[VOLUME:]DIR[:ro]", "mount a volume, which is made if need be, or a "
          "directory", many=True, kind="volume", read=values.volumes),
    _no("--volume-driver", "volumes are made by location.create_volume(). One of another driver, "
        "made with the engine's own tool, is mounted by its name: -v NAME:DIR."),
    _no("--volumes-from", "a container's own guest is among what is mounted there. Mount the same "
        "volumes: -v NAME:DIR."),
    _ours("-w --workdir", "DIR", "working directory"),
)  # fmt: skip

BY_KEYWORD: Final[dict[str, Flag]] = {flag.keyword: flag for flag in FLAGS}


class RunFlags(TypedDict, total=False):
    """What else ``spawn_container`` takes: the flags of ``docker run``, in the same words.

    ``--shm-size 1g`` is ``shm_size='1g'``; a flag that may be repeated takes a list (or a dict,
    where it is made of pairs). ``%tf_spawn?`` says what each is. One that the engine cannot have
    fails the container, and says so.
    """

    add_host: Any
    blkio_weight: int
    blkio_weight_device: Any
    cap_add: Any
    cap_drop: Any
    cgroup_parent: str
    cgroupns: str
    cpu_period: int
    cpu_quota: int
    cpu_rt_period: int
    cpu_rt_runtime: int
    cpu_shares: int
    cpus: float | str
    cpuset_cpus: str
    cpuset_mems: str
    device: Any
    device_cgroup_rule: Any
    device_read_bps: Any
    device_read_iops: Any
    device_write_bps: Any
    device_write_iops: Any
    dns: Any
    dns_option: Any
    dns_search: Any
    domainname: str
    env_file: Any
    expose: Any
    group_add: Any
    health_cmd: str
    health_interval: float | str
    health_retries: int
    health_start_interval: float | str
    health_start_period: float | str
    health_timeout: float | str
    init: bool
    ip: str
    ip6: str
    ipc: str
    kernel_memory: int | str
    label: Any
    label_file: Any
    link_local_ip: Any
    log_driver: str
    log_opt: Any
    mac_address: str
    memory_reservation: int | str
    memory_swap: int | str
    memory_swappiness: int
    mount: Any
    network_alias: Any
    no_healthcheck: bool
    oom_kill_disable: bool
    oom_score_adj: int
    pids_limit: int
    platform: str
    privileged: bool
    publish: Any
    restart: str
    runtime: str
    security_opt: Any
    shm_size: int | str
    stop_signal: str
    stop_timeout: int
    storage_opt: Any
    sysctl: Any
    tmpfs: Any
    tty: bool
    ulimit: Any
    uts: str
    volume: Any


#: Of the same words: ours, where 20ft and the other calls have another.
OURS: Final = {
    "cap_add": "capabilities",
    "cpus": "cpu",
    "label": "labels",
    "pids_limit": "pids",
}
#: What spawn_container does by itself, whether it is asked to or not.
ALWAYS: Final = frozenset({"detach", "interactive", "quiet"})
_INSTEAD: Final = {
    "publish_all": "which ports its image exposes is known once it is there. Name those you want, "
    "as in publish=[80], or call container.attach_tunnel(80).",
    "rm": "its object is for what comes after. Use location.run() for one command, or have "
    "termination_callback= call container.destroy().",
}


def told(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What spawn_container was given, read: as keywords of its own, and as flags to be passed on.

    Of those, ``publish`` is (bind, local port, port) each, ``volumes_named`` are mounts as the
    spec has them. Raises Misuse; TypeError, as Python does, for what is no flag.
    """
    ours: dict[str, Any] = {}
    passed: dict[str, Any] = {}
    mounted: list[list[Any]] = []
    for keyword, value in options.items():
        flag = BY_KEYWORD.get(keyword)
        if keyword == "gpus" and isinstance(value, Mapping):
            flag = None  # a cluster's resources, by their names
        if (
            flag is None
            or value is None
            or (flag.way == "ours" and keyword not in RunFlags.__annotations__)
        ):
            ours[keyword] = value
            continue
        if flag.way == "refused":
            raise flag.refuse()
        if flag.way == "shown":
            if keyword not in ALWAYS and value:
                raise Misuse(f"Cannot spawn a container with {keyword}=: {_INSTEAD[keyword]}")
            continue
        found = flag.read(keyword, value)
        if keyword == "mount":
            mounted += found[0]
            if found[1]:
                passed["tmpfs"] = {**passed.get("tmpfs", {}), **found[1]}
        elif keyword == "volume":
            mounted += found
        elif keyword == "tmpfs":
            passed["tmpfs"] = {**passed.get("tmpfs", {}), **found}
        elif flag.way == "passed":
            if flag.metavar or found:
                passed[keyword] = found
        elif (own := OURS.get(keyword, keyword)) != keyword and options.get(own) is not None:
            raise Misuse(f"Cannot spawn a container: {own} and {keyword} are one. Give either.")
        else:
            ours[own] = found
    if mounted:
        ours["volumes_named"] = mounted
    return ours, passed


def line(flag: Flag, value: Any) -> Iterator[str]:
    """A flag and its value, as it is written; nothing for one that is not set."""
    if not flag.metavar:
        if value:
            yield flag.name
        return
    for text in flag.write(value):
        yield from (flag.name, text)
