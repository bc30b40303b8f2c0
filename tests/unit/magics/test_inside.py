"""Tab and Shift-Tab in a cell that runs in a container."""

import asyncio
import threading
import time
from typing import Any

from IPython.core.completer import provisionalcompleter
from unit.inside.puppet import Puppet
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell

from tfnz_notebook import magics
from tfnz_notebook.magics.completion import sources


def knows(puppet: Puppet, asked: dict[str, Any]) -> None:
    """Runs cells, and offers what is typed with an ``x`` behind it."""
    told = {"typed": "", "offers": [], "text": ""}
    if asked["do"] == "complete":
        typed = asked["text"].rpartition(".")[2]
        told |= {"typed": typed, "offers": [[f"{typed}x", "function"], ["bad\n", "instance"]]}
    elif asked["do"] == "inspect":
        told["text"] = f"about {asked['text']}\x1b[2J"
    if asked["do"] == "run":
        puppet.done()
    else:
        puppet.say(is_="found", nonce=asked["nonce"], **told)


def offered(shell: Shell, text: str) -> list[str]:
    """What Tab offers at the end of a cell, and nothing for its first line."""
    with provisionalcompleter():
        return [each.text for each in shell.ip.Completer.completions(text, len(text))]


def test_tab_asks_the_containers_interpreter_alone(
    shell: Shell, agent: ScriptedAgent, web: str
) -> None:
    puppet = Puppet(agent, knows)
    shell.run("local_name = 1")
    cell = "%%tf_python web --context one\nfirst\nthing.loca"
    assert offered(shell, cell) == []  # it was not asked for yet: none is started for that
    assert not agent.named("process.spawn")
    shell.run("%%tf_python web --context one\n1")
    assert offered(shell, cell) == ["locax"]
    assert puppet.questions[-1]["text"] == "thing.loca"
    assert offered(shell, "%%tf_python web\nloca") == []  # another context
    assert offered(shell, "%%tf_python nosuch\nloca") == []
    assert offered(shell, "%%tf_bash web\nloca") == []
    assert offered(shell, "%%tf_python web --conte") == ["--context"]
    assert offered(shell, "thing = 1\nlocal_na") == ["local_name"]


def test_one_that_is_busy_is_not_waited_for(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    def plays(puppet: Puppet, asked: dict[str, Any]) -> None:
        if asked["do"] == "run" and asked["code"] != "busy":
            puppet.done()

    puppet = Puppet(agent, plays)
    shell.run("%%tf_python web\n1")
    began = time.monotonic()
    assert offered(shell, "%%tf_python web\nx") == []  # it says nothing
    assert time.monotonic() < began + sources.PATIENCE + 1
    beside = threading.Thread(target=lambda: shell["web"].python().run("busy"))
    beside.start()
    agent.until(lambda: puppet.questions[-1].get("code") == "busy")
    count = len(puppet.questions)
    assert offered(shell, "%%tf_python web\nx") == []  # it runs a cell, and is not even asked
    assert len(puppet.questions) == count
    puppet.done()
    beside.join()


def test_shift_tab_asks_it_too(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    class Kernel:
        """As ipykernel's."""

        def do_inspect(self, code: str, cursor_pos: int, detail_level: int = 0) -> Any:
            return {"status": "ok", "found": True, "data": {"text/plain": "here"}}

    Puppet(agent, knows)
    shell.run("%%tf_python web\n1")
    magics.unregister(shell.ip)
    shell.ip.kernel = kernel = Kernel()
    magics.register(shell.ip)
    asked: Any = kernel.do_inspect

    def about(code: str) -> Any:
        return asyncio.run(asked(code, len(code) - 1))["data"].get("text/plain")

    assert about("%%tf_python web\nfirst\nthing.name(") == "about thing.name"
    assert about("%%tf_python other\nname(") is None
    assert about("name(") == "here"
    assert about("%%tf_python web") == "here"
    magics.unregister(shell.ip)
    assert kernel.do_inspect("name", 1)["data"] == {"text/plain": "here"}
    shell.ip.kernel = None
    magics.register(shell.ip)
