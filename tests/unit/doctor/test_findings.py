"""A report is harmless on a terminal, and plain data for programs."""

import json

from tfnz_notebook._doctor.findings import Finding, as_json, as_text

HOSTILE = "evil\x1b]52;c;cm0gLXJm\x07\r\nok    engine  fine\u202e"


def test_text_says_each_thing_and_its_remedy() -> None:
    text = as_text(
        [
            Finding("podman", "ok", "4.3.1"),
            Finding("kernel", "note", "old " * 40, "pip install --upgrade ipykernel"),
            Finding("engine", "bad", "none", "sudo apt-get install podman"),
        ]
    )
    lines = text.splitlines()
    assert lines[0] == "ok    podman  4.3.1"
    assert max(map(len, lines)) <= 96
    assert "              → pip install --upgrade ipykernel" in lines
    assert lines[-1] == "1 to be mended, 1 to be known."
    assert as_text([Finding("a", "ok", "b")]).endswith("Everything is fine.")


def test_what_others_say_cannot_pose_as_the_report() -> None:
    text = as_text([Finding("docker", "note", HOSTILE, HOSTILE)])
    assert text.replace("\n", "").isprintable()
    assert not [line for line in text.splitlines() if line.startswith("ok")]
    assert len(as_text([Finding("docker", "note", "x" * 100_000)])) < 1100


def test_json() -> None:
    found = [Finding("docker", "note", HOSTILE, facts={"version": HOSTILE, "n": 1})]
    said = as_json(found)
    assert said.isascii()
    told = json.loads(said)
    assert told["ok"] is True
    assert told["findings"][0]["facts"] == {"version": HOSTILE, "n": 1}
    assert json.loads(as_json([Finding("a", "bad", "b")]))["ok"] is False
