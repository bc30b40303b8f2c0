"""What happens in a forked child."""

import os
import warnings
from collections.abc import Callable


def in_a_child(work: Callable[[], object]) -> str:
    """What it returns there, or raises."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking with threads
        child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            said = repr(work())
        except BaseException as error:  # noqa: BLE001  # it is told of
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(write, said.encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer
