"""Who runs: one owner, whatever becomes of files, and nobody else is signalled."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfnz_notebook import __version__
from tfnz_notebook._base import endpoints, paths, proc, running
from tfnz_notebook._base.endpoints import Target
from tfnz_notebook._base.running import Agent, Claim, Running
from tfnz_notebook.errors import AgentError

#: An agent of a version: it claims, listens, and ends when told to (unless it is stubborn).
AGENT = """
import signal, socket, sys, time
from pathlib import Path
import tfnz_notebook
version, where, runtime, state, manner = sys.argv[1:]
tfnz_notebook.__version__ = version
from tfnz_notebook._base import endpoints, paths, running
if manner == "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN)
target, path = endpoints.resolve(where), paths.socket(Path(runtime), endpoints.resolve(where).name)
try:
    claim = running.claim(target, f"ipc://{path}", Path(runtime), Path(state))
except running.Running as other:
    sys.exit(f"joined {other.agent.pid}")
if manner != "starting":
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    claim.listening()
print("up", flush=True)
if manner == "starting": sys.stdin.readline(); claim.release(); sys.exit()
time.sleep(600)
"""
#: As agents of 0.1 did: one lock, one record, named by the engine's word at any endpoint.
FORMER = """
import fcntl, json, os, socket, sys, time
version, where, runtime, state, manner = sys.argv[1:]
path = f"{runtime}/{where}.sock"
file = os.open(f"{runtime}/{where}.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
told = {"where": where, "socket": f"ipc://{path}", "pid": os.getpid(), "version": version}
os.pwrite(file, json.dumps(told).encode(), 0)
print("up", flush=True)
time.sleep(600)
"""
ELSEWHERE = "unix:///somewhere/else.sock"


class Place:
    """Directories of a test's own, and processes that are agents there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.runtime, self.state = home / "run", home / "state"
        self.runtime.mkdir(mode=0o700)
        self.children: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        where: str = "host",
        version: str = __version__,
        manner: str = "mild",
        *,
        source: str = AGENT,
        runtime: Path | None = None,
        state: Path | None = None,
        **environ: str,
    ) -> subprocess.Popen[bytes]:
        """An agent in a process of its own, once it has claimed what it wants, or has ended."""
        directories = [str(runtime or self.runtime), str(state or self.state)]
        child = subprocess.Popen(
            [sys.executable, "-c", source, version, where, *directories, manner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environ},
        )
        self.children.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        return child

    def target(self, where: str = "host", **environ: str) -> Target:
        return endpoints.resolve(where, environ)

    def claim(self, where: str = "host", **environ: str) -> Claim:
        """As an agent of this process would; closed with the test."""
        target = self.target(where, **environ)
        address = f"ipc://{paths.socket(self.runtime, target.name)}"
        return running.claim(target, address, self.runtime, self.state)

    def agents(self) -> dict[str, int]:
        return {each.name: each.pid for each in running.agents(self.runtime, self.state)}

    def owns(self, key: str) -> Path:
        """The file that says who owns what is under a key."""
        return paths.agents(self.state) / f"{key}@{proc.here()}"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(Path(tempfile.mkdtemp(prefix="tfnz-")))
    for engine in ("docker", "podman"):
        monkeypatch.setattr(endpoints, f"{engine.upper()}_SYSTEM", f"/var/run/{engine}.sock")
    yield made
    for child in made.children:
        child.kill()
        child.communicate()
    shutil.rmtree(made.home)


