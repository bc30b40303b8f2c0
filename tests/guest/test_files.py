"""PUT, GET, LIST, MKDIR; and that nothing leads out of the root."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from guest.conftest import OTHER_UID
from guest.harness import names

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Flag, Stream, Tag, Type

if TYPE_CHECKING:
    from guest.harness import Agent, Guest, Process

EPERM, ENOENT, EEXIST, ENOTDIR, EISDIR, EINVAL, ELOOP = 1, 2, 17, 20, 21, 22, 40
BLOCK = os.urandom(1 << 20)


def put(agent: Agent, path: str | bytes, content: bytes, **more: Any) -> Process:
    transfer = agent.open(Type.PUT, (Tag.PATH, path), *fields(**more))
    transfer.write(content).close_stdin()
    agent.until(lambda: transfer.gone or transfer.failed)
    return transfer


def fields(
    mode: int | None = None, user: str | None = None, flags: int = 0
) -> list[tuple[Tag, int | str]]:
    given: list[tuple[Tag, int | str]] = []
    if mode is not None:
        given.append((Tag.MODE, mode))
    if user is not None:
        given.append((Tag.USER, user))
    if flags:
        given.append((Tag.FLAGS, int(flags)))
    return given


def get(agent: Agent, path: str | Path) -> Process:
    transfer = agent.open(Type.GET, (Tag.PATH, str(path)))
    agent.until(lambda: transfer.gone or transfer.failed)
    return transfer


def listing(agent: Agent, path: str | Path) -> dict[str, wire.Frame]:
    transfer = agent.open(Type.LIST, (Tag.PATH, str(path)))
    agent.until(lambda: transfer.gone or transfer.failed)
    assert transfer.failed is None, transfer.failed
    assert transfer.eof == {Stream.OUT: 0}
    names = [frame.text(Tag.NAME) for frame in transfer.stats]
    assert len(names) == len(set(names))
    return dict(zip(names, transfer.stats, strict=True))


def mkdir(agent: Agent, path: str | Path, **more: Any) -> Process:
    made = agent.open(Type.MKDIR, (Tag.PATH, str(path)), *fields(**more))
    agent.until(lambda: made.gone or made.failed)
    return made


def errno(transfer: Process) -> int:
    assert transfer.failed, "it worked"
    return transfer.failed.integer(Tag.ERRNO)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 5_000_000])
def test_there_and_back(agent: Agent, tmp_path: Path, size: int) -> None:
    content = (BLOCK * 5)[:size]
    target = tmp_path / "file"
    done = put(agent, str(target), content)
    assert target.read_bytes() == content
    assert done.stats[0].integer(Tag.SIZE) == size
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    back = get(agent, target)
    assert back.out == content
    assert back.eof == {Stream.OUT: size}
    info = target.stat()
    frame = back.stats[0]
    assert frame.integer(Tag.SIZE) == size
    assert frame.integer(Tag.MODE) == 0o644
    assert frame.integer(Tag.KIND) == stat.S_IFREG
    assert frame.integer(Tag.MTIME) == info.st_mtime_ns
    assert (frame.integer(Tag.UID), frame.integer(Tag.GID)) == (info.st_uid, info.st_gid)
    assert names(tmp_path) == ["file"], "no temporary file is left"


def test_modes(plain: Agent, tmp_path: Path) -> None:
    target = tmp_path / "file"
    put(plain, str(target), b"1", mode=0o4751)
    assert stat.S_IMODE(target.stat().st_mode) == 0o4751
    put(plain, str(target), b"2")
    assert stat.S_IMODE(target.stat().st_mode) == 0o4751, "kept when none is given"
    put(plain, str(target), b"3", mode=0o600)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_bytes() == b"3"


@pytest.mark.usefixtures("root")
def test_owners(plain: Agent, tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "file"
    put(plain, str(target), b"1", user=f"{OTHER_UID}:44444", flags=Flag.PARENTS)
    for path in (target, target.parent, target.parent.parent):
        assert (path.stat().st_uid, path.stat().st_gid) == (OTHER_UID, 44444)
    put(plain, str(target), b"2")
    assert target.stat().st_uid == OTHER_UID, "kept when none is given"
    put(plain, str(target), b"3", user="root", mode=0o6755)
    assert (target.stat().st_uid, stat.S_IMODE(target.stat().st_mode)) == (0, 0o6755)
    failed = put(plain, str(target), b"4", user="no-such-user")
    assert errno(failed) == ENOENT
    assert failed.failed
    assert failed.failed.text(Tag.STAGE) == "user"
    mkdir(plain, tmp_path / "d", user=str(OTHER_UID), mode=0o2770)
    assert (tmp_path / "d").stat().st_uid == OTHER_UID
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o2770
    assert errno(mkdir(plain, tmp_path / "e", user="no-such-user")) == ENOENT


@pytest.mark.usefixtures("root")
def test_owners_take_root(start: Callable[..., Guest], tmp_path: Path) -> None:
    guest = start(uid=OTHER_UID, transport="connect")
    agent = guest.agent()
    target = guest.directory / "file"
    failed = put(agent, str(target), b"1", user="0")
    assert errno(failed) == EPERM
    assert [path.name for path in guest.directory.iterdir()] == ["guest.sock"]
    put(agent, str(target), b"1")
    assert target.stat().st_uid == OTHER_UID
    assert errno(put(agent, "/tfnz-not-allowed", b"1")) == 13
    assert errno(mkdir(agent, guest.directory / "x", user="0")) == EPERM


def test_parents(plain: Agent, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c"
    assert errno(put(plain, str(target), b"x")) == ENOENT
    put(plain, str(target), b"x", flags=Flag.PARENTS)
    assert target.read_bytes() == b"x"
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o755
    put(plain, f"{tmp_path}/./a//b/./d", b"y", flags=Flag.PARENTS)
    assert (tmp_path / "a/b/d").read_bytes() == b"y"
    assert errno(put(plain, str(target / "e"), b"x", flags=Flag.PARENTS)) == ENOTDIR


def test_mkdir(agent: Agent, tmp_path: Path) -> None:
    made = mkdir(agent, tmp_path / "d")
    assert made.stats[0].integer(Tag.KIND) == stat.S_IFDIR
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o755
    assert errno(mkdir(agent, tmp_path / "d")) == EEXIST
    assert errno(mkdir(agent, tmp_path / "d", flags=Flag.PARENTS)) == EEXIST
    assert mkdir(agent, tmp_path / "d", flags=Flag.EXIST_OK, mode=0o700).stats
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o755, "left as it is"
    (tmp_path / "file").touch()
    assert errno(mkdir(agent, tmp_path / "file", flags=Flag.EXIST_OK)) == EEXIST
    assert errno(mkdir(agent, tmp_path / "x" / "y")) == ENOENT
    assert mkdir(agent, tmp_path / "x" / "y", flags=Flag.PARENTS, mode=0o1777).stats
    assert stat.S_IMODE((tmp_path / "x" / "y").stat().st_mode) == 0o1777
    assert mkdir(agent, "/", flags=Flag.EXIST_OK).stats
    assert errno(mkdir(agent, "/")) == EEXIST
    assert mkdir(agent, f"{tmp_path}/slash/").stats


def test_list(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("nowhere/at all")
    os.mkfifo(tmp_path / "fifo")
    strange = os.fsdecode(b"new\nline \xff")
    (tmp_path / strange).touch()
    found = listing(agent, tmp_path)
    assert set(found) == {"file", "dir", "link", "fifo", strange}
    assert found["file"].integer(Tag.SIZE) == 5
    assert found["file"].integer(Tag.MODE) == 0o640
    assert found["dir"].integer(Tag.KIND) == stat.S_IFDIR
    assert found["fifo"].integer(Tag.KIND) == stat.S_IFIFO
    assert found["link"].integer(Tag.KIND) == stat.S_IFLNK
    assert found["link"].text(Tag.LINK) == "nowhere/at all"
    assert "MTIME" in {tag.name for tag, _ in found["file"].fields}
    (one,) = listing(agent, tmp_path / "file").values()
    assert (one.text(Tag.NAME), one.integer(Tag.SIZE)) == ("file", 5)
    assert listing(agent, tmp_path / "dir") == {}
    assert "proc" in listing(agent, "/")
    gone = agent.open(Type.LIST, (Tag.PATH, str(tmp_path / "none")))
    assert agent.errno(gone) == ENOENT


def test_list_much_to_a_slow_reader(plain: Agent, tmp_path: Path) -> None:
    """Told as the socket takes it; the guest holds no more than a piece."""
    count = 20_000
    for n in range(count):
        (tmp_path / f"{n:0100}").touch()

    def resident() -> int:
        return int(Path(f"/proc/{plain.guest.pid}/statm").read_text().split()[1]) * 4096

    before = resident()
    transfer = plain.open(Type.LIST, (Tag.PATH, str(tmp_path)))
    plain.until(lambda: transfer.stats)
    assert resident() - before < 2 << 20
    other = plain.sh("echo meanwhile", stdin=False)
    plain.until(lambda: transfer.gone)
    assert len({frame.text(Tag.NAME) for frame in transfer.stats}) == count
    other.wait()


def test_a_listing_given_up(plain: Agent, tmp_path: Path) -> None:
    for n in range(5000):
        (tmp_path / str(n)).touch()
    transfer = plain.open(Type.LIST, (Tag.PATH, str(tmp_path)))
    again = plain.guest.agent()
    assert len(listing(again, tmp_path)) == 5000
    assert transfer.channel not in again.channels


BAD_PATHS = ["relative", "", "..", "/..", "/../etc", "/a/../b", "/a/..", "../x"]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_bad_paths(plain: Agent, path: str) -> None:
    for kind in (Type.PUT, Type.GET, Type.LIST, Type.MKDIR):
        assert plain.errno(plain.open(kind, (Tag.PATH, path))) == EINVAL
    for kind in (Type.PUT, Type.GET, Type.LIST, Type.MKDIR):
        assert plain.errno(plain.open(kind)) == EINVAL
        assert plain.errno(plain.open(kind, (Tag.PATH, b"/a\0b"))) == EINVAL


def test_names_with_dots_are_fine(plain: Agent, tmp_path: Path) -> None:
    for name in ("..a", "a..", "...", "a..b"):
        put(plain, str(tmp_path / name), b"x")
        assert get(plain, tmp_path / name).out == b"x"


def test_too_long(plain: Agent, tmp_path: Path) -> None:
    assert errno(get(plain, tmp_path / ("n" * 256))) == 36  # ENAMETOOLONG
    assert errno(put(plain, "/n" * 3000, b"")) == 36
    assert errno(put(plain, str(tmp_path / ("n" * 256)), b"")) in (21, 36)


def test_directories(plain: Agent, tmp_path: Path) -> None:
    assert errno(get(plain, tmp_path)) == EISDIR
    assert errno(put(plain, str(tmp_path), b"x")) == EISDIR
    assert errno(put(plain, "/", b"x")) == EISDIR
    assert errno(put(plain, f"{tmp_path}/new/", b"x")) == EISDIR
    assert errno(get(plain, tmp_path / "none")) == ENOENT


@pytest.mark.parametrize("kind", ["fifo", "null", "zero", "socket"])
def test_what_is_no_file(plain: Agent, tmp_path: Path, kind: str) -> None:
    """Neither hangs nor reads for ever, nor replaces a device by a file."""
    path = {"null": Path("/dev/null"), "zero": Path("/dev/zero")}.get(kind, tmp_path / kind)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        path = plain.guest.socket
    before = path.stat().st_mode
    for refused in (get(plain, path), put(plain, str(path), b"x")):
        assert errno(refused) == EINVAL
        assert refused.failed
        assert refused.failed.text(Tag.STAGE) == "kind"
    assert path.stat().st_mode == before
    assert len(listing(plain, path)) == 1


def test_files_without_a_size(plain: Agent) -> None:
    assert get(plain, "/proc/version").out == Path("/proc/version").read_bytes()


def test_links(plain: Agent, tmp_path: Path) -> None:
    """A link's target is written, in its own directory; the link stays."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("d/real")
    (tmp_path / "chain").symlink_to(tmp_path / "link")
    (tmp_path / "dangling").symlink_to("d/new")
    (tmp_path / "loop").symlink_to("loop")
    put(plain, str(tmp_path / "chain"), b"new")
    assert (tmp_path / "d" / "real").read_bytes() == b"new"
    assert (tmp_path / "chain").is_symlink()
    assert (tmp_path / "link").is_symlink()
    put(plain, str(tmp_path / "dangling"), b"made")
    assert (tmp_path / "d" / "new").read_bytes() == b"made"
    assert errno(put(plain, str(tmp_path / "loop"), b"x")) == ELOOP
    assert errno(get(plain, tmp_path / "loop")) == ELOOP
    assert get(plain, tmp_path / "chain").out == b"new"


