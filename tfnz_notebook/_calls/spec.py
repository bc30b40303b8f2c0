"""From the arguments of ``spawn_container`` to the spec that the agent gets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.run import flags, values
from tfnz_notebook.errors import Misuse

#: An entrypoint that is none: the image's own first process stays that.
UNMODIFIED: Final = "unmodified"


def container_spec(
    image: object, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(spec, files) as ``container.spawn`` sends them, of what ``spawn_container`` was given."""
    doing = "spawn a container"
    ours, passed = flags.told(options)
    given = ours.get
    spec: dict[str, Any] = {"image": arguments.image(image), "flags": passed}
    of_files = from_here(given("env_file") or (), dict(os.environ))
    spec["env"] = {**of_files, **arguments.environment(doing, given("env"))}
    spec["sleep"] = bool(given("sleep"))
    spec["volumes"] = [*arguments.volumes(given("volumes")), *(given("volumes_named") or ())]
    of_files = values.pairs("label_file", given("label_file") or ())
    spec["labels"] = arguments.labels({**of_files, **arguments.labels(given("labels"))})
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
        least = -1 if "pids_limit" in options else 1  # Docker's: none
        spec["pids"] = int(arguments.number(doing, "pids", given("pids"), least))
    if given("command") is not None:
        spec["command"] = arguments.argv(doing, given("command"))[0]
    if given("capabilities") is not None:
        spec["capabilities"] = arguments.capabilities(given("capabilities"))
    spec["new_privileges"] = bool(given("new_privileges")) or _gain(passed)
    spec |= arguments.scheduling(given)
    entrypoint = given("entrypoint")
    if entrypoint == UNMODIFIED:
        if spec["sleep"]:
            raise Misuse(
                f"Cannot {doing} that sleeps with entrypoint='unmodified': the image's own first "
                "process starts. Leave sleep=True out."
            )
        spec["unmodified"] = True
    elif entrypoint == "":
        spec["entrypoint"] = []  # as with Docker: not the image's
    elif entrypoint is not None:
        # One word, as docker run --entrypoint has it; a shell is named by who wants one.
        argv = [entrypoint] if isinstance(entrypoint, str) else entrypoint
        spec["entrypoint"] = arguments.argv(doing, argv)[0]
    return spec, arguments.files(given("pre_boot_files"))


def _gain(passed: dict[str, Any]) -> bool:
    """Whether it may gain privileges, by ``security_opt``, which says so no more."""
    said = [each.partition("=") for each in passed.pop("security_opt", [])]
    if other := [name + sign + value for name, sign, value in said if name != "no-new-privileges"]:
        passed["security_opt"] = other
    return any(name == "no-new-privileges" and value == "false" for name, _, value in said)


def volumes_to_make(options: dict[str, Any]) -> list[str]:
    """Names of volumes that are made if need be: those said as ``docker run`` says them."""
    if options.get("volume") is None and options.get("mount") is None:
        return []
    named = flags.told({key: options.get(key) for key in ("volume", "mount")})[0]
    sources = [each[0] for each in named.get("volumes_named", ())]
    return [source for source in sources if source and not arguments.is_place(source)]


def published(options: dict[str, Any]) -> list[tuple[str | None, int | None, int]]:
    """(bind, local port, port) of each tunnel that was asked for."""
    given = options.get("publish")
    return [] if given is None else values.ports("publish", given)


def from_here(given: Iterable[str], inherited: Mapping[str, str]) -> dict[str, str]:
    """``NAME=value`` texts, and ``NAME`` from here, as in ``docker run``."""
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name:
            raise Misuse(f"Cannot set a variable: {each!r} has no name. Write NAME=value.")
        if equals:
            found[name] = value
        elif name in inherited:
            found[name] = inherited[name]
    return found


#: What ``Location.run`` hands on to spawn_container.
RUN_OPTIONS: Final = frozenset(
    {
        *("env", "volumes", "pre_boot_files", "tag", "name", "cpu", "memory", "pids", "user"),
        *("workdir", "hostname", "network", "labels", "pull", "read_only", "entrypoint"),
        *("capabilities", "new_privileges", *flags.RunFlags.__annotations__),
        *("runtime_class", "node_selector", "tolerations", "pull_secrets", "gpus"),
    }
)
