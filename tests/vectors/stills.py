"""Writes stills.json: what stays of some rows, and the templates of it; ``python stills.py``.

It is written by the half that is Python, and read by the tests of both.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from tfnz_notebook.widgets.saved import frozen
from tfnz_notebook.widgets.saved.ansi import Span, Style
from tfnz_notebook.widgets.status import Status

LOOKS: Final[list[dict[str, Any]]] = [
    *({"fg": n} for n in (0, 1, 9, 16, 110, 255)),
    *({"fg": n, "bg": m} for n, m in ((0, 2), (15, 4), (200, 11))),
    *({"bg": n} for n in (1, 15, 240)),
    *({"inverse": True, **more} for more in ({}, {"fg": 3}, {"bg": 5}, {"fg": 2, "bg": 7})),
    {"fg": "#010203", "bg": "#fefdfc"},
    {"bold": True, "dim": True, "italic": True, "underline": True, "strike": True},
    {"hidden": True, "fg": 1},
    {"strike": True},
]
ROWS: Final[list[dict[str, Any]]] = [
    {"rows": [], "state": "starting"},
    {"rows": [], "used": 3},
    {"rows": [[[["<b>&\"' a", {}]], False], [[], False], [[["oops", {"fg": 1}]], True]]},
    {"rows": [[[], False], [[["after an empty line", {}]], False]], "above": 5000, "gone": 1},
    {"rows": [[[[f"look {n}", look] for n, look in enumerate(LOOKS)], False]], "used": 7},
    {"rows": [[[["漢字 🎉", {"bold": True}]], True]] * 3, "tall": 2, "state": "bad"},
    # What is too long: many rows of [how many, how often its text], and what is left by its hash.
    {"many": [2600, 4]},
    {"many": [1, 12000], "above": 7},
    {"many": [180, 10]},
]
LONG: Final = 8000


def rows_of(case: dict[str, Any]) -> list[Any]:
    """Its rows: [spans, whether it is stderr]."""
    if "many" not in case:
        return list(case["rows"])
    count, often = case["many"]
    return [[[[f"row {n} & " * often, {"fg": n % 20}]], n % 3 == 0] for n in range(count)]


def short(text: str) -> str:
    """It, or its length and hash."""
    if len(text) <= LONG:
        return text
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}"


def style(told: dict[str, Any]) -> Style:
    def colour(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(int(value[at : at + 2], 16) for at in (1, 3, 5))

    return Style(**{name: colour(value) for name, value in told.items()})


def still(case: dict[str, Any]) -> dict[str, str]:
    """The text and the HTML of a case."""
    rows = [
        frozen.Row([Span(text, style(look)) for text, look in spans], stderr)
        for spans, stderr in rows_of(case)
    ]
    status = Status(case["state"], case["words"], case["facts"])
    above, gone = case["above"], case["gone"]
    said = f"{case['called']} · {status}"
    return {
        "text": short(frozen.plain(rows, above, said, gone=gone)),
        "html": short(
            frozen.markup(
                rows,
                above,
                status,
                title=case["title"],
                tall=case["tall"],
                gone=gone,
                used=case["used"],
            )
        ),
    }


def cases() -> list[dict[str, Any]]:
    words = {"words": "exit 0", "facts": "8 B", "title": "sh -c '<x> & y'", "called": "sh in box"}
    common = {"above": 0, "gone": 0, "tall": 20, "used": None, "state": "ok", **words}
    return [{**common, **case} for case in ROWS]


if __name__ == "__main__":
    made = {
        "templates": frozen.TEMPLATES,
        "cases": [{**case, **still(case)} for case in cases()],
    }
    path = Path(__file__).with_name("stills.json")
    path.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
