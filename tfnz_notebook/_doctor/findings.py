"""What was found: one finding a thing, with what to do where something is amiss."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tfnz_notebook._base.text import one_line

State = Literal["ok", "note", "bad"]
_WIDTH = 96


@dataclass(frozen=True, slots=True)
class Finding:
    """``note``: works, but not as well as it could; ``bad``: does not. ``facts`` for programs."""

    topic: str
    state: State
    said: str
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    #: A text to copy, shown as it is.
    text: str = ""


def as_text(findings: list[Finding]) -> str:
    """For people: a line or two each, remedies below what they are for."""
    wide = max((len(each.topic) for each in findings), default=0)
    lines = []
    for each in findings:
        head = f"{each.state:<5} {each.topic:<{wide}}  "
        for mark, text in (("", each.said), ("→ ", each.remedy)):
            if text:
                before = " " * len(head) if mark else head
                lines += textwrap.wrap(
                    one_line(text, 1000),
                    _WIDTH,
                    initial_indent=before + mark,
                    subsequent_indent=" " * (len(head) + len(mark)),
                    break_long_words=False,
                    break_on_hyphens=False,
                )
        lines += ["", *each.text.splitlines(), ""] if each.text else []
    bad = sum(each.state == "bad" for each in findings)
    notes = sum(each.state == "note" for each in findings)
    if bad or notes:
        lines.append(f"\n{bad} to be mended, {notes} to be known.")
    else:
        lines.append("\nEverything is fine.")
    return "\n".join(lines)


def as_json(findings: list[Finding]) -> str:
    """For programs: ``{"ok": …, "findings": [{topic, state, said, remedy, facts}, …]}``."""
    told = {
        "ok": not any(each.state == "bad" for each in findings),
        "findings": [asdict(each) for each in findings],
    }
    return json.dumps(told, indent=2, default=str)
