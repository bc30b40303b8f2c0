"""What a guest that was started asleep is told before anything runs in its container.

For engines that say :attr:`~tfnz_notebook.engines.base.Engine.starts_asleep`. All of it may be said
again after a break: files are replaced whole, and SETUP counts as it was last said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tfnz_notebook._wire.guest import Feature, Flag, Tag
from tfnz_notebook.agent.container import transfers
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.refusals import not_configured
from tfnz_notebook.engines.base import ContainerSpec, Image
from tfnz_notebook.errors import ContainerFailed, FileError

_PIECE: Final = 1 << 20
#: Seconds that it may take, and bytes of files for each more.
PATIENCE: Final = 20.0
_RATE: Final = 1 << 20


def patience(spec: ContainerSpec) -> float:
    """Seconds within which the guest must have been told all of it."""
    return PATIENCE + sum(map(len, spec.files.values())) / _RATE


async def configure(guest: Guest, spec: ContainerSpec, image: Image) -> None:
    """Files, then the rest. Raises ContainerFailed, TooLarge; ContainerGone when it broke."""
    if not (guest.features or Feature(0)) & Feature.SETUP:
        raise ContainerFailed(
            "Cannot start the container: its guest is of an earlier version. Spawn another one."
        )
    try:
        await _put(guest, spec.files)
        if spec.workdir is not None:  # as engines do
            flags = Flag.PARENTS | Flag.EXIST_OK
            await transfers.make_directory(guest, spec.workdir, None, None, flags)
    except FileError as error:
        raise ContainerFailed(f"Cannot start the container: {error}") from error
    answer = await guest.setup(_fields(spec, image))
    if answer.values[1]:
        raise not_configured(spec, image, answer.values[1])
    guest.configured = True


async def _put(guest: Guest, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        transfer = transfers.begin_put(guest, path, 0o644, None, parents=True)
        try:
            for at in range(0, len(content), _PIECE):
                await transfer.upload(content[at : at + _PIECE])
            await transfer.finish_upload()
        except BaseException:
            transfer.abort()
            raise


def _fields(spec: ContainerSpec, image: Image) -> list[tuple[Tag, str]]:
    fields = [(Tag.ARG, word) for word in spec.argv(image)]
    fields += [(Tag.ENV, f"{key}={value}") for key, value in spec.env.items()]
    user = spec.user if spec.user is not None else image.user
    if user:
        fields.append((Tag.USER, user))
    workdir = spec.workdir if spec.workdir is not None else image.workdir
    if workdir:
        fields.append((Tag.CWD, workdir))
    return fields
