"""Finding an agent or starting one: exactly one, in a directory that nobody else can enter."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfnz_notebook import __version__
from tfnz_notebook._base import endpoints, paths, running
from tfnz_notebook._link.agents import starter
from tfnz_notebook.errors import AgentError, LinkClosed, Misuse, NoEngine

# An agent that listens, says so, and ends when told by a file. It notes that it was started.
STAND_IN = """
import json, os, socket, sys, time
from pathlib import Path
from tfnz_notebook._base import endpoints, paths, running
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
runtime, where = Path(options["--runtime"]), options["--where"]
with open(runtime / "started", "a") as notes:
    notes.write(f"{os.getpid()} {where} {sys.argv[1]} {os.getcwd()} {os.getsid(0)}\\n")
time.sleep(0.2)
target = endpoints.resolve(where)
path = paths.socket(runtime, target.name)
claim = running.claim(target, f"ipc://{path}", runtime, paths.state())
path.unlink(missing_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(path))
listener.listen()
claim.listening()
print(json.dumps({"where": where, "socket": f"ipc://{path}", "pid": os.getpid()}), flush=True)
while path.exists() and not os.path.exists(runtime / "stop"):
    time.sleep(0.02)
"""


@pytest.fixture
def stand_in(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What is started instead of an agent."""
    script = runtime / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(starter, "AGENT", ("-P", str(script)))
    children: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(starter, "_started", children)
    yield script
    (runtime / "stop").touch()
    for child in children:
        child.wait(20)


