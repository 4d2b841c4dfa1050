"""Mutants of a rule are made where they matter, run with what concerns the rule alone, and counted truly; tests/content runs them."""

from __future__ import annotations

import dataclasses
import json
import textwrap

import pytest

from observatory import mutation
from observatory.mutation import Outcome, Trial
from observatory.shipped import alert_rules, site_values

THRESHOLDS = {"node": {"Busy": {"ratio": 0.9, "count": 0, "days": 21, "window": "30m", "for": "15m", "units": ["a", "b"]}}}
VALUES = site_values.Values({"thresholds": THRESHOLDS, "platform_team": "platform"})
T = "thresholds.node.Busy"


def rule(source, severity="warning", **others):
    body = {"alert": "Busy", "expr": VALUES.page(source, "rules.yml"), "labels": {"severity": severity}, **others}
    return alert_rules.Rule("node", "node", body, "alerts/node/rules.yml", 3, True)


def changes(source, step=60, **others):
    """Return change -> what the rule then has, for all changes of an expression, or of `for`."""
    made = mutation.mutants(rule(source, **others), source, VALUES, step)
    assert len({mutant.change for mutant in made}) == len(made)
    return {mutant.change: mutant.body.get("for") if mutant.change.startswith("for") else mutant.body["expr"] for mutant in made}


# -- mutants


@pytest.mark.parametrize(
    ("source", "larger", "smaller"),
    [
        (f"a > [[ {T}.ratio ]]", "a > 0.99", "a > 0.81"),
        (f"a > [[ {T}.count ]]", "a > 1", "a > -1"),
        (f"a > [[ {T}.days ]] * 86400", "a > 23 * 86400", "a > 19 * 86400"),
        (f"rate(a[[[ {T}.window ]]]) > 0", "rate(a[33m]) > 0", "rate(a[27m]) > 0"),
        (f"a offset [[ {T}.window | minus('29m') ]] > 0", "a offset 2m > 0", "a offset 30s > 0"),
    ],
)
def test_a_threshold_becomes_larger_and_smaller_by_a_step_that_matters(source, larger, smaller):
    found = changes(source)
    assert [text for change, text in found.items() if change.startswith("node.")] == [larger, smaller]


def test_each_use_of_a_threshold_is_changed_alone():
    found = changes(f"a > [[ {T}.count ]] and b > [[ {T}.count ]]")
    assert found["node.Busy.count larger"] == "a > 1 and b > 0"
    assert found["node.Busy.count, use 2 larger"] == "a > 0 and b > 1"


def test_what_is_no_number_has_no_size():
    """A list of names, and site values that are no thresholds, stay as they are."""
    assert changes(f"a{{name=~\"[[ {T}.units | join('|') ]]\", team=\"[[ platform_team ]]\"}} == 1") == {
        "comparison 1, == becomes !=": 'a{name=~"a|b", team="platform"} != 1'
    }


def test_comparisons_become_their_neighbours_and_matchers_stay():
    assert changes('a{b!="c"} > 0 unless d <= 1') == {
        "comparison 1, > becomes >=": 'a{b!="c"} >= 0 unless d <= 1',
        "comparison 1, > becomes <": 'a{b!="c"} < 0 unless d <= 1',
        "comparison 2, <= becomes <": 'a{b!="c"} > 0 unless d < 1',
        "comparison 2, <= becomes >=": 'a{b!="c"} > 0 unless d >= 1',
    }


@pytest.mark.parametrize(
    ("value", "step", "found"),
    [
        ("15m", 60, {"for longer": "16m", "for shorter": "14m", "for removed": None}),
        ("1m", 60, {"for longer": "2m", "for removed": None}),
        ("0m", 60, {"for longer": "1m"}),
        ("1h", 600, {"for longer": "1h10m", "for shorter": "50m", "for removed": None}),
    ],
)
def test_for_becomes_longer_shorter_and_none(value, step, found):
    """By the time between two evaluations: less than that no test can see."""
    assert changes("vector(1)", step, **{"for": value}) == found


def test_an_alert_without_number_comparison_or_for_has_no_mutant():
    assert changes("vector(1)") == {}


# -- what is run


