"""What `make dist` lets through, and what it does not."""

import io
import runpy
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tfnz_notebook import __version__

ROOT = Path(__file__).resolve().parents[2]
CHECK = runpy.run_path(str(ROOT / ".ci" / "check_dist.py"))
Wrong = CHECK["Wrong"]
NAME = f"tfnz_notebook-{__version__}"


def elf(machine: int, *segments: int) -> bytes:
    """The headers of a 64-bit little-endian program with segments of these kinds."""
    head = b"\x7fELF\x02\x01".ljust(16, b"\0") + struct.pack("<HHIQQQ", 2, machine, 1, 0, 64, 0)
    head += struct.pack("<IHHHHHH", 0, 64, 56, len(segments), 0, 0, 0)
    return head + b"".join(struct.pack("<I", kind).ljust(56, b"\0") for kind in segments)


def in_wheel() -> dict[str, bytes]:
    """Everything that has to be there."""
    data, info = f"{NAME}.data/data/etc", f"{NAME}.dist-info"
    names = [
        *("tfnz_notebook/py.typed", "tfnz/location.py", "tfnz_notebook/magics/run.py"),
        *(f"tfnz_notebook/_guest/bin/guest-{each}" for each in CHECK["MACHINES"]),
        *(f"tfnz_notebook/widgets/static/{k}.js" for k in ("output", "shell", "plot", "explorer")),
        *(f"{data}/jupyter/jupyter_server_config.d/tfnz-notebook.json",),
        *(f"{data}/ipython/startup/50-tfnz-notebook.py",),
        *(f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"),
    ]
    version = f'__version__ = "{__version__}"'.encode()
    return {"tfnz_notebook/__init__.py": version, **dict.fromkeys(names, b"text")}


@pytest.fixture
def wheel(tmp_path: Path) -> Callable[..., Path]:
    """Makes a wheel of what is needed and more, or less."""

    def make(*without: str, tag: str = "py3-none-any", **more: bytes) -> Path:
        path = tmp_path / f"{NAME}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as file:
            for name, content in {**in_wheel(), **more}.items():
                if name not in without:
                    file.writestr(name, content)
        return path

    return make


def check(path: Path, *never: str) -> int:
    unwanted = f"{CHECK['NOWHERE']}|{CHECK['NOT_IN_WHEEL']}"
    return int(CHECK["check"](path, CHECK["IN_WHEEL"], unwanted, list(never)))


def test_a_whole_wheel_passes(wheel: Callable[..., Path]) -> None:
    path = wheel()
    assert check(path, "/somewhere") == len(in_wheel())
    CHECK["check_tag"](path)


@pytest.mark.parametrize("name", [n for n in in_wheel() if "magics" not in n and "__init" not in n])
def test_what_is_missing_is_missed(wheel: Callable[..., Path], name: str) -> None:
    with pytest.raises(Wrong, match="lacks"):
        check(wheel(name))


@pytest.mark.parametrize(
    "name",
    [
        *("tests/unit/test_house.py", "tfnz_notebook/_guest/main.c", "notebooks/01.ipynb"),
        *("tfnz_notebook/_frontend/src/hub.ts", "tfnz_notebook/_tfnz/__init__.py"),
        *("tfnz_notebook/__pycache__/x.pyc", "tfnz_notebook/widgets/static/made-from"),
        *("build/wheel.log", ".ci/hatch_build.py", "tfnz_notebook/_guest/Makefile"),
    ],
)
def test_what_does_not_belong_there(wheel: Callable[..., Path], name: str) -> None:
    with pytest.raises(Wrong, match="holds"):
        check(wheel(**{name: b""}))


def test_no_path_of_the_machine_that_built_it(wheel: Callable[..., Path]) -> None:
    path = wheel(**{"tfnz_notebook/_guest/bin/guest-x86_64": b"\0/build/here/main.c\0"})
    with pytest.raises(Wrong, match="guest-x86_64 names /build/here"):
        check(path, "/build/here")


def test_the_tag_and_the_version(wheel: Callable[..., Path]) -> None:
    with pytest.raises(Wrong, match="py3-none-any"):
        CHECK["check_tag"](wheel(tag="py3-none-linux_x86_64"))
    with pytest.raises(Wrong, match="not the version"):
        CHECK["check_tag"](wheel(**{"tfnz_notebook/__init__.py": b'__version__ = "9"'}))


def test_a_guest_is_a_static_program_for_its_machine() -> None:
    load, interpreter = 1, 3
    guest = "guest-x86_64"
    with pytest.raises(Wrong, match="no program for x86_64"):
        CHECK["check_guest"](guest, elf(183, load))
    with pytest.raises(Wrong, match="not static"):
        CHECK["check_guest"](guest, elf(62, load, interpreter))
    with pytest.raises(Wrong, match="no program"):
        CHECK["check_guest"](guest, b"#!/bin/sh\n")


def test_a_link_in_a_source_distribution(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo(f"{NAME}/README.md")
        file.addfile(member, io.BytesIO())
        member = tarfile.TarInfo(f"{NAME}/evil")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(member)
    with pytest.raises(Wrong, match="no plain file"):
        CHECK["check"](path, (), "x^", [])
