"""Where files lie: one rule, and directories that nobody else can use."""

import errno
import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tfnz_notebook._base import paths
from tfnz_notebook.errors import AgentError, Misuse

NOBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@contextmanager
def somebody_else() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def xdg(tmp_path: Path) -> Path:
    """A user's own runtime directory."""
    path = tmp_path / "xdg"
    path.mkdir(mode=0o700)
    return path


def test_what_is_named_counts(tmp_path: Path, xdg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = {f"TFNZ_{each}": each.lower() for each in ("RUNTIME", "STATE", "CONFIG")}
    environ = {**named, "XDG_RUNTIME_DIR": str(xdg), "XDG_STATE_HOME": "/x", "HOME": "/users/me"}
    assert paths.runtime(environ) == tmp_path / "runtime"
    assert paths.state(environ) == tmp_path / "state"
    assert paths.configuration(environ) == tmp_path / "config"


def test_the_users_own_come_second(xdg: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(xdg), "XDG_STATE_HOME": "/x", "HOME": "/users/me"}
    assert paths.runtime(environ) == xdg / "tfnz"
    assert paths.state(environ) == Path("/x/tfnz")
    assert paths.state({"HOME": "/users/me"}) == Path("/users/me/.local/state/tfnz")
    assert paths.configuration(environ) == Path("/users/me/.config/tfnz")


@pytest.mark.parametrize("named", ["", "/nowhere/at/all", "relative", "/dev/null"])
def test_without_a_runtime_directory_of_the_users(named: str) -> None:
    fallback = Path(f"/tmp/tfnz-{os.geteuid()}")
    assert paths.runtime({}) == paths.runtime({"XDG_RUNTIME_DIR": named}) == fallback


@only_root
def test_one_that_is_another_users_is_nobodys(xdg: Path) -> None:
    """As root has it after su, and a user whose server a hub started."""
    os.chown(xdg, NOBODY, NOBODY)
    assert paths.users_runtime({"XDG_RUNTIME_DIR": str(xdg)}) is None
    assert paths.runtime({"XDG_RUNTIME_DIR": str(xdg)}) == Path("/tmp/tfnz-0")
    with somebody_else():
        assert paths.runtime({"XDG_RUNTIME_DIR": "/"}) == Path(f"/tmp/tfnz-{NOBODY}")


@only_root
def test_one_that_cannot_be_written_is_none() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to others
        own = Path(name)
        os.chown(own, NOBODY, NOBODY)
        environ = {"XDG_RUNTIME_DIR": name}
        with somebody_else():
            assert paths.runtime(environ) == own / "tfnz"
            own.chmod(0o500)
            assert paths.runtime(environ) == Path(f"/tmp/tfnz-{NOBODY}")
            assert paths.users_runtime(environ) == own, "engines may listen in it"


@only_root
def test_a_home_or_state_of_another_user_is_not_ours(tmp_path: Path) -> None:
    """As sudo -E leaves HOME, and su XDG_STATE_HOME: root's files would lock that user out."""
    alice, mine = tmp_path / "alice", tmp_path / "mine"
    for each in (alice, mine):
        each.mkdir(mode=0o755)
    os.chown(alice, NOBODY, NOBODY)
    environ = {"HOME": str(mine), "XDG_STATE_HOME": str(alice / "state")}
    assert paths.state(environ) == mine / ".local" / "state" / "tfnz"
    own = Path(pwd.getpwuid(0).pw_dir)
    assert paths.configuration({"HOME": str(alice)}) == own / ".config" / "tfnz"
    assert paths.home({"HOME": str(alice)}) == alice, "whose tools have it so"
    with tempfile.TemporaryDirectory() as name:
        shared, closed = Path(name, "shared"), Path(name, "closed")
        for each, mode in ((Path(name), 0o755), (shared, 0o777), (closed, 0o700)):
            each.mkdir(exist_ok=True)
            each.chmod(mode)
        os.chown(shared, 54321, 54321)
        with somebody_else():
            assert paths.state({"XDG_STATE_HOME": str(shared)}) == shared / "tfnz"
            environ = {"HOME": str(shared), "XDG_STATE_HOME": str(closed / "below")}
            assert paths.state(environ) == shared / ".local" / "state" / "tfnz"


@only_root
def test_podman_has_a_runtime_directory_of_this_user(xdg: Path) -> None:
    assert paths.podmans_runtime({"XDG_RUNTIME_DIR": str(xdg)}) == xdg
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        with somebody_else():
            for other in (str(xdg), ""):
                own = paths.podmans_runtime({"XDG_RUNTIME_DIR": other, "TMPDIR": name})
                assert own == Path(name, f"podman-run-{NOBODY}")
                assert paths.ours(own)
            own.chmod(0o755)
            assert paths.podmans_runtime({"TMPDIR": name}) is None


def test_why_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path / "not" / "yet", ""),
        (tmp_path / "file" / "below", "Not a directory"),
        (Path("/proc/self/x" * 400), "File name too long"),
    ):
        assert paths.unusable(path) == why, path
    assert not (tmp_path / "not").exists()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o700)
        if os.geteuid() == 0:
            with somebody_else():
                assert paths.unusable(Path(name, "state")) == "Permission denied"
                assert not paths.there(Path(name, "state"))


@pytest.mark.parametrize(
    ("what", "value", "why"),
    [
        (4, 0, "No space left on device"),  # blocks
        (7, 0, "No space left on device"),  # inodes
        (8, os.ST_RDONLY, "Read-only file system"),
    ],
)
def test_a_disk_that_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: int, value: int, why: str
) -> None:
    found = [4096, 4096, 9, 9, 9, 9, 9, 9, 0, 255, 0]
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(found))
    assert paths.unusable(tmp_path / "state") == ""
    found[what] = value
    assert paths.unusable(tmp_path / "state") == why


@pytest.mark.parametrize("refusal", [None, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_what_is_kept_once_needs_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(refusal, "no links here")

    if refusal is not None:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "state" / "owner"
    assert paths.kept_once(path, b"first") == paths.kept_once(path, b"second") == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"")  # as a disk leaves it that was full, or without power
    assert paths.kept_once(path, b"third") == b"third"
    assert [each.name for each in path.parent.iterdir()] == ["owner"]


def test_a_home_that_nobody_knows_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/me")
    assert paths.expanded("~/a") == Path("/users/me/a")
    with pytest.raises(Misuse, match=r"^Cannot find '~nobody-of-that-name/a': .* in full\.$"):
        paths.expanded("~nobody-of-that-name/a")


def test_who_has_no_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert paths.home({}) is None
    for place, variable in ((paths.state, "TFNZ_STATE"), (paths.configuration, "TFNZ_CONFIG")):
        with pytest.raises(AgentError, match=f"Cannot find the home .* Set {variable} to"):
            place({})


def test_what_cannot_be_used_is_one_sentence() -> None:
    with (
        pytest.raises(AgentError) as caught,
        paths.usable("state directory", Path("/proc/x"), "TFNZ_STATE"),
    ):
        Path("/proc/x").mkdir()
    assert str(caught.value) == (
        "Cannot use the state directory /proc/x: No such file or directory. "
        "Set TFNZ_STATE to a directory of yours."
    )


def test_too_many_open_files_are_no_fault_of_a_directorys() -> None:
    with (
        pytest.raises(OSError, match="Too many"),
        paths.usable("state directory", Path("/x"), "TFNZ_STATE"),
    ):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


# --- the directory of sockets


def test_it_is_made_for_us_alone(tmp_path: Path) -> None:
    made = paths.private(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    assert paths.private(made) == made


def test_one_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(AgentError, match=r"others may enter it \(mode 755\).*chmod 700"):
        paths.private(tmp_path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(AgentError, match="not a directory"):
        paths.private(tmp_path / "link")


@only_root
def test_another_users_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    os.chown(tmp_path / "run", NOBODY, NOBODY)
    with pytest.raises(AgentError, match=f"belongs to uid {NOBODY}"):
        paths.private(tmp_path / "run")


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(AgentError, match="Set TFNZ_RUNTIME"):
            paths.private(path)


def test_one_too_long_for_a_socket(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="too long for a socket"):
        paths.socket(tmp_path / ("x" * 120), "podman")
