"""The guest as Pod Security's ``restricted`` profile has it, in a real container.

A user that is not root, no capability, the engine's own seccomp profile, no new privileges, a root
that cannot be written; its binary read-only, its socket in a tmpfs that everybody may write.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contract.conftest import CONTAINERS, Place
from contract.talk import Talk

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Feature, Tag, Type
from tfnz_notebook.engines.base import LABEL_OWNER
from tfnz_notebook.engines.docker import calls
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.docker.engine import DockerEngine
from tfnz_notebook.engines.docker.exec import bridge
from tfnz_notebook.engines.launch import binary

USER = "12345:6"
BIN = "/.tfnz/bin/guest"


@pytest.mark.only(tuple(kind for kind in CONTAINERS if kind.endswith("exec")))
async def test_all_but_what_only_root_may(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(place.engine, DockerEngine)
    client, spec, image = place.engine.client, place.spec(), await place.image()
    quirks = place.engine.facts.quirks
    made = shape.body(spec, image, run=Path("/unused"), guest=Path("/unused"), quirks=quirks)
    made |= {"Entrypoint": [BIN], "Cmd": ["init", "--sleep", "--orphan", "600"], "User": USER}
    made["Labels"] = {LABEL_OWNER: place.owner}
    made["HostConfig"] |= {
        "CapDrop": ["ALL"],
        "ReadonlyRootfs": True,
        "Tmpfs": {"/.tfnz/run": "mode=1777,size=1m"},
        "Mounts": [
            {"Type": "bind", "Source": str(binary.locate()), "Target": BIN, "ReadOnly": True}
        ],
    }
    ref = await calls.create(client, spec, made)
    await place.engine.start(ref)
    monkeypatch.setattr(shape, "GUEST", BIN)

    async def running() -> bool:
        return (await place.engine.inspect(ref)).status == "running"

    talk = Talk()
    talk.stream = await bridge.connect(client, ref, talk.received, talk.ended, running, user=USER)
    hello = await talk.hello()
    assert hello.integer(Tag.UID) == 12345
    assert hello.integer(Tag.ORPHAN) == 600
    assert Feature(hello.integer(Tag.FEATURES)) == Feature.SETUP | Feature.PIPES | Feature.WIDE
    said = [(Tag.ARG, "sh"), (Tag.ARG, "-c"), (Tag.ARG, "echo $A; id -u; read x")]
    for frame in wire.setup(1, [*said, (Tag.ENV, "A=told"), (Tag.USER, "12345")]):
        talk.send(frame)
    talk.send(wire.fixed(Type.START, wire.MAIN, 2))
    main = talk.on(wire.MAIN)
    await main.until(lambda: main.out == b"told\n12345\n")
    status = (await talk.run("cat", "/proc/self/status"))[1].decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (int(fields["CapEff"], 16), fields["NoNewPrivs"], fields["Seccomp"]) == (0, "1", "2")
    assert (await talk.run("sh", "-c", "id -u; echo $A"))[1] == b"12345\ntold\n"
    terminal = talk.ask(
        Type.SPAWN, [(Tag.ARG, "sh"), (Tag.ARG, "-c"), (Tag.ARG, "tty"), (Tag.FLAGS, 1)]
    )
    assert await terminal.end() == 0
    assert terminal.out.startswith(b"/dev/pts/")
    refused = talk.ask(Type.SPAWN, [(Tag.ARG, "true"), (Tag.USER, "root")])
    failed = await refused.first(Type.SPAWNED, Type.FAILED)
    assert (failed.text(Tag.STAGE), failed.integer(Tag.ERRNO)) == ("user", 1)
    upload = talk.ask(Type.PUT, [(Tag.PATH, "/.tfnz/run/file")])
    upload.stdin_ends(0)
    assert (await upload.first(Type.STAT, Type.FAILED)).type is Type.STAT
    sealed = talk.ask(Type.PUT, [(Tag.PATH, "/etc/x")])
    assert (await sealed.first(Type.STAT, Type.FAILED)).integer(Tag.ERRNO) in (13, 30)
    sleeper = talk.spawn("sh", "-c", "sleep 1000 & sleep 1000")
    await sleeper.first(Type.SPAWNED)
    talk.send(wire.fixed(Type.SIGNAL, sleeper.channel, 3, 9, wire.Target.TREE))
    await sleeper.end()
    talk.stream.close()
    await place.engine.remove(ref)
