"""Traces: who may send them, and what happens to them when Elasticsearch is away."""

from __future__ import annotations

import json
import secrets
import time

import pytest
from fleet import LAB, converge, host, playbook, products, unit, wait_for

pytestmark = pytest.mark.skipif("jaeger" not in products("hub"), reason="this inventory has no Jaeger")
PKI = "/etc/observatory/pki"
API = "http://127.0.0.1:16686/jaeger/api"


def send(*services: str) -> str:
    """Send a trace with a span of each service from app1; return its name."""
    trace, now = secrets.token_hex(16), time.time_ns()
    spans = [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeSpans": [{"spans": [{
                "traceId": trace, "spanId": secrets.token_hex(8), "name": "test", "kind": 2,
                "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5_000_000),
            }]}],
        }
        for service in services
    ]
    answer = host("app1").check_output(
        f"echo '{json.dumps({'resourceSpans': spans})}' | curl -sS --cacert {PKI}/ca.crt --cert {PKI}/host.crt --key {PKI}/host.key "
        f"-H 'Content-Type: application/json' --data @- https://{LAB.address('hub')}:4318/v1/traces"
    )
    assert json.loads(answer) == {"partialSuccess": {}}
    return trace


def found(trace: str) -> set[str]:
    """Return the services of a trace, by Jaeger's API."""
    answer = json.loads(host("hub").check_output(f"curl -sS {API}/traces/{trace}"))
    return {process["serviceName"] for data in answer["data"] or [] for process in data["processes"].values()}


def test_a_trace_over_two_services_is_found_and_counted():
    trace = send("shop", "payment")
    wait_for("the trace", lambda: found(trace) == {"shop", "payment"})
    wait_for("its metrics", lambda: 'service_name="payment"' in host("hub").check_output("curl -sS http://127.0.0.1:8889/metrics"))
    assert host("hub").run("ss -Hlnt | grep -E '(0.0.0.0|\\*|\\[::\\]):(16686|8888|8889|13133)'").rc == 1


def test_spans_that_were_taken_in_while_elasticsearch_was_away_are_not_lost():
    """They wait in Jaeger's memory; it does not restart meanwhile."""
    trace = send("before")
    wait_for("the trace before", lambda: found(trace) == {"before"})
    process = unit("hub", "jaeger", "MainPID")
    host("hub").check_output("systemctl stop elasticsearch")
    traces = [send(f"during-{number}") for number in range(5)]
    host("hub").check_output("systemctl start elasticsearch")
    for number, trace in enumerate(traces):
        wait_for(f"trace {number}", lambda trace=trace, number=number: found(trace) == {f"during-{number}"}, 120)
    assert unit("hub", "jaeger", "MainPID") == process


def test_the_nightly_removal_keeps_what_is_young_and_may_remove_what_is_old():
    """Age is an index' creation, which nobody can set: with an age of no days all are old."""
    trace = send("kept")
    wait_for("the trace", lambda: found(trace) == {"kept"})
    host("hub").check_output("systemctl start jaeger-index-cleaner.service")
    assert found(trace) == {"kept"}
    program = "/opt/observatory/jaeger_tools/current/jaeger-es-index-cleaner 0 https://localhost:9200"
    host("hub").check_output(f"set -a; . /etc/jaeger_tools/environment; {program} 2>&1")
    wait_for("its removal", lambda: found(trace) == set())
    trace = send("again")
    wait_for("a new index", lambda: found(trace) == {"again"})


def test_a_configuration_that_jaeger_refuses_changes_nothing():
    before = unit("hub", "jaeger", "MainPID")
    done = playbook("site.yml", "-e", "jaeger_log_level=info", "-e", '{"jaeger_span_metrics_dimensions": ["a", "a"]}', "--tags", "jaeger")
    assert done.returncode != 0
    assert "jaeger validate" in done.stdout, done.stdout
    assert unit("hub", "jaeger", "MainPID") == before
    converge("--tags", "jaeger", expect_change=False)
