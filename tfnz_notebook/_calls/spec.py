"""From the arguments of ``spawn_container`` to the spec that the agent gets."""

from __future__ import annotations

from typing import Any, Final

from tfnz_notebook._calls import arguments
from tfnz_notebook.errors import Misuse

#: An entrypoint that is none: the image's own first process stays that.
UNMODIFIED: Final = "unmodified"


def container_spec(image: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(spec, files) as ``container.spawn`` sends them, of what ``spawn_container`` was given."""
    doing = "spawn a container"
    given = options.get
    spec: dict[str, Any] = {"image": arguments.image(image)}
    spec["env"] = arguments.environment(doing, given("env"))
    spec["sleep"] = bool(given("sleep"))
    spec["volumes"] = arguments.volumes(given("volumes"))
    spec["labels"] = arguments.labels(given("labels"))
    spec["read_only"] = bool(given("read_only"))
    spec["memory"] = arguments.memory(given("memory"))
    spec["user"] = arguments.user(doing, given("user"))
    spec["pull"] = arguments.choice(
        doing, "pull", given("pull", "missing"), ("missing", "always", "never")
    )
    for key in ("workdir", "hostname", "network", "tag"):
        spec[key] = arguments.optional_text(doing, key, given(key))
    if given("workdir") is not None:
        arguments.path("work in", given("workdir"))
    if given("name") is not None:
        spec["name"] = arguments.name(doing, "name", given("name"))
    if given("cpu") is not None:
        spec["cpu"] = float(arguments.number(doing, "cpu", given("cpu"), 0.01, whole=False))
    if given("pids") is not None:
        spec["pids"] = int(arguments.number(doing, "pids", given("pids"), 1))
    if given("command") is not None:
        spec["command"] = arguments.argv(doing, given("command"))[0]
    if given("capabilities") is not None:
        spec["capabilities"] = arguments.capabilities(given("capabilities"))
    spec["new_privileges"] = bool(given("new_privileges"))
    spec |= arguments.scheduling(given)
    entrypoint = given("entrypoint")
    if entrypoint == UNMODIFIED:
        if spec["sleep"]:
            raise Misuse(
                f"Cannot {doing} that sleeps with entrypoint='unmodified': the image's own first "
                "process starts. Leave sleep=True out."
            )
        spec["unmodified"] = True
    elif entrypoint is not None:
        # One word, as docker run --entrypoint has it; a shell is named by who wants one.
        argv = [entrypoint] if isinstance(entrypoint, str) else entrypoint
        spec["entrypoint"] = arguments.argv(doing, argv)[0]
    return spec, arguments.files(given("pre_boot_files"))


#: What ``Location.run`` hands on to spawn_container.
RUN_OPTIONS: Final = frozenset(
    {
        *("env", "volumes", "pre_boot_files", "tag", "name", "cpu", "memory", "pids", "user"),
        *("workdir", "hostname", "network", "labels", "pull", "read_only"),
        *("runtime_class", "node_selector", "tolerations", "pull_secrets", "gpus"),
    }
)
