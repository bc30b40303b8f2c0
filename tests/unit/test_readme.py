"""README and CONTRIBUTING name what there is: magics, methods, files, targets."""

import re
from pathlib import Path

import pytest

from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.magics.registered import MAGICS
from tfnz_notebook.node import Node
from tfnz_notebook.process import Process

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = [
    (name, (ROOT / name).read_text(encoding="utf-8")) for name in ("README.md", "CONTRIBUTING.md")
]

#: Bytes of a picture, for who reads it over a telephone.
MOST_BYTES = 150_000


def test_every_magic_is_in_the_table_and_nothing_else() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `%tf_")]
    named = {name for row in rows for name in re.findall(r"%(tf_\w+)", row)}
    assert named == {magic.name for magic in MAGICS}
    assert set(re.findall(r"%(tf_\w+)", README)) == named


def test_what_it_calls_is_there() -> None:
    called = set(re.findall(r"`(?:process\.|web\.|container\.)?(\w+)\(", README))
    named = set(re.findall(r"\| Files \|(.*)\|", README)[0].replace("`", "").split(", "))
    classes = (Location, Node, Container, Process)
    assert called
    missing = [
        name.strip()
        for name in called | (named - {"pre_boot_files", "volumes "})
        if name != "Location" and not any(hasattr(each, name.strip()) for each in classes)
    ]
    assert not [name for name in missing if name not in ("pre_boot_files", "volumes")]


@pytest.mark.parametrize(("name", "text"), TEXTS, ids=[name for name, _ in TEXTS])
def test_links_and_targets_lead_somewhere(name: str, text: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert links
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()], name
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"`make ([a-z][a-z-]*)", text))
    assert wanted and not wanted - targets


def test_pictures_are_small_and_used() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    grown = [f"growth-{of}.svg" for of in ("containers", "kernels", "log", "processes", "views")]
    shown = ["architecture.svg", *grown, "plot.png", "shell.png"]
    assert [path.name for path in pictures] == shown
    speed = (ROOT / "docs" / "speed.md").read_text()
    for path in pictures:
        assert path.stat().st_size <= MOST_BYTES, path.name
        if path.name in grown:
            assert f"(pictures/{path.name})" in speed
        else:
            assert f"docs/pictures/{path.name}" in README


def test_the_house_is_the_one_there_is() -> None:
    text = dict(TEXTS)["CONTRIBUTING.md"]
    house = text.split("## The house")[1].split("\n## ")[0]
    drawn = "\n".join(line for line in house.splitlines() if line.startswith("    "))
    package, tests = drawn.split("\n    tests/\n")
    told = [line.split() for line in package.splitlines() if re.match(r"      \S", line)]
    names = {word.rstrip("/") for words in told for word in words}
    rooms = {path.parent.name for path in (ROOT / "tfnz_notebook").glob("*/__init__.py")}
    assert not {room for room in rooms if room not in names}
    suites = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("*.py"))}
    assert not {suite for suite in suites if len(re.findall(rf"\b{suite}/", tests)) != 1}
