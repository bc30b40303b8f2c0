"""Pulls from a real registry: whose login is taken, what a name means, and what a bad line does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from contract.registry import PASSWORD, Registry, Relay, serving, trusted
from contract.test_images import _context, _into

from tfnz_notebook._base import names
from tfnz_notebook.engines.base import Progress, Recipe
from tfnz_notebook.engines.registry import config as registries
from tfnz_notebook.engines.registry.credentials import Store
from tfnz_notebook.errors import EngineError, ImageMissing

if TYPE_CHECKING:
    from contract.conftest import Place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="engines read whom they trust from /etc")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's, without any login."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / ".docker").mkdir()
    return tmp_path


@pytest.fixture
async def remove(place: Place) -> AsyncIterator[Callable[[str], str]]:
    """Of an image that the test brings here."""
    named: list[str] = []

    def note(image: str) -> str:
        named.append(image)
        return image

    yield note
    for image in named:
        try:
            await place.engine.remove_image(image, force=True)
        except ImageMissing:
            pass


def helper(home: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that knows the password, as desktops' key rings do."""
    said = {"ServerURL": registry.name, "Username": "somebody", "Secret": PASSWORD}
    program = home / "docker-credential-ring"
    program.write_text(
        f"#!/bin/sh\nread asked\n[ $asked = {registry.name} ] && echo '{json.dumps(said)}'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")


@pytest.mark.only(("podman+socket", "docker+socket"), long=("docker+socket",))
async def test_a_pull_with_the_logins_of_the_users_own_tools(
    place: Place,
    registry: Registry,
    home: Path,
    remove: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    subtests: pytest.Subtests,
) -> None:
    engine, image = place.engine, f"{registry.name}/team/app-{place.owner}"
    remove(image)
    digest = registry.push(f"team/app-{place.owner}")
    config = home / ".docker" / "config.json"
    seen: list[Progress] = []
    with trusted(registry):
        with subtests.test("none"), pytest.raises(ImageMissing, match="from the registry"):
            # Docker then tries localhost without TLS, and tells what came of that.
            await engine.ensure_image(image, "missing", seen.append)
        with subtests.test("a wrong one"):
            config.write_text(json.dumps(registry.login(password="another word")))
            with pytest.raises(ImageMissing, match="was refused") as refusal:
                await engine.ensure_image(image, "missing", seen.append)
            assert "another word" not in str(refusal.value)
        with subtests.test("config.json"):
            config.write_text(json.dumps(registry.login()))
            found = await engine.ensure_image(image, "missing", seen.append)
            assert found.command == ("echo", "amd64"), "this machine's, of the two in the index"
        with subtests.test("auth.json, by digest"):
            config.write_text("{}")
            (home / "auth.json").write_text(json.dumps(registry.login()))
            monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))
            await engine.remove_image(image, force=True)
            pinned = remove(f"{image}@{digest}")
            assert (await engine.ensure_image(pinned, "missing", seen.append)).id == found.id
            monkeypatch.delenv("REGISTRY_AUTH_FILE")
        with subtests.test("a helper"):
            helper(home, registry, monkeypatch)
            config.write_text(json.dumps({"credHelpers": {registry.name: "ring"}}))
            await engine.pull(image, "always", seen.append)
        with subtests.test("FROM, in a build"):
            sent = {".df": f'FROM {image}\nCMD ["true"]\n'.encode()}
            recipe = Recipe(remove(f"tfnz-of-{place.owner}"), ".df", pull=True)
            assert await engine.build(recipe, _context(sent), _into(bytearray()))
    assert seen
    assert not any(PASSWORD in each.text for each in seen)


async def test_what_an_image_starts_is_known_without_an_engine(
    registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a cluster's: the registry is asked, with TLS, a login, and the index's platforms."""
    digest = registry.push("team/asked")
    (home / ".docker" / "config.json").write_text(json.dumps(registry.login()))
    name = names.parse(f"{registry.name}/team/asked")
    monkeypatch.setenv("SSL_CERT_FILE", str(registry.authority))
    login = await Store().find(name.registry, name.path)
    for machine in ("amd64", "arm64"):
        for reference in ("latest", digest):
            asked = registries.Registry(f"https://{registry.name}", name.path, login)
            assert (await asked.config(reference, machine)).command == ("echo", machine)
    asked = registries.Registry(f"https://{registry.name}", name.path, None)
    with pytest.raises(EngineError, match="wants a login|refuses"):
        await asked.config("latest", "amd64")


@pytest.mark.long
@pytest.mark.only(("docker+socket", "podman+socket"))
async def test_a_slow_pull_goes_on_and_one_that_is_cut_comes_again(
    place: Place, registry: Registry, home: Path, remove: Callable[[str], str]
) -> None:
    """Docker tries again by itself, after five seconds; Podman at once, or says so."""
    repository = f"team/large-{place.owner}"
    registry.push(repository, 3 << 20)
    relay = Relay(registry.port)
    await relay.open()
    image = remove(f"localhost:{relay.port}/{repository}")
    (home / ".docker" / "config.json").write_text(json.dumps(registry.login(relay.port)))
    seen: list[Progress] = []
    with trusted(registry, relay.port):
        relay.cut = 1 << 20
        with contextlib.suppress(ImageMissing, EngineError):
            await place.engine.ensure_image(image, "missing", seen.append)
        await place.engine.ensure_image(image, "missing", seen.append)
        assert relay.cuts == 1
        await place.engine.remove_image(image, force=True)
        relay.rate, relay.moved = 4 << 20, 0
        await place.engine.ensure_image(image, "missing", seen.append)
        assert relay.moved > 3 << 20
        relay.rate = 256 << 10
        await place.engine.remove_image(image, force=True)
        began = relay.moved
        pulling = asyncio.ensure_future(place.engine.ensure_image(image, "missing", seen.append))
        while relay.moved - began < 100_000:
            await asyncio.sleep(0.01)
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        while (moved := relay.moved) is not None:  # it goes on no more
            await asyncio.sleep(1)
            if relay.moved == moved:
                break
    await relay.close()
