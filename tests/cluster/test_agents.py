"""Agents of pods: killed, stopped, with a login that ends; and two of one user."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster.kubectl import Kubectl
from faults.frozen import frozen
from faults.killer import Killer, shift
from faults.scene import Scene
from integration.polling import until

from tfnz_notebook.errors import TfnzError

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]
LONG = pytest.mark.long
#: Of a login that can be ended: it hangs on this secret, and goes with it.
SECRET = "login"


def test_one_that_is_killed_loses_nothing(scene: Scene) -> None:
    scene.location()
    killer = Killer(scene, 3)
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(killer.work)
        number = 0
        while not killer.over.is_set():
            number += 1
            shift(scene, killer, number, 500)
        killing.result()


@pytest.mark.parametrize("seconds", [20, pytest.param(300, marks=LONG)])
def test_one_that_sleeps(scene: Scene, seconds: int) -> None:
    scene.location()
    frozen(scene, seconds)


def login(kubectl: Kubectl, number: int) -> str:
    """A token that is good until its secret is deleted."""
    name = f"{SECRET}-{number}"
    kubectl("create", "secret", "generic", name)
    bound = ("--bound-object-kind=Secret", f"--bound-object-name={name}")
    return kubectl("create", "token", "tfnz-notebook", *bound)


def test_a_token_that_has_expired(
    worlds: Callable[..., Scene], kubectl: Kubectl, tmp_path: Path
) -> None:
    told = json.loads(Path(os.environ["TFNZ_TEST_KUBERNETES"]).read_text())
    token, kubeconfig = tmp_path / "token", tmp_path / "kubeconfig"
    token.write_text(login(kubectl, 1))
    for user in told["users"]:
        user["user"] = {"tokenFile": str(token)}
    kubeconfig.write_text(json.dumps(told))
    scene = worlds(KUBECONFIG=str(kubeconfig))
    try:
        box = scene.box()
        counting = box.spawn_process("while read line; do echo $line; done")
        kubectl("delete", f"secret/{SECRET}-1")
        asks = Kubectl(kubectl.program, kubeconfig, kubectl.namespace)
        until(lambda: not asks.tried("get", "pods"), 60, "the server knows it")
        # what is open goes on; what is asked anew says why not
        counting.stdin(b"one\n")
        with pytest.raises(TfnzError, match="401|nauthorized"):
            scene.box(scene.locations[0])
        token.write_text(login(kubectl, 2))
        assert scene.box(scene.locations[0]).run_process(["echo", "again"]).stdout == b"again\n"
        counting.stdin(b"two\n")
        counting.close_stdin()
        assert counting.wait_until_complete(timeout=30) == b"one\ntwo\n"
    finally:
        scene.locations[0].disconnect()
        kubectl("delete", "secret", "--ignore-not-found", f"{SECRET}-1", f"{SECRET}-2")


def test_two_of_one_user_leave_each_other_alone(worlds: Callable[..., Scene]) -> None:
    """A laptop and a Jupyter pod, say: each knows what is its own, and cleans up no more."""
    laptop = worlds()
    first = laptop.box()
    desk = worlds()
    second = desk.box()
    assert {desk.agent, laptop.agent} == {desk.agent, laptop.agent} - {0}
    for scene, box in ((laptop, first), (desk, second)):
        others = {each.name for each in scene.locations[0].containers()}
        assert others == {box.name}
    laptop.locations[0].disconnect()
    assert laptop.world.tfnz_agent("stop").returncode == 0
    assert second.run_process(["echo", "on"]).stdout == b"on\n"
