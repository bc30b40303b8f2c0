"""Lines of ``docker run``, pasted: from the pages of images that everybody uses."""

from __future__ import annotations

import os
import re
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tfnz_notebook._calls.run.flags import BY_KEYWORD, FLAGS, RunFlags
from tfnz_notebook._calls.run.line import docker_run
from tfnz_notebook._calls.run.values import ports
from tfnz_notebook._calls.spec import container_spec, published, volumes_to_make
from tfnz_notebook.errors import FileError, Misuse
from tfnz_notebook.magics.commands import spawn
from tfnz_notebook.magics.commands.spawn import wishes
from tfnz_notebook.magics.parse import shell_line

if TYPE_CHECKING:
    from unit.link.scripted_agent import ScriptedAgent
    from unit.magics.conftest import Shell

PARSER = spawn.MAGICS[0].parser
HERE = str(Path.cwd())
WHO = f"{os.getuid()}:{os.getgid()}"
#: The flags of Docker 28's docker run --help.
HELP = """
add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns
cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus
cpuset-cpus cpuset-mems detach detach-keys device device-cgroup-rule device-read-bps
device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option dns-search
domainname entrypoint env env-file expose gpus group-add health-cmd health-interval health-retries
health-start-interval health-start-period health-timeout hostname init interactive io-maxbandwidth
io-maxiops ip ip6 ipc isolation kernel-memory label label-file link link-local-ip log-driver
log-opt mac-address memory memory-reservation memory-swap memory-swappiness mount name network
network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged
publish publish-all pull quiet read-only restart rm runtime security-opt shm-size sig-proxy
stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit use-api-socket user userns uts volume
volume-driver volumes-from workdir
"""
SHORT = "-a -c -d -e -h -i -l -m -p -P -q -t -u -v -w"


def read(line: str) -> tuple[dict[str, Any], Any]:
    """(what of the spec is not as in every one, what else was asked for) of a line."""
    asked = PARSER.read(line)
    assert asked is not None
    options = wishes(asked)
    if argv := shell_line(asked.command).argv:
        options["command"] = argv
    spec, _ = container_spec(asked.image, options)
    plain, _ = container_spec("plain", {})
    asked.ports, asked.volumes = ports("publish", asked.publish), volumes_to_make(options)
    asked.spec = spec
    differs = {key: value for key, value in spec.items() if value != plain.get(key)}
    return differs, asked


Page = tuple[str, dict[str, Any], list[tuple[int, int]]]
JOVYAN = "/home/jovyan"


def page(line: str, spec: dict[str, Any], tunnels: list[tuple[int, int]]) -> Page:
    return line, spec, tunnels


