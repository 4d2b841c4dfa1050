"""The ladder from end to end, with shortened clocks: a real page, nobody answers, the second in line, the manager; and what an acknowledgement does."""

from __future__ import annotations

import json
import time

import pytest
from alerting import alertmanager, now, obs, received, state
from fleet import converge, host, prometheus, wait_for

SCALE = 0.05
FIRST, SECOND = 600 * SCALE, 1200 * SCALE
# Evaluation, group_wait and group_interval of the lab.
SLACK = 25
PAGE = "StackServiceNotActive"
SETTINGS = {
    "observatory_alert_time_scale": SCALE,
    "second_line_url": "http://sink.lab/webhook/second",
    "manager_url": "http://sink.lab/webhook/manager",
    "observatory_teams": {
        "platform": {
            "webhook": {"url_variable": "alertmanager_webhook_url_platform"},
            "escalation": [{"after": "10m", "webhook": {"url_variable": "second_line_url"}}, {"after": "20m", "webhook": {"url_variable": "manager_url"}}],
        },
        "shop": {
            "slack": {"channel": "#shop", "url_variable": "alertmanager_slack_url_shop"},
            "pagerduty": {"routing_key_variable": "alertmanager_pagerduty_key_shop"},
        },
    },
}
TAGS = ("--tags", "always,prometheus,alertmanager")


@pytest.fixture(scope="module", autouse=True)
def ladder():
    """A team with a ladder while these tests run."""
    converge(*TAGS, "-e", json.dumps(SETTINGS))
    yield
    host("app1").run("systemctl start json_exporter")
    for silence in alertmanager("GET", "/api/v2/silences"):
        if silence["status"]["state"] == "active":
            alertmanager("DELETE", f"/api/v2/silence/{silence['id']}")
    converge()


@pytest.fixture
def page():
    """json_exporter on app1 is stopped, and its page has come; return when, as Unix time."""
    began = now()
    host("app1").check_output("systemctl stop json_exporter")
    wait_for("the page", lambda: told("platform", began), 90)
    yield told("platform", began)[0]["time"]
    host("app1").check_output("systemctl start json_exporter")
    wait_for("the end", lambda: not firing(), 60)
    # The clock of a page outlives a short recovery; the next test begins its own.
    clock = f'last_over_time(alert:page:since{{incident="{PAGE}"}}[{1200 * SCALE:.0f}s])'
    wait_for("a clock that is forgotten", lambda: not prometheus(clock), 120)


def told(who, since):
    """Return the messages about the page that firing alerts made, to one receiver."""
    return [
        entry for entry in received("webhook", since, PAGE)
        if entry["path"] == f"/webhook/{who}" and entry["body"]["status"] == "firing" and "app1" in json.dumps(entry["body"]["alerts"])
    ]


def firing():
    return prometheus(f'ALERTS{{alertstate="firing", incident="{PAGE}", host="app1"}}')


def test_a_page_that_nobody_answers_climbs_also_over_a_restart_of_prometheus(page, tell):
    """Second in line and manager hear of it at their times after the page, though Prometheus is restarted on the way."""
    time.sleep(max(0, page + FIRST / 2 - now()))
    assert not told("second", page)
    host("hub").check_output("systemctl restart prometheus")
    wait_for("the second in line", lambda: told("second", page), FIRST + SLACK)
    assert not told("manager", page)
    wait_for("the manager", lambda: told("manager", page), SECOND - FIRST + SLACK)
    second, manager = (told(who, page)[0]["time"] - page for who in ("second", "manager"))
    tell(f"second in line {second:.0f} s after the page (due {FIRST:.0f}), manager {manager:.0f} s (due {SECOND:.0f})")
    assert FIRST - SLACK < second < FIRST + SLACK and SECOND - SLACK < manager < SECOND + SLACK
    # A probe of the same host may have a page of its own in it.
    (message,) = [entry for entry in told("second", page)[0]["body"]["alerts"] if entry["labels"]["incident"] == PAGE]
    assert message["labels"]["alertname"] == "PageUnanswered"
    assert message["annotations"]["runbook_url"].endswith(f"/runbooks/node/{PAGE}")


def test_an_acknowledged_page_stays_where_it_is_until_the_acknowledgement_ends(page):
    """Neither rung is told; when the silence ends and nobody has put it right, both are."""
    seconds = int(SECOND + SLACK)
    code, _said, errors = obs("ack", PAGE, "host=app1", "--for", f"{seconds}s", "--comment", "on it")
    assert code == 0, errors
    time.sleep(seconds - 5)
    assert len(firing()) >= 2, "the rungs fire, silenced"
    assert not told("second", page) and not told("manager", page)
    assert state(incident=PAGE, host="app1", escalation="1")["silencedBy"]
    wait_for("both rungs", lambda: told("second", page) and told("manager", page), 5 + 2 * SLACK)
