"""Dashboards: written by their code, complete, readable by Prometheus, and bound to the alerts that name them."""

from __future__ import annotations

import itertools
import json
import re
import subprocess

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import dashboards as shipping
from shipped import ROOT, load_rules, make_values, shipped_thresholds

from observatory.dashboards import DASHBOARDS, __main__, build
from observatory.dashboards.build import Panel, render

KINDS = {"timeseries", "stat", "bargauge", "table", "state-timeline"}
LINK = re.compile(r"/d/([\w-]+)\?")
# What Grafana puts in when a person looks.
VARIABLES = {"$__rate_interval": "5m", "$host": ".*"}
# Series that every target has, or that rules make; nothing more is to be chosen of them.
WITHOUT_SELECTOR = {"up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling", "ALERTS_FOR_STATE"}
# Their panel shows something else than what they compare: a forecast, bytes.
OTHER_SCALE = {"NodeFilesystemSpaceFillingUp", "ElasticsearchRetentionExceeded"}
COUNTERS_BY_ANOTHER_NAME = {
    "elasticsearch_thread_pool_rejected_count", "elasticsearch_breakers_tripped", "elasticsearch_jvm_gc_collection_seconds_sum",
    "elasticsearch_indices_search_query_time_seconds", "node_vmstat_oom_kill", "node_vmstat_pswpin", "node_vmstat_pswpout",
    "alertmanager_notification_latency_seconds", "node_netstat_Tcp_RetransSegs", "node_netstat_Tcp_OutSegs", "node_netstat_TcpExt_ListenOverflows",
}


@pytest.fixture(scope="module")
def shipped():
    """Return uid -> dashboard with the shipped values in it."""
    files = shipping.files([str(ROOT / "dashboards")], make_values(), base=str(ROOT))
    return {dashboard["uid"]: dashboard for dashboard in (json.loads(file["content"]) for file in files)}


def panels():
    """Return (uid, panel) of all panels as they are declared."""
    return [(dashboard.uid, panel) for dashboard in DASHBOARDS for row in dashboard.rows for panel in row.panels]


def identity(pair):
    return f"{pair[0]}: {pair[1].title}"


def expressions(shipped):
    """Return (place, expression) of all queries, Grafana's variables replaced."""
    found = []
    for uid, dashboard in shipped.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                text = target["expr"]
                for name, value in VARIABLES.items():
                    text = text.replace(name, value)
                found.append((f"{uid}: {panel['title']}", text))
    return found


# -- form


def test_files_are_what_the_code_writes():
    """`make generate` brings them in step."""
    assert __main__.out_of_step(ROOT) == []


def test_no_expression_is_left_in_what_is_shipped(shipped):
    """Every line of a panel is a number, and every value of the site is in place."""
    for uid, dashboard in shipped.items():
        assert "[[ " not in json.dumps(dashboard), uid
        for panel in dashboard["panels"]:
            steps = panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}).get("steps", [])
            values = [step["value"] for step in steps]
            assert values[:1] in ([], [None]) and all(isinstance(value, (int, float)) for value in values[1:]), f"{uid}: {panel['title']}"
            assert values[1:] == sorted(values[1:]), f"{uid}: {panel['title']}: the lines are not in order"


def test_dashboards_have_all_that_a_reader_expects(shipped):
    """The same links, alerts as annotations, a chosen data source, nothing to edit in the browser."""
    for uid, dashboard in shipped.items():
        assert (dashboard["editable"], dashboard["schemaVersion"], dashboard["refresh"]) == (False, 39, "30s"), uid
        assert [entry["name"] for entry in dashboard["annotations"]["list"]] == ["Alerts: critical", "Alerts: warning", "Alerts: info"], uid
        first = dashboard["templating"]["list"][0]
        assert (first["name"], first["label"], first["current"]["value"]) == ("datasource", "Data Source", "prometheus"), uid
        assert dashboard["panels"][0]["type"] == "text" and len(dashboard["panels"][0]["options"]["content"].split()) > 8, uid
    assert len({json.dumps(dashboard["links"]) for dashboard in shipped.values()}) == 1


def test_panels_do_not_overlap_and_have_numbers_of_their_own(shipped):
    """Within a grid of 24 columns."""
    for uid, dashboard in shipped.items():
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(numbers)) == len(numbers), uid
        for panel in dashboard["panels"]:
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, f"{uid}: {panel['title']}"
        for one, other in itertools.combinations([panel["gridPos"] for panel in dashboard["panels"]], 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], f"{uid}: {one} and {other}"


@pytest.mark.parametrize("pair", panels(), ids=identity)
def test_a_panel_says_what_it_shows(pair):
    """Kind, unit, what is normal, what stands there without data, and a runbook for each alert that watches it."""
    uid, panel = pair
    assert panel.kind in KINDS
    assert panel.unit and panel.empty and panel.queries
    assert len(panel.normal.split()) >= 4 and panel.normal.endswith(".")
    dashboard = render(next(entry for entry in DASHBOARDS if entry.uid == uid))
    built = next(entry for entry in dashboard["panels"] if (entry["type"], entry["title"]) == (panel.kind, panel.title))
    assert [link["url"] for link in built["links"]] == [f"[[ runbook_base_url ]]/{alert}" for alert in panel.alerts]
    assert built["fieldConfig"]["defaults"]["noValue"] == panel.empty


