"""Where notebooks run besides JupyterLab: each journey in the host's own programs.

They are installed for it, beside what is tested, so these are long: `make test-long`.
"""

import signal
import subprocess
import sysconfig
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from integration.polling import until
from integration.world import World
from jupyter_client.manager import KernelManager

pytestmark = [pytest.mark.long, pytest.mark.engines("host"), pytest.mark.timeout(600)]

OPEN = "%load_ext tfnz_notebook\nw = %tf_spawn -z debian"
RUN = "%tf_run w echo said by a container"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with those hosts, over the one that is tested."""
    home = tmp_path_factory.mktemp("hosts")
    venv.create(home, with_pip=True)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "tested.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [home / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "papermill", "xeus-python", "voila"], check=True, timeout=400)
    # Voila's templates extend nbconvert's, and are looked for beside those.
    again = ["--no-deps", "--ignore-installed", "nbconvert"]
    subprocess.run([*install, *again], check=True, timeout=400)
    return home / "bin"


@pytest.fixture
def written(world: World, programs: Path) -> Iterator[Path]:
    """A notebook whose kernel is that environment's."""
    path = world.home / "written.ipynb"
    cells = [nbformat.v4.new_code_cell(each) for each in (OPEN, RUN)]
    about = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), path)
    yield path
    path.unlink()


def environment(world: World, programs: Path) -> dict[str, str]:
    told = {"IPYTHONDIR": str(world.home / "ipython"), "TFNZ_LOCATION": "host"}
    return {**world.environment(**told), "PYTHONSAFEPATH": "1"}


def text(output: Any) -> str:
    data = output.get("data", {})
    return "".join(output.get("text", "")) + "".join(data.get("text/plain", ""))


def test_papermill(world: World, programs: Path, written: Path) -> None:
    done = world.home / "done.ipynb"
    command = [programs / "python", "-m", "papermill", written, done]
    subprocess.run(command, env=environment(world, programs), check=True, timeout=120)
    said = [text(each) for each in nbformat.read(done, 4).cells[1].outputs]
    assert any("said by a container" in each for each in said), said
    until(lambda: not world.holds("host"), 5, "nothing is left")


def test_papermill_that_is_terminated_leaves_nothing(
    world: World, programs: Path, written: Path
) -> None:
    book = nbformat.read(written, 4)
    book.cells.append(nbformat.v4.new_code_cell("import time\nwhile True: time.sleep(1)"))
    nbformat.write(book, written)
    command = [programs / "python", "-m", "papermill", written, world.home / "done.ipynb"]
    running = subprocess.Popen(command, env=environment(world, programs))
    until(lambda: world.holds("host"), 60, "its container is there")
    running.send_signal(signal.SIGTERM)
    until(lambda: not world.holds("host"), 5, "nothing is left")
    running.wait(60)


def test_xeus_python(world: World, programs: Path) -> None:
    manager = KernelManager()
    assert manager.kernel_spec is not None
    launch = [str(programs / "python"), "-m", "xpython_launcher", "-f", "{connection_file}"]
    manager.kernel_spec.argv = launch
    manager.start_kernel(env=environment(world, programs))
    client: Any = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        shown: list[str] = []

        def show(message: dict[str, Any]) -> None:
            shown.append(text(message["content"]))

        # Its end runs nothing of Python's (atexit): who wants it at once ends the session.
        for cell in (OPEN, RUN, "print('again', w)", "w.location.disconnect()"):
            reply = client.execute_interactive(cell, output_hook=show, timeout=60)
            assert reply["content"]["status"] == "ok", shown
        told = "".join(shown)  # it sends each word of a print by itself
        assert told.count("Pictures do not move in this kernel") == 1
        assert "said by a container" in told and "again <Container" in told
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    until(lambda: not world.holds("host"), 5, "nothing is left")


@pytest.mark.timeout(240)  # it keeps a connection busy for ever
def test_voila(world: World, programs: Path, written: Path) -> None:
    command = [programs / "python", "-m", "voila", written, "--no-browser", "--port=0"]
    voila = subprocess.Popen(command, env=environment(world, programs), stderr=subprocess.DEVNULL)
    try:
        port = until(lambda: _port(voila.pid), 60, "it listens")
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=120).read().decode()
        assert "said by a container" in page and "application/vnd.jupyter.widget-view" in page
    finally:
        voila.send_signal(signal.SIGINT)
        voila.wait(30)
    until(lambda: not world.holds("host"), 5, "nothing is left")


def _port(pid: int) -> int:
    found = psutil.Process(pid).net_connections(kind="tcp4")
    return next((each.laddr.port for each in found if each.status == "LISTEN"), 0)
