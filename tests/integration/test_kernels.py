"""Whole notebooks in containers: kernels that Jupyter's own manager starts, and its own tests."""

import asyncio
import os
import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import jupyter_kernel_test  # its class is a test by its name
import pytest
from apiserver.cluster import apart
from integration.polling import until
from integration.world import World
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from tfnz_notebook.__main__ import main
from tfnz_notebook.kernels.provisioner import ContainerProvisioner

IMAGES = Path(__file__).parents[2] / ".ci" / "images"


#: What Jupyter's tests have to know of a language, as ipykernel tells them of Python.
OF_PYTHON: dict[str, Any] = {
    "language_name": "python",
    "file_extension": ".py",
    "code_hello_world": "print('hello, world')",
    "code_stderr": "import sys; print('test', file=sys.stderr)",
    "completion_samples": [{"text": "zi", "matches": {"zip"}}],
    "complete_code_samples": ["1", "print('hello, world')", "def f(x):\n  return x*2\n\n\n"],
    "incomplete_code_samples": ["print('''hello", "def f(x):\n  x*2"],
    "invalid_code_samples": ["import = 7q"],
    "code_page_something": "zip?",
    "code_generate_error": "raise",
    "code_execute_result": [{"code": "1+2+3", "result": "6"}],
    "code_display_data": [
        {"code": "from IPython.display import *; display(HTML('<b>1</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import *; display(Math('1'))", "mime": "text/latex"},
    ],
    "code_history_pattern": "1?2*",
    "supported_history_operations": ("tail", "search"),
    "code_inspect_sample": "zip",
    "code_clear_output": "from IPython.display import clear_output; clear_output()",
}


@pytest.fixture
def kernel(where: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A kernelspec's name. The host's Python with ipykernel is the one of these tests."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(world.home / "jupyter"))
    flags = ["--env", f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"]
    if where != "host":
        subprocess.run([IMAGES, "make", "jupyter"], check=True)
        flags = ["--memory", "512m", "--env", "GREETING=hello"]
    assert main(["kernel", "add", "jupyter", "--where", where, *flags]) == 0
    yield "jupyter"
    assert main(["kernel", "remove", "jupyter"]) == 0
    assert not world.holds(where)


def said(client: BlockingKernelClient, code: str) -> str:
    """What a cell writes, or its error."""
    found: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        found.append(content.get("text") or content.get("evalue") or "")

    client.execute_interactive(code, timeout=30, output_hook=hear)
    return "".join(found)


def hears(client: BlockingKernelClient) -> bool:
    """Whether what the kernel publishes arrives here."""
    client.kernel_info()
    try:
        return bool(client.get_iopub_msg(timeout=0.5))
    except Empty:
        return False


def lives(kernel: str) -> None:
    """From its start to its end, with all that befalls it."""
    manager = KernelManager(kernel_name=kernel)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(30)
    assert said(client, "x = 6; print(x * 7)") == "42\n"
    provisioner = manager.provisioner
    assert isinstance(provisioner, ContainerProvisioner)
    kept = f"/tmp/kept-{manager.kernel_id}"
    said(client, f"open({kept!r}, 'w').write('kept')")
    mode = "import os, sys; print(oct(os.stat(sys.argv[2]).st_mode))"
    assert said(client, mode) == "0o100600\n"  # its key is in there

    cell = client.execute("import time; print('begun'); time.sleep(60)")
    while "begun" not in client.get_iopub_msg(timeout=30)["content"].get("text", ""):
        pass
    manager.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=10))["parent_header"].get("msg_id") != cell:
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert said(client, "print(x)") == "6\n"

    told = asyncio.run(provisioner.get_provisioner_info())
    factory = KernelProvisionerFactory.instance()
    other = factory.create_provisioner_instance(manager.kernel_id, manager.kernel_spec, manager)
    for tunnel in provisioner._tunnels.values():  # its server has vanished
        tunnel.destroy()
    asyncio.run(other.load_provisioner_info(told))
    assert asyncio.run(other.poll()) is None
    until(lambda: hears(client), 30, "its pages are connected again")
    assert said(client, "print(x)") == "6\n"

    client.execute("import os; os._exit(3)")
    until(lambda: asyncio.run(other.poll()) == 3, 10, "it has ended")
    manager.provisioner = other
    manager.restart_kernel(now=True)
    client.wait_for_ready(30)
    assert said(client, "print(x)") == "name 'x' is not defined"
    code = f"import os; print(open({kept!r}).read()); os.remove({kept!r})"
    assert said(client, code) == "kept\n"
    client.stop_channels()
    manager.shutdown_kernel()
    assert not manager.has_kernel
    assert provisioner._location is not None
    provisioner._location.disconnect()


@pytest.mark.engines("host")
def test_it_lives_as_any_kernel_does(kernel: str) -> None:
    lives(kernel)


@pytest.mark.long
@pytest.mark.engines("podman", "docker", each=True)
def test_it_lives_in_a_container_as_any_kernel_does(kernel: str) -> None:
    lives(kernel)


@pytest.mark.long
def test_it_lives_in_a_pod_as_any_kernel_does(
    own_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    with apart(bare=True) as there:  # whose pods have this machine's files
        world = own_world(KUBECONFIG=str(there.cluster.kubeconfig()))
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(world.home / "jupyter"))
        path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
        words = ["kernel", "add", "busybox", "--where", "kubernetes://", "--env", path]
        assert main(words) == 0
        lives("busybox")
        world.tfnz_agent("stop")


@pytest.mark.long
@pytest.mark.engines("podman", "docker", "host", each=True)
def test_jupyters_own_tests_say_of_it_what_they_say_of_a_local_one(kernel: str) -> None:
    here, there = outcomes("python3"), outcomes(kernel)
    assert there == here
    assert "failed" not in there.values() and list(there.values()).count("ok") > 10


def outcomes(kernel: str) -> dict[str, str]:
    """Of each of Jupyter's tests."""

    tests = type("Tests", (jupyter_kernel_test.KernelTests,), {"kernel_name": kernel, **OF_PYTHON})
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(tests)
    names = [test.id().rpartition(".")[2] for test in suite]  # type: ignore[union-attr]
    result = unittest.TestResult()
    suite.run(result)
    found = dict.fromkeys(names, "ok")
    for outcome, tests in (
        ("skipped", result.skipped),
        ("failed", [*result.failures, *result.errors]),
    ):
        found |= {test.id().rpartition(".")[2]: outcome for test, _ in tests}
    return found
