"""What people get and do: messages of the real Alertmanager, suppression, acknowledging, maintenance, the command obs."""

from __future__ import annotations

import json
import re
import uuid

import pytest
import yaml
from alerting import alert, alertmanager, now, obs, post, received, state
from ansible_collections.observatory.core.plugins.plugin_utils import routing
from fleet import CURL, ROOT, host, playbook, wait_for


@pytest.fixture
def run():
    """A word that no other alert has."""
    return f"r{uuid.uuid4().hex[:8]}"


# -- messages


def test_a_page_says_what_where_since_when_and_the_first_step(run):
    """By each channel of the team, within a title of 60 characters; then that it has ended."""
    began = now()
    post(alert("TargetDown", service_name=run, host="app1"))
    wait_for("the page", lambda: all(received(kind, began, run) for kind in ("mail", "slack", "pagerduty")), 60)
    mail, slack, page = (received(kind, began, run)[-1] for kind in ("mail", "slack", "pagerduty"))
    text = json.dumps(mail)
    assert mail["subject"] == f"CRITICAL {run}: TargetDown on app1"
    for words in ("Where", "Since", "Verify", "First", "obs prom", f"service_name={run}", "/runbooks/observatory/TargetDown", "/kibana/app/discover"):
        assert words in text, words
    assert slack["body"]["attachments"][0]["title"] == mail["subject"] == page["body"]["payload"]["summary"]
    assert page["body"]["event_action"] == "trigger"
    post(alert("TargetDown", service_name=run, host="app1", ended=True))
    wait_for("the end", lambda: any(entry["body"]["event_action"] == "resolve" for entry in received("pagerduty", began, run)), 60)
    wait_for("the mail", lambda: any(entry["subject"].startswith(f"RESOLVED {run}: TargetDown") for entry in received("mail", began, run)), 60)


def test_twenty_alerts_are_one_message(run):
    began = now()
    post(*(alert("TargetDown", service_name=run, host=f"host{number}") for number in range(20)))
    # Those that Alertmanager takes in a moment later come with the next message of their group.
    wait_for("the mail", lambda: any(mail["subject"].startswith(f"CRITICAL 20x {run}: TargetDown on host") for mail in received("mail", began, run)), 60)
    assert len(received("mail", began, run)) <= 2
    post(*(alert("TargetDown", service_name=run, host=f"host{number}", ended=True) for number in range(20)))


# -- suppression


def literal(matcher, run):
    """Return (label, value) that a matcher of an inhibition accepts."""
    name, sign, value = re.fullmatch(r'(\w+)(!?=~?)"(.*)"', matcher).groups()
    if sign == "!=":
        return name, ""
    return name, run if value == ".+" else value.split("|")[0]


@pytest.mark.parametrize("rule", routing.INHIBIT_RULES, ids=lambda rule: rule["name"])
def test_an_alert_stands_for_those_that_it_explains(run, rule):
    """Of the same object alone: another one's alerts come through."""
    source = dict(literal(matcher, run) for matcher in rule["source_matchers"])
    target = dict(literal(matcher, run) for matcher in rule["target_matchers"])
    equal = {label: source.get(label) or target.get(label) for label in rule["equal"] if source.get(label) or target.get(label)}
    if "alertname" in rule["equal"]:
        equal["alertname"] = "TargetDown"
    explains = alert(source.get("alertname", "TargetDown"), **{**source, **equal, "site": source.get("site", "lab"), "mark": run})
    named = target.get("incident") or equal.get("alertname") or "NodeCPUHighUsage"
    explained = alert(named, **{"severity": "warning", **target, "incident": named, **equal, "site": target.get("site", "lab"), "part": f"{run}-same"})
    other_labels = {label: f"{value}-other" for label, value in equal.items() if label != "alertname"}
    other = alert(named, **{"severity": "warning", **target, "incident": named, **equal, **other_labels, "part": f"{run}-other"})
    post(explains, explained, other)
    wait_for("the inhibition", lambda: state(part=f"{run}-same")["state"] == "suppressed", 30)
    assert state(part=f"{run}-same")["inhibitedBy"]
    assert state(part=f"{run}-other")["state"] != "suppressed"
    for entry in (explains, explained, other):
        post({**entry, "endsAt": entry["startsAt"]})


def test_a_page_of_a_host_that_is_down_and_its_ladder_are_explained_too(run):
    """The rung of HostDown itself is not."""
    post(
        alert("HostDown", host=run),
        alert("PageUnanswered", incident="TargetDown", host=run, escalation="1", part=f"{run}-inside"),
        alert("PageUnanswered", incident="HostDown", host=run, escalation="1", part=f"{run}-own"),
    )
    wait_for("the inhibition", lambda: state(part=f"{run}-inside")["state"] == "suppressed", 30)
    assert state(part=f"{run}-own")["state"] != "suppressed"
    post(alert("HostDown", host=run, ended=True))


# -- acknowledging


def test_one_acknowledgement_silences_a_page_and_its_ladder(run):
    """Of one host: another host's page goes on."""
    for name in ("a", "b"):
        post(alert("TargetDown", host=f"{run}{name}"), alert("PageUnanswered", incident="TargetDown", host=f"{run}{name}", escalation="1"))
    code, said, errors = obs("ack", "TargetDown", f"host={run}a", "--for", "10m", "--comment", "on it")
    assert code == 0, errors
    for name in ("TargetDown", "PageUnanswered"):
        wait_for("the silence", lambda name=name: state(alertname=name, host=f"{run}a")["silencedBy"], 30)
        assert not state(alertname=name, host=f"{run}b")["silencedBy"]
    silence = re.search(r"silence (\S+);", said)[1]
    found = alertmanager("GET", f"/api/v2/silence/{silence}")
    assert (found["createdBy"], found["comment"]) == ("ops", "acknowledged: on it")
    assert obs("am", "silence", "expire", silence)[0] == 0
    for name in ("a", "b"):
        rung = alert("PageUnanswered", incident="TargetDown", host=f"{run}{name}", escalation="1", ended=True)
        post(alert("TargetDown", host=f"{run}{name}", ended=True), rung)


