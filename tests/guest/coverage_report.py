"""What gcov counted: missed lines by file, and a percentage that must not fall.

``coverage_report.py DIRECTORY MINIMUM`` reads the ``*.gcov`` files there.
"""

from __future__ import annotations

import sys
from pathlib import Path


def ranges(numbers: list[int]) -> str:
    """1, 2, 3, 7 → 1-3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def main(directory: Path, minimum: float) -> int:
    counted = hit = 0
    for report in sorted(directory.glob("*.c.gcov")):
        missed, lines = [], 0
        for line in report.read_text(errors="replace").splitlines():
            count, number, *_ = line.split(":", 2)
            if count.strip() == "-" or int(number) == 0:
                continue
            lines += 1
            if "#####" in count or "=====" in count:
                missed.append(int(number))
        counted += lines
        hit += lines - len(missed)
        share = 100 * (lines - len(missed)) / max(lines, 1)
        print(f"{report.name[:-5]:14} {share:5.1f} %  missed: {ranges(missed) or '-'}")
    share = 100 * hit / max(counted, 1)
    print(f"{'all':14} {share:5.1f} %  {hit} of {counted} lines, at least {minimum} % are due")
    return 0 if counted and share >= minimum else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
