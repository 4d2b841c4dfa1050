"""What selectors ask for is compared with what products produce; a recording is compact, and says nothing of the day on which it was made."""

from __future__ import annotations

import json

import pytest

from observatory import series
from observatory.series import ANY_JOB, Known

TARGET = {"host": None, "instance": None}
KNOWN = Known(
    {
        "up": {"node": dict(TARGET), "jaeger": dict(TARGET)},
        "node_systemd_unit_state": {"node": {**TARGET, "state": {"active", "failed"}, "name": {"a.service", "b.service"}, "type": None}},
        "requests_total": {"jaeger": {**TARGET, "code": {"200"}}, ANY_JOB: {**TARGET, "code": {"200", "503"}, "service_name": None}},
    },
    frozenset({"host:up:sum"}),
    {"alertname": {"HostDown"}, "severity": {"critical"}},
)


@pytest.mark.parametrize(
    "expression",
    [
        'up{job="node"} == 0 or up{job!="node"} == 0 or absent(up{job=~"node|jaeger"})',
        'node_systemd_unit_state{job="node", state="failed", name=~"(a|b)[.]service", type="any"}[5m]',
        'node_systemd_unit_state{state!="active", name!~"a.*", host=~".+", missing=""}',
        'requests_total{job="shop", code=~"5..", service_name!=""}',
        'sum by (anything) (host:up:sum{whatever="x"}) > on (else) group_left (more) up',
        'ALERTS{alertname="HostDown", severity="critical", host="x"} or ALERTS_FOR_STATE{alertname!=""}',
        '{__name__=~"node_.*", state="failed"}',
        'up{host="$host", job=~"$job"} + node_systemd_unit_state{state=~"${state}"}',
        "vector(1)",
    ],
)
def test_what_there_is_can_be_asked_for(expression):
    assert KNOWN.mistakes(expression) == []


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ("node_systemd_unit_stat", 'node_systemd_unit_stat: no product has shown such a metric. Did you mean "node_systemd_unit_state"?'),
        ("rate(xyz[5m])", "xyz: no product has shown such a metric."),
        ('up{job="nod"}', 'job: no series has job="nod". Did you mean "node"?'),
        ('node_systemd_unit_state{job="jaeger"}', "node_systemd_unit_state: only the job node has it"),
        ('node_systemd_unit_state{stat="failed"}', 'node_systemd_unit_state: no series has the label "stat". Did you mean "state"?'),
        ('node_systemd_unit_state{state="fail"}', 'node_systemd_unit_state: no series has state="fail". Did you mean "failed"?'),
        ('node_systemd_unit_state{state!="gone"}', 'node_systemd_unit_state: no series has state="gone". Valid: active, failed.'),
        ('node_systemd_unit_state{name=~"(a|c)[.]service"}', 'node_systemd_unit_state: no series has name="c[.]service". Did you mean "b.service"?'),
        ('node_systemd_unit_state{name!~"z.*|a.*"}', 'node_systemd_unit_state: no series has name="z.*". Valid: a.service, b.service.'),
        ('requests_total{job="jaeger", code="404"}', 'requests_total: no series has code="404". Valid: 200, 503.'),
        ('ALERTS{alertname="HostDow"}', 'ALERTS: no series has alertname="HostDow". Did you mean "HostDown"?'),
        ('{__name__=~"other_.*"}', "a selector without a name: no product has shown such a metric."),
    ],
)
def test_what_nothing_produces_is_named_with_what_is_near(expression, mistake):
    assert KNOWN.mistakes(expression) == [mistake]


# -- the recording


def recording(found, **head):
    text = series.document(found, **head)
    return text, json.loads(text)


def test_a_recording_has_a_line_a_metric_and_leaves_out_what_changes():
    """Hosts, releases and times, labels of many values, what rules make."""
    every = {"host": ["hub", "app1"], "instance": ["hub:9100"]}
    many = [f"unit{number}" for number in range(series.LIMIT)]
    text, found = recording(
        {
            "": {"ALERTS": {"alertname": ["X"]}},
            "node": {
                "up": every, "node_unit": {**every, "name": many, "state": ["b", "a"]}, "node_info": {**every, "version": ["1.2"]},
                "host:up:sum": {}, "ALERTS_FOR_STATE": {},
            },
        },
        recorded="2026-01-02", versions={"node_version": "1.0.0"},
    )
    assert found == {
        "recorded": "2026-01-02",
        "versions": {"node_version": "1.0.0"},
        "targets": {"node": ["host", "instance"]},
        "series": {"node_info": {"node": {"version": None}}, "node_unit": {"node": {"name": None, "state": ["a", "b"]}}, "up": {"node": {}}},
    }
    assert '\n  "up": {"node": {}}\n' in text and text.endswith(" }\n}\n")


def test_the_same_series_make_the_same_text():
    one = {"b": {"y": {"host": ["1"]}, "x": {"host": ["2"], "l": ["2", "1"]}}, "a": {"x": {"host": ["3"]}}}
    other = {"a": {"x": {"host": ["9"]}}, "b": {"x": {"l": ["1", "2"], "host": ["8"]}, "y": {"host": ["7"]}}}
    assert series.document(one) == series.document(other)


def test_states_come_on_top(tmp_path):
    folder = tmp_path / series.FOLDER
    folder.mkdir(parents=True)
    found = {"node": {"up": {"host": ["a"]}, "node_a_x": {"host": ["a"], "kind": ["one"]}, "node_a_y": {"host": ["a"], "kind": ["one"]}}}
    (folder / series.RECORDING).write_text(series.document(found))
    (folder / series.STATES).write_text(
        """
        - {metrics: ["node_a_*"], jobs: [node], labels: {kind: [two], more: []}, source: x}
        - {metrics: [new_total], jobs: ["*"], labels: {code: ["200"]}, source: x}
        """
    )
    known = series.load(tmp_path)
    assert known.mistakes('node_a_y{job="node", kind=~"one|two", more="x", host="b"} + new_total{job="x", code="200", host="y"}') == []
    assert known.mistakes('up{kind="two"}') == ['up: no series has the label "kind". Valid: host.']


def test_what_prometheus_has_stored_is_asked_for_by_the_lab(monkeypatch):
    """By curl on the host, with its certificate."""
    asked = []
    answers = {
        "curl": json.dumps({"data": [
            {"__name__": "up", "job": "node", "host": "b"}, {"__name__": "up", "job": "node", "host": "a"}, {"__name__": "x", "code": "1"},
        ]}),
        "systemctl": "ExecStart={ path=/opt/x ; argv[]=/opt/x --web.a=1 --b ; ignore_errors=no ; pid=1 }\nId=x.service\n\nId=y.service\n",
    }
    monkeypatch.setattr(series, "_execute", lambda lab, host, *command: asked.append((lab, host, command)) or answers[command[0]])
    assert series.record("bench", "hub", 1) == {"node": {"up": {"host": ["a", "b"]}}, "": {"x": {"code": ["1"]}}}
    assert series.flags("bench", "hub") == {"x": "--web.a=1 --b"}
    assert [entry[:2] for entry in asked] == [("bench", "hub")] * 2 and "--cert" in asked[0][2]
