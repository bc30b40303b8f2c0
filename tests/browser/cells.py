"""Cells that tests begin with."""

LOAD = "%load_ext tfnz_notebook"


def spawn(image: str = "debian", name: str = "box") -> str:
    """A sleeping container in a variable; nothing is shown. It starts sooner without a network."""
    return (
        f"{LOAD}\n"
        "from tfnz_notebook.location import Location\n"
        "location = Location()\n"
        f"{name} = location.best_node().spawn_container(\n"
        f"    {image!r}, sleep=True, network='none')\n"
        f"{name}.wait_until_ready();"
    )


#: Holds the interpreter, but lets other threads have their turns.
BUSY = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: sum(range(999))"
#: Waits in C without the interpreter.
ASLEEP = "import time; time.sleep(20)"
#: A C call that keeps the interpreter to itself: no thread of the kernel runs.
HELD = "import ctypes; ctypes.PyDLL(None).sleep(8)"
