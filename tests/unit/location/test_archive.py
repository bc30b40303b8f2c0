"""What a build is sent: what is left out, what cannot be fooled, and what it costs."""

import asyncio
import io
import os
import tarfile
from pathlib import Path

import pytest

from tfnz_notebook._location.archive import Context
from tfnz_notebook._location.ignored import Ignored
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.errors import FileError, Misuse

DOING = "build an image"


def test_what_a_dockerignore_leaves_out(subtests: pytest.Subtests) -> None:
    """As moby's patternmatcher has it: its own cases, and those of Docker's documentation."""
    for patterns, kept_out, let_in in (
        ("*.md", ["a.md"], ["dir/a.md", "amd"]),
        ("**/*.md", ["a.md", "dir/a.md", "a/b/c.md"], ["a.mdx"]),
        ("*/temp*", ["a/temp", "a/tempo/file"], ["temp", "a/b/temp"]),
        ("temp?", ["tempa"], ["temp", "temp/x"]),
        ("/dir", ["dir", "dir/below/file"], ["other/dir"]),
        ("dir/", ["dir", "dir/x"], ["dirx"]),
        ("./dir/../dir", ["dir/x"], ["x"]),
        ("# none\n\n  \nx", ["x"], ["# none"]),
        ("*\n!keep\n!a/b", ["x", "a/c"], ["keep", "a/b", "a/b/c"]),
        ("!keep\n*", ["keep"], []),
        ("dir\n!dir/in\ndir/in/out", ["dir/x", "dir/in/out"], ["dir/in", "dir/in/x"]),
        ("a[b-d]e", ["abe", "ade"], ["aee", "a[b-d]e"]),
        ("a[^b]c", ["aac"], ["abc"]),
        ("a\\*b", ["a*b"], ["axb"]),
        ("a.b$c(d)", ["a.b$c(d)"], ["axb$c(d)"]),
        ("**", ["x", "a/b/c"], []),
        ("a/**/b", ["a/b", "a/x/y/b"], ["ab"]),
        ("**/x", ["x", "a/x", "a/b/x/c"], ["ax"]),
        ("\ufeffx", ["x"], []),
        (".", [], ["x"]),
    ):
        with subtests.test(patterns=patterns):
            ignored = Ignored(patterns)
            assert [path for path in kept_out if not ignored.keeps_out(path)] == []
            assert [path for path in let_in if ignored.keeps_out(path)] == []


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"line 2 \('a\[b'\) is no pattern"):
        Ignored("x\na[b")


def test_a_directory_that_is_left_out_is_looked_into_if_something_below_is_let_in() -> None:
    ignored = Ignored("dir\nother\n!dir/in")
    assert ignored.lets_in_below("dir")
    assert not ignored.lets_in_below("other")
    assert Ignored("x\n!**/y").lets_in_below("x")


def sent(context: Context) -> dict[str, tarfile.TarInfo]:
    return {entry.name: entry for entry in unpacked(context)}


def unpacked(context: Context) -> tarfile.TarFile:
    async def all_of_it() -> bytes:
        return b"".join([piece async for piece in context.pieces()])

    return tarfile.open(fileobj=io.BytesIO(asyncio.run(all_of_it())))


def test_a_directory_goes_with_its_dockerfile_and_without_what_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "dir" / "empty").mkdir(parents=True)
    (tmp_path / "dir" / "script").write_text("run")
    (tmp_path / "dir" / "script").chmod(0o755)
    (tmp_path / "out").write_text("secret")
    (tmp_path / ".dockerignore").write_text("out\n")
    context = Context(DOING, "FROM x\n", tmp_path)
    found = unpacked(context)
    names = sorted(entry.name for entry in found)
    own = [".dockerignore", context.dockerfile]
    assert names == sorted([*own, "dir", "dir/empty", "dir/script"])
    script = found.getmember("dir/script")
    assert (script.mode, script.uid, script.gid) == (0o755, 0, 0)
    content = {each: found.extractfile(each) for each in (context.dockerfile, ".dockerignore")}
    assert content[context.dockerfile].read() == b"FROM x\n"  # type: ignore[union-attr]
    ignore = content[".dockerignore"].read()  # type: ignore[union-attr]
    assert ignore == f"out\n\n{context.dockerfile}\n".encode(), "COPY . takes no file of ours"


def test_without_a_directory_there_is_the_dockerfile_alone(tmp_path: Path) -> None:
    (tmp_path / "Other").write_text("FROM y\n")
    context = Context(DOING, tmp_path / "Other", None)
    assert sorted(sent(context)) == sorted([".dockerignore", context.dockerfile])


def test_nothing_outside_is_reached_by_links(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir(), inside.mkdir()
    (outside / "secret").write_text("secret")
    (inside / "file").symlink_to(outside / "secret")
    (inside / "dir").symlink_to(outside)
    (inside / "dangling").symlink_to("/no/such")
    found = sent(Context(DOING, "FROM x", inside))
    for name in ("file", "dir", "dangling"):
        assert found[name].issym()
        assert found[name].size == 0
    assert not any("secret" in name for name in found)
    (inside / ".dockerignore").symlink_to(outside / "secret")
    with pytest.raises(FileError, match="dockerignore"):
        Context(DOING, "FROM x", inside)


def test_a_file_that_becomes_a_link_while_it_is_looked_at_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("plain")
    look = os.stat

    def swap(path, **options):  # type: ignore[no-untyped-def]
        found = look(path, **options)
        if path == "file":
            (tmp_path / "in" / "file").unlink()
            (tmp_path / "in" / "file").symlink_to(tmp_path / "secret")
        return found

    context = Context(DOING, "FROM x", tmp_path / "in")
    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(FileError, match="file: Too many levels of symbolic links"):
        sent(context)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # who opens it waits for ever
    (tmp_path / "file").write_text("x")
    assert "fifo" not in sent(Context(DOING, "FROM x", tmp_path))


def test_a_file_that_becomes_smaller_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(3 * MAX_CHUNK))

    async def cut() -> None:
        async for _ in Context(DOING, "FROM x", tmp_path).pieces():
            os.truncate(file, 10)

    with pytest.raises(FileError, match="file: it became smaller while it was read"):
        asyncio.run(cut())


def test_no_more_of_it_is_in_memory_than_a_piece(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(100 * MAX_CHUNK)

    async def largest() -> tuple[int, int]:
        sizes = [len(piece) async for piece in Context(DOING, "FROM x", tmp_path).pieces()]
        return max(sizes), sum(sizes)

    most, whole = asyncio.run(largest())
    assert most <= MAX_CHUNK < 100 * MAX_CHUNK < whole


def test_directories_without_end_are_refused(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(FileError, match="directories within each other"):
        sent(Context(DOING, "FROM x", tmp_path))


def test_what_is_no_context_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "large").write_bytes(bytes(2 << 20))
    for dockerfile, directory in (
        (b"FROM x", None),
        ("FROM x", 3),
        ("FROM x", tmp_path / "file"),
        ("FROM x", tmp_path / "none"),
        (tmp_path / "none", None),
        (tmp_path / "large", None),
    ):
        with pytest.raises((Misuse, FileError), match=r"^Cannot build an image: .*\. "):
            Context(DOING, dockerfile, directory)
