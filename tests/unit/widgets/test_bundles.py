"""What each view costs a page: its bundle is sent once a kernel."""

import re
from importlib import resources

import pytest

STATIC = resources.files("tfnz_notebook.widgets") / "static"
BUDGETS = {"output": 53_000, "shell": 402_000, "plot": 102_000, "explorer": 52_000, "page": 12_000}


@pytest.mark.parametrize("kind", BUDGETS)
def test_a_bundle_is_there_and_within_its_budget(kind: str) -> None:
    code = (STATIC / f"{kind}.js").read_bytes()
    assert 1_000 < len(code) <= BUDGETS[kind]


@pytest.mark.parametrize("kind", BUDGETS)
def test_a_bundle_stands_alone(kind: str) -> None:
    """A page may have no way to anywhere but its Jupyter server."""
    code = (STATIC / f"{kind}.js").read_text()
    assert not re.search(r"\bimport\s*[({\"*]|\bfrom\s*\"|sourceMappingURL|\bfetch\(", code)


def test_no_bundle_is_left_of_former_times() -> None:
    found = {each.name for each in STATIC.iterdir() if each.name.endswith(".js")}
    assert found == {f"{kind}.js" for kind in BUDGETS}
