"""Thresholds of single hosts: which hosts get which, what the rules look like, and each mistake's message."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import overrides, site_values
from ansible_collections.observatory.core.plugins.plugin_utils.alert_rules import Rule, RuleSet
from ansible_collections.observatory.core.plugins.plugin_utils.site_values import ContentError

ROOT = pathlib.Path(__file__).parents[2]
GROUPS = {"all": ["hub", "app1", "app2"], "apps": ["app1", "app2"], "empty": []}
THRESHOLDS = {"node": {"Busy": {"ratio": 0.9, "for": "15m"}, "Down": {"for": "3m"}}, "job": {"Gone": {"ratio": 0.1}}}
RANGES = {("node", "Busy", "ratio"): ("0.5", "0.99"), ("node", "Busy", "for"): ("5m", "2h")}


def rules(thresholds):
    """Return the rules that the thresholds make, as alert_rules.load would."""

    def rule(component, line, body):
        return Rule(component, component, body, f"alerts/{component}/rules.yml", line, True)

    def alert(component, line, name, expr, wait="0s"):
        return rule(component, line, {"alert": name, "expr": expr, "for": wait, "labels": {"severity": "warning"}})

    node, job = thresholds["node"], thresholds["job"]
    return RuleSet(
        {
            "node": [
                (
                    {"name": "node"},
                    [
                        rule("node", 3, {"record": "instance:busy", "expr": "sum without (cpu) (busy)"}),
                        alert("node", 5, "Busy", f"instance:busy > {node['Busy']['ratio']}", node["Busy"]["for"]),
                        alert("node", 7, "Down", "up == 0", node["Down"]["for"]),
                    ],
                    "alerts/node/rules.yml",
                )
            ],
            "job": [({"name": "job"}, [alert("job", 3, "Gone", f"max by (job) (up) < {job['Gone']['ratio']}")], "alerts/job/rules.yml")],
        }
    )


def applied(*entries):
    variants = overrides.variants(entries, THRESHOLDS, GROUPS)
    return overrides.apply(rules(THRESHOLDS), entries, [(variant, rules(variant.thresholds)) for variant in variants])


def busy(*hosts, **values):
    return {"hosts": list(hosts), "thresholds": {"node": {"Busy": values}}}


def test_an_override_makes_a_second_rule_and_limits_the_first():
    """The record comes first; alerts whose rule stays the same are left alone, and so are other components."""
    result = applied(busy("app1", ratio=0.95))
    bodies = [rule.body for rule in result.rules if rule.component == "node"]
    assert [rule.get("alert") or rule["record"] for rule in bodies] == [overrides.RECORD, "instance:busy", "Busy", "Busy", "Down"]
    assert bodies[0] == {
        "record": overrides.RECORD,
        "expr": 'label_replace(vector(1), "host", "app1", "", "")',
        "labels": {"alert": "Busy", "severity": "warning", "override": "1"},
    }
    constants = 'observatory:override:host{alert="Busy", severity="warning"'
    assert bodies[2]["expr"] == f"(\ninstance:busy > 0.9\n)\nunless on (host) {constants}}}"
    assert bodies[3]["expr"] == f'(\ninstance:busy > 0.95\n)\nand on (host) {constants}, override="1"}}'
    assert {key: value for key, value in bodies[2].items() if key != "expr"} == {key: value for key, value in bodies[3].items() if key != "expr"}
    assert result.groups["job"] == rules(THRESHOLDS).groups["job"]


def test_later_entries_win_value_by_value():
    """A host of two entries has the values of both, the later one's where both name one."""
    given = [busy("apps", ratio=0.95, **{"for": "30m"}), busy("app1", ratio=0.97)]
    found = {variant.hosts: variant.thresholds["node"]["Busy"] for variant in overrides.variants(given, THRESHOLDS, GROUPS)}
    assert found == {("app1",): {"ratio": 0.97, "for": "30m"}, ("app2",): {"ratio": 0.95, "for": "30m"}}


def test_hosts_with_the_same_rule_share_it():
    """However the values came about; and an override with the site's own value makes no rule."""
    names = [rule.name for rule in applied(busy("app2", ratio=0.95), busy("hub", ratio=0.9), busy("app1", ratio=0.95)).rules]
    assert names.count("Busy") == 2
    assert [rule.name for rule in applied(busy("hub", ratio=0.9)).rules] == [rule.name for rule in rules(THRESHOLDS).rules]
    assert [rule.name for rule in applied(busy("empty", ratio=0.95)).rules] == [rule.name for rule in rules(THRESHOLDS).rules]


def test_times_are_scaled_like_all_others():
    (variant,) = overrides.variants([busy("app1", **{"for": "30m"})], THRESHOLDS, GROUPS, 0.1)
    assert variant.thresholds["node"]["Busy"]["for"] == "3m"


