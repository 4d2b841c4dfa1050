"""What the real Alertmanager sends by each channel, compared with golden files: one alert, its end, twenty at once, some of several ended."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
import typing as t
from datetime import UTC, datetime, timedelta

import pytest
from messages import PUBLIC_URL, STORY, Alertmanager, Sinks, mail_parts, role_values, told_later, wait_for
from rendered import ROOT, role_files
from shipped import checker

GOLDEN = pathlib.Path(__file__).parent / "fixtures" / "messages"
TEMPLATE = ROOT / "roles/alertmanager/templates/etc/alertmanager/templates/observatory.tmpl"
CHANNELS = ("email", "slack", "pagerduty", "webhook")
TITLE_LENGTH = 60
SECONDS = 20
LONG = "x" * 70


def critical(component: str, name: str, alert_type: str, *texts: str, dashboard: str, panel: str, series: str, **labels: str) -> dict[str, t.Any]:
    """Return a critical alert of the team shop, as the rules make it; `texts` are summary, description and impact."""
    return {
        "labels": {
            "alertname": name, "incident": name, "severity": "critical", "team": "shop", "component": component, "alert_type": alert_type, "site": "lab",
            **labels,
        },
        "annotations": {
            **dict(zip(("summary", "description", "impact"), texts, strict=True)),
            "runbook_url": f"{PUBLIC_URL}/runbooks/{component}/{name}", "dashboard_url": f"{PUBLIC_URL}/grafana/d/{dashboard}&to=now", "dashboard_panel": panel,
        },
        "generatorURL": f"{PUBLIC_URL}/prometheus/graph?g0.expr={series}&g0.tab=1",
    }


FILLING = critical(
    "node", "NodeFilesystemSpaceFillingUp", "cause", "Filesystem /srv/data of app1 is filling up",
    "4.1% of /srv/data (/dev/vdb1) on app1 are free; at the pace of the last 6h nothing is left within 4 hours.",
    "When it is full, services that write there stop or lose data, and logs end.",
    dashboard="hosts-detail?var-host=app1&from=now-1d", panel="Filesystem forecast", series="node_filesystem_avail_bytes",
    job="node", host="app1", instance="10.213.0.12:9100", device="/dev/vdb1", fstype="ext4", mountpoint="/srv/data",
)


def down(host: str) -> dict[str, t.Any]:
    """Return the alert of a host that is down."""
    return critical(
        "node", "HostDown", "symptom", f"Host {host} does not answer",
        f"Prometheus has had no answer from node_exporter on {host} ({host}:9100) for 2m: the host is off, cut off, or its node_exporter does not run.",
        "All services of this host may be gone, and no other alert can see into it.",
        dashboard=f"hosts-fleet?var-host={host}&from=now-3h", panel="Hosts", series="up", job="node", host=host, instance=f"{host}:9100",
    )


def absent(job: str) -> dict[str, t.Any]:
    """Return an alert that has no host."""
    return critical(
        "observatory", "JobAbsent", "cause", f"Nothing of job {job} is scraped",
        f"By the inventory job {job} has 3 targets; for 10m Prometheus has had not one.",
        "Nothing of this kind is seen, and all alerts about it are silent, whatever happens.",
        dashboard="platform-overview?from=now-3h", panel="Targets up by job", series="up", job=job,
    )


def long_named() -> dict:
    names = {name: f"{name}-{LONG}" for name in ("alertname", "incident", "service_name", "host", "instance")}
    annotations = {**FILLING["annotations"], "summary": "All names of this alert are long"}
    return {**FILLING, "labels": {**FILLING["labels"], **names}, "annotations": annotations}


def relabelled(alert: dict, **labels: str) -> dict:
    return {**alert, "labels": {**alert["labels"], **labels}}


def told(alert: dict, since: datetime, until: datetime) -> dict:
    return {**alert, "startsAt": since.isoformat(), "endsAt": until.isoformat()}


class Told:
    """What was sent, once the whole story has been told: one run of Alertmanager for all tests."""

    def __init__(self, alertmanager: Alertmanager, sinks: Sinks) -> None:
        self._sinks = sinks
        self._log = alertmanager.log
        self._now = datetime.now(UTC).replace(microsecond=0)
        self._before, self._later = self._now - timedelta(minutes=12), self._now + timedelta(minutes=10)
        self._begin(alertmanager.post)
        self.sent = {
            "one": self._wait("NodeFilesystemSpaceFillingUp", "firing", 1),
            "twenty": self._wait("HostDown", "firing", 20),
            "long": self._wait(f"alertname-{LONG}", "firing", 1),
        }
        self._wait("JobAbsent", "firing", 3)
        alertmanager.post(*(told(alert, self._before, self._now) for alert in (FILLING, absent("node"), long_named())))
        self.sent |= {
            "resolved": self._wait("NodeFilesystemSpaceFillingUp", "resolved", 1),
            "partly": self._wait("JobAbsent", "firing", 3, ended=1),
            "long-resolved": self._wait(f"alertname-{LONG}", "resolved", 1),
        }
        self.by_receiver: dict[str, list[dict]] = {}
        for channel, body in sinks.received:
            if channel in ("webhook", "office"):
                self.by_receiver.setdefault(body["receiver"], []).append(body)

    def _begin(self, post: t.Callable[..., None]) -> None:
        """Let everything fire. A group whose first alert is older than group_wait is sent at once, so those of several alerts are of now."""
        now = self._now + timedelta(seconds=1)
        post(*(told(alert, self._before, self._later) for alert in (FILLING, long_named())))
        twenty = [told(down(f"host{number:02}"), self._now + timedelta(seconds=number), self._later) for number in range(1, 21)]
        post(*twenty, *(told(absent(job), now, self._later) for job in ("json", "node", "shop")))
        nearly = relabelled({**FILLING, "annotations": {"summary": "Nearly full"}}, alertname="NodeFilesystemAlmostOutOfSpace", team="platform")
        less = relabelled(nearly, severity="warning")
        post(*(told(alert, now, self._later) for alert in (nearly, less, relabelled(less, mountpoint="/var"))))
        closed = [down("office1"), relabelled(down("office2"), severity="warning")]
        closed += [relabelled(down(f"rung{number}"), alertname="PageUnanswered", escalation=number) for number in "123"]
        post(*(told(relabelled(alert, team="office"), self._before, self._later) for alert in closed))

    def _wait(self, name: str, status: str, count: int, ended: int = 0) -> dict:
        """Return channel -> what it got, once each has a message about so many alerts of this name."""
        def found() -> dict:
            webhooks = [body for channel, body in self._sinks.received if channel == "webhook"]
            wanted = [
                body for body in webhooks
                if body["commonLabels"]["alertname"] == name and body["status"] == status and len(body["alerts"]) == count
                and sum(alert["status"] == "resolved" for alert in body["alerts"]) == (count if status == "resolved" else ended)
            ]
            return self._beside(wanted[0]) if wanted else {}

        return wait_for(found, f"{name} {status}", SECONDS, lambda: f"{self._log()}\n{self._sinks.received}")

    def _beside(self, webhook: dict) -> dict:
        """Return the messages by all channels that tell the same as the webhook; empty while one is missing."""
        number = [body for channel, body in self._sinks.received if channel == "webhook" and body["groupKey"] == webhook["groupKey"]].index(webhook)
        same, summary = {"webhook": webhook}, webhook["alerts"][0]["annotations"]["summary"]
        for channel in CHANNELS[:-1]:
            of_group = [body for kind, body in self._sinks.received if kind == channel and summary in _words(channel, body)]
            if len(of_group) > number:
                same[channel] = mail_parts(of_group[number]) if channel == "email" else of_group[number]
        return same if len(same) == len(CHANNELS) else {}

    def files(self, story: str) -> dict[str, str]:
        """Return name -> content of what was sent, as it stands in the golden files."""
        sent = self.sent[story]
        mail = sent["email"]
        headers = "".join(f"{name}: {_steady(name, value)}\n" for name, value in mail["headers"].items())
        texts = {"email.txt": f"{headers}\n{mail['text']}", "email.html": mail["html"]}
        texts |= {f"{channel}.json": json.dumps(sent[channel], indent=2, ensure_ascii=False) for channel in CHANNELS[1:]}
        return {name: told_later(text, STORY - self._now).rstrip() + "\n" for name, text in texts.items()}


def _words(channel: str, body) -> str:
    return json.dumps(mail_parts(body)["text"] if channel == "email" else body)


def _steady(header: str, value: str) -> str:
    """Return a header's value without what is new in each mail."""
    value = re.sub(r"boundary=\S+", "boundary=BOUNDARY", value)
    return {"Date": "DATE", "Message-Id": "MESSAGE-ID"}.get(header, value)


