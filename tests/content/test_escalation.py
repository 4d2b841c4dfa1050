"""The ladder's rules, run by promtool: when a rung is reached, and what a page's clock outlives."""

from __future__ import annotations

import json
import subprocess

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, escalation

TEAMS = {
    "shop": {"escalation": [{"after": "10m"}, {"after": "30m"}]},
    "platform": {"escalation": [{"after": "15m"}]},
    "quiet": {},
}
VALUES = {"runbook_base_url": "https://x/runbooks", "dashboard_base_url": "https://x/grafana"}
PAGE = 'ALERTS{alertname="TargetDown", alertstate="firing", severity="critical", team="%s", incident="TargetDown", component="observatory", host="app1"}'


def fired(number, team="shop", after="10m"):
    return {
        "exp_labels": {
            "severity": "critical", "team": team, "incident": "TargetDown", "component": "observatory", "host": "app1", "escalation": str(number),
        },
        "exp_annotations": {
            "summary": "Nobody answers: TargetDown on app1",
            "description": f"TargetDown on app1 has paged the team {team} for {after}, and nobody has acknowledged it.",
            "impact": "What the page says goes on, and it is not known that anybody works on it.",
            "runbook_url": "https://x/runbooks/observatory/TargetDown",
            "dashboard_url": "https://x/grafana/d/alerts-status?from=now-3h&to=now",
            "dashboard_panel": "Firing alerts",
        },
    }


FIRST, SECOND = fired(1), fired(2, after="30m")


@pytest.fixture
def check(promtool, tmp_path):
    """Run promtool: the page's samples, and the rungs that are expected at moments."""

    def run(values, looks, series=PAGE % "shop", scale=1.0, interval="1m"):
        rules = tmp_path / "rules.yml"
        rules.write_text(alert_rules.file_text(escalation.groups(TEAMS, VALUES, scale)))
        test = {
            "rule_files": ["rules.yml"], "evaluation_interval": interval,
            "tests": [{
                "interval": interval, "input_series": [{"series": series, "values": values}],
                "alert_rule_test": [
                    {"eval_time": moment, "alertname": escalation.ALERT, "exp_alerts": expected} for moment, expected in looks.items()
                ],
            }],
        }
        (tmp_path / "tests.yml").write_text(json.dumps(test))
        done = subprocess.run([promtool, "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_a_page_climbs_rung_by_rung_and_comes_down(check):
    """Page at 5m, rungs 10m and 30m later, resolved at 45m."""
    check("_x5 1x39 _x20", {"14m": [], "15m": [FIRST], "34m": [FIRST], "35m": [FIRST, SECOND], "44m": [FIRST, SECOND], "51m": []})


def test_each_team_has_its_own_times(check):
    check("1x30", {"14m": [], "15m": [fired(1, "platform", "15m")]}, series=PAGE % "platform")


def test_a_team_without_a_ladder_has_no_rungs(check):
    check("1x90", {"89m": []}, series=PAGE % "quiet")


@pytest.mark.parametrize("change", [
    ('severity="critical"', 'severity="warning"'), ('alertstate="firing"', 'alertstate="pending"'),
    ('host="app1"', 'host="app1", escalation="1"'), ('host="app1"', 'host="app1", synthetic="true"'),
])
def test_what_is_no_page_does_not_climb(check, change):
    """Tickets, pending alerts, rungs themselves and synthetic alerts."""
    check("1x60", {"59m": []}, series=(PAGE % "shop").replace(*change))


def test_a_restart_of_prometheus_does_not_begin_anew(check):
    """The page is away for eight minutes, as by a restart with a `for` that begins anew: the second rung comes at its time."""
    check("1x15 stale _x7 1x40", {"11m": [FIRST], "20m": [], "24m": [FIRST], "29m": [FIRST], "30m": [FIRST, SECOND]})


def test_a_page_that_comes_and_goes_still_climbs(check):
    """Three minutes there, three away: the clock goes on, so somebody hears of it."""
    check("1 1 1 stale _ _ 1 1 1 stale _ _ 1 1 1 stale _ _", {"8m": [], "9m": [], "13m": [FIRST], "17m": []})


def test_a_page_of_later_has_a_clock_of_its_own(check):
    """Away for more than twenty minutes, it begins anew."""
    check("1x12 stale _x24 1x12", {"11m": [FIRST], "40m": [], "46m": [], "48m": [FIRST]})


def test_times_can_be_shortened(check):
    check("1x40", {"29s": [], "30s": [fired(1, after="30s")]}, scale=0.05, interval="1s")


def test_without_ladders_there_is_no_file():
    assert escalation.groups({"platform": {}}, VALUES) == []


@pytest.mark.parametrize(("given", "words"), [
    ({"escalation": [{"after": "soon"}]}, r"escalation\[0\].after is 'soon'"),
    ({"escalation": [{"after": "10s"}]}, "from 1m on"),
    ({"escalation": [{"after": "30m"}, {"after": "30m"}]}, r"escalation\[1\].after is 30m; a rung comes later"),
    ({"escalation": [{"after": "10m", "when": "weekends"}]}, "expected always, office or nights"),
    ({"escalation": [{"after": "10m", "when": "nights"}]}, "office_hours is not set"),
])
def test_a_ladder_that_cannot_be_climbed_is_refused(given, words):
    with pytest.raises(escalation.LadderError, match=words):
        escalation.rungs("shop", given)


def test_office_and_nights_have_ladders_of_their_own():
    """Each is in order by itself."""
    given = {
        "office_hours": {"days": ["monday:friday"], "from": "08:00", "to": "18:00"},
        "escalation": [{"after": "10m", "when": "office"}, {"after": "20m", "when": "office"}, {"after": "15m", "when": "nights"}, {"after": "1h"}],
    }
    assert [(rung["seconds"], rung["when"]) for rung in escalation.rungs("shop", given)] == [
        (600, "office"), (1200, "office"), (900, "nights"), (3600, "always")
    ]
