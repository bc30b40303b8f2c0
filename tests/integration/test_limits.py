"""What containers may use, and what they and their node say they use."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.polling import until

from tfnz_notebook.container import Container
from tfnz_notebook.errors import OutOfMemory, SpawnFailed
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node

Spawn = Callable[..., Container]
in_containers = pytest.mark.engines("podman", "docker")


@in_containers
def test_a_container_over_its_memory_limit_says_so(spawn: Spawn) -> None:
    eat = "import time; print('eating', flush=True); time.sleep(0.2); x = bytearray(200 << 20)"
    container = spawn(command=["python3", "-c", eat], memory="64m")
    until(lambda: container.state not in ("creating", "starting", "running"), 30, "it has ended")
    with pytest.raises(OutOfMemory, match=r"^Cannot .*memory limit"):
        container.wait_until_ready()


@in_containers
def test_a_process_over_the_memory_limit_is_killed_and_the_container_lives(spawn: Spawn) -> None:
    container = spawn(sleep=True, memory="64m")
    assert container.run_process(["python3", "-c", "x = bytearray(200 << 20)"]).returncode == -9
    assert container.run_process("echo alive").stdout == b"alive\n"
    assert container.stats().memory_limit == 64 << 20


BOMB = """
import os, time
try:
    while True:
        if os.fork() == 0:
            time.sleep(1000)
except OSError:
    print("full", flush=True)
time.sleep(1000)
"""


@in_containers
def test_a_fork_bomb_stays_in_its_container(spawn: Spawn) -> None:
    container = spawn(sleep=True, pids=50)
    bomb = container.spawn_process(["python3", "-c", BOMB])
    until(lambda: bomb.stdout == b"full\n", 20, "it has reached the limit")
    assert (container.stats().pids or 0) >= 45
    with pytest.raises(SpawnFailed, match=r"^Cannot "):
        container.spawn_process(["/bin/true"])
    container.destroy_process(bomb)
    assert container.run_process("echo alive").stdout == b"alive\n"


@in_containers
def test_a_cpu_limit_holds(spawn: Spawn) -> None:
    container = spawn(sleep=True, cpu=0.2)
    process = container.spawn_process("timeout 2 sh -c 'while :; do :; done'")
    process.wait(timeout=30)
    assert process.seconds < 1.0


# --- samples -------------------------------------------------------------------------------------


def test_stats_mean_something(spawn: Spawn, where: str) -> None:
    container = spawn(sleep=True).wait_until_ready()
    idle = container.stats()
    assert idle.cpu_seconds is not None
    assert idle.memory is not None
    assert idle.pids is not None
    if where != "host":  # whose samples are of the processes alone
        assert idle.memory > 0
        assert idle.pids >= 1
    eater = container.spawn_process(["python3", "-c", EATER])
    until(lambda: eater.stdout == b"up\n", 20, "it has its memory")
    before = container.stats()
    eater.stdin(b"burn\n")
    until(lambda: eater.stdout == b"up\nburnt\n", 30, "it has burnt half a second")
    busy = container.stats()
    assert busy.cpu_seconds is not None
    assert before.cpu_seconds is not None
    assert 0.45 < busy.cpu_seconds - before.cpu_seconds < 2
    expected = 100 * (busy.cpu_seconds - before.cpu_seconds) / (busy.time - before.time)
    assert busy.cpu == pytest.approx(expected, rel=0.01), "percent of a core since the last sample"
    assert (busy.memory or 0) > (idle.memory or 0) + (50 << 20)
    assert (busy.pids or 0) > (idle.pids or 0)
    container.destroy_process(eater)


EATER = """
import sys, time
memory = bytearray(b"x") * (64 << 20)
print("up", flush=True)
sys.stdin.readline()
until = time.process_time() + 0.5
while time.process_time() < until: pass
print("burnt", flush=True)
sys.stdin.read()
"""


def test_a_node_says_what_is_free(location: Location, node: Node, spawn: Spawn) -> None:
    before = node.stats()
    assert before["cpus"] == os.cpu_count()
    assert 0 <= before["cpu_free"] <= before["cpus"]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0.5 * total < before["memory"] <= total
    assert 0 < before["memory_free"] < before["memory"]
    spawn(sleep=True).wait_until_ready()
    assert node.stats()["containers"] >= 1
    assert location.ranked_nodes()[0].name == node.name
    assert location.node().name == location.node(node.name).name == node.name


@pytest.mark.engines("podman", "docker", each=True)
def test_flags_of_docker_run_are_what_the_container_has(spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("OF_A_FILE=yes\n")
    (tmp_path / "shown").write_text("here\n")
    tmp_path.chmod(0o755)
    box = spawn(
        sleep=True,
        add_host={"db": "10.0.0.5"},
        cap_drop="NET_RAW",
        cpu_shares=512,
        dns="10.9.8.7",
        env_file=tmp_path / "env",
        group_add=["daemon", 4444],
        init=True,
        mount=f"type=bind,source={tmp_path},target=/mnt/here,readonly",
        pids_limit=200,
        shm_size="80m",
        tmpfs="/scratch:size=2m",
        pre_boot_files={"/scratch/early": b"x"},
        ulimit="core=0",
        volume="/anonymous",
    )
    told = box.run_process(
        "df -k /dev/shm /scratch | awk 'NR > 1 {print $2}'; grep -c 10.0.0.5 /etc/hosts;"
        "grep -c 10.9.8.7 /etc/resolv.conf; ulimit -c; echo $OF_A_FILE; cat /mnt/here/shown;"
        "cat /scratch/early; touch /mnt/here/x || stat -c %m /anonymous"
    ).stdout
    assert told.split() == b"81920 2048 1 1 0 yes here x/anonymous".split()
    assert {b"1", b"4444"} <= set(box.run_process("id -G", user="nobody").stdout.split())
    effective = box.run_process("grep CapBnd /proc/self/status").stdout.split()[1]
    assert not int(effective, 16) >> 13 & 1, "NET_RAW"


@in_containers
def test_a_terminal_for_the_main_process(spawn: Spawn) -> None:
    box = spawn(tty=True, command=["sh", "-c", "tty; stty size; read line; echo got $line"])
    box.wait_until_ready()
    until(lambda: b"24 80" in box.main.log(), 20, "it has a terminal")
    assert box.main.tty
    box.stdin(b"it\n")
    assert b"got it" in box.main.wait_until_complete()
