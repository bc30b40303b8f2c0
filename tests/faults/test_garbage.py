"""What goes, goes in time; volumes never; and what is somebody else's is never touched."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from faults.conftest import Stage
from faults.scene import Scene
from integration import engine_api
from integration.polling import until
from integration.scripts import Script
from integration.world import LABEL

from tfnz_notebook.location import Location

pytestmark = pytest.mark.faults
#: Seconds that a session may be without its kernel, in these tests.
GRACE = 1.0
#: Seconds after that by which everything of it is gone.
DEADLINE = 30.0
SESSION = "of-these-tests"

KERNEL = """
import sys
from tfnz_notebook.location import Location
where, session, volume = sys.argv[1:]
location = Location(where, session=session or None, ttl=1 if session else None)
made = location.create_volume(volume)
for _ in range(2):
    box = location.best_node().spawn_container("busybox", sleep=True, volumes=[(made, "/kept")])
    box.wait_until_ready()
box.run_process("echo kept > /kept/file")
box.spawn_process("sleep 1000; true")
print(location.session, flush=True)
sys.stdin.readline()
location.disconnect()
"""


@dataclass
class Neighbours:
    """Containers, a volume and a network that look like ours, and are not."""

    engine: str
    containers: dict[str, str]
    volume: str
    network: str

    def untouched(self) -> None:
        """Everything runs as it did when it was made."""
        for kind, ident in self.containers.items():
            state = engine_api.inspect(self.engine, ident)["State"]
            assert state["Running"], f"{kind} was ended"
            assert state["Pid"] == self._pids[ident], f"{kind} was restarted"
        volumes = engine_api.ask(self.engine, "GET", "/volumes").get("Volumes") or []
        assert self.volume in [each["Name"] for each in volumes]
        networks = engine_api.ask(self.engine, "GET", "/networks")
        assert self.network in [each["Name"] for each in networks]

    def __post_init__(self) -> None:
        self._pids = {
            ident: engine_api.inspect(self.engine, ident)["State"]["Pid"]
            for ident in self.containers.values()
        }


def look_alikes(owner: str, label: str) -> dict[str, dict[str, str]]:
    """Labels that are nearly ours: what each is, and the labels."""
    ours = {
        LABEL: label,
        "io.tfnz.session": SESSION,
        "io.tfnz.container": uuid.uuid4().hex,
        "io.tfnz.created": "1700000000.000",
        "io.tfnz.spec": '{"image": "busybox", "sleep": true, "created": 1700000000.0}',
    }
    return {
        "another owner's, our session's name": {
            **ours,
            LABEL: label.replace(owner, uuid.uuid4().hex),
        },
        "an owner that begins as ours": {**ours, LABEL: f"{label}-tcp"},
        "an owner that ours begins with": {**ours, LABEL: owner},
        "an owner that ends as ours": {**ours, LABEL: f"x{label}"},
        "an owner in capitals": {**ours, LABEL: label.upper()},
        "an empty owner": {**ours, LABEL: ""},
        "no owner": {key: value for key, value in ours.items() if key != LABEL},
        "a label like the owner's": {**ours, LABEL: "", f"{LABEL}2": label},
        "no labels at all": {},
    }


def make(engine: str, name: str, labels: dict[str, str]) -> str:
    """A running container of somebody else's; its id."""
    body: dict[str, Any] = {
        "Image": "docker.io/library/busybox:latest",
        "Cmd": ["sleep", "1000"],
        "Labels": labels,
        # What this machine's Podman needs; Docker takes it as well.
        "HostConfig": {"Ulimits": [{"Name": n, "Soft": 9000, "Hard": 9000} for n in LIMITS]},
    }
    made = engine_api.ask(engine, "POST", f"/containers/create?name={name}", body)["Id"]
    engine_api.ask(engine, "POST", f"/containers/{made}/start")
    return str(made)


LIMITS = ("nofile", "nproc")


@pytest.fixture
def scene(stage: Stage, where: str) -> Scene:
    (only,) = stage(where, TFNZ_SESSION_GRACE=str(GRACE))
    with Location(where):
        pass  # an agent has been here: the owner has a name
    return only


