"""Cells in a container, before an agent whose interpreters say what a test wants."""

import asyncio
import base64
import os
import signal
import sys
import threading
import time
from typing import Any

import pandas as pd
import pytest
from unit.inside import arrow
from unit.inside.puppet import Puppet, echo
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._container import conversation, frames
from tfnz_notebook._link.reader import WINDOW
from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    CellFailed,
    CommandNotFound,
    Misuse,
    ProcessGone,
    WaitTimeout,
)
from tfnz_notebook.interpreter import Interpreter


@pytest.fixture
def python(container: Container) -> Interpreter:
    return container.python()


def test_a_cell_has_its_value(agent: ScriptedAgent, python: Interpreter) -> None:
    puppet = Puppet(agent, echo)
    assert python.process is None
    assert python.run("1+1").text == "1+1"
    assert python.run("2\né").value == {"text/plain": "2\né"}
    assert repr(python.run("3")) == "<Result: 3>"
    assert python.process is not None and python.process.command == "python cells"
    assert len(agent.named("process.spawn")) == 1
    assert agent.named("process.spawn")[0].body["retain"] == "tail"
    assert [each["do"] for each in puppet.questions] == ["run", "run", "run"]


def test_a_cell_is_called_as_was_said_if_it_begins_with_that(
    agent: ScriptedAgent, python: Interpreter
) -> None:
    """Else as nothing before it, so that its beginning is marked."""
    between = b""

    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        puppet.write(b"text")
        puppet.done()
        puppet.write(b"\x1b_tfnz:%s:0\x1b\\" % asked["after"].encode() + between)

    puppet = Puppet(agent, plays)
    first = python.run("1")
    agent.until(lambda: python._conversation._ahead)
    assert [python.run("2").stdout, first.stdout] == [b"text", b"text"]
    one, two = puppet.questions
    assert two["cell"] == one["after"] != two["after"]
    between = b"\x1b_tfnz:%s:0\x1b\\of another" % (b"a" * 32)
    assert python.run("3").stdout == b"text"
    written = agent.processes[puppet.process].streams[1]
    agent.until(lambda: python._conversation.offset == written.head)
    assert python.run("4").stdout == b"text"
    assert puppet.questions[3]["cell"] != puppet.questions[2]["after"]


async def test_its_twin_awaits(agent: ScriptedAgent, python: Interpreter) -> None:
    Puppet(agent, echo)
    first, second = await asyncio.gather(python.aio.run("a"), python.aio.run("b"))
    assert (first.text, second.text) == ("a", "b")


def test_one_for_each_context(agent: ScriptedAgent, container: Container) -> None:
    Puppet(agent, echo)
    container.python().run("1")
    container.python().run("2")
    container.python("other").run("3")
    names = [each.body["text"] for each in agent.named("process.spawn")]
    assert names == ["python cells", "python cells of context other"]
    for wrong in ("", "a b", "x" * 500, 5):
        with pytest.raises(Misuse, match="context"):
            container.python(wrong)  # type: ignore[arg-type]


def test_nobody_else_makes_one() -> None:
    with pytest.raises(Misuse, match=r"container\.python"):
        Interpreter()


def test_what_is_no_code(python: Interpreter) -> None:
    for wrong, says in ((b"1", "bytes"), ("a\0b", "NUL"), ("\ud800", "surrogate")):
        with pytest.raises(Misuse, match=says):
            python.run(wrong)  # type: ignore[arg-type]
    with pytest.raises(Misuse, match="data_callback"):
        python.run("1", data_callback="x")  # type: ignore[arg-type]


