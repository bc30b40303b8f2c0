"""Why a main process did not start: read from the last line that its guest wrote."""

import pytest

from tfnz_notebook._wire.starts import forbidden, noted

SAID = b"what a program wrote before\ntfnz-guest: cannot start "


@pytest.mark.parametrize(
    ("line", "told", "stage"),
    [
        (
            b"/no/such: No such file or directory (exec)",
            "run '/no/such': it is not in the container (127; No such file or directory). ",
            "exec",
        ),
        (
            b"a: b (c): Permission denied (exec)",
            "run 'a: b (c)': it is there but not executable (126; Permission denied). ",
            "exec",
        ),
        (
            b"sleep: Permission denied (cwd /srv/x (1))",
            "run in '/srv/x (1)': its user may not enter that directory. ",
            "cwd",
        ),
        (
            b"sleep: Permission denied (cwd)",  # of a guest that does not say which
            "run 'sleep' in its directory: its user may not enter that directory. Name another one",
            "cwd",
        ),
        (
            b"sleep: No such file or directory (user nobody-here)",
            "run as user 'nobody-here': the container does not know it. ",
            "user",
        ),
        (b"sh: Too many open files (fork)", "start 'sh': fork: Too many open files.", "fork"),
    ],
)
def test_its_reason_and_remedy(line: bytes, told: str, stage: str) -> None:
    why = noted(SAID + line + b"\n")
    assert why is not None
    assert str(why).startswith(told) and why.stage == stage


@pytest.mark.parametrize(
    "log",
    [
        b"",
        b"tfnz-guest: cannot start",
        b"tfnz-guest: cannot start x: y (exec)\nand then it said more\n",
        b"cannot start x: No such file or directory (exec)\n",
        b"tfnz-guest: cannot start x: No such file or directory (elsewhere)\n",
    ],
)
def test_other_last_words_are_a_programs_own(log: bytes) -> None:
    assert noted(log) is None


def test_who_wants_new_privileges_is_told_how() -> None:
    said = b'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.'
    assert "new_privileges=True" in forbidden(said)
    assert forbidden(b"sudo: a password is required") == ""