@pytest.fixture
def neighbours(scene: Scene) -> Iterator[Neighbours]:
    """They are removed at the end, whatever happened."""
    engine, label, mark = scene.where, scene.world.label(scene.where), uuid.uuid4().hex[:8]
    made: dict[str, str] = {}
    network = {"Name": f"tfnz-{mark}", "Labels": {LABEL: f"x{label}"}}
    volume = {"Name": f"{mark}-volume", "Labels": {LABEL: f"x{label}"}}
    try:
        for number, (kind, labels) in enumerate(look_alikes(scene.world.owner, label).items()):
            made[kind] = make(engine, f"tfnz-{mark}-{number}", labels)
        engine_api.ask(engine, "POST", "/networks/create", network)
        engine_api.ask(engine, "POST", "/volumes/create", volume)
        yield Neighbours(engine, made, volume["Name"], network["Name"])
    finally:
        for ident in made.values():
            engine_api.remove_container(engine, ident)
        engine_api.ask(engine, "DELETE", f"/networks/{network['Name']}")
        engine_api.remove_volume(engine, volume["Name"])


def ours(scene: Scene) -> list[str]:
    """The engine's ids of what is ours to the letter; the world's own look is by the beginning."""
    label = f"{LABEL}={scene.world.label(scene.where)}"
    return [each["Id"] for each in engine_api.containers(scene.where, label)]


def kernel(scene: Scene, volume: str, session: str = "") -> Script:
    """A kernel with two containers and a volume, once they are there."""
    script = Script(scene.world, KERNEL, scene.where, session, volume)
    until(lambda: script.lines or script.process.poll() is not None, 60, "the kernel is up")
    assert script.lines, script.errors
    scene.watch.look()
    return script


@pytest.mark.timeout(300)
def test_what_goes_and_what_stays(scene: Scene, neighbours: Neighbours) -> None:
    """Session end, kernel killed, agent killed and replaced, both killed: one after the other."""
    volume = f"kept-{uuid.uuid4().hex[:8]}"
    where, world = scene.where, scene.world

    def gone() -> None:
        until(lambda: not ours(scene), GRACE + DEADLINE, "its containers are gone")
        neighbours.untouched()

    with kernel(scene, volume) as script:  # the session ends
        assert len(ours(scene)) == 2
        script.process.stdin.write("\n")
        script.process.stdin.flush()
        script.wait(60)
        assert not ours(scene), "they are gone before it has ended"
    for session in ("", SESSION):  # the kernel is killed; of a durable session, the ttl is 1 s
        with kernel(scene, volume, session) as script:
            script.process.kill()
            script.process.wait()
            gone()
    with kernel(scene, volume) as script:  # the agent, then the kernel; a new kernel comes
        world.kill_agent(where)
        until(lambda: scene.agent, 60, "the kernel has started another agent")
        assert len(ours(scene)) == 2
        script.process.kill()
        script.process.wait()
        gone()
    with kernel(scene, volume) as script:  # both, so that nobody is there but who comes later
        script.process.kill()
        script.process.wait()
        world.kill_agent(where)
        assert len(ours(scene)) == 2
        with Location(where) as location:
            gone()
            (kept,) = [each for each in location.all_volumes() if each.tag == volume]
            mounts = [(kept, "/kept")]
            box = location.best_node().spawn_container("busybox", sleep=True, volumes=mounts)
            assert box.run_process("cat /kept/file").stdout == b"kept\n"
            box.destroy()
            location.destroy_volume(kept)
    neighbours.untouched()


def test_of_ours_what_nobody_can_use_goes(scene: Scene, neighbours: Neighbours) -> None:
    """Our owner's label without the rest: an agent that died in the middle, or another version."""
    ours = {LABEL: scene.world.label(scene.where)}
    name = uuid.uuid4().hex[:8]
    broken = {**ours, "io.tfnz.session": "s", "io.tfnz.container": "c", "io.tfnz.spec": "{"}
    if scene.agent:
        scene.world.kill_agent(scene.where)
    made = [
        make(scene.where, f"left-{name}-{number}", labels)
        for number, labels in enumerate((ours, broken))
    ]

    def there() -> set[str]:
        return {each["Id"] for each in engine_api.containers(scene.where)} & set(made)

    with Location(scene.where):  # an agent listens before it cleans up
        until(lambda: not there(), 30, "they are gone")
    neighbours.untouched()
