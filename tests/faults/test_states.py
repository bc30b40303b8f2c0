"""A walk through the states of containers, by us and past us: whoever looks sees the same.

Two kernels in one session, a card's view, and the engine itself. What is done next the seed
decides; what may not be done is refused in words, and the walk goes on.
"""

import random
from collections.abc import Callable
from typing import Any

import pytest
from faults.scene import Scene
from integration import engine_api
from integration.page import Page, PageView
from integration.polling import until
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.location import Location
from tfnz_notebook.widgets.explorer.card import ContainerCard

pytestmark = pytest.mark.faults

STEPS, BOXES = 30, 3
STATES = {"running": "running", "paused": "paused", "exited": "exited", "stopped": "exited"}


class Walk:
    """Where it goes, and who looks."""

    def __init__(self, world: World, where: str, seed: int) -> None:
        self.world, self.where = world, where
        self.dice = random.Random(seed)
        self.done: list[str] = []
        self.locations = [Location(where, session="walk") for _ in range(2)]
        self.boxes: list[Container] = []
        self.refs: dict[str, str] = {}
        self.views: dict[str, PageView] = {}

    # -- steps

    def step(self) -> None:
        if len(self.boxes) < BOXES and self.dice.random() < 0.5:
            return self.spawn()
        if self.dice.random() < 0.08:
            self.done.append("agent killed")
            self.world.kill_agent(self.where)
            return None
        if not self.boxes:
            return self.spawn()
        box = self.dice.choice(self.boxes)
        ours: dict[str, Callable[[], object]] = {
            "pause": box.pause,
            "unpause": box.unpause,
            "reboot": box.reboot,
            "reset": lambda: box.reboot(reset_filesystem=True),
            "run": lambda: box.run_process("true", timeout=30),
            "destroy": box.destroy,
            "stop": lambda: box.destroy(grace=1),
        }
        theirs = {
            "their pause": ("POST", "/pause"),
            "their unpause": ("POST", "/unpause"),
            "their stop": ("POST", "/stop?t=0"),
            "their start": ("POST", "/start"),
            "their kill": ("POST", "/kill?signal=KILL"),
            "their removal": ("DELETE", "?force=1&v=1"),
        }
        what = self.dice.choice([*ours, *ours, *theirs])
        self.done.append(f"{what} {box.id[:4]}")
        try:
            if what in ours:
                ours[what]()
            else:
                method, path = theirs[what]
                engine_api.ask(self.where, method, f"/containers/{self.refs[box.id]}{path}")
        except TfnzError as error:
            assert str(error).startswith("Cannot "), error  # noqa: PT017  # it may be refused
            self.done[-1] += f" ({type(error).__name__})"
        except OSError:
            self.done[-1] += " (refused)"
        return None

    def spawn(self) -> None:
        node = self.locations[0].best_node()
        kinds: list[dict[str, Any]] = [{"sleep": True}, {"command": ["sleep", "1000000"]}]
        options = self.dice.choice(kinds)
        box = node.spawn_container("busybox", **options).wait_until_ready()
        self.boxes.append(box)
        self.views[box.id] = Page(ContainerCard(box)).open()
        self.done.append(f"spawn {box.id[:4]}")

    # -- who looks

    def agreed(self) -> bool:
        """Every observer says what the engine does."""
        for box in list(self.boxes):
            truth = self.truth(box)
            seen = {box.state, self.views[box.id].info.get("state")}
            other = {each.id: each for each in self.locations[1].containers()}.get(box.id)
            seen.add(other.state if other is not None else "destroyed")
            if seen != {truth}:
                self.last = f"{box.id[:4]} is {truth}, seen as {sorted(map(str, seen))}"
                return False
        self.boxes = [each for each in self.boxes if each.state != "destroyed"]
        return True

    def truth(self, box: Container) -> str:
        for each in self.world.containers(self.where):
            if each["Labels"]["io.tfnz.container"] == box.id:
                self.refs[box.id] = each["Id"]
                status = engine_api.inspect(self.where, each["Id"])["State"]["Status"]
                return STATES.get(status, status)
        return "destroyed"

    last = ""


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
def test_whoever_looks_sees_the_same(scene: Scene, seed: int) -> None:
    walk = Walk(scene.world, scene.where, seed)
    try:
        for _ in range(STEPS):
            walk.step()
            until(walk.agreed, 30, f"{walk.done[-6:]}: they agree")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{walk.last}\nafter {walk.done}") from None
    finally:
        for container in walk.locations[0].containers():
            container.destroy()
        for location in walk.locations:
            location.disconnect()
