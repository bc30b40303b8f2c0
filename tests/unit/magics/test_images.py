"""``%%tf_build``, ``%tf_images``, ``%tf_volumes``."""

import time
from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell

from tfnz_notebook.errors import BuildFailed, Misuse


@pytest.fixture
def builds(agent: ScriptedAgent) -> ScriptedAgent:
    def build(scripted: ScriptedAgent, message: Any) -> Any:
        body = message.body
        if body.get("reader"):
            said = b"Step 1/1 : FROM x\n\x1b]52;c;AAAA\x07\x1b[31mred\x1b[0m"
            scripted._tell("data", {"reader": body["reader"], "offset": 0}, said)
        if body.get("name") == "bad":
            raise BuildFailed("Cannot build 'bad': step 1/1 (FROM x): no such image.")
        done = {"image": {"id": "sha256:1", "tags": ["mine:1"], "size": 1}}
        return (done if body.get("last") else {}), None

    agent.answers["image.build"] = build
    return agent


def test_a_cell_is_built_and_what_it_says_is_harmless(
    shell: Shell, builds: ScriptedAgent, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = f"--context {tmp_path} --build-arg A=1 --build-arg HOME --target t --no-cache --pull"
    image = shell.run(f"%%tf_build mine:1 {line}\nFROM x\n")
    assert image.name == "mine:1"
    assert "Step 1/1 : FROM x\n\x1b[31mred\x1b[0m\n" in capsys.readouterr().out
    body = builds.named("image.build")[0].body
    assert body["arguments"].keys() == {"A", "HOME"}
    assert (body["target"], body["fresh"], body["pull"]) == ("t", True, True)
    payload = builds.named("image.build")[0].payload
    assert payload is not None and b"FROM x\n" in payload
    with pytest.raises(BuildFailed, match="step 1/1"):
        shell.run("%%tf_build bad\nFROM x\n")


def test_a_line_builds_the_directorys_own(
    shell: Shell, builds: ScriptedAgent, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM there\n")
    shell.run(f"%tf_build mine --context {tmp_path}")
    payload = builds.named("image.build")[0].payload
    assert payload is not None and payload.count(b"FROM there\n") == 2, "it may be copied as well"
    for wrong in ("%tf_build mine", "%%tf_build mine\n  \n"):
        with pytest.raises(Misuse, match="there is no Dockerfile"):
            shell.run(wrong)


def test_images_and_volumes_are_listed(
    shell: Shell, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    made = time.time() - 7200.5
    images = [
        {"id": "sha256:" + "a" * 64, "tags": ["nginx:1", "nginx:2"], "size": 3 << 20},
        {"id": "sha256:" + "b" * 64, "tags": ["evil\x1b]52;:1"], "created": made},
        {"id": "sha256:" + "c" * 64, "tags": []},
    ]
    agent.answers["image.list"] = lambda a, m: ({"images": images}, None)
    shell.run("%tf_images")
    out = capsys.readouterr().out
    assert ["nginx:1", "a" * 12, "3", "MiB"] in [line.split() for line in out.splitlines()]
    assert "2 h 00 min" in out
    assert "\x1b" not in out and "(none)" not in out
    shell.run("%tf_images --all nginx none")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        *("IMAGE", "nginx:1", "nginx:2", "(none)"),
    ]
    volumes = [{"name": "b", "size": None}, {"name": "a", "size": 1024}]
    agent.answers["volume.list"] = lambda a, m: ({"volumes": volumes}, None)
    shell.run("%tf_volumes")
    out = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert out == [["VOLUME", "SIZE"], ["a", "1", "KiB"], ["b", "?"]]
    assert agent.named("volume.list")[0].body["sizes"] is True
    agent.answers["volume.list"] = lambda a, m: ({"volumes": []}, None)
    shell.run("%tf_volumes")
    assert capsys.readouterr().out == "there is no volume\n"
