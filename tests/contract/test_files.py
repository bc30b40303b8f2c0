"""Files before boot, files through the guest, volumes."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from contract.conftest import CLUSTER, CONTAINERS, MACHINE, Place
from contract.talk import Talk, talking

from tfnz_notebook._wire.guest import WINDOW_IN, Tag, Type
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook.engines.base import Claim, Mount
from tfnz_notebook.errors import ContainerFailed, Misuse, VolumeError


def inside(place: Place, ref: str, path: str) -> str:
    """A file's path for the processes there: on the host, files live below the scratch root."""
    return f"{place.runtime}/host/{ref}/root{path}" if place.kind == "host" else path


async def fetch(talk: Talk, path: str) -> tuple[bytes, int]:
    """Content and mode, through the guest."""
    got = talk.ask(Type.GET, [(Tag.PATH, path)])
    answer = await got.first(Type.STAT, Type.FAILED)
    assert answer.type is Type.STAT, answer.integer(Tag.ERRNO)
    await got.until(lambda: Which.OUT in got.ends)
    return got.out, answer.integer(Tag.MODE) & 0o7777


async def test_files_before_boot(place: Place) -> None:
    files = {
        "/etc/tfnz/app.conf": b"key = value\n",
        "/srv/deep/down/wörld and spaces": bytes(range(256)) * 1000,
        "/empty": b"",
    }
    ref = await place.run(files=files)
    async with talking(place.engine, ref) as talk:
        for path, content in files.items():
            assert await fetch(talk, path) == (content, 0o644)
        code, out, _ = await talk.run("cat", inside(place, ref, "/etc/tfnz/app.conf"))
        assert (code, out) == (0, b"key = value\n")


async def test_first_process_sees_the_files(place: Place) -> None:
    if place.kind == "host":
        ref = await place.run(files={"/hello": b"early\n"}, command=("cat", "hello"))
    else:
        ref = await place.run(files={"/hello": b"early\n"}, command=("cat", "/hello"))
    async with asyncio.timeout(30):
        while not (log := await place.engine.logs(ref)):
            await asyncio.sleep(0.01)
    assert log == b"early\n"


@pytest.mark.same_machine
@pytest.mark.only(CONTAINERS)
async def test_files_before_boot_where_something_is_mounted(place: Place) -> None:
    """Below a directory, below a volume, and where the engine has a file of its own."""
    (shared := place.runtime / "shared").mkdir()
    await place.engine.create_volume(volume := f"{place.owner}-v", {})
    paths = ["/shared/deep/file", "/kept/file", "/etc/hosts", "/etc/hostname", "/plain"]
    ref = await place.run(
        mounts=(Mount(str(shared), "/shared"), Mount(volume, "/kept")),
        files={path: f"{path}\n".encode() for path in paths},
        command=("sh", "-c", f"cat {' '.join(paths)}; trap exit TERM; while :; do sleep 0.1; done"),
    )
    told = "".join(f"{path}\n" for path in paths).encode()
    for again in (False, True):
        async with asyncio.timeout(30):
            fresh = place.kind in CLUSTER  # another pod, whose log is its own
            while (await place.engine.logs(ref)).count(told) < 1 + (again and not fresh):
                await asyncio.sleep(0.01)
        if not again:
            assert (shared / "deep" / "file").read_bytes() == b"/shared/deep/file\n"
            await place.engine.stop(ref, 5)
            await place.engine.start(ref)


@pytest.mark.only(CONTAINERS)
async def test_a_file_that_the_engine_mounts_is_written(talk: Talk) -> None:
    transfer = talk.ask(Type.PUT, [(Tag.PATH, "/etc/hosts")])
    transfer.stdin(b"127.0.0.9 elsewhere\n")
    transfer.stdin_ends(20)
    assert (await transfer.first(Type.STAT, Type.FAILED)).type is Type.STAT
    assert await talk.run("cat", "/etc/hosts") == (0, b"127.0.0.9 elsewhere\n", b"")


@pytest.mark.only(CONTAINERS)  # owners and users that are enforced
async def test_any_user_can_read_files_before_boot(place: Place) -> None:
    ref = await place.run(files={"/new/dir/file": b"x"}, user="65534:65534")
    async with talking(place.engine, ref) as talk:
        assert await talk.run("cat", "/new/dir/file") == (0, b"x", b"")
        _, out, _ = await talk.run("stat", "-c", "%u %g %a", "/new/dir/file")
        assert out == b"0 0 644\n"


async def test_paths_that_are_refused(place: Place, subtests: pytest.Subtests) -> None:
    for path in ("relative", "/a/../b", "../etc/x", "", "/", "/nul\0", "/.tfnz/x"):
        with subtests.test(repr(path)), pytest.raises(Misuse):
            await place.create(files={path: b""})


@pytest.mark.either_way
async def test_content_must_be_bytes(place: Place) -> None:
    for content in (["a list"], "text", None, 7):
        with pytest.raises(Misuse, match="not bytes"):
            await place.create(files={"/x": content})


@pytest.mark.only(CONTAINERS)
async def test_links_lead_nowhere_else(place: Place) -> None:
    """Debian's /var/run is a link to /run: the container's, though this machine has one too."""
    name = f"{place.owner}-escape"
    ref = await place.run("debian", sleep=True, files={f"/var/run/{name}": b"inside"})
    assert not Path("/run", name).exists()
    async with talking(place.engine, ref) as talk:
        assert (await fetch(talk, f"/run/{name}"))[0] == b"inside"
        assert (await talk.run("readlink", "/var/run"))[1].strip() in (b"/run", b"../run")


