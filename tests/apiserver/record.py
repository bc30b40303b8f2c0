"""Record what a real cluster says.

    PYTHONPATH=tests python -m apiserver.record KUBECONFIG [SUBJECT…]

It works in namespaces of its own, which it deletes; the kubeconfig's current context must be an
administrator's. ``--image`` names a busybox that the nodes have. What is written to ``recorded/``
holds no address and no name of that cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from pathlib import Path

from apiserver.client import Target
from apiserver.conversation import SUBJECTS, hold

RECORDED = Path(__file__).with_name("recorded")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], default=[])
    parser.add_argument("--image", default="docker.io/library/busybox:latest")
    given = parser.parse_args()
    target = Target.of(given.kubeconfig)
    for name in given.subjects or SUBJECTS:
        namespace = f"tfnz-record-{secrets.token_hex(4)}"
        said = asyncio.run(hold(SUBJECTS[name], target, namespace, given.image))
        text = json.dumps(said, indent=1, ensure_ascii=False, sort_keys=True)
        (RECORDED / f"{name}.json").write_text(text + "\n")
        print(f"{name}: {len(said)} answers")


if __name__ == "__main__":
    main()