def until(met: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def gone(child: subprocess.Popen[bytes]) -> bool:
    return child.wait(10) == -signal.SIGTERM


@pytest.fixture
def was_there(place: Place) -> None:
    """Agents of 0.1 have been here."""
    path = paths.secret(place.state, "docker")
    path.parent.mkdir(parents=True)
    path.touch()


# --- one at a time -------------------------------------------------------------------------------


def test_one_is_the_agent_and_says_so(place: Place) -> None:
    claim = place.claim()
    (told,) = running.agents(place.runtime, place.state)
    assert (told.name, told.where, told.version) == ("host", "host", __version__)
    assert (told.pid, told.started) == (os.getpid(), proc.start_time(os.getpid()))
    assert told.socket == "", "it does not listen yet"
    claim.listening()
    found = running.look_up("host", place.runtime, place.state)
    assert found is not None
    assert found.socket == f"ipc://{place.runtime}/host.sock"
    assert running.look_up("fake", place.runtime, place.state) is None
    fake = place.claim("fake")
    assert len(place.agents()) == 1, "of one process"
    claim.listening(listens=False)
    found = running.look_up("host", place.runtime, place.state)
    assert found is not None and found.socket == ""
    claim.release()
    fake.release()
    assert not place.agents()
    assert not [*place.runtime.iterdir(), *paths.agents(place.state).iterdir()], "nothing is left"


def test_the_next_is_told_of_it(place: Place) -> None:
    child = place.start()
    with pytest.raises(Running) as caught:
        place.claim()
    assert caught.value.agent.pid == child.pid
    assert caught.value.agent.socket == f"ipc://{place.runtime}/host.sock"
    assert child.poll() is None


def test_many_at_once_and_one_is_it(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        children = list(pool.map(lambda _: place.start(), range(8)))
    living = [child for child in children if child.poll() is None]
    # One that was told of it may still be on its way out.
    until(lambda: len([child for child in children if child.poll() is None]) == 1)
    (one,) = [child for child in living if child.poll() is None]
    assert place.agents() == {"host": one.pid}
    for child in children:
        if child is not one:
            assert child.communicate()[1] == f"joined {one.pid}\n".encode()


def test_one_that_is_starting_is_waited_for(place: Place) -> None:
    child = place.start(manner="starting")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(place.claim)
        until(lambda: (place.owns("host")).exists())
        assert not waiting.done()
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        claim = waiting.result(10)
    assert place.agents() == {"host": os.getpid()}
    claim.release()


def test_one_that_never_comes_up_is_not_waited_for_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PATIENCE", 0.2)
    place.start(manner="starting")
    with pytest.raises(AgentError, match="^Cannot start the agent 'host': .* End that process"):
        place.claim()


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_none(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last holder removes it; whoever has opened it by then would be alone with that file."""
    real, path = fcntl.flock, place.runtime / "host.pid"
    removed: list[Path] = []

    def flock(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(path)
            path.unlink()
        real(descriptor, how)

    claim = Claim(Agent("host", "host", os.getpid(), 1, __version__, "ipc:///x", path))
    with monkeypatch.context() as patch:
        patch.setattr(running.fcntl, "flock", flock)
        assert claim.take(path)
    assert not Claim(claim.about).take(path)
    claim.release()
    assert not path.exists()


def test_what_a_killed_one_left_is_nobodys(place: Place) -> None:
    child = place.start()
    child.kill()
    child.wait()
    assert place.agents() == {}
    claim = place.claim()
    assert place.agents() == {"host": os.getpid()}
    claim.release()


# --- files that are removed under it -------------------------------------------------------------


def test_an_agent_whose_runtime_directory_is_emptied_is_not_joined_by_a_second_owner(
    place: Place,
) -> None:
    child = place.start()
    shutil.rmtree(place.runtime)
    place.runtime.mkdir(mode=0o700)
    assert place.agents() == {"host": child.pid}
    found = running.look_up("host", place.runtime, place.state)
    assert found is not None and not found.listens
    claim = place.claim()  # nobody can reach it any more
    assert gone(child)
    assert place.agents() == {"host": os.getpid()}
    claim.release()


@pytest.mark.parametrize("removed", ["record in run", "record in state"])
def test_either_record_is_enough(place: Place, removed: str) -> None:
    child = place.start()
    (place.runtime / "host.pid" if removed == "record in run" else place.owns("host")).unlink()
    assert place.agents() == {"host": child.pid}
    with pytest.raises(Running):
        place.claim()


def test_with_another_runtime_directory_it_is_found_where_it_is(place: Place) -> None:
    other = place.home / "other"
    other.mkdir(mode=0o700)
    child = place.start(runtime=other)
    with pytest.raises(Running) as caught:
        place.claim()
    assert caught.value.agent.socket == f"ipc://{other}/host.sock"
    assert place.agents() == {"host": child.pid}


def test_with_another_state_directory_the_socket_is_still_its_own(place: Place) -> None:
    child = place.start(state=place.home / "other")
    with pytest.raises(Running):
        place.claim()
    assert place.agents() == {"host": child.pid}
    assert not place.owns("host").exists()


def test_without_locks_in_the_state_directory_the_others_decide(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(str(place.state)):
            raise OSError(errno.ENOLCK, "No locks available")
        real(descriptor, how)

    monkeypatch.setattr(running.fcntl, "flock", flock)
    claim = place.claim()
    claim.listening()
    assert place.agents() == {"host": os.getpid()}
    assert not Claim(claim.about).take(place.runtime / "host.pid")
    claim.release()


def test_what_others_can_write_is_no_record(place: Place) -> None:
    folder = paths.agents(place.state)
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    claim = place.claim()
    claim.listening()
    assert [*folder.iterdir()] == []
    record(place.owns("fake"), pid=os.getpid(), started=proc.start_time(os.getpid()))
    with place.owns("fake").open() as file:  # as one of them could hold it
        fcntl.flock(file, fcntl.LOCK_EX)
        assert [each.path.parent for each in running.agents(place.runtime, place.state)] == [
            place.runtime
        ]
    claim.release()


def test_records_of_earlier_boots_go(place: Place) -> None:
    folder = paths.agents(place.state)
    folder.mkdir(mode=0o700, parents=True)
    stale, held, other = (folder / name for name in ("host@0ld", "host@else", "fake@0ld"))
    for path in (stale, held, other):
        path.touch()
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        place.claim().release()
        assert sorted(folder.iterdir()) == [other, held]


# --- only that process is signalled --------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody who got the pid of an agent that was killed."""
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


def record(path: Path, **told: object) -> None:
    path.write_text(
        json.dumps({"name": "host", "where": "host", "socket": "ipc:///x", "version": "0", **told})
    )


def test_whoever_has_its_pid_by_now_is_nobody(
    place: Place, sleeper: subprocess.Popen[bytes]
) -> None:
    path, started = place.runtime / "host.pid", proc.start_time(sleeper.pid)
    for told in (
        {"started": started - 1},  # another process, by its start
        {"started": started},  # by chance the same; but it holds no lock
        {},  # as 0.1 wrote it
    ):
        record(path, pid=sleeper.pid, **told)
        assert place.agents() == {}
        with path.open() as held:  # somebody else holds it
            fcntl.flock(held, fcntl.LOCK_EX)
            assert place.agents() == {}
        agent = Agent("host", "host", sleeper.pid, started, "0", "ipc:///x", path)
        assert agent.end((signal.SIGKILL, 5.0)), "it does not run"
    place.claim().release()
    assert sleeper.poll() is None


def test_a_record_counts_by_pid_start_and_lock(place: Place) -> None:
    """A process that has the file open, and is another one, or holds nothing."""
    child = place.start()
    for path in (place.runtime / "host.pid", place.owns("host")):
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "started": told["started"] - 1}))
    assert place.agents() == {}
    assert child.poll() is None
    me = {"pid": os.getpid(), "started": proc.start_time(os.getpid())}
    path = place.runtime / "fake.pid"
    record(path, **me)
    with path.open() as file:
        assert place.agents() == {}
        fcntl.flock(file, fcntl.LOCK_EX)
        assert place.agents() == {"host": os.getpid()}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"pid": "x"}', '{"version": "1"}'])
