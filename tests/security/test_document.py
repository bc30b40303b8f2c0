"""docs/security.md claims nothing that no test holds: those that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"(?P<file>[\w/.]*\btest_\w+\.py|…)(?:::(?P<test>test_\w+)(?P<more>…)?)?")


def test_every_test_it_names_is_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    source, count = "", 0
    for found in NAMED.finditer(text):
        if found["file"] != "…":
            path = (
                ROOT / found["file"]
                if "/" in found["file"]
                else Path(__file__).with_name(found["file"])
            )
            assert path.is_file(), found[0]
            source = path.read_text()
        if found["test"]:
            ending = "" if found["more"] else r"\("
            assert re.search(rf"def {found['test']}{ending}", source), found[0]
            count += 1
    assert count > 15
