"""Thresholds of single hosts, run by promtool over the shipped alerts: who fires for whom."""

from __future__ import annotations

import json
import subprocess

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, overrides, site_values
from shipped import GROUP_VARS, ROOT, load_rules, make_values, shipped_thresholds

GROUPS = {"all": ["hub", "app1", "app2"], "batch": ["app1", "app2"]}
COMPONENT, ALERT = "node", "NodeMemoryHighUtilization"
# The shipped value is 0.9, for 15m.
ENTRIES = [
    {"hosts": ["batch"], "thresholds": {COMPONENT: {ALERT: {"ratio": 0.97}}}},
    {"hosts": ["app2"], "thresholds": {COMPONENT: {ALERT: {"for": "30m"}}}},
]
# Not for duplicates: two rules of one name and the same labels are what an override is.
CHECK = ("check", "rules", "--lint=none", "rules.yml")


def rules_with(entries):
    assert not overrides.mistakes(entries, shipped_thresholds(), GROUPS, site_values.sensible_ranges(str(GROUP_VARS / "thresholds.yml")))
    variants = overrides.variants(entries, shipped_thresholds(), GROUPS)
    return overrides.apply(load_rules(make_values()), entries, [(variant, load_rules(make_values(variant.thresholds))) for variant in variants])


@pytest.fixture
def fired(promtool, tmp_path):
    """Return who fires after some minutes, as the record ALERTS has it: used memory by host -> the host's state."""
    content = {file["path"]: file["content"] for file in rules_with(ENTRIES).files([COMPONENT])}
    (tmp_path / "rules.yml").write_text(*content.values())
    done = subprocess.run([promtool, *CHECK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    def run(used, looks):
        series = []
        for host, ratio in used.items():
            labels = f'{{job="node", host="{host}", instance="{host}:9100"}}'
            series.append({"series": f"node_memory_MemTotal_bytes{labels}", "values": "1000x90"})
            series.append({"series": f"node_memory_MemAvailable_bytes{labels}", "values": f"{round((1 - ratio) * 1000)}x90"})
        asked = f'count by (host) (ALERTS{{alertname="{ALERT}", alertstate="firing", severity="warning", team="platform"}})'
        test = {
            "rule_files": ["rules.yml"],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": series,
                    "promql_expr_test": [
                        {"expr": asked, "eval_time": moment, "exp_samples": [{"labels": f'{{host="{host}"}}', "value": 1} for host in hosts]}
                        for moment, hosts in looks.items()
                    ],
                }
            ],
        }
        (tmp_path / "tests.yml").write_text(json.dumps(test))
        done = subprocess.run([promtool, "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_the_first_rule_leaves_out_the_hosts_of_an_override(fired):
    """Above the site's value and below their own, they are quiet; the host outside fires as ever."""
    fired({"hub": 0.95, "app1": 0.95, "app2": 0.95}, {"14m": [], "15m": ["hub"], "60m": ["hub"]})


def test_an_override_fires_for_its_hosts_alone_and_once(fired):
    """Above their own value they fire, each after its own time, and the host outside is not touched by it."""
    fired({"hub": 0.85, "app1": 0.98, "app2": 0.98}, {"14m": [], "15m": ["app1"], "29m": ["app1"], "30m": ["app1", "app2"], "60m": ["app1", "app2"]})


def test_a_host_outside_is_unaffected(fired):
    fired({"hub": 0.92, "app1": 0.1, "app2": 0.1}, {"14m": [], "15m": ["hub"]})


def test_the_text_shows_the_values_of_its_hosts():
    """Names and labels are the same; the description has the override's numbers."""
    first, second, third = (rule for rule in rules_with(ENTRIES).alerts if rule.name == ALERT)
    assert first.labels == second.labels == third.labels
    assert [("90%" in rule.annotations["description"], "97%" in rule.annotations["description"]) for rule in (first, second, third)] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def alerts_with_values():
    thresholds = shipped_thresholds()
    return [(component, alert) for component in thresholds for alert in thresholds[component]]


# A host that only one side of a comparison has is not told from none.
REFUSED = {"AlertmanagerMembersInconsistent"}


def have_hosts(component, alert):
    """Whether the alert's own tests see it fire with a host."""
    tests = json.loads(alert_rules.promtool_tests(str(ROOT / "alerts" / component), make_values(), str(ROOT)))["tests"]
    fired = [
        entry["exp_labels"] for block in tests for case in block.get("alert_rule_test", []) if case["alertname"] == alert
        for entry in case.get("exp_alerts") or []
    ]
    return all("host" in labels for labels in fired) and alert not in REFUSED


def changed(values):
    """Return thresholds of one alert with every duration doubled."""
    if isinstance(values, dict):
        return {name: changed(value) for name, value in values.items()}
    return site_values.duration(site_values.seconds(values) * 2) if site_values.is_duration(values) else values


# Each seventh: one takes a second.
@pytest.mark.parametrize(("component", "alert"), list(alerts_with_values())[::7])
def test_each_shipped_alert_can_be_overridden_or_is_refused(promtool, tmp_path, component, alert):
    """Those with a host give rules that Prometheus accepts; the others are named with the reason."""
    entries = [{"hosts": ["app1"], "thresholds": {component: {alert: changed(shipped_thresholds()[component][alert])}}}]
    variants = [(variant, load_rules(make_values(variant.thresholds))) for variant in overrides.variants(entries, shipped_thresholds(), GROUPS)]
    if not have_hosts(component, alert):
        with pytest.raises(site_values.ContentError, match="this alert has no host"):
            overrides.apply(load_rules(make_values()), entries, variants)
        return
    result = overrides.apply(load_rules(make_values()), entries, variants)
    assert overrides.RECORD in {rule.name for rule in result.rules}
    (tmp_path / "rules.yml").write_text(result.files([component])[0]["content"])
    done = subprocess.run([promtool, *CHECK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
