"""Everything that can go wrong, in one tree.

::

    TfnzError
    ├── LocationError                 the place where containers run
    │   ├── NoEngine                  nothing there runs containers (says what to install)
    │   ├── EngineError               the engine answered, and refused
    │   ├── EngineGone                the engine stopped answering in the middle
    │   ├── AgentError                the agent cannot be started, or speaks another version
    │   └── LinkClosed                this location was disconnected, or its agent is out of reach
    │       └── ForkedError           it is of the process that forked this one
    ├── ImageError
    │   ├── ImageMissing              not here, and it cannot be pulled
    │   ├── ImageConfigUnknown        what it starts nobody tells: say it
    │   ├── ImageInUse                a container is made of it
    │   ├── BuildFailed               a step of its build did (the tail of what it said inside)
    │   └── ImageNameInvalid          *also* ValueError
    ├── ContainerError
    │   ├── ContainerFailed           never became ready (the tail of its log inside)
    │   ├── ContainerGone             destroyed; also ValueError
    │   ├── ContainerPaused           its engine has stopped it for a while; unpause() it
    │   ├── ContainerUnresponsive     it runs, and its guest does not answer
    │   └── OutOfMemory               the engine killed it for its memory limit
    ├── ProcessError
    │   ├── CommandNotFound           127; also ValueError
    │   ├── CommandNotExecutable      126; also ValueError
    │   ├── SpawnFailed               user, working directory, pty, pids limit ...; also ValueError
    │   ├── ProcessGone               it has ended; also ValueError
    │   ├── LogGone                   its output was dropped, or cannot be read any more
    │   ├── ProcessFailed             ended with a non-zero code, where zero was asked for
    │   └── CellFailed                a cell in a container raised, or ended with such a code
    ├── FileError                     put, fetch, list; also ValueError
    ├── TunnelError
    │   ├── PortClosed                nothing listens there (log's tail inside)
    │   └── TunnelGone                also ValueError
    ├── VolumeError
    ├── QuotaFull                     an output or a file too large for one piece
    ├── TooLarge                      an argument or an answer beyond what is sent; also ValueError
    ├── WaitTimeout                   also TimeoutError
    ├── Misuse                        wrong type or value of an argument; also ValueError
    └── ProtocolError                 somebody said something that is not in PROTOCOL.md

20ft raised ``ValueError`` for misuse, so the classes marked above are ``ValueError`` too.
Messages read "Cannot X: cause. Remedy."  An error crosses the link as (class name, message,
details) and is raised again as the same class; see :func:`from_wire`.
"""

from __future__ import annotations

import re
from typing import Any, Final

HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""What a terminal may obey, what turns or hides the text around it, what no encoding can write:
controls but tab and newline, format characters, half a surrogate pair."""


def harmless(text: str) -> str:
    """Text that can only be text: each hidden character as Python escapes it."""
    return HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


class TfnzError(Exception):
    """Root of the tree. ``details`` holds plain data for programs (may be empty).

    Messages are shown as they are, by tracebacks and logs, and quote what containers say and are
    called: so they are :func:`harmless`.
    """

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(harmless(message))
        self.details: dict[str, Any] = details
        """What programs may want to know; which keys, the classes say."""


class LocationError(TfnzError):
    """The place where containers run."""


class NoEngine(LocationError):
    """No container engine answers; the message says what to install."""


class EngineError(LocationError):
    """The engine answered, and refused. ``details['status']`` is its HTTP status, if any."""


class EngineGone(LocationError):
    """The engine stopped answering."""


class AgentError(LocationError):
    """The agent cannot be started or speaks another protocol version."""


class LinkClosed(LocationError, ValueError):
    """This location was disconnected, or its agent is out of reach."""


class ForkedError(LinkClosed):
    """It came from a location of the process that forked this one, and works there alone."""


class ImageError(TfnzError):
    """An image."""


class ImageMissing(ImageError, ValueError):
    """The image is not here and cannot be pulled."""


class ImageConfigUnknown(ImageError, ValueError):
    """What the image starts is not known here, because its registry cannot be asked."""


class ImageInUse(ImageError):
    """The image cannot be removed: containers, or other images, are made of it."""


class BuildFailed(ImageError):
    """A step of a build failed; ``details['log']`` is the tail of what it said (bytes)."""


class ImageNameInvalid(ImageError, ValueError):
    """The image's name is malformed."""


