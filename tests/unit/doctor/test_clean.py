"""What is removed, and above all what is not."""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from unit.engines.scripted import Answer, reply, scripted

from tfnz_notebook import __version__
from tfnz_notebook.__main__ import main
from tfnz_notebook._base import endpoints
from tfnz_notebook._doctor import agents, engine, holdings

OWNER = "0123456789abcdef"
LABEL = "io.tfnz.owner"
HOLDER = """
import fcntl, json, os, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
told = {"where": "podman", "socket": "ipc://" + sys.argv[1], "pid": os.getpid()}
file.write(json.dumps(told)); file.flush()
print("up", flush=True)
sys.stdin.read()
"""


def entry(ident: str, owner: str | None, **more: Any) -> dict[str, Any]:
    return {"Id": ident, "Labels": None if owner is None else {LABEL: owner}, **more}


class Engine:
    """A Docker that holds things, ours and others'."""

    def __init__(self) -> None:
        self.containers = [
            entry("c1", f"{OWNER}-docker", Names=["/mine\x1b[2J"]),
            entry("c2", f"{OWNER}-docker-tcp", Names=None),
            entry("c3", f"{OWNER}ff-docker", Names=["/look-alike"]),
            entry("c4", "somebody else", Names=["/theirs"]),
            entry("c5", None, Names=["/none"]),
        ]
        self.networks = [entry("n1", f"{OWNER}-docker", Name="net"), entry("n2", "x", Name="y")]
        self.volumes = [
            {"Name": "data", "Labels": {LABEL: f"{OWNER}-docker"}},
            {"Name": "theirs", "Labels": {LABEL: "x"}},
        ]
        self.removed: list[str] = []

    async def answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, _ = head.split(maxsplit=2)
        url = urlsplit(target)
        path = url.path.removeprefix("/v1.41")
        if method == "DELETE":
            self.removed.append(path)
            writer.write(reply(204, b""))
        elif path == "/_ping":
            writer.write(reply(200, b"OK", "Api-Version: 1.41"))
        elif path in ("/version", "/info"):
            writer.write(reply(200, {}))
        else:
            # It filters as loosely as an engine could.
            assert json.loads(parse_qs(url.query)["filters"][0]) == {"label": [LABEL]}
            told: object = {
                "/containers/json": self.containers,
                "/networks": self.networks,
                "/volumes": {"Volumes": self.volumes},
            }[path]
            writer.write(reply(200, told))


async def with_docker(answer: Answer, work: Any) -> Any:
    async with scripted(Path(endpoints.DOCKER_SYSTEM), answer):
        return await work()


@pytest.fixture(autouse=True)
def no_podman(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "podman_binary", lambda *_: None)


@pytest.fixture
def agent(home: Path) -> Iterator[int]:
    """A process that holds an agent's lock; its pid."""
    path = home / "run" / "podman.pid"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        yield child.pid
        child.kill()


async def test_only_what_carries_this_users_label_is_listed_and_removed(home: Path) -> None:
    docker, runtime = Engine(), home / "run"

    async def work() -> None:
        held = await holdings.look("docker", runtime, OWNER)
        assert not held.problem
        assert [each.ref for each in held.things] == ["c1", "c2", "n1", "data"]
        left = await holdings.remove("docker", runtime, OWNER, {"container", "network"})
        assert (left.things, left.problem) == ([], "")
        assert docker.removed == ["/containers/c1", "/containers/c2", "/networks/n1"]
        await holdings.remove("docker", runtime, OWNER, {"volume"})
        assert docker.removed[3:] == ["/volumes/data"]
        assert not (await holdings.look("docker", runtime, "")).things

    await with_docker(docker.answer, work)


async def test_an_engine_that_does_not_answer_is_told(home: Path) -> None:
    Path(endpoints.DOCKER_SYSTEM).touch()
    held = await holdings.look("docker", home / "run", OWNER)
    assert held.problem.startswith("Cannot reach docker")
    assert not (await holdings.look("podman", home / "run", OWNER)).problem, "there is none"


