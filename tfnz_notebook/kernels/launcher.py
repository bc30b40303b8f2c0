"""``python -m tfnz_notebook kernel``: kernelspecs whose kernels run in containers."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import ipykernel
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from tfnz_notebook._base.text import one_line, table
from tfnz_notebook._calls.run.flags import FLAGS, Flag
from tfnz_notebook._calls.spec import container_spec, from_here
from tfnz_notebook.errors import CommandNotFound, Misuse, ProcessFailed
from tfnz_notebook.kernels.provisioner import NO_KERNEL
from tfnz_notebook.location import Location

#: The name of our entry point, by which a kernelspec asks for the provisioner.
PROVISIONER: Final = "tfnz-notebook"
_ARGV: Final = ["python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
_PROBE: Final = """\
import sys, ipykernel
try:
    import debugpy
except ImportError:
    debugpy = None
print("%d.%d" % sys.version_info[:2], debugpy is not None)
"""
#: Of docker run's flags, what a kernel's container has no use for.
_NOT: Final = frozenset({"name", "publish", "entrypoint", "tty", "restart", "expose"})
_FLAGS: Final[tuple[Flag, ...]] = tuple(
    flag for flag in FLAGS if flag.way in ("ours", "passed") and flag.keyword not in _NOT
)


def grow(kernel: argparse.ArgumentParser) -> None:
    """Have the command line take what there is."""
    verbs = kernel.add_subparsers(dest="verb", required=True)
    add = verbs.add_parser(
        "add",
        help="have one of an image that has ipykernel",
        allow_abbrev=False,
        usage="python -m tfnz_notebook kernel add IMAGE [--name NAME] [docker run's flags]",
        epilog="Flags of docker run say what its container is given: --memory 2g --cpus 1.5 "
        "--volume data:/data --gpus all --env NAME=VALUE.",
    )
    add.add_argument("image", help="as in docker run; nothing is installed in it")
    add.add_argument("--name", help="the kernelspec's, default after the image")
    add.add_argument("--title", help="what the launcher calls it, default Python 3.x (image)")
    add.add_argument("--where", help="as Location takes it, default the engine that is here")
    add.add_argument(
        "--sys-prefix", action="store_true", help="for all of this environment, not just for you"
    )
    group = add.add_argument_group("docker run's own")
    for flag in _FLAGS:
        more: dict[str, Any] = {"dest": flag.keyword, "help": flag.help.replace("%", "%%")}
        if not flag.metavar:
            more["action"] = "store_true"
        else:
            more["metavar"] = flag.metavar
            if flag.many:
                more |= {"action": "append", "default": []}
        group.add_argument(*(name for name in flag.names if name != "-h"), **more)
    verbs.add_parser("list", help="those that are there")
    remove = verbs.add_parser("remove", help="be rid of some")
    remove.add_argument("names", nargs="+", metavar="NAME")


def main(asked: argparse.Namespace) -> str:
    """Do what was asked for; what to say of it. Raises TfnzError."""
    if asked.verb == "add":
        return add(asked)
    if asked.verb == "remove":
        return "\n".join(remove(name) for name in asked.names)
    found = ours()
    if not found:
        return "There is none. python -m tfnz_notebook kernel add IMAGE makes one."
    rows = [
        (name, spec["display_name"], config["image"], config.get("where") or "")
        for name, spec in found.items()
        for config in [spec["metadata"]["kernel_provisioner"]["config"]]
    ]
    return table(("name", "title", "image", "where"), [list(map(one_line, row)) for row in rows])


def add(asked: argparse.Namespace) -> str:
    """A kernelspec, once its image was seen to have what a kernel needs."""
    name = asked.name or re.sub(r"[^a-z0-9._-]+", "-", asked.image.lower()).strip("-._")
    if not re.fullmatch(r"[a-z0-9._-]+", name, re.IGNORECASE):
        raise Misuse(
            f"Cannot add a kernel of name {name!r}: a kernelspec's has letters, digits, dots, "
            "dashes and underscores. Give another --name."
        )
    there = KernelSpecManager().find_kernel_specs()
    if name in there and name not in ours():
        raise Misuse(
            f"Cannot add a kernel of name {name!r}: there is one, and it is none of a container. "
            "Give another --name."
        )
    options = _options(asked)
    container_spec(asked.image, {**options, "sleep": True})  # Misuse before anything is there
    version, debugger = _probe(asked.where, asked.image, options)
    title = asked.title or f"Python {version} ({asked.image})"
    config = {"image": asked.image, "where": asked.where, "options": options}
    spec = {
        "argv": _ARGV,
        "display_name": title,
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {
            "debugger": debugger,
            "kernel_provisioner": {"provisioner_name": PROVISIONER, "config": config},
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        for picture in Path(ipykernel.__file__).parent.glob("resources/logo-*"):
            shutil.copy(picture, folder)
        Path(folder, "kernel.json").write_text(json.dumps(spec, indent=2), encoding="utf-8")
        where = {"prefix": sys.prefix} if asked.sys_prefix else {"user": True}
        path = KernelSpecManager().install_kernel_spec(folder, name, **where)
    return f"{title} is in Jupyter's launcher, as {name}: {path}"


def remove(name: str) -> str:
    """Of ours alone."""
    if name not in ours():
        raise Misuse(
            f"Cannot remove kernel {name!r}: none of that name runs in a container. "
            "python -m tfnz_notebook kernel list says which do."
        )
    return f"removed {KernelSpecManager().remove_kernel_spec(name)}"


def ours() -> dict[str, dict[str, Any]]:
    """Kernelspecs whose kernels we start, by name."""
    found = {}
    manager = KernelSpecManager()
    for name in sorted(manager.find_kernel_specs()):
        try:
            spec = manager.get_kernel_spec(name).to_dict()
        except (NoSuchKernel, ValueError, OSError):
            continue  # broken, and somebody else's
        provisioner = spec["metadata"].get("kernel_provisioner") or {}
        if provisioner.get("provisioner_name") == PROVISIONER:
            found[name] = spec
    return found


def _options(asked: argparse.Namespace) -> dict[str, Any]:
    """Keywords of spawn_container, as a file of JSON can have them."""
    given = {flag.keyword: getattr(asked, flag.keyword) for flag in _FLAGS}
    options = {key: value for key, value in given.items() if value not in (None, [], False)}
    if asked.volume:
        options["volume"] = [_from_here(each) for each in asked.volume]
    if asked.env:
        options["env"] = from_here(asked.env, dict(os.environ))
    return options


def _from_here(volume: str) -> str:
    """A directory that is said as from here: the server that starts kernels is elsewhere."""
    source, colon, rest = volume.partition(":")
    if colon and source.startswith((".", "~")):
        source = str(Path(source).expanduser().resolve())
    return source + colon + rest


def _probe(where: str | None, image: str, options: dict[str, Any]) -> tuple[str, bool]:
    """(version of its Python, whether it can debug), of a container made for that."""
    with Location(where) as location:
        container = location.best_node().spawn_container(image, sleep=True, **options)
        try:
            done = container.run_process(["python3", "-c", _PROBE])
        except CommandNotFound:
            raise CommandNotFound(
                f"Cannot add a kernel of {image!r}: it has no python3. {NO_KERNEL}"
            ) from None
        if done.returncode:
            lacks = b"No module named" in done.stderr
            cause = "it has no ipykernel" if lacks else f"its python3 says {done.stderr!r}"
            raise ProcessFailed(f"Cannot add a kernel of {image!r}: {cause}. {NO_KERNEL}")
        version, debugger = done.stdout.decode().split()
        return version, debugger == "True"
