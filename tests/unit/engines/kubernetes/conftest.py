"""What the tests of clusters share."""

from pathlib import Path

import pytest
from unit.engines.kubernetes.certificates import Authority, Certificate


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server(authority: Authority) -> Certificate:
    """For 127.0.0.1."""
    return authority.sign("server", "IP:127.0.0.1")


@pytest.fixture(scope="session")
def person(authority: Authority) -> Certificate:
    """A client's."""
    return authority.sign("jane")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path
