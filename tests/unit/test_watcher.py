"""The dead man's switch: what counts as a sign of life, who is told when, what a restart remembers, what is sent, and the metric that it leaves."""

from __future__ import annotations

import http.client
import http.server
import json
import stat
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


# -- the metric


@pytest.fixture
def canary(tmp_path):
    return watcher.Canary(str(tmp_path / "observatory_watcher.prom"))


def told(tmp_path):
    """Return the metric's value in the file."""
    return (tmp_path / "observatory_watcher.prom").read_text().splitlines()[-1].removeprefix("alert_canary_last_received_timestamp_seconds ")


def test_the_newest_evaluation_is_left_as_a_metric(canary, tmp_path):
    canary.sing("1700000000", 1700000130.5)
    assert (tmp_path / "observatory_watcher.prom").read_text() == (
        "# HELP alert_canary_last_received_timestamp_seconds When Prometheus evaluated the newest watchdog that has come here, in seconds since 1970.\n"
        "# TYPE alert_canary_last_received_timestamp_seconds gauge\n"
        "alert_canary_last_received_timestamp_seconds 1700000000\n"
    )


@pytest.mark.parametrize(("came", "value"), [
    ([("100", 110), ("160", 170)], "160"),
    ([("160", 170), ("100", 171)], "160"),
    # Prometheus' clock was an hour ahead, then put right: the metric is never in the future, and goes on.
    ([("3700", 110), ("160", 170)], "160"),
    ([("inf", 110), ("nan", 111)], "110"),
])
def test_it_never_goes_back_and_is_never_in_the_future(canary, tmp_path, came, value):
    for evaluated, now in came:
        canary.sing(evaluated, now)
    assert told(tmp_path) == value


def test_all_may_read_it_and_none_sees_a_part_of_it(canary, tmp_path):
    """node_exporter is another user; what it reads is replaced, and what is being written has a name that it does not read."""
    canary.sing("100", 110)
    file = tmp_path / "observatory_watcher.prom"
    first = file.stat()
    assert stat.S_IMODE(first.st_mode) == 0o644
    with file.open() as before:
        canary.sing("160", 170)
        assert before.read().endswith(" 100\n")
    assert file.stat().st_ino != first.st_ino
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


def test_the_state_is_for_the_switch_alone(switch, tmp_path):
    switch(0).hear("1", 10)
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("evaluated", ["100", "soon"])
def test_a_metric_that_cannot_be_written_disturbs_nothing(tmp_path, capsys, evaluated):
    """The folder is missing, or the annotation is no number."""
    watcher.Canary(str(tmp_path / "missing/observatory_watcher.prom")).sing(evaluated, 110)
    assert "missing/observatory_watcher.prom could not be written: " in capsys.readouterr().err


class Peer(watcher.Handler):
    """A handler whose peer has shown Alertmanager's certificate."""

    config: typing.ClassVar[dict] = {"host": "app1", "sender": "alertmanager.lab"}

    def setup(self):
        super().setup()
        connection, names = self.connection, (("DNS", "alertmanager.lab"),)
        self.connection = type("Shown", (), {"getpeercert": lambda _: {"subjectAltName": names}, "__getattr__": lambda _, name: getattr(connection, name)})()


def post(handler):
    """Send the watchdog to a handler; return the status of the answer."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        client.request("POST", "/watchdog", message())
        return client.getresponse().status
    finally:
        server.shutdown()
        server.server_close()


def test_a_watchdog_that_comes_is_written_down_and_a_repetition_is_not(switch, canary, tmp_path):
    handler = type("Made", (Peer,), {"switch": switch(0), "canary": canary})
    assert post(handler) == 200
    assert told(tmp_path) == "100"
    (tmp_path / "observatory_watcher.prom").unlink()
    assert post(handler) == 200
    assert not (tmp_path / "observatory_watcher.prom").exists()


def test_a_watchdog_is_heard_also_where_it_cannot_be_written_down(switch, tmp_path):
    made = switch(0)
    assert post(type("Made", (Peer,), {"switch": made, "canary": watcher.Canary(str(tmp_path / "missing/observatory_watcher.prom"))})) == 200
    assert made.evaluated == "100"


# -- messages


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
