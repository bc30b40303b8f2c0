"""What is larger than a message: it works, or fails alone and in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tfnz_notebook.container import Container
from tfnz_notebook.errors import SpawnFailed, TooLarge
from tfnz_notebook.location import Location

Spawn = Callable[..., Container]

#: A shell that counts its words, and the last one's size.
COUNT = "for last; do :; done; echo $# ${#last} ${#BIG}"


def test_a_container_with_a_large_environment_and_large_files(spawn: Spawn) -> None:
    env = {f"NAME_{number}": "x" * 60_000 for number in range(20)}
    files = {f"/srv/large/{number}": bytes([number]) * (2 << 20) for number in range(5)}
    container = spawn(sleep=True, env=env, pre_boot_files=files)
    assert container.run_process("echo ${#NAME_0} ${#NAME_19}").stdout == b"60000 60000\n"
    assert container.fetch("/srv/large/4") == files["/srv/large/4"]
    assert sorted(entry.size for entry in container.listdir("/srv/large")) == [2 << 20] * 5


def test_a_process_with_large_arguments(box: Container) -> None:
    """As many as Linux takes where the stack is as large as usual."""
    command = ["sh", "-c", COUNT, "sh", *["x" * 120_000] * 13]
    assert box.run_process(command, env={"BIG": "y" * 130_000}).stdout == b"13 120000 130000\n"
    command = ["sh", "-c", COUNT, "sh", *map(str, range(50_000))]
    assert box.run_process(command).stdout == b"50000 5 0\n"


def test_arguments_that_are_too_large_fail_alone(location: Location, box: Container) -> None:
    cat = box.spawn_process("cat")
    with pytest.raises(TooLarge, match=r"has 195 KiB, and at most 128 KiB go"):
        box.run_process(["echo", "x" * 200_000])
    with pytest.raises(TooLarge, match=r"take 6\.87 MiB, and at most 6 MiB go"):
        box.run_process(["echo", *["x" * 60_000] * 120])
    with pytest.raises(SpawnFailed, match=r"too long.*\. Put them in a file"):
        box.run_process(["echo", *["x" * 120_000] * 48])
    assert cat.stdin(b"undisturbed\n", return_reply=True, timeout=10) == b"undisturbed\n"
    box.destroy_process(cat)
    assert box in location.containers()


def test_a_question_of_megabytes(box: Container) -> None:
    cat = box.spawn_process(["cat"])
    question = b"0123456789abcde\n" * (5 << 16)
    assert cat.stdin(question, return_reply=True, timeout=60) == question
    box.destroy_process(cat)


def test_a_directory_of_many_entries(spawn: Spawn) -> None:
    box = spawn(sleep=True)
    box.mkdir("/many")
    box.run_process(
        "cd /many 2>/dev/null || cd many; seq -f file-%07g 30000 | xargs touch", check=True
    )
    names = [entry.name for entry in box.listdir("/many")]
    assert names == [f"file-{number:07}" for number in range(1, 30_001)]
