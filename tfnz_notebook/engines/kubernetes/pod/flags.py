"""The flags of ``docker run`` in a pod: those that a cluster has a counterpart for. Pure code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tfnz_notebook.errors import Misuse

Said = dict[str, Any]

#: What is so anyway, or is not the cluster's to do: a guest reaps, and checks health.
_ANYWAY: Final = frozenset(
    {"expose", "init", "no_healthcheck"}
    | {f"health_{each}" for each in ("cmd", "interval", "retries", "timeout")}
    | {f"health_start_{each}" for each in ("interval", "period")}
)
HONOURED: Final = _ANYWAY | {
    *("add_host", "cap_drop", "dns", "dns_option", "dns_search", "gpus", "privileged"),
    *("shm_size", "stop_timeout", "sysctl", "tmpfs"),
}


def check(flags: Mapping[str, Any]) -> None:
    """Misuse for values that a pod cannot have."""
    gpus = flags.get("gpus")
    if gpus is not None and gpus["count"] < 1:
        raise Misuse(
            "Cannot honour --gpus (gpus=) by name, or all of them, on Kubernetes: a pod gets a "
            "number of them. Write --gpus 1."
        )
    for path, options in flags.get("tmpfs", {}).items():
        if options and not (options.startswith("size=") and "," not in options):
            raise Misuse(
                f"Cannot honour --tmpfs (tmpfs=) {path}:{options} on Kubernetes: a pod's has a "
                "size, and nothing else. Leave the other options out."
            )


def apply(flags: Mapping[str, Any], pod: Said, container: Said) -> None:
    """Put them into a pod's spec and its container's."""
    memory = {path: told.partition("=")[2] for path, told in flags.get("tmpfs", {}).items()}
    if "shm_size" in flags:
        memory["/dev/shm"] = str(flags["shm_size"])  # noqa: S108  # of the container
    for number, (path, size) in enumerate(memory.items()):
        name, limit = f"memory{number}", {"sizeLimit": _quantity(size)} if size else {}
        pod["volumes"].append({"name": name, "emptyDir": {"medium": "Memory", **limit}})
        container["volumeMounts"].append({"name": name, "mountPath": path})
    if "add_host" in flags:
        split = (each.partition(":") for each in flags["add_host"])
        pod["hostAliases"] = [{"ip": ip, "hostnames": [name]} for name, _, ip in split]
    options = (each.partition(":") for each in flags.get("dns_option", ()))
    dns = {
        "nameservers": flags.get("dns"),
        "searches": flags.get("dns_search"),
        "options": [{"name": n, **({"value": v} if v else {})} for n, _, v in options],
    }
    if told := {key: value for key, value in dns.items() if value}:
        pod["dnsConfig"] = told
        if "nameservers" in told:
            pod["dnsPolicy"] = "None"
    if "sysctl" in flags:
        pairs = flags["sysctl"].items()
        pod["securityContext"]["sysctls"] = [{"name": n, "value": v} for n, v in pairs]
    if "stop_timeout" in flags:
        pod["terminationGracePeriodSeconds"] = max(0, flags["stop_timeout"])
    if "gpus" in flags:
        kind = f"{flags['gpus']['driver'] or 'nvidia'}.com/gpu"
        limits = container.setdefault("resources", {}).setdefault("limits", {})
        limits[kind] = str(flags["gpus"]["count"])
    security = container["securityContext"]
    if flags.get("privileged"):
        security |= {"privileged": True, "allowPrivilegeEscalation": True}
    if "cap_drop" in flags:
        capabilities = security.setdefault("capabilities", {})
        capabilities["drop"] = [*capabilities.get("drop", ()), *flags["cap_drop"]]


def _quantity(size: str) -> str:
    """Docker's ``64m`` as Kubernetes writes it."""
    unit = size[-1:].lower()
    return f"{size[:-1]}{unit.upper() if unit != 'k' else 'K'}i" if unit in "kmgt" else size
