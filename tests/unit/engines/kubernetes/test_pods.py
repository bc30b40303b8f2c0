"""What is known of pods, by whatever way it came."""

from __future__ import annotations

from typing import Any, cast

from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.pod.pods import Pods


def pod(version: str, phase: str) -> dict[str, Any]:
    about = {"name": "p", "resourceVersion": version}
    return {"metadata": about, "status": {"phase": phase}}


def test_an_answer_behind_the_watch_is_no_news() -> None:
    """A pod's creation is answered late; that it runs is known already."""
    pods = Pods(cast("Api", None), "")
    pods.learn(pod("100", "Running"))
    pods.learn(pod("99", "Pending"))
    assert pods["p"] == pod("100", "Running")
    pods.learn(pod("101", "Failed"))
    assert pods["p"] == pod("101", "Failed")


def test_what_is_known_is_no_news() -> None:
    """Whoever hears of a pod asks for it: the answer must not be heard of again."""
    pods = Pods(cast("Api", None), "")
    heard: list[str] = []
    pods.listeners.append(heard.append)
    for version in ("100", "100", "101", "101"):
        pods.learn({**pod(version, "Running"), "kind": "Pod"})
    assert heard == ["p", "p"]
