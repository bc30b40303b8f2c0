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
    # As it ends, and while it and its keeper wait to be reaped, nothing that was used is unused.
    used = during
    while (now := agent.sample()).integer(Tag.PIDS) > before.integer(Tag.PIDS):
        for tag in (Tag.CPU, Tag.READ, Tag.WRITTEN):
            assert now.integer(tag) >= used.integer(tag), tag
        used = now
    process.wait_gone()
    assert agent.sample().integer(Tag.CPU) >= used.integer(Tag.CPU)


def test_written_bytes(plain: Agent, tmp_path: Path) -> None:
    """Of those that have ended, too: the second's come on top of the first's."""

    def after(name: str) -> int:
        process = plain.sh(f"head -c 3000000 /dev/zero > {tmp_path}/{name}; echo ok; read x")
        process.until_out(b"ok")
        written = plain.sample().integer(Tag.WRITTEN)
        process.close_stdin()
        process.wait_gone()
        until(lambda: not plain.sample().integer(Tag.PIDS))
        assert (tmp_path / name).stat().st_size == 3000000
        assert plain.sample().integer(Tag.WRITTEN) >= written
        return written

    before = plain.sample().integer(Tag.WRITTEN)
    first = after("one") - before  # nothing, where the file is in memory
    assert first >= 0
    assert after("two") - before >= first + (3000000 if first else 0)
