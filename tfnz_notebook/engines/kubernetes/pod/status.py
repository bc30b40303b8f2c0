"""What a pod's object says: its state, what it waits for, and why it failed. Pure code.

Every field is taken as possibly missing: who reports it may not have come to it yet.
"""

from __future__ import annotations

from typing import Any, Final

from tfnz_notebook.engines.base import State
from tfnz_notebook.engines.kubernetes.pod.manifest import MAIN, STARTED
from tfnz_notebook.errors import ContainerFailed, ImageMissing, TfnzError

Said = dict[str, Any]

#: Reasons for which a container waits, and goes on waiting unless somebody does something.
_IMAGE: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_FAILED: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "CrashLoopBackOff",
        "PostStartHookError",
        "PreCreateHookError",
        "PreStartHookError",
        "StartError",
    }
)


def state(said: Said) -> State:
    """Of a pod that is there."""
    status = said.get("status") or {}
    held = container(said)
    ended = held.get("terminated")
    if ended is not None or status.get("phase") in ("Failed", "Succeeded"):
        ended = ended or {}
        code = ended.get("exitCode")
        return State(
            "exited",
            exit_code=int(code) if code is not None else None,
            oom_killed=ended.get("reason") == "OOMKilled",
            error=words(status),
            taken=taken(said),
        )
    if held.get("running") is None or STARTED not in _annotations(said):
        return State("created", error=waiting(said))
    return State("running", ip=_address(said), error=_unreachable(said))


def left(said: Said) -> State:
    """Of a pod that an earlier agent left: one that goes and was never told what it is never ran.

    That agent was about to remove it, and the guest had ended first.
    """
    going = (said.get("metadata") or {}).get("deletionTimestamp")
    return State("created") if going and STARTED not in _annotations(said) else state(said)


def running(said: Said) -> bool:
    """Its container runs, whatever it was told."""
    return container(said).get("running") is not None


def over(said: Said) -> bool:
    """It ran, and will not again."""
    return state(said).status == "exited"


def container(said: Said) -> Said:
    """The state of its container: one of waiting, running, terminated; or nothing yet."""
    for each in (said.get("status") or {}).get("containerStatuses") or ():
        if each.get("name") == MAIN:
            return dict(each.get("state") or {})
    return {}


def waiting(said: Said) -> str:
    """What it waits for, in the words of who knows: the scheduler, or its node."""
    status = said.get("status") or {}
    held = container(said).get("waiting")
    if held:
        return sentence(held)
    for each in status.get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return sentence(each)
    return ""


def failure(said: Said) -> TfnzError | None:
    """Why it will not come up by itself; None if it may still."""
    image = _image(said)
    status = said.get("status") or {}
    held = container(said).get("waiting") or {}
    reason, message = str(held.get("reason") or ""), str(held.get("message") or "")
    if reason == "ErrImageNeverPull":
        return ImageMissing(
            f"Cannot use the image {image!r}: it is not on its node, and pulling is off. Spawn "
            "with pull='missing', or on a node that has it.",
            image=image,
        )
    if reason in _IMAGE:
        return ImageMissing(
            f"Cannot use the image {image!r}: its node cannot pull it: "
            f"{_plain(message) or reason}. Check the name; if it is private, log in to its "
            "registry where the agent runs, or name a pull secret.",
            image=image,
        )
    if reason in _FAILED:
        return ContainerFailed(
            f"Cannot start the container: its node says {reason}: {_plain(message)}. "
            "Correct what it names."
        )
    ended = container(said).get("terminated") or {}
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        return ContainerFailed(
            f"Cannot start the container: its node says {_plain(str(ended.get('message')))}. "
            "Correct what it names."
        )
    if status.get("phase") == "Failed" and not ended:
        return ContainerFailed(
            f"Cannot start the container: {words(status) or 'its pod failed'}. Spawn another."
        )
    return None


def taken(said: Said) -> str:
    """Why the cluster ends it, or has: evicted, preempted, its node drained or gone."""
    status = said.get("status") or {}
    for each in status.get("conditions") or ():
        if each.get("type") == "DisruptionTarget" and each.get("status") == "True":
            return sentence(each)
    return words(status) if status.get("phase") == "Failed" else ""


def words(status: Said) -> str:
    """A pod's own reason and message: evicted, preempted, out of a resource."""
    return sentence(status) if status.get("reason") or status.get("message") else ""


def sentence(said: Said) -> str:
    """Reason and message of what has both."""
    reason, message = str(said.get("reason") or ""), _plain(str(said.get("message") or ""))
    return f"{reason}: {message}" if reason and message else reason or message


def _plain(message: str) -> str:
    return " ".join(message.split()).rstrip(".")[:600]


def _annotations(said: Said) -> Said:
    return (said.get("metadata") or {}).get("annotations") or {}


def machine(said: Said) -> str:
    """The name of the node that has it; empty: none has it yet."""
    return str((said.get("spec") or {}).get("nodeName") or "")


def _unreachable(said: Said) -> str:
    """Its node has not been heard of: then the cluster calls what runs there not ready any more."""
    for each in (said.get("status") or {}).get("conditions") or ():
        if each.get("type") == "Ready" and each.get("status") != "True":
            return (
                f"its node {machine(said)} does not answer: {sentence(each) or 'it is not ready'}."
            )
    return ""


def _address(said: Said) -> str:
    return str((said.get("status") or {}).get("podIP") or "")


def _image(said: Said) -> str:
    for each in (said.get("spec") or {}).get("containers") or ():
        if each.get("name") == MAIN:
            return str(each.get("image") or "")
    return ""
