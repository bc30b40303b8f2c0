"""Errors as people see them, and what ``%tf_why`` says besides."""

import re
from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell

from tfnz_notebook import magics
from tfnz_notebook.errors import Misuse, TfnzError
from tfnz_notebook.magics.commands.why import typed


def shown(shell: Shell, code: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines under a cell that fails."""
    capsys.readouterr()
    assert not shell.ip.run_cell(code).success
    said = capsys.readouterr()
    return (said.out + said.err).strip().splitlines()


HELPER = """def pages(box):
    made = box.attach_tunnel(80)
    return box.wait_tcp(99999)

pages(web)
"""


@pytest.mark.parametrize(
    ("code", "number", "line"),
    [
        ("n = 1\n%tf_run nosuch ls {n} $n", 2, "%tf_run nosuch ls {n} $n"),
        ("p = %tf_run nosuch it's '$HOME'", 1, "p = %tf_run nosuch it's '$HOME'"),
        ("%%tf_run nosuch python3\nprint(1)\n", 1, "%%tf_run nosuch python3"),
        ("web.spawn_process(\n    3,\n)", 1, "web.spawn_process("),
        ("None\n\nawait web.aio.spawn_process(3)", 3, "await web.aio.spawn_process(3)"),
        (HELPER, 3, "return box.wait_tcp(99999)"),
    ],
)
def test_an_error_is_a_sentence_and_the_users_line(
    shell: Shell,
    agent: ScriptedAgent,
    web: str,
    capsys: pytest.CaptureFixture[str],
    code: str,
    number: int,
    line: str,
) -> None:
    said, where = shown(shell, code, capsys)
    assert ": Cannot " in said
    assert f"line {number}: " in where
    assert line in where
    assert "%tf_why" in where


def test_what_was_typed_is_what_is_shown() -> None:
    assert typed("get_ipython().run_line_magic('tf_ps', '')\n") == "%tf_ps"
    assert typed("    x = get_ipython().run_line_magic('a', 'b \\'c\\'')") == "x = %a b 'c'"
    assert typed("get_ipython().run_cell_magic('a', 'b', 'c\\nd')") == "%%a b"
    assert typed("get_ipython().run_line_magic(name, rest)").startswith("get_ipython()")


def test_why_shows_the_rest_and_the_containers_last_words(
    shell: Shell, agent: ScriptedAgent, web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run("%tf_why")
    assert "nothing has gone wrong" in capsys.readouterr().out
    agent.write(web, b"starting\n\x1b]0;t\x07port 80 is taken\n")
    assert len(shown(shell, "web.spawn_process(3)", capsys)) == 2
    shell.run("%tf_why")
    said = capsys.readouterr().out
    assert said.startswith("web (running) said last:\nstarting\n")
    assert "port 80 is taken" in said
    assert "\x1b]" not in said
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert "_container/process.py" in plain


def test_other_errors_and_other_places_are_as_they_were(
    shell: Shell, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "Traceback" in "\n".join(shown(shell, "1 / 0", capsys))
    error: Any = Misuse("Cannot.")
    assert error._render_traceback_()
    magics.unregister(shell.ip)
    assert not hasattr(TfnzError, "_render_traceback_")
