"""Cells by the ipykernel of a container's Python, behind the questions and answers of python.py.

It runs without its sockets: nothing listens, and there is neither a connection file nor a key. What
it says in Jupyter's protocol is taken where it would be sent, and answered as the cells of a Python
alone are; what cells write goes where that goes, and is held up, not dropped, where nobody reads.
It begins as ipykernel does, so that what the image has of IPython's configuration and startup files
is heeded. But it keeps no history in a file.

This is executed among the names of python.py. It takes ipykernel 6 and newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfnz_notebook._inside.python import (
        MOST_TRACE,
        OFFERS,
        OWN,
        Interpreter,
        Link,
        bounded,
        failed,
    )

#: What a notebook calls its cells; and of what an application begins, what has to do with sockets,
#: streams and signals, which it has already.
NUMBERED = re.compile(r"In \[(\d{1,9})\]")
LEFT_OUT = (
    *("init_crash_handler", "init_blackhole", "init_connection_file", "init_poller"),
    *("init_sockets", "init_heartbeat", "write_connection_file", "log_connection_info"),
    *("init_io", "init_signal"),
)


class Raised(Exception):
    """A cell has raised something, which is told in a reply."""


class Jupyter(Interpreter):
    """Runs cells as ipykernel does."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.kernel: Any = None
        self.value: dict[str, Any] | None = None
        #: The last traceback that was told; it may be the cell's own.
        self.trace: list[str] = []
        #: What tracebacks call the cell, where that is no number.
        self.name = ""

    def begin(self) -> None:
        """Start an application of ipykernel's, for its kernel."""
        self.begin_loop()
        sys.modules["debugpy"] = None  # type: ignore[assignment]  # of no use without sockets
        try:
            self.kernel = started(self)
        finally:
            sys.modules.pop("debugpy", None)
        shell = self.kernel.shell
        shell.ask_exit = self.leave
        show, named = shell.showtraceback, shell.compile.get_code_name
        shell.showtraceback = lambda exc_tuple=None, *how, **more: show(
            without_ours(exc_tuple or sys.exc_info()), *how, **more
        )
        shell.compile.get_code_name = lambda *code: self.name or named(*code)
        cell = shell.run_cell_async

        @functools.wraps(cell)
        async def run_cell_async(*how: Any, **more: Any) -> Any:
            result = await cell(*how, **more)
            self.end_child(failed=not result.success)
            return result

        shell.run_cell_async = run_cell_async
        told = getattr(shell.compile, "format_code_name", None)
        if told is not None:  # since IPython 8.5
            shell.compile.format_code_name = lambda n: None if n.startswith("<") else told(n)

    def leave(self) -> None:
        """What ``exit`` and ``quit`` do: end with this cell."""
        self.over = True

    # -- cells

    def execute(self, code: str, name: str) -> dict[str, Any] | None:
        """Run code; what its last expression is."""
        numbered = NUMBERED.fullmatch(name)
        if numbered:
            self.kernel.shell.execution_count = int(numbered[1])
        self.name = f"<{name}>" if name and not numbered else ""
        self.value, self.trace = None, []
        reply = self.awaited(self.kernel.do_execute(code, False, True, {}, True))
        for each in reply.get("payload") or ():
            if each.get("source") == "page":  # what a question mark asks for
                self.say("show", value=bounded(each["data"]))
        # of a value that could not be shown one way, there are others
        if reply["status"] != "ok" and reply["ename"] != "NoneType":
            if self.cancelled:
                reply["ename"] = "KeyboardInterrupt"
            raise Raised(reply)
        self.passed()
        return self.value

    def figures(self) -> None:
        """Matplotlib's own backend for notebooks shows them."""

    def hear(self, kind: str, content: dict[str, Any]) -> None:
        """A message of Jupyter's, which would be sent to all who look on."""
        if kind == "execute_result":
            self.passed()
            self.value = bounded(content["data"])
        elif kind in ("display_data", "update_display_data"):
            self.passed()
            place = str((content.get("transient") or {}).get("display_id") or "")
            again = kind == "update_display_data"
            self.say("show", value=bounded(content["data"]), place=place, again=again)
        elif kind == "clear_output":
            self.passed()
            self.say("clear", wait=bool(content["wait"]))
        elif kind == "error":
            self.passed()
            self.trace = content["traceback"]

    def passed(self) -> None:
        """Something came after a traceback: that was not the cell's own."""
        trace, self.trace = self.trace, []
        if trace:
            sys.stderr.write("\n".join([*trace, ""]))

    def trouble(self, error: BaseException) -> dict[str, Any]:
        """An exception as its traceback, as IPython has it."""
        if not isinstance(error, Raised):
            return super().trouble(error)
        reply = error.args[0]
        return failed(reply["ename"], reply["evalue"], "\n".join(reply["traceback"]))

    # -- what is being typed

    def offers(self, text: str) -> tuple[str, list[list[str]]]:
        """What may be typed: of names what any Python offers; else magics, files, and the like."""
        if text.rpartition("\n")[2].lstrip()[:1] not in ("%", "!"):
            with contextlib.suppress(LookupError):
                typed, offered = super().offers(text)
                if offered:
                    return typed, offered
        found = self.settled(self.kernel.do_complete(text, len(text)))
        typed = text[found["cursor_start"] : found["cursor_end"]]
        dot = int(typed.startswith("."))  # it is there, and need not be offered
        told = found["metadata"].get("_jupyter_types_experimental") or ()
        kinds = {each["text"]: each["type"] for each in told}
        matches = found["matches"][:OFFERS]
        return typed[dot:], [[each[dot:], kinds.get(each) or ""] for each in matches]

    def about(self, text: str) -> str:
        """What a name is."""
        found = self.settled(self.kernel.do_inspect(text, len(text)))
        return str(found["data"].get("text/plain", ""))[:MOST_TRACE]

    def settled(self, reply: Any) -> Any:
        """A reply, which a kernel may have to be awaited for."""
        return self.awaited(reply) if asyncio.iscoroutine(reply) else reply


