"""Who may make no namespaces has pods all the same: guests as plain processes."""

from __future__ import annotations

from pathlib import Path

from apiserver.cluster import Cluster
from contract import cluster
from contract.talk import talking

from tfnz_notebook.engines.base import ContainerSpec
from tfnz_notebook.engines.launch import binary


async def test_a_guest_without_namespaces(tmp_path: Path) -> None:
    async with Cluster(bare=True) as there:
        guest = binary.locate()
        engine = cluster.engine(runtime=tmp_path, guest=guest, owner="bare", there=there)
        await engine.open()
        image = await engine.ensure_image("busybox", "missing", lambda progress: None)
        ref = await engine.create(ContainerSpec(id="one", image="busybox", sleep=True), image)
        await engine.start(ref)
        async with talking(engine, ref) as talk:
            assert (await talk.run("echo", "here"))[1] == b"here\n"
        await engine.remove(ref)
        assert (await engine.inspect(ref)).status == "gone"
        await engine.close()