@pytest.fixture
def root(tmp_path):
    """A project with records, one of them with a threshold; an alert of two severities that reads one of them, and others."""
    files = {
        "group_vars/all/versions.yml": 'prometheus_version: "3.5.3"\n',
        "group_vars/all/thresholds.yml": json.dumps({"observatory_thresholds": THRESHOLDS}),
        "alerts/node/rules.yml": """
            groups:
              - name: node
                rules:
                  - {record: "host:a:sum", expr: sum by (host) (a)}
                  - {record: "host:b:sum", expr: sum by (host) (b)}
                  - alert: Busy
                    expr: |
                      host:a:sum
                      > [[ thresholds.node.Busy.ratio ]]
                    labels: &warning {severity: warning, team: x, component: node, alert_type: cause, incident: Busy}
                    annotations: &texts {summary: s, description: d, impact: i, runbook_url: "https://example.org"}
                  - {alert: Busy, expr: "host:a:sum > 1", labels: {<<: *warning, severity: critical}, annotations: *texts}
                  - {alert: Idle, expr: "host:b:sum == 0", labels: {<<: *warning, incident: Idle}, annotations: *texts}
              - name: others
                rules:
                  - {record: "host:c:count", expr: "count by (host) (c > [[ thresholds.node.Busy.count ]])"}
                  - {alert: Late, expr: "host:c:count > 0 and host:b:sum > 0", labels: {<<: *warning, incident: Late}, annotations: *texts}
                  - {alert: Many, expr: "count(ALERTS) > 1", labels: {<<: *warning, incident: Many}, annotations: *texts}
            """,
        "alerts/node/tests.yml": """
            rule_files: [rules.yml]
            evaluation_interval: 10m
            tests:
              - name: both
                input_series: [{series: a, values: 1x9}]
                alert_rule_test: [{eval_time: 5m, alertname: Busy}, {eval_time: 5m, alertname: Idle}]
                promql_expr_test: [{expr: a, eval_time: 1m}]
              - name: severity
                promql_expr_test: [{expr: 'ALERTS{alertname="Busy", severity="critical"}', eval_time: 1m}]
              - name: records
                promql_expr_test: [{expr: "host:c:count", eval_time: 1m}]
              - name: late
                alert_rule_test: [{eval_time: 5m, alertname: Late}]
            """,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    return tmp_path


def test_a_trial_holds_the_rule_what_it_reads_and_the_tests_that_look_at_it(root):
    warning, critical, idle, record, late, many = mutation.trials(root, ["node"])
    assert [trial.name for trial in (warning, critical, idle, record, late, many)] == [
        "node/Busy (warning)", "node/Busy (critical)", "node/Idle (warning)", "node/host:c:count", "node/Late (warning)", "node/Many (warning)",
    ]
    original, larger = warning.rule_files[:2]
    assert 'record: "host:a:sum"' in original and "host:b:sum" not in original and "Idle" not in original and "others" not in original
    assert original.replace("> 0.9", "> 0.99") == larger
    both, severity = warning.tests["tests"]
    assert [look["alertname"] for look in both["alert_rule_test"]] == ["Busy"] and not both["promql_expr_test"]
    assert severity["promql_expr_test"] and severity == critical.tests["tests"][1]
    # Which alerts these are is not to be seen: all stay.
    assert 'alert: "Idle"' in many.rule_files[0] and "host:a:sum" in many.rule_files[0]


def test_a_record_with_a_limit_is_judged_by_its_own_tests_and_those_of_its_readers(root):
    record = mutation.trials(root, ["node"])[3]
    assert [block["name"] for block in record.tests["tests"]] == ["records", "late"]
    # What the reader reads beside it is there, other alerts are not.
    assert all(name in record.rule_files[0] for name in ('"host:c:count"', '"Late"', '"host:b:sum"')) and "Busy" not in record.rule_files[0]
    assert "c > 1" in record.rule_files[1] and "c > -1" in record.rule_files[2]


def test_a_component_that_is_not_there_is_named(root):
    with pytest.raises(site_values.ContentError, match=r'no component "nod"\. Did you mean "node"\?'):
        mutation.trials(root, ["nod"])


def test_a_rule_and_its_tests_are_run_once(root, tmp_path, monkeypatch):
    """Not again until the rule, one of its tests or promtool is another one."""
    asked = []
    monkeypatch.setattr(mutation, "_ask", lambda trial, _promtool: asked.append(trial.name) or ["", *("failed" for _ in trial.mutants)])
    trial = mutation.trials(root)[0]

    def run(version="3.5.3", **others):
        return mutation.run(dataclasses.replace(trial, **others), "promtool", version, tmp_path / "cache")

    assert run() == run() and len(asked) == 1
    assert [mutant.change for mutant in run().killed] == [mutant.change for mutant in trial.mutants]
    run(tests={"tests": []})
    run(rule_files=["other", *trial.rule_files[1:]])
    run("3.6.0")
    assert len(asked) == 4


# -- what is said


def outcome(killed=0, survivors=0, broken=""):
    made = mutation.mutants(rule("a > 1 and b < 2", **{"for": "5m"}), "a > 1 and b < 2", VALUES)
    trial = Trial(rule("a > 1 and b < 2"), made, [], {})
    return Outcome(trial, broken, made[:killed], made[killed : killed + survivors])


def test_all_noticed_is_the_goal(capsys):
    assert mutation.report([outcome(killed=4)], {}) == 0
    assert capsys.readouterr().out == "rules: 1, changes: 4, noticed by a test: 4 (100.0%), without effect: 0\n"


def test_a_survivor_is_named_with_alert_place_and_change(capsys):
    assert mutation.report([outcome(killed=3, survivors=1)], {}) == 1
    said = capsys.readouterr().out
    assert "alerts/node/rules.yml:3: node/Busy (warning): no test notices: comparison 2, < becomes >: … a > 1 and b [<] 2 …" in said
    assert "changes: 4, noticed by a test: 3 (75.0%)" in said


def test_a_change_without_effect_is_listed_with_a_reason_and_no_longer_than_it_is_one(capsys):
    equivalent = {"node/Busy (warning): comparison 2, < becomes >": "b is never 2"}
    assert mutation.report([outcome(killed=3, survivors=1)], equivalent) == 0
    assert "noticed by a test: 3 (100.0%), without effect: 1" in capsys.readouterr().out
    assert mutation.report([outcome(killed=4)], equivalent) == 1
    assert 'take "node/Busy (warning): comparison 2, < becomes >" off EQUIVALENT' in capsys.readouterr().out
    # Of an alert that was not looked at nothing is known.
    assert mutation.report([outcome(killed=4)], {"node/Other (warning): for removed": "x"}) == 0


def test_tests_that_fail_without_a_change_prove_nothing(capsys):
    assert mutation.report([outcome(broken="exp: [] got: [Busy]", survivors=2)], {}) == 2
    said = capsys.readouterr().out
    assert "its tests fail without a change:\nexp: [] got: [Busy]" in said and "no test notices" not in said
