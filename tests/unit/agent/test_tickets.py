"""Tickets, and the secret behind them."""

from __future__ import annotations

import os

import pytest

from tfnz_notebook.agent.door.tickets import Tickets, kept_secret
from tfnz_notebook.errors import AgentError

ONE, OTHER = "1" * 32, "2" * 32


def test_a_ticket_is_good_for_one_process_of_one_agent():
    tickets, stranger = Tickets(b"a" * 32), Tickets(b"b" * 32)
    ticket = tickets.issue(ONE)
    assert ticket == tickets.issue(ONE)
    assert len(ticket) == 64
    assert tickets.good(ONE, ticket)
    assert not tickets.good(OTHER, ticket)
    assert not stranger.good(ONE, ticket)


@pytest.mark.parametrize("wrong", ["", "0" * 64, "x", "\udcff" * 64, "é" * 64])
def test_what_is_no_ticket(wrong):
    tickets = Tickets(b"a" * 32)
    assert not tickets.good(ONE, wrong)
    assert not tickets.good(ONE, tickets.issue(ONE)[:-1] + wrong[:1])
    assert not tickets.good(wrong, tickets.issue(ONE))


def test_tickets_of_before_stay_good(tmp_path):
    before, now = tmp_path / "docker", tmp_path / "docker-1a2b3c4d"
    secret = kept_secret(before)
    assert kept_secret(now, before) == secret
    before.unlink()
    assert kept_secret(now, before) == secret
    assert now.stat().st_mode & 0o777 == 0o600
    assert kept_secret(tmp_path / "other", before) != secret, "there is none to go on with"


def test_the_secret_is_made_once_and_is_nobody_elses(tmp_path):
    path = tmp_path / "state" / "secrets" / "podman"
    secret = kept_secret(path)
    assert len(secret) == 32
    assert kept_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["podman"]
    assert kept_secret(path.with_name("docker")) != secret


def test_a_piece_of_a_secret_is_replaced(tmp_path):
    path = tmp_path / "podman"
    path.write_bytes(b"short")
    path.chmod(0o600)
    (tmp_path / f"podman.{os.getpid()}").write_bytes(b"of an agent that died here")
    secret = kept_secret(path)
    assert len(secret) == 32
    assert kept_secret(path) == secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_a_secret_that_others_may_know_is_refused(tmp_path, mode):
    path = tmp_path / "podman"
    kept_secret(path)
    path.chmod(mode)
    with pytest.raises(AgentError, match="Remove it"):
        kept_secret(path)


def test_a_link_is_no_secret(tmp_path):
    kept_secret(tmp_path / "elsewhere")
    (tmp_path / "podman").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AgentError, match="Remove it"):
        kept_secret(tmp_path / "podman")


@pytest.mark.parametrize("room", [0, 5])
def test_a_full_disk_leaves_no_piece_of_it(tmp_path, monkeypatch, room):
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:room])

    path = tmp_path / "podman"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left on device"):
            kept_secret(path)
    assert not list(tmp_path.iterdir())
    assert len(kept_secret(path)) == 32
