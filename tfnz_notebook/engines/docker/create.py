"""A container's specification as Docker Engine API JSON, and its files as tar. Pure code.

How a container of ours looks to the engine:

- PID 1 is the guest, as root, so that it may start processes as any user; the user, directory and
  command that the image or the caller asked for are arguments to it. Hence ``docker inspect``
  shows the guest's command line, and a missing entrypoint is the guest's 127, not the engine's.
- Socket transport: a private directory of the agent is bind-mounted at ``/.tfnz/run``, the guest's
  binary read-only at ``/.tfnz/guest``. The mount points are made by the runtime below the root
  file system's read-only seal, so an empty image and ``read_only`` both work.
- Exec transport: an anonymous volume at ``/.tfnz`` into which the binary is put by the archive
  call. A volume is writable under ``read_only``, and goes with the container.
- Files before boot are put into the container's own file system by the archive call. What lies
  below a mount, or where the engine mounts a file of its own, would be hidden there: it is left
  beside the guest, who writes it to its place before anything runs.
"""

from __future__ import annotations

import io
import math
import posixpath
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tfnz_notebook.engines.base import ContainerSpec, Image, Mount
from tfnz_notebook.engines.docker import flags
from tfnz_notebook.errors import ContainerFailed, Misuse

HOME: Final = "/.tfnz"
GUEST: Final = "/.tfnz/guest"
RUN: Final = "/.tfnz/run"
SOCKET: Final = "/.tfnz/run/guest.sock"
#: Below which, each under its path, files are left for the guest to write.
EARLY: Final = {True: "/.tfnz/run/files", False: "/.tfnz/files"}
#: What engines mount, made anew at each start.
_ENGINES_OWN: Final = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Quirks:
    """What this engine on this machine needs of a create call; found by probing."""

    #: Explicit hard limits of (nofile, nproc), where the engine may not raise its own.
    ulimits: tuple[int, int] | None = None
    #: Bind mounts need an SELinux label.
    selinux: bool = False
    #: Each has a network of its own unless it names one.
    private_network: bool = False
    #: Containers have cgroups of their own, and so limits.
    cgroups: bool = True
    #: It is Podman, which has another notion of some flags; and its version.
    podman: bool = False
    version: str = ""


def guest_command(
    spec: ContainerSpec, image: Image, files: str = "", *, cgroup: bool = True
) -> list[str]:
    """The guest's arguments. Raises Misuse for a container that has nothing to run.

    ``files`` is the directory of those that the guest has to write before it starts anything.
    """
    argv = spec.argv(image)
    if not argv and not spec.sleep:
        raise Misuse(
            f"Cannot start a container of {spec.image!r}: the image names no command. "
            "Give command=[…], or sleep=True to start processes yourself."
        )
    if any("\0" in part for part in argv):
        raise Misuse("Cannot start a container: its command has a NUL character. Remove it.")
    arguments = ["init", "--socket", SOCKET, *(["--files", files] if files else ())]
    user = spec.user if spec.user is not None else image.user
    if user:
        arguments += ["--user", user]
    if groups := spec.flags.get("group_add"):
        arguments += ["--groups", ",".join(groups)]
    workdir = spec.workdir if spec.workdir is not None else image.workdir
    if workdir:
        arguments += ["--cwd", workdir]
    arguments += ["--tty"] * bool(spec.flags.get("tty"))
    arguments += ["--no-cgroup"] * (not cgroup)
    if spec.sleep:
        arguments.append("--sleep")
    return [*arguments, "--", *argv] if argv else arguments


def environment(env: Mapping[str, str]) -> list[str]:
    """``KEY=value`` strings. Raises Misuse for what no environment can hold."""
    pairs = []
    for key, value in env.items():
        if not all(isinstance(part, str) for part in (key, value)):
            raise Misuse(
                f"Cannot set {key!r} to a {type(value).__name__}: names and values are strings. "
                "Use str()."
            )
        if not key or "=" in key or "\0" in key + value:
            raise Misuse(
                f"Cannot set the variable {key!r}: a name is not empty and has no '=' or NUL. "
                "Correct env."
            )
        pairs.append(f"{key}={value}")
    return pairs