#: (the line, what its spec has beside the defaults, its ports).
PAGES = [
    # nginx
    page(
        "docker run --name some-nginx -v /some/content:/usr/share/nginx/html:ro -d nginx",
        {
            "image": "nginx",
            "name": "some-nginx",
            "volumes": [["/some/content", "/usr/share/nginx/html", True]],
        },
        [],
    ),
    page(
        "$ docker run --name some-nginx -d -p 8080:80 some-content-nginx",
        {"image": "some-content-nginx", "name": "some-nginx"},
        [(8080, 80)],
    ),
    page(
        "docker run -d -p 80:80 --read-only -v $(pwd)/nginx-cache:/var/cache/nginx "
        "-v $(pwd)/nginx-pid:/var/run nginx",
        {
            "image": "nginx",
            "read_only": True,
            "volumes": [
                [f"{HERE}/nginx-cache", "/var/cache/nginx", False],
                [f"{HERE}/nginx-pid", "/var/run", False],
            ],
        },
        [(80, 80)],
    ),
    page(
        "docker run --name my-nginx -v /host/path/nginx.conf:/etc/nginx/nginx.conf:ro -d nginx "
        "nginx-debug -g 'daemon off;'",
        {
            "image": "nginx",
            "name": "my-nginx",
            "volumes": [["/host/path/nginx.conf", "/etc/nginx/nginx.conf", True]],
            "command": ["nginx-debug", "-g", "daemon off;"],
        },
        [],
    ),
    page(
        "docker run --rm --entrypoint=cat nginx /etc/nginx/nginx.conf > /host/path/nginx.conf",
        {"image": "nginx", "entrypoint": ["cat"], "command": ["/etc/nginx/nginx.conf"]},
        [],
    ),
    # httpd
    page(
        'docker run -dit --name my-apache-app -p 8080:80 -v "$PWD":/usr/local/apache2/htdocs/ '
        "httpd:2.4",
        {
            "image": "httpd:2.4",
            "name": "my-apache-app",
            "volumes": [[HERE, "/usr/local/apache2/htdocs/", False]],
            "flags": {"tty": True},
        },
        [(8080, 80)],
    ),
    page(
        "docker run --rm httpd:2.4 cat /usr/local/apache2/conf/httpd.conf > my-httpd.conf",
        {"image": "httpd:2.4", "command": ["cat", "/usr/local/apache2/conf/httpd.conf"]},
        [],
    ),
    # postgres
    page(
        "docker run --name some-postgres -e POSTGRES_PASSWORD=mysecretpassword -d postgres",
        {
            "image": "postgres",
            "name": "some-postgres",
            "env": {"POSTGRES_PASSWORD": "mysecretpassword"},
        },
        [],
    ),
    page(
        "docker run -it --rm --network some-network postgres psql -h some-postgres -U postgres",
        {
            "image": "postgres",
            "network": "some-network",
            "flags": {"tty": True},
            "command": ["psql", "-h", "some-postgres", "-U", "postgres"],
        },
        [],
    ),
    page(
        "$ docker run -d  --name some-postgres  -e POSTGRES_PASSWORD=mysecretpassword  "
        "-e PGDATA=/var/lib/postgresql/data/pgdata  -v /custom/mount:/var/lib/postgresql/data  "
        "postgres",
        {
            "image": "postgres",
            "name": "some-postgres",
            "env": {
                "POSTGRES_PASSWORD": "mysecretpassword",
                "PGDATA": "/var/lib/postgresql/data/pgdata",
            },
            "volumes": [["/custom/mount", "/var/lib/postgresql/data", False]],
        },
        [],
    ),
    page(
        'docker run -d --name some-postgres -v "$PWD/my-postgres.conf":/etc/postgresql/postgresql'
        ".conf -e POSTGRES_PASSWORD=mysecretpassword postgres -c "
        "'config_file=/etc/postgresql/postgresql.conf'",
        {
            "image": "postgres",
            "name": "some-postgres",
            "env": {"POSTGRES_PASSWORD": "mysecretpassword"},
            "volumes": [[f"{HERE}/my-postgres.conf", "/etc/postgresql/postgresql.conf", False]],
            "command": ["-c", "config_file=/etc/postgresql/postgresql.conf"],
        },
        [],
    ),
    page(
        'docker run -it --rm --user "$(id -u):$(id -g)" -v /etc/passwd:/etc/passwd:ro '
        "-e POSTGRES_PASSWORD=mysecretpassword --shm-size=256MB postgres",
        {
            "image": "postgres",
            "user": WHO,
            "volumes": [["/etc/passwd", "/etc/passwd", True]],
            "env": {"POSTGRES_PASSWORD": "mysecretpassword"},
            "flags": {"tty": True, "shm_size": 256 << 20},
        },
        [],
    ),
    page(
        "docker run -it --rm -v pgdata:/var/lib/postgresql/data bash chown -R 1000:1000 "
        "/var/lib/postgresql/data",
        {
            "image": "bash",
            "volumes": [["pgdata", "/var/lib/postgresql/data", False]],
            "flags": {"tty": True},
            "command": ["chown", "-R", "1000:1000", "/var/lib/postgresql/data"],
        },
        [],
    ),
    # mysql
    page(
        "docker run --name some-mysql -e MYSQL_ROOT_PASSWORD=my-secret-pw -d mysql:8 "
        "--character-set-server=utf8mb4 --collation-server=utf8mb4_unicode_ci",
        {
            "image": "mysql:8",
            "name": "some-mysql",
            "env": {"MYSQL_ROOT_PASSWORD": "my-secret-pw"},
            "command": [
                "--character-set-server=utf8mb4",
                "--collation-server=utf8mb4_unicode_ci",
            ],
        },
        [],
    ),
    page(
        "docker run -it --network some-network --rm mysql mysql -hsome-mysql -uexample-user -p",
        {
            "image": "mysql",
            "network": "some-network",
            "flags": {"tty": True},
            "command": ["mysql", "-hsome-mysql", "-uexample-user", "-p"],
        },
        [],
    ),
    page(
        "docker run --name some-mysql -v /my/custom:/etc/mysql/conf.d "
        "-e MYSQL_ROOT_PASSWORD=my-secret-pw -d mysql:tag",
        {
            "image": "mysql:tag",
            "name": "some-mysql",
            "env": {"MYSQL_ROOT_PASSWORD": "my-secret-pw"},
            "volumes": [["/my/custom", "/etc/mysql/conf.d", False]],
        },
        [],
    ),
    page(
        "docker run -it --rm mysql:tag --verbose --help",
        {"image": "mysql:tag", "flags": {"tty": True}, "command": ["--verbose", "--help"]},
        [],
    ),
    # redis
    page(
        "docker run --name some-redis -d redis redis-server --save 60 1 --loglevel warning",
        {
            "image": "redis",
            "name": "some-redis",
            "command": ["redis-server", "--save", "60", "1", "--loglevel", "warning"],
        },
        [],
    ),
    page(
        "docker run -it --network some-network --rm redis redis-cli -h some-redis",
        {
            "image": "redis",
            "network": "some-network",
            "flags": {"tty": True},
            "command": ["redis-cli", "-h", "some-redis"],
        },
        [],
    ),
    page(
        "docker run -v /myredis/conf:/usr/local/etc/redis --name myredis redis redis-server "
        "/usr/local/etc/redis/redis.conf",
        {
            "image": "redis",
            "name": "myredis",
            "volumes": [["/myredis/conf", "/usr/local/etc/redis", False]],
            "command": ["redis-server", "/usr/local/etc/redis/redis.conf"],
        },
        [],
    ),
    # mongo
    page(
        "$ docker run -d --network some-network --name some-mongo  "
        "-e MONGO_INITDB_ROOT_USERNAME=mongoadmin  -e MONGO_INITDB_ROOT_PASSWORD=secret  mongo",
        {
            "image": "mongo",
            "name": "some-mongo",
            "network": "some-network",
            "env": {
                "MONGO_INITDB_ROOT_USERNAME": "mongoadmin",
                "MONGO_INITDB_ROOT_PASSWORD": "secret",
            },
        },
        [],
    ),
    page(
        "docker run -it --network some-network --rm mongo mongosh --host some-mongo test",
        {
            "image": "mongo",
            "network": "some-network",
            "flags": {"tty": True},
            "command": ["mongosh", "--host", "some-mongo", "test"],
        },
        [],
    ),
    page(
        "docker run --name some-mongo -v /my/custom:/etc/mongo -d mongo --config "
        "/etc/mongo/mongod.conf",
        {
            "image": "mongo",
            "name": "some-mongo",
            "volumes": [["/my/custom", "/etc/mongo", False]],
            "command": ["--config", "/etc/mongo/mongod.conf"],
        },
        [],
    ),
    # rabbitmq
    page(
        "docker run -d --hostname my-rabbit --name some-rabbit -p 8080:15672 "
        "-e RABBITMQ_DEFAULT_USER=user -e RABBITMQ_DEFAULT_PASS=password rabbitmq:3-management",
        {
            "image": "rabbitmq:3-management",
            "name": "some-rabbit",
            "hostname": "my-rabbit",
            "env": {"RABBITMQ_DEFAULT_USER": "user", "RABBITMQ_DEFAULT_PASS": "password"},
        },
        [(8080, 15672)],
    ),
    page(
        "docker run -it --rm --name rabbitmq -p 5672:5672 -p 15672:15672 rabbitmq:4-management",
        {"image": "rabbitmq:4-management", "name": "rabbitmq", "flags": {"tty": True}},
        [(5672, 5672), (15672, 15672)],
    ),
    # grafana
    page(
        'docker run -d -p 3000:3000 --name=grafana --user "$(id -u)" '
        '--volume "$PWD/data:/var/lib/grafana" grafana/grafana-enterprise',
        {
            "image": "grafana/grafana-enterprise",
            "name": "grafana",
            "user": str(os.getuid()),
            "volumes": [[f"{HERE}/data", "/var/lib/grafana", False]],
        },
        [(3000, 3000)],
    ),
    page(
        "docker run -d -p 3000:3000 --name=grafana --volume grafana-storage:/var/lib/grafana "
        '-e "GF_SERVER_ROOT_URL=http://my.grafana.server/" '
        '-e "GF_PLUGINS_PREINSTALL=grafana-clock-panel" grafana/grafana-enterprise',
        {
            "image": "grafana/grafana-enterprise",
            "name": "grafana",
            "volumes": [["grafana-storage", "/var/lib/grafana", False]],
            "env": {
                "GF_SERVER_ROOT_URL": "http://my.grafana.server/",
                "GF_PLUGINS_PREINSTALL": "grafana-clock-panel",
            },
        },
        [(3000, 3000)],
    ),
    # python
    page(
        'docker run -it --rm --name my-running-script -v "$PWD":/usr/src/myapp -w /usr/src/myapp '
        "python:3 python your-daemon-or-script.py",
        {
            "image": "python:3",
            "name": "my-running-script",
            "volumes": [[HERE, "/usr/src/myapp", False]],
            "workdir": "/usr/src/myapp",
            "flags": {"tty": True},
            "command": ["python", "your-daemon-or-script.py"],
        },
        [],
    ),
    # jupyter
    page(
        f'docker run -it --rm -p 10000:8888 -v "${{PWD}}":{JOVYAN}/work '
        "quay.io/jupyter/datascience-notebook:2025-03-14",
        {
            "image": "quay.io/jupyter/datascience-notebook:2025-03-14",
            "volumes": [[HERE, f"{JOVYAN}/work", False]],
            "flags": {"tty": True},
        },
        [(10000, 8888)],
    ),
    page(
        "docker run -it --rm -p 8888:8888 --user 5000 --group-add users "
        "quay.io/jupyter/base-notebook start-notebook.py --PasswordIdentityProvider."
        "hashed_password='argon2:$argon2id$v=19$m=10240'",
        {
            "image": "quay.io/jupyter/base-notebook",
            "user": "5000",
            "flags": {"tty": True, "group_add": ["users"]},
            "command": [
                "start-notebook.py",
                "--PasswordIdentityProvider.hashed_password=argon2:$argon2id$v=19$m=10240",
            ],
        },
        [(8888, 8888)],
    ),
    page(
        "docker run -it --rm -p 8888:8888 --user root -e GRANT_SUDO=yes -e NB_UMASK=002 "
        '--gpus all -e CHOWN_HOME=yes -w "/home/${NB_USER_IS_NOT_SET}" '
        "quay.io/jupyter/pytorch-notebook",
        {
            "image": "quay.io/jupyter/pytorch-notebook",
            "user": "root",
            "workdir": "/home/",
            "env": {"GRANT_SUDO": "yes", "NB_UMASK": "002", "CHOWN_HOME": "yes"},
            "flags": {
                "tty": True,
                "gpus": {"count": -1, "ids": [], "capabilities": ["gpu"], "driver": ""},
            },
        },
        [(8888, 8888)],
    ),
]


