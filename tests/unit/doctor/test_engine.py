"""Engines that answer, refuse, are silent or absent; the doctor tells, in time."""

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from unit.doctor.conftest import program
from unit.engines.scripted import Answer, reply, scripted

from tfnz_notebook._base import endpoints, paths
from tfnz_notebook._doctor import engine, look
from tfnz_notebook._doctor.findings import Finding
from tfnz_notebook.engines.docker import isolation as docker_isolation
from tfnz_notebook.engines.docker import podman
from tfnz_notebook.engines.docker.isolation import Isolation

INFO = {"DefaultRuntime": "runc", "CgroupVersion": "2", "MemoryLimit": True, "PidsLimit": True}
PODMAN_INFO = {
    "host": {
        "cgroupVersion": "v2",
        "cgroupControllers": ["memory", "pids", "cpu"],
        "ociRuntime": {"name": "crun"},
        "security": {"rootless": True},
    },
    "version": {"Version": "5.4.2"},
}


def docker(info: Mapping[str, object], name: str = "27.5.1") -> Answer:
    """A Docker daemon."""

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = head.split()[1]
        if path.endswith("/_ping"):
            writer.write(reply(200, b"OK", "Api-Version: 1.47"))
        elif path.endswith("/version"):
            writer.write(reply(200, {"Version": name, "MinAPIVersion": "1.24"}))
        else:
            writer.write(reply(200, info))

    return answer


@pytest.fixture(autouse=True)
def kept_apart(monkeypatch: pytest.MonkeyPatch) -> list[Isolation]:
    """What is found out of this machine's firewall: not this test's business."""
    found = [Isolation(tool="iptables")]

    async def find_out(*_: object, **__: object) -> Isolation:
        return found[0]

    monkeypatch.setattr(docker_isolation, "find_out", find_out)
    return found


async def examined(home: Path, answer: Answer) -> Finding:
    async with scripted(Path(endpoints.DOCKER_SYSTEM), answer):
        return await engine.examine("docker", home / "run")


async def test_a_docker_that_answers(home: Path) -> None:
    found = await examined(home, docker(INFO))
    assert found.state == "ok" and found.facts["usable"]
    assert found.said.startswith("27.5.1 at unix://")
    assert "kept apart: fence (iptables), to be verified" in found.said
    assert "runtime runc, cgroups v2" in found.said
    assert found.facts["limits"] == {"memory": True, "cpu": True, "pids": True}


async def test_containers_that_are_not_kept_apart(home: Path, kept_apart: list[Isolation]) -> None:
    kept_apart[0] = Isolation(why_not="there is no iptables")
    found = await examined(home, docker(INFO))
    assert found.state == "note" and found.facts["usable"]
    assert "kept apart: none: there is no iptables" in found.said and "rootless" in found.remedy


async def test_limits_that_are_missing(home: Path) -> None:
    found = await examined(home, docker({**INFO, "MemoryLimit": False}))
    assert found.state == "note" and found.facts["usable"]
    assert "No limits of memory" in found.said and "cgroup_enable=memory" in found.remedy
    rootless = {**INFO, "CgroupVersion": "1", "SecurityOptions": ["name=rootless"]}
    found = await examined(home, docker(rootless))
    assert "No limits of memory, cpu, pids" in found.said and "Delegate=" in found.remedy


async def test_what_an_engine_says_of_itself_is_not_believed_to_be_harmless(home: Path) -> None:
    evil = "1\x1b[2J\r\nok"
    found = await examined(home, docker({**INFO, "DefaultRuntime": evil}, evil))
    from tfnz_notebook._doctor.findings import as_text

    assert as_text([found]).replace("\n", "").isprintable()


