"""kubectl, for what tests ask of a cluster past our own code."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Kubectl:
    """``kubectl(…)`` returns what it printed; as one kubeconfig has it, or the environment."""

    def __init__(
        self, program: Sequence[str], kubeconfig: Path | None, namespace: str = ""
    ) -> None:
        self.program = program
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def within(self, namespace: str) -> "Kubectl":
        return Kubectl(self.program, self.kubeconfig, namespace)

    def command(self, *arguments: str) -> list[str]:
        """Its argv."""
        where = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        where += [f"--namespace={self.namespace}"] if self.namespace else []
        return [*self.program, *where, *arguments]

    def _run(self, arguments: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, *arguments: str, text: str = "") -> str:
        done = self._run(arguments, text)
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def tried(self, *arguments: str) -> bool:
        """Whether it succeeds."""
        return self._run(arguments, "").returncode == 0

    def create(self, *objects: Json) -> None:
        whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("create", "--filename=-", text=json.dumps(whole))

    def get(self, *arguments: str) -> Json:
        """One object."""
        found: Json = json.loads(self("get", "--output=json", *arguments))
        return found

    def items(self, *arguments: str) -> list[Json]:
        """All of a kind, or those that a selector chooses."""
        listed: list[Json] = self.get(*arguments)["items"]
        return listed
