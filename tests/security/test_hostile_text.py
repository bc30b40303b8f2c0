"""One table: what a container may say or be called, at every place that shows it.

Browsers are in tests/browser/test_hostile.py, cards and frozen output in all their forms in
tests/unit/widgets; here is each place once, and those that no widget is behind.
"""

import html.parser
import json
import logging
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.conftest import agent, runtime
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell, shell, web
from unit.widgets.explorer import told

from tfnz_notebook import errors
from tfnz_notebook._base.text import last_words, one_line
from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Tag, Type
from tfnz_notebook.agent.__main__ import _OneLine
from tfnz_notebook.agent.container import refusals
from tfnz_notebook.agent.process.command import Command
from tfnz_notebook.container import Container
from tfnz_notebook.engines.base import ContainerSpec, State
from tfnz_notebook.errors import FileError, Misuse, TfnzError
from tfnz_notebook.magics.commands.why import rendered
from tfnz_notebook.magics.completion.complete import _fit
from tfnz_notebook.magics.shown.text import clean
from tfnz_notebook.widgets.explorer import facts, page, text
from tfnz_notebook.widgets.saved import frozen
from tfnz_notebook.widgets.saved.ansi import visible

__all__ = ["agent", "runtime", "shell", "web"]

STRINGS = {
    "markup": "<script>alert(1)</script><img src=x onerror='alert(2)'>",
    "out of an attribute": "\"'><svg onload=alert(1)>&lt;",
    "the clipboard": "a\x1b]52;c;cHduZWQ=\x07b",
    "a link": "\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\",
    "a title, and its report": "\x1b]0;pwned\x07\x1b[21t",
    "the cursor": "\x1b[2J\x1b[1;1H\x1b[8mhidden",
    "C1 controls": "\x9b2J\x9d0;t\x9c\x90q\x9c",
    "a device's answer": "\x1bP$q\x1b\\\x1b[6n\x1b[c",
    "lines of its own": "x\nWARNING root: all is well\r\n2026-01-01 forged",
    "the other direction": "\u202egnp.exe\u202c\u2066\u200f",
    "what nobody sees": "a\u200bb\ufeff\u00ad\u2060",
    "no text": "\udcff\udcfe\ud800",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f",
}
#: None of this may reach a terminal or a page as it is, colours but for.
OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def a_card(said: str) -> dict[str, Any]:
    names = dict.fromkeys(("name", "tag", "image", "node", "ip"), said)
    failure = {"class": "TfnzError", "message": said, "details": {}}
    ran = [told.process("c" * 32, "p", text=said)]
    info = facts.container(
        told.container(
            **names, state="failed", text=said, error=failure, log=said.encode("utf-8", "replace")
        ),
        ran,
        None,
    )
    return {"where": "x", "connected": True, "kind": "container", "engine": "x", **info}


def logged(said: str) -> str:
    record = logging.LogRecord("n", logging.WARNING, "", 0, "name %s: %s", (said, said), None)
    return _OneLine("%(levelname)s %(message)s").format(record)


def failed(said: str) -> str:
    raw = said.encode("utf-8", "surrogatepass")
    frame = wire.Frame(Type.FAILED, 2, fields=((Tag.ERRNO, 5), (Tag.STAGE, raw), (Tag.TEXT, raw)))
    spawning = refusals.spawn_error(Command([said], text=said, user=said, cwd=said), frame)
    return f"{refusals.file_error('put', said, frame)} {spawning}"


def exited(said: str) -> str:
    spec = ContainerSpec(id="c" * 32, image=said)
    state = State("exited", exit_code=1)
    return str(refusals.exited_early(spec, state, said.encode("utf-8", "surrogatepass")))


def crossed(said: str) -> str:
    return str(errors.from_wire({"class": "FileError", "message": said, "details": {}}))


#: Everywhere in a terminal or a cell's text; by what is shown where.
TEXTS: dict[str, Callable[[str], str]] = {
    "an error": lambda said: str(Misuse(f"Cannot use {said}: none. Give one.")),
    "an error of the agent's": crossed,
    "a refusal of the guest's": failed,
    "a container's last words": exited,
    "an error of a magic's": lambda said: "\n".join(rendered(TfnzError(said))),
    "the agent's log": logged,
    "output": lambda said: clean(said.encode("utf-8", "replace")),
    "a name in a card": one_line,
    "a card": lambda said: text.draw(a_card(said)),
    "the end of a log": lambda said: last_words(said.encode("utf-8", "replace")),
    "a title": visible,
}


