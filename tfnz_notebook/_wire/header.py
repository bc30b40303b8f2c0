"""Print ``_guest/protocol.h``: the tables of ``guest.py`` for C.

Run by the guest's Makefile; a test holds the committed file to the output.
"""

from __future__ import annotations

import sys
from enum import IntEnum

from tfnz_notebook._wire import guest

_NUMBERS = (
    "VERSION",
    "VERSION_MIN",
    "MAX_PAYLOAD",
    "MAX_DATA",
    "WINDOW_OUT",
    "WINDOW_TTY",
    "WINDOW_IN",
    "WINDOW_WIDE",
    "MAX_CHANNELS",
    "MAX_META",
    "MAX_ARGUMENTS",
    "MAIN",
)


def text() -> str:
    """The whole header."""
    lines = [
        "/* Made from tfnz_notebook/_wire/guest.py by `python -m tfnz_notebook._wire.header`. */",
        "#ifndef TFNZ_PROTOCOL_H",
        "#define TFNZ_PROTOCOL_H",
        "",
    ]
    lines += [f"#define {name} {getattr(guest, name)}" for name in _NUMBERS]
    tables: list[tuple[str, type[IntEnum]]] = [
        ("T", guest.Type),
        ("S", guest.Stream),
        ("TARGET", guest.Target),
        ("REASON", guest.Reason),
    ]
    for prefix, table in tables:
        lines += ["", f"enum {table.__name__.lower()}_e {{"]
        lines += [f"    {prefix}_{member.name} = {member.value}," for member in table]
        lines.append("};")
    lines += ["", "enum tag_e {"]
    lines += [f"    TAG_{tag.name} = {tag.value}," for tag in guest.Tag]
    lines += [f"    TAG_LAST = {max(guest.Tag)},"]
    integers = sum(1 << tag for tag in guest.INTEGERS)
    lines += ["};", "", "/* Bit n: tag n is known, and its value is an integer. */"]
    lines += [f"#define TAGS_OF_INTEGERS {integers:#x}ull", "", "enum flag_e {"]
    lines += [f"    FLAG_{flag.name} = {flag.value}," for flag in guest.Flag]
    lines += ["};", "", "enum feature_e {"]
    lines += [f"    FEATURE_{feature.name} = {feature.value}," for feature in guest.Feature]
    lines += ["};", "", "#endif"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