def test_callbacks_hear_it_in_order(agent: ScriptedAgent, python: Interpreter) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["do"] == "answer":
            puppet.done(asked["text"])
            return
        puppet.write(b"one\x1b_tfnz:e\x1b\\two\x1b_tfnz:o\x1b\\three")
        puppet.told("show", value={"data": {"a": "b"}, "left": [["image/png", 5 << 20]]})
        puppet.write(b"four")
        puppet.told("ask", prompt="name? ", hidden=False)

    Puppet(agent, plays)
    heard: list[Any] = []
    result = python.run(
        "x",
        data_callback=lambda p, data: heard.append((p is python.process, data)),
        stderr_callback=lambda p, data: heard.append(("err", data)),
        display_callback=lambda p, data: heard.append(data),
        input_callback=lambda p, prompt, hidden: f"typed {prompt!r} {hidden}",
    )
    text = b"".join(each[1] for each in heard if isinstance(each, tuple) and each[0] is True)
    assert text == b"onethreefour"
    assert heard.index(("err", b"two")) < heard.index({"a": "b"})
    assert result.text == "typed 'name? ' False"
    assert (result.stdout, result.stderr) == (b"onethreefour", b"two")
    assert (result.displays, result.left_out) == ([{"a": "b"}], ["image/png of 5 MiB"])


def test_nobody_answers_where_nobody_is_asked(agent: ScriptedAgent, python: Interpreter) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["do"] == "run":
            puppet.told("ask", prompt="", hidden=False)
        else:
            puppet.done(repr(asked["text"]))

    Puppet(agent, plays)
    assert python.run("input()").text == "None"

    def refuses(*_: object) -> str:
        raise EOFError

    assert python.run("input()", input_callback=refuses).text == "None"


def test_variables_go_with_a_cell(agent: ScriptedAgent, python: Interpreter) -> None:
    taken = {"a": ["json", [1]], "b": ["bytes", "eHg="]}
    puppet = Puppet(agent, lambda puppet, asked: puppet.done(taken=taken))
    result = python.run(
        "x", inputs={"c": (1, {"d": None}), "e": bytearray(b"f")}, outputs=["a", "b"]
    )
    assert result.variables == {"a": [1], "b": b"xx"}
    assert puppet.questions[0]["given"] == {"c": [1, {"d": None}], "e": b"f"}
    assert puppet.questions[0]["wanted"] == ["a", "b"]
    for inputs, outputs, says in (
        (
            {"a": object()},
            [],
            "Cannot hand over a: it is neither bytes, a table, nor a value of JSON",
        ),
        ({"a": float("nan")}, [], "neither bytes, a table, nor a value of JSON"),
        ({"a b": 1}, [], "'a b' is no name"),
        ({}, ["import"], "'import' is no name"),
        ({}, [5], "5 is no name"),
    ):
        with pytest.raises(Misuse, match=says):
            python.run("x", inputs=inputs, outputs=outputs)
    with pytest.raises(Misuse, match="its bash has none of Python"):
        python.container.bash().run("x", outputs=["a"])


def test_tables_go_with_a_cell(
    agent: ScriptedAgent, python: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"a": [1, 2]})

    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        said = [asked["code"] or "pandas", base64.b64encode(asked["tables"]["x"][1]).decode()]
        puppet.done(taken={"x": said} if asked["wanted"] else {})

    puppet = Puppet(agent, plays)
    with pytest.raises(Misuse, match="there is no pyarrow here"):
        python.run("", inputs={"x": frame})
    monkeypatch.setitem(sys.modules, "pyarrow", arrow.made)
    found = python.run("", inputs={"x": frame, "y": 1}, outputs=["x"]).variables["x"]
    assert found.equals(frame)
    assert puppet.questions[-1]["tables"] == {"x": ("pandas", b'{"a": [1, 2]}')}
    assert puppet.questions[-1]["given"] == {"y": 1}
    table = arrow.Table({"b": [3]})
    found = python.run("pyarrow", inputs={"x": table}, outputs=["x"]).variables["x"]
    assert found.columns == {"b": [3]}
    with pytest.raises(Misuse, match="Arrow has no type for what is in it"):
        python.run("", inputs={"x": pd.DataFrame({"a": [object()]})})
    with pytest.raises(Misuse, match="it is no table of Arrow's"):
        frames.unpacked("x", "pandas", b"none")
    monkeypatch.setattr(arrow.made, "__version__", "14.0.0")
    with pytest.raises(Misuse, match="pyarrow 14.0.0 believes what a table says"):
        frames.unpacked("x", "pandas", b"{}")