def test_obs_is_for_members_of_the_group():
    code, said, errors = obs("prom", "up", user="nobody")
    assert (code, said) == (1, "")
    assert "group observatory" in errors
    for path, mode in {"tls/client.key": 0o640, "elasticsearch": 0o640, "config.json": 0o640}.items():
        file = host("hub").file(f"/etc/observatory/obs/{path}")
        assert (file.user, file.group, file.mode) == ("root", "observatory", mode)
    assert host("hub").group("observatory").members == ["ops"]


@pytest.mark.parametrize(("team", "channel", "kind"), [
    ("platform", "email", "mail"), ("platform", "webhook", "webhook"), ("shop", "slack", "slack"), ("shop", "pagerduty", "pagerduty"),
])
def test_a_channel_can_be_tried_alone(team, channel, kind):
    began = now()
    code, said, errors = obs("alert-test", "--team", team, "--channel", channel)
    assert (code, said) == (0, f"{channel} of {team}: delivered\n"), errors
    wait_for("the message", lambda: received(kind, began, "TestMessage"), 20)
    others = {"mail", "webhook", "slack", "pagerduty"} - {kind}
    assert not [entry for other in others for entry in received(other, began, "TestMessage")]


def test_the_history_tells_what_happened(run):
    """Fired, notified and resolved, through Filebeat, Logstash and Elasticsearch."""
    name = f"T{run}"
    post(alert(name, host="app1"))
    wait_for("the message", lambda: state(alertname=name)["state"] == "active", 30)
    wait_for("the beginning in the history", lambda: name in obs("history", "--since", "1h")[1], 60)
    post(alert(name, host="app1", ended=True))
    wait_for("the end in the history", lambda: re.search(rf"{name} +1 +1 +0 +[1-9]", obs("history", "--since", "1h")[1]), 90)


# -- maintenance


@pytest.fixture
def work(tmp_path):
    def make(text):
        file = tmp_path / "work.yml"
        file.write_text(text)
        return str(file)

    return make


def silences():
    return [entry for entry in alertmanager("GET", "/api/v2/silences") if entry["status"]["state"] == "active"]


OPEN = "- {hosts: observatory, gather_facts: false, tasks: [ansible.builtin.ping: ]}"
BROKEN = "- {hosts: observatory, gather_facts: false, tasks: [ansible.builtin.fail: {msg: broken}]}"


def test_a_maintenance_silences_its_hosts_while_it_works(work):
    """And no longer."""
    before = len(silences())
    plays = yaml.safe_load(OPEN)
    plays[0]["tasks"] = [
        {"ansible.builtin.command": f"{CURL} https://localhost:9093/api/v2/silences?active=true", "delegate_to": "hub", "become": True, "register": "seen"},
        {"ansible.builtin.debug": {"msg": "SEEN {{ seen.stdout }}"}},
    ]
    done = playbook("playbooks/maintenance.yml", "--limit", "app1", "-e", "reason='new kernel'", "-e", "who=ann", "-e", f"work={work(yaml.safe_dump(plays))}")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = " ".join(done.stdout.split())
    assert "maintenance: new kernel" in seen and '"createdBy":"ann"' in seen and '"value":"app1"' in seen, done.stdout
    assert len(silences()) == before
    assert "stay silenced" not in done.stdout + done.stderr


def test_a_maintenance_that_fails_keeps_its_silence_and_says_so(work):
    done = playbook("playbooks/maintenance.yml", "--limit", "app1", "-e", "reason='new disk'", "-e", f"work={work(BROKEN)}")
    assert done.returncode != 0
    words = " ".join((done.stdout + done.stderr).split())
    assert "alerts of hosts app1 stay silenced until" in words and "obs am silence expire" in words, done.stdout + done.stderr
    (made,) = [entry for entry in silences() if entry["comment"] == "maintenance: new disk"]
    assert [(matcher["name"], matcher["value"]) for matcher in made["matchers"]] == [("host", "app1")]
    assert obs("am", "silence", "expire", made["id"])[0] == 0


@pytest.mark.parametrize(("given", "words"), [
    ((), "reason is missing: a silence says who made it and why"), (("-e", "reason=x", "-e", "duration=soon"), "duration is 'soon'; expected for example 30m"),
])
def test_a_maintenance_without_what_it_needs_does_nothing(work, given, words):
    before = len(silences())
    done = playbook("playbooks/maintenance.yml", "--limit", "app1", *given, "-e", f"work={work(OPEN)}")
    assert done.returncode != 0
    assert words in " ".join(done.stdout.split()), done.stdout
    assert len(silences()) == before


def test_a_maintenance_in_check_mode_makes_no_silence(work):
    before = len(silences())
    done = playbook("playbooks/maintenance.yml", "--limit", "app1", "--check", "-e", "reason=x", "-e", f"work={work(OPEN)}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(silences()) == before


def test_every_inhibition_names_alerts_that_exist():
    """A name that is mistyped would suppress nothing."""
    text = "".join(path.read_text() for path in (ROOT / "alerts").glob("*/rules.yml"))
    for name in re.findall(r"[A-Z][A-Za-z]+", " ".join(str(rule["source_matchers"] + rule["target_matchers"]) for rule in routing.INHIBIT_RULES)):
        assert f"alert: {name}\n" in text, name