def started(runtime: Path) -> list[list[str]]:
    notes = runtime / "started"
    return [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []


@pytest.mark.usefixtures("stand_in")
def test_one_is_started_and_found_again(runtime: Path) -> None:
    first = starter.place("podman").find()
    assert first.url == f"ipc://{runtime}/podman.sock"
    assert starter.place("podman").find() == first
    notes = started(runtime)
    assert [note[1:3] for note in notes] == [["podman", "serve"]]
    assert notes[0][4] == notes[0][0], "it leads a session of its own"


@pytest.mark.usefixtures("stand_in")
def test_where_none_takes_the_usual_engine(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "usual", lambda: "docker")
    place = starter.place(None)
    assert place.where == "auto"
    place.find()
    assert place.where == "docker"
    monkeypatch.setattr(endpoints, "usual", lambda: "podman")
    again = starter.place(None)
    again.find()
    assert again.where == "docker", "its agent runs already"
    assert len(started(runtime)) == 1


def test_where_none_and_nothing_there_says_what_to_install(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DOCKER_SYSTEM", "PODMAN_SYSTEM"):
        monkeypatch.setattr(endpoints, name, str(runtime / name))
    monkeypatch.setattr(endpoints, "podman_binary", lambda environ: None)
    with pytest.raises(NoEngine, match=r"[Ii]nstall .*Location\('host'\)"):
        starter.place(None).find()


@pytest.mark.usefixtures("stand_in")
def test_another_endpoint_is_another_agent(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = starter.place("docker")
    usual = first.find()
    monkeypatch.setenv("DOCKER_HOST", "tcp://box:1")
    second = starter.place("docker")
    other = second.find()
    assert other != usual
    monkeypatch.setenv("DOCKER_HOST", "tcp://box:2")
    assert (first.find(), second.find()) == (usual, other), "a place stays where it is"
    assert starter.place("docker").find() not in (usual, other)
    assert [note[1] for note in started(runtime)] == ["docker"] * 3


@pytest.mark.usefixtures("stand_in")
def test_the_agent_is_told_the_endpoint_that_was_meant(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is started again, after the kernel's environment has changed."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://box:1")
    place = starter.place("docker")
    first = place.find()
    monkeypatch.delenv("DOCKER_HOST")
    (runtime / "stop").touch()
    (agent,) = running.agents(runtime, paths.state())
    while agent.runs:
        time.sleep(0.01)
    (runtime / "stop").unlink()
    assert place.find() == first
    assert len(started(runtime)) == 2


@pytest.mark.usefixtures("stand_in")
def test_one_of_an_earlier_version_is_replaced(runtime: Path) -> None:
    source = f"import sys, tfnz_notebook\ntfnz_notebook.__version__ = '0.0.9'\n{STAND_IN}"
    command = [sys.executable, "-c", source, "serve", "--where", "host", "--runtime", str(runtime)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as earlier:
        assert earlier.stdout is not None
        assert earlier.stdout.readline()
        starter.place("host").find()
        assert earlier.wait(10) == -signal.SIGTERM
    (agent,) = running.agents(runtime, paths.state())
    assert agent.version == __version__


@pytest.mark.usefixtures("stand_in")
def test_a_named_location_of_the_environment(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFNZ_LOCATION", "host")
    starter.place(None).find()
    assert [note[1] for note in started(runtime)] == ["host"]


@pytest.mark.usefixtures("stand_in")
def test_a_socket_that_nobody_serves_is_no_agent(runtime: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(runtime / "podman.sock"))
    stale.close()
    assert not running.accepts(runtime / "podman.sock")
    starter.place("podman").find()
    assert len(started(runtime)) == 1


@pytest.mark.usefixtures("stand_in")
def test_threads_that_ask_at_once_start_one(runtime: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: starter.place("podman").find(), range(8)))
    assert len(set(found)) == 1
    assert len(started(runtime)) == 1


def test_processes_that_ask_at_once_start_one(runtime: Path, stand_in: Path) -> None:
    source = (
        "import sys\n"
        "from tfnz_notebook._link.agents import starter\n"
        "starter.AGENT = ('-P', sys.argv[1])\n"
        "print(starter.place('podman').find().url)\n"
        "import os\n"
        "sys.stdout.flush()\n"
        "os._exit(0)\n"
    )
    command = [sys.executable, "-c", source, str(stand_in)]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(6)]
    said = {each.communicate(timeout=60)[0] for each in asking}
    assert said == {f"ipc://{runtime}/podman.sock\n".encode()}
    assert len(started(runtime)) == 1


@pytest.mark.usefixtures("stand_in")
def test_a_process_with_a_thousand_files_open_starts_one(runtime: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, before[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        starter.place("podman").find()
    finally:
        for each in files:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(started(runtime)) == 1


def test_an_agent_that_cannot_serve_says_why(stand_in: Path) -> None:
    error = {"class": "NoEngine", "message": "Cannot: none. Install one.", "details": {"a": 1}}
    stand_in.write_text(f"print({json.dumps(json.dumps({'error': error}))})")
    with pytest.raises(NoEngine, match="Install one") as caught:
        starter.place("podman").find()
    assert caught.value.details == {"a": 1}


@pytest.mark.parametrize("said", ["", "nonsense\n", "[]\n", "{}\n"])
def test_an_agent_that_dies_shows_the_end_of_its_log(stand_in: Path, said: str) -> None:
    stand_in.write_text(
        f"import sys\nprint('its last words', file=sys.stderr)\nsys.stdout.write({said!r})"
    )
    with pytest.raises(AgentError, match="its last words"):
        starter.place("podman").find()


def test_an_agent_that_never_listens(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "START_TIMEOUT", 0.3)
    stand_in.write_text("import time\ntime.sleep(60)")
    with pytest.raises(AgentError, match="did not listen within"):
        starter.place("podman").find()


def test_the_real_agents_module_is_what_is_started() -> None:
    assert starter.AGENT == ("-P", "-m", "tfnz_notebook.agent")


def test_a_runtime_directory_of_no_use_is_told(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.chmod(0o755)
    with pytest.raises(AgentError, match="^Cannot use the runtime directory .* others may enter"):
        starter.place("podman")
    monkeypatch.setenv("TFNZ_RUNTIME", str(runtime / ("x" * 120)))
    with pytest.raises(AgentError, match="too long for a socket"):
        starter.place("podman").find()


@pytest.mark.parametrize("where", ["lxd", "Podman", "", "http://x", "tcp:host"])
def test_places_that_are_none(where: str, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFNZ_LOCATION", "")
    if where:
        with pytest.raises(Misuse, match="no such kind of place"):
            starter.place(where)


def test_one_that_is_killed_while_it_starts_is_no_reason_to_give_up(
    runtime: Path, stand_in: Path
) -> None:
    stand_in.write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(LinkClosed, match="^Cannot start .*signal 9"):
        starter.place("podman").find()
    stand_in.write_text(STAND_IN)
    assert starter.place("podman").find().url == f"ipc://{runtime}/podman.sock"
