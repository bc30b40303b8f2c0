"""Merge patches (RFC 7386), JSON patches (RFC 6902), and lists merged by what names their items."""

from __future__ import annotations

from typing import Any

from apiserver.objects.refusals import Object, Refusal

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
#: What names an item of a list, in a strategic patch.
_NAMES = {
    "containers": "name",
    "volumes": "name",
    "env": "name",
    "conditions": "type",
    "volumeMounts": "mountPath",
    "ownerReferences": "uid",
}


def unsupported() -> Refusal:
    return Refusal(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


def patched(it: Object, patch: Any, kind: str) -> Object:
    """The object with the patch in it."""
    if kind == JSON:
        return _operations(it, patch)
    if kind in (MERGE, STRATEGIC, APPLY):
        made = _merged(it, patch, strategic=kind != MERGE)
        assert isinstance(made, dict)
        return made
    raise unsupported()


def _merged(it: Any, patch: Any, *, strategic: bool, key: str = "") -> Any:
    if strategic and isinstance(patch, list) and isinstance(it, list) and key in _NAMES:
        name = _NAMES[key]
        held = {each[name]: each for each in it}
        for each in patch:
            old = held.get(each[name], {})
            held[each[name]] = _merged(old, each, strategic=True)
        return [*held.values()]
    if not isinstance(patch, dict):
        return patch
    made = dict(it) if isinstance(it, dict) else {}
    for word, value in patch.items():
        if value is None:
            made.pop(word, None)
        else:
            made[word] = _merged(made.get(word), value, strategic=strategic, key=word)
    # What a server leaves out when it is empty.
    return {k: v for k, v in made.items() if not (v == {} and k in ("labels", "annotations"))}


def _operations(it: Object, patch: list[Object]) -> Object:
    import copy

    made = copy.deepcopy(it)
    for step in patch:
        *way, last = [w.replace("~1", "/").replace("~0", "~") for w in step["path"].split("/")[1:]]
        at: Any = made
        for word in way:
            at = at[int(word)] if isinstance(at, list) else at.setdefault(word, {})
        if isinstance(at, list):
            place = len(at) if last == "-" else int(last)
            if step["op"] == "add":
                at.insert(place, step["value"])
            elif step["op"] == "remove":
                del at[place]
            else:
                at[place] = step["value"]
        elif step["op"] == "remove":
            if last not in at:
                message = "the server rejected our request due to an error in our request"
                raise Refusal(422, "Invalid", message, {})
            del at[last]
        else:
            at[last] = step["value"]
    return made
