"""Calls, lists and watches of an API server in its moods."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from unit.engines.kubernetes.serving import Answer, Asked, always, serving, status
from unit.engines.scripted import reply

from tfnz_notebook import errors
from tfnz_notebook.engines.kubernetes.api import Api, ApiError, Cluster, Gone410, Turns
from tfnz_notebook.engines.kubernetes.login.credentials import Material, Static
from tfnz_notebook.errors import EngineError, EngineGone, LocationError, NoEngine


def api(port: int, namespace: str = "ns") -> Api:
    return Api(Cluster("c", f"http://127.0.0.1:{port}", namespace))


def moods(*answers: bytes | None) -> Answer:
    """One after the other; the last for good."""
    left = list(answers)

    async def answer(asked: Asked) -> bytes | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


FINE = reply(200, {"fine": True})
BUSY = reply(429, status(429, "TooManyRequests", "too many"), "Retry-After: 0")


def test_paths() -> None:
    made = api(1)
    assert made.path("pods") == "/api/v1/namespaces/ns/pods"
    assert made.path("pods", "p", "exec") == "/api/v1/namespaces/ns/pods/p/exec"
    assert made.path("networkpolicies", group="networking.k8s.io") == (
        "/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies"
    )
    assert made.path("roles", "r", group="rbac.authorization.k8s.io") == (
        "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/roles/r"
    )


async def test_a_call() -> None:
    async with serving(always(200, {"fine": True})) as there:
        made = api(there.port)
        got = await made.call(
            "PATCH", "/x", query={"a": "b c"}, body=[1], kind="application/json-patch+json"
        )
        assert got == {"fine": True}
        (asked,) = there.asked
        assert (asked.method, asked.query, asked.json) == ("PATCH", {"a": "b c"}, [1])
        assert asked.headers["content-type"] == "application/json-patch+json"
        assert asked.headers["accept"] == "application/json"
        await made.close()


@pytest.mark.parametrize(
    ("answers", "method", "asked"),
    [
        ((BUSY, BUSY, FINE), "GET", 3),
        ((BUSY, FINE), "POST", 2),
        ((reply(503, status(503, "x", "y", retryAfterSeconds=0.01)), FINE), "POST", 2),
        ((reply(500, b"oh"), reply(502, b"oh"), FINE), "GET", 3),
        ((None, FINE), "GET", 2),
    ],
)  # fmt: skip
async def test_moods_are_waited_out(answers: tuple[Any, ...], method: str, asked: int) -> None:
    async with serving(moods(FINE, *answers)) as there:
        made = api(there.port)
        await made.call("GET", "/first")
        assert await made.call(method, "/x") == {"fine": True}
        assert len(there.asked) == asked + 1
        await made.close()


@pytest.mark.parametrize(
    ("answer", "method", "asked"),
    [
        (reply(500, b"oh"), "POST", 1),  # it may have been done
        (reply(500, b"oh"), "GET", 5),
        (reply(404, b"oh"), "GET", 1),
        (reply(429, b"", "Retry-After: 60"), "GET", 1),  # longer than there is time
        (None, "POST", 1),
    ],
)
async def test_moods_that_are_not(answer: bytes | None, method: str, asked: int) -> None:
    async with serving(moods(FINE, answer)) as there:
        made = api(there.port)
        await made.call("GET", "/first")
        with pytest.raises((ApiError, EngineGone)):
            await made.call(method, "/x", body={} if method == "POST" else None, timeout=20)
        assert len(there.asked) == asked + 1
        await made.close()


async def test_a_call_ends_in_time() -> None:
    async with serving(moods(BUSY)) as there:
        made = api(there.port)
        started = asyncio.get_running_loop().time()
        with pytest.raises(ApiError, match="too many. Try again later"):
            await made.call("GET", "/x", timeout=0.5)
        assert asyncio.get_running_loop().time() - started < 5
        await made.close()


async def test_a_server_that_comes_back() -> None:
    async with serving(always(200, {"fine": True})) as there:
        made, port = api(there.port), there.port
        await made.call("GET", "/x")
    asking = asyncio.ensure_future(made.call("POST", "/x", body={}))  # it never left: may be again
    await asyncio.sleep(0.2)
    server = await asyncio.start_server(_fine, "127.0.0.1", port)
    async with server:
        assert await asking == {"fine": True}
    await made.close()


async def _fine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(FINE)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (always(200, {"gitVersion": 7}), "no Kubernetes API server"),
        (always(200, {}), "no Kubernetes API server"),
        (always(403, status(403, "Forbidden", "no way")), r"refuses to say its version \(no way\)"),
        (always(302, b"", "Location: https://login.test"), "refuses"),
        (moods(None), "Cannot reach"),
    ],
)
async def test_who_is_no_api_server(answer: Answer, why: str) -> None:
    async with serving(answer) as there:
        with pytest.raises(NoEngine, match=why):
            await api(there.port).open()


@pytest.mark.parametrize("body", [b"[1]", b"<html>", b"", b"[" * 100_000, b"\xff"])
async def test_answers_that_are_none(body: bytes) -> None:
    async with serving(always(200, body)) as there:
        with pytest.raises(EngineGone, match="no JSON object"):
            await api(there.port).call("GET", "/x")


async def test_refusals_tell_and_are_bounded() -> None:
    causes = [{"reason": "r" * 9999, "message": "m" * 9999, "field": "f"}] * 99
    told = status(422, "Invalid", "n" * 99_999 + "\x1b[31m", name="p", kind="pods", causes=causes)
    async with serving(always(422, told)) as there:
        with pytest.raises(ApiError) as caught:
            await api(there.port).call("POST", "/api/v1/namespaces/ns/pods", body={})
    error = caught.value
    assert (error.status, error.reason, error.structured) == (422, "Invalid", True)
    assert str(error).startswith("Cannot create pods: nnn")
    assert str(error).endswith("Correct the arguments.")
    assert (error.details["name"], len(error.details["causes"])) == ("p", 10)
    assert len(json.dumps(errors.to_wire(error))) < 100_000
    # It crosses the link as what a kernel knows.
    again = errors.from_wire(errors.to_wire(error))
    assert type(again) is EngineError
    assert again.details["status"] == 422


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("GET", "/api/v1/namespaces/ns/pods/p/log", "read pods/log 'p'"),
        ("GET", "/api/v1/namespaces/ns", "read namespaces 'ns'"),
        ("DELETE", "/apis/rbac/v1/namespaces/ns/roles/x", "delete roles 'x'"),
        ("GET", "/api/v1/nodes", "read nodes"),
        ("GET", "/version", "read version"),
        ("OPTIONS", "/", "OPTIONS /"),
    ],
)  # fmt: skip
async def test_what_was_asked_is_in_the_sentence(method: str, path: str, said: str) -> None:
    async with serving(always(403, status(403, "Forbidden", "no."))) as there:
        with pytest.raises(ApiError, match=f"^Cannot {said}: no. Ask an administrator"):
            await api(there.port).call(method, path)


# --- lists ----------------------------------------------------------------------------------------


def page(names: str, token: str = "") -> bytes:
    items = [{"metadata": {"name": each}} for each in names]
    return reply(200, {"items": items, "metadata": {"continue": token}})


GONE = reply(410, status(410, "Expired", "too old"))


async def names(made: Api) -> str:
    return "".join([each["metadata"]["name"] async for each in made.pages("/x", {"l": "v"})])


async def test_pages() -> None:
    async with serving(moods(page("ab", "t1"), page("cd", "t2"), page("e"))) as there:
        made = api(there.port)
        assert await names(made) == "abcde"
        assert [each.query.get("continue") for each in there.asked] == [None, "t1", "t2"]
        assert {each.query["l"] for each in there.asked} == {"v"}
        await made.close()


async def test_a_list_that_expires_begins_anew() -> None:
    async with serving(moods(page("ab", "t1"), GONE, page("ab", "t2"), page("c"))) as there:
        made = api(there.port)
        assert await names(made) == "ababc"
        await made.close()
    async with serving(moods(page("a", "t"), GONE)) as there:
        made = api(there.port)
        with pytest.raises(Gone410):
            await names(made)
        await made.close()


# --- watches --------------------------------------------------------------------------------------


def event(kind: str, /, **thing: Any) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def watching(*parts: bytes, cut: bool = False) -> Answer:
    async def answer(asked: Asked) -> bytes | None:
        writer = asked.writer
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in parts:
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        return None if cut else b"0\r\n\r\n"

    return answer


async def seen(answer: Answer, version: str = "") -> list[tuple[str, dict[str, Any]]]:
    async with serving(answer) as there:
        made = api(there.port)
        try:
            return [each async for each in made.watch("/x", {"l": "v"}, version)]
        finally:
            await made.close()
            (asked,) = there.asked
            assert asked.query["watch"] == "1"
            assert asked.query["allowWatchBookmarks"] == "true"
            assert asked.query.get("resourceVersion", "") == version


EVENTS = event("ADDED", a=1) + event("BOOKMARK", b="ü") + event("DELETED", c=[])
TOLD = [("ADDED", {"a": 1}), ("BOOKMARK", {"b": "ü"}), ("DELETED", {"c": []})]


@pytest.mark.parametrize("cut", [False, True])
async def test_a_watch_ends_cleanly(cut: bool) -> None:
    assert await seen(watching(EVENTS, cut=cut), "7") == TOLD


async def test_any_split_of_a_watch_is_the_same() -> None:
    parts = [EVENTS[at : at + 1] for at in range(len(EVENTS))]
    assert await seen(watching(*parts)) == TOLD
    assert await seen(watching(EVENTS[:9], EVENTS[9:50], EVENTS[50:])) == TOLD


@pytest.mark.parametrize(
    "answer",
    [
        always(410, status(410, "Expired", "too old")),
        watching(event("ERROR", **json.loads(status(410, "Expired", "too old")))),
    ],
)
async def test_a_watch_that_is_too_old(answer: Answer) -> None:
    with pytest.raises(Gone410, match="too old. Ask again"):
        await seen(answer, "1")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (watching(event("ERROR", code=500, message="oh")), "oh"),
        (watching(b"[1]\n"), "no event"),
        (watching(b"[" * 100_000 + b"\n"), "no event"),
        (watching(b'{"type": 1, "object": {}}\n'), "no type"),
        (watching(*[bytes([120]) * (1 << 20)] * 17), "more than 16 MiB"),
    ],
)
async def test_watches_of_a_hostile_server(answer: Answer, why: str) -> None:
    with pytest.raises(EngineError, match=why):
        await seen(answer)


async def test_a_silent_watch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfnz_notebook.engines.kubernetes.api._SILENCE", 0.1)

    async def answer(asked: Asked) -> bytes | None:
        asked.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.Event().wait()
        return None

    assert await seen(answer) == []


async def test_who_leaves_a_watch_leaves_no_connection() -> None:
    left = asyncio.Event()

    async def answer(asked: Asked) -> bytes | None:
        asked.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        asked.writer.write(b"%x\r\n%s\r\n" % (len(EVENTS), EVENTS))
        await asked.reader.read()
        left.set()
        return None

    async with serving(answer) as there:
        made = api(there.port)
        watch = made.watch("/x")
        assert await anext(watch) == TOLD[0]
        await watch.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):
            await left.wait()


# --- secrets, and a server that wants them --------------------------------------------------------


async def test_a_token_is_in_no_log_error_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    secret = "a-very-secret-token"
    own = Static(token=Material(secret.encode()), user="u", password=secret)
    answers = (FINE, reply(401, b"no"), reply(403, b"no"), reply(200, b"<html>"), None)
    said = [repr(own), repr(Material(secret.encode()))]
    async with serving(moods(*answers)) as there:
        made = Api(Cluster("c", f"http://127.0.0.1:{there.port}", credentials=own))
        said += [repr(made.cluster), str(await made.call("GET", "/x"))]
        for _ in range(4):
            with pytest.raises(LocationError) as caught:
                await made.call("POST", "/x", body={})
            said += [str(caught.value), repr(caught.value), str(errors.to_wire(caught.value))]
        with pytest.raises(LocationError) as caught:
            await made.exec("p", "c", ["x"], print, print)
        said.append(str(errors.to_wire(caught.value)))
        assert {each.headers["authorization"] for each in there.asked} == {f"Bearer {secret}"}
    assert secret not in "".join([*said, caplog.text])


async def test_nobody_is_told_who_we_are_by_a_redirect() -> None:
    async with (
        serving(always(200, {})) as other,
        serving(always(307, b"", f"Location: http://127.0.0.1:{other.port}/version")) as there,
    ):
        with pytest.raises(ApiError, match="it answered 307"):
            await api(there.port).call("GET", "/x")
        assert other.asked == []


async def test_an_endless_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfnz_notebook.engines.http.response.MAX_BODY", 1 << 20)

    async def answer(asked: Asked) -> bytes | None:
        asked.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            asked.writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            await asked.writer.drain()

    async with serving(answer) as there:
        with pytest.raises(EngineGone, match="it has more than 1 MiB"):
            await api(there.port).call("POST", "/x", body={})


async def test_turns_are_taken_and_given_back() -> None:
    turns = Turns(1, 60.0)
    async with turns.turn() as waited:
        second = asyncio.create_task(taken(turns))
        await asyncio.sleep(0)
        assert not second.done()
        assert waited < 60.0
    async with asyncio.timeout(10):
        await second
        await taken(turns)


async def test_who_has_a_turn_for_long_holds_nobody_up() -> None:
    turns = Turns(1, 0.01)
    async with turns.turn(), asyncio.timeout(10):
        assert await taken(turns) >= 0.009  # a clock's tick less
    async with turns.turn():  # one place is one place still
        second = asyncio.create_task(taken(turns))
        await asyncio.sleep(0)
        assert not second.done()
    await second


async def taken(turns: Turns) -> float:
    async with turns.turn() as waited:
        return waited