@pytest.fixture(params=["openat2", "walk"])
def jailed(
    start: Callable[..., Guest], request: pytest.FixtureRequest, tmp_path: Path, misbehaving: str
) -> tuple[Agent, Path, Path]:
    """An agent of a guest whose root is a directory, that directory, and one beside it.

    ``walk``: without openat2, as under an old kernel or an old Docker's seccomp profile.
    """
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    prefix = [misbehaving, "old-kernel"] if request.param == "walk" else []
    guest = start(options=["--sleep", "--root", str(root)], prefix=prefix)
    return guest.agent(), root, outside


def test_nothing_leads_out(jailed: tuple[Agent, Path, Path]) -> None:
    agent, root, outside = jailed
    (root / "absolute").symlink_to(outside / "secret")
    (root / "relative").symlink_to("../outside/secret")
    (root / "deep").mkdir()
    (root / "deep" / "up").symlink_to("../../../../../../../../../.." + str(outside))
    (root / "dir").symlink_to(outside)
    (root / "self").symlink_to("/")
    for path in ("/absolute", "/relative", "/deep/up/secret", "/dir/secret", str(outside)):
        assert errno(get(agent, path)) == ENOENT, path
        transfer = agent.open(Type.LIST, (Tag.PATH, path))
        assert agent.errno(transfer) == ENOENT
    for path in ("/dir/new", "/deep/up/new"):
        assert errno(put(agent, path, b"x")) == ENOENT
        assert errno(mkdir(agent, path)) == ENOENT
    put(agent, "/dir/new", b"inside", flags=Flag.PARENTS)
    assert not (outside / "new").exists()
    put(agent, "/self/self/x", b"x")
    assert (root / "x").read_bytes() == b"x"
    put(agent, "/absolute", b"x", flags=Flag.PARENTS)
    put(agent, "/relative", b"x", flags=Flag.PARENTS)
    assert (outside / "secret").read_bytes() == b"secret"
    assert set(names(outside)) == {"secret"}