def test_what_it_raises(agent: ScriptedAgent, python: Interpreter) -> None:
    error = {"name": "ValueError", "text": "bad\x1b[2J", "trace": "Traceback\n  x\nValueError: bad"}
    Puppet(agent, lambda puppet, asked: puppet.done(error=error))
    result = python.run("x")
    assert result.returncode == 1
    assert result.error is not None
    assert "it raised ValueError: bad" in str(result.error) and "\x1b" not in str(result.error)
    assert result.error.details["trace"] == error["trace"]
    with pytest.raises(CellFailed):
        python.run("x", check=True)


@pytest.mark.parametrize(
    ("code", "about", "says"),
    [
        (-11, {}, r"ended by SIGSEGV \(11\)"),
        (3, {}, r"ended with code 3, as os._exit\(\) does"),
    ],
)
def test_its_end_is_one_sentence_and_the_next_is_new(
    agent: ScriptedAgent, python: Interpreter, code: int, about: dict[str, Any], says: str
) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["code"] != "die":
            puppet.done("alive")
            return
        puppet.write(b"last words")
        puppet.agent.end(puppet.process, code)

    Puppet(agent, plays)
    assert python.run("1").text == "alive"
    with pytest.raises(ProcessGone, match=rf"{says}.*the next cell begins anew\.") as caught:
        python.run("die")
    assert caught.value.details["stdout"] == b"last words"
    assert python.process is None
    assert python.run("1").text == "alive"
    assert len(agent.named("process.spawn")) == 2


def test_an_end_between_cells_is_told_by_the_next(
    agent: ScriptedAgent, python: Interpreter
) -> None:
    puppet = Puppet(agent, echo)
    python.run("1")
    assert python.process is not None
    agent.end(puppet.process, -9)
    python.process.wait(10)
    with pytest.raises(ProcessGone, match=r"SIGKILL \(9\).*the next cell begins anew"):
        python.run("2")
    assert python.run("3").text == "3"

    def destroy(_: ScriptedAgent, message: Any) -> Any:
        agent.end(message.body["process"], -9)
        return {"survivors": 0}, None

    agent.answers["process.destroy"] = destroy
    python.destroy()  # but not one that was asked for
    assert python.run("4").text == "4"


def test_an_image_without_one_names_some_that_have(
    agent: ScriptedAgent, container: Container
) -> None:
    def refuse(*_: object) -> Any:
        raise CommandNotFound("Cannot run 'python3': it is not there. Look.")

    agent.answers["process.spawn"] = refuse
    with pytest.raises(
        CommandNotFound, match="it has no python3 of 3.8 or newer.*python:3.13-slim"
    ):
        container.python().run("1")
    with pytest.raises(CommandNotFound, match="it has no /bin/sh.*debian or alpine"):
        container.bash().run("1")


def test_one_that_is_too_old(agent: ScriptedAgent, container: Container) -> None:
    def plays(_: ScriptedAgent, message: Any) -> Any:
        agent.write(message.body["process"], b"tfnz: Python 3.6\n", 2)
        agent.end(message.body["process"], 1)
        return {}, None

    agent.answers["process.stdin"] = plays
    with pytest.raises(
        CommandNotFound, match=r"its python3 is Python 3\.6, and cells need python3"
    ):
        container.python().run("1")


def test_one_of_an_earlier_kernel_goes_on(agent: ScriptedAgent, container: Container) -> None:
    puppet = Puppet(agent, echo)
    first = container.python()
    assert first.run("1").text == "1"
    container._conversations.clear()  # as a kernel that knows nothing of it
    agent.write(puppet.process, b"while nobody looked")
    later = container.python()
    assert later.run("2").text == "2"
    assert later.process is not None and first.process is not None
    assert later.process.id == first.process.id
    assert [each["do"] for each in puppet.questions] == ["run", "hello", "run"]


def test_more_than_is_taken_is_said_and_its_end_is_there(
    agent: ScriptedAgent, python: Interpreter
) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["code"] == "much":
            for _ in range(40):
                puppet.write(b"x" * 99_999 + b"\n")
            puppet.write(b"the end\n")
        puppet.done("it")

    Puppet(agent, plays)
    result = python.run("much")
    assert result.text == "it"
    assert len(result.stdout) < (1 << 20) + 20_000
    assert b"[more than 1 MiB: what follows is left out, but for its end]\n" in result.stdout
    assert b"[2.81 MiB left out]\n" in result.stdout
    assert result.stdout.endswith(b"\nthe end\n")
    assert python.run("little").stdout == b""


