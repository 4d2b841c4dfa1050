"""What the tests of the Logstash stand-in share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[4] / "lab" / "standins" / "logstash" / "lib"))
sys.path.insert(0, str(Path(__file__).parent))

import logstash_fakes


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Certificates of a site's authority, and one of a foreign authority."""
    return logstash_fakes.make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def elasticsearch(certificates):
    """A fake Elasticsearch over mutual TLS."""
    server = logstash_fakes.FakeElasticsearch(certificates)
    yield server
    server.close()


@pytest.fixture
def quiet(monkeypatch):
    """The log lines that the stand-in writes, instead of stdout."""
    return logstash_fakes.capture_log(monkeypatch)