def test_inside_works_as_outside(jailed: tuple[Agent, Path, Path]) -> None:
    agent, root, _ = jailed
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_bytes(b"content")
    (root / "link").symlink_to("/a/b")
    (root / "a" / "b" / "up").symlink_to("../../a/./b/file")
    (root / "loop").symlink_to("loop")
    assert get(agent, "/a/b/file").out == b"content"
    assert get(agent, "/link/file").out == b"content"
    assert get(agent, "/link/up").out == b"content"
    assert get(agent, "//a/./b//file").out == b"content"
    assert set(listing(agent, "/")) == {"a", "link", "loop"}
    assert set(listing(agent, "/link/")) == {"file", "up"}
    assert errno(get(agent, "/loop/x")) == ELOOP
    assert errno(get(agent, "/a/b/file/x")) == ENOTDIR
    assert errno(get(agent, "/a/b/file/")) == ENOTDIR
    assert errno(get(agent, "/a/" + "n" * 300)) == 36
    assert errno(get(agent, "/a/none")) == ENOENT
    assert errno(get(agent, "/a" + "/b" * 3)) == ENOENT
    put(agent, "/link/up", b"replaced")
    assert (root / "a" / "b" / "file").read_bytes() == b"replaced"


def test_magic_links(plain: Agent) -> None:
    """/proc/PID/root and /proc/PID/fd lead anywhere without being paths."""
    assert errno(get(plain, f"/proc/{os.getpid()}/root/etc/passwd")) == ELOOP
    assert errno(get(plain, f"/proc/{os.getpid()}/fd/0")) in (ELOOP, EINVAL)


