"""The reference: every public name is in it, with a docstring and types; its examples are true."""

import doctest
import importlib
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tfnz_notebook._calls import faces as portal
from tfnz_notebook.location import Location
from tfnz_notebook.magics.registered import MAGICS

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / ".ci" / "reference.py"

#: Rooms that users do not import: the kernel's side behind the objects, the agent's
#: side, what Jupyter loads.
INTERNAL = {"agent", "direct", "engines", "kernels", "widgets"}


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tfnz_reference", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = _script()
MODULES = [importlib.import_module(f"tfnz_notebook.{name}") for name in REFERENCE.MODULES]


def public(module: ModuleType) -> list[str]:
    """The public names that a module defines, or says it has."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
    ]
    return [name for name in own if not name.startswith("_")]


CLASSES = [vars(module).get(name) for module in MODULES for name in public(module)]


def documented() -> Iterator[tuple[str, str, ModuleType]]:
    """Name, docstring and module of everything public, members of classes included."""
    for module in MODULES:
        yield module.__name__, inspect.getdoc(module) or "", module
        for name in public(module):
            value = getattr(module, name)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
            yield f"{module.__name__}.{name}", inspect.getdoc(value) or "", module
            for key in dir(value) if inspect.isclass(value) else ():
                if key.startswith("_") or issubclass(value, portal.Twin):
                    continue
                member = inspect.getattr_static(value, key)
                told = isinstance(member, property | portal.face) or inspect.isroutine(member)
                doc = (member.__doc__ or "") if told else ""  # a value's is its type's
                # What was inherited from Python itself, Python documents; from a class that has
                # a place of its own, that place.
                origin = next(c for c in value.__mro__ if key in vars(c))
                elsewhere = origin is not value and origin in CLASSES
                if origin.__module__.startswith("tfnz_notebook") and not elsewhere:
                    yield f"{module.__name__}.{name}.{key}", inspect.cleandoc(doc), module


DOCUMENTED = list(documented())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference as `make docs` makes it, which fails where a docstring or a type is missing."""
    out = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-P", str(SCRIPT), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "tfnz_notebook"


def test_every_public_name_is_on_its_page(pages: Path) -> None:
    ids = {
        module.__name__: set(
            re.findall(
                r'id="([\w.]+)"',
                (pages / f"{module.__name__.removeprefix('tfnz_notebook.')}.html").read_text(),
            )
        )
        for module in MODULES
    }
    assert len(DOCUMENTED) > 200
    missing = [
        name
        for name, _, module in DOCUMENTED
        if name != module.__name__
        and name.removeprefix(f"{module.__name__}.") not in ids[module.__name__]
    ]
    assert not missing


def test_the_pages_load_nothing_from_elsewhere_and_leave_no_markup(pages: Path) -> None:
    for page in pages.glob("*.html"):
        text = page.read_text()
        assert not re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//[^"]*', text), page.name
        assert not re.findall(r":(?:meth|class|attr|mod|func|param)\b", text), page.name


def test_every_public_module_has_a_page() -> None:
    package = ROOT / "tfnz_notebook"
    rooms = {path.stem for path in package.glob("*.py")}
    rooms |= {path.parent.name for path in package.glob("*/__init__.py")}
    # plots' and magics' modules are behind their own __init__
    assert {name for name in rooms if not name.startswith("_")} == {*REFERENCE.MODULES, *INTERNAL}


def test_what_is_missing_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tfnz_sample.py").write_text(
        "'''A module.'''\n"
        "class Fine:\n"
        "    '''A class.'''\n"
        "    def method(self, a: int) -> int:\n"
        "        '''A method.'''\n"
        "        return a\n"
        "    def silent(self) -> None: ...\n"
        "    def loose(self, a, b: int) -> int:\n"
        "        '''Says nothing of a.'''\n"
        "        return b\n"
        "def endless(a: int):\n"
        "    '''Says nothing of what it returns.'''\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sample = REFERENCE.pdoc.doc.Module.from_name("tfnz_sample")
    assert sorted(REFERENCE.faults(sample)) == [
        "tfnz_sample.Fine.loose(a, b: int) -> int is not typed",
        "tfnz_sample.Fine.silent has no docstring",
        "tfnz_sample.endless(a: int) is not typed",
    ]


def test_references_lead_somewhere() -> None:
    names = {name for name, _, _ in DOCUMENTED}
    names |= {name.removeprefix(f"{module.__name__}.") for name, _, module in DOCUMENTED}
    found = [
        (name, {target, f"{name.removeprefix(f'{module.__name__}.').partition('.')[0]}.{target}"})
        for name, doc, module in DOCUMENTED
        for target in re.findall(r":(?:meth|class|attr|mod|func):`([^`]+)`", doc)
    ]
    assert found
    assert not [(name, targets) for name, targets in found if not targets & names]


@pytest.mark.parametrize("magic", MAGICS, ids=lambda magic: magic.name)
def test_every_magic_says_what_it_does(magic: Any) -> None:
    text = magic.parser.format_help()
    assert f"%{magic.name}" in text
    assert magic.parser.description
    silent = [each.dest for each in magic.parser._actions if not each.help]
    assert not silent, f"options without a word of help: {silent}"


# --- the examples --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fake() -> Iterator[Location]:
    """A location over the engine in memory, with an agent of its own."""
    home = Path(tempfile.mkdtemp(prefix="tfnz-"))  # short enough for a socket's path
    with pytest.MonkeyPatch.context() as patch:
        for name in ("runtime", "state", "config"):
            (home / name).mkdir(mode=0o700)
            patch.setenv(f"TFNZ_{name.upper()}", str(home / name))
        location = Location("fake")
        try:
            yield location
        finally:
            location.disconnect()
            stop = [sys.executable, "-P", "-m", "tfnz_notebook.agent", "stop"]
            subprocess.run(stop, capture_output=True, check=True, timeout=60)
            shutil.rmtree(home, ignore_errors=True)


EXAMPLES = [(name, doc, module) for name, doc, module in DOCUMENTED if ">>>" in doc]


def test_there_are_examples_of_what_is_used_most() -> None:
    names = {name.removeprefix("tfnz_notebook.") for name, _, _ in EXAMPLES}
    used_most = {
        *("location", "node.Node.spawn_container", "volume.Volume", "plots", "testing"),
        *("container.Container.spawn_process", "container.Container.attach_tunnel"),
        "process.Process",
    }
    assert not used_most - names


@pytest.mark.parametrize(
    ("name", "doc", "module"),
    [pytest.param(*example, id=example[0]) for example in EXAMPLES],
)
def test_an_example_is_true(name: str, doc: str, module: ModuleType, fake: Location) -> None:
    node = fake.best_node()
    container = node.spawn_container("debian", sleep=True)
    known = {**vars(module), "location": fake, "node": node, "container": container}
    test = doctest.DocTestParser().get_doctest(doc, known, name, module.__file__, 0)
    said: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append)
    container.destroy()
    assert found.attempted and not found.failed, "".join(said)