async def test_one_that_is_no_engine(home: Path) -> None:
    async def junk(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")

    found = await examined(home, junk)
    assert found.state == "note" and not found.facts["usable"]
    assert found.said.startswith("Cannot ")


async def test_one_that_is_silent_costs_its_deadline_and_no_more(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    found = await examined(home, silent)
    assert not found.facts["usable"] and "does not answer within" in found.said


async def test_nothing_at_all(home: Path) -> None:
    found = [await engine.examine(name, home / "run") for name in engine.NAMES]
    assert not [each for each in found if each.facts["usable"] or each.facts["installed"]]
    chosen = engine.choice(found)
    assert chosen.state == "bad" and "Location('host')" in chosen.remedy
    assert "doctor" not in chosen.remedy


async def test_a_daemon_that_does_not_run(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(endpoints.DOCKER_SYSTEM)
    found = await engine.examine("docker", home / "run")
    assert found.facts["installed"] and "nothing listens there" in found.said


async def test_podman_without_its_service(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(home, "podman", f"cat <<'X'\n{json.dumps(PODMAN_INFO)}\nX")
    monkeypatch.setattr(engine, "hybrid_cgroups", lambda: False)
    monkeypatch.setattr(engine, "_mapping_remedy", lambda: "")
    monkeypatch.setattr(podman, "TUN", "/dev/null")
    found = await engine.examine("podman", home / "run")
    assert found.state == "ok" and found.facts["usable"]
    assert "5.4.2, rootless, runtime crun, cgroups v2" in found.said
    monkeypatch.setattr(engine, "_mapping_remedy", lambda: "usermod --add-subuids …")
    found = await engine.examine("podman", home / "run")
    assert found.state == "note" and found.remedy.startswith("usermod")


async def test_a_users_podman_that_has_no_networks(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(home, "podman", f"cat <<'X'\n{json.dumps(PODMAN_INFO)}\nX")
    monkeypatch.setattr(engine, "hybrid_cgroups", lambda: False)
    monkeypatch.setattr(podman, "TUN", str(home / "tun"))
    found = await engine.examine("podman", home / "run")
    assert found.state == "note" and found.facts["usable"]
    assert "tun is not there" in found.said and "modprobe tun" in found.remedy
    (home / "tun").touch(0o666)
    assert (await engine.examine("podman", home / "run")).state == "ok"


def test_a_users_podman_gets_a_runtime_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"CONTAINER_HOST": "x", "XDG_RUNTIME_DIR": "/of/another", "HOME": str(home)}
    assert podman.environment(given) == {"XDG_RUNTIME_DIR": "/of/another", "HOME": str(home)}
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    monkeypatch.setattr(paths, "podmans_runtime", lambda _: home)
    assert podman.environment(given) == {"XDG_RUNTIME_DIR": str(home), "HOME": str(home)}
    monkeypatch.setattr(paths, "podmans_runtime", lambda _: None)
    assert podman.environment(given) == {"HOME": str(home)}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Error: no\033[31m storage' >&2; exit 125", "no\x1b[31m storage"),
        ("echo '{}'", "fails"),
        ("exec sleep 60", "does not end within"),
    ],
)
async def test_a_podman_that_is_broken(
    home: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    program(home, "podman", script)
    monkeypatch.setattr(engine, "COMMAND_PATIENCE", 60.0 if "sleep" not in script else 0.3)
    found = await engine.examine("podman", home / "run")
    assert not found.facts["usable"] and said in found.said
    # Podman comes first, whether it works or not: that is what Location() would do.
    chosen = engine.choice([found])
    assert chosen.state == "bad" and "podman" in chosen.said


def test_the_other_engine_is_a_way_out(home: Path) -> None:
    program(home, "podman", "exit 1")
    found = [
        Finding("podman", "note", "broken", facts={"usable": False}),
        Finding("docker", "ok", "fine", facts={"usable": True}),
    ]
    assert engine.choice(found).remedy.startswith("TFNZ_LOCATION=docker takes the other one.")


def test_what_the_environment_names_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFNZ_LOCATION", "host")
    assert engine.choice([]).state == "ok"


def test_a_users_podman_needs_subordinate_ids(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    program(home, "newuidmap", "exit")
    assert "--add-subuids" in engine._mapping_remedy()
    monkeypatch.setenv("PATH", "/nowhere")
    assert "newuidmap" in engine._mapping_remedy()


def test_a_check_that_fails_is_a_finding(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(name: str, runtime: Path) -> Finding:
        if name == "docker":
            raise RuntimeError("oh")
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(engine, "examine", broken)
    monkeypatch.setattr(look, "DEADLINE", 0.2)
    told = {each.topic: each for each in look.doctor()}
    assert "RuntimeError('oh')" in told["docker"].said and told["docker"].state == "bad"
    assert "no answer within" in told["podman"].said


def test_who_has_no_home_is_told_what_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFNZ_STATE")
    monkeypatch.setattr(paths, "_homes", lambda _: [])
    monkeypatch.setattr(look, "DEADLINE", 5.0)
    told = {each.topic: each for each in look.doctor()}
    assert told["limits"].state == "bad" and "has none" in told["limits"].said
    assert told["limits"].remedy == "Set TFNZ_STATE to a directory of yours."
    assert not [each for each in told.values() if "the check itself" in each.said]


def test_sockets_that_can_be_nowhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "unusable", lambda _: "Read-only file system")
    (found,) = look.private(home / "run")
    assert found.state == "bad" and "Read-only file system" in found.said
    assert "TFNZ_RUNTIME" in found.remedy


def test_sockets_that_others_could_open(home: Path) -> None:
    runtime = home / "run"
    (found,) = look.private(runtime)
    assert found.state == "ok"
    runtime.chmod(0o755)
    (found,) = look.private(runtime)
    assert found.state == "bad" and "chmod 700" in found.remedy
    (found,) = look.private(home / "none")
    assert found.state == "ok"