def test_a_timeout_interrupts(agent: ScriptedAgent, python: Interpreter) -> None:
    heard = []

    def ends(puppet: Puppet, *_asked: object) -> None:
        heard.append(1)
        if len(heard) == 2:  # the question and the interrupt: on a busy machine either is first
            puppet.done(error={"name": "KeyboardInterrupt", "text": "", "trace": ""})

    puppet = Puppet(agent, ends)

    def heeds(_: ScriptedAgent, message: Any) -> Any:
        assert message.body["signal"] == signal.SIGINT
        ends(puppet)
        return {"count": 1}, None

    agent.answers["process.signal"] = heeds
    with pytest.raises(
        WaitTimeout, match="within 0.05 s: it was interrupted, and its variables stay"
    ):
        python.run("x", timeout=0.05)
    assert not agent.named("process.destroy")


def test_one_that_does_not_heed_it_is_ended(
    agent: ScriptedAgent, python: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "GRACE", 0.05)
    Puppet(agent, lambda *_: None)

    def destroy(_: ScriptedAgent, message: Any) -> Any:
        agent.end(message.body["process"], -9)
        return {"survivors": 0}, None

    agent.answers["process.destroy"] = destroy
    with pytest.raises(WaitTimeout, match="did not heed an interrupt, its interpreter was ended"):
        python.run("x", timeout=0.05)
    assert python.process is None


def test_an_interrupted_wait_interrupts_the_cell(agent: ScriptedAgent, python: Interpreter) -> None:
    puppet = Puppet(agent, lambda *_: None)

    def interrupt() -> None:
        agent.until(lambda: puppet.questions)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        python.run("x")
    agent.until(lambda: agent.named("process.signal"))
    puppet.plays = echo
    puppet.done("late")  # of the cell that nobody waits for
    assert python.run("y").text == "y"


# --- hostile ones


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense",
        b'{"is_": "quit"}',
        b'{"is_": "done", "cell": 5}',
        b"[" * 100_000,
        b"x" * (9 << 20),
    ],
)
def test_what_none_of_ours_says_ends_it(
    agent: ScriptedAgent, python: Interpreter, said: bytes
) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["code"] == "forge":
            puppet.raw(said)
        else:
            puppet.done("fine")

    def destroy(_: ScriptedAgent, message: Any) -> Any:
        agent.end(message.body["process"], -9)
        return {"survivors": 0}, None

    agent.answers["process.destroy"] = destroy
    Puppet(agent, plays)
    with pytest.raises(ProcessGone, match="as it said what none of ours says"):
        python.run("forge")
    assert python.run("1").text == "fine"


def test_it_asks_for_one_line_at_a_time(agent: ScriptedAgent, python: Interpreter) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["do"] == "run":
            for _ in range(10):
                puppet.told("ask", prompt="?", hidden=False)

    def destroy(_: ScriptedAgent, message: Any) -> Any:
        agent.end(message.body["process"], -9)
        return {"survivors": 0}, None

    agent.answers["process.destroy"] = destroy
    Puppet(agent, plays)
    asked: list[str] = []

    def answers(_process: object, prompt: str, _hidden: bool) -> str:
        asked.append(prompt)
        agent.until(lambda: agent.named("process.destroy"))
        return ""

    with pytest.raises(ProcessGone, match="asks for input before"):
        python.run("x", input_callback=answers)
    assert len(asked) == 1


def test_what_it_shows_is_bounded(agent: ScriptedAgent, python: Interpreter) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        for number in range(conversation.MOST_SHOWN + 5):
            puppet.told("show", value={"data": {"text/plain": str(number)}, "left": []})
        puppet.done()

    Puppet(agent, plays)
    result = python.run("x")
    assert len(result.displays) == conversation.MOST_SHOWN
    assert result.left_out == ["5 values that it showed"]


