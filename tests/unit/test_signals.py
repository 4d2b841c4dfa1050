"""A verification says what has arrived, and what has not and why."""

import json

import pytest
from ansible_collections.observatory.core.plugins.filter.signal_table import signal_table
from ansible_collections.observatory.core.plugins.module_utils import signals


def targets(*healths):
    active = [
        {"health": health, "lastError": error, "labels": {"job": "node", "instance": f"h{number}:9100"}}
        for number, (health, error) in enumerate(healths)
    ]
    return {"data": {"activeTargets": active}}


def test_targets_that_are_not_up_are_listed_with_their_error():
    """Job, instance and Prometheus' own words."""
    with pytest.raises(signals.Missing) as error:
        signals.judge_targets(targets(("up", ""), ("down", "connection refused"), ("unknown", "")), 3)
    assert str(error.value) == "2 of 3 targets are not up:\nnode h1:9100: connection refused\nnode h2:9100: not scraped yet"


def test_fewer_targets_than_the_inventory_has_are_not_enough():
    """All up is no success when some are unknown to Prometheus."""
    with pytest.raises(signals.Missing, match="1 targets are known, there should be 2 or more"):
        signals.judge_targets(targets(("up", "")), 2)
    assert signals.judge_targets(targets(("up", ""), ("up", "")), 2) == "2 targets"


def event(integration, run):
    return json.dumps({"@timestamp": "2026-11-24T12:00:01.250000001Z", "data": {"notification": {
        "integration": {"name": integration}, "alerts": [{"details": {"labels": {"run": run}}}],
    }}})


def test_a_notification_counts_for_its_own_run_alone():
    """Damaged lines and other events are passed over."""
    lines = [event("email", "r1"), event("webhook", "r2"), '{"data": {"alertCreated": {"run": "r1"}}}', '{"r1"']
    found = signals.notified(lines, ["r1"])
    assert found == {"email": pytest.approx(1795521601.25)}
    with pytest.raises(signals.Missing, match=r"has not sent by webhook \(sent: email\)"):
        signals.judge_notified(found, ["email", "webhook"])


def test_a_message_without_its_runbook_link_is_told_apart_from_none():
    """The link is what the person who was woken needs."""
    answer = [{"kind": "mail", "time": 5.0, "body": "r1 http://runbook"}, {"kind": "webhook", "time": 6.0, "body": "r1"}]
    assert signals.judge_received(answer, ["r1", "http://runbook"], ["email"]) == {"email": 5.0}
    with pytest.raises(signals.Missing, match="webhook has the message, but without http://runbook"):
        signals.judge_received(answer, ["r1", "http://runbook"], ["email", "webhook"])
    with pytest.raises(signals.Missing, match="nothing has arrived at slack"):
        signals.judge_received(answer, ["r1", "http://runbook"], ["slack"])


def test_waiting_ends_with_the_last_reason():
    """The clock is an argument; so is the pause."""
    clock = iter(range(100))

    def look():
        raise signals.Missing("nothing yet")

    with pytest.raises(signals.Missing, match="nothing yet"):
        signals.wait(look, 3, clock=lambda: next(clock), sleep=lambda seconds: None)


def test_the_table_shows_products_then_signals():
    """What was not tried is told apart from what is missing."""
    lines = signal_table(
        {"metric": {"seconds": 3.21, "detail": "value 1"}, "alert": {"failed": True}, "mail": {"skipped": True}, "log": {}},
        [{"host": "hub", "product": "prometheus", "version": "3.5.3", "state": "active"}],
    )
    assert lines.splitlines() == [
        "HOST  PRODUCT     VERSION  STATE",
        "hub   prometheus  3.5.3    active",
        "",
        "SIGNAL  STATE      SECONDS  HOW",
        "metric  arrived    3.2      value 1",
        "alert   MISSING",
        "mail    not tried",
        "log     not tried",
    ]
