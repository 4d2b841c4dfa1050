"""The dead man's switch: what counts as a sign of life, who is told when, what a restart remembers, and what is sent."""

from __future__ import annotations

import http.server
import json
import threading
import typing

import pytest
from role_programs import load

watcher = load("watcher/templates/usr/local/lib/observatory/watcher.py")
PATIENCE, REPEAT = 180, 3600


@pytest.fixture
def switch(tmp_path):
    def make(now=1000.0):
        return watcher.Switch(str(tmp_path / "state.json"), PATIENCE, REPEAT, now)

    return make


def test_people_are_told_once_when_it_stays_away_and_once_when_it_is_back(switch):
    made = switch(0)
    made.hear("1", 10)
    assert [made.due(now) for now in (11, 190)] == ["", ""]
    assert made.due(191) == "lost"
    made.tell("lost", 191)
    assert made.due(200) == ""
    assert made.due(191 + REPEAT) == "still lost"
    made.tell("still lost", 191 + REPEAT)
    made.hear("2", 5000)
    assert made.due(5001) == "back"
    made.tell("back", 5001)
    assert made.due(5002) == ""


def test_an_evaluation_that_was_seen_is_no_sign_of_life(switch):
    """Alertmanager repeats the alert for minutes after Prometheus is dead."""
    made = switch(0)
    assert made.hear("7", 10)
    assert not made.hear("7", 150)
    assert made.due(191) == "lost"


def test_a_watchdog_that_never_came_is_missed(switch):
    made = switch(0)
    assert (made.due(PATIENCE), made.due(PATIENCE + 1)) == ("", "lost")


def test_a_restart_gives_it_time_and_does_not_repeat_a_notice(switch):
    made = switch(0)
    made.hear("1", 10)
    again = switch(5000)
    assert again.due(5000 + PATIENCE) == ""
    assert again.due(5001 + PATIENCE) == "lost"
    again.tell("lost", 5200)
    third = switch(6000)
    assert third.due(6001) == ""
    third.hear("2", 6100)
    assert third.due(6101) == "back"
    assert third.began == 5000


def test_a_damaged_state_is_no_state(switch, tmp_path):
    (tmp_path / "state.json").write_text("{")
    assert switch(100).due(200) == ""


def message(**changes):
    alert = {"status": "firing", "labels": {"alertname": "Watchdog"}, "annotations": {"evaluated": "100"}}
    return json.dumps({"alerts": [{**alert, **changes}]})


@pytest.mark.parametrize(("body", "found"), [
    (message(), "100"),
    (message(status="resolved"), None),
    (message(labels={"alertname": "Other"}), None),
    (message(annotations={}), None),
    ("{", None), ("[]", None), ('{"alerts": 3}', None),
])
def test_what_counts_as_the_watchdog(body, found):
    assert watcher.evaluated(body) == found


class Sink(http.server.BaseHTTPRequestHandler):
    got: typing.ClassVar[list] = []
    status: typing.ClassVar[int] = 200

    def do_POST(self):
        self.got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def sink():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Sink.got, Sink.status = [], 200
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def config(sink):
    return {
        "site": "lab", "host": "app1", "runbook": "https://x/runbooks/observatory/Watchdog",
        "channels": {"slack": {"channel": "#ops"}, "pagerduty": {"events_url": sink + "/pd"}, "webhook": {}},
    }


def sender(sink):
    return watcher.Sender(config(sink), read=lambda name: "key" if name == "pagerduty" else f"{sink}/{name}")


def test_each_channel_gets_its_own_form(sink, switch):
    made = switch(0)
    assert watcher.look(made, sender(sink), config(sink), 200) == "lost"
    got = dict(Sink.got)
    assert got["/pd"]["event_action"] == "trigger" and got["/pd"]["dedup_key"] == "watchdog-lab" and got["/pd"]["routing_key"] == "key"
    assert got["/slack"]["channel"] == "#ops" and "No watchdog from lab" in got["/slack"]["text"]
    assert got["/webhook"]["status"] == "firing"
    assert "obs status" in got["/webhook"]["text"] and "1970-01-01 00:00:00 UTC" in got["/webhook"]["text"]
    made.hear("1", 300)
    Sink.got.clear()
    assert watcher.look(made, sender(sink), config(sink), 301) == "back"
    got = dict(Sink.got)
    assert got["/pd"]["event_action"] == "resolve" and got["/webhook"]["status"] == "resolved"
    assert len(got["/webhook"]["title"]) <= 60


def test_a_notice_that_nobody_took_is_tried_again(sink, switch, capsys):
    made = switch(0)
    Sink.status = 500
    watcher.look(made, sender(sink), config(sink), 200)
    assert "could not be sent by slack" in capsys.readouterr().err
    assert made.due(205) == "lost"
    Sink.status = 200
    watcher.look(made, sender(sink), config(sink), 205)
    assert made.due(210) == ""
