"""A verification says what has arrived, and what has not and why."""

import http.server
import json
import socketserver
import threading

import pytest
from ansible_collections.observatory.core.plugins.filter.signal_table import signal_table
from ansible_collections.observatory.core.plugins.module_utils import signals


def targets(*healths):
    active = [
        {"health": health, "lastError": error, "labels": {"job": "node", "instance": f"h{number}:9100"}}
        for number, (health, error) in enumerate(healths)
    ]
    return {"data": {"activeTargets": active}}


def test_targets_that_are_not_up_are_listed_with_their_error():
    """Job, instance and Prometheus' own words."""
    with pytest.raises(signals.Missing) as error:
        signals.judge_targets(targets(("up", ""), ("down", "connection refused"), ("unknown", "")), 3)
    assert str(error.value) == "2 of 3 targets are not up:\nnode h1:9100: connection refused\nnode h2:9100: not scraped yet"


def test_fewer_targets_than_the_inventory_has_are_not_enough():
    """All up is no success when some are unknown to Prometheus."""
    with pytest.raises(signals.Missing, match="1 targets are known, there should be 2 or more"):
        signals.judge_targets(targets(("up", "")), 2)
    assert signals.judge_targets(targets(("up", ""), ("up", "")), 2) == "2 targets"


def event(integration, run):
    return json.dumps({"@timestamp": "2026-11-24T12:00:01.250000001Z", "data": {"notification": {
        "integration": {"name": integration}, "alerts": [{"details": {"labels": {"run": run}}}],
    }}})


def test_a_notification_counts_for_its_own_run_alone():
    """Damaged lines and other events are passed over."""
    lines = [event("email", "r1"), event("webhook", "r2"), '{"data": {"alertCreated": {"run": "r1"}}}', '{"r1"']
    found = signals.notified(lines, ["r1"])
    assert found == {"email": pytest.approx(1795521601.25)}
    with pytest.raises(signals.Missing, match=r"has not sent by webhook \(sent: email\)"):
        signals.judge_notified(found, ["email", "webhook"])


def test_a_message_without_its_runbook_link_is_told_apart_from_none():
    """The link is what the person who was woken needs."""
    answer = [{"kind": "mail", "time": 5.0, "body": "r1 http://runbook"}, {"kind": "webhook", "time": 6.0, "body": "r1"}]
    assert signals.judge_received(answer, ["r1", "http://runbook"], ["email"]) == {"email": 5.0}
    with pytest.raises(signals.Missing, match="webhook has the message, but without http://runbook"):
        signals.judge_received(answer, ["r1", "http://runbook"], ["email", "webhook"])
    with pytest.raises(signals.Missing, match="nothing has arrived at slack"):
        signals.judge_received(answer, ["r1", "http://runbook"], ["slack"])


def test_waiting_ends_with_the_last_reason():
    """The clock is an argument; so is the pause."""
    clock = iter(range(100))

    def look():
        raise signals.Missing("nothing yet")

    with pytest.raises(signals.Missing, match="nothing yet"):
        signals.wait(look, 3, clock=lambda: next(clock), sleep=lambda seconds: None)


def test_the_table_shows_products_then_signals():
    """What was not tried is told apart from what is missing."""
    lines = signal_table(
        {"metric": {"seconds": 3.21, "detail": "value 1"}, "alert": {"failed": True}, "mail": {"skipped": True}, "log": {}},
        [{"host": "hub", "product": "prometheus", "version": "3.5.3", "state": "active"}],
    )
    assert lines.splitlines() == [
        "HOST  PRODUCT     VERSION  STATE",
        "hub   prometheus  3.5.3    active",
        "",
        "SIGNAL  STATE      SECONDS  HOW",
        "metric  arrived    3.2      value 1",
        "alert   MISSING",
        "mail    not tried",
        "log     not tried",
    ]


def test_a_log_record_is_found_in_the_index_that_holds_it():
    """And is missing as long as there is none."""
    assert signals.judge_log({"hits": {"hits": [{"_index": ".ds-logs-system-lab-000001"}]}}) == ".ds-logs-system-lab-000001"
    with pytest.raises(signals.Missing, match="no record has been found"):
        signals.judge_log({"hits": {"hits": []}})


def test_a_trace_counts_with_a_span_of_its_service():
    answer = {"data": [{"spans": [{"spanID": "1"}], "processes": {"p1": {"serviceName": "shop"}}}]}
    assert signals.judge_trace(answer, "shop") == "1 span"
    with pytest.raises(signals.Missing, match="1 spans of the trace, of: shop"):
        signals.judge_trace(answer, "cart")
    with pytest.raises(signals.Missing, match="0 spans of the trace, of: no service"):
        signals.judge_trace({"data": None}, "shop")


@pytest.mark.parametrize("answer", [{"status": "error", "error": "x"}, {"error": "bad gateway"}, []])
def test_an_error_from_behind_grafana_is_none_of_its_answers(answer):
    with pytest.raises(signals.Missing, match="it answers"):
        signals.judge_proxied(answer)
    assert signals.judge_proxied({"status": "success"})


class _Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _Echo(http.server.BaseHTTPRequestHandler):
    def address_string(self):
        return "local"

    def log_message(self, *_arguments):
        pass

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        text = json.dumps({"method": self.command, "path": self.path, "body": body, "user": self.headers.get("X-User"),
                           "authorization": self.headers.get("Authorization")})
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = _answer


@pytest.fixture
def socket_path(tmp_path):
    path = str(tmp_path / "s")
    server = _Unix(path, _Echo)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield path
    server.shutdown()
    server.server_close()


def test_a_server_behind_a_socket_is_asked_like_any_other(socket_path):
    """GET without a body, POST with one, headers and the user's password on the way."""
    seen = signals.fetch(f"unix:{socket_path}:/a?b=c", headers={"X-User": "verify"}, user="u", password="p:w")
    assert (seen["method"], seen["path"], seen["user"], seen["authorization"]) == ("GET", "/a?b=c", "verify", "Basic dTpwOnc=")
    seen = signals.fetch(f"unix:{socket_path}:/q", body={"x": 1})
    assert (seen["method"], json.loads(seen["body"])) == ("POST", {"x": 1})
    with pytest.raises(signals.Missing, match="answers 404"):
        signals.fetch(f"unix:{socket_path}:/missing")
    with pytest.raises(signals.Missing, match="No such file"):
        signals.fetch(f"unix:{socket_path}x:/")
