"""The interpreter behind ``%%tf_python``: cells of a notebook, run by a container's own Python.

It has the standard library of Python 3.8 or any later one, of which images leave out much (json,
asyncio), and nothing else; it is handed over through stdin and lies in no file. Questions come on
stdin, each a line with a literal of Python. What cells write, and what they start, goes to stdout
as it comes, sys.stderr between two marks; answers go to stderr, as JSON. Marks and answers are
escape sequences that show nothing, so that the log reads as plain text. Each answer of a cell has
a number, and a mark of that number stands in stdout where the answer belongs.

Where this Python has ipykernel, that runs the cells: jupyter.py, which comes behind this, puts it
in the place of :class:`Interpreter`. What is asked and answered is the same.
"""

from __future__ import annotations

import ast
import builtins
import io
import linecache
import os
import re
import signal
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

OWN = "<tfnz>"
#: Characters of an answer's piece; of a value, where what is longer is cut, or left out, and said.
PIECE = 2048
MOST_TEXT = 1 << 20
MOST_DATA = 6 << 20
MOST_TRACE = 1 << 16
#: Widest line of a value, and most of its items that are shown, as IPython has it; of its types.
WIDE = 79
KINDS = 30
ITEMS = 1000
#: Most words that are offered to who types; characters of a value that are told.
OFFERS = 500
TOLD = 200

#: Characters that a string of JSON has escaped.
ESCAPED = re.compile(r"[^ !#-\[\]-~]")
#: The end of a line that is typed: of an import, in brackets, a name with or without dots.
MEMBERS = re.compile(r"\s*from\s+([\w.]+)\s+import\s+(?:[\w\s,(]*[\s,(])?(\w*)$")
IMPORTED = re.compile(r"\s*(?:from|import)\s+(?:([\w.]+)\.)?(\w*)$")
KEYED = re.compile(r"(?<![\w.)\]])([A-Za-z_][\w.]*)\[['\"]([^'\"\]]*)$")
DOTTED = re.compile(r"(?<![\w.)\]'\"])((?:[^\W\d]\w*\.)*)([^\W\d]\w*|)$")
#: What a value may call itself, and by which method.
METHODS = (
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("application/json", "_repr_json_"),
    ("application/javascript", "_repr_javascript_"),
)


def write(descriptor: int, data: bytes) -> None:
    """All of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Raw(io.RawIOBase):
    """What sys.stdout and sys.stderr write into; each write goes out at once."""

    def __init__(self, descriptor: int, name: str, before: bytes = b"", after: bytes = b"") -> None:
        self._descriptor, self.name = descriptor, name
        self._before, self._after = before, after

    def writable(self) -> bool:
        """As files do."""
        return True

    def fileno(self) -> int:
        """For what is started with it."""
        return self._descriptor

    def write(self, data: Any) -> int:
        """All of it, between its marks."""
        data = bytes(data)
        write(self._descriptor, self._before + data + self._after)
        return len(data)


def stream(raw: Raw) -> io.TextIOWrapper:
    """Text of any kind, without a wait for the end of a line."""
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)


def escaped(found: Any) -> str:
    """A character as JSON escapes it."""
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def encoded(value: Any, depth: int = 0) -> str:
    """JSON in ASCII, on one line, of anything: what JSON does not know is a string there."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) or (isinstance(value, float) and value - value == 0):
        return repr(value + 0)
    if isinstance(value, float):
        return "null"
    if isinstance(value, (list, tuple)) and depth < 100:
        return f"[{','.join(encoded(each, depth + 1) for each in value)}]"
    if isinstance(value, dict) and depth < 100:
        pairs = [(encoded(str(key)), encoded(each, depth + 1)) for key, each in value.items()]
        return f"{{{','.join(map(':'.join, pairs))}}}"
    return f'"{ESCAPED.sub(escaped, str(value))}"'


