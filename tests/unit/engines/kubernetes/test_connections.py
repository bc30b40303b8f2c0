"""TLS, kept connections, proxies and base paths: the client of all engines, as clusters need it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from unit.engines.kubernetes.certificates import Authority, Certificate
from unit.engines.kubernetes.serving import Asked, Server, always, serving, tls
from unit.engines.scripted import reply

from tfnz_notebook.engines.http import dial
from tfnz_notebook.engines.http import tls as client_tls
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.login.credentials import Cluster, Material, Static
from tfnz_notebook.errors import EngineGone, Misuse, NoEngine

OK = always(200, {"gitVersion": "v1"})


def cluster(
    server: Server, scheme: str = "https", host: str = "127.0.0.1", **given: object
) -> Cluster:
    return Cluster("c", f"{scheme}://{host}:{server.port}", **given)  # type: ignore[arg-type]


async def version(made: Cluster, **environ: str) -> str:
    api = Api(made, environ=environ)
    try:
        return str((await api.open())["gitVersion"])
    finally:
        await api.close()


# --- TLS ----------------------------------------------------------------------------------------


async def test_a_server_of_the_named_authority(authority: Authority, server: Certificate) -> None:
    async with serving(OK, tls(server)) as there:
        trusted = cluster(there, authority=Material(authority.pem))
        assert await version(trusted) == "v1"
        by_file = cluster(there, authority=Material(file=authority.own.chain))
        assert await version(by_file) == "v1"
        with pytest.raises(
            NoEngine, match=r"TLS failed \(.*local issuer.*\)\. Check the certificates"
        ):
            await version(cluster(there))
        assert await version(cluster(there, insecure=True)) == "v1"


async def test_a_name_of_its_own_for_tls(authority: Authority) -> None:
    own = authority.sign("inside", "DNS:api.inside.test")
    async with serving(OK, tls(own)) as there:
        trust = Material(authority.pem)
        with pytest.raises(NoEngine, match="IP address mismatch"):
            await version(cluster(there, authority=trust))
        named = cluster(there, authority=trust, server_name="api.inside.test")
        assert await version(named) == "v1"
        assert there.named[-1] == "api.inside.test"


async def test_our_certificate_leaves_no_key_behind(
    authority: Authority,
    server: Certificate,
    person: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = set(Path("/proc/self/fd").iterdir())
    chain, key = person.pair
    own = Static(certificate=Material(chain), key=Material(key))
    async with serving(OK, tls(server, authority.own.chain)) as there:
        await version(cluster(there, authority=Material(authority.pem), credentials=own))
        assert there.clients == ["jane"]
    assert list(tmp_path.iterdir()) == []
    assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1  # the loop's own, if any


async def test_certificates_in_files_are_read_again(
    authority: Authority, server: Certificate, tmp_path: Path
) -> None:
    chain, key = tmp_path / "c", tmp_path / "k"

    def become(name: str) -> None:
        for path, data in zip((chain, key), authority.sign(name).pair, strict=True):
            path.write_bytes(data)

    become("old")
    own = Static(certificate=Material(file=chain), key=Material(file=key))
    async with serving(OK, tls(server, authority.own.chain)) as there:
        api = Api(cluster(there, authority=Material(authority.pem), credentials=own))
        await api.open()
        await api.open()
        become("new")
        await api.open()
        await api.close()
        assert there.clients == ["old", "new"]  # the first was kept for two


async def test_authorities_that_are_too_lax_for_newer_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ssl.create_default_context

    def newer(**given: object) -> ssl.SSLContext:
        made = usual(**given)  # type: ignore[arg-type]
        made.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13
        return made

    lax = Authority(tmp_path, lax=True)
    own = lax.sign("server", "IP:127.0.0.1")
    monkeypatch.setattr(ssl, "create_default_context", newer)
    async with serving(OK, tls(own)) as there:
        assert await version(cluster(there, authority=Material(lax.pem))) == "v1"
        # As Go has it, a certificate that is named is trusted though it signs nothing.
        assert await version(cluster(there, authority=Material(own.chain.read_bytes()))) == "v1"


@pytest.mark.parametrize(
    ("authority_", "pair"),
    [
        (b"no certificate", None),
        (b"\xff\xfe", None),
        (b"", (b"no", b"pair")),
        (b"", (b"", b"")),
    ],
)
async def test_certificates_that_are_none(
    authority_: bytes, pair: tuple[bytes, bytes] | None
) -> None:
    own = Static(certificate=Material(pair[0]), key=Material(pair[1])) if pair else Static()
    broken = Cluster("c", "https://127.0.0.1:1", authority=Material(authority_), credentials=own)
    with pytest.raises(NoEngine, match="Cannot (use the certificates of the context 'c'|reach)"):
        await version(broken)


def test_an_encrypted_key_asks_nobody(person: Certificate, tmp_path: Path) -> None:
    import subprocess

    locked = tmp_path / "locked"
    command = ["openssl", "pkcs8", "-topk8", "-in", str(person.key), "-out", str(locked)]
    subprocess.run([*command, "-passout", "pass:secret"], check=True)
    with pytest.raises(ValueError, match="encrypted"):
        client_tls.context(b"", (person.chain.read_bytes(), locked.read_bytes()))


# --- connections that are kept -------------------------------------------------------------------


async def test_one_connection_for_many_calls() -> None:
    async with serving(OK) as there:
        api = Api(cluster(there, "http"))
        for _ in range(5):
            await api.open()
        assert there.connections == 1
        await asyncio.gather(*(api.open() for _ in range(20)))
        assert there.connections <= 21
        before = there.connections
        await asyncio.gather(*(api.open() for _ in range(8)))
        assert there.connections == before  # eight were kept
        await api.close()


async def test_one_that_was_closed_meanwhile_is_not_used(authority: Authority) -> None:
    async def answer(asked: Asked) -> bytes | None:
        return reply(200, {}, "Connection: close")

    async with serving(answer) as there:
        api = Api(cluster(there, "http"))
        await api.call("GET", "/a")
        await api.call("POST", "/a", body={})
        assert there.connections == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_one_that_closes_under_a_request(method: str) -> None:
    async def answer(asked: Asked) -> bytes | None:
        return reply(200, {}) if asked.path == "/first" or asked.connection > 1 else None

    async with serving(answer) as there:
        api = Api(cluster(there, "http"))
        await api.call("GET", "/first")
        if method == "GET":  # asked again, on a new one, and nobody hears of it
            assert (await api._client.request(method, "/second")).status == 200
            assert [each.connection for each in there.asked] == [1, 1, 2]
        else:  # it may have been done: that is for who called to find out
            with pytest.raises(EngineGone) as caught:
                await api.call(method, "/second", body={})
            assert caught.value.details["sent"] is True
            await api.call(method, "/second", body={}, repeatable=True)
        await api.close()


async def test_what_may_not_be_repeated_takes_no_connection_that_was_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tfnz_notebook.engines.http.client._FRESH", 0.0)
    async with serving(always(200, {})) as there:
        api = Api(cluster(there, "http"))
        await api.call("GET", "/")
        await api.call("POST", "/", body={})
        assert there.connections == 2
        await api.close()


async def test_a_kept_connection_that_is_half_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfnz_notebook.engines.http.client._UNSURE", 0.1)

    async def answer(asked: Asked) -> bytes | None:
        if asked.connection == 1 and asked.path == "/second":
            await asyncio.Event().wait()
        return reply(200, {})

    async with serving(answer) as there:
        api = Api(cluster(there, "http"))
        await api.call("GET", "/first")
        await api.call("GET", "/second", timeout=20)
        assert there.connections == 2
        await api.close()


# --- below a path, through a proxy ---------------------------------------------------------------


async def test_below_a_path(authority: Authority, server: Certificate) -> None:
    async with serving(OK, tls(server)) as there:
        below = Cluster(
            "c",
            f"https://127.0.0.1:{there.port}/k8s/clusters/abc/",
            authority=Material(authority.pem),
        )
        assert await version(below) == "v1"
        assert there.asked[0].path == "/k8s/clusters/abc/version"
        assert there.asked[0].headers["host"] == f"127.0.0.1:{there.port}"


@asynccontextmanager
async def proxy(
    said: str = "200 fine", context: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """One that connects, whatever name is asked for, to that port of this machine."""

    async def answer(asked: Asked) -> bytes | None:
        asked.writer.write(f"HTTP/1.1 {said}\r\n\r\n".encode())
        if not said.startswith("200"):
            return None
        port = int(asked.target.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def carry(one: asyncio.StreamReader, other: asyncio.StreamWriter) -> None:
            while data := await one.read(65536):
                other.write(data)
            other.close()

        try:
            await asyncio.gather(carry(asked.reader, writer), carry(reader, asked.writer))
        finally:
            writer.close()
        return None

    async with serving(answer, context) as there:
        yield there


@pytest.mark.parametrize("secure", [False, True])
async def test_through_a_proxy(
    authority: Authority, server: Certificate, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = authority.sign("far", "DNS:far.test")
    monkeypatch.setattr(dial.ssl, "create_default_context", _trusting(authority.pem))
    async with (
        serving(OK, tls(own)) as there,
        proxy(context=tls(server) if secure else None) as between,
    ):
        far = Cluster(
            "c",
            f"https://far.test:{there.port}",
            authority=Material(authority.pem),
            proxy=f"http{'s' if secure else ''}://us%40er:pa%3Ass@127.0.0.1:{between.port}",
        )
        assert await version(far) == "v1"
        (asked,) = between.asked
        assert (asked.method, asked.target) == ("CONNECT", f"far.test:{there.port}")
        assert asked.headers["proxy-authorization"] == "Basic dXNAZXI6cGE6c3M="
        assert there.named == ["far.test"]
        assert "pa:ss" not in repr(far) and "pa%3Ass" not in repr(far)


def _trusting(pem: bytes) -> Callable[..., ssl.SSLContext]:
    usual = ssl.create_default_context
    return lambda **given: usual(**{"cadata": pem.decode(), **given})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("407 Proxy Authentication Required", "wants a name and a password"),
        ("403 Forbidden", r"refuses \(403 Forbidden\)"),
        ("502 Bad Gateway", "refuses"),
    ],
)
async def test_a_proxy_that_refuses(said: str, why: str) -> None:
    async with proxy(said) as between:
        far = Cluster("c", "https://far.test", proxy=f"http://u:secret@127.0.0.1:{between.port}")
        with pytest.raises(
            NoEngine, match=rf"the proxy http://127\.0\.0\.1:\d+: it {why}"
        ) as caught:
            await version(far)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("socks5://u:secret@box:1080", "SOCKS is not spoken here.*ssh -N -L"),
        ("ftp://u:secret@box", "no address of a proxy"),
        ("http://u:secret@box:port", "no address of a proxy"),
        ("http://", "no address of a proxy"),
    ],
)
def test_proxies_that_are_none(url: str, why: str) -> None:
    with pytest.raises(
        Misuse, match=f"Cannot use the proxy that the context 'c' names: .*{why}"
    ) as caught:
        Api(Cluster("c", "https://far.test", proxy=url))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "host", "direct"),
    [
        ("", "far.test", False),
        ("*", "far.test", True),
        ("far.test", "far.test", True),
        ("far.test", "api.far.test", True),
        (".far.test", "api.far.test", True),
        (".far.test", "far.test", False),
        ("*.far.test", "api.far.test", True),
        ("ar.test", "far.test", False),
        ("FAR.test:6443", "far.test", True),
        ("far.test:443", "far.test", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]:6443", "fd00::1", True),
        ("x, 10.1.2.3 ,y", "10.1.2.3", True),
        ("", "localhost", True),
        ("", "127.0.0.2", True),
        ("", "::1", True),
        ("10.0.0.0/99", "10.1.2.3", False),
    ],
)
def test_no_proxy(rule: str, host: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        environ = {"HTTPS_PROXY": "http://box:1", name: rule}
        assert (dial.usual_proxy("https", host, 6443, environ) is None) is direct
    assert dial.usual_proxy("http", host, 6443, {"HTTPS_PROXY": "http://box:1"}) is None
    assert dial.usual_proxy("https", "far.test", 1, {"https_proxy": "box:3128"}) == dial.Proxy(
        "box", 3128
    )


@pytest.mark.parametrize("address", ["ftp://x", "https://", "https://x:port", "https://[::1"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(NoEngine, match="Cannot use the context 'c': its server .* is no address"):
        Api(Cluster("c", address))


async def test_nobody_there() -> None:
    async with serving(OK) as there:
        made = cluster(there, "http")
    with pytest.raises(NoEngine, match="the context 'c' at http://127.*: nothing listens there"):
        await version(made)


def test_other_engines_keep_nothing() -> None:
    from tfnz_notebook._base.endpoints import parse

    assert Client(parse("/run/x.sock"), "docker")._keep == 0
