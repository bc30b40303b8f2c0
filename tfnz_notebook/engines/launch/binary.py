"""Where the compiled guest is: ``$TFNZ_GUEST_BINARY``, else beside the package's own files."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from tfnz_notebook.errors import NoEngine

#: What machines call themselves, to the names under ``_guest/bin`` (``uname -m`` of Linux).
_SAME = {"amd64": "x86_64", "arm64": "aarch64"}


def locate(machine: str = "", environ: Mapping[str, str] = os.environ) -> Path:
    """The guest for ``machine`` (default: this one). Raises NoEngine when it was never built."""
    if named := environ.get("TFNZ_GUEST_BINARY"):
        path = Path(named)
        remedy = "Correct TFNZ_GUEST_BINARY, or unset it."
    else:
        machine = (machine or platform.machine()).lower()
        machine = _SAME.get(machine, machine)
        path = Path(__file__).parents[2] / "_guest" / "bin" / f"guest-{machine}"
        remedy = (
            "Install a wheel for this machine, or build the guest with a C compiler "
            "(make wheel), or name one in TFNZ_GUEST_BINARY."
        )
    if not path.is_file():
        raise NoEngine(
            f"Cannot start containers: there is no guest program at {str(path)!r}. {remedy}"
        )
    if not os.access(path, os.X_OK):
        raise NoEngine(
            f"Cannot start containers: the guest program {str(path)!r} is not executable. "
            f"Run chmod +x on it."
        )
    return path.absolute()