def test_a_record_that_says_nothing(place: Place, text: str) -> None:
    (place.runtime / "host.pid").write_text(text)
    assert place.agents() == {}
    place.claim().release()


def test_it_is_ended_step_by_step(place: Place) -> None:
    child = place.start(manner="stubborn")
    (agent,) = running.agents(place.runtime, place.state)
    assert not agent.end((signal.SIGTERM, 0.1))
    assert child.poll() is None
    assert agent.end((signal.SIGTERM, 0.1), (signal.SIGKILL, 10.0))
    assert child.wait(10) == -signal.SIGKILL
    assert agent.end((signal.SIGTERM, 0.1)), "it has ended"


# --- earlier versions ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.0.9", f"{__version__}rc1"])
@pytest.mark.parametrize("source", [AGENT, FORMER], ids=["named", "former"])
def test_an_earlier_one_makes_room(place: Place, version: str, source: str) -> None:
    child = place.start(version=version, source=source)
    (agent,) = running.agents(place.runtime, place.state)
    assert agent.outdated and agent.listens
    claim = place.claim()
    assert gone(child)
    assert place.agents() == {"host": os.getpid()}
    claim.release()


@pytest.mark.parametrize("version", [__version__, "99.0", f"{__version__}.post1"])
def test_others_stay(place: Place, version: str) -> None:
    child = place.start(version=version)
    with pytest.raises(Running):
        place.claim()
    assert child.poll() is None


