"""Registry logins, from files and through helpers, and what is sent to the engine."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path

import pytest
from unit.engines.scripted import scripted

from tfnz_notebook.engines.base import Progress
from tfnz_notebook.engines.docker.image import pull as docker_pull
from tfnz_notebook.engines.registry.credentials import Login, Store, header
from tfnz_notebook.errors import EngineError, ImageMissing


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose home is empty, with a place for helpers on its PATH."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / "bin").mkdir()
    return {
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }


def config(home: dict[str, str], said: object) -> None:
    Path(home["HOME"], ".docker", "config.json").write_text(json.dumps(said))


def helper(home: dict[str, str], name: str, script: str) -> None:
    path = Path(home["HOME"], "bin", f"docker-credential-{name}")
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_nothing_known(home: dict[str, str]) -> None:
    store = Store(home)
    assert await store.find("r.example") is None
    assert store.problems == []


@pytest.mark.parametrize("key", ["r.example", "https://r.example/v1/", "http://r.example"])
async def test_plain(home: dict[str, str], key: str) -> None:
    config(home, {"auths": {key: {"auth": encoded("me:pass:word")}}})
    login = await Store(home).find("r.example")
    assert login == Login("r.example", "me", "pass:word")
    assert "pass" not in repr(login)


async def test_default_registry_by_its_url(home: dict[str, str]) -> None:
    url = "https://index.example/v1/"
    config(home, {"auths": {url: {"username": "u", "password": "p"}}})
    assert await Store(home).find(url) == Login(url, "u", "p")


async def test_token(home: dict[str, str]) -> None:
    config(home, {"auths": {"r.example": {"auth": "", "identitytoken": "tok"}}})
    login = await Store(home).find("r.example")
    assert login is not None
    assert login.config() == {"identitytoken": "tok", "serveraddress": "r.example"}


async def test_podman_files_and_namespaces(home: dict[str, str]) -> None:
    place = Path(home["XDG_RUNTIME_DIR"], "containers")
    place.mkdir(parents=True)
    (place / "auth.json").write_text(
        json.dumps(
            {
                "auths": {
                    "r.example": {"auth": encoded("all:1")},
                    "r.example/team": {"auth": encoded("team:2")},
                }
            }
        )
    )
    store = Store(home)
    team, other = await store.find("r.example", "team/x"), await store.find("r.example", "y")
    assert team is not None
    assert other is not None
    assert (team.username, other.username) == ("team", "all")
    assert {*await store.all()} == {"r.example", "r.example/team"}


async def test_helper_for_one_registry(home: dict[str, str]) -> None:
    config(home, {"credHelpers": {"r.example": "test"}, "auths": {"r.example": {}}})
    helper(home, "test", 'read r; echo "{\\"Username\\":\\"$1-$r\\",\\"Secret\\":\\"s\\"}"')
    assert await Store(home).find("r.example") == Login("r.example", "get-r.example", "s")


async def test_store_for_all_and_its_token(home: dict[str, str]) -> None:
    config(home, {"credsStore": "test"})
    helper(home, "test", 'echo \'{"Username":"<token>","Secret":"t"}\'')
    assert await Store(home).find("r.example") == Login("r.example", token="t")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'credentials not found in native keychain'; exit 1", ""),
        ("echo 'keyring is locked' >&2; exit 1", "keyring is locked"),
        ("echo '{}'", "something else"),
        ("echo nonsense", "something else"),
    ],
)
async def test_helper_that_fails(home: dict[str, str], script: str, problem: str) -> None:
    config(home, {"credsStore": "test"})
    helper(home, "test", script)
    store = Store(home)
    assert await store.find("r.example") is None
    assert problem in "".join(store.problems)
    assert bool(store.problems) == bool(problem)


async def test_helper_that_is_not_there(home: dict[str, str]) -> None:
    config(home, {"credHelpers": {"r.example": "../../bin/absent"}})
    store = Store(home)
    assert await store.find("r.example") is None
    assert store.problems == ["docker-credential-absent cannot be run (No such file or directory)"]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"auths": 7}', '{"auths": {"r.example": {"auth": "%"}}}']
)
async def test_broken_files(home: dict[str, str], content: str) -> None:
    Path(home["HOME"], ".docker", "config.json").write_text(content)
    assert await Store(home).find("r.example") is None


# --- what the engine is sent ---------------------------------------------------------------------


class Registry:
    """An engine that notes what it is asked to pull, and answers with these lines."""

    def __init__(self, *lines: object, status: int = 200) -> None:
        self.lines, self.status = lines, status
        self.heads: list[str] = []

    async def __call__(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.heads.append(head)
        body = b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\r\n"
            for line in self.lines
        )
        writer.write(f"HTTP/1.1 {self.status} X\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()

    def sent(self, name: str) -> object:
        for line in self.heads[-1].split("\r\n"):
            key, _, value = line.partition(": ")
            if key == name:
                return json.loads(base64.urlsafe_b64decode(value))
        return None


async def pull(
    path: Path, registry: Registry, home: dict[str, str], image: str, **options: object
) -> list[Progress]:
    seen: list[Progress] = []
    settings = {"podman": False, "default_registry": "https://index.example/v1/", **options}
    async with scripted(path / f"s{len(registry.heads)}", registry) as client:
        await docker_pull.pull(
            client,
            image,
            progress=seen.append,
            store=Store(home),
            **settings,  # type: ignore[arg-type]
        )
    return seen


async def test_login_is_sent_to_its_own_registry_alone(short: Path, home: dict[str, str]) -> None:
    config(home, {"auths": {"r.example": {"auth": encoded("me:p+/=?")}}})
    registry = Registry({"status": "done"})
    await pull(short, registry, home, "r.example/team/x:3")
    assert "fromImage=r.example%2Fteam%2Fx&tag=3 " in registry.heads[-1]
    assert registry.sent("X-Registry-Auth") == {
        "username": "me",
        "password": "p+/=?",
        "serveraddress": "r.example",
    }
    await pull(short, registry, home, "other.example/x")
    assert "tag=latest " in registry.heads[-1]
    assert registry.sent("X-Registry-Auth") is None


async def test_short_names(short: Path, home: dict[str, str]) -> None:
    config(
        home,
        {
            "auths": {
                "https://index.example/v1/": {"auth": encoded("hub:1")},
                "r.example": {"auth": encoded("me:2")},
            }
        },
    )
    registry = Registry({"status": "done"})
    await pull(short, registry, home, "nginx")
    assert registry.sent("X-Registry-Auth")["username"] == "hub"  # type: ignore[index]
    await pull(short, registry, home, "nginx", podman=True, default_registry="")
    assert registry.sent("X-Registry-Auth") is None
    offered = registry.sent("X-Registry-Config")
    assert {*offered} == {"https://index.example/v1/", "r.example"}  # type: ignore[misc]


def test_header_is_url_safe() -> None:
    assert base64.urlsafe_b64decode(header({"k": "ÿ??>>"})) == b'{"k": "\\u00ff??>>"}'
    assert not {*"+/"} & {*header({"k": "ÿ??>>~~~"})}


# --- progress ------------------------------------------------------------------------------------


def line(status: str, layer: str, current: int = -1, total: int = -1) -> dict[str, object]:
    detail = {"current": current, "total": total} if current >= 0 else {}
    return {"status": status, "id": layer, "progressDetail": detail}


async def test_progress_is_the_sum_over_layers(short: Path, home: dict[str, str]) -> None:
    registry = Registry(
        {"status": "Pulling from library/x", "id": "latest"},
        line("Pulling fs layer", "a"),
        line("Pulling fs layer", "b"),
        line("Already exists", "c"),
        line("Downloading", "a", 10, 100),
        line("Downloading", "b", 50, 50),
        line("Downloading", "a", 100, 100),
        line("Download complete", "a"),
        line("Extracting", "a", 7, 100),
        line("Pull complete", "a"),
        b"an engine's log line\n",
        {"status": "Status: Downloaded newer image"},
    )
    seen = await pull(short, registry, home, "x")
    numbers = [(p.done, p.total) for p in seen]
    assert (10, 100) in numbers
    assert (60, 150) in numbers
    assert numbers[-1] == (150, 150)
    assert [done for done, _ in numbers] == sorted(done for done, _ in numbers)
    assert "2 of 3 layers" in seen[-1].text


@pytest.mark.parametrize(
    ("registry", "remedy"),
    [
        (Registry({"message": "manifest unknown"}, status=404), "Check the name and the tag"),
        (Registry({"error": "unauthorized: x", "errorDetail": {}}), "log in with 'docker login"),
        (Registry({"error": "dial tcp: lookup r: no such host"}), "docker load"),
        (Registry({"message": "Get https://r/v2/: timeout"}, status=500), "docker load"),
    ],
    ids=["404", "unauthorised", "line", "500"],
)
async def test_failures_name_the_remedy(
    short: Path, home: dict[str, str], registry: Registry, remedy: str
) -> None:
    with pytest.raises(ImageMissing, match=remedy) as caught:
        await pull(short, registry, home, "r.example/x:1")
    assert "r.example" in str(caught.value)


async def test_full_disk_is_another_error(short: Path, home: dict[str, str]) -> None:
    with pytest.raises(EngineError, match="disk is full"):
        await pull(short, Registry({"error": "write: no space left on device"}), home, "x")


async def test_id_is_never_pulled(short: Path, home: dict[str, str]) -> None:
    registry = Registry()
    with pytest.raises(ImageMissing, match="an id"):
        await pull(short, registry, home, "ab" * 32)
    assert registry.heads == []
