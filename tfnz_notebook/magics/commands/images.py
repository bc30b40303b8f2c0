"""``%%tf_build``, ``%tf_images``, ``%tf_volumes``: what containers are made of, and write on."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tfnz_notebook._base.numbers import elapsed, size
from tfnz_notebook._base.text import one_line, table
from tfnz_notebook._calls.spec import from_here
from tfnz_notebook.errors import Misuse
from tfnz_notebook.image import Image
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.shown.text import Clean
from tfnz_notebook.magics.table import Magic

#: Characters of an id, as the engines' own tools show it; columns of a terminal.
_ID: Final = 12
_WIDTH: Final = 100


def _build_parser() -> Parser:
    parser = Parser(
        "tf_build",
        "Build an image of the Dockerfile in the cell, as docker build does; what it says appears\n"
        "as it comes, and an interrupt ends it. As a line: of the Dockerfile in the context.",
        cell=True,
        epilog="What COPY takes comes from --context, but for what its .dockerignore names.\n"
        "Returns the Image.",
    )
    parser.add("name", metavar="NAME", kind="image", help="what it is called, as team/app:1")
    parser.add("--context", metavar="DIR", kind="local", help="a directory here (default: none)")
    parser.add(
        "--build-arg",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="of an ARG; without a value the variable of that name here. No secrets: it is kept",
    )
    parser.add("--target", metavar="STAGE", help="build no further than that stage")
    parser.add("--platform", metavar="OS/ARCH", help="for another machine, as linux/arm64")
    parser.add("--no-cache", action="store_true", help="do each step again")
    parser.add("--pull", action="store_true", help="ask the registry for what FROM names")
    parser.add("--timeout", type=float, metavar="S", help="give up after so many seconds")
    return parser


def build_cell(here: Here, asked: argparse.Namespace, body: str) -> Image:
    """``%%tf_build``."""
    if not body.strip():
        raise Misuse("Cannot build: there is no Dockerfile. Write it below the cell's first line.")
    return _build(here, asked, body)


def build_line(here: Here, asked: argparse.Namespace) -> Image:
    """``%tf_build``."""
    if asked.context is None:
        raise Misuse(
            "Cannot build: there is no Dockerfile. Write it in a cell of %%tf_build, or name a "
            "directory that has one with --context."
        )
    return _build(here, asked, Path(asked.context).expanduser() / "Dockerfile")


def _build(here: Here, asked: argparse.Namespace, dockerfile: str | Path) -> Image:
    clean, ended = Clean(), True

    def say(text: str) -> None:
        nonlocal ended
        if told := clean.feed(text.encode()):
            ended = told.endswith("\n")
            sys.stdout.write(told)
            sys.stdout.flush()

    try:
        return here.location().build(
            asked.name,
            dockerfile,
            asked.context,
            callback=say,
            args=from_here(asked.build_arg, dict(os.environ)),
            target=asked.target,
            platform=asked.platform,
            cache=not asked.no_cache,
            pull=asked.pull,
            timeout=asked.timeout,
        )
    finally:
        if not ended:
            print()  # noqa: T201  # for the user


def _images_parser() -> Parser:
    parser = Parser("tf_images", "The images that are here, and need not be pulled.")
    parser.add("words", metavar="WORD", nargs="*", help="only those whose name has one of these")
    parser.add("--all", action="store_true", help="also what builds have left, without a name")
    return parser


def images(here: Here, asked: argparse.Namespace) -> None:
    """``%tf_images``."""
    rows = []
    for image in here.location().images():
        for name in image.tags or ["(none)"]:
            wanted = asked.all if not image.tags else True
            if wanted and (not asked.words or any(word in name for word in asked.words)):
                ident = image.id.removeprefix("sha256:")[:_ID]
                age = "" if not image.created else elapsed(time.time() - image.created)
                rows.append((one_line(name), ident, size(image.size), age))
    _show(("IMAGE", "ID", "SIZE", "AGE"), rows, (2, 3), "there is no image")


def _volumes_parser() -> Parser:
    return Parser("tf_volumes", "Your volumes, and how much is on each (on a cluster: may be).")


def volumes(here: Here, asked: argparse.Namespace) -> None:
    """``%tf_volumes``."""
    del asked
    sizes = here.location().volume_sizes()
    rows = [(one_line(name), size(of) or "?") for name, of in sorted(sizes.items())]
    _show(("VOLUME", "SIZE"), rows, (1,), "there is no volume")


def _show(
    head: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...], nothing: str
) -> None:
    print(table(head, rows, right=right, most=_WIDTH) if rows else nothing)  # noqa: T201


MAGICS: Final = (
    Magic(_build_parser(), build_line, build_cell),
    Magic(_images_parser(), images),
    Magic(_volumes_parser(), volumes),
)