@pytest.mark.parametrize("place", TEXTS)
def test_in_text(place: str, subtests: pytest.Subtests) -> None:
    for what, said in STRINGS.items():
        with subtests.test(what):
            shown = TEXTS[place](said)
            bare = (
                _COLOUR.sub("", shown).replace("\r", "")
                if place in ("output", "an error of a magic's")
                else shown
            )
            if place == "output":  # what turns text around is harmless to a terminal, and is output
                bare = re.sub("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", bare)
            assert not OBEYED.findall(bare), repr(shown)
            if place == "the agent's log":
                assert "\n" not in shown
            if place != "a title":
                shown.encode()


class Inert(html.parser.HTMLParser):
    """HTML of the elements that we write, with a style, and a class of ours."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"div", "span", "pre", "b", "table", "tbody", "tr", "th", "td"}, tag
        for name, value in attrs:
            assert value is not None
            if name == "class":
                assert re.fullmatch(r"tfnz-(kept|a\d+)", value)
                continue
            assert name == "style", name
            assert not re.search(r"url|expression|javascript|[<>\"]", value)


PAGES: dict[str, Callable[[str], str]] = {
    "a card": lambda said: page.draw(a_card(said)),
    "frozen output": lambda said: frozen.markup(
        frozen.rows([(1, said.encode("utf-8", "replace")), (2, said.encode("utf-8", "replace"))])
    ),
    "its title": lambda said: frozen.markup(frozen.rows([(1, b"x")]), title=visible(said)),
}


@pytest.mark.parametrize("place", PAGES)
def test_in_a_page(place: str, subtests: pytest.Subtests) -> None:
    for what, said in STRINGS.items():
        with subtests.test(what):
            markup = PAGES[place](said)
            Inert(markup)
            assert "\x1b" not in markup


# --- objects and magics --------------------------------------------------------------------------


def test_reprs_and_errors_of_objects(shell: Shell, web: str, subtests: pytest.Subtests) -> None:
    box: Container = shell["web"]
    other: Container = shell.run("%tf_spawn --name db nginx")
    process = box.spawn_process("sleep 1")
    tunnel = box.attach_tunnel(80)
    for what, said in STRINGS.items():
        with subtests.test(what):
            box._info = {**box._info, "name": "", "tag": said, "image": said}
            process._info = {**process._info, "text": said}
            process._text = said
            for thing in (box, process, tunnel):
                assert not OBEYED.findall(repr(thing)), repr(thing)
                assert "\n" not in repr(thing)
            with pytest.raises(Misuse) as caught:
                other.destroy_process(process)
            assert not OBEYED.findall(str(caught.value))


def test_what_is_completed_runs_nothing(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    """IPython fills in $names and runs {expressions} of a magic's line, also between quotes."""
    evil = ["{__import__('os')", "$HOME", "$$", "a\nprint(1)", "b}", "c\x1b[2J", "d\u202e", "f\r"]
    fine = ["a file", "e'f", "fine"]
    mode = stat.S_IFREG | 0o644
    entries = [{"name": name, "mode": mode, "kind": mode} for name in (*evil, *fine)]
    agent.answers["file.list"] = lambda scripted, message: ({"entries": entries}, None)
    offered = shell.complete("%tf_get web /")
    assert len(offered) == len(fine), offered
    for line in offered:
        given = shell.ip.var_expand(f"tf_get web {line}")
        assert given == f"tf_get web {line}"
    assert not any(map(_fit, evil)) and all(map(_fit, fine))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "..", ".", "", "a/../../evil", "nul\0"])
def test_a_name_in_a_listing_leads_nowhere_else(
    shell: Shell, agent: ScriptedAgent, web: str, tmp_path: Path, name: str
) -> None:
    """%tf_get of a directory asks the container for names, and makes files of them here."""
    mode = stat.S_IFREG | 0o644
    directory = stat.S_IFDIR | 0o755

    def listing(scripted: ScriptedAgent, message: Any) -> Any:
        return {
            "entries": [{"name": name, "mode": kind, "kind": kind} for kind in (mode, directory)]
        }, None

    agent.answers["file.list"] = listing
    agent.answers["file.get"] = lambda scripted, message: ({"size": 4}, None)
    home = tmp_path / "here" / "deep"
    home.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if "deep" not in path.parts}
    with pytest.raises(FileError, match="an entry is called"):
        shell.run(f"%tf_get web /data {home}")
    made = {path for path in tmp_path.rglob("*") if "deep" not in path.parts}
    assert made == before
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_the_table_is_of_what_it_says() -> None:
    """Each string would be obeyed somewhere: the tests above test something."""
    assert json.dumps(STRINGS)
    for name, said in STRINGS.items():
        dangerous = OBEYED.search(said) or "<" in said or "\n" in said
        assert dangerous or name in ("what nobody sees", "no text"), name
