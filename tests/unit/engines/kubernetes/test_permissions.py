"""What is asked of an administrator: the same in the code, in the docs and from the doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from unit.engines.kubernetes.serving import Asked, serving, status
from unit.engines.scripted import reply

from tfnz_notebook._doctor import cluster
from tfnz_notebook._doctor.findings import as_json, as_text
from tfnz_notebook.engines.kubernetes import permissions

ROLE = Path(__file__).resolve().parents[4] / "docs" / "kubernetes" / "role" / "role.yaml"


def test_the_documented_role_is_what_is_needed() -> None:
    assert ROLE.read_text() == permissions.role()


def test_a_role_is_one() -> None:
    made = yaml.safe_load(permissions.role("team"))
    assert made["metadata"] == {"name": "tfnz-notebook", "namespace": "team"}
    assert made["rules"][1] == {
        "apiGroups": [""],
        "resources": ["pods/exec"],
        "verbs": ["get", "create"],
    }
    assert len(made["rules"]) == len(permissions.NEEDED)


def environ(home: Path, port: int) -> dict[str, str]:
    told = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "a-secret"}}],
    }
    (home / "config").write_text(json.dumps(told))
    return {"KUBECONFIG": str(home / "config")}


@pytest.mark.parametrize("refused", [set[str](), {"create pods/exec", "watch pods"}])
async def test_the_doctor_says_what_is_granted(tmp_path: Path, refused: set[str]) -> None:
    async def answer(asked: Asked) -> bytes | None:
        if asked.path == "/version":
            return reply(200, {"gitVersion": "v1.37.2"})
        assert asked.headers["authorization"] == "Bearer a-secret"
        wanted = json.loads(asked.body)["spec"]["resourceAttributes"]
        assert wanted["namespace"] == "team"
        sub = f"/{wanted['subresource']}" if wanted["subresource"] else ""
        allowed = f"{wanted['verb']} {wanted['resource']}{sub}" not in refused
        return reply(201, {"status": {"allowed": allowed}})

    async with serving(answer) as there:
        found = await cluster.examine(environ(tmp_path, there.port))
    assert found.said.startswith(f"v1.37.2 at http://127.0.0.1:{there.port}, kubernetes://c/team: ")
    assert (found.state, found.facts["usable"]) == (("note", False) if refused else ("ok", True))
    shown = as_text([found])
    if refused:
        assert "not granted are watch pods, create pods/exec" in found.said
        role = yaml.safe_load(shown[shown.index("apiVersion") : shown.rindex("}\n") + 2])
        assert role["metadata"]["namespace"] == "team"
    else:
        assert found.said.endswith("all that is needed is granted")
    assert "a-secret" not in shown + as_json([found])


async def test_a_cluster_that_cannot_be_used_is_a_note(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> bytes | None:
        return reply(401, status(401, "Unauthorized", "Unauthorized"))

    async with serving(answer) as there:
        given = environ(tmp_path, there.port)
        found = await cluster.examine(given)
    assert (found.state, found.facts["installed"]) == ("note", True)
    assert "refuses to say its version (Unauthorized)" in found.said
    found = await cluster.examine(given)
    assert "nothing listens there" in found.said
    nowhere = {"KUBECONFIG": "/none"}
    assert (await cluster.examine(nowhere)).facts["installed"] is False
    named = {**nowhere, "TFNZ_LOCATION": "kubernetes://gone"}
    assert "Cannot use the context 'gone'" in (await cluster.examine(named)).said