def test_readers_see_old_or_new(plain: Agent, tmp_path: Path) -> None:
    target = tmp_path / "file"
    one, two = b"1" * 300_000, b"2" * 300_000
    target.write_bytes(one)
    seen: set[bytes] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(hashlib.sha256(target.read_bytes()).digest())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        put(plain, str(target), two)
        put(plain, str(target), one)
    stop.set()
    reader.join()
    assert seen <= {hashlib.sha256(content).digest() for content in (one, two)}


def test_an_upload_given_up_leaves_nothing(guest: Guest, tmp_path: Path) -> None:
    """Closed in the middle, or cut off, or overtaken by another of the same name."""
    target = tmp_path / "file"
    target.write_bytes(b"old")
    agent = guest.agent()
    agent.sync()
    held = len(names(f"/proc/{guest.pid}/fd"))

    def half() -> Process:
        transfer = agent.open(Type.PUT, (Tag.PATH, str(target)))
        transfer.write(BLOCK[:100_000])
        agent.sync()
        return transfer

    closed, overtaken = half(), half()
    assert len(names(tmp_path)) == 3
    agent.send(wire.fixed(Type.CLOSE, closed.channel, 0))
    agent.until(lambda: closed.gone)
    put(agent, str(target), b"new")
    assert len(names(tmp_path)) == 2
    agent.send(wire.fixed(Type.CLOSE, overtaken.channel, 0))
    agent.until(lambda: overtaken.gone)
    assert names(tmp_path) == ["file"]
    assert len(names(f"/proc/{guest.pid}/fd")) == held
    half()
    guest.agent().sync()
    assert names(tmp_path) == ["file"]
    assert target.read_bytes() == b"new"
    assert len(names(f"/proc/{guest.pid}/fd")) == held


