"""Image names, by the grammar and by what people type."""

from __future__ import annotations

import pytest

from tfnz_notebook._base import names
from tfnz_notebook.errors import ImageNameInvalid

SUM = "sha256:" + "ab" * 32


def test_good(subtests: pytest.Subtests) -> None:
    rows: list[tuple[str, str, str, str, str]] = [
        ("nginx", "", "nginx", "", ""),
        ("nginx:1.25", "", "nginx", "1.25", ""),
        ("team/nginx", "", "team/nginx", "", ""),
        ("host.example/a/b:t", "host.example", "a/b", "t", ""),
        ("localhost/a", "localhost", "a", "", ""),
        ("localhost:5000/a", "localhost:5000", "a", "", ""),
        ("[::1]:5000/a", "[::1]:5000", "a", "", ""),
        ("Host/a", "Host", "a", "", ""),
        (f"a@{SUM}", "", "a", "", SUM),
        (f"r:1/a:t@{SUM}", "r:1", "a", "t", SUM),
        ("a__b/c-d.e", "", "a__b/c-d.e", "", ""),
    ]
    for text, registry, path, tag, digest in rows:
        with subtests.test(repr(text)[:60]):
            name = names.parse(text)
            assert (name.registry, name.path, name.tag, name.digest) == (
                registry,
                path,
                tag,
                digest,
            )
            assert name.repository == (f"{registry}/{path}" if registry else path)


def test_ids() -> None:
    assert names.parse(SUM).path == SUM
    assert names.is_id(SUM)
    assert names.is_id("ab" * 32)
    assert not names.is_id("nginx")


def test_bad_says_why(subtests: pytest.Subtests) -> None:
    rows: list[tuple[str, str]] = [
        ("", "empty"),
        ("a b", "spaces"),
        ("a\nb", "spaces or control"),
        ("Nginx", "lower case"),
        ("team/Nginx:1", "lower case"),
        ("nginx:", "missing"),
        ("https://host/x", "an address"),
        ("a" * 300, "longer"),
        ("nginx@sha256:12", "grammar"),
        ("/a", "grammar"),
        ("a/", "grammar"),
        ("a..b", "grammar"),
        ("-a", "grammar"),
        ("../../etc/passwd", "grammar"),
        ("a:b:c", "grammar"),
    ]
    for text, why in rows:
        with subtests.test(repr(text)[:60]):
            with pytest.raises(ImageNameInvalid, match=why) as caught:
                names.parse(text)
            assert isinstance(caught.value, ValueError)


def test_no_string() -> None:
    with pytest.raises(ImageNameInvalid, match="no string"):
        names.parse(None)  # type: ignore[arg-type]


def test_hostile_name_takes_no_time() -> None:
    with pytest.raises(ImageNameInvalid):
        names.parse("a-" * 100_000 + "!")
