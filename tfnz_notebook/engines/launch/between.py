"""Whether one container reaches another: tried, from outside, in the network namespaces of both.

One listens on a port of its choice, the other tries each of its addresses. Nothing runs in the
containers, and nothing need be in their images: two small processes of ours enter their namespaces,
for a tenth of a second. A user may enter those of containers that are that user's own, through the
user namespace that they were made in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_PATIENCE: Final = 20.0

#: Run as ``python -c``: a thread of the agent may not enter a user namespace. The descriptors of
#: namespaces come first, a user's before the network's. Then "listen", or "try": what, stdin tells.
_PROGRAM: Final = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
for each in sys.argv[1].split(","):
    if libc.setns(int(each), 0):
        sys.exit("its network namespace cannot be entered: " + os.strerror(ctypes.get_errno()))
def reach(address, port):
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True
if sys.argv[2] == "listen":
    try:
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        listener = socket.create_server(("", 0))
    port, own = listener.getsockname()[1], []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as ask:
            try:
                ask.connect((far, 9))
                own.append(ask.getsockname()[0])
            except OSError:
                pass
    if not reach("127.0.0.1", port):
        sys.exit("nothing can listen in it")
    listener.accept()
    print(port, *own, flush=True)
    sys.stdin.read()
    listener.settimeout(0)
    try:
        listener.accept()
        print("reached")
    except OSError:
        print("unreached")
else:
    port, *addresses = sys.stdin.readline().split()
    for address in addresses:
        reach(address, int(port))
"""


class Unknown(Exception):
    """It could not be tried; why."""


async def reaches(source: int, target: int, addresses: Collection[str]) -> bool:
    """Whether a connection from the container of that process to the other's arrives. Unknown.

    ``addresses``: what is known of the target's; those that it sees itself are tried, too.
    """
    with _namespaces(source) as here, _namespaces(target) as there:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await _try(here, there, addresses)
        except TimeoutError:
            raise Unknown(f"trying did not end within {_PATIENCE:.0f} s") from None
        except OSError as error:
            raise Unknown(str(error)) from None


async def _try(here: list[int], there: list[int], addresses: Collection[str]) -> bool:
    listening, trying = await _run(there, "listen"), await _run(here, "try")
    try:
        assert listening.stdin
        assert listening.stdout
        assert listening.stderr
        port, *own = (await listening.stdout.readline()).decode().split() or [""]
        if not port:
            raise Unknown((await listening.stderr.read()).decode("utf-8", "replace").strip()[:200])
        where = " ".join([port, *dict.fromkeys([*addresses, *own])])
        _, err = await trying.communicate(f"{where}\n".encode())
        if trying.returncode:
            raise Unknown(err.decode("utf-8", "replace").strip()[:200])
        listening.stdin.close()
        return (await listening.stdout.read()).strip() == b"reached"
    finally:
        for each in (listening, trying):
            with contextlib.suppress(ProcessLookupError):
                each.kill()
            await each.wait()


async def _run(namespaces: list[int], what: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _PROGRAM, ",".join(map(str, namespaces)), what),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=namespaces,
    )


@contextlib.contextmanager
def _namespaces(pid: int) -> Iterator[list[int]]:
    """A container's, open, in the order in which they can be entered. Unknown."""
    opened: list[int] = []
    try:
        for kind in ("user", "net"):
            path = Path(f"/proc/{pid}/ns/{kind}")
            if path.stat().st_ino != Path(f"/proc/self/ns/{kind}").stat().st_ino:
                opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            elif kind == "net":
                raise Unknown("it has this machine's own network")
        yield opened
    except PermissionError:
        raise Unknown("its namespaces are not this user's to enter") from None
    except FileNotFoundError:
        raise Unknown("it has just ended") from None
    except OSError as error:
        raise Unknown(str(error)) from None
    finally:
        for each in opened:
            os.close(each)
