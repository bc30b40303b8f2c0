"""The kernel of the soak: rounds of mixed work, one line a round, until stdin ends."""

import json
import sys
import threading
import time
import urllib.request
from pathlib import Path

from faults.check import Stream
from integration.page import Page

from tfnz_notebook.container import Container
from tfnz_notebook.location import Location

where, writer = sys.argv[1:]
binary = Path(writer).read_bytes()
location = Location(where, session="soak")
node = location.best_node()


def box(tag: str | None = None) -> Container:
    made = node.spawn_container("busybox", sleep=True, tag=tag).wait_until_ready()
    made.put("/writer", binary, mode=0o755)
    return made


def checked(container: Container, blocks: int) -> None:
    process = container.spawn_process(f"/writer seed=1 blocks={blocks} code=3")
    stream = Stream(1)
    for chunk in process.chunks():
        stream.feed(chunk)
    assert process.wait(60) == 3
    stream.complete()


def views(container: Container) -> None:
    """One that is read, one that nobody reads, both closed before their process ends."""
    process = container.spawn_process("yes | head -c 3000000; exec sleep 100", retain="tail")
    page = Page(process)
    read = page.open(mode="tail", window=50_000)
    unread = page.open(takes=False, mode="tail", window=10_000)
    read.until(lambda: read.offset.get(1, 0) >= 3_000_000)
    for view in (read, unread):
        view.say("close")
    process.destroy(grace=0)


def tunnel(container: Container) -> None:
    server = container.spawn_process(["httpd", "-f", "-p", "8080", "-h", "/"])
    container.wait_tcp(8080, timeout=30)
    opened = container.attach_tunnel(8080)
    with urllib.request.urlopen(opened.url("writer")) as answer:
        assert answer.read() == binary
    opened.destroy()
    server.destroy(grace=0)


def reattach() -> None:
    """Another kernel's look at the same session."""
    with Location(where, session="soak") as other:
        found = other.container("kept")
        assert found.run_process("echo seen").stdout == b"seen\n"
        got = threading.Event()
        ticker = next(p for p in found.all_processes() if "rate" in p.command)
        ticker.attach(lambda process, data: got.set())
        assert got.wait(30)


kept = box("kept")
kept.spawn_process("/writer seed=2 lines=1 rate=640")
number = 0
print(json.dumps({"guest": kept.id}), flush=True)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
while not stop.is_set():
    began = time.monotonic()
    brief = box()
    checked(brief, 200)
    views(brief)
    tunnel(brief)
    brief.destroy()
    for each in range(5):
        assert kept.run_process(f"echo {each}; exit {each}") == (b"%d\n" % each, b"", each)
    shell = kept.spawn_shell()
    assert b"42" in shell.stdin(b"echo $((6*7))\n", return_reply=True, timeout=30)
    shell.stdin(b"exit\n")
    shell.wait(30)
    kept.put("/tmp/file", binary)
    assert kept.fetch("/tmp/file") == binary
    assert kept.stats().pids
    reattach()
    number += 1
    print(json.dumps({"round": number, "seconds": time.monotonic() - began}), flush=True)
kept.destroy()
location.disconnect()
