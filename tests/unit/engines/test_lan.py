"""Bridges that containers share, real ones in a namespace of the test's own."""

import os
import subprocess
import sys

import pytest

from tfnz_notebook.engines.launch import lan


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
    assert [(name, str(network)) for name, network in lan.routed(table)] == [
        ("docker0", "172.17.0.0/16"),
        ("br-0123456789ab", "172.18.0.0/16"),
        ("podman1", "10.88.0.0/16"),
    ]


#: A bridge with one port, and then another whose address is lower.
SCENE = """
mount -t sysfs none /sys
ip link add podman7 type bridge
ip link add first address 0e:00:00:00:00:05 type veth peer name theirs
ip link set first master podman7
ip addr add 10.9.0.1/24 dev podman7
ip link set podman7 up
"$@" 10.9.0.0/24
cat /sys/class/net/podman7/address
ip link add second address 0e:00:00:00:00:03 type veth peer name another
ip link set second master podman7
cat /sys/class/net/podman7/address
"""
KEEP = """
import ipaddress, sys
from tfnz_notebook.engines.launch import lan
lan.steady([ipaddress.ip_network(sys.argv[1])])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has namespaces of networks")
@pytest.mark.parametrize(
    ("act", "kept"),
    [([sys.executable, "-c", KEEP], True), (["true"], False)],
    ids=["kept", "as the kernel does it"],
)
def test_a_bridge_keeps_its_address_whoever_comes(act: list[str], kept: bool) -> None:
    command = ["unshare", "--net", "--mount", "sh", "-e", "-c", SCENE, "sh", *act]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = done.stdout.split()
    assert before == "0e:00:00:00:00:05"
    assert after == (before if kept else "0e:00:00:00:00:03")