def absolute(path: str, what: str) -> str:
    """The path, if it is one inside a container: absolute, no ``..``, no NUL. Else Misuse."""
    if not isinstance(path, str):
        raise Misuse(f"Cannot use {path!r} as {what}: it is no string. Give an absolute path.")
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise Misuse(
            f"Cannot use {path!r} as {what}: it is not absolute, or has '..'. "
            "Give a path such as '/etc/app.conf'."
        )
    return posixpath.normpath("/" + path.lstrip("/"))


def body(
    spec: ContainerSpec,
    image: Image,
    *,
    run: Path | None,
    guest: Path,
    quirks: Quirks = Quirks(),
    early: bool = False,
) -> dict[str, Any]:
    """The create call's JSON. ``run`` is the socket's directory; None means exec transport.

    ``early``: some of its files are left for the guest (:func:`before_boot`).
    """
    host: dict[str, Any] = {
        "AutoRemove": False,
        "Init": spec.unmodified and bool(spec.flags.get("init")),  # else the guest is one
        "Privileged": False,
        "SecurityOpt": [] if spec.new_privileges else ["no-new-privileges"],
        "PidsLimit": spec.pids,
        "ReadonlyRootfs": spec.read_only,
        "RestartPolicy": {"Name": "no"},
    }
    if spec.cpu is not None:
        host["NanoCpus"] = math.ceil(spec.cpu * 1e9)
    if spec.memory is not None:
        # Swap counts within the same limit: a container that swaps is a notebook that hangs.
        host["Memory"] = host["MemorySwap"] = spec.memory
    if spec.capabilities:
        host["CapAdd"] = list(spec.capabilities)
    if spec.network is not None:
        host["NetworkMode"] = spec.network
    elif quirks.private_network:
        host["NetworkMode"] = "private"  # Podman's word: through a process of its own, no bridge
    if quirks.ulimits is not None:
        host["Ulimits"] = [
            {"Name": name, "Soft": limit, "Hard": limit}
            for name, limit in zip(("nofile", "nproc"), quirks.ulimits, strict=True)
        ]
    made: dict[str, Any] = {
        "Image": spec.image,
        "Entrypoint": [GUEST],
        "Cmd": guest_command(
            spec, image, EARLY[run is not None] if early else "", cgroup=quirks.cgroups
        ),
        "User": "0:0",
        "Env": environment(spec.env),
        "Labels": dict(spec.labels),
        "Tty": False,
        "OpenStdin": False,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "HostConfig": host,
    }
    if spec.workdir is not None:
        made["WorkingDir"] = absolute(spec.workdir, "a working directory")
    if spec.hostname is not None:
        made["Hostname"] = spec.hostname
    if spec.sleep:
        # A sleeping guest ends at TERM and INT; an image's own StopSignal would only time out.
        made["StopSignal"] = "SIGTERM"
    mounts = check_mounts(spec.mounts)
    check_mounts([Mount("", path) for path in spec.flags.get("tmpfs", {})])
    nameless = [mount.target for mount in mounts if not mount.source]
    mounts = [mount for mount in mounts if mount.source]
    if run is None:
        nameless.append(HOME)
    else:
        mounts += [Mount(str(run), RUN), Mount(str(guest), GUEST, read_only=True)]
    if nameless:
        made["Volumes"] = {target: {} for target in nameless}
    # Mounts, unlike Binds, refuse a source that is not there instead of making a directory. Only
    # the older Binds can ask for a label; the run directory is one container's (Z).
    bound = [mount for mount in mounts if mount.options or quirks.selinux]
    if bound:
        host["Binds"] = [_bind(mount, str(run), quirks) for mount in bound]
    if told := [_mount(mount) for mount in mounts if mount not in bound]:
        host["Mounts"] = told
    flags.check(spec, podman=quirks.podman, version=quirks.version)
    flags.apply(spec.flags, made, network=spec.network, podman=quirks.podman)
    return made


def check_mounts(mounts: Sequence[Mount]) -> list[Mount]:
    """The caller's mounts, their targets normal. Misuse for a target that cannot be."""
    checked = []
    for mount in mounts:
        target = absolute(mount.target, "a mount point")
        if target == "/" or (target + "/").startswith(HOME + "/"):
            raise Misuse(f"Cannot mount at {target!r}: the place is taken. Choose another.")
        checked.append(replace(mount, target=target))
    return checked