def files(home: Path) -> tuple[list[Path], list[Path]]:
    """Ours, and some that happen to lie in the directories we use."""
    run, state = home / "run", home / "state"
    ours = [run / f"podman.{end}" for end in ("sock", "lock", "log")]
    ours += [run / "docker_exec.log", run / "podman-tcp.pid"]
    ours += [run / "guests" / f"{OWNER}-docker" / "x" / "guest.sock", run / "host" / "ab12" / "log"]
    ours += [state / "spool" / "podman" / "1" / "out", state / "secrets" / "podman"]
    ours += [state / "agents" / "podman-default@0ld"]
    others = [run / "notes.log", run / "my.sock", run / "guests" / ".keep", state / "thesis.tex"]
    for path in (*ours, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return ours, others


def test_files_by_name_and_never_a_whole_directory(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, others = files(home)
    (home / "state" / "owner").write_text(OWNER)
    assert main(["clean", "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert "podman.sock" in listed and "thesis" not in listed and "notes" not in listed
    assert all(path.exists() for path in (*ours, *others))
    assert main(["clean", "--yes"]) == 0
    assert not [path for path in ours if path.exists()]
    assert all(path.exists() for path in others)
    assert not (home / "state" / "owner").exists(), "nobody holds anything under that name"
    assert main(["clean", "--yes"]) == 0
    assert "Nothing of ours is here" in capsys.readouterr().out


def test_a_link_is_removed_and_not_followed(home: Path) -> None:
    precious = home / "precious"
    precious.mkdir()
    (precious / "x").touch()
    (home / "state" / "spool").symlink_to(precious)
    assert main(["clean", "--yes"]) == 0
    assert not (home / "state" / "spool").is_symlink()
    assert (precious / "x").exists()


def test_nothing_is_removed_where_nobody_can_be_asked(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = files(home)
    with Path(os.devnull).open() as null:
        monkeypatch.setattr(sys, "stdin", null)
        assert main(["clean"]) == 2
    assert "say --yes" in capsys.readouterr().out
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for said, code in (("", 2), ("n", 2), ("Y", 0)):
        monkeypatch.setattr("builtins.input", lambda prompt, said=said: said)
        assert main(["clean"]) == code
        assert all(path.exists() for path in ours) is (code == 2)


def test_volumes_stay_with_the_name_they_are_known_by(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docker, owner = Engine(), home / "state" / "owner"
    owner.write_text(OWNER)

    def run(*arguments: str) -> int:
        async def work() -> int:
            return await asyncio.to_thread(main, ["clean", *arguments])

        return int(asyncio.run(with_docker(docker.answer, work)))

    assert run("--dry-run") == 0
    said = capsys.readouterr().out
    assert "volume data data (stays: say --volumes)" in said and "look-alike" not in said
    assert "mine\\x1b[2J" in said
    assert docker.removed == []
    assert run("--yes") == 0
    assert "/volumes/data" not in docker.removed and owner.exists()
    assert run("--yes", "--volumes") == 0
    assert "/volumes/data" in docker.removed and not owner.exists()


def test_agents_are_found_by_their_lock(home: Path, agent: int) -> None:
    run = home / "run"
    (found,) = agents.there()
    assert (found.name, found.where, found.pid) == ("podman", "podman", agent)
    # One that was killed leaves its file behind, whose pid may be anybody's by now.
    (run / "docker.pid").write_text(json.dumps({"where": "docker", "pid": 1, "socket": "x"}))
    (run / "host.pid").write_text("not JSON")
    with (run / "fake.pid").open("w") as held:  # it is locked, and says the wrong pid
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(json.dumps({"where": "fake", "pid": os.getppid(), "socket": "x"}))
        held.flush()
        assert [each.name for each in agents.there()] == ["podman"]


def test_an_agent_is_ended(home: Path, agent: int) -> None:
    assert main(["clean", "--yes"]) == 0
    assert not agents.there()


async def test_an_agent_that_does_not_answer_is_told(
    home: Path, agent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "PATIENCE", 0.3)
    (found,) = agents.there()
    told = await agents.ask(found)
    assert told.state == "note" and "tfnz-agent stop" in told.remedy


def test_a_hung_agent_does_not_hang_the_doctor(
    home: Path, agent: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agents, "PATIENCE", 0.3)
    monkeypatch.setattr(engine, "PATIENCE", 0.3)
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    states = {each["topic"]: each["state"] for each in told["findings"]}
    assert told["ok"] is False and states["engine"] == "bad" and states["agent podman"] == "note"


def test_alone_it_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "doctor" in said and "clean" in said
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and __version__ in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_state_directory_that_may_not_be_entered_has_nothing_of_ours(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.chmod(0o711)
    monkeypatch.setenv("TFNZ_STATE", str(home / "state" / "below"))
    os.seteuid(65534)
    try:
        assert main(["clean", "--dry-run"]) == 0
    finally:
        os.seteuid(0)
    assert "Nothing of ours is here" in capsys.readouterr().out
