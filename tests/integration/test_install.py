"""What a new user meets: magics in a new kernel, the doctor, a broom, no engine at all."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from integration import engine_api
from integration.world import LABEL, World
from jupyter_client.manager import start_new_kernel

import tfnz_notebook
from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node

CONFIG = Path(__file__).parents[2] / "jupyter-config" / "ipython_startup"
GUEST = os.environ.get("TFNZ_GUEST_BINARY")
#: What a container must mount, each at its own path, so that this very Python runs in there.
PYTHON = sorted(
    {
        *(str(Path(sysconfig.get_path(name)).resolve()) for name in ("purelib", "platlib")),
        str(Path(tfnz_notebook.__file__).resolve().parents[1]),
        # Of Debian's own an image has a part: the program, and of the library the least.
        "/usr/lib" if sys.base_prefix == "/usr" else sys.base_prefix,
        *([str(Path(GUEST).parent)] if GUEST else []),
    }
)
TRY_HOST = """
from tfnz_notebook.location import Location
with Location('host') as here:
    box = here.best_node().spawn_container('any', sleep=True)
    print(box.spawn_process('echo it works').wait_until_complete().decode(), end='')
"""


def tool(world: World, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m tfnz_notebook``, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tfnz_notebook", *arguments],
        env=world.environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_the_magics_are_there_in_a_new_kernel(
    own_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without %load_ext, with nothing loaded before they are used, and no agent started."""
    world = own_world()
    startup = world.home / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    for path in CONFIG.iterdir():  # where the wheel's own copy is found, see test_wheel's installs
        (startup / path.name).write_text(path.read_text())
    monkeypatch.setenv("IPYTHONDIR", str(world.home / "ipython"))
    manager, client = start_new_kernel(kernel_name="python3")
    said: list[str] = []

    def run(code: str) -> str:
        said.clear()

        def heard(message: dict[str, dict[str, object]]) -> None:
            said.append(str(message["content"].get("text", message["content"].get("evalue", ""))))

        client.execute_interactive(code, timeout=60, output_hook=heard)
        return "".join(said)

    try:
        loaded = "import sys; print('tf' 'nz_notebook.location' in sys.modules)"  # not our name
        assert run(loaded) == "False\n"
        assert "_autoload" not in run("print(dir())")
        assert "usage: %tf_run" in run("%tf_run --help")
        assert run(loaded) == "True\n"
        assert run("%load_ext tfnz_notebook") == ""
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert not world.agents()


def test_the_doctor(world: World, where: str) -> None:
    """What it says of an engine is what the engine says, and of an agent what the agent does."""
    with Location(where):
        done = tool(world, "doctor", "--json", TFNZ_LOCATION=where)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {each["topic"]: each for each in json.loads(done.stdout)["findings"]}
    assert found["engine"]["said"] == f"Location() is {where!r}"
    agent = found[f"agent {world.agent(where)}"]
    assert agent["state"] == "ok", agent
    assert agent["facts"]["version"] == tfnz_notebook.__version__
    assert agent["facts"]["pid"] == world.agents()[where]
    if where != "host":
        facts = found[where]["facts"]
        assert facts["usable"] and facts["version"] in json.dumps(
            engine_api.ask(where, "GET", "/version")
        )


@pytest.mark.engines("podman", "docker")
def test_clean_removes_what_is_ours_and_nothing_else(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world()
    location = Location(where, session="kept")
    container = location.best_node().spawn_container("busybox", sleep=True)
    container.wait_until_ready()
    volume = f"tfnz-clean-{os.getpid()}"
    location.create_volume(volume)
    location.disconnect()
    look_alike = engine_api.ask(
        where,
        "POST",
        "/containers/create",
        {"Image": "docker.io/library/busybox", "Labels": {LABEL: f"0{world.owner}-{where}"}},
    )["Id"]
    try:
        dry = tool(world, "clean", "--dry-run")
        assert dry.returncode == 0, dry.stderr
        assert f"agent {world.agent(where)}" in dry.stdout and f"tfnz-{container.id}" in dry.stdout
        assert look_alike[:12] not in dry.stdout
        assert tool(world, "clean").returncode == 2, "nobody could be asked"
        assert world.holds(where) == {container.id}

        owner = world.owner
        (held,) = world.containers(where)
        assert tool(world, "clean", "--yes").returncode == 0
        assert held["Id"] not in {each["Id"] for each in engine_api.containers(where, LABEL)}
        assert not world.agents() and not world.runtime.exists()
        volumes = engine_api.ask(where, "GET", "/volumes")["Volumes"] or []
        assert volume in {each["Name"] for each in volumes}
        last = tool(world, "clean", "--yes", "--volumes")
        assert last.returncode == 0 and volume in last.stdout
        volumes = engine_api.ask(where, "GET", "/volumes")["Volumes"] or []
        assert volume not in {each["Name"] for each in volumes}
        assert (
            engine_api.inspect(where, look_alike)["Config"]["Labels"][LABEL] == f"0{owner}-{where}"
        )
    finally:
        engine_api.ask(where, "DELETE", f"/containers/{look_alike}?force=1")


@pytest.fixture
def bare(node: Node, spawn: Callable[..., Container]) -> Container:
    """A container in which this Python runs, and no engine is."""
    return spawn("debian", sleep=True, volumes=[(path, path, "ro") for path in PYTHON])


@pytest.mark.engines("podman")
def test_inside_a_container_without_any_engine(bare: Container) -> None:
    python = str(Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}"))
    environment = {"PYTHONPATH": os.pathsep.join(PYTHON), "PYTHONDONTWRITEBYTECODE": "1"}
    if GUEST:
        environment["TFNZ_GUEST_BINARY"] = GUEST
    hello = "from tfnz_notebook.location import Location; Location()"
    refused = bare.run_process([python, "-c", hello], env=environment)
    said = refused.stderr.decode()
    assert refused.returncode == 1
    assert "NoEngine: Cannot find a container engine: " in said, said
    assert "inside a container" in said or "Debian" in said, said
    assert "Location('host') works without one" in said

    doctor = bare.run_process([python, "-m", "tfnz_notebook", "doctor", "--json"], env=environment)
    assert doctor.returncode == 1, doctor.stderr
    found = {each["topic"]: each for each in json.loads(doctor.stdout)["findings"]}
    assert found["engine"]["state"] == "bad"
    assert "Location('host')" in found["engine"]["remedy"]

    worked = bare.run_process([python, "-c", TRY_HOST], env=environment)
    assert worked.stdout == b"it works\n", worked.stderr.decode()
