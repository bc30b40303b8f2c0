"""The rules of the house: who may import whom, what rooms are called, what is never committed."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tfnz_notebook"

# --- who may import whom -------------------------------------------------------------------------

OBJECT_MODEL = {
    "location",
    "node",
    "container",
    "interpreter",
    "process",
    "tunnel",
    "volume",
    "image",
    "waits",
    "_container",
    "_location",
}
BELOW = {"_wire", "_base", "errors"}
KERNEL_SIDE = {"object model", "_calls", "_link"} | BELOW
# Each layer and those below it. A layer may always import itself and the package's version. Every
# import counts, those inside functions and those for the type checker included.
MAY_IMPORT = {
    "errors": set[str](),
    "_base": {"errors"},
    "_wire": {"_base", "errors"},
    "_link": BELOW,
    "_calls": {"_link"} | BELOW,
    "object model": {"_calls", "_link"} | BELOW,
    "plots": KERNEL_SIDE,
    "widgets": {"plots"} | KERNEL_SIDE,
    "magics": {"widgets", "plots"} | KERNEL_SIDE,
    "direct": {"_link"} | BELOW,  # in the Jupyter server: it has no objects
    "engines": set(BELOW),
    "agent": {"engines"} | BELOW,
    "_inside": set[str](),  # programs of containers, which have nothing of ours
    "_guest": set[str](),  # the C program, and at most the code that finds its binary
    "_tfnz": {"object model", "errors"},
    "__init__": {"object model", "magics", "widgets", "errors"},
    "_doctor": {"engines", "agent", "_link"} | BELOW,  # it looks at both sides
    "kernels": {"object model", "_calls"} | BELOW,  # in the Jupyter server
    "__main__": {"_doctor", "kernels", "errors"},
    # The public fakes join both sides, which is why nobody may import them.
    "testing": {"engines", "agent"} | KERNEL_SIDE,
}
# Who finds the guest's binary for an engine, or for its tests.
MAY_IMPORT["engines"].add("_guest")
MAY_IMPORT["agent"].add("_guest")


def layer_of(module: str) -> str:
    """The layer a dotted name below the package belongs to: ``_wire.guest`` is of ``_wire``."""
    first = module.split(".", 1)[0]
    return "object model" if first in OBJECT_MODEL else first


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts), path


def imported_by(module: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name below the package of each import of our own."""
    own = "tfnz_notebook"
    package = [own, *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from tfnz_notebook import location` names a module, or something of __init__'s
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == own or name.startswith(own + "."):
                yield node.lineno, name[len(own) + 1 :]


def misplaced_imports(module: str, source: str) -> list[str]:
    layer = layer_of(module)
    allowed = MAY_IMPORT[layer] | {layer}
    found = []
    for line, name in imported_by(module, source):
        target = layer_of(name)
        if target in MAY_IMPORT and target not in allowed:
            found.append(f"tfnz_notebook.{module}:{line}: {layer} imports {target} ({name})")
    return found


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("agent.server", "from tfnz_notebook.engines import docker", False),
        ("agent.server", "from tfnz_notebook import __version__", False),
        ("agent.server", "from tfnz_notebook import _link", True),
        ("_link.portal", "def f():\n    import tfnz_notebook.agent.server", True),
        ("_link.portal", "from .._wire import link", False),
        ("_link.portal", "from ..agent import server", True),
        ("location", "from . import node, _link", False),
        ("location", "from .widgets.shell import Shell", True),
        ("widgets.shell", "from tfnz_notebook.process import Process", False),
        ("magics.run", "from ..testing import Fake", True),
    ],
)
def test_the_check_of_imports_sees_what_it_should(module: str, source: str, wrong: bool) -> None:
    assert bool(misplaced_imports(module, source)) is wrong


def test_every_module_belongs_to_a_layer() -> None:
    strangers = [name for name, _ in modules() if layer_of(name) not in MAY_IMPORT]
    assert not strangers, f"give them a place in MAY_IMPORT: {strangers}"


def test_imports_go_one_way() -> None:
    wrong = [
        fault
        for name, path in modules()
        if layer_of(name) in MAY_IMPORT
        for fault in misplaced_imports(name, path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


# --- what rooms and modules are called -----------------------------------------------------------

#: Files in one folder beyond which a newcomer hesitates; and where there are more, why.
MOST_FILES = 13
FULLER = dict[str, str]()


def stem(name: str) -> str:
    """What two forms of one word have in common: ``ending`` and ``ends`` are both ``end``."""
    for suffix in ("ings", "ing", "ers", "er", "ors", "or", "ies", "es", "ed", "s", "y", "e"):
        if name.endswith(suffix) and len(name) - len(suffix) >= 3:
            name = name[: -len(suffix)]
            break
    # run, runner
    return name[:-1] if len(name) > 3 and name[-1] == name[-2] else name


def forms_of_one_word(folders: dict[str, set[str]]) -> list[str]:
    """Pairs of neighbours with one stem and two names; ``folders``: a path, and what is in it."""
    found = []
    for path, names in folders.items():
        beside = set(names)
        for other, inside in folders.items():
            # Rooms of one folder are neighbours, and a folder and its rooms.
            if other != path and other.rpartition("/")[0] in (path, path.rpartition("/")[0]):
                beside |= inside
        for name in sorted(names):
            found += [
                f"{path}/{name} and {other}"
                for other in sorted(beside)
                if name < other and stem(name) == stem(other)
            ]
    return found


def test_the_check_of_names_sees_what_it_should() -> None:
    assert forms_of_one_word({"agent": {"ending", "ends", "log"}}) == ["agent/ending and ends"]
    assert forms_of_one_word({"a": {"x"}, "a/b": {"reader"}, "a/c": {"reads"}})
    assert forms_of_one_word({"a/b": {"runner"}, "a/c": {"run"}})
    assert not forms_of_one_word({"a/b": {"log"}, "a/c": {"log"}, "d": {"logs"}})


def rooms() -> dict[str, set[str]]:
    folders: dict[str, set[str]] = {}
    for _, path in modules():
        if path.stem not in ("__init__", "__main__"):
            folder = path.parent.relative_to(PACKAGE.parent).as_posix()
            folders.setdefault(folder, set()).add(path.stem)
    return folders


def test_no_neighbours_are_named_by_forms_of_one_word() -> None:
    assert not forms_of_one_word(rooms())


def test_no_room_is_crowded() -> None:
    crowded = {path: len(names) for path, names in rooms().items() if len(names) > MOST_FILES}
    assert crowded.keys() == FULLER.keys()


# --- what an import costs ------------------------------------------------------------------------

HEAVY = {
    "widgets": {"ipywidgets", "anywidget", "traitlets", "IPython", "ipykernel"},
    "HTTP": {"h11", "httpx", "aiohttp", "requests", "urllib3", "tornado", "http.client"},
    "numbers": {"pandas", "numpy", "matplotlib"},
}


def loaded_by(statement: str) -> set[str]:
    """The modules a fresh interpreter has loaded after one statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("kind", HEAVY)
def test_importing_the_package_loads_no_heavy_library(kind: str) -> None:
    loaded = loaded_by("import tfnz_notebook, tfnz")
    assert not HEAVY[kind] & loaded


def test_the_object_model_needs_no_notebook_and_the_agent_no_kernel_side() -> None:
    assert not (HEAVY["widgets"] | HEAVY["HTTP"]) & loaded_by("import tfnz_notebook.location")
    agent = loaded_by("import tfnz_notebook.agent.__main__")
    assert not {name for name in agent if name.startswith("tfnz_notebook._link")}
    assert not HEAVY["widgets"] & agent


def test_the_alias_names_the_same_classes() -> None:
    loaded_by(
        "from tfnz.location import Location\n"
        "from tfnz.node import Node\n"
        "from tfnz.container import Container\n"
        "from tfnz.process import Process\n"
        "from tfnz.tunnel import Tunnel\n"
        "from tfnz.volume import Volume\n"
        "import tfnz_notebook.location as original\n"
        "assert Location is original.Location\n"
        "from tfnz import *\n"
        "assert Location is original.Location is location.Location"
    )


# --- what is committed ---------------------------------------------------------------------------

TOP_LEVEL = {
    *("tfnz_notebook", "notebooks", "tests", "docs", "jupyter-config", ".ci"),
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile"),
    *(".gitignore",),
}

# Each machine's package clients know their own index; a path of one machine is wrong on the next.
NEVER = {
    "a package index": re.compile(
        r"pypi\.org|pythonhosted\.org|registry\.npmjs|npmjs\.org|registry\.yarnpkg|deb\.debian\.org"
        r"|security\.debian\.org|snapshot\.debian\.org|archive\.ubuntu\.com|pkg\.dev\b|[a]rtifactory"
    ),
    "a machine's path": re.compile(
        r"(?<![\w.])/work/(main|shared|\.)|/root/\.(pyenv|cargo|cache|config|pip|local|npm)"
        r"|(?<![\w.])/home/[a-z]\w*/\.?\w|/opt/(wheels|pypi)"
    ),
}


def committed() -> list[Path]:
    """What git tracks, and what it would if everything were added."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_the_top_level_holds_what_the_design_names() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in committed()} <= TOP_LEVEL


@pytest.mark.parametrize("what", NEVER)
def test_nothing_committed_names(what: str) -> None:
    found = []
    for path in committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture, a golden vector
        for number, line in enumerate(text.splitlines(), 1):
            if match := NEVER[what].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert not found, "\n".join(found)
