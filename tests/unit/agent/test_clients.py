"""What the agent keeps for a client, and for how long."""

import pytest
from unit.agent.live import container, live_agent, process, until


class Sink:
    """Takes one stream."""

    def __init__(self) -> None:
        self.ended = False

    def data(self, offset: int, payload: bytes) -> None: ...
    def eof(self, offset: int) -> None:
        self.ended = True

    def broken(self, error: Exception, final: bool) -> None: ...
    def mended(self) -> None: ...
    def begins(self) -> None: ...


async def test_a_reader_that_has_ended_keeps_nothing(monkeypatch: pytest.MonkeyPatch):
    """A kernel says no word of readers that have ended; an hour's would hold an hour's logs."""
    async with live_agent(monkeypatch) as agent:
        kernel = await agent.kernel()
        box = await container(kernel)
        ident, _ = await process(kernel, box, "count", "50")
        sink = Sink()
        number = kernel.reader(sink)
        body = {"reader": number, "process": ident, "stream": 1, "offset": 0, "credit": 1 << 20}
        await kernel.request("reader.open", body)
        (client,) = agent.service.server.clients.values()
        outputs = agent.service.sessions.anywhere(ident)[1].outputs
        await until(lambda: sink.ended)
        assert number not in client.readers
        assert not outputs[0]._readers
        kernel.note("credit", {"reader": number, "upto": 2 << 20})
        await kernel.request("ping", {})  # it is still there
