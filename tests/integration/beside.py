"""Something that goes on in a thread beside what a test does."""

import threading
from typing import Self


class Beside:
    """Calls :meth:`look` every ``period`` seconds, as long as the block lasts."""

    period: float

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self.period):
            self.look()

    def look(self) -> None:
        raise NotImplementedError
