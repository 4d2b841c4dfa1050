"""The command of the runbooks: against a server that answers as the products do."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import typing
import urllib.parse

import pytest
from role_programs import load

obs = load("obs/templates/usr/local/bin/obs")


class Products(http.server.BaseHTTPRequestHandler):
    asked: typing.ClassVar[list] = []
    answers: typing.ClassVar[dict] = {}

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        path = self.path.partition("?")[0]
        self.asked.append((self.command, self.path, self.rfile.read(length).decode(), dict(self.headers)))
        status, text = self.answers.get(path, (404, "no such page"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_PUT = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder as the role keeps it, and the products behind it: Elasticsearch's first node is dead."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Products)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    Products.asked, Products.answers = [], {}
    (tmp_path / "config.json").write_text(json.dumps({
        "host": "hub", "units": ["prometheus"], "amtool": str(tmp_path / "amtool"),
        "urls": {"prometheus": [url], "elasticsearch": ["http://127.0.0.1:9", url], "kibana": [url + "/kibana"], "logstash": [], "jaeger": []},
        "hosts": {"logstash": ["log1", "log2"], "alertmanager": ["hub"]},
    }))
    (tmp_path / "elasticsearch").write_text("pass-word\n")
    monkeypatch.setattr(obs, "FOLDER", str(tmp_path))
    monkeypatch.setattr(obs.Site, "__init__", lambda self, original=obs.Site.__init__: original(self, str(tmp_path)))
    yield tmp_path
    server.shutdown()


def answer(result, kind="vector"):
    return 200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def test_prom_prints_a_line_a_series(site, capsys):
    Products.answers["/api/v1/query"] = answer([
        {"metric": {"__name__": "up", "job": "node", "host": "b"}, "value": [1, "0"]},
        {"metric": {"__name__": "up", "job": "node", "host": "a"}, "value": [1, "1"]},
    ])
    assert obs.main(["prom", "up == 0 or up == 1"]) == 0
    assert capsys.readouterr().out.splitlines() == ['up{host="a", job="node"} 1', 'up{host="b", job="node"} 0']
    assert urllib.parse.parse_qs(Products.asked[0][2]) == {"query": ["up == 0 or up == 1"]}


def test_prom_says_when_there_is_nothing(site, capsys):
    Products.answers["/api/v1/query"] = answer([])
    assert obs.main(["prom", "up"]) == 0
    assert capsys.readouterr().out == "no result\n"


def test_prom_shows_a_number_alone(site, capsys):
    Products.answers["/api/v1/query"] = answer([1, "42"], "scalar")
    obs.main(["prom", "42"])
    assert capsys.readouterr().out == "{} 42\n"


def test_prom_gives_prometheus_words_for_a_wrong_query(site, capsys):
    Products.answers["/api/v1/query"] = 400, json.dumps({"status": "error", "error": "parse error: unexpected end"})
    assert obs.main(["prom", "rate("]) == 1
    assert "parse error: unexpected end" in capsys.readouterr().err


def test_metrics_asks_for_this_hosts_series(site):
    Products.answers["/api/v1/query"] = answer([])
    obs.main(["metrics", "node", "node_timex"])
    asked = urllib.parse.parse_qs(Products.asked[0][2])["query"]
    assert asked == ['{job="node", host="hub", __name__=~".*(node_timex).*"}']


def test_metrics_refuses_a_wrong_pattern(site, capsys):
    assert obs.main(["metrics", "node", "("]) == 1
    assert "no regular expression" in capsys.readouterr().err


def test_es_asks_the_node_that_answers_as_a_user_who_may_look(site, capsys):
    Products.answers["/_cat/shards"] = 200, "logs 0 p STARTED"
    assert obs.main(["es", "get", "/_cat/shards?v"]) == 0
    assert capsys.readouterr().out == "logs 0 p STARTED\n"
    method, path, _body, headers = Products.asked[0]
    assert (method, path) == ("GET", "/_cat/shards?v")
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == "oncall:pass-word"


def test_es_says_how_to_change_something(site, capsys):
    Products.answers["/_cluster/reroute"] = 403, '{"error": "unauthorized"}'
    assert obs.main(["es", "POST", "/_cluster/reroute", "{}"]) == 1
    said = capsys.readouterr()
    assert "unauthorized" in said.out
    assert "obs es --admin" in said.err


def test_es_admin_asks_for_the_password(site, monkeypatch):
    Products.answers["/_cluster/settings"] = 200, "{}"
    monkeypatch.setattr(obs.getpass, "getpass", lambda prompt: "secret")
    assert obs.main(["es", "--admin", "PUT", "/_cluster/settings", '{"persistent": {}}']) == 0
    method, _path, body, headers = Products.asked[0]
    assert (method, body) == ("PUT", '{"persistent": {}}')
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == "admin:secret"


def test_logs_prints_lines_oldest_first(site, capsys):
    def hit(second, **source):
        return {"_source": {"@timestamp": f"2026-01-01T00:00:0{second}Z", **source}}

    Products.answers["/logs-*/_search"] = 200, json.dumps({"hits": {"hits": [
        hit(2, host={"name": "app1"}, service={"name": "shop"}, log={"level": "error"}, message="late"), hit(1, **{"host.name": "app1", "message": "early"}),
    ]}})
    assert obs.main(["logs", "host.name:app1", "--since", "1h", "--lines", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["2026-01-01T00:00:01Z app1 early", "2026-01-01T00:00:02Z app1 shop error late"]
    asked = json.loads(Products.asked[0][2])
    assert asked["size"] == 2
    assert asked["query"]["bool"]["filter"][1] == {"range": {"@timestamp": {"gte": "now-1h"}}}


def test_a_products_own_page(site, capsys):
    Products.answers["/kibana/api/status"] = 503, "unavailable"
    assert obs.main(["kibana", "/api/status"]) == 1
    said = capsys.readouterr()
    assert said.out == "unavailable\n"
    assert "503" in said.err


@pytest.mark.parametrize(("command", "words"), [
    (["logstash", "/"], "log in on log1, log2"), (["jaeger", "/"], "this site has no jaeger"), (["am", "alert"], "log in on hub"),
])
def test_what_is_not_here_is_said(site, capsys, command, words):
    assert obs.main(command) == 1
    assert words in capsys.readouterr().err


def test_am_runs_amtool_with_the_sites_certificate(site, capfd):
    config = json.loads((site / "config.json").read_text())
    config["urls"]["alertmanager"] = ["https://localhost:9093"]
    (site / "config.json").write_text(json.dumps(config))
    (site / "amtool").write_text('#!/bin/sh\necho "$@"\nexit 3\n')
    (site / "amtool").chmod(0o755)
    assert obs.main(["am", "silence", "add", "alertname=X", "--duration=2h", "--comment=why"]) == 3
    assert capfd.readouterr().out == (
        f"--alertmanager.url=https://localhost:9093 --http.config.file={site}/amtool.yml silence add alertname=X --duration=2h --comment=why\n"
    )


def test_status_shows_units_that_are_not_there(site, monkeypatch, capsys):
    monkeypatch.setattr(obs.subprocess, "run", lambda *a, **k: type("Done", (), {"stdout": "LoadState=not-found\nActiveState=inactive\n"})())
    assert obs.main(["status"]) == 0
    assert "there is no such unit" in capsys.readouterr().out
    assert obs.main(["status", "--strict"]) == 1


def alert(**labels):
    rule = {"alertname": "TargetDown", "incident": "TargetDown", "severity": "critical", "team": "shop", "component": "x", "alert_type": "cause", "site": "lab"}
    return {"labels": {**rule, **labels}}


def alertmanager(site, alerts):
    config = json.loads((site / "config.json").read_text())
    config["urls"]["alertmanager"] = config["urls"]["prometheus"]
    (site / "config.json").write_text(json.dumps(config))
    Products.answers["/api/v2/alerts"] = 200, json.dumps(alerts)
    Products.answers["/api/v2/silences"] = 200, '{"silenceID": "abc"}'


def silence():
    return json.loads(next(body for method, path, body, _headers in Products.asked if path == "/api/v2/silences"))


def test_ack_silences_incident_and_identity(site, capsys):
    """One silence for the page and its rungs: no label of the rule is in it, a rung is no alert of its own."""
    alertmanager(site, [alert(job="web", host="app1"), alert(job="web", host="app1", alertname="PageUnanswered", escalation="1")])
    assert obs.main(["ack", "TargetDown", "--for", "2h", "--comment", "on it", "--author", "ann"]) == 0
    made = silence()
    assert {(entry["name"], entry["value"]) for entry in made["matchers"]} == {("incident", "TargetDown"), ("job", "web"), ("host", "app1")}
    assert (made["createdBy"], made["comment"]) == ("ann", "acknowledged: on it")
    assert "silence abc" in capsys.readouterr().out


def test_ack_asks_which_one(site, capsys):
    alertmanager(site, [alert(host="app1"), alert(host="app2")])
    assert obs.main(["ack", "TargetDown", "--comment", "x"]) == 1
    assert "host=app1\n  host=app2" in capsys.readouterr().err
    assert obs.main(["ack", "TargetDown", "host=app2", "--comment", "x"]) == 0
    assert {entry["name"]: entry["value"] for entry in silence()["matchers"]} == {"incident": "TargetDown", "host": "app2"}


def test_ack_of_all_has_the_labels_given(site):
    alertmanager(site, [alert(host="app1", job="a"), alert(host="app2", job="a")])
    assert obs.main(["ack", "TargetDown", "job=a", "--all", "--comment", "x"]) == 0
    assert {entry["name"]: entry["value"] for entry in silence()["matchers"]} == {"incident": "TargetDown", "job": "a"}


@pytest.mark.parametrize(("arguments", "words"), [
    (["Other"], "no alert of Other fires"), (["TargetDown", "app1"], "app1 is no label"), (["TargetDown", "--for", "soon"], "soon is no duration"),
])
def test_ack_refuses_what_cannot_be(site, capsys, arguments, words):
    alertmanager(site, [alert(host="app1")])
    assert obs.main(["ack", *arguments, "--comment", "x"]) == 1
    assert words in capsys.readouterr().err


def event(action, moment, name="HostDown", fingerprint="1", began="2026-01-01T00:00:00.123456789Z", **more):
    alert = {"fingerprint": fingerprint, "startsAt": began, **more}
    return {"@timestamp": moment, "event": {"action": action}, "rule": {"name": name}, "alertmanager": {"alert": alert}}


def test_history_counts_a_firing_once_and_says_how_long_it_took(site, capsys):
    """Two peers saw it, three messages went out, somebody took it on; the noisiest alert is first."""
    documents = [
        event("alert_created", "2026-01-01T00:00:01Z"), event("alert_created", "2026-01-01T00:00:02Z"),
        event("alert_created", "2026-01-01T01:00:00Z", began="2026-01-01T01:00:00Z"), event("alert_created", "2026-01-01T01:00:00Z", name="Other"),
        *(event("notification", f"2026-01-01T00:01:0{number}Z") for number in range(3)),
        {"@timestamp": "2026-01-01T00:02:00Z", "event.action": "silence_created", "alertmanager": {"silence": {
            "comment": "acknowledged: on it", "matchers": [{"name": "host", "pattern": "a"}, {"name": "incident", "pattern": "HostDown"}]}}},
        {"@timestamp": "2026-01-01T00:02:00Z", "event.action": "silence_created", "alertmanager": {"silence": {"comment": "patching", "matchers": []}}},
        event("alert_resolved", "2026-01-01T00:10:00Z", endsAt="2026-01-01T00:10:30.123456789Z"),
    ]
    hits = [{"_id": str(number), "_source": source} for number, source in enumerate(documents)]
    Products.answers["/logs-alertmanager.events-*/_search"] = 200, json.dumps({"hits": {"hits": hits}})
    assert obs.main(["history", "--since", "2d"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["HostDown", "2", "1", "1", "3", "10m", "30s"]
    assert lines[2] == ["Other", "1", "0", "0", "0"]
    assert lines[3][-5:-1] == ["3", "1", "1", "3"]


def test_history_reads_page_after_page(site, monkeypatch):
    """No document is lost or counted twice where a page ends within a moment."""
    monkeypatch.setattr(obs, "PAGE_SIZE", 2)
    rows = [event("alert_created", f"2026-01-01T00:00:0{second}Z", fingerprint=str(number)) for number, second in enumerate((1, 2, 2, 3))]
    hits = [{"_id": str(number), "_source": source} for number, source in enumerate(rows)]
    pages = iter([hits[0:2], hits[1:3], hits[2:4], hits[3:4]])
    monkeypatch.setattr(obs.Site, "ask", lambda self, *a, **k: (200, json.dumps({"hits": {"hits": next(pages)}})))
    assert [field["alertmanager"]["alert"]["fingerprint"] for field in obs.events(obs.Site(), "7d")] == ["0", "1", "2", "3"]


def test_history_says_when_there_is_none(site, capsys):
    Products.answers["/logs-alertmanager.events-*/_search"] = 200, json.dumps({"hits": {"hits": []}})
    obs.main(["history"])
    assert capsys.readouterr().out == "no alert in the last 7d\n"


def metrics_page(sent, failed):
    return 200, "".join(
        f'alertmanager_{name}{{integration="email",reason="x"}} {value}\n'
        for name, value in (("notifications_total", sent), ("notifications_failed_total", failed))
    )


@pytest.mark.parametrize(("after", "code", "words"), [
    ((1, 0), 0, "email of shop: delivered"), ((1, 1), 1, "could not deliver it"), ((0, 0), 1, "nothing was sent within 1 s"),
])
def test_alert_test_tells_what_became_of_the_message(site, capsys, monkeypatch, after, code, words):
    alertmanager(site, [])
    config = json.loads((site / "config.json").read_text())
    (site / "config.json").write_text(json.dumps({**config, "channels": [["shop", "email"]], "runbook_base_url": "https://x/runbooks"}))
    pages = iter([metrics_page(0, 0)])
    real = obs.Site.ask
    monkeypatch.setattr(
        obs.Site, "ask", lambda self, product, path, **k: next(pages, metrics_page(*after)) if path == "/metrics" else real(self, product, path, **k)
    )
    assert obs.main(["alert-test", "--team", "shop", "--channel", "email", "--wait", "1"]) == code
    said = capsys.readouterr()
    assert words in said.out + said.err
    (sent,) = json.loads(next(body for method, path, body, _headers in Products.asked if method == "POST"))
    assert (sent["labels"]["team"], sent["labels"]["channel"]) == ("shop", "email")


def test_alert_test_knows_the_channels(site, capsys):
    alertmanager(site, [])
    config = json.loads((site / "config.json").read_text())
    (site / "config.json").write_text(json.dumps({**config, "channels": [["shop", "email"]], "runbook_base_url": "https://x/runbooks"}))
    assert obs.main(["alert-test", "--team", "shop", "--channel", "slack"]) == 1
    assert "Channels of this site: shop by email" in capsys.readouterr().err
