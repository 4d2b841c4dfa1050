import os
import time

import core_fakes
import pytest
from ansible_collections.observatory.core.plugins.module_utils import account, release, service


@pytest.fixture
def target(tmp_path, monkeypatch):
    """A bare host with an upstream that has beacon 1.0 and 2.0; nothing waits for real, the disk included."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    host = core_fakes.Target(tmp_path)
    host.upstream.publish("1.0")
    host.upstream.publish("2.0")
    real = account.user_is_missing
    monkeypatch.setattr(account, "user_is_missing", lambda name: real(name) and name not in host.machine.read()["users"])
    monkeypatch.setattr(release, "_open_url", host.upstream.open)
    monkeypatch.setattr(service, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(service, "POLL_SECONDS", 0)
    host.slept = []
    monkeypatch.setattr(release, "time", type("Clock", (), {"sleep": staticmethod(host.slept.append), "monotonic": time.monotonic}))
    return host
