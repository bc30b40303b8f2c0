"""Kernelspecs of kernels in containers: what is made of flags, and whose are whose."""

import json
from pathlib import Path

import pytest

from tfnz_notebook.__main__ import main
from tfnz_notebook.kernels import launcher, provisioner


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Jupyter's data, and images of which all have what a kernel needs."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(launcher, "_probe", lambda where, image, options: ("3.14", True))
    return tmp_path / "kernels"


def test_added_listed_removed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "kernel add Lab/image:3.14 --where docker --memory 2g --gpus all -e A=b"
    assert main([*words.split(), "-v", "data:/data", "-v", ".:/here"]) == 0
    told = json.loads((home / "lab-image-3.14" / "kernel.json").read_text())
    assert told["display_name"] == "Python 3.14 (Lab/image:3.14)"
    assert told["metadata"]["kernel_provisioner"] == {
        "provisioner_name": "tfnz-notebook",
        "config": {
            "image": "Lab/image:3.14",
            "where": "docker",
            "options": {
                "memory": "2g",
                "gpus": "all",
                "volume": ["data:/data", f"{Path.cwd()}:/here"],
                "env": {"A": "b"},
            },
        },
    }
    assert (home / "lab-image-3.14" / "logo-64x64.png").exists()
    capsys.readouterr()
    assert main(["kernel", "list"]) == 0
    assert "lab-image-3.14  Python 3.14 (Lab/image:3.14)" in capsys.readouterr().out
    assert main(["kernel", "remove", "lab-image-3.14"]) == 0
    assert not any(home.iterdir())


def test_what_is_wrong_is_one_sentence_and_leaves_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = home / "somebodys"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(
        json.dumps({"argv": ["x"], "display_name": "X", "language": "x"})
    )
    for words, says in (
        ("add image --memory lots", "Cannot spawn a container"),
        ("add image --name a/b", "Give another --name."),
        ("add image --name somebodys", "it is none of a container"),
        ("remove somebodys", "none of that name runs in a container"),
        ("remove none", "none of that name runs in a container"),
    ):
        assert main(["kernel", *words.split()]) == 1, words
        said = capsys.readouterr()
        assert says in said.err and not said.out, words
    assert [each.name for each in home.iterdir()] == ["somebodys"]


def test_why_a_kernel_ended_before_it_listened() -> None:
    for code, said, says in (
        (1, b"/usr/bin/python3: No module named ipykernel_launcher\n", "it has no ipykernel. Use"),
        (127, b"/bin/sh: 1: exec: python3: not found\n", "exec: python3: not found"),
        (2, b"sh: cannot create /tmp/kernel-1.json: Read-only file system\n", "Read-only file"),
        (-9, b"", "it was ended by SIGKILL (9) before it listened. It said nothing."),
    ):
        assert says in str(provisioner._failed("an-image", code, said))
