"""``%%tf_python`` and ``%%tf_bash``, and what a page is given of what a container shows."""

import base64
import struct
from html.parser import HTMLParser
from typing import Any

import pytest
from unit.inside.puppet import Puppet, echo
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell

from tfnz_notebook.errors import CellFailed, Misuse
from tfnz_notebook.interpreter import Displayed, Result
from tfnz_notebook.magics.commands.why import rendered
from tfnz_notebook.magics.shown import values
from tfnz_notebook.magics.shown.pictures import Pictures


def test_the_value_is_the_cells(
    shell: Shell, agent: ScriptedAgent, web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    puppet = Puppet(agent, echo)
    found = shell.run("%%tf_python web\n1+1")
    assert isinstance(found, Result) and found.text == "1+1"
    assert shell.ip.display_formatter.format(found)[0] == {"text/plain": "1+1"}
    assert puppet.questions[0]["name"] == f"In [{shell.ip.displayhook.prompt_count}]"
    puppet.plays = lambda puppet, asked: puppet.done()
    assert shell.run("%%tf_python web\nx = 5") is None
    assert shell.run("%%tf_python web --context other\nx = 5") is None
    assert agent.named("process.spawn")[-1].body["text"] == "python cells of context other"


def test_what_it_writes_and_shows_is_printed_harmless(
    shell: Shell, agent: ScriptedAgent, web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        puppet.write(b"a\x1b]52;c;eA==\x07b\x1b[31mc\x1b_tfnz:e\x1b\\error\x1b_tfnz:o\x1b\\")
        puppet.told("show", value={"data": {"text/plain": "shown\x1b[2J"}, "left": []})
        puppet.done()

    Puppet(agent, plays)
    capsys.readouterr()
    shell.run("%%tf_python web\nx")
    printed = capsys.readouterr()
    assert printed.out == "ab\x1b[31mc\nshown\n"
    assert printed.err == "error"


def test_what_it_raises_is_shown_as_its_traceback(
    shell: Shell, agent: ScriptedAgent, web: str
) -> None:
    error = {"name": "E", "text": "bad", "trace": "Traceback:\n  x\x1b[2J\nE: bad\n"}
    Puppet(agent, lambda puppet, asked: puppet.done(error=error))
    with pytest.raises(CellFailed, match="it raised E: bad") as caught:
        shell.run("%%tf_python web\nx")
    assert rendered(caught.value) == ["Traceback:\n  x\nE: bad"]


def test_input_asks_here(
    shell: Shell, agent: ScriptedAgent, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["do"] == "run":
            puppet.told("ask", prompt="name\x1b[2J? ", hidden=False)
        else:
            puppet.done(asked["text"])

    Puppet(agent, plays)
    monkeypatch.setattr("builtins.input", lambda prompt: f"typed at {prompt!r}")
    assert shell.run("%%tf_python web\ninput()").text == "typed at 'name? '"


def test_variables_of_the_notebook(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    Puppet(agent, lambda puppet, asked: puppet.done(taken={"y": ["json", asked["given"]["x"] + 1]}))
    shell.run("x = 5")
    shell.run("%%tf_python web --in x --out y\ny = x + 1")
    assert shell["y"] == 6
    with pytest.raises(Misuse, match="no such variable here"):
        shell.run("%%tf_python web --in nosuch\n1")


def test_a_shells_code(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    def plays(_: ScriptedAgent, message: Any) -> Any:
        cell = message.payload.decode().split()[1]
        process = message.body["process"]
        agent.write(process, f"\x1b_tfnz:{cell}:0\x1b\\hello\x1b_tfnz:{cell}:1\x1b\\".encode())
        told = f'{{"is_":"done","cell":"{cell}","number":1,"code":3}}'
        agent.write(process, f"\x1b_tfnz.{told}\x1b\\".encode(), 2)
        return {}, None

    agent.answers["process.stdin"] = plays
    with pytest.raises(CellFailed, match="it ended with code 3"):
        shell.run("%%tf_bash web\nexit")
    assert shell.run("%%tf_bash web --check no\nexit") is None


def test_lines_that_are_none(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    for line, says in (
        ("%%tf_python web\n  ", "nothing in it"),
        ("%%tf_python\n1", "CONTAINER"),
        ("%%tf_python web --context 'a b'\n1", "context"),
        ("%%tf_python web --timeout x\n1", "timeout"),
        ("%%tf_bash web --check maybe\n1", "--check"),
    ):
        with pytest.raises(Misuse, match=says):
            shell.run(line)


# --- what a page is given


def test_what_is_shown_again_takes_its_place_in_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(
        "IPython.display.publish_display_data", lambda data, **where: told.append((data, where))
    )
    for place, again in (("", False), ("here", False), ("here", True)):
        value = Displayed({"text/plain": "x\x1b[2J"})
        value.place, value.again = place, again
        Pictures().value(value, trusted=False)
    text, named = {"text/plain": "x"}, {"display_id": "here"}
    assert told == [
        (text, {"transient": None, "update": False}),
        (text, {"transient": named, "update": False}),
        (text, {"transient": named, "update": True}),
    ]


def png(wide: int, high: int) -> str:
    head = struct.pack(">I4sII", 13, b"IHDR", wide, high)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + head).decode()


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '"></iframe><script>alert(1)</script>',
        "'\"&quot;&#34;&gt;</iframe><img src=x onerror=alert(1)>",
        "<!--",
        "\0<b>",
        "x" * 100_000,
    ],
)
@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml"])
def test_html_is_in_a_frame_that_can_do_nothing(hostile: str, kind: str) -> None:
    found = values.shown({kind: hostile, "text/plain": "x"}, trusted=False)
    assert set(found) == {"text/plain", "text/html"}
    ((tag, about),) = Tags(found["text/html"]).tags
    assert (tag, about["sandbox"]) == ("iframe", "")
    document = about["srcdoc"] or ""
    policy = "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'"
    assert Tags(document).tags[1][1]["content"] == policy  # before anything of the container's
    assert document.replace("\ufffd", "\0").endswith(hostile)


def test_pictures_are_pictures() -> None:
    good, jpeg = png(10, 10), base64.b64encode(b"\xff\xd8\xff...").decode()
    found = values.shown({"image/png": good, "image/jpeg": jpeg}, trusted=False)
    assert (found["image/png"], found["image/jpeg"]) == (good, jpeg)
    for kind, picture in (
        ("image/png", png(60_000, 60_000)),
        ("image/png", base64.b64encode(b"<svg onload=alert(1)>").decode()),
        ("image/png", "no base64!"),
        ("image/jpeg", good),
        ("image/png", {"not": "text"}),
        ("image/gif", good),
    ):
        assert set(values.shown({kind: picture}, trusted=False)) == {"text/plain"}


def test_what_would_have_to_be_believed_is_not_shown() -> None:
    data = {
        "text/plain": "plain\x1b]52;c;eA==\x07\x1b[31m",
        "text/markdown": "<script>",
        "text/latex": r"\href{javascript:alert(1)}{x}",
        "application/javascript": "alert(1)",
        "application/json": {},
        "application/vnd.jupyter.widget-view+json": {"model_id": "x"},
    }
    assert values.shown(data, trusted=False) == {"text/plain": "plain\x1b[31m"}
    assert values.shown(data, trusted=True) == data


def test_text_has_an_end() -> None:
    found = values.shown({"text/plain": "x" * (3 << 20)}, trusted=False)["text/plain"]
    assert len(found) < (1 << 20) + 50
    assert found.endswith("[2 MiB left out]")