def without_ours(error: Any) -> Any:
    """What ``sys.exc_info()`` says, without the frames of these programs."""
    kind, value, trace = error
    frames, found = [], None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename != OWN:
            frames.append(trace)
        trace = trace.tb_next
    for each in reversed(frames):
        found = types.TracebackType(found, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kind, value, found


def started(interpreter: Jupyter) -> Any:
    """A kernel that says to an interpreter what it says."""
    from ipykernel import _version as of

    if of.version_info < (6,):
        raise ImportError(f"ipykernel is {of.__version__}, and cells need 6")
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp
    from jupyter_client.session import Session

    class Heard(Session):
        """In the place of sockets."""

        def send(
            self, stream: Any, msg_or_type: Any, content: Any = None, *rest: Any, **more: Any
        ) -> None:
            """A message, or its type and content."""
            del stream, rest, more
            if isinstance(msg_or_type, dict):
                msg_or_type, content = msg_or_type["header"]["msg_type"], msg_or_type["content"]
            interpreter.hear(msg_or_type, content)

    class Kernel(IPythonKernel):
        """Asks as all cells ask; an interrupt is raised where it is."""

        shell_channel_thread = types.SimpleNamespace(parent_thread=None)

        def raw_input(self, prompt: object = "") -> str:
            return interpreter.input(prompt)

        def getpass(self, prompt: object = "Password: ", *_: Any, **__: Any) -> str:
            return interpreter.input(prompt, hidden=True)

        @contextlib.contextmanager
        def _cancel_on_sigint(self, future: Any) -> Iterator[None]:
            del future
            yield

    class Application(IPKernelApp):
        """Begins as it does, with this kernel."""

        def init_kernel(self) -> None:
            self.config.HistoryManager.enabled = False
            self.config.IPCompleter.setdefault("use_jedi", False)  # who types would not wait for it
            self.kernel = Kernel.instance(
                parent=self,
                session=Heard(key=b""),
                log=self.log,
                profile_dir=self.profile_dir,
                user_module=interpreter.module,
                user_ns=interpreter.space,
            )

    for name in LEFT_OUT:
        setattr(Application, name, lambda *_, **__: None)
    application: Any = Application.instance()
    application.initialize([])
    return application.kernel
