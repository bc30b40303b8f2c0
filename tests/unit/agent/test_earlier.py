"""A kernel of 0.1, with ZeroMQ itself, at the socket of this machine: it is told what to do."""

import msgpack
import pytest
import zmq
import zmq.asyncio
from unit.agent.live import NAME, live_agent

from tfnz_notebook._base import paths


async def test_it_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async with live_agent(monkeypatch) as agent:
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.connect(f"ipc://{paths.socket(agent.runtime, NAME)}")
            for number, long in ((1, 1), (2, 300)):  # frames with sizes of either kind
                hello = {"version": 2, "version_min": 1, "package": "0.1.0", "client": "c"}
                hello["new"] = "x" * long
                await dealer.send(msgpack.packb([0, number, "hello", hello]))
                kind, ident, _, body = msgpack.unpackb(await dealer.recv())
                assert (kind, ident) == (2, number)
                assert "0.1.0" in body["message"] and "Install the same version" in body["message"]
            await dealer.send_multipart([msgpack.packb([0, 3, "ping", {}]), bytes(100_000)])
            assert msgpack.unpackb(await dealer.recv())[0] == 2
