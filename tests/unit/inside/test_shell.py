"""The shell that goes into containers: those of this machine, in no container."""

import shutil
from collections.abc import Iterator

import pytest
from unit.inside.driven import Driven, stopped

SHELLS = {"bash": ["bash"], "dash": ["dash"], "busybox": ["busybox", "sh"]}


@pytest.fixture(scope="module", params=list(SHELLS))
def shell(request: pytest.FixtureRequest) -> Iterator[Driven]:
    argv = SHELLS[request.param]
    assert shutil.which(argv[0])
    code = Driven("bash")
    with code:
        program = code.program.argv[-1]
    with Driven("bash", [*argv, "-c", program]) as made:
        yield made


def test_directory_and_variables_stay(shell: Driven) -> None:
    text, done = shell.run("cd /tmp\nx='a  b'\necho one; echo two >&2")
    assert (text, done["code"]) == (b"one\ntwo\n", 0)
    text, done = shell.run('pwd; echo "$x"; false')
    assert (text, done["code"]) == (b"/tmp\na  b\n", 1)


def test_cells_are_taken_as_they_are(shell: Driven) -> None:
    for code, text in (
        ("printf '%s\\n' \"a\\\\b\"  'c$d`e'", b"a\\b\nc$d`e\n"),
        ("cat <<'EOF'\n  $x `y` \\z\nTFNZ\nEOF", b"  $x `y` \\z\nTFNZ\n"),
        ("cat; echo no input", b"no input\n"),
        ("if true\nthen\n  echo é\nfi", "é\n".encode()),
        ("", b""),
        ("\n\n# a comment", b""),
    ):
        assert shell.run(code)[0] == text, code
    text, done = shell.run("for i in")
    assert b"yntax error" in text
    assert done["code"] != 0
    assert shell.run("echo it lives")[0] == b"it lives\n"


def test_an_interrupt_ends_the_cell(shell: Driven) -> None:
    for code in (
        *["y=kept; echo now; while :; do :; done; echo never"] * 8,  # one time in ten dash forgot
        "sh -c 'echo now; exec sleep 60'; echo never",
        "f() { sh -c 'echo now; exec sleep 60'; }; f",
    ):
        text, done = shell.run(code, when=stopped(shell, b"now"))
        assert (text, done["code"]) == (b"now\n", 130)
    assert shell.run("echo $y")[0] == b"kept\n"
    shell.interrupt()  # between cells: nobody's
    assert shell.run("echo $y")[0] == b"kept\n"


#: Cells that read, and what they say.
READS = (
    ("printf 'a  b c\\n' | { read -r x y; echo \"[$x|$y]\"; }", b"[a|b c]\n"),
    (
        "printf ' a:b\\\\c\\n' | { IFS=: read -r x y z; printf %s \"$? [$x|$y|$z]\"; }",
        b"0 [ a|b\\c|]",
    ),
    ("printf ' a' | { IFS= read -r x; echo \"$? [$x]\"; }", b"1 [ a]\n"),
    ("printf '1\\n2\\n' | while read x; do printf \"$x,\"; done", b"1,2,"),
    ('f() { local x; read x; echo "$x"; }; x=5; printf "it\'s" | f; echo $x', b"it's\n5\n"),
    ("unset IFS; printf 'a b' | { read x y; echo \"$y\"; }", b"b\n"),
)


def test_cells_read(shell: Driven) -> None:
    """As they did, after a signal that has a trap; and where another sh reads for them."""
    signalled = "trap : USR1; kill -USR1 $$\n{}"
    for form in ("{}", '(eval "$tfnz_reads"\n{}\n)', signalled, "{}"):
        for code, text in READS:
            assert shell.run(form.format(code))[0] == text, (form, code)


def test_what_it_starts_has_neither_questions_nor_answers(shell: Driven) -> None:
    text, _ = shell.run("ls /proc/self/fd/8 /proc/self/fd/9 2>/dev/null; echo .")
    assert text == b".\n"


def test_exit_is_its_end() -> None:
    with Driven("bash") as shell:
        shell.finish(shell.start("echo bye; exit 3"))
        assert shell.process.wait(10) == 3
