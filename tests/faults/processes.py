"""What a process of this machine uses, from /proc."""

from pathlib import Path

from integration.beside import Beside

MIB = 1 << 20


def memory(pid: int) -> int:
    """Bytes of its resident set; 0 once it has ended."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most bytes that its resident set ever had; 0 once it has ended."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) << 10
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def descriptors(pid: int) -> int:
    """How many files it has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    """How many threads it has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


class Sampled(Beside):
    """Reads a process's memory twice a second, beside what the test does: ``with Sampled(pid)``."""

    period = 0.5

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid
        self.series: list[int] = []

    def look(self) -> None:
        self.series.append(memory(self._pid))

    def growth(self) -> int:
        """Bytes by which the last quarter's mean exceeds the second quarter's."""
        quarter = len(self.series) // 4
        assert quarter, "it was watched for too short a time"
        second, last = self.series[quarter : 2 * quarter], self.series[-quarter:]
        return sum(last) // quarter - sum(second) // quarter
