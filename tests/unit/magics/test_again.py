"""Run again means replace: what a cell made when it ran last goes, once it is made anew."""

from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell

from tfnz_notebook.errors import ContainerFailed, Misuse, SpawnFailed, to_wire
from tfnz_notebook.magics import again
from tfnz_notebook.widgets import cells, publish


def images(agent: ScriptedAgent) -> list[str]:
    """What there is, in the order it was made."""
    return [each["image"] for each in list(agent.containers.values())]


def running(agent: ScriptedAgent) -> list[str]:
    """The commands that run, main processes apart."""
    found = list(agent.processes.values())
    there = [each for each in found if each.ident not in agent.containers]
    return [each.text for each in there if not each.ended and each.container in agent.containers]


def fails(agent: ScriptedAgent, image: str = "") -> None:
    """From now on containers (of that image) never run."""

    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        if image and message.body["spec"]["image"] != image:
            return scripted._container_spawn(message)
        ident = message.body["container"]
        error = to_wire(ContainerFailed("Cannot start: no. Try again."))
        info = {"container": ident, "state": "failed", "image": "x", "error": error}
        info["origin"] = message.body["spec"]["origin"]
        scripted.containers[ident] = info
        scripted.do(lambda: scripted._changed(info))
        return {}, None

    agent.answers["container.spawn"] = answer


class Kernel:
    """Stands for a kernel that is asked by a page: cells have ids."""

    def __init__(self, shell: Shell) -> None:
        self.kernel = object()
        self.shell = shell
        self.parent: dict[str, Any] = {}
        self.runs = 0

    def get_parent(self) -> dict[str, Any]:
        return self.parent

    def run(self, ident: str, code: str, *, stdin: bool = True, **metadata: Any) -> Any:
        """Run a cell of that id; empty: of none."""
        self.runs += 1
        self.parent = {
            "header": {"msg_id": str(self.runs)},
            "metadata": {**({"cellId": ident} if ident else {}), **metadata},
            "content": {"code": code, "allow_stdin": stdin},
        }
        return self.shell.run(code)