@pytest.fixture(scope="module")
def messages(tmp_path_factory) -> Told:
    with contextlib.closing(Sinks()) as sinks:
        files = role_files("alertmanager", **role_values(sinks))
        with contextlib.closing(Alertmanager(checker("alertmanager"), tmp_path_factory.mktemp("alertmanager"), files)) as alertmanager:
            yield Told(alertmanager, sinks)


@pytest.mark.parametrize("story", ["one", "resolved", "twenty", "partly"])
def test_messages_are_as_in_the_golden_files(messages, story, request):
    """`pytest tests/content/test_messages.py --golden` writes them anew."""
    found, folder = messages.files(story), GOLDEN / story
    if request.config.getoption("--golden"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in found.items():
            (folder / name).write_text(text, encoding="utf-8")
    assert found == {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.iterdir())}


def titles(sent: dict) -> dict[str, str]:
    """Return channel -> the title that people see. A webhook gets Alertmanager's JSON, which has none."""
    attachment = sent["slack"]["attachments"][0]
    return {
        "email": sent["email"]["headers"]["Subject"], "slack": attachment["title"], "slack fallback": attachment["fallback"],
        "pagerduty": sent["pagerduty"]["payload"]["summary"],
    }


@pytest.mark.parametrize("story", ["one", "resolved", "twenty", "partly", "long", "long-resolved"])
def test_titles_have_60_characters_at_most_and_are_the_same_by_all_channels(messages, story):
    found = titles(messages.sent[story])
    assert len(set(found.values())) == 1, found
    assert len(found["email"]) <= TITLE_LENGTH, found