def shows(puppet: Puppet, text: str, **where: Any) -> None:
    puppet.told("show", value={"data": {"text/plain": text}, "left": []}, **where)


def test_what_is_shown_again_takes_its_place_and_waits_for_who_is_slow(
    agent: ScriptedAgent, python: Interpreter
) -> None:
    """A thousand times: who hears of it hears of the first, the last, and few between."""

    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        shows(puppet, "0", place="a")
        shows(puppet, "other")
        for number in range(1, 1001):
            shows(puppet, str(number), place="a", again=True)
        puppet.done()

    Puppet(agent, plays)
    heard: list[tuple[str, str, bool]] = []
    result = python.run(
        "x",
        display_callback=lambda p, data: heard.append((data["text/plain"], data.place, data.again)),
    )
    assert python.process is not None
    place = f"{python.process.id}-a"  # which no other container can say
    assert heard[:2] == [("0", place, False), ("other", "", False)]
    assert heard[-1] == ("1000", place, True)
    assert len(heard) < 100
    assert [each["text/plain"] for each in result.displays] == ["1000", "other"]
    assert result.left_out == []


def test_what_is_cleared_goes_and_what_follows_stays_behind_it(
    agent: ScriptedAgent, python: Interpreter
) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        for number in range(1000):
            puppet.told("clear", wait=True)
            puppet.write(b"step %d\n" % number)
            shows(puppet, str(number))
        puppet.done()

    Puppet(agent, plays)
    page = [list[Any]()]
    result = python.run(
        "x",
        data_callback=lambda p, data: page[-1].append(data),
        display_callback=lambda p, data: page[-1].append(data["text/plain"]),
        clear_callback=lambda p, wait: page.append([wait]),
    )
    wait, *text, shown = page[-1]
    assert (wait, b"".join(text), shown) == (True, b"step 999\n", "999")
    assert len(page) < 100
    assert result.displays == [{"text/plain": "999"}] and result.left_out == []
    assert result.stdout.startswith(b"step 0\n")


def test_a_question_comes_after_what_it_is_about(agent: ScriptedAgent, python: Interpreter) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["do"] == "run":
            for number in range(3):
                puppet.told("clear", wait=False)
                shows(puppet, str(number))
            puppet.told("ask", prompt="?", hidden=False)
        else:
            puppet.done()

    Puppet(agent, plays)
    heard: list[str] = []
    python.run(
        "x",
        display_callback=lambda p, data: heard.append(data["text/plain"]),
        clear_callback=lambda p, wait: heard.append("clear"),
        input_callback=lambda p, prompt, hidden: heard.append(prompt) or "",
    )
    assert heard[-3:] == ["clear", "2", "?"]


async def test_answers_may_be_far_ahead_of_their_marks(
    agent: ScriptedAgent, python: Interpreter
) -> None:
    """Each of the two streams is read by itself; no more is read of one than fits a window."""
    most, large = 5000, {"data": {"text/plain": "x" * 2000}, "left": []}

    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        for number in range(1, most + 1):
            puppet.say(is_="show", cell=asked["cell"], number=number, value=large)
        puppet.say(is_="done", cell=asked["cell"], number=most + 1, value=None, error=None)

    def held() -> bool:
        found = [each for each in agent.readers.values() if each.stream == 2]
        return bool(found) and WINDOW <= found[0].offset == found[0].credit

    puppet = Puppet(agent, plays)
    asking = asyncio.create_task(python.aio.run("x"))
    await asyncio.to_thread(agent.until, held)
    puppet.write(b"".join(b"text\n" + puppet.mark(number + 1) for number in range(most + 1)))
    result = await asking
    assert len(result.displays) == conversation.MOST_SHOWN
    assert result.left_out == [f"{most - conversation.MOST_SHOWN:,} values that it showed"]
    assert result.stdout == b"text\n" * (most + 1)


def test_answers_without_their_marks_come_late(
    agent: ScriptedAgent, python: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_MARK", 0.05)

    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        about = {"value": None, "error": None}
        puppet.say(is_="done", cell=asked["cell"], number=99, **about)

    Puppet(agent, plays)
    assert python.run("x").value is None
