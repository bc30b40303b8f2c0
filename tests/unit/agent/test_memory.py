"""What an agent asks of its allocator."""

import subprocess
import sys

FAULTS = """
import resource, sys
from tfnz_notebook.agent.__main__ import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def pieces(count):
    for _ in range(count):
        several = [bytes(262_000) for _ in range(4)]
        del several
pieces(10)
before = faults()
pieces(200)
print(faults() - before)
"""


def faults(how: str) -> int:
    """Pages that the system had to find while 200 MiB came and went, four pieces at a time."""
    told = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    return int(told.stdout)


def test_memory_of_a_piece_is_there_for_the_next() -> None:
    assert faults("kept") < 100 < 5000 < faults("given back")
