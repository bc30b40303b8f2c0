"""The flags of ``docker run`` in the create call's JSON. Pure code.

Values come as ``_calls/run/values`` makes them. What an engine would drop without a word is
refused here, by the trait that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tfnz_notebook.engines.base import ContainerSpec
from tfnz_notebook.errors import Misuse

Made = dict[str, Any]
_SECOND: Final = 10**9

#: Those that are said as they come, by their names in HostConfig ...
_HOST: Final = {
    "add_host": "ExtraHosts",
    "blkio_weight": "BlkioWeight",
    "cap_drop": "CapDrop",
    "cgroup_parent": "CgroupParent",
    "cgroupns": "CgroupnsMode",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_rt_period": "CpuRealtimePeriod",
    "cpu_rt_runtime": "CpuRealtimeRuntime",
    "cpu_shares": "CpuShares",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "device_cgroup_rule": "DeviceCgroupRules",
    "dns": "Dns",
    "dns_option": "DnsOptions",
    "dns_search": "DnsSearch",
    "group_add": "GroupAdd",
    "ipc": "IpcMode",
    "kernel_memory": "KernelMemory",
    "memory_reservation": "MemoryReservation",
    "memory_swap": "MemorySwap",
    "memory_swappiness": "MemorySwappiness",
    "oom_kill_disable": "OomKillDisable",
    "oom_score_adj": "OomScoreAdj",
    "privileged": "Privileged",
    "runtime": "Runtime",
    "shm_size": "ShmSize",
    "storage_opt": "StorageOpt",
    "sysctl": "Sysctls",
    "tmpfs": "Tmpfs",
    "uts": "UTSMode",
}
#: ... and beside that.
_CONTAINER: Final = {
    "domainname": "Domainname",
    "mac_address": "MacAddress",
    "stop_signal": "StopSignal",
    "stop_timeout": "StopTimeout",
}
_RATES: Final = {
    "blkio_weight_device": ("BlkioWeightDevice", "Weight"),
    "device_read_bps": ("BlkioDeviceReadBps", "Rate"),
    "device_read_iops": ("BlkioDeviceReadIOps", "Rate"),
    "device_write_bps": ("BlkioDeviceWriteBps", "Rate"),
    "device_write_iops": ("BlkioDeviceWriteIOps", "Rate"),
}
_TIMES: Final = {
    "health_interval": "Interval",
    "health_start_interval": "StartInterval",
    "health_start_period": "StartPeriod",
    "health_timeout": "Timeout",
}
#: What names its place in a network of its own.
_ENDPOINT: Final = ("ip", "ip6", "link_local_ip", "network_alias")

#: What Podman's API takes for Docker's and forgets.
_PODMAN_DROPS: Final = frozenset({"domainname", "kernel_memory", "link_local_ip", "runtime"})


def check(spec: ContainerSpec, *, podman: bool, version: str) -> None:
    """Misuse for what that engine would not do."""
    flags, whose = spec.flags, "Podman" if podman else "Docker"
    for flag in flags:
        if podman and flag in _PODMAN_DROPS:
            raise refused(flag, "Podman's API drops it", "Leave it out, or use Location('docker').")
    cdi = [device[0] for device in flags.get("device", ()) if len(device) == 1]
    least = (5, 4) if podman else (25, 0)
    if (cdi or (podman and "gpus" in flags)) and _number(version) < least:
        flag = "device" if cdi else "gpus"
        raise refused(
            flag,
            f"{whose} {version} knows no devices by their vendors' names (CDI) in its API, "
            f"{least[0]}.{least[1]} does",
            "Name the device's files with --device, or upgrade it.",
        )
    if flags.get("memory_swap") == -1 and podman:
        raise refused("memory_swap", "Podman's API drops -1", "Give a size.")
    if spec.network in (None, "none", "host", "bridge"):
        for flag in _ENDPOINT:
            if flag in flags:
                raise refused(
                    flag, "it is for a network of one's own", "Name that as well: --network NAME."
                )
    for mount in spec.mounts:
        for option in mount.options:
            if option in ("U", "O") and not podman:
                raise Misuse(
                    f"Cannot mount at {mount.target!r} with :{option}: it is Podman's. Leave it "
                    "out, or use Location('podman')."
                )


def refused(flag: str, cause: str, remedy: str) -> Misuse:
    """One flag, and why not."""
    name = flag.replace("_", "-")
    return Misuse(f"Cannot honour --{name} ({flag}=): {cause}. {remedy}")


def _number(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    digits = minor.partition(".")[0].partition("-")[0]
    return int(major) if major.isdigit() else 0, int(digits) if digits.isdigit() else 0


def apply(flags: Mapping[str, Any], made: Made, *, network: str | None, podman: bool) -> None:
    """Put them into the call. What is unknown raises Misuse: a newer kernel's may be."""
    host: Made = made["HostConfig"]
    for flag, value in flags.items():
        if flag in _HOST:
            host[_HOST[flag]] = value
        elif flag in _CONTAINER:
            made[_CONTAINER[flag]] = value
        elif flag in _RATES:
            key, what = _RATES[flag]
            host[key] = [{"Path": path, what: number} for path, number in value]
        elif flag in _SPECIAL:
            _SPECIAL[flag](made, value)
        elif flag == "gpus":
            _request(made, _by_name(value) if podman else _of_driver(value))
        elif flag in _ENDPOINT:
            where = made.setdefault("NetworkingConfig", {"EndpointsConfig": {network: {}}})
            _endpoint(where["EndpointsConfig"][network], flag, value)
        elif flag not in ("init", "tty", "platform") and flag not in _HEALTH:
            raise refused(flag, "this agent does not know it", "Leave it out.")
    if check := _health(flags):
        made["Healthcheck"] = check
    log = {"Type": flags.get("log_driver", ""), "Config": flags.get("log_opt", {})}
    if any(log.values()):
        host["LogConfig"] = log


