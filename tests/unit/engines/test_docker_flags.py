"""The flags of docker run, in the create call's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook._calls.run.flags import FLAGS
from tfnz_notebook._calls.spec import container_spec
from tfnz_notebook.engines.base import ContainerSpec, Image, Mount
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.host import wishes
from tfnz_notebook.engines.kubernetes.pod import flags as of_pods
from tfnz_notebook.engines.kubernetes.pod import manifest
from tfnz_notebook.errors import Misuse

IMAGE = Image("sha256:1", ("/entry",))
DOCKER = shape.Quirks(version="28.2.2")
PODMAN = shape.Quirks(podman=True, version="5.8.0")
#: A value of each that is passed on: what a line has, and what the engine hears of it.
PASSED: dict[str, tuple[Any, dict[str, Any]]] = {
    "add_host": ("db:10.0.0.5", {"ExtraHosts": ["db:10.0.0.5"]}),
    "blkio_weight": ("10", {"BlkioWeight": 10}),
    "blkio_weight_device": ("/d:10", {"BlkioWeightDevice": [{"Path": "/d", "Weight": 10}]}),
    "cap_drop": ("CAP_KILL", {"CapDrop": ["KILL"]}),
    "cgroup_parent": ("/x", {"CgroupParent": "/x"}),
    "cgroupns": ("host", {"CgroupnsMode": "host"}),
    "cpu_period": ("1000", {"CpuPeriod": 1000}),
    "cpu_quota": ("-1", {"CpuQuota": -1}),
    "cpu_rt_period": ("1", {"CpuRealtimePeriod": 1}),
    "cpu_rt_runtime": ("1", {"CpuRealtimeRuntime": 1}),
    "cpu_shares": ("512", {"CpuShares": 512}),
    "cpuset_cpus": ("0-3", {"CpusetCpus": "0-3"}),
    "cpuset_mems": ("0", {"CpusetMems": "0"}),
    "device": (
        ["/dev/fuse:/dev/f:r", "a.com/b=c"],
        {
            "Devices": [
                {
                    "PathOnHost": "/dev/fuse",
                    "PathInContainer": "/dev/f",
                    "CgroupPermissions": "r",
                }
            ],
            "DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["a.com/b=c"]}],
        },
    ),
    "device_cgroup_rule": ("c 42:* rmw", {"DeviceCgroupRules": ["c 42:* rmw"]}),
    "device_read_bps": ("/d:1k", {"BlkioDeviceReadBps": [{"Path": "/d", "Rate": 1024}]}),
    "device_read_iops": ("/d:9", {"BlkioDeviceReadIOps": [{"Path": "/d", "Rate": 9}]}),
    "device_write_bps": ("/d:9", {"BlkioDeviceWriteBps": [{"Path": "/d", "Rate": 9}]}),
    "device_write_iops": ("/d:9", {"BlkioDeviceWriteIOps": [{"Path": "/d", "Rate": 9}]}),
    "dns": ("1.1.1.1", {"Dns": ["1.1.1.1"]}),
    "dns_option": ("ndots:1", {"DnsOptions": ["ndots:1"]}),
    "dns_search": ("a.b", {"DnsSearch": ["a.b"]}),
    "domainname": ("x", {"Domainname": "x"}),
    "expose": ("80", {"ExposedPorts": {"80/tcp": {}}}),
    "gpus": (
        "all",
        {"DeviceRequests": [{"Capabilities": [["gpu"]], "Driver": "", "Count": -1}]},
    ),
    "group_add": (["users", 44], {"GroupAdd": ["users", "44"]}),
    "health_cmd": ("true", {"Healthcheck": {"Test": ["CMD-SHELL", "true"]}}),
    "health_interval": ("1s", {"Healthcheck": {"Interval": 10**9}}),
    "health_retries": ("3", {"Healthcheck": {"Retries": 3}}),
    "health_start_interval": ("1ms", {"Healthcheck": {"StartInterval": 10**6}}),
    "health_start_period": ("1m", {"Healthcheck": {"StartPeriod": 60 * 10**9}}),
    "health_timeout": ("1s", {"Healthcheck": {"Timeout": 10**9}}),
    "init": (True, {"Init": False}),
    "ip": ("10.0.0.2", {"n": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}}}),
    "ip6": ("::2", {"n": {"IPAMConfig": {"IPv6Address": "::2"}}}),
    "ipc": ("host", {"IpcMode": "host"}),
    "kernel_memory": ("64m", {"KernelMemory": 64 << 20}),
    "link_local_ip": ("::3", {"n": {"IPAMConfig": {"LinkLocalIPs": ["::3"]}}}),
    "log_driver": ("none", {"LogConfig": {"Type": "none", "Config": {}}}),
    "log_opt": ("a=b", {"LogConfig": {"Type": "", "Config": {"a": "b"}}}),
    "mac_address": ("02:00:00:00:00:01", {"MacAddress": "02:00:00:00:00:01"}),
    "memory_reservation": ("32m", {"MemoryReservation": 32 << 20}),
    "memory_swap": ("-1", {"MemorySwap": -1}),
    "memory_swappiness": ("0", {"MemorySwappiness": 0}),
    "network_alias": ("y", {"n": {"Aliases": ["y"]}}),
    "no_healthcheck": (True, {"Healthcheck": {"Test": ["NONE"]}}),
    "oom_kill_disable": (True, {"OomKillDisable": True}),
    "oom_score_adj": ("-5", {"OomScoreAdj": -5}),
    "platform": ("linux/amd64", {}),
    "privileged": (True, {"Privileged": True}),
    "runtime": ("runsc", {"Runtime": "runsc"}),
    "security_opt": ("label=disable", {"SecurityOpt": ["no-new-privileges", "label=disable"]}),
    "shm_size": ("64m", {"ShmSize": 64 << 20}),
    "stop_signal": ("INT", {"StopSignal": "INT"}),
    "stop_timeout": ("3", {"StopTimeout": 3}),
    "storage_opt": ("size=1g", {"StorageOpt": {"size": "1g"}}),
    "sysctl": ("a.b=1", {"Sysctls": {"a.b": "1"}}),
    "tmpfs": ("/run:size=1m", {"Tmpfs": {"/run": "size=1m"}}),
    "tty": (True, {"Tty": False}),
    "ulimit": ("nofile=1:2", {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}),
    "uts": ("host", {"UTSMode": "host"}),
}  # fmt: skip


def of(spec: dict[str, Any], **more: Any) -> ContainerSpec:
    return ContainerSpec(id="c1", image="x", flags=spec["flags"], network=spec["network"], **more)


def body(spec: ContainerSpec, quirks: shape.Quirks = DOCKER) -> dict[str, Any]:
    return shape.body(spec, IMAGE, run=Path("/run/c1"), guest=Path("/lib/guest"), quirks=quirks)


def test_each_is_said_to_the_engine(subtests: pytest.Subtests) -> None:
    assert set(PASSED) == {flag.keyword for flag in FLAGS if flag.way == "passed"}
    for keyword, (value, expected) in PASSED.items():
        with subtests.test(keyword):
            spec, _ = container_spec("x", {keyword: value, "network": "n"})
            assert spec["flags"], "it is passed on"
            said = body(of(spec))
            endpoints = said.get("NetworkingConfig", {}).get("EndpointsConfig", {})
            flat = {**said, **said["HostConfig"], **endpoints}
            assert {key: flat.get(key) for key in expected} == expected


def test_what_an_engine_would_drop_is_refused_by_name(subtests: pytest.Subtests) -> None:
    old_podman = shape.Quirks(podman=True, version="4.3.1")
    rows = [
        (PODMAN, {"domainname": "x"}, "--domainname.*Podman's API drops it"),
        (PODMAN, {"runtime": "x"}, "--runtime"),
        (PODMAN, {"memory_swap": -1}, "--memory-swap"),
        (old_podman, {"gpus": "all"}, "--gpus.*Podman 4.3.1 .*5.4 does"),
        (old_podman, {"device": "a.com/b=c"}, "--device"),
        (shape.Quirks(version="20.10.24+dfsg1"), {"device": "a.com/b=c"}, "--device.*25.0 does"),
        (DOCKER, {"ip": "10.0.0.2"}, "--ip .*--network NAME"),
        (DOCKER, {"network_alias": "y", "network": "host"}, "--network-alias .*--network NAME"),
        (DOCKER, {"tmpfs": "/.tfnz/run"}, "the place is taken"),
    ]
    for quirks, options, says in rows:
        with subtests.test(repr(options)), pytest.raises(Misuse, match=says):
            body(of(container_spec("x", options)[0]), quirks)
    with pytest.raises(Misuse, match="--new-thing"):
        body(ContainerSpec(id="c", image="x", flags={"new_thing": 1}))
    with pytest.raises(Misuse, match=":U: it is Podman's"):
        body(ContainerSpec(id="c", image="x", mounts=(Mount("/a", "/b", options=("U",)),)))


def test_gpus_of_podman_have_names() -> None:
    for value, ids in (("all", ["all"]), (2, ["0", "1"]), ("device=GPU-1", ["GPU-1"])):
        said = body(of(container_spec("x", {"gpus": value})[0]), PODMAN)
        names = [f"nvidia.com/gpu={each}" for each in ids]
        assert said["HostConfig"]["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": names}]


def test_the_guest_does_what_no_engine_can() -> None:
    spec = of(container_spec("x", {"tty": True, "group_add": ["users", "44"]})[0], user="app")
    command = shape.guest_command(spec, IMAGE)
    assert command[3:7] == ["--user", "app", "--groups", "users,44"]
    assert command[7:] == ["--tty", "--", "/entry"]


def test_limits_of_the_engine_stay_beside_those_asked_for() -> None:
    quirks = shape.Quirks(ulimits=(10, 20))
    said = body(of(container_spec("x", {"ulimit": {"nofile": 5, "core": 0}})[0]), quirks)
    assert {each["Name"]: each["Hard"] for each in said["HostConfig"]["Ulimits"]} == {
        "nofile": 5,
        "nproc": 20,
        "core": 0,
    }


def test_options_of_mounts_are_said_by_binds() -> None:
    mounts = (Mount("/a", "/b", True, ("z",)), Mount("", "/anon"), Mount("v", "/v"))
    said = body(ContainerSpec(id="c", image="x", mounts=mounts), PODMAN)
    assert said["HostConfig"]["Binds"] == ["/a:/b:ro,z"]
    assert [each["Target"] for each in said["HostConfig"]["Mounts"]] == [
        *("/v", "/.tfnz/run", "/.tfnz/guest"),
    ]
    assert said["Volumes"] == {"/anon": {}}


def test_files_before_boot_are_not_hidden_by_a_tmpfs() -> None:
    spec = ContainerSpec(id="c", image="x", files={"/run/f": b""}, flags={"tmpfs": {"/run": ""}})
    assert shape.before_boot(spec, IMAGE)[1] == {"/run/f": b""}


def test_elsewhere_a_flag_is_refused_by_name(subtests: pytest.Subtests) -> None:
    for keyword, (value, _) in PASSED.items():
        spec = of(container_spec("host", {keyword: value})[0])
        if keyword not in wishes.HONOURED:
            with subtests.test(f"host {keyword}"), pytest.raises(Misuse, match=f"{keyword}="):
                wishes.refuse(spec)
        if keyword not in of_pods.HONOURED:
            with subtests.test(f"pod {keyword}"), pytest.raises(Misuse, match=f"{keyword}="):
                manifest.refuse(spec)


def test_what_a_pod_has_of_it() -> None:
    given = {
        "add_host": "db:10.0.0.5",
        "cap_drop": ["ALL"],
        "dns": "1.1.1.1",
        "dns_option": "ndots:2",
        "gpus": 2,
        "privileged": True,
        "shm_size": "64m",
        "stop_timeout": 3,
        "sysctl": {"a.b": 1},
        "tmpfs": {"/t": "size=64m"},
    }
    spec = of(container_spec("x", given)[0])
    manifest.refuse(spec)
    anchor, volumes = manifest.Anchor("a", "u"), manifest.Volumes()
    pod = manifest.pod(spec, IMAGE, anchor, volumes)["spec"]
    (container,) = pod["containers"]
    assert pod["hostAliases"] == [{"ip": "10.0.0.5", "hostnames": ["db"]}]
    assert (pod["dnsPolicy"], pod["dnsConfig"]) == (
        "None",
        {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]},
    )
    assert pod["securityContext"]["sysctls"] == [{"name": "a.b", "value": "1"}]
    assert pod["terminationGracePeriodSeconds"] == 3
    assert [each["emptyDir"] for each in pod["volumes"][-2:]] == [
        {"medium": "Memory", "sizeLimit": "64Mi"},
        {"medium": "Memory", "sizeLimit": str(64 << 20)},
    ]
    assert [each["mountPath"] for each in container["volumeMounts"][-2:]] == ["/t", "/dev/shm"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert container["securityContext"]["privileged"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for wish, value in (("gpus", "all"), ("tmpfs", "/t:mode=700")):
        with pytest.raises(Misuse, match=f"--{wish}"):
            manifest.refuse(of(container_spec("x", {wish: value})[0]))
