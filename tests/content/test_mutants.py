"""promtool's word on a mutant: a test that looks closely notices it, one that does not lets it live."""

from __future__ import annotations

import dataclasses

import pytest

from observatory import mutation
from observatory.mutation import Trial
from observatory.shipped import alert_rules, site_values

VALUES = site_values.Values({"thresholds": {"node": {"Busy": {"count": 20}}}})
SOURCE = "a > [[ thresholds.node.Busy.count ]]"
BODY = {"alert": "Busy", "expr": "a > 20", "for": "5m", "labels": {"severity": "warning"}}
FIRES = {"exp_labels": {"severity": "warning"}}


def look(series, *looks):
    return {
        "interval": "1m",
        "input_series": [{"series": "a", "values": series}],
        "alert_rule_test": [{"eval_time": time, "alertname": "Busy", "exp_alerts": alerts} for time, alerts in looks],
    }


CLOSE = [look("21x9", ("4m", []), ("5m", [FIRES])), look("20x9", ("9m", []))]


@pytest.fixture
def run(promtool, tmp_path):
    """Return the outcome of a rule's mutants with these tests."""

    def run(blocks, body=BODY, source=SOURCE):
        rule = alert_rules.Rule("node", "node", body, "alerts/node/rules.yml", 3, True)
        made = mutation.mutants(rule, source, VALUES)
        bodies = [body, *(mutant.body for mutant in made)]
        files = [alert_rules.file_text([({"name": "node"}, [dataclasses.replace(rule, body=text)], "")]) for text in bodies]
        trial = Trial(rule, made, files, {"evaluation_interval": "1m", "tests": blocks})
        return mutation.run(trial, promtool, "version", tmp_path)

    return run


def changes(mutants):
    return [mutant.change for mutant in mutants]


def test_close_looks_notice_every_change(run):
    outcome = run(CLOSE)
    assert outcome.broken == "" and outcome.survivors == []
    assert changes(outcome.killed) == [
        "node.Busy.count larger", "node.Busy.count smaller", "comparison 1, > becomes >=", "comparison 1, > becomes <",
        "for longer", "for shorter", "for removed",
    ]


def test_far_looks_let_changes_live(run):
    outcome = run([look("99x9", ("8m", [FIRES])), look("20x9", ("9m", []))])
    assert changes(outcome.survivors) == ["node.Busy.count larger", "for longer", "for shorter", "for removed"]


def test_a_rule_that_prometheus_refuses_is_no_mutant(run):
    """It is never in force: here the mutated threshold leaves a bracket open."""
    outcome = run(CLOSE, source="a > ([[ thresholds.node.Busy.count ]]")
    assert changes(outcome.killed)[:2] == ["comparison 1, > becomes >=", "comparison 1, > becomes <"]
    assert outcome.survivors == []


def test_tests_that_fail_or_are_not_there_are_told(run):
    assert "alertname: Busy" in run([look("20x9", ("9m", [FIRES]))]).broken
    assert run([]).broken == "no test looks at it"
