"""Users and clusters of a kubeconfig, and the plugins that log them in."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from unit.engines.kubernetes.serving import Asked, serving, status, tls
from unit.engines.scripted import reply

from tfnz_notebook.engines.kubernetes.api import Api, ApiError
from tfnz_notebook.engines.kubernetes.login import kubeconfig
from tfnz_notebook.engines.kubernetes.login.credentials import Cluster
from tfnz_notebook.errors import NoEngine

if TYPE_CHECKING:
    from unit.engines.kubernetes.certificates import Authority, Certificate

HINT = "Get it at https://example.com"


def write(home: Path, user: dict[str, Any], **cluster: Any) -> dict[str, str]:
    """A kubeconfig of one context, and an environment in which it is meant."""
    told = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = home / "kube" / "config"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(told))
    return {"KUBECONFIG": str(path), "PATH": os.environ["PATH"], "HOME": str(home)}


def load(home: Path, user: dict[str, Any], **cluster: Any) -> Cluster:
    return kubeconfig.load("kubernetes", write(home, user, **cluster))


async def headers(made: Cluster) -> dict[str, str]:
    return dict([*await made.credentials.headers(), *made.impersonation])


def data(text: bytes) -> str:
    return base64.b64encode(text).decode()


# --- what a user may be --------------------------------------------------------------------------


async def test_nobody(tmp_path: Path) -> None:
    assert await headers(load(tmp_path, {})) == {}


async def test_tokens_and_passwords(tmp_path: Path) -> None:
    assert await headers(load(tmp_path, {"token": "t"})) == {"Authorization": "Bearer t"}
    basic = {"username": "jane", "password": "pässword"}
    assert await headers(load(tmp_path, basic)) == {
        "Authorization": f"Basic {data('jane:pässword'.encode())}"
    }


async def test_a_tokens_file_is_read_again(tmp_path: Path) -> None:
    made = load(tmp_path, {"tokenFile": "token", "token": "other"})
    file = tmp_path / "kube" / "token"  # beside the kubeconfig
    with pytest.raises(NoEngine, match="Cannot read the token in '.*/kube/token': No such file"):
        await headers(made)
    file.write_text("one\n")
    assert await headers(made) == {"Authorization": "Bearer one"}
    file.write_text("two\n")
    assert await headers(made) == {"Authorization": "Bearer two"}
    file.unlink()  # it is being replaced
    assert await headers(made) == {"Authorization": "Bearer two"}


@pytest.mark.parametrize("token", ["two words", "line\nHost: evil", "tökén", "\x00"])
async def test_tokens_that_are_none_are_not_quoted(tmp_path: Path, token: str) -> None:
    with pytest.raises(NoEngine, match="is empty, or no token") as caught:
        await headers(load(tmp_path, {"token": token}))
    assert token not in str(caught.value)


async def test_certificates(tmp_path: Path, person: Certificate) -> None:
    chain, key = person.pair
    by_data = load(tmp_path, {"client-certificate-data": data(chain), "client-key-data": data(key)})
    assert await by_data.credentials.certificate() == (chain, key)
    (tmp_path / "kube").mkdir(exist_ok=True)
    (tmp_path / "kube" / "c").write_bytes(chain)
    (tmp_path / "kube" / "k").write_bytes(key)
    by_file = load(tmp_path, {"client-certificate": "c", "client-key": "k"})
    assert await by_file.credentials.certificate() == (chain, key)


async def test_acting_as_somebody_else(tmp_path: Path) -> None:
    made = load(
        tmp_path,
        {
            "token": "t",
            "as": "jane",
            "as-uid": "7",
            "as-groups": ["a", "b"],
            "as-user-extra": {"Example.com/Scopes": ["x", "y"]},
        },
    )
    assert made.impersonation == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-example.com%2Fscopes", "x"),
        ("Impersonate-Extra-example.com%2Fscopes", "y"),
    )
    async with serving(_ok) as there:
        made = load(tmp_path, {"as": "jane", "as-groups": ["a", "b"]},
                    server=f"http://127.0.0.1:{there.port}")  # fmt: skip
        await Api(made).open()
        assert there.asked[0].headers["impersonate-group"] == "a, b"


async def _ok(asked: Asked) -> bytes | None:
    return reply(200, {"gitVersion": "v1"})


def test_what_is_said_of_a_cluster(tmp_path: Path, authority: Authority) -> None:
    made = load(
        tmp_path,
        {},
        **{
            "certificate-authority-data": data(authority.pem),
            "certificate-authority": "ignored",
            "tls-server-name": "inside",
            "proxy-url": "http://box:1",
        },
    )
    assert (made.authority.read(), made.server_name) == (authority.pem, "inside")
    assert (made.proxy, made.namespace, made.name) == ("http://box:1", "default", "c")
    (tmp_path / "kube" / "ca").write_bytes(authority.pem)
    by_file = load(tmp_path, {}, **{"certificate-authority": "ca"})
    assert by_file.authority.read() == authority.pem


def test_insecure_is_said_in_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(tmp_path, {}, **{"insecure-skip-tls-verify": True}).insecure
    (record,) = caplog.records
    assert "whoever stands between here and https://127.0.0.1:1" in record.getMessage()


@pytest.mark.parametrize(
    ("user", "cluster", "why"),
    [
        ({"auth-provider": {"name": "gcp"}}, {}, "'gcp'.*gave up in 1.26.*gke-gcloud-auth-plugin"),
        ({"auth-provider": {"name": "azure"}}, {}, "kubelogin convert-kubeconfig"),
        ({"auth-provider": {"name": "oidc"}}, {}, "OpenID Connect"),
        ({"auth-provider": 7}, {}, "gave up in 1.26"),
        ({"client-certificate-data": data(b"x")}, {}, "has no 'client-key' to the other half"),
        ({"client-key-data": data(b"x")}, {}, "has no 'client-certificate'"),
        ({"client-certificate-data": "!"}, {}, "'client-certificate-data' is no base64"),
        ({"client-certificate": "/none", "client-key": "/none"}, {}, "'/none': No such file"),
        ({"token": "t", "username": "u"}, {}, "both a token and a name"),
        ({"as-groups": ["g"]}, {}, "no 'as'"),
        ({"as": "a", "as-groups": "g"}, {}, "'as-groups' is a list"),
        ({"as": "a", "as-user-extra": {"k": "v"}}, {}, "mapping of lists"),
        ({"as": "a\nb"}, {}, "fits no header"),
        ({}, {"server": ""}, "has no 'server'"),
        ({}, {"certificate-authority": "/none"}, "'certificate-authority' '/none': No such file"),
        ({}, {"certificate-authority-data": "§"}, "is no base64"),
        (
            {},
            {"insecure-skip-tls-verify": True, "certificate-authority-data": data(b"x")},
            "an authority to trust, and",
        ),
    ],
)
def test_what_cannot_be_used_is_a_clear_error(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], why: str
) -> None:
    with pytest.raises(NoEngine, match=f"^Cannot use the context 'c': .*{why}.*\\.$"):
        load(tmp_path, user, **cluster)


# --- plugins --------------------------------------------------------------------------------------


class Program:
    """A plugin that counts its runs, keeps what it was told, and says what a file holds."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "kube" / "plugin"
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(
            f"#!{sys.executable}\nimport os, sys\n"
            f"home = {str(home)!r}\n"
            "with open(home + '/runs', 'a') as file: file.write('x')\n"
            "info = os.environ['KUBERNETES_EXEC_INFO']\n"
            "with open(home + '/told', 'w') as file: file.write(info)\n"
            "with open(home + '/seen', 'w') as file: file.write(repr([sys.argv[1:], "
            "os.environ.get('REGION'), sys.stdin.read()]))\n"
            "exec(open(home + '/does').read())\n"
        )
        self.path.chmod(0o700)

    def says(self, version: str = "v1", **credentials: Any) -> None:
        said = {
            "kind": "ExecCredential",
            "apiVersion": f"client.authentication.k8s.io/{version}",
            "status": credentials,
        }
        self.does(f"print({json.dumps(said)!r})")

    def does(self, code: str) -> None:
        (self.home / "does").write_text(code)

    @property
    def runs(self) -> int:
        return len((self.home / "runs").read_text())

    def user(self, version: str = "v1", **more: Any) -> dict[str, Any]:
        api = f"client.authentication.k8s.io/{version}"
        return {"exec": {"apiVersion": api, "command": "./plugin", **more}}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_plugin_gives_a_token(program: Program, version: str) -> None:
    program.says(version, token="secret")
    user = program.user(
        version, args=["get", "token"], env=[{"name": "REGION", "value": "eu"}],
        interactiveMode="IfAvailable",
    )  # fmt: skip
    made = load(program.home, user)
    for _ in range(3):
        assert await headers(made) == {"Authorization": "Bearer secret"}
    assert program.runs == 1
    assert (program.home / "seen").read_text() == "[['get', 'token'], 'eu', '']"
    assert json.loads((program.home / "told").read_text()) == {
        "kind": "ExecCredential",
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "spec": {"interactive": False},
    }


