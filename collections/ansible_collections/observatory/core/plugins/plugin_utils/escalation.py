"""The ladder of a page that nobody answers: rules for Prometheus, made from teams.yml. Plain data in, plain data out; no Ansible here.

A page is a critical alert that fires. `alert:page:since` is when it began; it is read back from Prometheus' own store, so it outlives a restart and
a short recovery. A rung is an alert of its own that keeps the page's labels, `incident` and `component` among them: the silence that acknowledges
the page silences its rungs, and what inhibits the page inhibits them. A rung is no page: its label `escalation` keeps it out of the record.
"""

from __future__ import annotations

import typing as t

from .alert_rules import Rule
from .site_values import duration, is_duration, seconds

COMPONENT = "escalation"
SOURCE = "observatory_teams"
ALERT = "PageUnanswered"
SINCE = "alert:page:since"
# For so long the clock of a page goes on after it has ended: a restart of Prometheus, and an alert that comes and goes, do not begin anew.
MEMORY_SECONDS = 1200
SHORTEST_SECONDS = 60
WHEN = ("always", "office", "nights")


class LadderError(Exception):
    """What is wrong, with the variable's path."""


def rungs(team: str, given: t.Mapping[str, t.Any] | None) -> list[dict[str, t.Any]]:
    """Return a team's rungs as they are to be used, each with `number`, `seconds` and `when`. Raises LadderError."""
    found: list[dict[str, t.Any]] = []
    latest: dict[str, float] = {}
    for index, rung in enumerate((given or {}).get("escalation") or []):
        path = f"{SOURCE}.{team}.escalation[{index}]"
        after, when = rung.get("after"), rung.get("when") or "always"
        if not is_duration(after) or seconds(after) < SHORTEST_SECONDS:
            raise LadderError(f"{path}.after is {after!r}; expected how long after the page, a duration from 1m on, such as 15m")
        if when not in WHEN:
            raise LadderError(f"{path}.when is {when!r}; expected {', '.join(WHEN[:-1])} or {WHEN[-1]}")
        if when != "always" and not (given or {}).get("office_hours"):
            raise LadderError(f"{path}.when is {when!r}, but {SOURCE}.{team}.office_hours is not set")
        for other in WHEN if when == "always" else (when,):
            if seconds(after) <= latest.get(other, 0):
                raise LadderError(f"{path}.after is {after}; a rung comes later than the one before it, after more than {duration(latest[other])}")
            latest[other] = seconds(after)
        found.append({**rung, "number": index + 1, "seconds": seconds(after), "when": when})
    return found


def groups(teams: t.Mapping[str, t.Any], values: t.Mapping[str, t.Any], scale: float = 1.0) -> list[tuple[dict[str, t.Any], list[Rule], str]]:
    """Return the component's groups as alert_rules has them: empty where no team has a ladder.

    values: runbook_base_url and dashboard_base_url. scale: by which all times are multiplied, for tests.
    """
    made = [_rule(team, rung, values, scale) for team, given in sorted(teams.items()) for rung in rungs(team, given)]
    if not made:
        return []
    memory = duration(max(MEMORY_SECONDS * scale, 1))
    page = 'max without (alertstate) (ALERTS{alertstate="firing", severity="critical", escalation="", synthetic!="true"})'
    since = {"record": SINCE, "expr": f"(last_over_time({SINCE}[{memory}]) and {page})\nor\n({page} * time())"}
    return [({"name": COMPONENT}, [Rule(COMPONENT, COMPONENT, body, SOURCE, 0, True) for body in (since, *made)], SOURCE)]


def _rule(team: str, rung: t.Mapping[str, t.Any], values: t.Mapping[str, t.Any], scale: float) -> dict[str, t.Any]:
    after = duration(max(rung["seconds"] * scale, 1))
    what = "{{ $labels.alertname }}{{ with $labels.host }} on {{ . }}{{ end }}"
    return {
        "alert": ALERT,
        "expr": f'time() - {SINCE}{{team="{team}"}} >= {seconds(after)}',
        "labels": {"escalation": str(rung["number"])},
        "annotations": {
            "summary": f"Nobody answers: {what}",
            "description": f"{what} has paged the team {team} for {after}, and nobody has acknowledged it.",
            "impact": "What the page says goes on, and it is not known that anybody works on it.",
            "runbook_url": f"{values['runbook_base_url']}/{{{{ $labels.component }}}}/{{{{ $labels.alertname }}}}",
            "dashboard_url": f"{values['dashboard_base_url']}/d/alerts-status?from=now-3h&to=now",
            "dashboard_panel": "Firing alerts",
        },
    }
