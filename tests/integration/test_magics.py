"""The %tf magics in a real kernel: what is shown, what an interrupt does, what Tab offers."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.notebook import Notebook
from integration.polling import until
from integration.world import World

BEGIN = """
%load_ext tfnz_notebook
%config Completer.use_jedi = False
import contextlib, os, signal, threading, time
from tfnz_notebook.errors import TfnzError
box = %tf_spawn --name box -z debian

def interrupt(what, *signs):
    # An interrupt once a process of that command has said each of these, from within, because
    # nobody outside knows when that is. Jupyter's servers send the same signal.
    def wait(sign):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for each in box.processes:
                # One without a pid is not with the agent yet, and has no log; one may go meanwhile.
                with contextlib.suppress(TfnzError):
                    if what in each.command and each.pid and sign in each.log():
                        return os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        raise TimeoutError(f"{what} did not say {sign}: {[p.command for p in box.processes]}")

    def each():
        try:
            for sign in signs:
                wait(sign)
        except BaseException:  # the cells behind are not to wait for this one
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            raise

    threading.Thread(target=each).start()
"""


@pytest.fixture(scope="module")
def notebook(world: World, where: str) -> Iterator[Notebook]:
    with Notebook(world, where) as opened:
        opened.run(BEGIN)
        yield opened
        opened.run("%tf_stop --all")


def shown(notebook: Notebook, cell: str) -> str:
    """The newest plain text of each of a cell's displays."""
    found: dict[str, str] = {}
    for each in notebook.of(cell, "display_data", "update_display_data"):
        ident = each.content.get("transient", {}).get("display_id", "")
        found[ident] = each.content["data"].get("text/plain", "")
    return "\n".join(found.values())


def failed(notebook: Notebook, code: str, seconds: float = 30) -> dict[str, Any]:
    """The error that a cell ends with."""
    return error_of(notebook, notebook.start(code), seconds)


def error_of(notebook: Notebook, cell: str, seconds: float = 30) -> dict[str, Any]:
    notebook.wait(cell, seconds)
    (error,) = notebook.of(cell, "error")
    return error.content


def running(notebook: Notebook, what: str) -> bool:
    """Whether a process whose command holds that runs in the box."""
    cell = notebook.run(f"print([p.pid for p in box.all_processes() if {what!r} in p.command])")
    return notebook.text(cell).strip() != "[]"