async def test_a_plugin_is_told_of_the_cluster(program: Program, authority: Authority) -> None:
    program.says(token="t")
    (program.home / "kube" / "ca").write_bytes(authority.pem)
    made = load(
        program.home,
        program.user(provideClusterInfo=True),
        **{
            "certificate-authority": "ca",
            "tls-server-name": "inside",
            "extensions": [
                {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
            ],
        },
    )
    await headers(made)
    assert json.loads((program.home / "told").read_text())["spec"]["cluster"] == {
        "server": "https://127.0.0.1:1",
        "tls-server-name": "inside",
        "certificate-authority-data": data(authority.pem),
        "config": {"audience": "x"},
    }


async def test_what_a_plugin_said_is_good_until_it_says(program: Program) -> None:
    def until(**ahead: float) -> str:
        return (datetime.now(UTC) + timedelta(**ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")

    made = load(program.home, program.user())
    program.says(token="one", expirationTimestamp=until(seconds=5))  # over, when it arrives
    await headers(made)
    program.says(token="two", expirationTimestamp=until(hours=1))
    assert await headers(made) == {"Authorization": "Bearer two"}
    await headers(made)
    assert program.runs == 2


async def test_many_ask_a_plugin_once(program: Program) -> None:
    program.says(token="t")
    made = load(program.home, program.user())
    await asyncio.gather(*(headers(made) for _ in range(10)))
    assert program.runs == 1


async def test_who_stops_waiting_leaves_the_run_to_the_next(program: Program) -> None:
    os.mkfifo(program.home / "fifo")
    program.says(token="t")
    program.does(
        f"open({str(program.home / 'fifo')!r}).read()\n" + (program.home / "does").read_text()
    )
    made = load(program.home, program.user())
    first = asyncio.ensure_future(headers(made))
    fifo = await asyncio.to_thread(open, program.home / "fifo", "w")  # it runs
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.ensure_future(headers(made))
    await asyncio.sleep(0)
    fifo.close()
    assert await second == {"Authorization": "Bearer t"}
    assert program.runs == 1


async def test_a_401_asks_the_plugin_again(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfnz_notebook.engines.kubernetes.login.plugin._FRESH", 0.0)
    good = "two"

    async def answer(asked: Asked) -> bytes | None:
        if asked.headers.get("authorization") == f"Bearer {good}":
            return reply(200, {"gitVersion": "v1"})
        return reply(401, status(401, "Unauthorized", "Unauthorized"))

    async with serving(answer) as there:
        server = f"http://127.0.0.1:{there.port}"
        program.says(token="one")
        api = Api(load(program.home, program.user(), server=server))
        await headers(api.cluster)
        program.says(token="two")
        assert await api.open()
        assert (program.runs, len(there.asked)) == (2, 2)
        good = "three"  # and the plugin has no better one
        with pytest.raises(ApiError, match="Log in to the cluster again") as caught:
            await api.call("GET", "/api")
        assert (caught.value.status, len(there.asked)) == (401, 4)
        assert "two" not in str(caught.value)
        await api.close()


async def test_a_plugin_gives_a_certificate(
    program: Program, authority: Authority, server: Certificate, person: Certificate
) -> None:
    chain, key = (each.decode() for each in person.pair)
    program.says(clientCertificateData=chain, clientKeyData=key)
    async with serving(_ok, tls(server, authority.own.chain)) as there:
        made = load(
            program.home,
            program.user(),
            **{
                "server": f"https://127.0.0.1:{there.port}",
                "certificate-authority-data": data(authority.pem),
            },
        )
        api = Api(made)
        await api.open()
        await api.close()
        assert there.clients == ["jane"]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("sys.exit(3)", r"it ended with 3 \(it says nothing\)"),
        ("sys.stderr.write('a\\nsso login needed\\n'); sys.exit(1)", r"1 \(sso login needed\)"),
        ("print('{}')", "no ExecCredential"),
        ("print('secret')", "no ExecCredential"),
        ("print('[' * 100000)", "no ExecCredential"),
        ("print('x' * (2 << 20))", "says too much"),
        ("os.kill(os.getpid(), 9)", "ended with -9"),
    ],
)
async def test_plugins_that_fail(program: Program, code: str, why: str) -> None:
    program.does(code)
    with pytest.raises(NoEngine, match=f"^Cannot log in to the context 'c' by its plugin 'plugin': .*{why}") as caught:  # fmt: skip # noqa: E501
        await headers(load(program.home, program.user()))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"version": "v1beta1", "token": "secret"}, "answers as .*v1beta1"),
        ({}, "neither a token nor a certificate"),
        ({"clientCertificateData": "secret"}, "neither a token nor"),
        ({"token": "secret", "expirationTimestamp": "tomorrow"}, "no ExecCredential"),
        ({"token": "sec ret"}, "no token"),
    ],
)
async def test_plugins_that_say_nothing_useful(
    program: Program, said: dict[str, Any], why: str
) -> None:
    program.says(**said)
    with pytest.raises(NoEngine, match=why) as caught:
        await headers(load(program.home, program.user()))
    assert "sec" not in str(caught.value)


