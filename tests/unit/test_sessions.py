"""What the gateway's session cookies follow from."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import sys
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path

import jinja2
import pytest
from ansible_collections.observatory.core.plugins.filter.gateway_session import FilterModule
from ansible_collections.observatory.core.plugins.plugin_utils.sessions import session

TEMPLATES = Path(__file__).resolve().parents[2] / "roles/gateway/templates"
SECRETS = {"jane": "a" * 64, "admin": "b" * 64}
HOUR = 3600


def test_session_is_an_hmac_of_user_and_password_hash():
    expected = hmac.new(b"key", b"jane\n$2b$10$hash", hashlib.sha256).hexdigest()
    assert session("jane", "$2b$10$hash", "key") == expected
    assert FilterModule().filters()["gateway_session"]("jane", "$2b$10$hash", "key") == expected


@pytest.mark.parametrize("other", [("joe", "hash", "key"), ("jane", "other", "key"), ("jane", "hash", "other"), ("jan", "e\nhash", "key")])
def test_another_user_password_or_key_makes_another_session(other):
    assert session(*other) != session("jane", "hash", "key")


def rendered(session_seconds: int) -> str:
    """Return the program as the role renders it."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True, keep_trailing_newline=True)
    # Ansible's own, named by macros that are not used here.
    environment.filters |= dict.fromkeys(("to_nice_yaml", "regex_replace", "human_to_bytes"), str)
    return environment.get_template("usr/local/lib/observatory/gateway/sessions.j2").render(__gateway_session_seconds=session_seconds)


@pytest.fixture
def program(tmp_path, monkeypatch) -> types.ModuleType:
    """The program that the role puts on the host, for sessions of two hours, with its files in a folder."""
    monkeypatch.setattr(sys, "argv", ["sessions"])
    text = rendered(2 * HOUR)
    file = tmp_path / "sessions"
    file.write_text(text.replace('"/etc/gateway/secrets/sessions.json"', repr(str(tmp_path / "users"))).replace('"/run/gateway"', repr(str(tmp_path))))
    (tmp_path / "users").write_text(json.dumps(SECRETS))
    loader = SourceFileLoader("gateway_sessions", str(file))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gateway_sessions", loader))
    # The file ends by exiting, as a program does.
    monkeypatch.setattr(sys, "exit", lambda code: None)
    loader.exec_module(module)
    module.folder = tmp_path
    return module


def at(program: types.ModuleType, monkeypatch, seconds: float, *arguments: str) -> int:
    monkeypatch.setattr(program.time, "time", lambda: seconds)
    monkeypatch.setattr(sys, "argv", ["sessions", *arguments])
    return program.main()


def lines(program: types.ModuleType, name: str) -> dict[str, str]:
    return dict(line.rstrip(";").split() for line in (program.folder / name).read_text().splitlines())


def test_session_is_taken_for_its_time_and_half_of_it_more_at_most(program, monkeypatch):
    at(program, monkeypatch, 10 * HOUR)
    given = lines(program, "new_sessions.map")["jane"]
    taken = []
    for hour in range(9, 15):
        at(program, monkeypatch, hour * HOUR)
        taken.append((hour, lines(program, "sessions.map").get(given)))
    # At nine by another gateway, whose clock is behind.
    assert taken == [(9, "jane"), (10, "jane"), (11, "jane"), (12, "jane"), (13, None), (14, None)]


def test_each_user_has_sessions_of_their_own_that_the_service_alone_reads(program, monkeypatch):
    at(program, monkeypatch, 10 * HOUR)
    known = lines(program, "sessions.map")
    assert len(known) == 8 and sorted(set(known.values())) == ["admin", "jane"]
    assert all(known[value] == user for user, value in lines(program, "new_sessions.map").items())
    assert {(program.folder / name).stat().st_mode & 0o777 for name in ("sessions.map", "new_sessions.map")} == {0o600}
    assert not set(SECRETS.values()) & set(known)


def test_it_is_due_when_the_time_has_come_and_when_nothing_was_written(program, monkeypatch):
    (program.folder / "period").unlink()
    assert at(program, monkeypatch, 10 * HOUR, "--due") == 0
    at(program, monkeypatch, 10 * HOUR)
    assert at(program, monkeypatch, 11 * HOUR - 1, "--due") == 1
    assert at(program, monkeypatch, 11 * HOUR, "--due") == 0


@pytest.mark.parametrize(("session_seconds", "period_seconds"), [(12 * HOUR, 6 * HOUR), (61, 31), (0, 30)])
def test_period_is_half_a_session_and_never_nothing(session_seconds, period_seconds):
    text = rendered(session_seconds)
    assert f"\nPERIOD_SECONDS = {period_seconds}\n" in text
    assert text.startswith("#!/usr/bin/python3\n")
