"""Every notebook is a promise to its reader: it runs from top to bottom, and shows what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from integration import engine_api
from integration.world import LABEL, World
from notebooks.shown import CLUSTERED, IMAGES, NOTEBOOKS, PICTURES, ROOT, SHOWN, code_cells, text_of

#: They take turns; a notebook's run on the other one is long. On a cluster all run.
ENGINES = ("podman", "docker")
CLUSTER = "kubernetes"
#: Seconds until thirty containers are ready: a promise of the classroom's.
CLASS_READY = 15.0


def chosen() -> list[object]:
    def turn(number: int, path: Path) -> str:
        return "" if path.stem in IMAGES else able[number % len(able)]

    wanted = os.environ.get("TFNZ_TEST_ENGINES", ",".join(ENGINES)).replace(",", " ").split()
    able = [engine for engine in ENGINES if engine in wanted]
    if CLUSTER in wanted:
        mark = pytest.mark.kubernetes
        return [
            pytest.param(path, CLUSTER, marks=mark, id=f"{path.stem}-{CLUSTER}")
            for path in NOTEBOOKS
            if path.stem not in IMAGES
        ]
    return [
        pytest.param(
            path,
            engine,
            marks=[
                getattr(pytest.mark, engine),
                *([] if turn(number, path) == engine else [pytest.mark.long]),
            ],
            id=f"{path.stem}-{engine}",
        )
        for engine in able
        for number, path in enumerate(NOTEBOOKS, 1)
        if path not in CLUSTERED
    ]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Agents and containers of these tests alone: an engine without anything of ours."""
    kubeconfig = os.environ.get("TFNZ_TEST_KUBERNETES")
    made = World(**({"KUBECONFIG": kubeconfig} if kubeconfig else {}))
    yield made
    left = made.close()
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("path", "engine"), chosen())
def test_a_notebook_runs_and_shows_what_it_says(
    path: Path, engine: str, world: World, tmp_path: Path
) -> None:
    if images := IMAGES.get(path.stem):
        subprocess.run([ROOT / ".ci" / "images", "make", *images], check=True)
    script = ROOT / ".ci" / "run_notebook.py"
    command = [sys.executable, "-P", str(script), str(path), str(tmp_path)]
    where = "kubernetes://" if engine == CLUSTER else engine
    env = world.environment(TFNZ_LOCATION=where)
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0 and engine == CLUSTER:  # the namespace is the next tests', too
        clean = ("-m", "tfnz_notebook", "clean", where, "--volumes", "--yes")
        subprocess.run([sys.executable, "-P", *clean], env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    executed = code_cells(nbformat.read(tmp_path / path.name, as_version=4))
    saved = code_cells(nbformat.read(path, as_version=4))
    for ident, phrases in SHOWN[path.stem].items():
        text = text_of(executed[ident])
        assert not [each for each in phrases if each not in text], f"cell {ident}:\n{text}"
    # what a reader sees who does not run it is what running it shows
    assert {i: kinds(cell) for i, cell in executed.items()} == {
        i: kinds(cell) for i, cell in saved.items()
    }
    for (stem, ident), number in PICTURES.items():
        if stem == path.stem:
            assert kinds(executed[ident]).count("image/png") == number
    assert (tmp_path / f"{path.stem}.html").stat().st_size > 10_000

    if engine == CLUSTER:  # whose namespace is empty at the end: tests/cluster
        return
    assert not world.holds(engine), "it cleans up after itself"
    volumes = engine_api.volumes(engine, LABEL)
    ours = [v for v in volumes if (v.get("Labels") or {}).get(LABEL, "").startswith(world.owner)]
    assert not ours

    ready = re.search(
        r"30 containers ready in ([\d.]+) s", "".join(map(text_of, executed.values()))
    )
    assert ready is None or float(ready[1]) <= CLASS_READY


def kinds(cell: nbformat.NotebookNode) -> list[str]:
    """What its outputs are: its stdout, and kinds of data that there is something of.

    That something takes long is said on a busy machine alone, in a line that ends in "…".
    """
    found = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            lines = output.text.strip().splitlines()
            found += ["stdout"] if not all(line.endswith("…") for line in lines) else []
        found += sorted(kind for kind, data in output.get("data", {}).items() if data)
    return found
