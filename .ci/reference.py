"""Makes the API reference of the docstrings: ``python .ci/reference.py OUTPUT_DIRECTORY``.

One page a public module, and one of the magics, made of what ``%tf_run?`` shows. Nothing is loaded
from elsewhere, neither now nor by the pages.
"""

import functools
import html
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pdoc
import pdoc.doc
import pdoc.docstrings
import pdoc.render

from tfnz_notebook._calls.faces import Closed, Twin, face
from tfnz_notebook.magics.registered import MAGICS

PACKAGE = "tfnz_notebook"
#: What users import; everything else is ours to change.
MODULES = (
    *("location", "node", "container", "process", "interpreter", "tunnel", "volume", "image"),
    *("waits", "errors", "plots", "magics", "testing"),
)

#: Module and name of the classes that the pages show.
_shown: set[tuple[str, str]] = set()
_theirs = pdoc.doc.Class.own_members.func


_rst = pdoc.docstrings.rst


def _markdown(text: str, source: Path | None) -> str:
    """What pdoc does not read as it is meant: blocks after ``::``, fields that hold a colon."""
    text = re.sub(r"^(.*\S)::$(?=\n\n)", r"\1:", text, flags=re.MULTILINE)
    text = re.sub(r"^::\n\n", "", text, flags=re.MULTILINE)
    return _rst(re.sub(r"^:param (\w+):", r"- **\1**:", text, flags=re.MULTILINE), source)


def _own_members(self: pdoc.doc.Class) -> list[pdoc.doc.Doc]:
    """Members that bases brought, too, of which pdoc gives names alone: ours are made of such."""
    if issubclass(self.obj, Twin):
        return []
    found = list(_theirs(self))
    for (module, base), members in self.inherited_members.items():
        if module.startswith(PACKAGE) and (module, base) not in _shown:
            found += members
    # Nobody but its parent makes one of ours, and nobody at all a protocol.
    closed = isinstance(self.obj, Closed) or getattr(self.obj, "_is_protocol", False)
    return [each for each in found if not (closed and each.name == "__init__")]


def _blocking(method: face, owner: type) -> Any:
    """The face that blocks, as a function like any other."""
    function = method.__get__(None, owner)

    def shown(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    functools.update_wrapper(shown, function)
    del shown.__wrapped__  # the coroutine, as which it would be shown
    shown.__signature__ = inspect.signature(function)
    return shown


def _prepare() -> None:
    """Change the public classes, in this process, into what pdoc understands.

    Functions instead of our descriptors; and a class is called what its public module calls it.
    """
    for name in MODULES:
        module = importlib.import_module(f"{PACKAGE}.{name}")
        for called, value in list(vars(module).items()):
            if not isinstance(value, type):
                continue
            if called in getattr(module, "__all__", ()):
                value.__qualname__ = called
            elif value.__module__ != module.__name__:
                continue
            _shown.add((value.__module__, value.__qualname__))
            for owner in value.__mro__:
                for key, method in list(vars(owner).items()):
                    if isinstance(method, face):
                        setattr(owner, key, _blocking(method, owner))


def _of_the_magics() -> str:
    """The page of the magics: the help of each."""
    parts = ["The magics; `%tf_run?` tells the same. They come with `%load_ext tfnz_notebook`."]
    for magic in MAGICS:
        forms = [f"%{magic.name}"] if magic.line else []
        forms += [f"%%{magic.name}"] if magic.cell else []
        text = html.escape(magic.parser.format_help().rstrip())
        parts.append(f"## {', '.join(forms)}\n\n<pre>{text}</pre>")
    return "\n\n".join(parts)


def faults(parent: pdoc.doc.Module | pdoc.doc.Class) -> Iterator[str]:
    """Public names without a docstring, without types."""
    for each in parent.own_members:
        public = not each.name.startswith("_")
        if public and isinstance(each, pdoc.doc.Class):
            yield from faults(each)
        if public and not each.docstring:
            yield f"{each.fullname} has no docstring"
        if isinstance(each, pdoc.doc.Function) and (public or each.name == "__init__"):
            method = isinstance(parent, pdoc.doc.Class)
            signature = each.signature_without_self if method else each.signature
            given = [one.annotation for one in signature.parameters.values()]
            answer = None if each.name == "__init__" else signature.return_annotation
            if inspect.Signature.empty in (*given, answer):
                yield f"{each.fullname}{signature} is not typed"


def make(out: Path) -> list[str]:
    """Write the pages; what is wrong with them, as a type that cannot be resolved."""
    pdoc.docstrings.rst = _markdown
    pdoc.doc.Class.own_members = property(_own_members)
    _prepare()
    importlib.import_module(f"{PACKAGE}.magics").__doc__ = _of_the_magics()
    pdoc.render.configure(docformat="restructuredtext", show_source=False)
    names = [f"{PACKAGE}.{name}" for name in MODULES]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pdoc.pdoc(*names, output_directory=out)
    return [fault for name in names for fault in faults(pdoc.doc.Module.from_name(name))]


if __name__ == "__main__":
    wrong = make(Path(sys.argv[1]))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"reference: {len(MODULES)} pages, {Path(sys.argv[1]) / 'index.html'}")
    sys.exit(bool(wrong))
