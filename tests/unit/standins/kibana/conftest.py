"""Fixtures: an Elasticsearch that is a fake, and the stand-in before it."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[4] / "lab" / "standins" / "kibana" / "lib"))

from kibana_fakes import FakeElasticsearch, RunningKibana


@pytest.fixture
def elasticsearch():
    with FakeElasticsearch() as server:
        yield server


@pytest.fixture
def kibana(elasticsearch, tmp_path):
    """Return the stand-in, up and let in by Elasticsearch."""
    with RunningKibana(tmp_path, {"elasticsearch.hosts": [elasticsearch.url], "elasticsearch.serviceAccountToken": "the-token"}) as server:
        yield server