@pytest.mark.parametrize(("firing", "resolved"), [("one", "resolved"), ("long", "long-resolved")])
def test_what_fires_and_what_has_ended_are_told_apart(messages, firing, resolved):
    """By the first word of the title, by Slack's colour, by PagerDuty's action, by the mail's colour."""
    ways = {
        "title": lambda sent: titles(sent)["email"].split()[0],
        "slack": lambda sent: sent["slack"]["attachments"][0]["color"],
        "pagerduty": lambda sent: sent["pagerduty"]["event_action"],
        "webhook": lambda sent: sent["webhook"]["status"],
        "mail": lambda sent: re.search(r"border-left:6px solid (#\w+)", sent["email"]["html"])[1],
    }
    assert {name: way(messages.sent[firing]) for name, way in ways.items()} == {
        "title": "CRITICAL", "slack": "danger", "pagerduty": "trigger", "webhook": "firing", "mail": "#b91c1c",
    }
    assert {name: way(messages.sent[resolved]) for name, way in ways.items()} == {
        "title": "RESOLVED", "slack": "good", "pagerduty": "resolve", "webhook": "resolved", "mail": "#15803d",
    }


def test_an_incident_at_pagerduty_is_the_same_when_it_ends(messages):
    assert messages.sent["one"]["pagerduty"]["dedup_key"] == messages.sent["resolved"]["pagerduty"]["dedup_key"]


