"""The examples of 20ft's text, each as a real script, verbatim but for one line.

The first example forgets to bind ``node``; a line that does is added to it.
"""

import re
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from integration.polling import until
from integration.scripts import Script, run
from integration.world import World

TEXT = Path(__file__).with_name("text_examples.rst").read_text()


def examples() -> dict[str, str]:
    """The code blocks of the text, by the word that introduces each."""
    blocks = re.findall(r"^(\w.*?)\.\.\. ::\n\n((?:    .*\n|\n)+)", TEXT, re.MULTILINE)
    return {title: textwrap.dedent(code) for title, code in blocks}


EXAMPLES = examples()
FORGOTTEN = "location = Location().best_node()\n"


def test_the_text_has_four_examples() -> None:
    assert list(EXAMPLES) == ["Synchronously", "Asynchronously", "Interacting", "A shell"]
    assert FORGOTTEN in EXAMPLES["Synchronously"]
    for code in EXAMPLES.values():
        compile(code, "text", "exec")


@pytest.fixture
def nothing_stays(world: World, where: str) -> Iterator[None]:
    """A script's containers are gone soon after it has ended."""
    before = world.holds(where)
    yield
    until(lambda: world.holds(where) <= before, 15, "the script's containers are gone")


@pytest.mark.engines("podman", "docker")
def test_synchronously(world: World, where: str, nothing_stays: None) -> None:
    code = EXAMPLES["Synchronously"].replace(FORGOTTEN, FORGOTTEN + "node = location\n")
    output = run(world, code, TFNZ_LOCATION=where)
    assert output.startswith("USER ")
    assert "nginx: master process" in output
    assert "/bin/ps faxu" in output


@pytest.mark.engines("podman", "docker")
def test_asynchronously(world: World, where: str, nothing_stays: None) -> None:
    with Script(world, EXAMPLES["Asynchronously"], TFNZ_LOCATION=where) as script:
        script.wait()
    lines = script.lines
    texts = [text for _, text in lines]
    assert texts[-1] == "vmstat terminated", script.output()
    assert "procs" in texts[0]
    numbers = [when for when, text in lines if re.fullmatch(r"[\s\d]+", text)]
    # One line a second for ten seconds, each printed when it came and not when the script ended.
    assert 8 <= len(numbers) <= 12, script.output()
    gaps = [later - earlier for earlier, later in pairwise(numbers)]
    assert max(gaps) < 2.5, gaps
    assert numbers[-1] - numbers[0] > 6.5
    (terminated,) = [when for when, text in lines if text == "---sleep terminated---"]
    assert 2.5 < terminated - lines[0][0] < 5.0
    assert lines[-1][0] - lines[0][0] > 9.5


def test_interacting(
    world: World, own_world: Callable[..., World], where: str, nothing_stays: None
) -> None:
    # On the host ps draws the tree of all the machine, and cuts its lines where a screen ends. An
    # agent that is started now has that from us, and its processes from it.
    place = own_world() if where == "host" else world
    output = run(place, EXAMPLES["Interacting"], TFNZ_LOCATION=where, COLUMNS="500")
    lines = output.rstrip("\n").splitlines()
    assert lines[0].split()[:2] == ["USER", "PID"], output
    assert any("/bin/bash" in line for line in lines[1:]), output
    assert any(line.endswith("/bin/ps faxu") for line in lines[1:]), output
    if where != "host":
        assert "nginx: master process" in output


def test_a_shell(world: World, where: str, nothing_stays: None) -> None:
    output = run(world, EXAMPLES["A shell"], TFNZ_LOCATION=where)
    assert "ps faxu" in output, "what was typed is echoed"
    assert re.search(r"PID\s+USER|USER\s+PID", output), "and answered"
    assert "\N{REPLACEMENT CHARACTER}" not in output
