"""Waits that are given up: nothing is lost, nothing is left. Forks, and tunnels that are cut."""

import asyncio
import contextlib
import os
import socket
import warnings
from collections.abc import Callable, Iterator

import pytest
from integration.polling import until
from integration.web_server import SERVER
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import ForkedError
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process

pytestmark = pytest.mark.engines("podman", "docker", anywhere=True)

#: Each line comes about when the wait for it ends.
WRITER = (
    "import time\n"
    "for n in range({count}):\n"
    "    print(n, flush=True)\n"
    "    time.sleep(0.0095 + n % 10 * 0.0001)\n"
)


async def follow(process: Process) -> tuple[list[int], int]:
    got, late, lines = [], 0, process.lines()
    while True:
        try:
            got.append(int(await asyncio.wait_for(anext(lines), 0.01)))
        except TimeoutError:
            late += 1
        except StopAsyncIteration:
            return got, late


@pytest.mark.parametrize("count", [200, pytest.param(4000, marks=pytest.mark.long)])
def test_no_line_is_lost_to_a_wait_that_is_cancelled(box: Container, count: int) -> None:
    async def main() -> list[tuple[list[int], int]]:
        process = await box.aio.spawn_process(["python3", "-c", WRITER.format(count=count)])
        return await asyncio.gather(*(follow(process) for _ in range(5)))

    told = asyncio.run(main())
    assert [got for got, _ in told] == [list(range(count))] * 5
    assert sum(late for _, late in told) > 10


def test_what_was_cancelled_runs_no_more(box: Container) -> None:
    async def main() -> None:
        for number in range(16):
            wait = number / 2000
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(box.aio.run_process("sleep 777"), wait)
            try:
                made = await asyncio.wait_for(box.aio.spawn_process("sleep 777"), wait)
            except TimeoutError:
                continue
            await made.aio.destroy(grace=0)

    asyncio.run(main())
    until(lambda: "sleep 777" not in box.run_process("ps ax").stdout.decode(), 10, "all ended")


def test_a_container_that_was_cancelled_is_not_there(location: Location) -> None:
    node, before = location.best_node(), len(location.containers())

    async def main() -> None:
        for number in range(6):
            try:
                ask = node.aio.spawn_container("busybox", sleep=True)
                made = await asyncio.wait_for(ask, number / 3000)
            except TimeoutError:
                continue
            await made.aio.destroy()

    asyncio.run(main())
    until(lambda: len(location.containers()) == before, 20, "they are destroyed")


def test_a_cancelled_upload_leaves_no_file_and_no_descriptor(box: Container) -> None:
    data = bytes(100_000_000)
    box.mkdir("/srv/given-up")
    descriptors = "ls /proc/1/fd | wc -l"
    before = box.run_process(descriptors).stdout

    async def main() -> int:
        cancelled = 0
        for wait in (0.01, 0.03, 0.06):
            try:
                await asyncio.wait_for(box.aio.put("/srv/given-up/large", data), wait)
            except TimeoutError:
                cancelled += 1
        return cancelled

    assert asyncio.run(main())
    until(lambda: {e.name for e in box.listdir("/srv/given-up")} <= {"large"}, 10, "it is gone")
    until(lambda: box.run_process(descriptors).stdout == before, 10, "they are closed")


def test_a_child_has_its_own_location_and_leaves_its_parents_alone(
    location: Location, box: Container, where: str
) -> None:
    cat = box.spawn_process("cat")
    hear, tell = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking with threads
        child = os.fork()
    if not child:
        said = b"nothing"
        try:
            for call in (box.logs, cat.wait, location.disconnect):
                with pytest.raises(ForkedError):
                    call()
            with Location(where) as own:
                made = own.best_node().spawn_container("busybox", sleep=True)
                said = made.run_process("echo mine").stdout
        except BaseException as error:  # noqa: BLE001  # it is told of
            said = repr(error).encode()
        finally:
            os.write(tell, said)
            os._exit(0)
    os.close(tell)
    with os.fdopen(hear, "rb") as pipe:
        assert pipe.read() == b"mine\n"
    os.waitpid(child, 0)
    assert cat.stdin(b"still here\n", return_reply=True, timeout=20) == b"still here\n"
    cat.close_stdin()
    assert cat.wait(20) == 0


@pytest.fixture
def fragile(own_world: Callable[..., World], where: str) -> Iterator[tuple[World, Location]]:
    """A world and a location whose agent may be killed."""
    world = own_world()
    with Location(where) as location:
        yield world, location


def test_a_download_that_the_agents_death_cuts_is_an_error(
    fragile: tuple[World, Location],
) -> None:
    world, location = fragile
    box = location.best_node().spawn_container("debian", command=["python3", "-c", SERVER, "80"])
    tunnel = box.wait_http_200(timeout=30)
    with socket.create_connection(("127.0.0.1", tunnel.port), 20) as client:
        client.sendall(b"GET /?1000 HTTP/1.0\r\n\r\n")
        got = 0
        while got < 1 << 20:
            got += len(client.recv(65536))
        world.kill_agent(location.engine)
        with pytest.raises(ConnectionResetError):
            list(iter(lambda: client.recv(1 << 20), b""))
    assert box.run_process("echo alive").stdout == b"alive\n"


def test_the_first_request_waits_for_a_server_that_is_starting(
    spawn: Callable[..., Container],
) -> None:
    late = f"import time; time.sleep(0.7)\n{SERVER}"
    tunnel = spawn(command=["python3", "-c", late, "80"]).attach_tunnel(80)
    with socket.create_connection(("127.0.0.1", tunnel.port), 20) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