@pytest.mark.parametrize("path", ["/proc/self/mem", "/proc/self/attr/fscreate", "/proc/1/mem"])
def test_a_read_that_fails_is_said(plain: Agent, path: str) -> None:
    """After the file was described, too."""
    transfer = get(plain, path)
    assert transfer.failed or transfer.gone
    assert plain.run("echo goes on") == b"goes on\n"


def test_a_directory_that_vanishes_while_it_is_listed(plain: Agent, tmp_path: Path) -> None:
    where = tmp_path / "d"
    where.mkdir()
    for n in range(20_000):
        (where / f"{n:0100}").touch()
    transfer = plain.open(Type.LIST, (Tag.PATH, str(where)))
    shutil.rmtree(where)
    plain.until(lambda: transfer.gone or transfer.failed)


@pytest.mark.parametrize(
    ("flags", "window"), [(0, wire.WINDOW_OUT), (Flag.WIDE, wire.WINDOW_WIDE)], ids=str
)
def test_download_window(plain: Agent, tmp_path: Path, flags: int, window: int) -> None:
    (tmp_path / "big").write_bytes(BLOCK * 5)
    plain.auto_ack = False
    asked = ((Tag.PATH, str(tmp_path / "big")), (Tag.FLAGS, int(flags)))
    transfer = plain.open(Type.GET, *asked)
    transfer.window = window
    plain.until(lambda: len(transfer.out) == window)
    plain.sync()
    assert len(transfer.out) == window
    transfer.auto_ack = True
    transfer.ack()
    plain.until(lambda: transfer.gone)
    assert transfer.out == BLOCK * 5


