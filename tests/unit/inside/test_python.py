"""The interpreter that goes into containers: real ones of this machine, in no container.

Where nothing else is said, each test is for both: a Python alone, and one that has ipykernel.
"""

import ast
import base64
import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.inside import arrow
from unit.inside.driven import Driven, stopped, text_of, unstyled

import tfnz_notebook
from tfnz_notebook._wire.cells import Said, Table

#: What IPython takes seconds for, or fails at itself.
SHOWN_ALONE = (
    ("def g(): g()\ng()", "RecursionError"),
    ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E"),
)
#: As much of it as a backend has to do with.
MATPLOTLIB = {
    "__init__.py": "rcParams = {'backend': object()}\ndef use(name): rcParams['backend'] = name",
    "figure.py": "class Figure:\n    def savefig(self, file, **how): file.write(b'a figure')",
    "backend_bases.py": "class FigureManagerBase: pass",
    "backends/backend_agg.py": "class FigureCanvasAgg: pass",
    "pyplot.py": "import importlib\nfrom . import rcParams\nfrom .figure import Figure\n"
    "drawn, module = {}, importlib.import_module(rcParams['backend'][len('module://'):])\n"
    "class Backend: locals().update(vars(module))\n"
    "Backend.FigureCanvas, Backend.FigureManager\n"
    "def figure(number): return drawn.setdefault(number, Figure())\n"
    "def get_fignums(): return sorted(drawn)\ndef close(which): drawn.clear()\n"
    "show = Backend.show",
}
SOURCE = Path(tfnz_notebook.__file__).parent / "_inside" / "python.py"


