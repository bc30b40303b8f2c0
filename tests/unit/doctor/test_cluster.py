"""What a cluster holds of this user: what `clean` lists and removes of it, and what it leaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from apiserver.cluster import Cluster
from apiserver.objects.resources import CLAIMS, CONFIGMAPS, NAMESPACES, PODS, POLICIES

from tfnz_notebook import engines
from tfnz_notebook.__main__ import main
from tfnz_notebook._doctor import cluster
from tfnz_notebook.engines.base import ContainerSpec

OWNER = "0123456789abcdef"


@pytest.fixture
async def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """A container and a volume of this user's, and of somebody whose name only begins so."""
    guest = home / "guest"
    guest.write_bytes(b"\x7fELF" + bytes(60))
    async with Cluster(models=True) as there:
        monkeypatch.setenv("KUBECONFIG", str(there.kubeconfig()))
        for number, owner in enumerate((f"{OWNER}-kubernetes-1", f"{OWNER}ff-kubernetes-1")):
            engine = engines.create(
                "kubernetes:///", runtime=home / "run", guest=guest, owner=owner, environ=os.environ
            )
            await engine.open()
            image = await engine.ensure_image("busybox", "missing", lambda progress: None)
            spec = ContainerSpec(id=f"c{number}", image="busybox", sleep=True)
            await engine.create(spec, image)
            await engine.create_volume(f"v{number}", {})
            await engine.close()
        yield there


async def test_what_is_ours_is_listed_and_removed(there: Cluster, home: Path) -> None:
    held = await cluster.look("kubernetes://", home / "run", OWNER)
    assert not held.problem
    kinds = [each.kind for each in held.things]
    assert kinds == ["container", "network", "anchor", "volume"]
    left = await cluster.remove("kubernetes://", home / "run", OWNER, {"container", "network"})
    assert (left.things, left.problem) == ([], "")
    for resource in (PODS, POLICIES, CONFIGMAPS):
        names = [each["metadata"]["name"] for each in there.store.all(resource, "default")]
        assert len([name for name in names if name.startswith("tfnz-")]) == 1, "another's"
    assert len(there.store.all(CLAIMS, "default")) == 2, "data stays"
    await cluster.remove("kubernetes://", home / "run", OWNER, {"volume"})
    assert [each["metadata"]["name"] for each in there.store.all(CLAIMS, "default")] == ["v1"]


async def test_it_is_looked_into_where_it_is_named(
    there: Cluster, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "state" / "owner").write_text(OWNER)
    where = "kubernetes:///default"
    assert await asyncio.to_thread(main, ["clean", where, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "container tfnz-c0" in said and "tfnz-c1" not in said
    assert await asyncio.to_thread(main, ["clean", where, "--yes", "--volumes"]) == 0
    assert [each["metadata"]["name"] for each in there.store.all(PODS, "default")] == ["tfnz-c1"]
    assert await asyncio.to_thread(main, ["clean", "kubernetes://nowhere", "--yes"]) == 2
    assert "there is none of that name" in capsys.readouterr().out
    there.store.create(NAMESPACES, {"kind": "Namespace", "metadata": {"name": "jupyter"}})
    assert await asyncio.to_thread(main, ["namespaces", "kubernetes://"]) == 0
    assert {"default", "jupyter"} <= {*capsys.readouterr().out.splitlines()}
    await there.server.stop()
    (home / "state").mkdir()
    (home / "state" / "owner").write_text(OWNER)
    assert await asyncio.to_thread(main, ["clean", where, "--dry-run"]) == 0
    assert "Cannot look there: kubernetes://" in capsys.readouterr().out