async def test_a_plugin_that_does_not_end(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfnz_notebook.engines.kubernetes.login.plugin._PATIENCE", 0.5)
    program.does(f"open({str(program.home)!r} + '/pid', 'w').write(str(os.getpid()))\nimport time\ntime.sleep(60)")  # fmt: skip # noqa: E501
    with pytest.raises(NoEngine, match="did not end within 0.5 s"):
        await headers(load(program.home, program.user()))
    pid = program.home / "pid"
    assert not pid.exists() or not Path(f"/proc/{pid.read_text()}").exists()


async def test_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    api = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": api, "command": "no-such-plugin", "installHint": HINT}}
    with pytest.raises(NoEngine, match=f"'no-such-plugin': it is not installed. {HINT}"):
        await headers(load(tmp_path, user))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"interactiveMode": "Always"}, "must ask somebody, and there is no terminal here"),
        (
            {"apiVersion": "client.authentication.k8s.io/v1alpha1"},
            "v1 and .*v1beta1 are understood",
        ),
        ({"command": ""}, "names no command"),
        ({"args": 7}, "no lists as they should be"),
        ({"env": [{"name": "x"}]}, "no lists as they should be"),
        ({"args": ["\0"]}, "zero byte"),
    ],
)
def test_plugins_that_are_refused(program: Program, given: dict[str, Any], why: str) -> None:
    with pytest.raises(NoEngine, match=f"^Cannot log in to the context 'c' by a plugin: .*{why}"):
        load(program.home, program.user(**given))


def test_a_plugin_of_somebody_elses_file_does_not_run(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = write(program.home, program.user())
    Path(environ["KUBECONFIG"]).chmod(0o666)
    with pytest.raises(NoEngine, match="others could have written '.*config'. Read what it runs"):
        kubeconfig.load("kubernetes", environ)
    Path(environ["KUBECONFIG"]).chmod(0o644)
    assert kubeconfig.load("kubernetes", environ)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4711)
    if os.getuid() != 0:  # root's file is as good as one's own
        with pytest.raises(NoEngine, match="others could have written"):
            kubeconfig.load("kubernetes", environ)
    assert not (program.home / "runs").exists()
