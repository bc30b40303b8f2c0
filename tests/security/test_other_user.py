"""Another user of the same machine: a real second uid, which tries every door it can find."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.world import World

from tfnz_notebook.agent.door.tickets import Tickets, kept_secret
from tfnz_notebook.container import Container
from tfnz_notebook.errors import AgentError
from tfnz_notebook.location import Location

pytestmark = pytest.mark.engines("host", "podman")

#: Nobody's: it has no entry in passwd and needs none.
OTHER = 54321

#: Reads paths from stdin; says of each what it may do with it, if it may do anything.
TRIES = textwrap.dedent("""
    import json, os, socket, sys
    os.setgroups([]); os.setgid(54321); os.setuid(54321)
    def opens(path):
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    def lists(path):
        os.listdir(path)
    def writes(path):
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    def makes(path):
        os.close(os.open(path + "/x", os.O_WRONLY | os.O_CREAT))
    def connects(path):
        if len(path) < 108:  # bytes in a socket's address; no socket of ours has a longer one
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
        else:
            os.stat(path)
    def removes(path):
        os.rename(path, path + ".gone")
    done = {}
    for path in json.load(sys.stdin):
        for way in (opens, lists, writes, makes, connects, removes):
            try:
                way(path)
            except OSError as error:
                if error.errno not in (1, 13, 2, 20, 21, 22, 111):
                    done.setdefault(path, []).append(f"{way.__name__}: {error}")
            else:
                done.setdefault(path, []).append(way.__name__)
    json.dump(done, sys.stdout)
""")


def as_another(paths: list[str]) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", TRIES],
        input=json.dumps(paths),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_everything_of_ours_is_closed_to_them(world: World, where: str, box: Container) -> None:
    """Sockets of agents and guests, spools, records, secrets of tickets, logs, keys."""
    box.run_process("seq 1 200000")  # enough for a spool
    box.spawn_process("cat").close_stdin()
    world.tfnz_agent("keygen")
    world.tfnz_agent("keygen", "--server")
    tops = (world.runtime, world.state, world.config)
    paths = [str(path) for top in tops for path in (top, *sorted(top.rglob("*")))]
    names = {Path(path).name for path in paths}
    agent = world.agent(where)
    assert {f"{agent}.sock", f"{agent}.pid", f"{agent}.log", "owner", "guest.sock"} <= names
    assert {"client.key_secret", world.secret(where).name} <= names
    assert any(name.endswith(".out.0") for name in names), "a spool"
    assert as_another(paths) == {}


def test_the_try_itself_works(tmp_path: Path) -> None:
    """What is open is found to be: the test above tests something."""
    home = Path("/tmp") / f"tfnz-open-{os.getpid()}"
    home.mkdir()
    try:
        home.chmod(0o777)
        (home / "file").write_text("")
        (home / "file").chmod(0o666)
        found = as_another([str(home / "file")])
        assert {"opens", "writes", "removes"} <= set(found[str(home / "file")])
    finally:
        for path in home.iterdir():
            path.unlink()
        home.rmdir()


def test_their_directory_is_not_taken_for_ours(own_world: Callable[..., World]) -> None:
    """Who makes the runtime directory first could listen there in the agent's place."""
    world = own_world()
    theirs = world.home / "theirs"
    theirs.mkdir(mode=0o700)
    (theirs / "host.pid").write_text(
        json.dumps({"where": "host", "socket": "", "pid": os.getpid()})
    )
    os.chown(theirs, OTHER, OTHER)
    environment = world.environment(TFNZ_RUNTIME=str(theirs))
    for command in (
        ["-c", "from tfnz_notebook.location import Location; Location('host')"],
        ["-m", "tfnz_notebook.agent", "serve", "--where", "host"],
        ["-m", "tfnz_notebook.agent", "status"],
        # It would send TERM to whatever process they name.
        ["-m", "tfnz_notebook.agent", "stop"],
    ):
        done = subprocess.run(
            [sys.executable, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0, command
        assert "Cannot use" in done.stderr, command
    theirs.chmod(0o700)
    os.chown(theirs, 0, 0)


def test_a_ticket_is_not_to_be_guessed(world: World, where: str, box: Container) -> None:
    """Its secret is in a file of the agent's user; without it, no ticket is good."""
    assert isinstance(box.location, Location)
    secret = world.secret(where)
    assert secret.stat().st_mode & 0o777 == 0o600
    theirs = Tickets(os.urandom(32))
    assert not Tickets(kept_secret(secret)).good(box.id, theirs.issue(box.id))
    os.chown(secret, OTHER, OTHER)
    try:
        with pytest.raises(AgentError, match="others may have read"):
            kept_secret(secret)
    finally:
        os.chown(secret, 0, 0)


def test_who_connects_is_asked_for(own_world: Callable[..., World], where: str) -> None:
    """Not only kept out by a directory: here all may pass, and the socket is everybody's."""
    world = own_world()
    with Location(where) as location:
        path = Path(world.socket(where))
        for each in (path, *path.parents[:-1]):
            if each.stat().st_uid == os.getuid() and each.is_relative_to(world.home):
                each.chmod(0o777 if each == path else 0o755)
        done = subprocess.run(
            [sys.executable, "-I", "-c", SPEAKS, str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "nothing\n"
        path.parent.chmod(0o700)
        assert location.best_node().name
        log = next(world.runtime.glob("*.log")).read_text()
        assert f"user {OTHER} connected, and was sent away" in log


#: Connects as another user, says hello, and tells what it hears.
SPEAKS = textwrap.dedent("""
    import os, socket, struct, sys
    os.setgroups([]); os.setgid(54321); os.setuid(54321)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(sys.argv[1])
        try:
            sock.sendall(struct.pack(">II", 4, 0) + b"\\x94\\x00\\x01\\xa5")
            heard = sock.recv(100)
        except ConnectionError:
            heard = b""
        print(heard or "nothing")
""")
