"""Images: there, not there, and badly named."""

from __future__ import annotations

import pytest
from contract import cluster
from contract.conftest import CLUSTER, CONTAINERS, MACHINE, Place

from tfnz_notebook.engines.base import Progress
from tfnz_notebook.errors import ImageMissing, ImageNameInvalid

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
    assert any(name.rpartition("/")[2] == "busybox:latest" for name in listed)


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