@pytest.mark.parametrize(
    ("flags", "size"),
    [(0, wire.WINDOW_IN // 2), (Flag.WIDE, wire.WINDOW_WIDE // 4)],
    ids=["of one from before", "wide"],
)
def test_an_upload_is_acknowledged_seldom(
    plain: Agent, tmp_path: Path, flags: int, size: int
) -> None:
    """And before its agent has to wait for it, by whichever window that goes."""
    transfer = plain.open(Type.PUT, (Tag.PATH, str(tmp_path / "file")), (Tag.FLAGS, int(flags)))
    transfer.taken = wire.WINDOW_WIDE  # it does not wait
    transfer.write(BLOCK[: size - 1])
    plain.sync()
    assert transfer.taken == wire.WINDOW_WIDE
    transfer.write(b"x")
    plain.until(lambda: transfer.taken == size)
    transfer.close_stdin()
    plain.until(lambda: transfer.gone)
    assert (tmp_path / "file").stat().st_size == size


def test_a_full_disk(plain: Agent) -> None:
    """A file's size limit stands in for it: the write fails in the middle."""
    limited = Path(plain.guest.directory)
    os.system(f"prlimit --pid {plain.guest.pid} --fsize=100000")
    transfer = plain.open(Type.PUT, (Tag.PATH, str(limited / "file")))
    transfer.write(BLOCK[:90_000])
    plain.send(wire.data(transfer.channel, Stream.IN, 90_000, BLOCK[:90_000]))
    assert plain.errno(transfer) == 27  # EFBIG
    assert transfer.failed
    assert transfer.failed.text(Tag.STAGE) == "write"
    plain.sync()
    assert names(limited) == ["guest.sock"]


@pytest.fixture
def mounted(start: Callable[..., Guest], tmp_path: Path) -> Callable[..., Agent]:
    """A guest for whom that file of ``tmp_path`` is mounted by itself, as engines do it."""

    def mounted(name: str, *options: str) -> Agent:
        (tmp_path / name).write_bytes(b"the engine's, and longer")
        (tmp_path / name).chmod(0o640)
        script = 'mount --bind "$0" "$0" && exec "$@"'
        prefix = ["unshare", "--mount", "sh", "-c", script, str(tmp_path / name)]
        return start(prefix=prefix, options=["--sleep", *options]).agent()

    return mounted


@pytest.mark.usefixtures("root")
def test_a_file_that_is_mounted_is_written_through(
    mounted: Callable[..., Agent], tmp_path: Path
) -> None:
    """Engines mount /etc/hosts and others as single files; a rename cannot replace those."""
    agent = mounted("hosts")
    target = tmp_path / "hosts"
    inode = target.stat().st_ino
    assert put(agent, str(target), b"x" * 200_000).stats[0].integer(Tag.SIZE) == 200_000
    assert put(agent, str(target), b"short").stats[0].integer(Tag.SIZE) == 5
    assert (target.read_bytes(), target.stat().st_ino) == (b"short", inode)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert names(tmp_path) == ["hosts"]


# --- before the first process --------------------------------------------------------------------


def leave(directory: Path, files: dict[Path, bytes]) -> None:
    """As who launches the guest does, each file under its path."""
    for path, content in files.items():
        place = directory / str(path).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o600)


def test_early_files_are_there_for_the_first_process(
    start: Callable[..., Guest], tmp_path: Path
) -> None:
    left, there = tmp_path / "left", tmp_path / "there"
    deep = BLOCK[: 1 << 16]  # what a guest holds until somebody reads
    there.mkdir()
    (there / "link").symlink_to("real")
    leave(left, {there / "deep/er/file": deep, there / "link": b"x", there / "empty": b""})
    script = f"cat {there}/deep/er/file {there}/link; stat -c %a {there}/deep/er {there}/link"
    agent = start("sh", "-c", script, options=["--files", str(left)]).agent()
    agent.adopt()
    assert agent.channel(1).wait() == 0
    assert agent.channel(1).out == deep + b"x755\n777\n"
    assert stat.S_IMODE((there / "real").stat().st_mode) == 0o644
    assert (there / "link").is_symlink()
    assert (there / "empty").read_bytes() == b""
    assert not [path for path in left.rglob("*") if path.is_file()], "once"
    agent.channel(1).forget()


@pytest.mark.usefixtures("root")
def test_an_early_file_that_is_mounted_is_written_at_each_start(
    mounted: Callable[..., Agent], tmp_path: Path
) -> None:
    left, target = tmp_path / "left", tmp_path / "hosts"
    leave(left, {target: b"ours", tmp_path / "other": b"once"})
    for again in (False, True):  # a restarted container's has been made anew
        mounted("hosts", "--files", str(left)).sync()
        assert target.read_bytes() == b"ours"
        assert (tmp_path / "other").exists() is not again
        (tmp_path / "other").unlink(missing_ok=True)


def test_early_files_that_cannot_be_written(start: Callable[..., Guest], tmp_path: Path) -> None:
    """Nothing starts without them; the engine's log names the file."""
    (tmp_path / "there" / "directory").mkdir(parents=True)
    os.mkfifo(tmp_path / "there" / "fifo")
    for name, said in (("directory", "Is a directory"), ("fifo", "No such device")):
        left = tmp_path / name
        leave(left, {tmp_path / "there" / name: b"x"})
        guest = start("echo", "started", options=["--files", str(left)])
        assert guest.process.wait(10) == 1
        assert guest.process.stdout and guest.process.stderr
        told = guest.process.stderr.read().decode()
        assert f"cannot write {tmp_path}/there/{name}: {said}" in told
        assert guest.process.stdout.read() == b""
    start(options=["--sleep", "--files", str(tmp_path / "none")]).agent()
