"""What agents of 0.1 left is taken by whoever finds the container it is of, and by nobody twice."""

import shutil
from pathlib import Path

import pytest

from tfnz_notebook._base import paths
from tfnz_notebook.agent.former import Former
from tfnz_notebook.engines.base import Found, State

LABEL = "somebody-docker"
FIRST, SECOND = "1" * 32, "2" * 32


@pytest.fixture
def former(tmp_path: Path) -> Former:
    """With the outputs of one container."""
    outputs = paths.spool(tmp_path, "docker") / FIRST
    outputs.mkdir(parents=True)
    (outputs / "ended").write_text("kept")
    return Former(LABEL, tmp_path, "docker")


def found(ident: str, label: str = LABEL) -> Found:
    labels = {"io.tfnz.owner": label, "io.tfnz.container": ident}
    return Found("ref", labels, State("running"))


def test_outputs_go_where_their_container_is_found(former: Former, tmp_path: Path) -> None:
    ours = paths.spool(tmp_path, "docker-1a2b3c4d")
    assert former.ours(found(FIRST), ours)
    assert (ours / FIRST / "ended").read_text() == "kept"
    assert former.ours(found(FIRST), ours), "again, by the next agent"
    assert former.ours(found(SECOND), ours), "nothing was kept of it"
    assert sorted(path.name for path in ours.iterdir()) == [FIRST, SECOND]


def test_an_agent_of_0_1_that_comes_back_goes_on_in_the_same_files(
    former: Former, tmp_path: Path
) -> None:
    ours, theirs = (paths.spool(tmp_path, key) for key in ("docker-1a2b3c4d", "docker"))
    for ident in (FIRST, SECOND):
        assert former.ours(found(ident), ours)
        (theirs / ident / "more").write_text(ident)
        assert (ours / ident / "more").read_text() == ident
    # One of another endpoint knows none of them, and sweeps as 0.1 does.
    for folder in theirs.glob("*"):
        shutil.rmtree(folder, ignore_errors=True)
    assert (ours / FIRST / "ended").read_text() == "kept"
    shutil.rmtree(ours / FIRST)  # its container was destroyed
    former.sweep()
    assert [path.name for path in theirs.iterdir()] == [SECOND]
    shutil.rmtree(ours / SECOND)
    former.sweep()
    assert not theirs.exists()
    former.sweep()


def test_at_another_address_of_the_same_engine_it_is_not_taken_again(
    former: Former, tmp_path: Path
) -> None:
    first, second = (paths.spool(tmp_path, f"docker-{each}") for each in ("default", "1a2b3c4d"))
    for ident in (FIRST, SECOND):
        assert former.ours(found(ident), first)
        assert not former.ours(found(ident), second)
    assert not second.exists()


def test_what_was_made_since_is_ours_as_it_is(former: Former, tmp_path: Path) -> None:
    ours = paths.spool(tmp_path, "docker-1a2b3c4d")
    assert former.ours(found(FIRST, "somebody-docker-1a2b3c4d"), ours)
    assert not ours.exists()


@pytest.mark.parametrize("ident", ["", "..", "../docker", "a/b"])
def test_what_is_no_containers_name_names_no_directory(
    former: Former, tmp_path: Path, ident: str
) -> None:
    assert former.ours(found(ident), paths.spool(tmp_path, "docker-1a2b3c4d"))
    assert [path.name for path in paths.spool(tmp_path, "").iterdir()] == ["docker"]
