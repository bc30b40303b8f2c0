"""SAMPLE: what the container uses."""

from __future__ import annotations

import time
from pathlib import Path

from guest.harness import Agent, until

from tfnz_notebook._wire.guest import Tag


def test_a_sample_of_a_tree(agent: Agent) -> None:
    """Not PID 1 of a container: summed over the guest's own descendants."""
    before = agent.sample()
    assert abs(before.integer(Tag.CLOCK) - time.time_ns()) < 60e9
    process = agent.sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; read x")
    process.until_out(b"done")
    during = agent.sample()
    assert during.integer(Tag.CLOCK) > before.integer(Tag.CLOCK)
    assert during.integer(Tag.PIDS) == before.integer(Tag.PIDS) + 2  # with its keeper
    assert during.integer(Tag.MEMORY) > before.integer(Tag.MEMORY)
    assert during.integer(Tag.CPU) > before.integer(Tag.CPU) + 10_000
    tags = {tag for tag, _ in during.fields}
    assert {Tag.READ, Tag.WRITTEN} <= tags
    assert Tag.RECEIVED not in tags, "the machine's network is not ours"
    process.close_stdin()
    process.wait_gone()
    # Its keeper counts once it is reaped, which is a moment after GONE.
    until(lambda: agent.sample().integer(Tag.PIDS) == before.integer(Tag.PIDS))
    assert agent.sample().integer(Tag.CPU) >= during.integer(Tag.CPU)


def test_written_bytes(plain: Agent, tmp_path: Path) -> None:
    before = plain.sample().integer(Tag.WRITTEN)
    process = plain.sh(f"head -c 3000000 /dev/zero > {tmp_path}/file; sync; echo ok; read x")
    process.until_out(b"ok")
    assert plain.sample().integer(Tag.WRITTEN) >= before
    assert (tmp_path / "file").stat().st_size == 3000000