PATH = "observatory_thresholds_overrides"
UNKNOWN = "nothing shipped has this name, and no alert of the site's own has it."
MISTAKES = [
    ({}, f"{PATH}: expected a list of entries with hosts and thresholds, got {{}}"),
    ([{"hosts": ["app1"]}], f"{PATH}[0]: expected hosts and thresholds, got {{'hosts': ['app1']}}"),
    ([{**busy("app1", ratio=0.95), "host": 1}], f'{PATH}[0].host: this key is not known. Did you mean "hosts"?'),
    ([busy(ratio=0.95)], f"{PATH}[0].hosts: expected a list of hosts and groups of the inventory, got []"),
    ([busy("hub", ratio=0.95), busy("hub", "aps", ratio=0.95)], f'{PATH}[1].hosts[1]: no host or group of the inventory is called "aps". Did you mean "apps"?'),
    ([{"hosts": ["hub"], "thresholds": {"nod": {}}}], f'{PATH}[0].thresholds.nod: {UNKNOWN} Did you mean "node"?'),
    ([busy("hub", ratios=0.95)], f'{PATH}[0].thresholds.node.Busy.ratios: {UNKNOWN} Did you mean "ratio"?'),
    ([busy("hub", ratio="high")], f"{PATH}[0].thresholds.node.Busy.ratio: 'high' is not possible; expected a ratio from 0 to 1 (90 % is 0.9)"),
    ([{"hosts": ["hub"], "thresholds": {"node": {"Busy": 1}}}], f"{PATH}[0].thresholds.node.Busy: 1 is not possible; expected a mapping of ratio, for"),
    ([busy("hub", ratio={"ratio": 0.9})], f"{PATH}[0].thresholds.node.Busy.ratio: {{'ratio': 0.9}} is not possible; expected one value"),
    ([busy("hub", ratio=0.2)], f"{PATH}[0].thresholds.node.Busy.ratio: 0.2 is out of range; sensible is 0.5-0.99"),
    ([busy("hub", **{"for": "3h"})], f"{PATH}[0].thresholds.node.Busy.for: 3h is out of range; sensible is 5m-2h"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES)
def test_mistakes_are_told_with_their_path(given, message):
    assert [str(problem) for problem in overrides.mistakes(given, THRESHOLDS, GROUPS, RANGES)] == [message]


def test_right_entries_have_no_mistake():
    assert overrides.mistakes([busy("hub", "apps", "all", ratio=0.99, **{"for": "5m"})], THRESHOLDS, GROUPS, RANGES) == []


def test_an_alert_without_a_host_is_refused():
    with pytest.raises(ContentError) as told:
        applied({"hosts": ["app1"], "thresholds": {"job": {"Gone": {"ratio": 0.5}}}})
    assert str(told.value) == (
        f"{PATH}[0].thresholds.job.Gone: this alert has no host, so that its values are the same for all: "
        '"max by (job)" leaves no label host; use observatory_thresholds_site'
    )


def test_a_record_that_reads_an_overridden_value_is_refused():
    """A record is one for all hosts, so the alert would compare with the wrong value."""
    entries = [busy("app1", ratio=0.95)]
    record = [({"name": "g"}, [Rule("node", "g", {"record": "busy:limit", "expr": limit}, "r.yml", 4, False)], "r.yml") for limit in ("0.9", "0.95")]
    (variant,) = overrides.variants(entries, THRESHOLDS, GROUPS)
    with pytest.raises(ContentError, match=r"r\.yml:4: busy:limit reads a value that observatory_thresholds_overrides changes"):
        overrides.apply(RuleSet({"node": record[:1]}), entries, [(variant, RuleSet({"node": record[1:]}))])


RECORDS = {"job:up:ratio": ["avg by (job) (up)"], "instance:busy": ["sum without (cpu) (busy)"], "a:loop": ["a:loop or up"]}
KEPT = [
    "up == 0",
    'up{name="max by (job) (x)"} == 0  # sum(x)',
    "max by (host, job) (up) > 0",
    "sum(rate(x[5m])) by (host) > 0",
    "MAX without (cpu) (x) > 0",
    "x < 2 * scalar(max(y) - sum by (job) (z))",
    "instance:busy > 0.9",
    "last_over_time(x[5m:1m]) > 0",
    "a / on (host) b",
    "a and ignoring (mode) b",
    "topk(3, x) > 1",
    "instance_sum > count_of_things",
    "a:loop > 0",
]
LOST = {
    "max by (cluster) (x) > 1": '"max by (cluster)" leaves no label host',
    "sum(rate(x[5m])) > 1": '"sum" leaves no label host',
    "sum(rate(x[5m])) by (job) > 1": '"sum by (job)" leaves no label host',
    "sum without (host) (x) > 1": '"sum without (host)" leaves no label host',
    "max by (host) (sum(x)) > 1": '"sum" leaves no label host',
    'absent(up{job="x"})': 'the result of "absent()" has no label host',
    "vector(1)": 'the result of "vector()" has no label host',
    "a / on (job) b > 1": '"on (job)" matches series without their host',
    "a / ignoring(host) b > 1": '"ignoring(host)" matches series without their host',
    "1 - job:up:ratio > 0": 'in job:up:ratio, "avg by (job)" leaves no label host',
    "who:knows:it > 0": "no rule records who:knows:it, which it reads",
    '{__name__="x"} > 0': "which series are meant by __name__ cannot be told",
}


@pytest.mark.parametrize("expression", [*KEPT, *LOST])
def test_what_takes_the_host_out_of_a_result_is_named(expression):
    assert overrides.host_is_lost(expression, RECORDS) == LOST.get(expression, "")


def test_ranges_are_read_from_the_comments(tmp_path):
    """A comment above a value, of one line or more; one of a block or a list names none for what is in it."""
    file = tmp_path / "thresholds.yml"
    file.write_text(
        "# Sensible: 1-2. of nothing\n---\nobservatory_thresholds:\n  node:\n    Busy:\n      # Share. Sensible:\n      ratio: 1\n"
        "      # Long\n      # text. Sensible: 5m-2h. More.\n      for: 15m\n      units:\n        - a\n    Twins:\n      warning:\n"
        "        # Sensible: 1-9.\n        days: 3\n"
    )
    assert site_values.sensible_ranges(str(file)) == {("node", "Busy", "for"): ("5m", "2h"), ("node", "Twins", "warning", "days"): ("1", "9")}
    assert site_values.sensible_ranges(str(tmp_path / "none.yml")) == {}