class Link:
    """Questions in, answers and marks out."""

    def __init__(self) -> None:
        # Copies, which nothing that a cell starts inherits; in their old places text and no input.
        self.questions, self.answers, self.text = os.dup(0), os.dup(2), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(1, 2)
        self._rest = b""

    def line(self) -> bytes | None:
        """The next question, once it is whole; None if there will be none."""
        pieces = []
        while b"\n" not in self._rest:
            pieces.append(self._rest)
            self._rest = os.read(self.questions, 1 << 16)
            if not self._rest:
                return None
        last, _, self._rest = self._rest.partition(b"\n")
        return b"".join([*pieces, last])

    def mark(self, *words: str) -> None:
        """Say in the text where we are."""
        write(self.text, "".join(f"\x1b_tfnz:{each}\x1b\\" for each in words).encode())

    def answer(self, where: Sequence[str] = (), **told: Any) -> None:
        """Say it, in pieces that no reader of a log takes for text; and in the text where we are.

        Both together, so that whoever is woken by one has the other.
        """
        said = encoded(told)
        ends = range(PIECE, len(said) + PIECE, PIECE)
        pieces = [
            f"\x1b_tfnz{'+' if end < len(said) else '.'}{said[end - PIECE : end]}\x1b\\"
            for end in ends
        ]
        answer = "".join(pieces).encode()
        if where:
            self.mark(*where)
        write(self.answers, answer)


