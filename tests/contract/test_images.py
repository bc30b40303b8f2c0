"""Images: there, not there, badly named; made, kept and gone."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Mapping

import pytest
from contract import cluster
from contract.conftest import CLUSTER, CONTAINERS, MACHINE, Place
from contract.talk import talking
from contract.test_files import fetch

from tfnz_notebook.engines.base import LABEL_DURABLE, LABEL_OWNER, LABEL_SESSION, Progress, Recipe
from tfnz_notebook.errors import (
    BuildFailed,
    EngineError,
    ImageError,
    ImageInUse,
    ImageMissing,
    ImageNameInvalid,
)

pytestmark = [
    pytest.mark.only(("fake", *CONTAINERS)),  # the host has no images: any name will do
    pytest.mark.either_way,
]


async def test_images_are_listed(place: Place) -> None:
    if place.kind in CLUSTER:  # to who may look at its nodes
        async with cluster.administrator(place) as engine:
            listed = await engine.images()
    else:
        listed = await place.engine.images()
    busybox = next(each for each in listed if "busybox:latest" in map(_short, each.tags))
    assert busybox.id
    assert busybox.size is not None


def _short(tag: str) -> str:
    return tag.rpartition("/")[2]


#: Whose images are on the machine that is asked, and not on those that run something.
here = pytest.mark.only(("fake", *MACHINE))


@here
async def test_image_tells_of_itself(place: Place) -> None:
    image = await place.image("nginx")
    assert image.id
    assert image.entrypoint or image.command
    if place.contained:
        assert "PATH" in image.env


async def test_image_that_is_there_is_not_pulled(place: Place) -> None:
    seen: list[Progress] = []
    for name in ("busybox", "busybox:latest"):
        await place.engine.ensure_image(name, "missing", seen.append)
    assert seen == []


@here
async def test_missing_and_never_pulled(place: Place) -> None:
    with pytest.raises(ImageMissing, match=r"pulling is off\. .*[Pp]ull|pulling is off"):
        await place.engine.ensure_image("tfnz-not-there:1", "never", lambda progress: None)


@here
@pytest.mark.parametrize("pull", ["missing", "always"])
async def test_missing_and_no_registry(place: Place, pull: str) -> None:
    """Port 1 of this machine: nobody listens, and the engine says so at once."""
    name = "localhost:1/team/not-there:1"
    with pytest.raises(ImageMissing) as caught:
        await place.engine.ensure_image(name, pull, lambda progress: None)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith("Cannot use the image")
    assert name in message
    if place.contained:
        assert "localhost:1" in message
        assert "docker load" in message


async def test_malformed_name_asks_nobody(place: Place) -> None:
    """The grammar, and the many ways out of it, are in tests/unit/base/test_names.py."""
    await place.engine.close()  # any request would raise NoEngine
    with pytest.raises(ImageNameInvalid, match="Cannot use"):
        await place.engine.ensure_image("https://x/y", "missing", lambda progress: None)
    await place.engine.open()


# --- made here -----------------------------------------------------------------------------------


@here
async def test_an_image_made_of_a_container_starts_what_that_was_told(place: Place) -> None:
    """And carries nothing by which we would take a stranger's container of it for ours."""
    engine, name = place.engine, f"tfnz-made-{place.owner}"
    command = ("sleep", "1000")
    labels = {LABEL_SESSION: "s", LABEL_DURABLE: ""}
    options = {"command": command, "env": {"A": "1"}, "user": "65534", "labels": labels}
    ref = await place.run(files={"/made/here": b"kept"}, **options)
    ident = await engine.commit(ref, name)
    try:
        image = await engine.ensure_image(ident, "never", lambda _: None)
        assert (image.entrypoint, image.command, image.user) == ((), command, "65534")
        assert image.env["A"] == "1"
        assert (await engine.stored(name)).id == image.id
        told = (await engine.inspect_image(name))["Config"].get("Labels") or {}
        assert not told.get(LABEL_OWNER)
        again = await engine.create(place.spec(name, sleep=True), image)
        await engine.start(again)
        async with talking(engine, again) as talk:
            assert await fetch(talk, "/made/here") == (b"kept", 0o644)
        found = {each.ref: each.labels for each in await engine.find({})}
        assert found[again].get(LABEL_DURABLE, "no") == "no"
        with pytest.raises(ImageInUse, match="Destroy the containers"):
            await engine.remove_image(name, force=False)
        await engine.remove(again)
    finally:
        await engine.remove_image(name, force=True)
    with pytest.raises(ImageMissing, match="not here"):
        await engine.stored(name)