def _security(made: Made, value: list[str]) -> None:
    made["HostConfig"]["SecurityOpt"] += value


def _ulimits(made: Made, value: Mapping[str, list[int]]) -> None:
    """On top of those that the engine needs said."""
    told = {each["Name"]: each for each in made["HostConfig"].get("Ulimits", ())}
    told |= {
        name: {"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in value.items()
    }
    made["HostConfig"]["Ulimits"] = list(told.values())


def _devices(made: Made, value: list[list[str]]) -> None:
    names = ("PathOnHost", "PathInContainer", "CgroupPermissions")
    files = [dict(zip(names, each, strict=True)) for each in value if len(each) > 1]
    if files:
        made["HostConfig"]["Devices"] = files
    if cdi := [each[0] for each in value if len(each) == 1]:
        _request(made, {"Driver": "cdi", "DeviceIDs": cdi})


def _of_driver(value: Mapping[str, Any]) -> Made:
    """GPUs as Docker asks its driver for them."""
    which = {"DeviceIDs": value["ids"]} if value["ids"] else {"Count": value["count"]}
    return {"Capabilities": [value["capabilities"]], "Driver": value["driver"], **which}


def _by_name(value: Mapping[str, Any]) -> Made:
    """The same by their CDI names, which is all that Podman has."""
    ids = value["ids"] or (["all"] if value["count"] == -1 else range(value["count"]))
    vendor = value["driver"] or "nvidia"
    return {"Driver": "cdi", "DeviceIDs": [f"{vendor}.com/gpu={each}" for each in ids]}


def _request(made: Made, wish: Made) -> None:
    made["HostConfig"].setdefault("DeviceRequests", []).append(wish)


def _expose(made: Made, value: list[int]) -> None:
    made["ExposedPorts"] = {f"{port}/tcp": {} for port in value}


_SPECIAL: Final[dict[str, Callable[[Made, Any], None]]] = {
    "device": _devices,
    "expose": _expose,
    "log_driver": lambda *_: None,
    "log_opt": lambda *_: None,
    "security_opt": _security,
    "ulimit": _ulimits,
}
_HEALTH: Final = frozenset({*_TIMES, "health_cmd", "health_retries", "no_healthcheck"})


def _health(flags: Mapping[str, Any]) -> Made:
    """As the engine is told of it, which then says so in its listings."""
    if flags.get("no_healthcheck"):
        return {"Test": ["NONE"]}
    told: Made = {_TIMES[flag]: round(flags[flag] * _SECOND) for flag in _TIMES if flag in flags}
    if "health_cmd" in flags:
        told["Test"] = ["CMD-SHELL", flags["health_cmd"]]
    if "health_retries" in flags:
        told["Retries"] = flags["health_retries"]
    return told


def _endpoint(told: Made, flag: str, value: Any) -> None:
    if flag == "network_alias":
        told["Aliases"] = value
        return
    key = {"ip": "IPv4Address", "ip6": "IPv6Address", "link_local_ip": "LinkLocalIPs"}[flag]
    told.setdefault("IPAMConfig", {})[key] = value