class Interpreter:
    """Runs cells, one after the other, in one namespace."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.pid = os.getpid()
        self.module = types.ModuleType("__main__")
        self.space = self.module.__dict__
        self.space["__builtins__"] = builtins
        self.interruptible = False
        self.cell = ""
        #: The cell that comes next, where that was said: it begins where the one before ends.
        self.after = ""
        self.number = 0
        self.count = 0
        self.thread = 0
        #: Where cells await, and what is awaited for one; whether that was interrupted.
        self.loop: Any = None
        self.task: Any = None
        self.cancelled = False
        #: What a signal writes to, and a loop that waits is woken by.
        self.woken, self.wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(self.wake, False)
        self.shown: set[int] = set()
        #: What is to be said of how it began; whether it was interrupted by then; whether it ends.
        self.note = ""
        self.early = self.over = False

    # -- what is asked

    def begin(self) -> None:
        """Before the first question."""
        builtins.display = self.display  # type: ignore[attr-defined]
        sys.meta_path.insert(0, Figures(self.figures))

    def serve(self) -> None:
        """Until nobody will ask any more."""
        os.register_at_fork(after_in_child=self.forked)
        builtins.input = self.input
        while not self.over:
            line = self.question()
            if line is None:
                return
            asked = ast.literal_eval(line.decode())
            if asked["do"] == "run":
                self.run(**asked)
            elif asked["do"] == "hello":
                self.link.answer(is_="ready", nonce=asked["nonce"], version=sys.version.split()[0])
            elif asked["do"] in ("complete", "inspect"):
                self.look(**asked)

    def question(self) -> bytes | None:
        """The next one; tasks of earlier cells go on meanwhile."""
        if self.loop is None or self.loop.is_closed():
            return self.link.line()
        import asyncio

        if not asyncio.all_tasks(self.loop):
            return self.link.line()
        there = self.loop.create_future()
        self.loop.add_reader(self.link.questions, lambda: there.done() or there.set_result(None))
        try:
            self.loop.run_until_complete(there)
        finally:
            self.loop.remove_reader(self.link.questions)
        return self.link.line()

    def interrupted(self, _number: int, frame: types.FrameType | None) -> None:
        """SIGINT is for cells alone; one that comes before the first cell is for that.

        It is raised where a cell is, and not in the loop that it awaits in: that would lose its
        place. There what is awaited is cancelled.
        """
        if not self.interruptible:
            self.early = not self.count
        elif self.task is not None and waits(frame):
            self.cancelled = True
            self.loop.call_soon_threadsafe(self.task.cancel)
        else:
            raise KeyboardInterrupt

    def forked(self) -> None:
        """A child has a cell's code to run, and nothing to answer."""
        self.interruptible = True

    def look(self, do: str, nonce: str, text: str, **_more: Any) -> None:
        """What may be typed behind a text, or what a name is; an interrupt ends the search."""
        typed, told = "", ""
        offered: list[list[str]] = []
        try:
            self.interruptible = True
            try:
                if do == "complete":
                    typed, offered = self.offers(text)
                else:
                    told = self.about(text)
            finally:
                self.interruptible = False
        except BaseException:  # who types is told nothing of it
            pass
        self.link.answer(is_="found", nonce=nonce, typed=typed, offers=offered, text=told)

    def offers(self, text: str) -> tuple[str, list[list[str]]]:
        """What may be typed."""
        return offers(text, self.space)

    def about(self, text: str) -> str:
        """What a name is."""
        return about(text, self.space)

    # -- cells

    def run(
        self,
        cell: str,
        code: str,
        name: str = "",
        given: Any = (),
        tables: Any = (),
        wanted: Any = (),
        after: str = "",
        **_more: Any,
    ) -> None:
        """Run one, and say what became of it; variables before and after it."""
        self.cell, self.number, self.shown = cell, 0, set()
        self.count += 1
        self.thread = threads()
        if cell != self.after:
            self.link.mark(f"{cell}:0")
        self.after = after
        if self.note:
            sys.stderr.write(f"{self.note}\n")
            self.note = ""
        value = error = None
        taken = {}
        try:
            self.interruptible = True
            try:
                if self.early:
                    self.early = False
                    raise KeyboardInterrupt
                self.space.update(given)
                for each in tables:
                    self.space[each] = table(each, *tables[each])
                value = self.execute(code, name)
                taken = {each: plain(each, self.space) for each in wanted}
                self.figures()
            finally:
                self.interruptible = False
        except BaseException as caught:
            error = self.trouble(caught)
        self.flush()
        self.end_child(failed=error is not None)
        self.say("done", value=value, error=error, taken=taken)

    def flush(self) -> None:
        """Text that a cell still holds."""
        for each in (sys.stdout, sys.stderr):
            try:
                each.flush()
            except Exception:  # a cell has put its own there
                pass

    def end_child(self, failed: bool) -> None:
        """Where a cell's code ends, so does a child that it has forked."""
        if os.getpid() != self.pid:
            self.flush()
            os._exit(failed)

    async def ended(self, value: Any) -> Any:
        """What a coroutine returns. A child has no turn in the loop, which is its parent's."""
        failed = True
        try:
            found = await value
            failed = False
        finally:
            self.end_child(failed)
        return found

    def say(self, what: str, **told: Any) -> None:
        """An answer, and where it belongs; of what a cell has forked there is none."""
        if os.getpid() != self.pid:
            return
        self.number += 1
        where = [f"{self.cell}:{self.number}"]
        if what == "done" and self.after:
            where.append(f"{self.after}:0")
        self.link.answer(where, is_=what, cell=self.cell, number=self.number, **told)

    def execute(self, code: str, name: str) -> dict[str, Any] | None:
        """Run code; what its last expression is, if that is something and no semicolon follows."""
        name = f"<{name or f'cell {self.count}'}>"
        lines = [line + "\n" for line in code.split("\n")]  # the last too, or its marks are off
        linecache.cache[name] = (len(code), None, lines, name)
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code, name, "exec", flags)
        body, last = tree.body, None
        if body and isinstance(body[-1], ast.Expr):
            last = body.pop()
        if body:
            self.evaluate(compile(tree, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))
        if last is None:
            return None
        whole = ast.Expression(last.value)
        value = self.evaluate(compile(whole, name, "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))
        if value is None or code.rstrip().endswith(";"):
            return None
        builtins._ = value  # type: ignore[attr-defined]
        return bundle(value, self.shown)

    def evaluate(self, code: types.CodeType) -> Any:
        value = eval(code, self.space)
        return self.awaited(value) if code.co_flags & 0x80 else value  # a coroutine's

    def begin_loop(self) -> None:
        """One to await in."""
        import asyncio

        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.loop.add_reader(self.woken, os.read, self.woken, 1 << 12)
        self.loop.set_exception_handler(unheard)

    def awaited(self, value: Any) -> Any:
        """What a coroutine returns; an interrupt cancels it."""
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.begin_loop()
        # or one that comes after Python has looked, and before it waits, is heard when that ends
        before = signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        if before not in (-1, self.wake):  # a cell's handlers have one
            signal.set_wakeup_fd(before)
        task, self.cancelled = self.loop.create_task(self.ended(value)), False
        self.task = task
        try:
            return self.loop.run_until_complete(task)
        except asyncio.CancelledError as error:
            if not self.cancelled:
                raise
            raise KeyboardInterrupt().with_traceback(error.__traceback__) from None
        except KeyboardInterrupt:
            if not task.done():  # it was another one's
                task.cancel()
                self.loop.run_until_complete(asyncio.wait({task}))
            raise
        finally:
            self.task = None

    def trouble(self, error: BaseException) -> dict[str, Any]:
        """An exception as its traceback, from the cell's own first line on."""
        import traceback

        try:
            told = traceback.TracebackException(type(error), error, error.__traceback__)
            links: list[Any] = [told]
            while links:
                link = links.pop()
                frames = [frame for frame in link.stack if frame.filename != OWN]
                link.stack = traceback.StackSummary.from_list(frames)
                links += filter(None, (link.__cause__, link.__context__))
            lines = list(told.format())
            said = str(error)
        except BaseException:
            lines, said = [f"{type(error).__name__}\n"], ""
        return failed(type(error).__name__, said, "".join(lines))

    # -- what cells call

    def input(self, prompt: object = "", hidden: bool = False) -> str:
        """Ask who runs the cell."""
        if threads() != self.thread or os.getpid() != self.pid:
            raise EOFError("input() asks from the cell itself alone, not from what it started")
        self.say("ask", prompt=str(prompt)[:4096], hidden=hidden)
        while True:
            line = self.link.line()
            if line is None:
                raise EOFError("nobody is there to answer")
            asked = ast.literal_eval(line.decode())
            if asked["do"] == "answer" and asked["cell"] == self.cell:
                if asked["text"] is None:
                    raise EOFError("nobody is there to answer")
                text: str = asked["text"]
                return text

    def display(self, *values: Any) -> None:
        """Show values as the last one of a cell is shown."""
        for value in values:
            self.say("show", value=bundle(value, self.shown))

    def figures(self) -> None:
        """Show what matplotlib has drawn, and make room for the next."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or os.getpid() != self.pid:
            return
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            if id(figure) not in self.shown:
                self.display(figure)
        pyplot.close("all")


def failed(name: str, said: str, trace: str) -> dict[str, Any]:
    """An exception as it is told, with an end."""
    if len(trace) > MOST_TRACE:
        half = MOST_TRACE // 2
        left = len(trace) - MOST_TRACE
        trace = f"{trace[:half]}\n[{left} characters left out]\n{trace[-half:]}"
    return {"name": name[:200], "text": said[:4096], "trace": trace}


def unheard(loop: Any, told: dict[str, Any]) -> None:
    """What nobody awaits. An interrupt ended its cell, and is no news in one that comes later."""
    if not isinstance(told.get("exception"), KeyboardInterrupt):
        loop.default_exception_handler(told)


def waits(frame: types.FrameType | None) -> bool:
    """Whether a loop runs, and nothing in it."""
    while frame is not None and frame.f_code is not Interpreter.awaited.__code__:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("asyncio", "selectors"):
            return False
        frame = frame.f_back
    return frame is not None


def threads() -> int:
    """The number of the thread that asks."""
    import _thread

    return _thread.get_ident()


class Figures:
    """Has matplotlib, should it be imported, draw for cells: among those who find modules.

    Nothing of it is in the environment: what a cell starts has another matplotlib.
    """

    NAME = "tfnz_figures"

    def __init__(self, show: Callable[[], None]) -> None:
        self._show = show

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """The backend; and what is told before there are figures, unless a backend was chosen."""
        if name == "matplotlib.pyplot":
            matplotlib = sys.modules["matplotlib"]
            # read as a dict, else it would choose one itself
            if not isinstance(dict.get(matplotlib.rcParams, "backend"), str):
                matplotlib.use(f"module://{self.NAME}")
        if name != self.NAME:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, _spec: Any) -> None:
        """As any."""

    def exec_module(self, module: Any) -> None:
        """What a backend has."""
        from matplotlib.backend_bases import FigureManagerBase
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        module.FigureCanvas, module.FigureManager = FigureCanvasAgg, FigureManagerBase
        module.show = lambda *_, **__: self._show()


# -- how values are handed over, and shown


def plain(name: str, space: dict[str, Any]) -> list[Any]:
    """A variable, as who asks can have it: ("json", itself), or ("bytes", base64), or a table."""
    if name not in space:
        raise NameError(f"name {name!r} is not defined")
    value = space[name]
    if isinstance(value, (bytes, bytearray)):
        import base64

        found = ["bytes", base64.b64encode(value).decode()]
    elif whose(value):
        import base64

        found = [whose(value), base64.b64encode(stream_of(name, value)).decode()]
    else:
        check(name, value)
        found = ["json", value]
    if len(encoded(found)) > MOST_DATA:
        raise ValueError(f"{name} is too large to be handed over: write it into a file")
    return found


def whose(value: Any) -> str:
    """The package of which it is a table, if it is one."""
    kind = (type(value).__name__, type(value).__module__.partition(".")[0])
    return kind[1] if kind in (("DataFrame", "pandas"), ("Table", "pyarrow")) else ""


def arrow(name: str) -> tuple[Any, Any]:
    """What reads and writes tables here. TypeError if there is none."""
    try:
        import pyarrow as pa
        from pyarrow import ipc
    except ImportError:
        raise TypeError(
            f"{name} cannot be handed over: it is a table, and this Python has no pyarrow"
        ) from None
    return pa, ipc


def table(name: str, package: str, data: bytes) -> Any:
    """A table that was given."""
    found = arrow(name)[1].open_stream(data).read_all()
    return found.to_pandas() if package == "pandas" else found


def stream_of(name: str, value: Any) -> bytes:
    """A table's bytes."""
    pa, ipc = arrow(name)
    found = pa.Table.from_pandas(value) if whose(value) == "pandas" else value
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def check(name: str, value: Any, depth: int = 0) -> None:
    """TypeError for what JSON does not know."""
    finite = not isinstance(value, float) or value - value == 0
    if value is None or (isinstance(value, (str, int, float)) and finite):
        return
    if isinstance(value, (list, tuple)) and depth < 90:
        for each in value:
            check(name, each, depth + 1)
    elif isinstance(value, dict) and depth < 90 and all(type(key) is str for key in value):
        for each in value.values():
            check(name, each, depth + 1)
    else:
        kind = type(value).__name__ if finite else repr(value)
        raise TypeError(f"{name} cannot be handed over: JSON has no {kind}, and it is no bytes")


def bundle(value: Any, shown: set[int]) -> dict[str, Any]:
    """A value as data by type, and what of it was left out."""
    given: dict[str, Any] = {}
    if not isinstance(value, type):
        found = call(value, "_repr_mimebundle_", include=None, exclude=None)
        if isinstance(found, dict):
            given.update(found)
        for kind, method in METHODS:
            if kind not in given:
                found = call(value, method)
                if found is not None:
                    given[kind] = found
        if not given and any(
            (each.__module__, each.__name__) == ("matplotlib.figure", "Figure")
            for each in type(value).__mro__
        ):
            shown.add(id(value))
            file = io.BytesIO()
            value.savefig(file, format="png", bbox_inches="tight")
            given["image/png"] = file.getvalue()
    if "text/plain" not in given:
        given["text/plain"] = pretty(value)
    return bounded(given)


def bounded(given: dict[str, Any]) -> dict[str, Any]:
    """Data by type, and what was left out of it as too large: (type, size)."""
    data: dict[str, Any] = {}
    left: list[tuple[str, int]] = []
    for kind, each in sorted(given.items(), key=lambda pair: pair[0] != "text/plain"):
        if len(left) == KINDS:
            break
        said = each
        if isinstance(each, (bytes, bytearray)) and len(each) < MOST_DATA:
            import base64

            said = base64.b64encode(each).decode()
        size = len(said) if isinstance(said, (str, bytes, bytearray)) else len(encoded(said))
        if kind == "text/plain" and size > MOST_TEXT:
            left.append((kind, size - MOST_TEXT))
            said = str(said)[:MOST_TEXT]
        elif size > MOST_DATA or len(data) == KINDS:
            left.append((str(kind), size))
            continue
        data[str(kind)] = said
    return {"data": data, "left": left}


def call(value: Any, method: str, **arguments: Any) -> Any:
    """What one of its methods says, if it has that; what it raises is told, as IPython tells it."""
    try:
        function: Callable[..., Any] | None = getattr(value, method, None)
        if not callable(function) or getattr(value, "_ipython_canary_method_", None) is not None:
            return None
        found = function(**arguments)
    except NotImplementedError:
        return None
    except Exception:
        import traceback

        traceback.print_exc(limit=-8)
        return None
    return found[0] if isinstance(found, tuple) and found else found


def pretty(value: Any, depth: int = 0) -> str:
    """repr(), over several lines where a list or the like is too long for one, as IPython does."""
    brackets: dict[Any, Any] = {
        list: "[]",
        tuple: "()",
        set: "{}",
        frozenset: ("frozenset({", "})"),
        dict: "{}",
    }
    kind = type(value)
    if kind not in brackets or not value or depth > 20:
        return repr(value)
    if len(value) <= WIDE:
        line = repr(value)
        if len(line) + depth <= WIDE:
            return line
    before, after = brackets[kind]
    lines = []
    inner = depth + len(before)
    for place, each in enumerate(value):
        if place == ITEMS:
            lines.append("...")
            break
        if kind is dict:
            key = repr(each)
            lines.append(f"{key}: {pretty(value[each], inner + len(key) + 2)}")
        else:
            lines.append(pretty(each, inner))
    comma = "," if kind is tuple and len(lines) == 1 else ""
    return f"{before}{(',' + chr(10) + ' ' * inner).join(lines)}{comma}{after}"


# -- what is offered, and told, of what is being typed; nothing of anybody's is called for it


def offers(text: str, space: dict[str, Any]) -> tuple[str, list[list[str]]]:
    """(What is typed of it, what may stand at the end of a text, and what that is)."""
    line = text.rpartition("\n")[2]
    members, imported = MEMBERS.match(line), IMPORTED.match(line)
    keyed, dotted = KEYED.search(line), DOTTED.search(line)
    if members:
        typed, found = members[2], {**names(sys.modules.get(members[1])), **modules(members[1])}
    elif imported:
        typed, found = imported[2], modules(imported[1] or "")
    elif keyed:
        typed, found = keyed[2], keys(resolved(keyed[1], space))
    elif dotted and dotted[1]:
        typed, found = dotted[2], names(resolved(dotted[1][:-1], space))
    elif dotted:
        import keyword

        typed, found = dotted[2], dict.fromkeys(keyword.kwlist, "keyword")
        for each in (vars(builtins), space):
            found.update((name, kind(value)) for name, value in list(each.items()))
    else:
        return "", []
    hidden = not typed and not keyed
    fitting = [
        name for name in found if name.startswith(typed) and not (hidden and name.startswith("_"))
    ]
    return typed, [[name, found[name]] for name in sorted(fitting)[:OFFERS]]


def names(value: Any) -> dict[str, str]:
    """Its attributes."""
    found = () if value is None else dir(value)
    return {name: kind(static(value, name)) for name in found}


def keys(value: Any) -> dict[str, str]:
    """What may stand in its brackets: keys, columns of a table."""
    found = value if isinstance(value, dict) else ()
    if type(value).__name__ == "DataFrame":
        found = value.columns
    return {each: "key" for each in list(found)[:ITEMS] if isinstance(each, str)}


def modules(package: str) -> dict[str, str]:
    """Those of a package that was imported, or all that there are."""
    import pkgutil

    path = getattr(sys.modules.get(package), "__path__", []) if package else None
    if package:  # some are in no file, as collections.abc since Python 3.13
        inside = (
            name[len(package) + 1 :] for name in list(sys.modules) if name.startswith(package + ".")
        )
        found = {name: "module" for name in inside if "." not in name}
    else:
        found = dict.fromkeys(sys.builtin_module_names, "module")
    return {**found, **{each.name: "module" for each in pkgutil.iter_modules(path)}}


def resolved(name: str, space: dict[str, Any]) -> Any:
    """What a dotted name is. LookupError if that is unknown until something is called."""
    first, *rest = name.split(".")
    value = space[first] if first in space else vars(builtins)[first]
    for each in rest:
        value = static(value, each)
        if value is None or kind(value) == "property":
            raise LookupError(name)
    return value


def static(value: Any, name: str) -> Any:
    """An attribute as it is kept, in itself or its classes; None if it is made when asked for."""
    homes = value.__mro__ if isinstance(value, type) else ()
    try:
        kept = [object.__getattribute__(value, "__dict__")]
    except AttributeError:
        kept = []
    for home in (*kept, *map(vars, homes), *map(vars, type(value).__mro__)):
        if name in home:
            found = home[name]
            return found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    return None


def kind(value: Any) -> str:
    """What a page says of it."""
    if isinstance(value, (property, types.GetSetDescriptorType, types.MemberDescriptorType)):
        return "property"
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, type):
        return "class"
    return "function" if callable(value) else "instance"


def about(name: str, space: dict[str, Any]) -> str:
    """What it is, as IPython tells it."""
    import inspect

    value = resolved(name, space)
    parts = []
    try:
        parts.append(f"Signature: {name}{inspect.signature(value)}")
    except (TypeError, ValueError):
        parts.append(f"Type: {type(value).__name__}")
        if kind(value) == "instance":
            parts.append(f"String form: {repr(value)[:TOLD]}")
    doc = inspect.getdoc(value)
    if doc:
        parts.append(f"Docstring:\n{doc}")
    return "\n".join(parts)[:MOST_TRACE]


# -- its start


def begun(link: Link, kernel: bytes) -> Interpreter:
    """By ipykernel, if that is there, and starts; ``kernel`` is jupyter.py."""
    sys.stdin = io.StringIO()
    sys.stdout = sys.__stdout__ = stream(Raw(1, "<stdout>"))  # type: ignore[misc]
    marks = (b"\x1b_tfnz:e\x1b\\", b"\x1b_tfnz:o\x1b\\")
    sys.stderr = sys.__stderr__ = stream(Raw(2, "<stderr>", *marks))  # type: ignore[misc]
    sys.argv = [""]
    sys.path[:0] = [] if sys.path[:1] == [""] else [""]
    plain = chosen = Interpreter(link)
    signal.signal(signal.SIGINT, plain.interrupted)
    # as importlib.util looks, without the time of its import
    if kernel and any(each.find_spec("ipykernel", None) for each in sys.meta_path):
        try:
            exec(compile(kernel, OWN, "exec"), globals())
            chosen = globals()["Jupyter"](link)
            chosen.begin()
        except BaseException as error:
            plain.note = f"[ipykernel does not start here: {error!r:.300}. Python runs cells alone]"
            chosen = plain
    if chosen is plain:
        plain.begin()
    chosen.early = plain.early
    signal.signal(signal.SIGINT, chosen.interrupted)
    sys.modules["__main__"] = chosen.module
    return chosen


if __name__ == "__tfnz__":
    begun(Link(), globals()["KERNEL"]).serve()