@here
async def test_an_image_is_built_and_its_words_come_as_they_are_said(place: Place) -> None:
    name, said = f"tfnz-built-{place.owner}", bytearray()
    dockerfile = 'FROM busybox\nRUN echo one\nCOPY told /told\nCMD ["cat", "/told"]\n'
    sent = {".df": dockerfile.encode(), "told": b"text"}
    ident = await place.engine.build(Recipe(name, ".df"), _context(sent), _into(said))
    try:
        image = await place.engine.ensure_image(name, "never", lambda _: None)
        assert image.command == ("cat", "/told")
        assert (await place.engine.stored(ident)).id == image.id
        assert b"echo one" in said
    finally:
        await place.engine.remove_image(name, force=True)


@here
async def test_a_build_that_fails_says_where_and_what_it_said_last(place: Place) -> None:
    sent = {".df": b"FROM busybox\nRUN exit 3\n"}
    recipe = Recipe(f"tfnz-built-{place.owner}", ".df")
    with pytest.raises(BuildFailed, match=r"^Cannot build 'tfnz-built.*step 2/2 .*\. Correct"):
        await place.engine.build(recipe, _context(sent), _into(bytearray()))


@pytest.mark.long
@pytest.mark.only(MACHINE)
async def test_a_build_that_is_cancelled_ends(place: Place) -> None:
    """Its step is asleep. Podman 4 lets it end."""
    context = _context({".df": b"FROM busybox\nRUN echo begun; sleep 2.25\nRUN sleep 77\n"})
    begun = asyncio.Event()

    async def said(text: bytes) -> None:
        if b"begun\n" in text:
            begun.set()

    recipe = Recipe(f"tfnz-built-{place.owner}", ".df")
    building = asyncio.ensure_future(place.engine.build(recipe, context, said))
    await begun.wait()
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert await _ended("sleep 2.25"), "what it ran goes on"
    assert await _ended("sleep 77"), "and so does the rest"


async def _ended(command: str) -> bool:
    for _ in range(600):
        listing = await asyncio.create_subprocess_exec(
            *("ps", "-eo", "args"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await listing.communicate()
        if f"{command}\n" not in out.decode():
            return True
        await asyncio.sleep(0.1)
    return False


@here
async def test_an_image_is_saved_and_comes_back(place: Place) -> None:
    engine, name = place.engine, f"tfnz-saved-{place.owner}:one"
    sent = {".df": b'FROM busybox\nCMD ["true"]\n'}
    ident = await engine.build(Recipe(name, ".df"), _context(sent), _into(bytearray()))
    pieces = [piece async for piece in engine.save(name)]
    await engine.remove_image(name, force=True)
    assert [_short(each) for each in await engine.load(_each(pieces))] == [name]
    try:
        again = await engine.stored(name)
        assert [_short(tag) for tag in again.tags] == [name]
        assert again.id == ident or not place.contained
    finally:
        await engine.remove_image(name, force=True)


@here
async def test_what_is_no_archive_is_not_loaded(place: Place) -> None:
    with pytest.raises(ImageError, match=r"Cannot load images: [^\n]*save"):
        await place.engine.load(_each([b"no archive" * 1000]))


@here
async def test_what_is_not_there_is_refused(place: Place) -> None:
    engine, name = place.engine, f"tfnz-nothing-{place.owner}"
    with pytest.raises(ImageMissing):
        await engine.inspect_image(name)
    with pytest.raises(ImageMissing):
        await engine.remove_image(name, force=False)
    with pytest.raises(ImageMissing):
        async for _ in engine.save(name):
            pass


@pytest.mark.only(("host", *CLUSTER))
async def test_where_no_images_are_kept_all_of_it_is_refused_by_name(place: Place) -> None:
    engine, nothing = place.engine, _each([])
    for asked in (
        engine.pull("busybox", "missing", lambda _: None),
        engine.inspect_image("busybox"),
        engine.remove_image("busybox", force=True),
        engine.commit("ref", "name"),
        engine.build(Recipe("name", "Dockerfile"), nothing, _into(bytearray())),
        engine.load(nothing),
    ):
        with pytest.raises(EngineError, match=rf"^Cannot .*: {engine.name} .*Podman or Docker\.$"):
            await asked


def _context(files: Mapping[str, bytes]) -> AsyncIterator[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return _each([out.getvalue()])


async def _each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _into(said: bytearray):  # type: ignore[no-untyped-def]
    async def hear(text: bytes) -> None:
        said.extend(text)

    return hear