def check_sources(mounts: Sequence[Mount]) -> None:
    """Raise ContainerFailed for one that is not there, of an engine whose files are ours.

    Podman would make an empty directory of a typing error.
    """
    for mount in mounts:
        if mount.source.startswith("/"):
            try:
                Path(mount.source).stat()
            except (FileNotFoundError, NotADirectoryError):
                raise ContainerFailed(
                    f"Cannot mount {mount.source!r}: it is not there. Make it first, or name a "
                    "volume instead of a path."
                ) from None
            except OSError:
                pass  # the engine may look where we may not


def _mount(mount: Mount) -> dict[str, Any]:
    kind = "bind" if mount.source.startswith("/") else "volume"
    return {
        "Type": kind,
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }


def _bind(mount: Mount, run: str, quirks: Quirks) -> str:
    options = [*mount.options]
    if "O" not in options:  # Podman's overlay, which stands alone: what is written there is lost
        options.insert(0, "ro" if mount.read_only else "rw")
    if not quirks.selinux:
        pass
    elif mount.source == run:
        options.append("Z")
    elif mount.target == GUEST:
        options.append("z")  # shared by all; the user's own directories are not relabelled
    return f"{mount.source}:{mount.target}:{','.join(options)}"


def checked_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files before boot by their normal paths. Misuse for a path or content that cannot be."""
    checked = {}
    for given, content in files.items():
        name = absolute(given, "a file's path")
        if name == "/":
            raise Misuse("Cannot write the file '/': it is a directory. Give a file's path.")
        if (name + "/").startswith(HOME + "/"):
            raise Misuse(f"Cannot write {name!r}: {HOME} is the guest's. Choose another place.")
        if not isinstance(content, bytes | bytearray | memoryview):
            raise Misuse(
                f"Cannot write {given!r}: its content is {type(content).__name__}, not bytes. "
                "Encode text with .encode()."
            )
        checked[name] = bytes(content)
    return checked


def before_boot(spec: ContainerSpec, image: Image) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Its files before boot: those for the archive call, and those that only the guest can write.

    The latter would be hidden by what is mounted there: by the caller, the image or the engine.
    """
    files = checked_files(spec.files)
    mounts = {mount.target: mount.read_only for mount in check_mounts(spec.mounts)}
    mounts |= {path: "ro" in told.split(",") for path, told in spec.flags.get("tmpfs", {}).items()}
    over = [*mounts, *map(posixpath.normpath, image.volumes), *_ENGINES_OWN]
    early = {}
    for name in files:
        covering = max((top for top in over if (name + "/").startswith(top + "/")), default=None)
        if covering is None:
            continue
        if mounts.get(covering):
            raise Misuse(
                f"Cannot write {name!r} before boot: {covering!r} is mounted read-only. "
                "Write it to what is mounted there, or mount it without read_only."
            )
        early[name] = files[name]
    return {name: files[name] for name in files if name not in early}, early


def tar(files: Mapping[str, bytes]) -> bytes:
    """Files as an archive for ``/``: mode 0644, owner root.

    Parents are left to the engine: a directory entry in the archive would replace a link that the
    image has at its place, where the engine itself resolves it inside the container.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in checked_files(files).items():
            _add(archive, name.lstrip("/"), content, 0o644)
        size = archive.offset
    return _unpadded(out, size)


def guest_tar(binary: bytes, early: Mapping[str, bytes], mode: int = 0o700) -> bytes:
    """For an exec-transport container's volume: the guest, its socket's directory, its files.

    ``mode`` of that directory: sticky for a guest that is not root.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        run = tarfile.TarInfo("run")
        run.type, run.mode = tarfile.DIRTYPE, mode
        archive.addfile(run)
        _add(archive, "guest", binary, 0o755)
        for name, content in early.items():
            _add(archive, f"files{name}", content, 0o600)
        size = archive.offset
    return _unpadded(out, size)


def _unpadded(out: io.BytesIO, size: int) -> bytes:
    """The archive to the two empty blocks that end it, without tarfile's padding to 10 KiB.

    Podman's unpacker leaves at those blocks; what Podman writes to it after that is, sometimes, a
    broken pipe and an error ("passing bulk input to subprocess").
    """
    return out.getvalue()[: size + 2 * tarfile.BLOCKSIZE]


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
