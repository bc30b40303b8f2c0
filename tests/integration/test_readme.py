"""The README's ten lines, as a real script."""

import re
from pathlib import Path

import pytest
from integration.scripts import run
from integration.world import World

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def ten_lines() -> str:
    """Of the Python blocks, the one without magics."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (code,) = [block for block in blocks if "%tf_" not in block]
    return str(code)


@pytest.mark.engines("podman", "docker", each=True)
def test_the_ten_lines_do_what_they_say(world: World, where: str) -> None:
    assert len([line for line in ten_lines().splitlines() if line.strip()]) <= 13
    output = run(world, ten_lines(), TFNZ_LOCATION=where)
    assert re.search(r"^[1-9]\d+ bytes$", output, re.MULTILINE), output
    assert re.search(r'"GET / HTTP/1\.\d" 200', output), output
    assert re.search(r"^/etc/nginx\n[1-9]\d*$", output, re.MULTILINE), output
    assert "test is successful" in output
