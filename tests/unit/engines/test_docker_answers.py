"""Answers, whole and with holes."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest
from unit.engines.scripted import reply, scripted

from tfnz_notebook.engines.base import State
from tfnz_notebook.engines.docker import answers, calls, nodes
from tfnz_notebook.engines.docker.probe import Facts
from tfnz_notebook.engines.http.response import Response
from tfnz_notebook.errors import EngineGone


def framed(kind: int, data: bytes) -> bytes:
    return struct.pack(">B3xI", kind, len(data)) + data


def test_image_with_everything() -> None:
    image = answers.image(
        {
            "Id": "sha256:1",
            "Config": {
                "Entrypoint": ["/e"],
                "Cmd": ["c"],
                "Env": ["A=1", "B=x=y", "C="],
                "User": "u",
                "WorkingDir": "/w",
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "443": {}},
                "Volumes": {"/v": {}},
            },
        }
    )
    assert image.env == {"A": "1", "B": "x=y", "C": ""}
    assert image.ports == (80, 443)
    assert (image.entrypoint, image.command, image.volumes) == (("/e",), ("c",), ("/v",))


@pytest.mark.parametrize(
    "said", [{}, {"Config": None}, {"Config": {"Entrypoint": None, "Cmd": ""}}]
)
def test_image_with_nothing(said: dict[str, object]) -> None:
    image = answers.image(said)
    assert (image.entrypoint, image.command, image.env, image.ports) == ((), (), {}, ())


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"State": {"Status": "created", "ExitCode": 0}}, State("created")),
        ({"State": {"Status": "configured"}}, State("created")),
        ({"State": {"Status": "paused"}}, State("paused")),
        ({"State": {"Status": "exited", "ExitCode": 3}}, State("exited", 3)),
        ({"State": {"Status": "stopped", "ExitCode": 0}}, State("exited", 0)),
        (
            {"State": {"Status": "dead", "OOMKilled": True, "Error": "e"}},
            State("exited", 0, True, "e"),
        ),
        ({"State": {"Running": True}}, State("running")),
        ({}, State("exited", 0)),
    ],
)
def test_states(said: dict[str, object], state: State) -> None:
    assert answers.state(said) == state


def test_addresses() -> None:
    running = {"State": {"Status": "running"}}
    assert answers.state({**running, "NetworkSettings": {"IPAddress": "10.0.0.1"}}).ip == "10.0.0.1"
    networks = {"Networks": {"none": None, "x": {"IPAddress": ""}, "y": {"IPAddress": "10.0.0.2"}}}
    assert answers.state({**running, "NetworkSettings": networks}).ip == "10.0.0.2"
    assert answers.state({**running, "NetworkSettings": None}).ip == ""


def test_logs_lose_their_frames() -> None:
    log = framed(1, b"out\n") + framed(2, b"err\n") + framed(1, b"")
    assert answers.unframed(log) == b"out\nerr\n"
    assert answers.unframed(b"plain text of a tty\n") == b"plain text of a tty\n"
    assert answers.unframed(b"") == b""
    assert answers.unframed(b"short") == b"short"
    assert answers.unframed(log[:-9]) == b"out\nerr"


def test_logs_that_grow_lose_their_frames_wherever_they_are_cut() -> None:
    log = framed(1, b"out\n") + framed(2, b"err\n") + framed(1, b"") + framed(1, b"x" * 70)
    for size in (1, 3, 8, 9, 50, len(log)):
        frames, said = answers.Frames(), {1: b"", 2: b""}
        for at in range(0, len(log), size):
            for stream, piece in frames.feed(log[at : at + size]):
                said[stream] += piece
        assert said == {1: b"out\n" + b"x" * 70, 2: b"err\n"}
    plain = answers.Frames()
    assert [*plain.feed(b"plain text"), *plain.feed(b" of a tty")] == [
        (1, b"plain text"),
        (1, b" of a tty"),
    ]


def test_versions() -> None:
    assert answers.version("1.41") == (1, 41)
    assert answers.version(None) == (0, 0)
    with pytest.raises(EngineGone, match="object was due"):
        answers.mapping([1])


@pytest.mark.parametrize(
    ("status", "said", "gone"),
    [
        (404, "whatever", True),
        (500, "container 9e8e does not exist in database: no such container", True),
        (500, "no space left on device", False),
        (200, "no such container", False),
    ],
)
def test_who_is_not_there(status: int, said: str, gone: bool) -> None:
    answer = Response(status, body=b'{"message": "%s"}' % said.encode())
    assert calls.is_gone(answer) is gone


async def test_what_runs_on_a_node_is_one_quick_question(short: Path) -> None:
    """Podman's own list: for Docker's it looks twice as long."""
    for podman, path in ((True, "/libpod/containers/json"), (False, "/containers/json")):

        async def answer(
            head: str, _: object, writer: asyncio.StreamWriter, path: str = path
        ) -> None:
            assert head.startswith(f"GET {path} ")
            writer.write(reply(200, [{}, {}]))

        async with scripted(short / f"s{podman}", answer) as client:
            assert await nodes.running(client, Facts(podman=podman)) == 2


def test_a_node_is_what_the_engine_said_of_its_machine() -> None:
    node = nodes.node("docker", Facts(machine=("far", 2, 1 << 30)), None)
    assert (node.name, node.cpus, node.cpu_free, node.memory_free) == ("far", 2, 2.0, 1 << 30)
    assert nodes.node("podman", Facts(podman=True), 3).labels == {"engine": "podman"}
