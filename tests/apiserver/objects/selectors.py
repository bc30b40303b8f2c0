"""Label and field selectors, as queries have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from apiserver.objects.refusals import Object, bad_request

Test = Callable[[Object], bool]
_REQUIREMENT: Final = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<gone>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*(?:,|$)"
)


def labels(text: str) -> Test:
    """``a=b,c!=d,e in (f,g),h,!i``."""
    tests: list[Callable[[Mapping[str, str]], bool]] = []
    at = 0
    while at < len(text):
        found = _REQUIREMENT.match(text, at)
        if found is None or found.end() == at:
            raise bad_request("found '=', expected: ',' or 'end of string'")
        at = found.end()
        tests.append(_requirement(found))
    return lambda it: all(test(it["metadata"].get("labels") or {}) for test in tests)


def _requirement(found: re.Match[str]) -> Callable[[Mapping[str, str]], bool]:
    key = found["gone"] or found["key"]
    if found["absent"]:
        return lambda has: key not in has
    if found["op"]:
        value = found["value"]
        if found["op"] == "!=":
            return lambda has: has.get(key) != value
        return lambda has: has.get(key) == value
    if found["set"]:
        values = {value.strip() for value in found["values"].split(",")}
        if found["set"] == "in":
            return lambda has: has.get(key) in values
        return lambda has: has.get(key) not in values
    return lambda has: key in has


def matching(selector: Object | None) -> Test:
    """A ``LabelSelector`` inside an object; none matches nothing, an empty one everything."""
    if selector is None:
        return lambda it: False
    wanted = selector.get("matchLabels") or {}
    more = selector.get("matchExpressions") or []

    def test(it: Object) -> bool:
        has = it["metadata"].get("labels") or {}
        return all(has.get(k) == v for k, v in wanted.items()) and all(
            expression(each, has.get(each["key"])) for each in more
        )

    return test


def expression(it: Object, value: str | None) -> bool:
    """One of ``matchExpressions``, for the value there is."""
    values = it.get("values") or []
    match it["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(values[0])
        case "Lt":
            return value is not None and int(value) < int(values[0])
    return False


def unknown_field(key: str, known: tuple[str, ...]) -> str:
    if known:
        return f"field label not supported: {key}"
    only = '"metadata.name", "metadata.namespace"'
    return f'"{key}" is not a known field selector: only {only}'


def fields(text: str, known: tuple[str, ...]) -> Test:
    """``metadata.name=x,status.phase!=Running``; only those that the resource knows."""
    tests: list[Test] = []
    for each in filter(None, text.split(",")):
        key, unlike, value = each.partition("!=") if "!=" in each else each.partition("=")
        value = value.removeprefix("=")
        if key not in ("metadata.name", "metadata.namespace", *known):
            raise bad_request(unknown_field(key, known))
        tests.append(
            lambda it, key=key, value=value, differs=unlike == "!=": (  # type: ignore[misc]
                (str(_at(it, key)) != value) is differs
            )
        )
    return lambda it: all(test(it) for test in tests)


def _at(it: Any, path: str) -> Any:
    for word in path.split("."):
        it = (it or {}).get(word)
    return "" if it is None else it