@pytest.fixture
def kernel(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(shell)
    monkeypatch.setattr(publish, "shell", lambda: made)
    monkeypatch.setattr(cells, "_deleted", set())
    monkeypatch.setattr(cells, "_left", set())
    return made


# --- containers


def test_ten_runs_leave_one_container(
    shell: Shell, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(10):
        shell.run("web = %tf_spawn nginx")
    agent.until(lambda: len(agent.containers) == 1)
    assert list(agent.containers) == [shell["web"].id]
    assert capsys.readouterr().out.count("replaced web\n") == 9


def test_the_new_one_stands_before_the_old_one_goes(shell: Shell, agent: ScriptedAgent) -> None:
    shell.run("web = %tf_spawn nginx")
    shell.run("web = %tf_spawn nginx")
    agent.until(lambda: agent.named("container.destroy"))
    order = [m.name for m in agent.requests if m.name in ("container.spawn", "container.destroy")]
    assert order == ["container.spawn", "container.spawn", "container.destroy"]


def test_one_that_fails_leaves_the_old_one(shell: Shell, agent: ScriptedAgent) -> None:
    shell.run("web = %tf_spawn nginx")
    before = shell["web"]
    fails(agent)
    for _ in range(2):
        with pytest.raises(ContainerFailed):
            shell.run("web = %tf_spawn nginx")
    assert before.state == "running"
    del agent.answers["container.spawn"]
    shell.run("web = %tf_spawn nginx")  # and those that failed go, too
    agent.until(lambda: list(agent.containers) == [shell["web"].id])


def test_each_replaces_its_own_whatever_their_number(
    shell: Shell, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    two = "web = %tf_spawn nginx\ndb = %tf_spawn redis"
    shell.run(two)
    shell.run(two)
    agent.until(lambda: len(agent.containers) == 2)
    assert images(agent) == ["nginx", "redis"]
    said = capsys.readouterr().out
    assert ("replaced web" in said, "replaced db" in said) == (True, True)

    loop = "made = []\nfor each in range(3):\n    box = %tf_spawn debian\n    made.append(box)"
    shell.run(loop)
    shell.run(loop)
    agent.until(lambda: len(agent.containers) == 5)
    assert {each.id for each in shell["made"]} <= set(agent.containers)


def test_a_cell_that_failed_half_way_owns_what_it_made_before(
    shell: Shell, agent: ScriptedAgent
) -> None:
    cell = "web = %tf_spawn nginx\ndb = %tf_spawn redis"
    shell.run(cell)
    db = shell["db"]
    fails(agent, "redis")
    with pytest.raises(ContainerFailed):
        shell.run(cell)
    assert db.state == "running"
    del agent.answers["container.spawn"]
    shell.run(cell)
    agent.until(lambda: len(agent.containers) == 2)
    assert images(agent) == ["nginx", "redis"]
    assert db.state == "destroyed"


def test_a_cell_is_its_id_whatever_its_text(
    kernel: Kernel, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel.run("a", "web = %tf_spawn nginx")
    kernel.run("b", "web2 = %tf_spawn nginx")
    assert images(agent) == ["nginx", "nginx"]
    kernel.run("a", "web = %tf_spawn nginx:alpine")
    agent.until(lambda: images(agent) == ["nginx", "nginx:alpine"])
    assert capsys.readouterr().out.endswith("replaced web\n")


def test_what_a_cell_makes_no_more_is_said_once_and_stays(
    kernel: Kernel, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel.run("a", "web = %tf_spawn nginx\ndb = %tf_spawn redis")
    kernel.run("a", "db = %tf_spawn redis")
    agent.until(lambda: images(agent) == ["nginx", "redis"])
    assert "web is left from before: %tf_stop web ends it\n" in capsys.readouterr().out
    web = kernel.shell["web"]
    assert cells.left(web.id, web._info["origin"]) == "its cell makes it no more"
    kernel.run("a", "db = %tf_spawn redis")
    assert "left from before" not in capsys.readouterr().out
    assert web.state == "running"


def test_another_magic_in_the_cell_ends_no_container(kernel: Kernel, agent: ScriptedAgent) -> None:
    kernel.run("a", "web = %tf_spawn nginx")
    kernel.run("a", "p = %tf_run -d web sleep 1")
    assert images(agent) == ["nginx"]


def test_who_runs_a_notebook_once_replaces_nothing(kernel: Kernel, agent: ScriptedAgent) -> None:
    for _ in range(2):  # two cells of one text
        kernel.run("", "web = %tf_spawn nginx", stdin=False)
    assert images(agent) == ["nginx", "nginx"]
    for _ in range(2):  # a console
        kernel.run("", "db = %tf_spawn redis")
    agent.until(lambda: images(agent) == ["nginx", "nginx", "redis"])


def test_keep_leaves_the_old_one_for_good(kernel: Kernel, agent: ScriptedAgent) -> None:
    kernel.run("a", "web = %tf_spawn nginx")
    first = kernel.shell["web"]
    kernel.run("a", "web = %tf_spawn --keep nginx")
    assert images(agent) == ["nginx", "nginx"]
    kernel.run("a", "web = %tf_spawn nginx")
    agent.until(lambda: len(agent.containers) == 2)
    assert first.state == "running"


def test_calls_of_the_sdk_never_replace(shell: Shell, agent: ScriptedAgent) -> None:
    shell.run("from tfnz_notebook.location import Location\nlocation = Location('podman')")
    for _ in range(2):
        shell.run("web = location.best_node().spawn_container('nginx')")
    assert images(agent) == ["nginx", "nginx"]
    shell.run("%tf_spawn nginx")
    shell.run("%tf_spawn nginx")
    agent.until(lambda: len(agent.containers) == 3)


def test_a_port_is_handed_on(shell: Shell, agent: ScriptedAgent) -> None:
    shell.run("web = %tf_spawn -p 80 nginx")
    (tunnel,) = shell["web"].all_tunnels()
    cell = f"web = %tf_spawn -p {tunnel.port}:80 nginx"
    shell.run("web.destroy()")
    shell.run(cell)
    shell.run(cell)
    (tunnel,) = shell["web"].all_tunnels()
    agent.until(lambda: len(agent.containers) == 1)
    assert list(agent.containers) == [shell["web"].id]


def test_detached_the_old_one_goes_once_the_new_one_runs(
    shell: Shell, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    def starting(scripted: ScriptedAgent, message: Any) -> Any:
        ident, spec = message.body["container"], message.body["spec"]
        info = {"container": ident, "state": "starting", "image": "nginx", "name": ""}
        scripted.containers[ident] = {**info, "origin": spec["origin"], "created": 0.0}
        scripted._changed(scripted.containers[ident])
        return {}, None

    shell.run("web = %tf_spawn -d nginx")
    first = shell["web"]
    agent.answers["container.spawn"] = starting
    shell.run("web = %tf_spawn -d nginx")
    assert first.state == "running"
    agent.set_state(shell["web"].id, "running")
    agent.until(lambda: first.state == "destroyed")
    assert "replaces web once it runs\n" in capsys.readouterr().out


# --- what lasts


def test_what_has_a_name_is_shown_again(
    shell: Shell, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run("web = %tf_spawn --name web -e A=1 nginx")
    first = shell["web"]
    shell.run("other = %tf_spawn --name web -e A=1 nginx")  # another cell
    assert shell["other"] is first
    assert "web is there: shown again\n" in capsys.readouterr().out
    for other in ("-e A=2 nginx", "-e A=1 redis"):
        with pytest.raises(Misuse, match="--replace takes its place"):
            shell.run(f"%tf_spawn --name web {other}")
    assert len(agent.containers) == 1
    shell.run("web = %tf_spawn --replace --name web -e A=2 nginx")
    assert list(agent.containers) == [shell["web"].id] != [first.id]


def test_one_of_that_name_that_no_cell_made_is_refused(shell: Shell, agent: ScriptedAgent) -> None:
    shell.run("from tfnz_notebook.location import Location\nlocation = Location('podman')")
    shell.run("web = location.best_node().spawn_container('nginx', name='web')")
    with pytest.raises(Misuse, match="made otherwise"):
        shell.run("%tf_spawn --name web nginx")


def test_one_of_that_name_that_has_ended_is_replaced_by_its_cell(
    shell: Shell, agent: ScriptedAgent
) -> None:
    shell.run("web = %tf_spawn --name web nginx")
    agent.set_state(shell["web"].id, "exited", returncode=0)
    agent.until(lambda: shell["web"].state == "exited")
    with pytest.raises(Misuse, match="has exited"):
        shell.run("db = %tf_spawn --name web nginx")
    shell.run("web = %tf_spawn --name web nginx")
    assert list(agent.containers) == [shell["web"].id]


def test_a_named_one_is_not_replaced_by_one_without(kernel: Kernel, agent: ScriptedAgent) -> None:
    kernel.run("a", "web = %tf_spawn --name web nginx")
    kernel.run("a", "web = %tf_spawn nginx")
    assert len(agent.containers) == 2


def test_a_durable_session_shows_what_the_cell_made_also_after_a_restart(
    kernel: Kernel, agent: ScriptedAgent
) -> None:
    cell = "%tf_connect podman --session demo\nweb = %tf_spawn -e A=1 nginx\ndb = %tf_spawn nginx"
    kernel.run("a", cell)
    made = [kernel.shell[name].id for name in ("web", "db")]
    assert len(set(made)) == 2  # alike, and two all the same
    kernel.shell.run("web.location.disconnect()\ndel web, db, _")
    kernel.run("a", cell)
    assert [kernel.shell[name].id for name in ("web", "db")] == made
    with pytest.raises(Misuse, match="durable session 'demo'"):
        kernel.run("a", "web = %tf_spawn -e A=2 nginx")
    assert len(agent.containers) == 2
    kernel.run("a", "web = %tf_spawn --keep -e A=2 nginx")
    assert len(agent.containers) == 3
    kernel.run("a", "web = %tf_spawn --replace -e A=2 nginx")
    agent.until(lambda: len(agent.containers) == 3)


def test_what_was_wished_is_nobody_elses_to_guess(
    shell: Shell, agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = []
    for user in ("me", "me", "you"):
        again._key.cache_clear()
        monkeypatch.setenv("TFNZ_STATE", str(tmp_path / user))
        shell.run("web = %tf_spawn -e PIN=1234 nginx")
        said.append(agent.named("container.spawn")[-1].body["spec"]["origin"])
    again._key.cache_clear()
    assert said[0] == said[1] != said[2]
    assert (tmp_path / "me" / "secrets" / "wishes").stat().st_mode & 0o777 == 0o600


# --- processes


@pytest.mark.parametrize(
    "line", ["p = %tf_run -d web serve", "p = %tf_shell web", "p = %tf_plot web vmstat 1"]
)
def test_ten_runs_leave_one_process(
    shell: Shell, agent: ScriptedAgent, web: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(10):
        shell.run(line)
    agent.until(lambda: len(running(agent)) == 1)
    assert capsys.readouterr().out.count("replaced ") == 9


def test_a_port_is_free_before_a_process_of_the_same_container_begins(
    shell: Shell, agent: ScriptedAgent, web: str
) -> None:
    shell.run("p = %tf_run -d web serve")
    first = shell["p"]
    shell.run("p = %tf_run -d web serve")
    names = [m.name for m in agent.requests if m.name in ("process.spawn", "process.destroy")]
    assert names == ["process.spawn", "process.destroy", "process.spawn"]
    assert first.returncode == -15


def test_a_process_that_cannot_begin_leaves_the_old_one(
    kernel: Kernel, agent: ScriptedAgent
) -> None:
    kernel.run("w", "web = %tf_spawn nginx")
    kernel.run("a", "p = %tf_run -d web serve")

    def refuse(scripted: ScriptedAgent, message: Any) -> Any:
        if message.body.get("cwd"):
            raise SpawnFailed("Cannot spawn a process: no such directory. Give another.")
        return scripted._process_spawn(message)

    agent.answers["process.spawn"] = refuse
    with pytest.raises(SpawnFailed):
        kernel.run("a", "p = %tf_run -d --cwd /nowhere web serve")
    assert running(agent) == ["serve"]


def test_a_process_in_a_durable_session_is_shown_again(
    kernel: Kernel, agent: ScriptedAgent
) -> None:
    kernel.run("w", "%tf_connect podman --session demo\nweb = %tf_spawn --name web nginx")
    for line in ("p = %tf_run -d web serve", "p = %tf_plot web vmstat 1"):
        kernel.run(line, line)
        kernel.run(line, line)
    assert sorted(running(agent)) == ["serve", "vmstat 1"]
    with pytest.raises(Misuse, match="serve"):
        kernel.run("p = %tf_run -d web serve", "p = %tf_run -d web serve --fast")


def test_a_sandbox_that_was_left_is_replaced(shell: Shell, agent: ScriptedAgent) -> None:
    cell = "%%tf_spawn -d --tag box debian\nserve\n"
    shell.run(cell)
    shell.run(cell)
    agent.until(lambda: len(agent.containers) == 1)
    assert running(agent) == ["/bin/sh"]


# --- cells that were deleted


def test_what_a_deleted_cell_made_is_marked_and_can_be_stopped(
    kernel: Kernel, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed() -> str:
        capsys.readouterr()
        kernel.run("p", "%tf_ps")
        return capsys.readouterr().out

    kernel.run("a", "web = %tf_spawn --tag web nginx")
    assert "deleted" not in listed()
    kernel.run("b", "None", deletedCells=["a", "c"])
    assert "web (its cell was deleted)" in listed()
    kernel.run("a", "None")  # it was cut, and pasted
    assert "deleted" not in listed()
    kernel.run("b", "%tf_stop web")
    assert images(agent) == []


def test_metadata_that_is_nonsense_harms_nobody(kernel: Kernel, agent: ScriptedAgent) -> None:
    for nonsense in (None, 3, "a", [None, 3, ["a"]]):
        kernel.run("b", "None", deletedCells=nonsense)
    assert not cells._deleted & {"a"}