def test_titles_are_unique_in_a_dashboard():
    """An alert names its panel by the title."""
    titles = [(uid, panel.title) for uid, panel in panels()]
    assert len(set(titles)) == len(titles)


def test_panels_of_one_line_read_from_below_as_from_above():
    """Below: the worst colour comes first."""
    for below, colours in ((False, ["#56A64B", "#FF9830", "#C4162A"]), (True, ["#C4162A", "#FF9830", "#56A64B"])):
        panel = Panel("x", "short", "Normal.", (), lines=(("warning", "1"), ("critical", "2")), below=below)
        assert [step["color"] for step in build._steps(panel)] == colours


# -- queries


def test_prometheus_reads_every_query(shipped, promtool, tmp_path):
    """All in one rule file."""
    rules = [{"record": f"panel:{number}", "expr": text} for number, (_place, text) in enumerate(expressions(shipped))]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", "--lint=none", tmp_path / "rules.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


NAME = re.compile(r"(?<![\w.])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()")
WORDS = {"and", "or", "unless", "bool", "offset"}


def metrics(text):
    """Return the names of the metrics in an expression, and those of them that stand without a selector."""
    plain = re.sub(r'"[^"]*"', '""', text)
    plain = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", plain)
    plain = re.sub(r"\[[^]]*\]", "", re.sub(r"\{[^}]*\}", "{}", plain))
    found = [match for match in NAME.finditer(plain) if match[0] not in WORDS]
    return {match[0] for match in found}, {match[0] for match in found if not plain[match.end():].startswith("{")}


def test_a_query_says_which_series_it_means(shipped):
    """Another product's metric of the same name is not counted in."""
    for place, text in expressions(shipped):
        bare = {name for name in metrics(text)[1] if ":" not in name} - WITHOUT_SELECTOR
        assert not bare, f"{place}: {sorted(bare)} has no selector"


def test_counters_are_shown_as_rates(shipped):
    """And nothing else is: by their names."""
    for place, text in expressions(shipped):
        for name, inside in re.findall(r"([a-z]+)\(([a-zA-Z_]\w*)\{[^}]*\}\[", text):
            counter = inside.endswith(("_total", "_bucket")) or inside in COUNTERS_BY_ANOTHER_NAME
            assert counter == (name in ("rate", "increase")), f"{place}: {name} of {inside}"
        # Counting a counter's series, the processors of a host, is fair.
        shown = re.findall(r"(?<!\(host, cpu\) \()\b(\w+_total)\{[^}]*\}(?!\[)", text)
        assert not shown, f"{place}: {shown} is a counter and is shown as it is"


# -- alerts


# Dashboards of which alerts tell already and that are not built yet: until they are, the alert is shipped without the link.
PLANNED = {
    "alertmanager-overview", "alerts-noise", "business-kpi", "elasticsearch-indices", "endpoints", "grafana-usage", "hosts-capacity", "jaeger", "kibana",
    "logstash", "service-dependencies", "service-detail", "services-overview", "slo-detail",
}


def test_every_alert_leads_to_a_dashboard():
    """One that is built, or one that is planned."""
    built = {uid for uid, _panel in panels()}
    assert not built & PLANNED, "it is built: take it off PLANNED"
    for rule in load_rules(make_values()).alerts:
        uid = LINK.search(rule.annotations["dashboard_url"])[1]
        assert uid in built | PLANNED, f"{rule.name}: no dashboard is called {uid}"


def test_a_panel_names_only_alerts_that_lead_to_it():
    """Those whose thresholds it draws; their messages lead to it."""
    leading = {
        (LINK.search(rule.annotations["dashboard_url"])[1], rule.annotations["dashboard_panel"], f"{rule.component}/{rule.name}")
        for rule in load_rules(make_values()).alerts
    }
    named = {(uid, panel.title, alert) for uid, panel in panels() for alert in panel.alerts}
    assert named <= leading, named - leading


def test_a_panels_line_is_its_alerts_threshold():
    """A change in thresholds.yml moves the line."""
    thresholds = json.loads(json.dumps(shipped_thresholds()))
    thresholds["node"]["NodeCPUHighUsage"]["ratio"] = 0.77
    files = shipping.files([str(ROOT / "dashboards")], make_values(thresholds), base=str(ROOT))
    detail = next(json.loads(file["content"]) for file in files if file["path"].endswith("hosts-detail.json"))
    panel = next(panel for panel in detail["panels"] if panel["title"] == "CPU by mode")
    assert [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, 0.77]


def test_panels_whose_alert_has_a_number_draw_it():
    """Where the alert compares with a ratio, a count or days, the panel has a line per severity."""
    for uid, panel in panels():
        for alert in panel.alerts:
            component, name = alert.split("/")
            entry = shipped_thresholds().get(component, {}).get(name, {})
            blocks = [entry[severity] for severity in ("warning", "critical") if severity in entry] or [entry]
            numbers = [block for block in blocks if {"ratio", "count", "days", "max_error_seconds"} & set(block)]
            if numbers and name not in OTHER_SCALE:
                assert len(panel.lines) == len(numbers), f"{uid}: {panel.title}: draw the thresholds of {name}"
                assert all(f"thresholds.{component}.{name}" in expression for _severity, expression in panel.lines), f"{uid}: {panel.title}"
