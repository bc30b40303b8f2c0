"""What Tab offers; with the agent's answers, without them, and without an agent."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell

from tfnz_notebook.magics.completion import sources


@pytest.fixture
def answers(agent: ScriptedAgent) -> ScriptedAgent:
    """The agent has images, and every container the same few files."""

    def listing(scripted: ScriptedAgent, message: Any) -> Any:
        kinds = {"nginx": 0o040755, "nfs.conf": 0o100644, "a file": 0o100644}
        entries = [{"name": name, "mode": mode, "kind": mode} for name, mode in kinds.items()]
        return {"entries": entries if message.body["path"] == "/etc" else []}, None

    names = ["docker.io/library/nginx:latest", "docker.io/library/debian:12"]
    images = [{"id": name, "tags": [name]} for name in names]
    agent.answers["image.list"] = lambda scripted, message: ({"images": images}, None)
    agent.answers["file.list"] = listing
    return agent


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%tf_run --ti", ["--timeout"]),
        ("%tf_run -d --deta", ["--detach"]),
        ("p = %tf_run we", ["web"]),
        ("%tf_run --check ", ["no", "yes"]),
        ("%tf_run web cat /etc/n", ["/etc/nfs.conf", "/etc/nginx/"]),
        ("%tf_run web --ti", []),  # the command's own
        ("%tf_get web /etc/ng", ["/etc/nginx/"]),
        ("%tf_get web '/etc/a", ["'/etc/a file'"]),
        ("%tf_signal web TER", ["TERM"]),
        ("%tf_spawn ng", ["nginx"]),
        ("%tf_spawn debian:", ["debian:12"]),
        ("%tf_spawn --pull ", ["always", "missing", "never"]),
        ("%tf_plot web vmstat 1 --par", ["--parser"]),
        ("%tf_plot web vmstat 1 --parser vm", ["vmstat"]),
        ("%tf_connect pod", ["podman"]),
        ("%tf_top web we", ["web"]),
        ("%%tf_run we", ["web"]),
        ("tf_run we", ["web"]),
        ("%tf_run web fo", []),  # and no Python: "for", "format"
        ("%tf_ps ", []),
        ("%tf_run web -", []),
        ("%tf_spawn --keep nosuch", []),
    ],
)
def test_what_belongs_there_is_offered(
    shell: Shell, answers: ScriptedAgent, web: str, line: str, offered: list[str]
) -> None:
    assert sorted(shell.complete(line)) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%tf_connect kubernetes://c", ["kubernetes://c", "kubernetes://c/default"]),
        (
            "%tf_connect kubernetes://a%2Fb/",
            [
                "kubernetes://a%2Fb/default",
                "kubernetes://a%2Fb/of-a%2Fb",
                "kubernetes://a%2Fb/team",
            ],
        ),
        (
            'x = Location(where="kubernetes://c/',
            ["kubernetes://c/default", "kubernetes://c/of-c"],
        ),
        ("Location('pod", ["podman"]),
        ("%tf_connect dock", ["docker", "docker://far", "docker://near"]),
    ],
)
def test_contexts_and_their_namespaces_are_offered(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, offered: list[str]
) -> None:
    contexts = [
        {"name": "a/b", "context": {"cluster": "k", "namespace": "team"}},
        {"name": "c", "context": {"cluster": "l"}},
    ]
    (tmp_path / "config").write_text(json.dumps({"contexts": contexts}))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("near", "far"):
        meta = tmp_path / "contexts" / "meta" / name / "meta.json"
        meta.parent.mkdir(parents=True)
        meta.write_text(json.dumps({"Name": name}))

    async def asked(where: str) -> list[str]:
        return [f"of-{where.removeprefix('kubernetes://')}"]

    monkeypatch.setattr(sources, "_namespaces", asked)
    assert sorted(shell.complete(line)) == offered
    (tmp_path / "config").write_text("a: [")  # there is nobody to tell
    assert not [each for each in shell.complete(line) if "kubernetes" in each and "of-" not in each]


def test_processes_are_offered_by_variable_and_pid(
    shell: Shell, answers: ScriptedAgent, web: str
) -> None:
    shell.run("worker = %tf_run -d web sleep 1")
    assert shell.complete("%tf_signal wo") == ["worker"]
    assert shell.complete("%tf_signal web:") == ["web:42"]
    assert shell.complete("%tf_signal slee") == ["worker", "web:42"]
    with provisionalcompleter():
        offered = {c.text: c.type for c in shell.ip.Completer.completions("%tf_signal ", 11)}
    assert offered["worker"].replace("\xa0", " ") == "sleep 1 · pid 42"
    assert offered["web"] == "container"
    assert not {"web:42", "sleep 1"} & set(offered), "what has a variable is offered once"
    shell.run("del worker, web, _")
    assert shell.complete("%tf_signal ")[:2] == ["web", "web:42"]


def test_local_files(shell: Shell, answers: ScriptedAgent, web: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").touch()
    (tmp_path / "pages").mkdir()
    (tmp_path / ".pagerc").touch()
    offered = shell.complete(f"%tf_put web {tmp_path}/pa")
    assert sorted(offered) == [f"{tmp_path}/page.html", f"{tmp_path}/pages/"]
    assert shell.complete(f"%tf_put web {tmp_path}/nosuch/x") == []


def test_an_agent_that_does_not_answer_holds_nobody_up(
    shell: Shell, answers: ScriptedAgent, web: str
) -> None:
    late: list[Any] = []
    listing = answers.answers["file.list"]

    def hold(scripted: ScriptedAgent, message: Any) -> Any:
        late.append((scripted._identity, message))
        return NotImplemented

    answers.answers["file.list"] = hold
    began = time.monotonic()
    assert shell.complete("%tf_get web /etc/ng") == []
    assert time.monotonic() - began < 5  # it waits a quarter of a second; machines may be busy
    del answers.answers["file.list"]

    def answer() -> None:
        from tfnz_notebook._wire import link as wire

        for identity, message in late:
            body, payload = listing(answers, message)
            answers._send(identity, wire.reply(message, body, payload))

    answers.do(answer)  # for the next Tab
    answers.until(lambda: shell.complete("%tf_get web /etc/ng") == ["/etc/nginx/"])


def test_nothing_is_started_to_complete(shell: Shell, agent: ScriptedAgent) -> None:
    for line in ("%tf_run we", "%tf_spawn ng", "%tf_get web /e", "%tf_signal ", "%tf_spawn -v d"):
        shell.complete(line)
    assert not agent.requests


def test_what_is_meant_comes_first_and_then_the_flags(
    shell: Shell, answers: ScriptedAgent, web: str
) -> None:
    shell.ip.Completer.use_jedi = True  # as it is
    offered = shell.complete("%tf_spawn ")
    assert offered[:2] == ["nginx", "debian:12"]
    assert {each[:2] for each in offered[4:]} == {"--"}
    assert shell.complete("%tf_run ")[0] == "web"


def test_what_ipython_fills_in_is_pythons(shell: Shell, answers: ScriptedAgent, web: str) -> None:
    shell.run("wibble = 1")
    assert "wibble" in shell.complete("%tf_run web echo {wib")
    assert "wibble" in "".join(shell.complete("%tf_run web echo $wib"))


def test_other_lines_are_ipythons(shell: Shell, agent: ScriptedAgent) -> None:
    shell.run("wibble = 1")
    assert "wibble" in shell.complete("print(wib")
    assert "%tf_run" in shell.complete("%tf_ru")


@pytest.mark.parametrize(
    "line",
    ["%tf_run 'op", "%tf_run \\", "%tf_nosuch x", "%tf_get web ../x", "%tf_put web ~nobody/"],
)
def test_nonsense_raises_nothing(
    shell: Shell, answers: ScriptedAgent, web: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.complete(line)
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