@pytest.mark.only(("fake", *CONTAINERS))
async def test_files_on_a_read_only_root(place: Place) -> None:
    """Refused with the remedy, or done: never silently dropped."""
    try:
        ref = await place.run(read_only=True, files={"/etc/new/x": b"content"})
    except Misuse as error:
        assert "read_only" in str(error)  # noqa: PT017 - the other answer is below
        return
    async with talking(place.engine, ref) as talk:
        assert (await fetch(talk, "/etc/new/x"))[0] == b"content"


async def test_put_and_fetch_through_the_guest(talk: Talk) -> None:
    content = bytes(range(256)) * 4096
    put = talk.ask(Type.PUT, [(Tag.PATH, "/tfnz-put"), (Tag.MODE, 0o600)])
    at = 0
    while at < len(content):
        await put.until(lambda at=at: at - put.taken < WINDOW_IN)
        put.stdin(content[at : at + 65536], at)
        at += 65536
    put.stdin_ends(at)
    done = await put.first(Type.STAT, Type.FAILED)
    assert done.type is Type.STAT
    assert await fetch(talk, "/tfnz-put") == (content, 0o600)
    listing = talk.ask(Type.LIST, [(Tag.PATH, "/")])
    await listing.until(lambda: Which.OUT in listing.ends)
    found = {frame.text(Tag.NAME): frame for frame in listing.frames if frame.type is Type.STAT}
    assert stat.S_ISREG(found["tfnz-put"].integer(Tag.KIND))


# --- volumes -------------------------------------------------------------------------------------


@pytest.mark.either_way
@pytest.mark.only(("fake", *CONTAINERS))
async def test_volume_life(place: Place) -> None:
    engine, name = place.engine, f"{place.owner}-v"
    await engine.create_volume(name, {"x": "1"})
    await engine.create_volume(name, {"x": "1"})  # ours already: fine
    assert await engine.volumes({}) == [name]
    assert await engine.volumes({"x": "1"}) == [name]
    assert await engine.volumes({"x": "2"}) == []
    other = await place.second(owner=f"{place.owner}-other", runtime=place.runtime / "other")
    assert await other.volumes({}) == []
    with pytest.raises(VolumeError) as caught:
        await other.create_volume(name, {})
    assert caught.value.details["foreign"], "so it can be mounted, as it is"
    with pytest.raises(VolumeError):
        await other.remove_volume(name)
    ref = await place.create(mounts=(Mount(name, "/data"),))
    with pytest.raises(VolumeError, match="Destroy"):
        await engine.remove_volume(name)
    await engine.remove(ref)
    await engine.remove_volume(name)
    with pytest.raises(VolumeError):
        await engine.remove_volume(name)
    assert await engine.volumes({}) == []


@pytest.mark.either_way
@pytest.mark.only(("fake", *MACHINE))
async def test_volumes_of_a_machine_are_directories(place: Place) -> None:
    for claim in (Claim(size=1 << 30), Claim(kind="fast"), Claim(access="one")):
        with pytest.raises(VolumeError, match="Leave it out"):
            await place.engine.create_volume(f"{place.owner}-v", {}, claim)
    assert await place.engine.volumes({}) == []


@pytest.mark.either_way
@pytest.mark.only(CONTAINERS)
async def test_volume_keeps_data(place: Place) -> None:
    name = f"{place.owner}-v"
    await place.engine.create_volume(name, {})
    writer = await place.run(mounts=(Mount(name, "/data"),))
    async with talking(place.engine, writer) as talk:
        assert (await talk.run("sh", "-c", "echo kept > /data/file"))[0] == 0
    await place.engine.remove(writer)
    reader = await place.run(mounts=(Mount(name, "/data", read_only=True),))
    async with talking(place.engine, reader) as talk:
        assert (await talk.run("cat", "/data/file"))[1] == b"kept\n"
        assert (await talk.run("sh", "-c", "echo no > /data/file"))[0] != 0


@pytest.mark.same_machine
@pytest.mark.either_way
@pytest.mark.only(CONTAINERS)
async def test_directory_mount(place: Place) -> None:
    shared = place.runtime / "shared"
    shared.mkdir()
    (shared / "file").write_text("from outside\n")
    ref = await place.run(mounts=(Mount(str(shared), "/shared", read_only=True),))
    async with talking(place.engine, ref) as talk:
        assert (await talk.run("cat", "/shared/file"))[1] == b"from outside\n"


@pytest.mark.same_machine
@pytest.mark.only(("podman", "docker"))
async def test_a_source_that_is_not_there_is_refused_and_not_made(place: Place) -> None:
    source = place.runtime / "missing" / "deep"
    with pytest.raises(ContainerFailed, match=r"^Cannot mount .*missing/deep.*not there"):
        await place.create(mounts=(Mount(str(source), "/data"),))
    assert not source.parent.exists()


@pytest.mark.only(("fake", *CONTAINERS))
async def test_mount_points_that_are_refused(place: Place, subtests: pytest.Subtests) -> None:
    for target in ("/.tfnz", "/.tfnz/run", "/.tfnz/guest", "/", "relative"):
        with subtests.test(target), pytest.raises(Misuse):
            await place.create(mounts=(Mount("/tmp", target),))


@pytest.mark.only(("host",))
async def test_host_has_no_volumes(place: Place) -> None:
    for call in (
        place.engine.create_volume("v", {}),
        place.engine.remove_volume("v"),
        place.create(mounts=(Mount("v", "/v"),)),
    ):
        with pytest.raises(VolumeError, match="host"):
            await call
    assert await place.engine.volumes({}) == []
