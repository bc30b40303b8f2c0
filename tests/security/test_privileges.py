"""What a container's own root has: what the engine gives by default, and nothing that we add."""

from collections.abc import Callable

import pytest
from integration import engine_api
from integration.world import World

from tfnz_notebook.container import Container

pytestmark = pytest.mark.engines("podman", "docker")


def capabilities(status: str) -> dict[str, int]:
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {
        name: int(value, 16 if name.startswith("Cap") else 10)
        for name, value in fields.items()
        if name.startswith("Cap") or name == "NoNewPrivs"
    }


def test_from_inside(box: Container) -> None:
    """A process of ours, and the guest itself."""
    for who in ("self", "1"):
        has = capabilities(box.run_process(["cat", f"/proc/{who}/status"]).stdout.decode())
        assert has["NoNewPrivs"] == 1
        # net_admin, net_broadcast, ipc_lock, sys_module .. sys_time, sys_tty_config and the rest
        # from lease on but for audit_write (29) and setfcap (31): no engine gives them by default
        usual = 0xA80425FB
        assert has["CapEff"] & ~usual == 0, f"{has['CapEff']:x}"
        assert has["CapBnd"] & ~usual == 0, f"{has['CapBnd']:x}"
        assert has["CapInh"] & ~usual == 0 and has["CapAmb"] == 0


def test_no_program_gives_more(box: Container) -> None:
    """A setuid program of root, run by another user, stays that user."""
    said = box.run_process(
        "cp /bin/cat /tmp/setuid && chmod 4755 /tmp/setuid && echo made", check=True
    )
    assert said.stdout == b"made\n"
    done = box.run_process(["/tmp/setuid", "/proc/self/status"], user="12345:12345")
    assert b"Uid:\t12345\t12345\t12345\t12345" in done.stdout


def test_as_the_engine_sees_it(box: Container, world: World, where: str) -> None:
    host = world.container(where, box.id)["HostConfig"]
    assert not host["Privileged"]
    assert not host.get("CapAdd")
    assert "no-new-privileges" in json_words(host["SecurityOpt"])
    assert host["PidsLimit"] > 0
    mounts = world.container(where, box.id)["Mounts"]
    sockets = set(engine_api.SOCKETS.values()) if hasattr(engine_api, "SOCKETS") else set()
    for mount in mounts:
        assert mount["Destination"] in ("/.tfnz/run", "/.tfnz/guest"), mount
        assert str(mount["Source"]) not in {str(each) for each in sockets}
        assert mount["RW"] == (mount["Destination"] == "/.tfnz/run"), "the guest is read-only"


def json_words(options: list[str] | None) -> str:
    return " ".join(options or ())


def test_the_guest_of_others_cannot_be_changed(box: Container) -> None:
    """All containers share its file; root in one must not be able to write to it."""
    before = box.run_process(["sha256sum", "/.tfnz/guest"], check=True).stdout
    for attempt in (
        "echo x >>/.tfnz/guest",
        "mv /.tfnz/guest /.tfnz/other",
        "rm -f /.tfnz/guest",
        "mount -o remount,rw,bind /.tfnz/guest",
    ):
        assert box.run_process(attempt).returncode != 0, attempt
    assert box.run_process(["sha256sum", "/.tfnz/guest"], check=True).stdout == before


#: Connects, says hello as an agent does, and prints what the guest answers.
AS_AGENT = """
import socket
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(20)
try:
    sock.connect("/.tfnz/run/guest.sock")
    said = b""
    while piece := sock.recv(4096):
        said += piece
    print("closed after", len(said))
except OSError as error:
    print(type(error).__name__)
"""


def test_a_lesser_user_inside_is_not_taken_for_the_agent(spawn: Callable[..., Container]) -> None:
    """The guest is root, and would start processes as root: by mode, and by the peer's uid."""
    box = spawn("debian", sleep=True)
    command = ["python3", "-c", AS_AGENT]
    assert box.run_process(command, user="12345:12345").stdout == b"PermissionError\n"
    open_to_all = "chmod 777 /.tfnz/run /.tfnz/run/guest.sock"
    assert box.run_process(open_to_all).returncode == 0
    assert box.run_process(command, user="12345:12345").stdout == b"closed after 0\n"
    assert box.run_process(["/bin/echo", "fine"]).stdout == b"fine\n"
