"""What a container may be asked for that a process of this machine cannot have."""

from __future__ import annotations

import os
import pwd
import re
from typing import Final

from tfnz_notebook.engines.base import ContainerSpec
from tfnz_notebook.errors import Misuse, VolumeError

#: An id that can name a directory.
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
#: Of docker run's flags: what is so anyway, or is the guest's to do.
HONOURED: Final = frozenset(
    {"expose", "init", "no_healthcheck", "tty"}
    | {f"health_{each}" for each in ("cmd", "interval", "retries", "timeout")}
    | {f"health_start_{each}" for each in ("interval", "period")}
)


def refuse(spec: ContainerSpec) -> None:
    """Misuse for what needs a container."""
    spec.scheduling.refuse("the host")
    if not ID.fullmatch(spec.id):
        raise Misuse(f"Cannot name a container {spec.id!r}: letters, digits, '-'. Choose another.")
    wanted = {
        "cpu=": spec.cpu is not None,
        "memory=": spec.memory is not None,
        "network=": spec.network not in (None, "host"),
        "read_only=": spec.read_only,
        "hostname=": spec.hostname is not None,
        "capabilities=": bool(spec.capabilities),
        "new_privileges=": spec.new_privileges,
        "entrypoint='unmodified'": spec.unmodified,
    }
    for name, asked in wanted.items():
        if asked:
            raise Misuse(
                f"Cannot honour {name} on the host: there is no container that could have it. "
                "Leave it out, or use Location('podman') or Location('docker')."
            )
    spec.refuse_flags("on the host: there is no container that could have it", HONOURED)
    if spec.mounts:
        raise VolumeError(
            "Cannot mount volumes on the host: there is no container to mount them in. "
            "Processes see the whole machine: use the directory itself."
        )
    if spec.user and spec.user not in _us():
        # Root could, but another user cannot enter the agent's private directories.
        raise Misuse(
            f"Cannot run as {spec.user!r} on the host: it runs as this user alone. "
            "Leave user= out, or use Location('podman')."
        )


def own_name() -> str:
    """This user's, or its number where it has none."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _us() -> set[str]:
    """The ways to name the user that we are."""
    uid = os.geteuid()
    return {str(uid), f"{uid}:{os.getegid()}", own_name()}
