"""The interpreter that goes into containers: real ones of this machine, in no container."""

import ast
import base64
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.inside import arrow
from unit.inside.driven import Driven, stopped, text_of

import tfnz_notebook
from tfnz_notebook._wire.cells import Said, Table

SOURCE = Path(tfnz_notebook.__file__).parent / "_inside" / "python.py"


@pytest.fixture(scope="module")
def pythons() -> Iterator[list[Driven]]:
    with contextlib.ExitStack() as stack:
        made = list[Driven]()
        stack.callback(lambda: [each.__exit__(None, None, None) for each in made])
        yield made


@pytest.fixture
def python(pythons: list[Driven], request: pytest.FixtureRequest) -> Iterator[Driven]:
    """One for tests that leave it as it was; the next one has another if that test failed."""
    if not pythons:
        pythons.append(Driven("python").__enter__())
    failed = request.session.testsfailed
    yield pythons[-1]
    if request.session.testsfailed > failed:
        pythons.pop().__exit__(None, None, None)


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
    assert b"ValueError: no html" in text
    assert python.value("Thing").startswith("<class")  # a class is not one of its objects


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


def test_figures_are_pictures(python: Driven) -> None:
    """Of a matplotlib that has what is asked of it: none is installed here."""
    code = """
import sys, types
drawn, pyplot = [1, 2], types.ModuleType('matplotlib.pyplot')
class Figure:
    def savefig(self, file, format, bbox_inches): file.write(b'a figure')
Figure.__module__ = 'matplotlib.figure'
figures = {1: Figure(), 2: Figure()}
pyplot.get_fignums, pyplot.figure = lambda: list(drawn), figures.__getitem__
pyplot.close = lambda which: drawn.clear()
sys.modules['matplotlib.pyplot'] = pyplot
import os
print(os.environ['MPLBACKEND'])
figures[1]
"""
    said = python.finish(python.start(code))
    shown = [each for each in said if isinstance(each, dict)]
    python.run("del sys.modules['matplotlib.pyplot']")
    picture = base64.b64encode(b"a figure").decode()
    assert [each["is_"] for each in shown] == ["show", "done"]  # the one that is the value, once
    assert [each["value"]["data"]["image/png"] for each in shown] == [picture, picture]
    assert text_of(said) == b"module://tfnz_figures\n"


def test_tracebacks_have_the_cells_own_lines_and_none_of_ours(python: Driven) -> None:
    python.run("def f(x):\n    return 1 / x")
    _, done = python.run("a = 1\nf(0)")
    trace = done["error"]["trace"]
    assert (done["error"]["name"], done["error"]["text"]) == (
        "ZeroDivisionError",
        "division by zero",
    )
    assert "    f(0)\n" in trace and "    return 1 / x\n" in trace
    assert "tfnz" not in trace
    _, done = python.run("a = 1\na + (1 / 0)")
    if python.value("import sys; sys.version_info >= (3, 11)") == "True":
        assert "    a + (1 / 0)\n         ~~^~~\n" in done["error"]["trace"]
    for code, name in (
        ("for i in", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("def g(): g()\ng()", "RecursionError"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E"),
        ("raise ValueError('x' * 10_000_000)", "ValueError"),
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
    assert python.value("asyncio.run(f())") == "7"
    python.run(
        "done = []\nasync def later():\n    await asyncio.sleep(0)\n    done.append(1)\n"
        "task = asyncio.get_running_loop().create_task(later()) if await f() else None"
    )
    while python.value("done") == "[]":  # it goes on between cells
        pass
    _, done = python.run("print('now')\nawait asyncio.sleep(60)", when=stopped(python, b"now"))
    assert done["error"]["name"] == "KeyboardInterrupt"


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
    for name, told in (
        ("adds", "Signature: adds(one, two=2)\nDocstring:\nTheir sum.\n\nWith more."),
        ("number", "Type: int\nString form: 5\nDocstring:\nint("),
        ("nothing", ""),
        ("number.nothing", ""),
    ):
        said = python.look("inspect", name)["text"]
        assert said.startswith(told) and bool(said) is bool(told)


def test_a_search_that_does_not_end_is_interrupted(python: Driven) -> None:
    python.run("class Deep:\n    def __dir__(self):\n        while True: pass\ndeep = Deep()")
    assert python.look("complete", "deep.", interrupt=True)["offers"] == []
    python.look("complete", "")  # one interrupt may have been too many: it is this search's
    assert python.value("1") == "1"


def test_a_child_answers_nothing(python: Driven) -> None:
    code = (
        "import os\nchild = os.fork()\nprint('a child' if not child else '', end='')\n"
        "if child: os.waitpid(child, 0)\n'mine'"
    )
    text, done = python.run(code)
    assert (text, done["value"]["data"]["text/plain"]) == (b"a child", "'mine'")
    assert python.value("1") == "1"


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