class Kept(contextlib.ExitStack):
    """One of a kind, for tests that leave it as it was."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.made: Driven | None = None


@pytest.fixture(scope="module", params=["python", "ipykernel"])
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    with Kept(request.param) as made:
        yield made


@pytest.fixture
def python(kept: Kept, request: pytest.FixtureRequest) -> Iterator[Driven]:
    """The next test has another if this one failed."""
    if kept.made is None:
        kept.made = kept.enter_context(Driven(kept.kind))
    failed = request.session.testsfailed
    yield kept.made
    if request.session.testsfailed == failed:  # a thread would be in the way of the next
        while kept.made.value("__import__('threading').active_count()") != "1":
            pass
    else:
        kept.close()
        kept.made = None


alone = pytest.mark.parametrize("kept", ["python"], indirect=True)
with_ipykernel = pytest.mark.parametrize("kept", ["ipykernel"], indirect=True)


def test_it_is_a_program_of_python_3_8() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 8))


def test_it_imports_only_what_stripped_images_have() -> None:
    """Debian's python3-minimal has neither json nor asyncio."""
    tree = ast.parse(SOURCE.read_text())
    names = {
        name.partition(".")[0]
        for node in tree.body
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names <= {
        *("__future__", "ast", "builtins", "collections", "io", "linecache", "os", "re"),
        *("signal", "sys", "types", "typing"),
    }


def test_the_last_expression_is_the_value(python: Driven) -> None:
    for code, value in (
        ("1+1", "2"),
        ("x = 5", None),
        ("x", "5"),
        ("x;", None),
        ("None", None),
        ("x += 1\n# a comment\nx", "6"),
        ("_", "6"),
        ("'\\x1b[31m\\0é😀\\ud800'", repr("\x1b[31m\0é😀\ud800")),
        ("__name__", "'__main__'"),
        ("class A: pass\nimport pickle\ntype(pickle.loads(pickle.dumps(A()))) is A", "True"),
        ("", None),
    ):
        assert python.value(code) == value, code


@alone
def test_long_values_go_over_several_lines(python: Driven) -> None:
    for code, value in (
        ("list(range(30))", "[" + ",\n ".join(map(str, range(30))) + "]"),
        ("('a' * 90,)", f"('{'a' * 90}',)"),
        ("{'a': list(range(40))}", "{'a': [" + ",\n       ".join(map(str, range(40))) + "]}"),
        ("list(range(2000))", "[" + ",\n ".join([*map(str, range(1000)), "..."]) + "]"),
    ):
        assert python.value(code) == value, code
    assert python.value("a = [1] * 50; a.append(a); a").startswith("[1,\n 1,")  # it has an end


def test_text_comes_in_order_and_stderr_is_told_apart(python: Driven) -> None:
    said = python.finish(
        python.start(
            "import os, sys\nprint('one')\nprint('two', file=sys.stderr)\n"
            "os.system('echo three; echo four >&2')\nsys.stdout.write('five')\n"
            "sys.stdout.buffer.write(b'\\xff')\ndisplay(6)\nprint('seven')"
        )
    )
    assert text_of(said) == b"one\ntwo\nthree\nfour\nfive\xffseven\n"
    assert text_of(said, 2) == b"two\n"
    shown = next(place for place, each in enumerate(said) if not isinstance(each, Said))
    assert text_of(said[:shown]).endswith(b"five\xff")
    assert text_of(said[shown:]) == b"seven\n"


def test_the_next_cell_begins_where_one_ends_if_it_is_the_one(python: Driven) -> None:
    for cell, after, marks in (
        ("a", "b", [("a", 0), ("a", 1), ("b", 0)]),
        ("b", "c", [("b", 1), ("c", 0)]),
        ("d", "", [("d", 0), ("d", 1)]),
        ("c", "", [("c", 0), ("c", 1)]),
    ):
        python.say(python.program.run(cell, "1", "", after=after))
        seen: list[tuple[str, int]] = []
        while len(seen) < len(marks):
            data = b"".join(data for stream, data in python.heard() if stream == 1)
            seen += [(each.cell, each.number) for each in python._text.feed(data) if each.cell]
        assert seen == marks


def test_text_comes_as_it_is_written(python: Driven) -> None:
    """An interrupt on seeing half a line: without its end, and without a flush."""
    code = "import time\nprint('half a line', end='')\ntime.sleep(60)"
    text, done = python.run(code, when=stopped(python, b"half a line"))
    assert text == b"half a line"
    assert done["error"]["name"] == "KeyboardInterrupt"


def test_what_any_object_says_of_itself(python: Driven) -> None:
    code = """
class Thing:
    def _repr_html_(self): return '<b>bold</b>'
    def _repr_png_(self): return b'PNG', {'width': 5}
    def _repr_svg_(self): raise NotImplementedError
    def _repr_json_(self): return {'a': [1, 2.5, None, float('nan'), object]}
    def __repr__(self): return 'a thing'
class Bundle:
    def _repr_mimebundle_(self, **asked): return {'text/plain': 'said', 'a/b': 'c'}
class Broken:
    def _repr_html_(self): raise ValueError('no html')
    def __repr__(self): return 'broken'
"""
    python.run(code)
    _, done = python.run("Thing()")
    assert done["value"]["data"] == {
        "text/html": "<b>bold</b>",
        "image/png": base64.b64encode(b"PNG").decode(),
        "application/json": {"a": [1, 2.5, None, None, "<class 'object'>"]},
        "text/plain": "a thing",
    }
    _, done = python.run("Bundle()")
    assert done["value"]["data"] == {"text/plain": "said", "a/b": "c"}
    text, done = python.run("Broken()")
    assert done["value"]["data"] == {"text/plain": "broken"}
    assert "ValueError: no html" in unstyled(text.decode())
    assert "Thing" in python.value("Thing")  # a class is not one of its objects


def test_what_is_too_large_is_cut_or_left_out_and_said(python: Driven) -> None:
    _, done = python.run("print('x' * 10); 'y' * (3 << 20)")
    assert len(done["value"]["data"]["text/plain"]) == 1 << 20
    assert done["value"]["left"] == [("text/plain", (2 << 20) + 2)]
    code = (
        "class Big:\n    def _repr_png_(self): return bytes(9 << 20)\n"
        "    def __repr__(self): return 'big'\nBig()"
    )
    _, done = python.run(code)
    assert done["value"]["data"] == {"text/plain": "big"}
    assert done["value"]["left"] == [("image/png", 9 << 20)]
    code = (
        "class Many:\n    def _repr_mimebundle_(self, **asked):\n"
        "        return {f'a/{n}': 'x' * n for n in range(1000)}\nMany()"
    )
    _, done = python.run(code)
    data, left = done["value"]["data"], done["value"]["left"]
    assert len(data) == len(left) == 30 and "text/plain" in data and left[0] == ("a/29", 29)


@alone
def test_figures_are_pictures(python: Driven, tmp_path: Path) -> None:
    """Of a matplotlib that asks its backend as the real one does: none is installed here."""
    for name, code in MATPLOTLIB.items():
        path = tmp_path / "matplotlib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    python.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    picture = {"image/png": base64.b64encode(b"a figure").decode()}
    for code, text, shown in (
        ("from matplotlib import pyplot\none = pyplot.figure(1)\nprint('text')", b"text\n", 1),
        ("pyplot.figure(1); pyplot.show(); print('after')", b"after\n", 1),
        ("one", b"", 1),  # its value
        (
            "two = pyplot.figure(2)\npyplot.figure(3)\ntwo",
            b"",
            2,
        ),  # the one that is its value, once
        ("pyplot.get_fignums()", b"", 0),
        ("import os; os.environ.get('MPLBACKEND')", b"", 0),  # what a cell starts has none of ours
    ):
        said = python.finish(python.start(code))
        values = [each["value"] for each in said if isinstance(each, dict) and each["value"]]
        found = [each["data"] for each in values if "image/png" in each["data"]]
        assert text_of(said) == text, code
        assert [each.items() >= picture.items() for each in found] == [True] * shown, code


def test_tracebacks_have_the_cells_own_lines_and_none_of_ours(python: Driven) -> None:
    python.run("def f(x):\n    return 1 / x")
    _, done = python.run("a = 1\nf(0)")
    trace = unstyled(done["error"]["trace"])
    assert (done["error"]["name"], done["error"]["text"]) == (
        "ZeroDivisionError",
        "division by zero",
    )
    assert " f(0)\n" in trace and "    return 1 / x\n" in trace
    assert "tfnz" not in trace
    _, done = python.run("a = 1\na + (1 / 0)")
    newer = python.value("import sys; sys.version_info >= (3, 11)") == "True"
    if newer and python.kind == "python":
        assert "    a + (1 / 0)\n         ~~^~~\n" in done["error"]["trace"]
    for code, name in (
        ("for i in", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("raise ValueError('x' * 10_000_000)", "ValueError"),
        *(SHOWN_ALONE if python.kind == "python" else ()),
    ):
        _, done = python.run(code)
        assert done["error"]["name"] == name
        assert len(done["error"]["trace"]) < 70_000
        assert "tfnz" not in done["error"]["trace"]
    assert python.value("a") == "1"


def test_input_asks_who_runs_the_cell(python: Driven) -> None:
    said = python.finish(
        python.start("print('before')\nname = input('who? ')\nname"), answer="me é"
    )
    asked = next(each for each in said if isinstance(each, dict))
    assert (asked["is_"], asked["prompt"], asked["hidden"]) == ("ask", "who? ", False)
    assert said[-1]["value"]["data"]["text/plain"] == "'me é'"  # type: ignore[index, call-overload]
    _, done = python.run("import sys; sys.stdin.read(), sys.stdin.readline()")
    assert done["value"]["data"]["text/plain"] == "('', '')"
    assert (
        python.value("import subprocess; subprocess.run(['cat'], capture_output=True).stdout")
        == "b''"
    )


def test_variables_come_in_and_go_out(python: Driven) -> None:
    given = {"a": [1, 2.5, None, True, {"é😀": "\n"}], "b": b"\x00\xff"}
    code = "c = a[4], b + b\na.append(a[:1])\nd = bytearray(b)"
    done = python.finish(python.start(code, given=given, wanted=["a", "d"]))[-1]
    assert isinstance(done, dict)
    assert done["taken"] == {"a": [*given["a"], [1]], "d": b"\x00\xff"}
    for wrong, says in (
        ("no_such", "NameError: name 'no_such' is not defined"),
        ("object", "TypeError: object cannot be handed over: JSON has no type"),
        ("c", "JSON has no bytes"),
        ("loop", "JSON has no list"),
        ("infinite", "JSON has no inf"),
        ("keys", "JSON has no dict"),
        ("large", "too large"),
    ):
        code = (
            "loop = []; loop.append(loop); infinite = float('inf'); keys = {1: 2}; object = int\n"
            "large = 'x' * (7 << 20)"
        )
        done = python.finish(python.start(code, wanted=[wrong]))[-1]
        assert isinstance(done, dict)
        assert says in done["error"]["trace"], wrong


def test_tables_come_in_and_go_out() -> None:
    """Both kinds as they were; without pyarrow there, a sentence."""
    with Driven("python") as python:
        tables = {"frame": ("pandas", b'{"a": [1, 2]}'), "table": ("pyarrow", b'{"b": [3]}')}
        done = python.finish(python.start("1", tables=tables))[-1]
        assert isinstance(done, dict)
        assert "TypeError: frame cannot be handed over: it is a table" in done["error"]["trace"]
        python.run(Path(arrow.__file__).read_text())
        code = "assert type(frame).__module__.startswith('pandas')\nframe['c'] = frame['a'] * 2"
        wanted = ["frame", "table"]
        done = python.finish(python.start(code, tables=tables, wanted=wanted))[-1]
        assert isinstance(done, dict)
        assert done["taken"] == {
            "frame": Table("pandas", b'{"a": [1, 2], "c": [2, 4]}'),
            "table": Table("pyarrow", b'{"b": [3]}'),
        }


def test_an_interrupt_is_for_the_cell_that_runs(python: Driven) -> None:
    code = "x = 1\nprint('now')\nwhile True: pass"
    _, done = python.run(code, when=stopped(python, b"now"))
    assert done["error"]["name"] == "KeyboardInterrupt"
    python.interrupt()  # between cells: nobody's
    assert python.value("x") == "1"


def test_what_a_cell_starts_is_interrupted_with_it(python: Driven) -> None:
    code = "import subprocess\nprint('now')\nsubprocess.run(['sleep', '60'])"
    _, done = python.run(code, when=stopped(python, b"now"))
    assert done["error"]["name"] == "KeyboardInterrupt"


def test_cells_may_await(python: Driven) -> None:
    code = "import asyncio\nawait asyncio.sleep(0)\nasync def f(): return 7\nawait f()"
    assert python.value(code) == "7"
    if python.kind == "python":  # ipykernel's cells run in a loop, all of them
        assert python.value("asyncio.run(f())") == "7"
    python.run(
        "done = []\nasync def later():\n    await asyncio.sleep(0)\n    done.append(1)\n"
        "task = asyncio.get_running_loop().create_task(later()) if await f() else None"
    )
    while python.value("done") == "[]":  # it goes on between cells
        pass


#: Says so by when the cell waits.
LATER = "import threading\nthreading.Timer(0.1, print, ['now']).start()\n"


def test_an_interrupt_of_what_is_awaited_is_the_cells(python: Driven) -> None:
    """Wherever it comes: in the loop, in what runs there, or in another task."""
    waits = "import asyncio\nprint('now')\nawait asyncio.sleep(60)"
    turns = "async def turns():\n    print('now')\n    while True: pass\n"
    beside = "asyncio.get_running_loop().create_task(turns())\nawait asyncio.sleep(60)\n1"
    later = f"import asyncio\n{LATER}await asyncio.sleep(60)"
    traces = []
    for code in (*[waits] * 10, later, f"{turns}await turns()", turns + beside):
        _, done = python.run(code, when=stopped(python, b"now"))
        assert done["error"]["name"] == "KeyboardInterrupt"
        traces.append(unstyled(done["error"]["trace"]))
        assert "tfnz" not in traces[-1]
    assert "await asyncio.sleep(60)" in traces[-3]
    assert "in turns" in traces[-1] and "in turns" in traces[-2]
    # It was told: not once more when what it ended beside the cell is thrown away.
    assert python.run("import gc; gc.collect();")[0] == b""
    # The one that it raised itself, and of no interrupt.
    code = "async def ends():\n    asyncio.current_task().cancel()\n    await asyncio.sleep(0)\n"
    assert python.run(f"{code}await ends()")[1]["error"]["name"] == "CancelledError"


def test_an_interrupt_that_does_not_end_the_wait_for_it_is_heard(python: Driven) -> None:
    """As where it comes after Python has looked for one, and before it waits."""
    mask = "import signal\nsignal.pthread_sigmask(signal.SIG_{}, [signal.SIGINT])\n"
    other = "end = threading.Event()\nthreading.Thread(target=end.wait).start()\n"
    code = f"import asyncio\n{LATER}{other}{mask.format('BLOCK')}await asyncio.sleep(60)"
    _, done = python.run(code, when=stopped(python, b"now"))
    assert done["error"]["name"] == "KeyboardInterrupt"
    python.run(f"{mask.format('UNBLOCK')}end.set()")


def test_what_may_be_typed(python: Driven) -> None:
    python.run(
        "import os, os.path, collections\n"
        "class Thing:\n    __slots__ = ('slot', '__dict__')\n    made = 5\n"
        "    @property\n    def asks(self): raise SystemExit\n"
        "    def does(self): 'It does.'\n"
        "    @staticmethod\n    def plain(): pass\n"
        "thing_one = Thing(); thing_one.own = {'key one': 1, 'key two': 2, 3: 4}"
    )
    for text, typed, offered in (
        ("thing_", "thing_", [("thing_one", "instance")]),
        ("x = f(Thi", "Thi", [("Thing", "class")]),
        ("print(isinst", "isinst", [("isinstance", "function")]),
        ("whil", "whil", [("while", "keyword")]),
        ("os.path.joi", "joi", [("join", "function")]),
        (
            "first line\n  thing_one.",
            "",
            [
                ("asks", "property"),
                ("does", "function"),
                ("made", "instance"),
                ("own", "instance"),
                ("plain", "function"),
                ("slot", "property"),
            ],
        ),
        ("thing_one.own['key ", "key ", [("key one", "key"), ("key two", "key")]),
        ("thing_one.asks.", "", []),  # nothing is called
        ("nothing.such", "", []),
        ("f().sta", "", []),
        ("1.", "", []),
        ("import colle", "colle", [("collections", "module")]),
        ("import collections.ab", "ab", [("abc", "module")]),
        ("from collections import Ordered", "Ordered", [("OrderedDict", "class")]),
        ("from os import getcwd, getpi", "getpi", [("getpid", "function")]),
    ):
        found = python.look("complete", text)
        offers = [each for each in found["offers"] if not each[0].startswith("_")]
        assert (found["typed"] if offered else "", offers) == (typed if offered else "", offered)
    assert len(python.look("complete", "")["offers"]) > 100
    assert ("__init__", "function") in python.look("complete", "Thing.__ini")["offers"]
    assert python.value("thing_one.made") == "5"


def test_what_a_name_is(python: Driven) -> None:
    python.run("def adds(one, two=2):\n    'Their sum.\\n\\n    With more.'\nnumber = 5")
    for name, *told in (
        ("adds", "Signature: adds(one, two=2)\n", "Docstring:\nTheir sum.\n\nWith more."),
        ("number", "Type: int\n", "String form: 5\n", "Docstring:\nint("),
        ("nothing",),
        ("number.nothing",),
    ):
        said = re.sub(" +", " ", unstyled(python.look("inspect", name)["text"]))
        assert all(each in said.replace(": \n", ":\n") for each in told), said
        assert bool(said) is bool(told)


def test_a_search_that_does_not_end_is_interrupted(python: Driven) -> None:
    python.run("class Deep:\n    def __dir__(self):\n        while True: pass\ndeep = Deep()")
    assert python.look("complete", "deep.", interrupt=True)["offers"] == []
    python.look("complete", "")  # one interrupt may have been too many: it is this search's
    assert python.value("1") == "1"


@with_ipykernel
def test_cells_are_as_ipython_has_them(python: Driven) -> None:
    """Each line of what is typed in notebooks, and what it shows."""
    for code, writes, value in (
        ("x = 5\n!echo {x}", "5", None),
        ("%pwd", "", repr(str(Path.cwd()))),
        ("words = !echo a b\nwords", "", "['a b']"),
        ("%%capture held\nprint('held')", "", None),
        ("held.stdout", "", "'held\\n'"),
        ("In[-1]", "", "'In[-1]'"),
        ("from getpass import getpass\ngetpass('word? ')", "", "'typed'"),
    ):
        text, done = python.run(code, answer="typed")
        assert done["error"] is None, (code, done)
        assert text.decode().strip() == writes, code
        assert (done["value"] and done["value"]["data"]["text/plain"]) == value, code
    code = "from IPython.display import Image\ndisplay(Image(b'PNG', format='png'))\nlen?"
    shown = python.finish(python.start(code))[:-1]
    picture, told = (each["value"]["data"] for each in shown if isinstance(each, dict))
    assert picture["image/png"] == base64.b64encode(b"PNG").decode()
    assert "Signature:" in told["text/plain"]
    assert ("%timeit", "magic") in python.look("complete", "  %timei")["offers"]
    assert ("real", "attribute") in python.look("complete", "[1][0].re")["offers"]


@with_ipykernel
def test_what_is_shown_again_and_cleared(python: Driven) -> None:
    code = (
        "from IPython.display import clear_output\nhandle = display(1, display_id='it')\n"
        "handle.update(2)\nclear_output(wait=True)\ndisplay(3)"
    )
    first, second, cleared, third, _ = python.finish(python.start(code))
    assert isinstance(first, dict) and isinstance(second, dict) and isinstance(third, dict)
    assert isinstance(cleared, dict) and (cleared["is_"], cleared["wait"]) == ("clear", True)
    places = [(each["place"], each["again"]) for each in (first, second, third)]
    assert places == [("it", False), ("it", True), ("", False)]


@with_ipykernel
def test_its_cells_are_called_as_the_notebooks(python: Driven) -> None:
    for name, called in (("In [77]", "Cell In[77], line 1"), ("step one", "File <step one>:1")):
        done = python.finish(python.start("1 / 0", name))[-1]
        assert isinstance(done, dict)
        assert called in unstyled(done["error"]["trace"])
    python.finish(python.start("6 * 7", "In [90]"))
    assert python.value("Out[90], _90") == "(42, 42)"


@with_ipykernel
def test_nothing_of_it_listens_and_nothing_is_kept(python: Driven) -> None:
    """No socket that another process could speak to, no connection file, no history."""
    assert python.value("get_ipython().history_manager.enabled") == "False"
    pid = python.process.pid
    held = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    known = [
        f"socket:[{line.split()[9]}]"
        for kind in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]
    ]
    assert not held & set(known)
    assert not [each for each in held if "kernel-" in each or each.endswith(".sqlite")]


def test_an_ipykernel_that_does_not_start_is_said_once_and_cells_run(tmp_path: Path) -> None:
    for broken, says in (
        ("raise RuntimeError('broken')", "RuntimeError('broken')"),
        ("raise SystemExit(1)", "SystemExit(1)"),
        ("version_info, __version__ = (5, 5), '5.5'", "ipykernel is 5.5, and cells need 6"),
    ):
        package = tmp_path / "ipykernel"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("" if "5.5" in broken else broken)
        (package / "_version.py").write_text(broken)
        with Driven("ipykernel", env={"PYTHONPATH": str(tmp_path)}) as python:
            said = python.finish(python.start("display(1)\n2"))
            assert says in text_of(said, 2).decode()
            assert python.value("1 + 1") == "2"
            assert python.run("3")[0] == b""


def test_an_interrupt_before_the_first_cell_is_for_that(tmp_path: Path) -> None:
    """While ipykernel starts, which takes a while."""
    (tmp_path / "ipykernel.py").write_text(
        "import signal, time\nhandler, heard = signal.getsignal(2), []\n"
        "signal.signal(2, lambda *about: heard.append(handler(*about)))\nprint('starts')\n"
        "while not heard: time.sleep(0.01)\nsignal.signal(2, handler)\nversion_info = (5,)"
    )
    with Driven("ipykernel", env={"PYTHONPATH": str(tmp_path)}) as python:
        order = python.start("1")
        assert python.heard()[0][1].startswith(b"starts")
        python.interrupt()
        done = python.finish(order)[-1]
        assert isinstance(done, dict)
        assert done["error"]["name"] == "KeyboardInterrupt"
        assert python.value("1") == "1"


def test_a_child_answers_nothing(python: Driven) -> None:
    forks = (
        "import os\nchild = os.fork()\nprint('a child' if not child else '', end='')\n"
        "if child: code = os.waitpid(child, 0)[1]\nelse: {}\ncode"
    )
    shows, raises = (forks.format(each) for each in ("code = display('a child', 'again')", "1 / 0"))
    awaits = "import asyncio\nawait asyncio.sleep(0)\n"
    # What the loop has to do for its parent, it does once.
    later = "asyncio.get_running_loop().call_soon(print, 'once')\n"
    for code, text, value in (
        (shows, b"a child", "0"),
        (raises, b"a child", "256"),
        (f"{awaits}{raises}", b"a child", "256"),
        (f"{awaits}{later}{shows}", b"a childonce\n", "0"),
    ):
        said = python.finish(python.start(code))
        assert text_of(said) == text, code
        (done,) = (each for each in said if isinstance(each, dict))
        assert done["value"]["data"]["text/plain"] == value, code


def test_its_own_end_is_its_code() -> None:
    for code, ended in (
        ("import os; os._exit(3)", 3),
        ("import os, signal; print('last words'); os.kill(os.getpid(), signal.SIGSEGV)", -11),
    ):
        with Driven("python") as python:
            said = python.finish(python.start(code))
            assert python.process.wait(10) == ended
            assert text_of(said) == (b"last words\n" if ended < 0 else b"")


def test_it_ends_when_nobody_will_ask() -> None:
    with Driven("python") as python:
        assert python.value("1") == "1"
        assert python.process.stdin
        python.process.stdin.close()
        assert python.process.wait(10) == 0


def test_a_python_that_is_too_old_says_so() -> None:
    with Driven("python") as python:
        boot = python.program.argv[2]
    old = boot.replace("sys.version_info", "(3, 6, 15)")
    with Driven("python", [sys.executable, "-c", old, "0"]) as python:
        while python._streams:
            for stream, data in python.heard():
                assert stream == 2
                python.answers.feed(data)
        assert python.answers.stray == b"tfnz: Python 3.6\n"