def test_one_that_does_not_end_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE", 0.2)
    child = place.start(version="0.0.1", manner="stubborn")
    said = rf"\(pid {child.pid}\), which is of version 0.0.1: .*'kill {child.pid}'"
    with pytest.raises(AgentError, match=said):
        place.claim()


# --- agents of 0.1, which were called by the engine's word alone ---------------------------------


@pytest.mark.usefixtures("was_there")
def test_a_former_one_of_our_endpoint_makes_room_and_its_name_is_held(place: Place) -> None:
    child = place.start("docker", "0.1.0", source=FORMER, DOCKER_HOST=ELSEWHERE)
    claim = place.claim("docker", DOCKER_HOST=ELSEWHERE)
    assert gone(child)
    name = place.target("docker", DOCKER_HOST=ELSEWHERE).name
    # Another of 0.1 finds the name taken, and tells its kernel where we are going to listen.
    other = place.start("docker", "0.1.0", source=FORMER, DOCKER_HOST=ELSEWHERE)
    assert b"BlockingIOError" in other.communicate(timeout=10)[1]
    told = json.loads((place.runtime / "docker.pid").read_text())
    assert told["socket"] == f"ipc://{place.runtime}/{name}.sock"
    assert place.agents() == {name: os.getpid()}
    claim.release()
    assert not (place.runtime / "docker.pid").exists()


@pytest.mark.usefixtures("was_there")
def test_one_of_another_endpoint_stays(place: Place) -> None:
    child = place.start("docker", "0.1.0", source=FORMER, DOCKER_HOST="tcp://box")
    claim = place.claim("docker", DOCKER_HOST=ELSEWHERE)
    name = place.target("docker", DOCKER_HOST=ELSEWHERE).name
    assert place.agents() == {"docker": child.pid, name: os.getpid()}
    claim.release()
    assert child.poll() is None


@pytest.mark.usefixtures("was_there")
def test_the_agent_of_the_usual_endpoint_gets_its_name_back(place: Place) -> None:
    child = place.start("docker", DOCKER_HOST=ELSEWHERE)
    name = place.target("docker", DOCKER_HOST=ELSEWHERE).name
    assert (place.runtime / "docker.pid").exists()
    claim = place.claim("docker")
    claim.listening()
    assert json.loads((place.runtime / "docker.pid").read_text())["name"] == "docker"
    assert place.agents() == {"docker": os.getpid(), name: child.pid}
    child.terminate()
    child.wait()
    assert (place.runtime / "docker.pid").exists(), "it is ours"
    with contextlib.suppress(Running):
        place.claim("docker", DOCKER_HOST=ELSEWHERE).release()
    assert json.loads((place.runtime / "docker.pid").read_text())["name"] == "docker"
    claim.release()


@pytest.mark.usefixtures("was_there")
def test_one_that_starts_at_the_usual_endpoint_holds_up_no_other(place: Place) -> None:
    place.start("docker", manner="starting")
    began = time.monotonic()
    place.claim("docker", DOCKER_HOST=ELSEWHERE).release()
    assert time.monotonic() - began < running.PATIENCE / 10


def test_where_none_of_0_1_ever_was_nothing_is_held_for_it(place: Place) -> None:
    claim = place.claim("docker", DOCKER_HOST=ELSEWHERE)
    name = place.target("docker", DOCKER_HOST=ELSEWHERE).name
    assert [path.name for path in place.runtime.glob("*.pid")] == [f"{name}.pid"]
    claim.release()
