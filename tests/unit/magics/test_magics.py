"""Each magic makes the right call, and returns the object."""

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell

from tfnz_notebook import magics
from tfnz_notebook._wire.guest import Target
from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    FileError,
    Misuse,
    ProcessFailed,
    ProcessGone,
    WaitTimeout,
    to_wire,
)
from tfnz_notebook.location import Location
from tfnz_notebook.magics.commands.why import rendered
from tfnz_notebook.widgets import publish


def ends(
    agent: ScriptedAgent, out: bytes = b"", err: bytes = b"", code: int = 0, **about: Any
) -> None:
    """Processes say this, and end, once they have all of their stdin."""

    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        ident = message.body["process"]
        for name, value in about.items():
            setattr(scripted.processes[ident], name, value)
        scripted.write(ident, out)
        scripted.write(ident, err, 2)
        scripted.end(ident, code)
        return {}, None

    agent.answers["process.close_stdin"] = answer


def spec(agent: ScriptedAgent) -> dict[str, Any]:
    """What the agent was asked to spawn last."""
    found: dict[str, Any] = agent.named("container.spawn")[-1].body["spec"]
    return found


# --- where


def test_the_first_magic_makes_a_location_and_says_so_once(
    shell: Shell, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run("web = %tf_spawn nginx")
    shell.run("db = %tf_spawn debian")
    assert capsys.readouterr().out == "podman, session s-test\n"
    assert shell["web"].location is shell["db"].location
    shell["web"].location.disconnect()
    shell.ip.kernel = object()  # a notebook, whose cards say it
    shell.run("_ = %tf_connect")
    assert capsys.readouterr().out == ""


def test_the_users_only_location_is_the_current_one(
    shell: Shell, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run("from tfnz_notebook.location import Location\nmine = Location('podman')")
    shell.run("web = %tf_spawn nginx")
    assert shell["web"].location is shell["mine"]
    assert "session" not in capsys.readouterr().out
    shell["mine"].disconnect()


def test_connecting_elsewhere(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    shell.run("there = %tf_connect podman --session demo")
    assert isinstance(shell["there"], Location)
    assert agent.named("hello")[-1].body["session"] == "demo"
    shell.run("db = %tf_spawn debian")
    assert shell["db"].location is shell["there"]
    assert shell["web"].location is not shell["there"]  # as it was
    shell.run("back = web.location\n%tf_connect back")
    shell.run("c = %tf_spawn debian")
    assert shell["c"].location is shell["web"].location
    with pytest.raises(Misuse, match="ttl is for durable"):
        shell.run("%tf_connect podman --ttl 3")


# --- spawn


def test_spawning_as_docker_run(
    shell: Shell, agent: ScriptedAgent, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").write_text("hello")
    monkeypatch.setenv("FROM_HERE", "yes")
    shell.run("port = 1024")
    line = (
        "--name db -e A=1 -e FROM_HERE -v data:/data:ro -v /srv:/srv --cpu 0.5 -m 512m "
        f"-f {tmp_path}/page.html:/www/ -u nobody -w /tmp --network none "
        "--cap-add SYS_PTRACE --cap-add kill debian sleep 1000"
    )
    made = shell.run(f"%tf_spawn {line}")
    assert isinstance(made, Container)
    told = spec(agent)
    assert told["name"] == "db"
    assert told["env"] == {"A": "1", "FROM_HERE": "yes"}
    assert told["volumes"] == [["data", "/data", True], ["/srv", "/srv", False]]
    assert agent.named("volume.create")[-1].body["name"] == "data"
    assert (told["cpu"], told["memory"]) == (0.5, 512 << 20)
    assert (told["user"], told["workdir"], told["network"]) == ("nobody", "/tmp", "none")
    assert told["capabilities"] == ["SYS_PTRACE", "KILL"]
    assert told["command"] == ["sleep", "1000"]
    assert b"/www/page.html" in (agent.named("container.spawn")[-1].payload or b"")


def test_an_images_own_first_process(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    shell.run("%tf_spawn --entrypoint unmodified debian")
    assert spec(agent)["unmodified"] is True
    shell.run("%tf_spawn --entrypoint /init debian serve")
    assert (spec(agent)["entrypoint"], spec(agent)["command"]) == (["/init"], ["serve"])
    with pytest.raises(Misuse, match="unmodified"):
        shell.run("%tf_spawn -z --entrypoint unmodified debian")
    with pytest.raises(Misuse, match="the cell is what it runs"):
        shell.run("%%tf_spawn --entrypoint /init debian\ntrue")


@pytest.mark.parametrize(
    ("typed", "argv"),
    [
        ("echo 'two words'", ["echo", "two words"]),
        ("echo a | cat", ["/bin/sh", "-c", "echo a | cat"]),
        ("echo it's", ["/bin/sh", "-c", "echo it's"]),
    ],
)
def test_its_command_is_an_argv_unless_only_a_shell_can_read_it(
    shell: Shell, agent: ScriptedAgent, web: str, typed: str, argv: list[str]
) -> None:
    made = shell.run(f"%tf_spawn debian {typed}")
    assert spec(agent)["command"] == argv
    assert made.main.command == typed


def test_sleeping_and_publishing(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    made = shell.run("%tf_spawn -z -p 80 debian")
    assert spec(agent)["sleep"] is True
    (tunnel,) = made.all_tunnels()
    assert tunnel.dest_port == 80
    with pytest.raises(Misuse, match="sleeps and has a command"):
        shell.run("%tf_spawn -z debian ls")
    before = len(agent.named("container.spawn"))
    with pytest.raises(Misuse, match="publish"):
        shell.run("%tf_spawn -p x debian")
    assert len(agent.named("container.spawn")) == before


def test_a_port_that_is_taken_leaves_no_container(
    shell: Shell, agent: ScriptedAgent, web: str
) -> None:
    port = shell.run("web.attach_tunnel(80)").port
    with pytest.raises(Exception, match=str(port)):
        shell.run(f"%tf_spawn -p {port}:80 debian")
    agent.until(lambda: agent.named("container.destroy"))


def test_a_container_that_fails_raises_the_cause(
    shell: Shell, agent: ScriptedAgent, web: str
) -> None:
    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        ident = message.body["container"]
        error = to_wire(ContainerFailed("Cannot start: no. Try again."))
        info = {"container": ident, "state": "failed", "image": "debian", "error": error}
        scripted.do(lambda: scripted._changed(info))
        return {}, None

    agent.answers["container.spawn"] = answer
    with pytest.raises(ContainerFailed, match="Try again"):
        shell.run("%tf_spawn debian")
    assert shell.run("c = %tf_spawn -d debian") is None


def test_rm_destroys_when_the_main_process_ends(
    shell: Shell, agent: ScriptedAgent, web: str
) -> None:
    made = shell.run("%tf_spawn --rm debian sleep 1")
    assert not agent.named("container.destroy")
    agent.end(made.id, 0)
    agent.until(lambda: agent.named("container.destroy"))
    assert agent.named("container.destroy")[0].body["container"] == made.id


@pytest.mark.parametrize("code", [0, 4])
def test_a_sandbox_runs_the_cell_and_goes(
    shell: Shell, agent: ScriptedAgent, web: str, code: int
) -> None:
    ends(agent, b"out\n", code=code)
    if code:
        with pytest.raises(ProcessFailed, match="code 4"):
            shell.run("%%tf_spawn debian python3 -u\nprint(1)\n")
    else:
        process = shell.run("%%tf_spawn debian python3 -u\nprint(1)\n")
        assert process.stdout == b"out\n"  # though its container is gone
    asked = agent.named("process.spawn")[-1].body
    assert asked["command"] == ["/bin/sh", "-c", "python3 -u"]
    assert bytes(agent.processes[asked["process"]].stdin) == b"print(1)\n"
    agent.until(lambda: agent.named("container.destroy"))
    assert agent.named("container.destroy")[0].body["container"] == asked["container"] != web


def test_a_named_sandbox_stays(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    ends(agent)
    process = shell.run("%%tf_spawn --name lab debian\nls\n")
    assert process.container.state == "running"
    assert not agent.named("container.destroy")


# --- run


def test_running_waits_prints_and_returns(
    shell: Shell, agent: ScriptedAgent, web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(agent, b"out\x1b]52;c;x\x07 \x1b[31mred", b"")
    process = shell.run("n = 3\n%tf_run -e A=$n --cwd /tmp -u nobody web ps faxu | head -{n+1}")
    said = capsys.readouterr()
    assert "out \x1b[31mred\n" in said.out
    asked = agent.named("process.spawn")[-1].body
    assert asked["command"] == ["/bin/sh", "-c", "ps faxu | head -4"]
    assert (asked["env"], asked["cwd"], asked["user"]) == (["A=3"], "/tmp", "nobody")
    assert process.returncode == 0
    assert agent.named("process.close_stdin")  # nobody will type anything


def test_a_failure_has_the_code_and_the_tail(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    ends(agent, err=b"\n".join(b"line %d" % n for n in range(100)) + b"\x1b]0;t\x07\n", code=2)
    with pytest.raises(ProcessFailed) as caught:
        shell.run("%tf_run web make")
    text = str(caught.value)
    assert "'make': it ended with code 2." in text
    assert "line 99" in text
    assert "line 50" not in text
    assert caught.value.details["returncode"] == 2
    assert caught.value.details["stderr"].endswith(b"line 99\x1b]0;t\x07\n")
    said, where = rendered(caught.value)
    assert said.startswith("\x1b[31mProcessFailed\x1b[39m: Cannot complete")
    assert "\x1b]" not in said
    assert "line 1: %tf_run web make" in where


@pytest.mark.parametrize(
    ("about", "error", "says"),
    [
        ({"code": 127}, ProcessFailed, "no such command"),
        ({"code": -9}, ProcessFailed, "SIGKILL"),
        ({"code": -15, "timed_out": True}, WaitTimeout, "within 2 s"),
    ],
)
def test_how_it_ended_is_said(
    shell: Shell, agent: ScriptedAgent, web: str, about: Any, error: type[Exception], says: str
) -> None:
    ends(agent, **about)
    with pytest.raises(error, match=says):
        shell.run("%tf_run --timeout 2 web x")


def test_check_no_and_detached_return_it(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    detached = shell.run("%tf_run -d web cat")
    assert detached.returncode is None
    assert not agent.named("process.close_stdin")
    ends(agent, code=3)
    assert shell.run("%tf_run --check=no web false").returncode == 3
    with pytest.raises(Misuse, match="--check"):
        shell.run("%tf_run --check=maybe web false")


def test_a_cells_body_is_stdin(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    ends(agent)
    shell.run("%%tf_run web\necho $HOME {not} 'interpolated'\n")
    asked = agent.named("process.spawn")[-1].body
    assert asked["command"] == ["/bin/sh", "-c", "/bin/sh"]
    typed = bytes(agent.processes[asked["process"]].stdin)
    assert typed == b"echo $HOME {not} 'interpolated'\n"
    for flag in ("-t", "-i"):
        with pytest.raises(Misuse, match="its stdin is the cell"):
            shell.run(f"%%tf_run {flag} web\nls\n")


def test_an_interrupt_goes_to_the_tree_and_the_second_kills(
    shell: Shell, agent: ScriptedAgent, web: str
) -> None:
    def press() -> None:
        agent.until(lambda: agent.named("process.spawn") and agent.named("process.close_stdin"))
        os.kill(os.getpid(), 2)
        agent.until(lambda: agent.named("process.signal"))
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(ProcessFailed, match="interrupted"):
        shell.run("%tf_run web sleep 1000")
    thread.join()
    signalled = agent.named("process.signal")[0].body
    assert (signalled["signal"], signalled["target"]) == (2, Target.TREE)
    assert agent.named("process.destroy")[0].body["grace"] == 0.0


def test_the_third_interrupt_gives_up_and_says_what_goes_on(
    shell: Shell, agent: ScriptedAgent, web: str
) -> None:
    agent.answers["process.destroy"] = lambda scripted, message: NotImplemented

    def press() -> None:
        for sign in ("process.close_stdin", "process.signal", "process.destroy"):
            agent.until(lambda sign=sign: agent.named(sign))
            os.kill(os.getpid(), 2)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        shell.run("%tf_run web sleep 1000")
    thread.join()
    assert "may still run" in "\n".join(rendered(caught.value))


# --- names


def test_names_of_containers(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    ends(agent)
    shell.run("other = web\nnumber = 5")
    for word in ("web", "other", web, web[:6]):
        assert shell.run(f"%tf_run {word} x").container is shell["web"]
    for word in ("nosuch", "number"):
        with pytest.raises(ContainerGone, match=f"'{word}'.*There are other, web"):
            shell.run(f"%tf_run {word} x")
    with pytest.raises(Misuse, match="without '\\$'"):
        shell.run("%tf_run '$web' x".replace("'", '"'))


def test_names_of_the_engines_tools(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    made = shell.run("%tf_spawn debian")
    there = {"engine_name": f"tfnz-{made.id}", "engine_id": "0123456789ab"}
    agent.set_state(made.id, "running", **there)
    agent.until(lambda: made.engine_id)
    for word in (f"tfnz-{made.id}", "0123456789ab", "01234"):
        shell.run(f"%tf_shell {word}")
        assert agent.named("process.spawn")[-1].body["container"] == made.id


def test_names_of_processes(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    shell.run("p = %tf_run -d web sleep 1")
    for word in ("p", "42", "web:42", shell["p"].id[:8]):
        shell.run(f"%tf_signal {word} HUP")
        assert agent.named("process.signal")[-1].body["process"] == shell["p"].id
    with pytest.raises(ProcessGone, match="'43'"):
        shell.run("%tf_signal 43 HUP")
    shell.run("q = %tf_run -d web sleep 1")
    with pytest.raises(Misuse, match="2 fit. Give one of web:42"):
        shell.run("%tf_signal 42 HUP")


# --- signal, stop


def test_signals(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    shell.run("%tf_signal web USR1 --tree")
    body = agent.named("process.signal")[-1].body
    assert (body["process"], body["signal"], body["target"]) == (web, 10, Target.TREE)
    shell.run("%tf_signal web 9")
    assert agent.named("process.signal")[-1].body["signal"] == 9
    with pytest.raises(Misuse, match="'NOPE' is no signal"):
        shell.run("%tf_signal web NOPE")


def test_stopping(
    shell: Shell, agent: ScriptedAgent, web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run("p = %tf_run -d web sleep 1\nc = %tf_spawn debian")
    shell.run("%tf_stop --grace 2 p c")
    assert agent.named("process.destroy")[-1].body["grace"] == 2.0
    assert agent.named("container.destroy")[-1].body["container"] == shell["c"].id
    shell.run("%tf_stop p")  # it has ended: said, and no error
    assert "had ended with -15" in capsys.readouterr().out
    shell.run("%tf_stop c")
    assert " was destroyed before" in capsys.readouterr().out
    shell.run("%tf_stop --all")
    assert agent.named("container.destroy")[-1].body["container"] == web
    for line in ("%tf_stop", "%tf_stop --all web"):
        with pytest.raises(Misuse, match="either"):
            shell.run(line)


# --- what is shown


def test_logs(
    shell: Shell, agent: ScriptedAgent, web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    shell.run("%tf_logs web")
    assert capsys.readouterr().out == "nothing was written yet\n"
    agent.write(web, b"".join(b"line %d\n" % n for n in range(300)))
    agent.until(lambda: agent.processes[web].streams[1].head)
    shell.run("%tf_logs web")
    said = capsys.readouterr().out.splitlines()
    assert (said[0], said[-1], len(said)) == ("line 200", "line 299", 100)
    shell.run("%tf_logs web --tail 2")
    assert capsys.readouterr().out == "line 298\nline 299\n"
    shell.run("%tf_logs web -n 0")
    assert len(capsys.readouterr().out.splitlines()) == 300
    with pytest.raises(Misuse, match="--tail"):
        shell.run("%tf_logs web --tail -1")


def test_plotting_asks_for_what_there_is(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    for line, says in {
        "--parser nosuch vmstat 1": "nosuch.*vmstat",
        "vmstat 1 --columns nosuch": "nosuch",
        "--parser vmstat": "no command",
    }.items():
        with pytest.raises(Misuse, match=says):
            shell.run(f"%tf_plot web {line}")
    agent.until(lambda: len(agent.named("process.destroy")) == 2)  # nothing is left behind
    made = shell.run("p = %tf_run -d web vmstat 1\n%tf_plot p --columns us,sy --window all")
    assert made.title == "vmstat 1"
    with pytest.raises(Misuse, match="a process with a command"):
        shell.run("%tf_plot p vmstat 1")


def test_opening_a_port_again_uses_its_tunnel(
    shell: Shell, agent: ScriptedAgent, web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = shell.run("%tf_open web 80")
    assert shell.run("%tf_open web 80 --path a/b") is first
    assert f"http://127.0.0.1:{first.port}/a/b leads to port 80 of web" in capsys.readouterr().out
    with pytest.raises(Misuse, match="invalid int"):
        shell.run("%tf_open web http")


def test_attaching(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    shell.run("p = %tf_run -d web sleep 1")
    shell.run("web_id = web.id; del p, web")
    assert shell.run("%tf_attach web").id == web
    assert shell.run("%tf_attach 42").command == "sleep 1"
    agent.containers.clear()
    with pytest.raises(ContainerGone, match="names no container or process"):
        shell.run("%tf_attach elsewhere")


# --- the shell around them


def test_a_console_of_a_kernel_prints_and_has_no_terminal(
    shell: Shell,
    agent: ScriptedAgent,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(publish, "console", lambda: True)
    shell.ip.kernel = object()
    shell.run("web = %tf_spawn nginx")
    ends(agent, out=b"hello\n")
    shell.run("_ = %tf_run web echo hello")
    assert capsys.readouterr().out.count("hello") == 1
    for line in ("%tf_shell web", "%tf_run -t web top"):
        with pytest.raises(Misuse, match="Cannot open a terminal here"):
            shell.run(line)
    assert len(agent.named("process.spawn")) == 1


@pytest.mark.parametrize("words", ["jupyter-console", "-m\0jupyter_console", "jupyter-qtconsole"])
def test_a_console_is_known_by_having_started_the_kernel(
    words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cmdline").write_text(f"/usr/bin/python\0{words}\0")
    monkeypatch.setattr(publish, "Path", lambda path: tmp_path / path.rpartition("/")[2])
    assert publish.console.__wrapped__()
    (tmp_path / "cmdline").write_text("/usr/bin/python\0jupyter-lab\0")
    assert not publish.console.__wrapped__()


def test_autoreload_leaves_what_is_there(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    shell.run("%load_ext autoreload\n%autoreload 2")
    reloader = shell.ip.magics_manager.registry["AutoreloadMagics"]._reloader
    if hasattr(reloader, "deduper_reloader"):
        reloader.deduper_reloader.enabled = False  # as in an IPython of before
    kind = Container
    shell.run("None")
    reloader.modules_mtimes[Container.__module__] = 0.0  # an upgrade, under a kernel that runs
    shell.run("None")
    assert isinstance(shell["web"], kind) and sys.modules[kind.__module__].Container is kind
    shell.run("_ = %tf_shell web")


def test_they_may_be_registered_twice_and_removed(shell: Shell) -> None:
    magics.register(shell.ip)
    assert shell.ip.find_line_magic("tf_run")
    magics.unregister(shell.ip)
    assert not shell.ip.find_line_magic("tf_run")
    assert not shell.ip.find_cell_magic("tf_run")
    magics.unregister(shell.ip)


def test_without_ipython_the_error_is_clear() -> None:
    with pytest.raises(Misuse, match="there is no IPython. Use the objects"):
        magics.register(None)


def test_help_is_the_docstring(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--timeout S" in shell.ip.find_line_magic("tf_run").__doc__
    shell.run("%tf_run --help")
    assert "usage: %tf_run" in capsys.readouterr().out


# --- files


def test_files_here_that_are_missing(shell: Shell, agent: ScriptedAgent, web: str) -> None:
    with pytest.raises(FileError, match="'/nosuch' here"):
        shell.run("%tf_put web /nosuch /etc/")
    with pytest.raises(FileError, match="'/nosuch' along"):
        shell.run("%tf_spawn -f /nosuch:/x debian")