@pytest.mark.engines("podman", "docker")
def test_lines_of_docker_run_are_run_as_pasted(notebook: Notebook, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello\n")
    tmp_path.chmod(0o755)
    notebook.run(f"os.chdir({str(tmp_path)!r}); os.environ['PWD'] = {str(tmp_path)!r}")
    cells = {
        "docker run --rm --entrypoint=cat nginx /etc/nginx/nginx.conf > nginx.conf": "x.state",
        '$ docker run -dit -P -v "$PWD":/var/www/html:ro nginx': (
            "x.wait_http_200(80) and x.run_process('cat /var/www/html/index.html').stdout"
        ),
        "docker run -d --shm-size=128m -e POSTGRES_PASSWORD=secret postgres postgres -c "
        "max_connections=20": "x.wait_tcp(5432) and x.docker_run()",
        'docker run -it --rm --user "$(id -u):$(id -g)" debian bash -c "tty; id -u"': (
            "x.main.wait_until_complete()"
        ),
    }
    said = []
    for line, asked in cells.items():
        cell = notebook.run(f"x = %tf_spawn {line}\nprint({asked})\n%tf_stop x", 60)
        said.append(notebook.text(cell))
    assert "http {" in (tmp_path / "nginx.conf").read_text()
    assert "hello" in said[1]
    assert "-e POSTGRES_PASSWORD --shm-size 128m postgres postgres -c max_connections=20" in said[2]
    assert "/dev/pts/0" in said[3]
    assert f"{os.getuid()}\\r" in said[3]


def test_a_command_runs_as_typed_and_is_shown_once(notebook: Notebook) -> None:
    cell = notebook.run("%tf_run box printf 'one\\ntwo\\n' | tac; echo \"$((1+1))\" >&2")
    until(lambda: "exit 0" in shown(notebook, cell), 20, "it is frozen")
    said = shown(notebook, cell)
    assert said.index("two") < said.index("one")
    assert notebook.of(cell, "execute_result") == []
    assert notebook.text(cell) == ""


def test_variables_are_interpolated(notebook: Notebook) -> None:
    cell = notebook.run(
        "n = 41\np = %tf_run box echo $n {n + 1} $$HOME '$n'\nprint(p.stdout.decode())"
    )
    assert notebook.text(cell).startswith("41 42 /")
    assert notebook.text(cell).rstrip().endswith("$n")


def test_a_code_other_than_zero_raises_with_the_tail_and_no_traceback(notebook: Notebook) -> None:
    error = failed(notebook, "%tf_run box echo out; echo wrong >&2; exit 3")
    assert error["ename"] == "ProcessFailed"
    text = "\n".join(error["traceback"])
    assert "code 3" in text
    assert "wrong" in text
    assert "File" not in text
    assert len(text.splitlines()) < 5
    error = failed(notebook, "n = 1\nbox.run_process(['nosuch-command'])")
    said, where = "\n".join(error["traceback"]).splitlines()
    assert ("CommandNotFound" in said, "line 2: box.run_process" in where) == (True, True)
    told = notebook.text(notebook.run("%tf_why"))
    assert ("box (running) said" in told, "_container/process.py" in told) == (True, True)


def test_check_no_returns_the_process(notebook: Notebook) -> None:
    cell = notebook.run("p = %tf_run --check=no box exit 3\nprint(p.returncode)")
    assert notebook.text(cell) == "3\n"


def test_a_timeout_ends_it(notebook: Notebook) -> None:
    assert failed(notebook, "%tf_run --timeout 0.3 box sleep 1017")["ename"] == "WaitTimeout"
    assert not running(notebook, "sleep 1017")


def test_a_cells_body_is_the_script(notebook: Notebook) -> None:
    script = "import sys\nfor n in range(3):\n    print(n, len(sys.argv))\n" + "# long\n" * 40_000
    cell = notebook.run(f"%%tf_run box python3\n{script}")
    until(lambda: "2 1" in shown(notebook, cell), 20, "it was shown")
    error = failed(notebook, "%%tf_run box\necho $0\nfalse\nexit 9")
    assert "code 9" in error["evalue"]


def test_a_sandbox_is_gone_after_its_cell(notebook: Notebook, world: World, where: str) -> None:
    before = world.holds(where)
    cell = notebook.run("%%tf_spawn debian\nread x; echo sandbox $x")
    until(lambda: "sandbox" in shown(notebook, cell), 20, "it was shown")
    until(lambda: world.holds(where) == before, 20, "its container is gone")
    assert failed(notebook, "%%tf_spawn debian\nexit 4")["ename"] == "ProcessFailed"
    until(lambda: world.holds(where) == before, 20, "its container is gone, too")


def test_rm_destroys_at_the_end_and_what_was_said_stays(
    notebook: Notebook, world: World, where: str
) -> None:
    before = world.holds(where)
    cell = notebook.run("%tf_spawn --rm debian sh -c 'echo last words'")
    until(lambda: world.holds(where) == before, 20, "its container is gone")
    assert "last words" in shown(notebook, cell)


def test_an_unknown_image_raises(notebook: Notebook, where: str) -> None:
    if where != "host":  # which has no images
        assert failed(notebook, "%tf_spawn --pull never nosuch:1")["ename"] == "ImageMissing"
    assert failed(notebook, "%tf_spawn no::such")["ename"] == "ImageNameInvalid"


def test_one_interrupt_ends_what_heeds_it(notebook: Notebook) -> None:
    # Of a shell's own commands one may miss it, as it may miss a terminal's Ctrl-C: while it forks
    # the shell keeps it for later, which is after the command.
    notebook.run("interrupt('sleep(1018)', b'up')")
    code = "import time; print('up', flush=True); time.sleep(1018)"
    error = failed(notebook, f'%tf_run box exec python3 -c "{code}"')
    assert error["ename"] == "ProcessFailed"
    assert "interrupted" in error["evalue"]
    assert not running(notebook, "sleep(1018)")


def test_it_may_end_well_when_interrupted(notebook: Notebook) -> None:
    notebook.run("interrupt('sleep 1019', b'up')")
    trap = "trap 'echo bye; exit 0' INT; echo up; sleep 1019 & wait"
    cell = notebook.run(f"p = %tf_run box {trap}\nprint(p.stdout)")
    assert notebook.text(cell) == "b'up\\nbye\\n'\n"


def test_a_second_interrupt_kills(notebook: Notebook) -> None:
    notebook.run("interrupt('stubborn', b'up', b'heard')")
    loop = "trap 'echo heard' INT; echo up; while : stubborn; do sleep 0.1; done"
    error = failed(notebook, f"%tf_run box {loop}")
    assert error["ename"] == "ProcessFailed"
    assert "KILL" in error["evalue"]
    assert not running(notebook, "stubborn")


def test_a_terminal_gets_ctrl_c(notebook: Notebook) -> None:
    notebook.run("interrupt('typed', b'up')")
    code = (
        "import sys\n"
        "try: print('up', flush=True); sys.stdin.read()\n"
        "except KeyboardInterrupt: print('typed', sys.stdout.isatty())\n"
    )
    notebook.run(f"code = {code!r}")
    cell = notebook.run('p = %tf_run -t box exec python3 -c "$code"\nprint(p.stdout)')
    assert notebook.text(cell).endswith("typed True\\r\\n'\n")


def test_an_interrupt_while_it_waits_for_a_container(notebook: Notebook) -> None:
    """Nothing of the kind can be started in a box that went: the error comes, not a hang."""
    notebook.run("gone = %tf_spawn -z debian\ngone.destroy()")
    assert failed(notebook, "%tf_run gone ls")["ename"] == "ContainerGone"


def test_callbacks_go_on_while_it_waits(notebook: Notebook) -> None:
    cell = notebook.run(
        "seen = []\n"
        "other = box.spawn_process('for i in 1 2 3; do echo $i; sleep 0.1; done', "
        "lambda p, data: seen.append(data))\n"
        "%tf_run box sleep 1\n"
        "print(b''.join(seen))"
    )
    assert notebook.text(cell) == "b'1\\n2\\n3\\n'\n"


def test_detached_it_runs_on(notebook: Notebook) -> None:
    cell = notebook.run("p = %tf_run -d box cat\nprint(p.returncode)")
    assert notebook.text(cell) == "None\n"
    cell = notebook.run("p.stdin(b'later\\n'); p.close_stdin(); print(p.wait_until_complete())")
    assert notebook.text(cell) == "b'later\\n'\n"


def test_files_and_directories_there_and_back(notebook: Notebook, tmp_path: Path) -> None:
    (tmp_path / "site" / "sub").mkdir(parents=True)
    (tmp_path / "site" / "page.html").write_text("hello")
    (tmp_path / "site" / "sub" / "big").write_bytes(bytes(300_000))
    here, box = str(tmp_path), "/put-here"
    notebook.run(f"%tf_put box {here}/site {box}/")
    notebook.run(f"%tf_put box {here}/site/page.html {box}/site/page.html")  # over it, not into it
    cell = notebook.run(f"%tf_get box {box}/site {here}/back")
    assert "2 files, 293 KiB" in notebook.text(cell)
    assert (tmp_path / "back" / "sub" / "big").stat().st_size == 300_000
    notebook.run(f"%tf_get box {box}/site/page.html {here}/one.html")
    assert (tmp_path / "one.html").read_text() == "hello"
    notebook.run(f"%tf_get box {box}/site/page.html {here}")  # into a directory
    assert (tmp_path / "page.html").read_text() == "hello"
    assert failed(notebook, "%tf_get box /no/such")["ename"] == "FileError"


def test_links_lead_to_files_and_nowhere_else(notebook: Notebook, tmp_path: Path) -> None:
    notebook.run("box.put('/links/real', b'real')")
    # Where paths begin, processes begin too.
    notebook.run("%tf_run box cd links && ln -s real file && ln -s . loop && mkfifo pipe")
    cell = notebook.run(f"%tf_get box /links {tmp_path}/links")
    assert "2 files, 8 B, 2 special files left out" in notebook.text(cell)
    assert sorted(p.name for p in (tmp_path / "links").iterdir()) == ["file", "real"]
    assert not (tmp_path / "links" / "file").is_symlink()


def complete(notebook: Notebook, code: str) -> list[str]:
    """What the kernel offers at the end of a cell."""
    socket, session = notebook._sockets["shell"], notebook._session
    content = {"code": code, "cursor_pos": len(code)}
    sent = session.send(socket, "complete_request", content)["header"]["msg_id"]
    while socket.poll(30_000):
        _, message = session.recv(socket, 0)
        if message["parent_header"].get("msg_id") == sent:
            return list(message["content"]["matches"])
    raise AssertionError("the kernel does not answer")


def test_tab_completes(notebook: Notebook) -> None:
    notebook.run("box.put('/tab-file', b''); box.mkdir('/tab-dir')")
    assert "--timeout" in complete(notebook, "%tf_run --ti")
    assert "box" in complete(notebook, "%tf_run bo")
    assert "TERM" in complete(notebook, "%tf_signal box TE")
    offered = until(lambda: complete(notebook, "%tf_get box /tab-"), 10, "the agent answers")
    assert sorted(offered) == ["/tab-dir/", "/tab-file"]
    assert complete(notebook, "print(bo")  # IPython's own go on


def test_ten_runs_of_a_cell_leave_one_container(
    notebook: Notebook, world: World, where: str
) -> None:
    before = world.holds(where)
    for _ in range(10):
        cell = notebook.run("one = %tf_spawn -z debian", cell="ten")
    assert "replaced one\n" in notebook.text(cell)
    until(lambda: len(world.holds(where) - before) == 1, 20, "one is left")
    notebook.run("None", cell="other", deletedCells=["ten"])
    cell = notebook.run("%tf_ps", cell="other")
    assert "(its cell was deleted)" in shown(notebook, cell)
    notebook.run("%tf_stop one", cell="other")
    until(lambda: world.holds(where) == before, 20, "it was stopped")


def test_what_a_cell_made_in_a_durable_session_is_there_after_a_restart(
    world: World, where: str
) -> None:
    cells = {
        "where": "%tf_connect --session again",
        "spawn": "box = %tf_spawn -z -e A=1 debian\nprint(box.id)",
        "serve": "p = %tf_run -d box sleep 1000\nprint(p.id)",
    }
    said = []
    for _ in range(2):
        with Notebook(world, where) as opened:
            texts = [opened.text(opened.run(code, cell=name)) for name, code in cells.items()]
            said.append([text.splitlines()[-1] for text in texts[1:]])
            if len(said) == 2:
                assert "box is there" in texts[1] or "shown again" in texts[1]
                opened.run("box.destroy()")
    assert said[0] == said[1]
