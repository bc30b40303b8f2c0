"""What an image starts, out of a registry that may say anything."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tfnz_notebook._base import names
from tfnz_notebook.engines.http.response import Response
from tfnz_notebook.engines.registry.config import Registry, places
from tfnz_notebook.errors import EngineError, EngineGone

CONFIG = json.dumps({"config": {"Entrypoint": ["/run"], "Cmd": ["a"], "User": "7"}}).encode()


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


MANIFEST = json.dumps({"config": {"digest": digest(CONFIG)}}).encode()
AMD64 = {"os": "linux", "architecture": "amd64"}
INDEX = json.dumps({"manifests": [{"platform": AMD64, "digest": digest(MANIFEST)}]}).encode()


class Scripted:
    """A registry: path to body; what it was asked with."""

    def __init__(self, bodies: dict[str, bytes], token: str = "") -> None:
        self.bodies, self.token, self.name = bodies, token, "the registry r"

    async def request(self, method: str, path: str, **options: Any) -> Response:
        if path == "/token":
            return Response(200, {}, json.dumps({"token": self.token}).encode())
        said = (options.get("headers") or {}).get("Authorization", "")
        if self.token and said != f"Bearer {self.token}":
            asks = 'Bearer realm="https://r/token",service="s",scope="pull"'
            return Response(401, {"www-authenticate": asks}, b"")
        body = self.bodies.get(path.removeprefix("/v2/team/app/"))
        return Response(404, {}, b"") if body is None else Response(200, {}, body)


def registry(bodies: dict[str, bytes], token: str = "") -> Registry:
    made = Registry("https://r", "team/app", None)
    made._client = Scripted(bodies, token)  # type: ignore[assignment]
    made._to = lambda url: made._client  # type: ignore[method-assign]
    return made


WHOLE = {
    "manifests/latest": INDEX,
    f"manifests/{digest(INDEX)}": INDEX,
    f"manifests/{digest(MANIFEST)}": MANIFEST,
    f"blobs/{digest(CONFIG)}": CONFIG,
}


@pytest.mark.parametrize("token", ["", "t"])
@pytest.mark.parametrize("reference", ["latest", digest(INDEX), digest(MANIFEST), digest(CONFIG)])
async def test_by_a_tag_and_by_each_of_its_digests(reference: str, token: str) -> None:
    found = await registry(WHOLE, token).config(reference, "amd64")
    assert (found.entrypoint, found.command, found.user) == (("/run",), ("a",), "7")
    assert digest(CONFIG) in found.digests
    assert reference == "latest" or reference in found.digests


async def test_nobody_is_believed_who_gives_something_else() -> None:
    for path in (f"manifests/{digest(MANIFEST)}", f"blobs/{digest(CONFIG)}"):
        lying = registry({**WHOLE, path: b"{}"})
        with pytest.raises(EngineGone, match="something else"):
            await lying.config("latest", "amd64")


async def test_what_is_not_there_is_said() -> None:
    with pytest.raises(EngineError, match="not made for arm64"):
        await registry(WHOLE).config("latest", "arm64")
    with pytest.raises(EngineError, match="has it not"):
        await registry({}).config(digest(CONFIG), "amd64")


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("busybox", ("docker.io", "https://registry-1.docker.io", "library/busybox")),
        ("docker.io/team/x", ("docker.io", "https://registry-1.docker.io", "team/x")),
        ("localhost:5000/x", ("localhost:5000", "http://localhost:5000", "x")),
        ("r.test/a/b:1", ("r.test", "https://r.test", "a/b")),
        ("m.test/x", ("m.test", "http://10.0.0.1:5000", "x")),
    ],
)
def test_where_a_registry_is(image: str, wanted: tuple[str, str, str]) -> None:
    environ = {"TFNZ_REGISTRIES": "other=https://x m.test=http://10.0.0.1:5000"}
    assert places(names.parse(image), environ) == wanted
