"""Images as objects: what is asked for, what comes back, and where callbacks run."""

from pathlib import Path
from typing import Any

import msgpack
import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._link.agents import starter
from tfnz_notebook.container import Container
from tfnz_notebook.errors import BuildFailed, FileError, ImageMissing, ImageNameInvalid, Misuse
from tfnz_notebook.image import Image, Pulled
from tfnz_notebook.location import Location

del starter
INFO = {"id": "sha256:1", "tags": ["nginx:1", "nginx:latest"], "size": 2 << 20, "created": 7.0}


def test_what_an_image_is(agent: ScriptedAgent, location: Location) -> None:
    agent.answers["image.list"] = lambda a, m: ({"images": [INFO, {"id": "sha256:2"}]}, None)
    image, nameless = location.images()
    assert (image.id, image.tags, image.size, image.created) == tuple(INFO.values())
    assert (image.name, str(image), repr(image)) == (
        "nginx:1",
        "nginx:1",
        "<Image 'nginx:1': 2 MiB>",
    )
    assert (nameless.name, nameless.size, nameless.created) == ("sha256:2", None, None)
    assert image != nameless and image == location.images()[0]
    location.best_node().spawn_container(image)
    assert agent.named("container.spawn")[0].body["spec"]["image"] == "nginx:1"
    with pytest.raises(Misuse, match="location.image"):
        Image()


def test_a_pull_says_how_far_it_is(agent: ScriptedAgent, location: Location) -> None:
    def pull(scripted: ScriptedAgent, message: Any) -> Any:
        if message.body["image"] == "none":
            raise ImageMissing("Cannot use the image 'none': it is nowhere.")
        far = msgpack.packb({"text": "downloading", "done": 1, "total": 2})
        scripted._tell("data", {"reader": message.body["reader"], "offset": 0}, far)
        return {"image": INFO}, None

    agent.answers["image.pull"] = pull
    seen: list[Pulled] = []
    image = location.pull("nginx", callback=seen.append)
    assert (image.name, seen) == ("nginx", [Pulled("nginx", "downloading", 1, 2)])
    assert agent.named("image.pull")[0].body["pull"] == "always"
    assert [each.name for each in location.pull_all(["a", "b"])] == ["a", "b"]
    assert agent.named("image.pull")[-1].body["pull"] == "missing"
    with pytest.raises(ImageMissing):
        location.pull_all(["none", "c"])
    assert agent.named("image.pull")[-1].body["image"] == "c", "it holds up none of the others"
    for wrong in ("nginx", 3, [3]):
        with pytest.raises(Misuse):
            location.pull_all(wrong)  # type: ignore[arg-type]


def test_a_build_is_sent_and_heard(
    agent: ScriptedAgent, location: Location, tmp_path: Path
) -> None:
    def build(scripted: ScriptedAgent, message: Any) -> Any:
        if reader := message.body.get("reader"):
            text = "step é\n".encode()
            for at in range(0, len(text), 6):  # through the middle of a character
                body = {"reader": reader, "offset": at}
                scripted._tell("data", body, text[at : at + 6])
        if "bad" in message.body.get("name", ""):
            raise BuildFailed("Cannot build 'bad': step 1/1 (RUN false).")
        return ({"image": INFO} if message.body.get("last") else {}), None

    agent.answers["image.build"] = build
    (tmp_path / "large").write_bytes(bytes(2 << 20))
    said: list[str] = []
    image = location.build("mine", "FROM x", tmp_path, callback=said.append, args={"A": "1"})
    assert (image.name, "".join(said)) == ("mine", "step é\n")
    first, *others = agent.named("image.build")
    assert first.body["arguments"] == {"A": "1"} and first.body["name"] == "mine"
    assert len(others) >= 4
    assert "name" not in others[0].body
    assert [each.body["last"] for each in others][-2:] == [False, True]
    said.clear()
    with pytest.raises(BuildFailed):
        location.build("bad", "FROM x", callback=said.append)
    assert "".join(said) == "step é\n", "what it said last is heard first"
    for name, dockerfile, context in (
        ("A B", "FROM x", None),
        ("a", 3, None),
        ("a", "", "/no/such"),
    ):
        with pytest.raises((ImageNameInvalid, Misuse, FileError)):
            location.build(name, dockerfile, context)


def test_an_image_is_written_whole_or_not_at_all(
    agent: ScriptedAgent, location: Location, tmp_path: Path
) -> None:
    image, target = location._image(INFO), tmp_path / "image.tar"

    def save(scripted: ScriptedAgent, message: Any) -> Any:
        reader = {"reader": message.body["reader"]}
        scripted._tell("data", {**reader, "offset": 0}, b"archive")
        if how:
            scripted._tell("dial.closed", {**reader, "errno": 5})
        else:
            scripted._tell("eof", {**reader, "offset": 7})
        return {"image": INFO}, None

    agent.answers["image.save"] = save
    how = "breaks off"
    with pytest.raises(Exception, match="broke off"):
        image.save(target)
    assert list(tmp_path.iterdir()) == []
    how = ""
    assert image.save(str(target)) == 7
    assert target.read_bytes() == b"archive"
    with pytest.raises(FileError, match="Cannot save the image: .*none"):
        image.save(tmp_path / "none" / "image.tar")
    with pytest.raises(FileError, match="Cannot load images: .*none"):
        location.load(tmp_path / "none")
    agent.answers["image.load"] = lambda a, m: ({"images": [INFO]}, None)
    assert location.load(target) == [image]
    assert agent.named("image.load")[0].payload == b"archive"


def test_a_fork_has_the_same_wishes_and_a_name_of_its_own(
    agent: ScriptedAgent, location: Location
) -> None:
    agent.answers["container.commit"] = lambda a, m: (
        {"image": {**INFO, "name": f"fork:{m.body.get('fork')}"}},
        None,
    )
    box = location.best_node().spawn_container(
        "nginx", name="web", env={"A": "1"}, tag="t", pre_boot_files={"/x": b"y"}, sleep=True
    )
    fork = box.wait_until_ready(10).fork()
    first, second = (each.body for each in agent.named("container.spawn"))
    assert second["spec"]["image"] == f"fork:{fork.id}" and second["container"] == fork.id
    assert "name" not in second["spec"]
    same = ("env", "sleep", "tag", "volumes", "flags")
    assert [second["spec"][key] for key in same] == [first["spec"][key] for key in same]
    assert fork in location.containers()
    assert box.fork(name="other").name == "other"
    found = Container._create(location, "f" * 32, {"state": "running", "image": "nginx"})
    with pytest.raises(Misuse, match="another kernel spawned it"):
        found.fork()
    assert box.commit("mine").name == "mine"
