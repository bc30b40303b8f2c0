"""Looks at what is in a wheel and a source distribution, and runs the guests in the wheel.

python .ci/check_dist.py WHEEL SDIST NEVER…

``NEVER`` are texts that no file may hold: directories of the machine that built them.
"""

import platform
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 2_000_000
#: ELF's e_machine, and what runs such a program on another machine (Debian: qemu-user-static).
MACHINES = {"x86_64": (62, "qemu-x86_64-static"), "aarch64": (183, "qemu-aarch64-static")}
PT_INTERP = 3

IN_WHEEL = (
    r"tfnz_notebook/py\.typed",
    r"tfnz_notebook/_guest/bin/guest-x86_64",
    r"tfnz_notebook/_guest/bin/guest-aarch64",
    *(rf"tfnz_notebook/widgets/static/{kind}\.js" for kind in ("output", "shell", "plot")),
    r"tfnz_notebook/widgets/static/explorer\.js",
    r"tfnz/location\.py",
    r"[^/]+\.data/data/etc/jupyter/jupyter_server_config\.d/tfnz-notebook\.json",
    r"[^/]+\.data/data/etc/ipython/startup/50-tfnz-notebook\.py",
    r"[^/]+\.dist-info/licenses/LICENSE",
    r"[^/]+\.dist-info/entry_points\.txt",
)
IN_SDIST = (
    *("pyproject.toml", "PKG-INFO", "README.md", "LICENSE", "CHANGELOG.md", ".ci/hatch_build.py"),
    *("tfnz_notebook/_guest/main.c", "tfnz_notebook/_guest/Makefile"),
    *("tfnz_notebook/_frontend/package-lock.json", "tfnz_notebook/widgets/static/made-from"),
    *(
        "tfnz_notebook/widgets/static/shell.js",
        "jupyter-config/ipython_startup/50-tfnz-notebook.py",
    ),
)
#: Neither holds these; the wheel none of the second line besides.
NOWHERE = r"(^|/)(tests?|notebooks|node_modules|__pycache__|\.git|\.venv|build)/|\.pyc$|\.log$"
NOT_IN_WHEEL = r"(^|/)(_frontend|_tfnz|\.ci)/|\.(c|h|ts|css|o)$|/Makefile$|made-from$"


class Wrong(Exception):
    """Not to be released."""


def files_of(path: Path) -> Iterator[tuple[str, bytes, bool]]:
    """Name (without the source distribution's own directory), content, executable."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            for info in wheel.infolist():
                yield info.filename, wheel.read(info), bool(info.external_attr >> 16 & 0o100)
    else:
        with tarfile.open(path) as sdist:
            for member in sdist:
                if not member.isfile():
                    raise Wrong(f"{path.name}: {member.name} is no plain file")
                content = sdist.extractfile(member)
                assert content is not None
                name = member.name.partition("/")[2]
                yield name, content.read(), bool(member.mode & 0o100)


def check(path: Path, needed: tuple[str, ...], unwanted: str, never: list[str]) -> int:
    """Its names and its contents; how many files it has."""
    names = []
    for name, content, _ in files_of(path):
        names.append(name)
        if found := re.search(unwanted, name):
            raise Wrong(f"{path.name} holds {name}, because of {found.group()!r}")
        for text in never:
            if text.encode() in content:
                raise Wrong(f"{path.name}: {name} names {text}, a directory of this machine")
    for pattern in needed:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise Wrong(f"{path.name} lacks {pattern}")
    return len(names)


def check_tag(path: Path) -> None:
    """One wheel for every machine; and the version is the one that the package says."""
    _, version, *tag = path.stem.split("-")
    if tag != ["py3", "none", "any"]:
        raise Wrong(f"{path.name} is tagged {'-'.join(tag)}, not py3-none-any")
    told = {name: content for name, content, _ in files_of(path)}
    if f'__version__ = "{version}"'.encode() not in told["tfnz_notebook/__init__.py"]:
        raise Wrong(f"{path.name} is not the version that tfnz_notebook/__init__.py says")


def check_guest(name: str, content: bytes) -> str:
    """A static program for its machine, and it runs; how that is known."""
    architecture = name.rpartition("guest-")[2]
    number, emulator = MACHINES[architecture]
    if content[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", content, 18)[0] != number:
        raise Wrong(f"{name} is no program for {architecture}")
    table, size, count = (
        *struct.unpack_from("<Q", content, 32),
        *struct.unpack_from("<HH", content, 54),
    )
    kinds = [struct.unpack_from("<I", content, table + size * n)[0] for n in range(count)]
    if PT_INTERP in kinds:
        raise Wrong(f"{name} is not static: it asks for a loader that a container may not have")
    before = [] if platform.machine() == architecture else [shutil.which(emulator)]
    if None in before:
        return "its headers read (no emulator here)"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "guest")
        program.write_bytes(content)
        program.chmod(0o755)
        command = [*(str(each) for each in before), str(program), "version"]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if said.returncode or not said.stdout.startswith("tfnz-guest "):
        raise Wrong(f"{name} does not run: {said.returncode}, {said.stdout}{said.stderr}")
    return f"ran{' in an emulator' if before else ''}: {said.stdout.strip()}"


def main(wheel: Path, sdist: Path, never: list[str]) -> None:
    """Everything; raises Wrong."""
    if wheel.stat().st_size > MOST_BYTES:
        raise Wrong(f"{wheel.name} has {wheel.stat().st_size:,} bytes, {MOST_BYTES:,} are the most")
    count = check(wheel, IN_WHEEL, f"{NOWHERE}|{NOT_IN_WHEEL}", never)
    check_tag(wheel)
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {count} files")
    for name, content, executable in files_of(wheel):
        if "/_guest/bin/" in name:
            if not executable:
                raise Wrong(f"{wheel.name}: {name} is not executable")
            print(f"  {name}: {len(content):,} bytes, {check_guest(name, content)}")
    needed = tuple(re.escape(name) for name in IN_SDIST)
    # The views' own tests are sources like any.
    unwanted = NOWHERE.replace("tests?", "tests").replace("|build)", ")")
    count = check(sdist, needed, unwanted, never)
    print(f"{sdist.name}: {sdist.stat().st_size:,} bytes, {count} files")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except Wrong as wrong:
        sys.exit(f"Cannot release: {wrong}.")