class ContainerError(TfnzError):
    """A container."""


class ContainerFailed(ContainerError):
    """It never became ready; ``details['log']`` is the tail of its output (bytes)."""


class ContainerGone(ContainerError, ValueError):
    """It was destroyed, or has exited: nothing can be done in it any more."""


class ContainerPaused(ContainerError):
    """Its engine has stopped all that runs in it, until somebody unpauses it."""


class ContainerUnresponsive(ContainerError):
    """It runs, and its guest does not answer: stopped, overwhelmed, or hostile."""


class OutOfMemory(ContainerError):
    """The kernel killed it for its memory limit."""


class ProcessError(TfnzError):
    """A process."""


class SpawnFailed(ProcessError, ValueError):
    """The process could not be started."""


class CommandNotFound(SpawnFailed):
    """There is no such command."""

    returncode = 127
    """What a shell says then."""


class CommandNotExecutable(SpawnFailed):
    """The command is there, and cannot be executed."""

    returncode = 126
    """What a shell says then."""


class ProcessGone(ProcessError, ValueError):
    """The process has ended, or was destroyed before."""


class LogGone(ProcessError):
    """Its output, or a part of it, was dropped or cannot be read any more."""


class ProcessFailed(ProcessError):
    """It ended with a code other than zero; ``details`` has returncode, stdout, stderr."""


class CellFailed(ProcessError):
    """A cell that ran in a container raised something, or a shell's ended with another code than 0.

    ``details`` has stdout, stderr and returncode; of what was raised name, text and trace.
    """


class FileError(TfnzError, ValueError):
    """A file in a container. ``details['errno']`` is the cause where one is known."""


class TunnelError(TfnzError):
    """A tunnel."""


class PortClosed(TunnelError):
    """Nothing listens on that port; ``details['log']`` is the tail of the container's output."""


class TunnelGone(TunnelError, ValueError):
    """The tunnel was destroyed."""


class VolumeError(TfnzError, ValueError):
    """A volume."""


class QuotaFull(TfnzError):
    """An output or a file is over 1 GiB, which is the most that is read in one piece."""


class TooLarge(TfnzError, ValueError):
    """More than is sent: nothing of it was. ``details`` has ``size`` and ``limit``, in bytes."""


class WaitTimeout(TfnzError, TimeoutError):
    """A wait reached its ``timeout``; what was waited for goes on."""


class Misuse(TfnzError, ValueError):
    """An argument of the wrong type or value."""


class ProtocolError(TfnzError):
    """Somebody said something that is not in PROTOCOL.md: what was asked so fails.

    What cannot even be read ends the connection it came on.
    """


def _tree(cls: type[TfnzError]) -> dict[str, type[TfnzError]]:
    found = {cls.__name__: cls}
    for child in cls.__subclasses__():
        found.update(_tree(child))
    return found


def to_wire(error: BaseException) -> dict[str, Any]:
    """The error as plain data; anything outside the tree becomes a bare :class:`TfnzError`.

    An engine's own subclass crosses as the class of the tree that it is one of.
    """
    if isinstance(error, TfnzError):
        named = next(cls for cls in type(error).__mro__ if cls.__module__ == __name__)
        return {"class": named.__name__, "message": str(error), "details": error.details}
    return {"class": "TfnzError", "message": f"{type(error).__name__}: {error}", "details": {}}


def from_wire(data: dict[str, Any]) -> TfnzError:
    """The inverse of :func:`to_wire`; an unknown class (a newer agent's) becomes the root."""
    cls = _tree(TfnzError).get(str(data.get("class")), TfnzError)
    details = data.get("details")
    pairs = details.items() if isinstance(details, dict) else ()
    error = cls(str(data.get("message", "")))
    error.details = {str(key): value for key, value in pairs}
    return error