@pytest.mark.parametrize("story", ["one", "resolved", "twenty", "partly"])
def test_slack_sees_no_mark_that_is_not_meant(messages, story):
    """Its marks are the links of the text; a < of a query is written &lt;."""
    text = messages.sent[story]["slack"]["attachments"][0]["text"]
    assert not re.search("[<>]", re.sub(r"<https://[^<>|\s]+\|\w+>", "", text)), text
    assert story != "one" or "86400) &lt; 0" in text


def test_outside_of_office_hours_pages_are_sent_and_tickets_are_not(messages):
    """Of the ladder the rungs of the night and those of all hours."""
    assert {name for name in messages.by_receiver if name.startswith("office-")} == {"office-critical", "office-escalation-2", "office-escalation-3"}


def test_a_critical_alert_holds_back_the_warning_about_the_same_filesystem_alone(messages):
    sent = [alert["labels"]["mountpoint"] for body in messages.by_receiver.get("platform-warning", []) for alert in body["alerts"]]
    assert set(sent) == {"/var"}


HOST = "app1.rack7.frankfurt.example.org"
LONGEST = "PrometheusErrorSendingAlertsToSomeAlertmanagers"
TITLES = {
    "CRITICAL HostDown on app1": [{"incident": "HostDown", "host": "app1"}],
    "CRITICAL shop: ServiceHighErrorRate": [{"incident": "ServiceHighErrorRate", "service_name": "shop"}],
    "CRITICAL shop: TargetDown on app1": [{"incident": "TargetDown", "service_name": "shop", "host": "app1"}],
    "CRITICAL TargetDown of node": [{"incident": "TargetDown", "job": "node"}],
    "CRITICAL ElasticsearchClusterRed of logs": [{"incident": "ElasticsearchClusterRed", "cluster": "logs", "job": "elasticsearch"}],
    "CRITICAL 2x HostDown on app1 and others": [{"incident": "HostDown", "host": host, "job": "node"} for host in ("app1", "app2")],
    "CRITICAL HostDown unanswered on app1": [{"alertname": "PageUnanswered", "incident": "HostDown", "host": "app1", "escalation": "1"}],
    "CRITICAL 2x several alerts on app1": [{"alertname": "A", "host": "app1"}, {"alertname": "B", "host": "app1"}],
    "WARNING Mine": [{"alertname": "Mine", "severity": "warning"}],
    # What is too long is cut: the names of alert and service first, so that the place stays.
    "CRITICAL PrometheusErrorSendingAlertsToSomeAlertma.. on hub1": [{"incident": LONGEST, "host": "hub1"}],
    "CRITICAL PrometheusErrorSen.. on app1.rack7.frankfurt.exam..": [{"incident": LONGEST, "host": HOST}],
    "CRITICAL checkout-of-the-we..: ServiceHighErrorRate on app1": [
        {"incident": "ServiceHighErrorRate", "host": "app1", "service_name": "checkout-of-the-web-shop"},
    ],
    "CRITICAL checkout-of-the-we..: PrometheusErrorSen.. on app..": [{"incident": LONGEST, "host": HOST, "service_name": "checkout-of-the-web-shop"}],
    "CRITICAL HostDown unanswered on app1.rack7.frankfurt.examp..": [{"incident": "HostDown", "host": HOST, "escalation": "2"}],
    "CRITICAL ööööööööööööööööööööööööööööööööööööööööööööööööö..": [{"incident": "ö" * 70}],
}


@pytest.mark.parametrize("title", TITLES)
def test_a_title_says_service_what_and_where(title, amtool, tmp_path):
    alerts = [{"status": "firing", "labels": {"severity": "critical", **labels}} for labels in TITLES[title]]
    common = dict(set.intersection(*(set(alert["labels"].items()) for alert in alerts)))
    (tmp_path / "data.json").write_text(json.dumps({"status": "firing", "alerts": alerts, "commonLabels": common}), encoding="utf-8")
    done = subprocess.run(
        [amtool, "template", "render", f"--template.glob={TEMPLATE}", f"--template.data={tmp_path / 'data.json'}",
         '--template.text={{ template "observatory.title" . }}'], capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.removesuffix("\n") == title
    assert len(title) <= TITLE_LENGTH
