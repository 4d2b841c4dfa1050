"""The hub's Alertmanager, the commands of people on call, and what the lab's sinks have received."""

from __future__ import annotations

import json
import shlex
import time
import urllib.request
from datetime import UTC, datetime, timedelta

from fleet import CURL, LAB, host

from lab.common import LOGIN

RULE = {"severity": "critical", "team": "shop", "component": "observatory", "alert_type": "cause", "site": "lab"}


def obs(*arguments: str, user: str = LOGIN) -> tuple[int, str, str]:
    """Run obs on the hub as somebody who is on call; return (exit code, stdout, stderr)."""
    done = host("hub").run(f"su - {user} -s /bin/sh -c {shlex.quote(shlex.join(('obs', *arguments)))}")
    return done.rc, done.stdout, done.stderr


def alertmanager(method: str, path: str, body: object = None) -> object:
    """Return the answer of Alertmanager's API."""
    data = f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}" if body is not None else ""
    text = host("hub").check_output(f"{CURL} --fail-with-body -X {method} {data} {shlex.quote('https://localhost:9093' + path)}")
    return json.loads(text) if text.strip() else None


def alert(name: str, *, ended: bool = False, **labels: str) -> dict:
    """Return an alert as Prometheus sends it."""
    now = datetime.now(UTC)
    merged = {**RULE, "alertname": name, "incident": name, **labels}
    annotations = {
        "summary": f"{name} is a test", "description": "42 of 7", "impact": "None.",
        "runbook_url": f"https://10.213.0.11/runbooks/{merged['component']}/{name}", "dashboard_url": "https://10.213.0.11/grafana/d/alerts-status",
    }
    return {
        "labels": {key: value for key, value in merged.items() if value}, "annotations": annotations, "startsAt": (now - timedelta(minutes=5)).isoformat(),
        "endsAt": (now + timedelta(seconds=-1 if ended else 300)).isoformat(),
    }


def post(*alerts: dict) -> None:
    alertmanager("POST", "/api/v2/alerts", list(alerts))


def state(**labels: str) -> dict:
    """Return the status of the one alert that has the labels."""
    (found,) = [entry for entry in alertmanager("GET", "/api/v2/alerts") if labels.items() <= entry["labels"].items()]
    return found["status"]


def received(kind: str, since: float, text: str = "") -> list[dict]:
    """Return what a sink has taken since a moment, the oldest first; of that what holds the text."""
    with urllib.request.urlopen(f"http://{LAB.address('services')}/received?kind={kind}&since={since}", timeout=10) as answer:
        found = [entry for entry in json.load(answer) if text in json.dumps(entry)]
    return [{**entry, "body": json.loads(entry["body"])} if "body" in entry else entry for entry in found]


def now() -> float:
    return time.time()