def test_the_pages_of_images(subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", HERE)
    for line, expected, tunnels in PAGES:
        with subtests.test(line):
            told, asked = read(line)
            assert told == expected
            assert [(local, port) for _, local, port in asked.ports] == tunnels


def test_a_spec_is_told_as_the_line_that_makes_it(
    subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PWD", HERE)
    more = """
--add-host db:10.0.0.5 --dns 1.1.1.1 --dns-search a.b --tmpfs /run:size=64m --ulimit nofile=9:99 x
--device /dev/fuse:/dev/f:r --device a.com/gpu=0 --init --stop-signal INT --stop-timeout 3 x
--health-cmd 'curl -f localhost' --health-interval 1m30s --health-retries 3 -p [::1]:8080:80 x
--gpus '"device=0,1","capabilities=compute,utility"' --sysctl a.b=1 --cap-drop ALL x
--cap-add NET_RAW --security-opt seccomp=unconfined --memory-swap -1 -m 512m --cpus 1.5 x
--pids-limit 100 -l a=b --entrypoint '' --pull never x true
--mount type=bind,src=/a,dst=/b,readonly --mount type=tmpfs,dst=/t,tmpfs-size=1m -v /anon x
--device-read-bps /dev/sda:1mb --network n --ip 10.0.0.2 --network-alias y --shm-size 1g x
"""
    written = [f"docker run {line}" for line in more.strip().splitlines()]
    for line in [*(line for line, *_ in PAGES), *written]:
        with subtests.test(line):
            _, asked = read(line)
            told = [(bind or "127.0.0.1", local or 1, port) for bind, local, port in asked.ports]
            again = docker_run(asked.spec, (), told)
            for name, value in asked.spec["env"].items():
                assert f"{name}={value}" in again or "PASS" in name
                monkeypatch.setenv(name, value)
            _, same = read(again)
            assert same.spec == asked.spec
            assert [each[1:] for each in same.ports] == [each[1:] for each in told]


def test_secrets_are_named_and_not_told() -> None:
    secret = {"POSTGRES_PASSWORD": "x1", "API_KEY": "x2", "DB": "postgres://me:x3@db/"}
    plain = {"PASSWORD_FILE": "/run/p1", "KEYBOARD": "p2", "URL": "http://a/p3"}
    spec, _ = container_spec("x", {"env": {**secret, **plain}, "sleep": True})
    line = docker_run(spec, ["/etc/app.conf"], [])
    assert not any(value in line for value in secret.values())
    assert all(f"-e {name} " in line for name in secret)
    assert all(f"{name}={value}" in line for name, value in plain.items())
    assert line.endswith(
        "--entrypoint sleep x infinity  # /etc/app.conf is written before it starts"
    )


def test_all_of_help_is_in_the_table() -> None:
    names = {name for flag in FLAGS for name in flag.names}
    assert {f"--{word}" for word in HELP.split()} | set(SHORT.split()) <= names
    assert len(names) == sum(len(flag.names) for flag in FLAGS), "none has two meanings"
    taken = {flag.keyword for flag in FLAGS if flag.way in ("ours", "passed")}
    explicit = {"entrypoint", "env", "gpus", "hostname", "memory", "name", "network", "pull"}
    assert set(RunFlags.__annotations__) == taken - explicit - {"read_only", "user", "workdir"}


def test_what_has_no_counterpart_is_refused_by_the_nearest(subtests: pytest.Subtests) -> None:
    ours = r"--[a-z]|-[iv] |location\.|container|termination_callback=|Location\(|@sha256|leaving"
    refused = [flag for flag in FLAGS if flag.way == "refused"]
    assert len(refused) < 22
    for flag in refused:
        for name in flag.names:
            with subtests.test(name), pytest.raises(Misuse, match=flag.name) as caught:
                PARSER.read(f"{name} {'1 ' * bool(flag.metavar)}nginx")
            assert re.search(ours, flag.refusal), str(caught.value)
        with pytest.raises(Misuse, match=flag.name):
            container_spec("nginx", {flag.keyword: True})
    with pytest.raises(Misuse, match=r"container\.reboot\(\)"):
        container_spec("nginx", {"restart": "always"})
    assert container_spec("nginx", {"restart": "no"})
    for keyword in ("rm", "publish_all"):
        with pytest.raises(Misuse, match=f"{keyword}="):
            container_spec("nginx", {keyword: True})


#: Keyword, a value of Python's, the same as a line has it, as the agent hears it.
VALUES: list[tuple[str, Any, Any, Any]] = [
    ("add_host", {"db": "10.0.0.5"}, "db:10.0.0.5", ["db:10.0.0.5"]),
    ("add_host", ["v6:::1"], "v6=[::1]", ["v6:::1"]),
    ("cpu_shares", 512, "512", 512),
    ("device", ["/dev/fuse"], "/dev/fuse", [["/dev/fuse", "/dev/fuse", "rwm"]]),
    ("device", ["/dev/a:/dev/b:r"], "/dev/a:/dev/b:r", [["/dev/a", "/dev/b", "r"]]),
    ("device", "nvidia.com/gpu=all", "nvidia.com/gpu=all", [["nvidia.com/gpu=all"]]),
    ("device_read_bps", "/dev/sda:1048576", "/dev/sda:1mb", [["/dev/sda", 1 << 20]]),
    ("dns", ["1.1.1.1"], "1.1.1.1", ["1.1.1.1"]),
    ("expose", [80, 81], "80-81", [80, 81]),
    ("gpus", 2, "2", {"count": 2, "ids": [], "capabilities": ["gpu"], "driver": ""}),
    (
        "gpus",
        "device=0,1",
        '"device=0,1"',
        {"count": 0, "ids": ["0", "1"], "capabilities": ["gpu"], "driver": ""},
    ),
    ("health_interval", 90, "1m30s", 90.0),
    ("health_timeout", 0.5, "500ms", 0.5),
    ("log_opt", {"max-size": "1m"}, "max-size=1m", {"max-size": "1m"}),
    ("memory_swap", -1, "-1", -1),
    ("shm_size", 64 << 20, "64m", 64 << 20),
    ("sysctl", {"net.core.somaxconn": 1}, "net.core.somaxconn=1", {"net.core.somaxconn": "1"}),
    ("tmpfs", {"/run": "size=1m"}, "/run:size=1m", {"/run": "size=1m"}),
    ("tmpfs", "/run", ["/run"], {"/run": ""}),
    ("ulimit", {"nofile": 1024}, "nofile=1024", {"nofile": [1024, 1024]}),
    ("ulimit", {"core": (0, -1)}, "core=0:-1", {"core": [0, -1]}),
]


def test_values_are_the_same_in_python_and_on_a_line(subtests: pytest.Subtests) -> None:
    for keyword, python, text, heard in VALUES:
        with subtests.test(f"{keyword} {text}"):
            for value in (python, text):
                assert container_spec("x", {keyword: value})[0]["flags"] == {keyword: heard}


def test_values_that_are_none(subtests: pytest.Subtests) -> None:
    rows = [
        *(("add_host", each) for each in ("db", ":1", "db:")),
        *(("device", each) for each in ("fuse", "/dev/a:b", "/a:/b:rwm:x")),
        *(("expose", each) for each in ("x", "0", "90-80", "80/udp")),
        *(("gpus", each) for each in ("some", "", "0", "device=")),
        *(("health_interval", each) for each in ("soon", "5 m", -1)),
        *(("mount", each) for each in ("type=bind,dst=/x", "type=x,src=/a,dst=/b", "dst=x")),
        ("mount", "type=volume,src=a,dst=/b,volume-driver=nfs"),
        *(("publish", each) for each in ("x", "80/udp", "80-90:1-2", "1:2:3:4x")),
        *(("shm_size", each) for each in ("lots", -1)),
        *(("sysctl", each) for each in ("=1", 5)),
        *(("ulimit", each) for each in ("nofile", "files=1", "nofile=1:2:3", {"nofile": "x"})),
        *(("volume", each) for each in ("", "a:b:c:d", "a:/b:wide", "x y:/b", ":/b")),
        *(("init", each) for each in ("maybe", 2)),
    ]
    for keyword, value in rows:
        read_one = published if keyword == "publish" else partial(container_spec, "x")
        with subtests.test(f"{keyword}={value!r}"), pytest.raises((Misuse, FileError)) as caught:
            read_one({keyword: value})
        assert str(caught.value).startswith("Cannot ")
    with pytest.raises(Misuse, match="either"):
        container_spec("x", {"cpu": 1, "cpus": 2})


def test_mounts_as_docker_writes_them(subtests: pytest.Subtests) -> None:
    home = str(Path.home())
    rows = [
        ("volume", "data:/d", [["data", "/d", False]], ["data"]),
        ("volume", "~/x:/d:ro,z", [[f"{home}/x", "/d", True, ["z"]]], []),
        ("volume", "./x:/d:U", [[f"{HERE}/x", "/d", False, ["U"]]], []),
        ("volume", "/d", [["", "/d", False]], []),
        ("volume", "configmap:web:/d", [["configmap:web", "/d", False]], []),
        ("mount", "type=bind,source=/a,target=/d,readonly", [["/a", "/d", True]], []),
        ("mount", "source=data,destination=/d", [["data", "/d", False]], ["data"]),
        ("mount", "type=bind,src=/a,dst=/d,bind-propagation=rslave",
         [["/a", "/d", False, ["rslave"]]], []),
    ]  # fmt: skip
    for keyword, text, mounted, made in rows:
        with subtests.test(text):
            spec, _ = container_spec("x", {keyword: text})
            assert spec["volumes"] == mounted
            assert volumes_to_make({keyword: text}) == made
    spec, _ = container_spec("x", {"mount": "type=tmpfs,dst=/t,tmpfs-size=1m", "tmpfs": "/u"})
    assert spec["flags"]["tmpfs"] == {"/t": f"size={1 << 20}", "/u": ""}


def test_files_of_variables_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "yes")
    (tmp_path / "env").write_text("# no\n\nA=1\nB=x=y\nFROM_HERE\nNOT_HERE\n")
    (tmp_path / "labels").write_text("a=b\n")
    options = {
        "env_file": tmp_path / "env",
        "env": {"A": "2"},
        "label_file": [tmp_path / "labels"],
        "label": {"c": "d"},
    }
    spec, _ = container_spec("x", options)
    assert spec["env"] == {"A": "2", "B": "x=y", "FROM_HERE": "yes"}
    assert spec["labels"] == {"a": "b", "c": "d"}
    with pytest.raises(FileError, match="env_file"):
        container_spec("x", {"env_file": "/no/such"})


def test_switches_may_be_said_with_their_value() -> None:
    _, asked = read("docker run --rm=true --init=false --read-only=1 -d=false nginx")
    assert (asked.rm, asked.init, asked.read_only, asked.detach) == (True, False, True, False)


@pytest.mark.parametrize(
    ("command", "argv", "target"),
    [
        ("cat /a > /b", ["cat", "/a"], "/b"),
        ("cat >b", ["cat"], "b"),
        ("sh -c 'a | b > c; d'", ["sh", "-c", "a | b > c; d"], None),
        ("echo $HOME '$HOME'", ["echo", os.environ.get("HOME", ""), "$HOME"], None),
    ],
)
def test_what_a_shell_makes_of_a_pasted_command(
    command: str, argv: list[str], target: str | None
) -> None:
    assert shell_line(command) == (argv, target)


@pytest.mark.parametrize(
    "command", ["a | b", "a; b", "a && b", "a >> b", "a < b", "a 2> b", "a > b c", "a >", "$(ls)"]
)
def test_what_needs_a_shell_is_not_run(command: str) -> None:
    with pytest.raises(Misuse, match="Cannot read the line"):
        shell_line(command)


def test_a_pasted_line(
    shell: Shell, agent: ScriptedAgent, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "secret")
    line = "-d --name db -p 0:5432 -e DB_PASSWORD -v data:/data --shm-size=64m debian -c a=b"
    made = shell.run(f"%tf_spawn docker run \\\n  {line.replace('-p 0:5432 ', '-p 5432 ')}")
    told = agent.named("container.spawn")[-1].body["spec"]
    assert (told["command"], told["flags"]) == (["-c", "a=b"], {"shm_size": 64 << 20})
    assert agent.named("volume.create")[-1].body["name"] == "data"
    (tunnel,) = made.all_tunnels()
    assert made.docker_run() == (
        f"docker run -d --name db -e DB_PASSWORD -v data:/data -p 127.0.0.1:{tunnel.port}:5432 "
        "--shm-size 64m debian -c a=b"
    )
    with pytest.raises(Misuse, match="no shell"):
        shell.run("%tf_spawn docker run -v $(ls):/x nginx")
    assert "--shm-size" in shell.complete("%tf_spawn docker run --shm")
    assert not shell.complete("%tf_spawn --cidf")


def test_output_into_a_file(shell: Shell, agent: ScriptedAgent, web: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    made = shell["web"]
    agent.write(made.id, b"said\n")
    agent.end(made.id, 0)
    spawn._save(made, str(target))
    assert target.read_bytes() == b"said\n"


def test_lines_are_words_of_a_shell() -> None:
    spec, _ = container_spec("x", {"env": {"A": "two words; $HOME"}, "command": ["a b", "c'd"]})
    words = shlex.split(docker_run(spec, (), []))
    assert words == ["docker", "run", "-d", "-e", "A=two words; $HOME", "x", "a b", "c'd"]
    assert BY_KEYWORD["shm_size"].name == "--shm-size"
