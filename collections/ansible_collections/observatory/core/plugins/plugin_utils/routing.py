"""Alertmanager's receivers, routes and secret files, worked out from teams.yml. Plain data in, plain data out; no Ansible here."""

from __future__ import annotations

import typing as t

from . import escalation

SECRETS_DIR = "/etc/alertmanager/secrets"
NULL_RECEIVER = "nobody"
# How soon a synthetic alert goes out: it measures the way, not the patience.
SYNTHETIC = {"group_by": ["..."], "group_wait": "0s", "group_interval": "5s", "repeat_interval": "1h"}
SEVERITIES = ("critical", "warning")
DEFAULT_SEVERITIES = {"pagerduty": ("critical",)}
CHANNELS = ("email", "slack", "pagerduty", "webhook")
OFFICE_DAYS = ("monday:friday",)

# A message by one channel of a team, asked for by `obs alert-test`.
TEST_ALERT = "TestMessage"
WATCHDOG_RECEIVER = "watchdog"
# The watcher hears at each interval that all is well. A repeat_interval as long as the interval would let every second one go by.
WATCHDOG = {"group_by": ["..."], "group_wait": "0s", "repeat_interval": "1s"}
OWN_CERTIFICATE = {
    "ca_file": "/etc/alertmanager/tls/ca.crt", "cert_file": "/etc/alertmanager/tls/server.crt", "key_file": "/etc/alertmanager/tls/server.key",
}
# What cannot work while Elasticsearch is away.
NEEDS_ELASTICSEARCH = (
    "ElasticsearchNoNewDocuments", "JaegerESBulkIndexErrors", "JaegerExporterFailing", "JaegerStorageErrors", "JaegerStorageSlow",
    "KibanaElasticsearchUnavailable", "KibanaStatusNotAvailable", "LogstashBulkRequestErrors", "LogstashOutputFailures",
    "LogstashPipelineStalled",
)

# A source stands in for its targets where the labels in `equal` agree. A label that is missing on both sides counts as agreeing, so every
# rule asks for it by name. Targets are named by `incident`: the rungs of a page's ladder have that of the page, and go with it.
INHIBIT_RULES = (
    {
        "name": "a host that is down explains the rest of its alerts",
        "source_matchers": ['alertname="HostDown"'],
        "target_matchers": ['incident!="HostDown"', 'host=~".+"', 'synthetic!="true"'],
        "equal": ["host"],
    },
    *(
        {
            "name": f"critical stands for warning and info of the same {label}",
            "source_matchers": ['severity="critical"', 'escalation=""', f'{label}=~".+"'],
            "target_matchers": ['severity=~"warning|info"', f'{label}=~".+"'],
            "equal": ["alertname", label, *also],
        }
        for label, also in (
            ("host", ("instance", "mountpoint", "pipeline")), ("cluster", ("name",)), ("service_name", ("http_route", "server_address", "span_name")),
            ("transaction", ()), ("probe", ()),
        )
    ),
    {
        "name": "an info that stands alone is told to nobody",
        "source_matchers": ['alertname="InfoInhibitor"', 'host=~".+"'],
        "target_matchers": ['severity="info"', 'host=~".+"', 'synthetic!="true"'],
        "equal": ["host"],
    },
    {
        "name": "what needs Elasticsearch fails with it",
        "source_matchers": ['alertname=~"ElasticsearchClusterRed|ElasticsearchExporterDown"', 'site=~".+"'],
        "target_matchers": [f'incident=~"{"|".join(NEEDS_ELASTICSEARCH)}"', 'site=~".+"'],
        "equal": ["site"],
    },
    *(
        {
            "name": name,
            "source_matchers": [f'alertname="{source}"', f'{label}=~".+"'],
            "target_matchers": [f'incident=~"{targets}"', f'{label}=~".+"'],
            "equal": [label],
        }
        for name, source, targets, label in (
            ("a service that fails explains its routes", "ServiceHighErrorRate", "RouteHighErrorRate|SpanErrorRateHigh", "service_name"),
            ("no requests are fewer requests", "ServiceTrafficAbsent", "ServiceTrafficDropped", "service_name"),
            ("no transactions are fewer transactions", "BusinessTransactionsStopped", "BusinessThroughputDropped", "transaction"),
            ("what is broken is no longer at risk", "SLAAvailabilityBreached", "SLAAvailabilityAtRisk", "probe"),
        )
    ),
)


class RoutingError(Exception):
    """What is wrong, with the variable's path."""


class Channel:
    """One channel of a team, as Alertmanager's receiver wants it. A secret is a file; `files` collects them.

    `team` names the file, `path` is the entry of observatory_teams that has the channel.
    """

    def __init__(self, secret: t.Callable[[str, str], str], team: str, path: str) -> None:
        self._secret = secret
        self._team = team
        self._path = path
        self.files: dict[str, str] = {}

    def configs(self, given: t.Mapping[str, t.Any], severity: str | None = None) -> dict[str, t.Any]:
        """Return `<channel>_configs` of an entry; of those that have the severity where one is given."""
        found = {}
        for channel in CHANNELS:
            entry = given.get(channel)
            if entry and (severity is None or severity in (entry.get("severities") or DEFAULT_SEVERITIES.get(channel, SEVERITIES))):
                found[f"{channel}_configs"] = getattr(self, channel)(entry)
        return found

    def email(self, given: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        return [
            {
                "to": ", ".join(given["to"]),
                "send_resolved": True,
                "headers": {"Subject": '{{ template "observatory.title" . }}'},
                "html": '{{ template "observatory.mail.html" . }}',
                "text": '{{ template "observatory.mail.text" . }}',
            }
        ]

    def slack(self, given: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        return [
            {
                "api_url_file": self._file("slack", given["url_variable"]),
                "channel": given["channel"],
                "send_resolved": True,
                "title": '{{ template "observatory.title" . }}',
                "title_link": '{{ template "observatory.link" . }}',
                "text": '{{ template "observatory.slack.text" . }}',
                "fallback": '{{ template "observatory.title" . }}',
            }
        ]

    def pagerduty(self, given: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        config = {
            "routing_key_file": self._file("pagerduty", given["routing_key_variable"]),
            "send_resolved": True,
            "description": '{{ template "observatory.title" . }}',
            # PagerDuty's own word, by which it chooses how loudly to call: left out, all would be an error.
            "severity": '{{ template "observatory.pagerduty.severity" . }}',
            "details": {"summary": '{{ template "observatory.mail.text" . }}'},
            # One without an address is left out: the dashboards of several alerts may differ.
            "links": [
                {"href": "{{ .CommonAnnotations.runbook_url }}", "text": "Runbook"},
                {"href": "{{ .CommonAnnotations.dashboard_url }}", "text": "Dashboard"},
            ],
        }
        if given.get("events_url"):
            config["url"] = given["events_url"]
        return [config]

    def webhook(self, given: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        return [{"url_file": self._file("webhook", given["url_variable"]), "send_resolved": True}]

    def _file(self, channel: str, variable: str) -> str:
        path = f"{SECRETS_DIR}/{self._team}-{channel}"
        self.files[path] = self._secret(variable, f"{self._path}.{channel}")
        return path


def receivers(teams: t.Mapping[str, t.Mapping[str, t.Any]], secret: t.Callable[[str, str], str]) -> tuple[list[dict], dict[str, str]]:
    """Return (receivers, path -> content of secret files): one receiver a team and severity, and one a rung of its ladder."""
    files: dict[str, str] = {}
    result: list[dict[str, t.Any]] = [{"name": NULL_RECEIVER}]

    def add(name: str, file: str, path: str, given: t.Mapping[str, t.Any], severity: str | None = None) -> bool:
        channel = Channel(secret, file, path)
        configs = channel.configs(given, severity)
        result.append({"name": name, **configs})
        files.update(channel.files)
        return bool(configs)

    for team, given in sorted(teams.items()):
        path = f"observatory_teams.{team}"
        for severity in SEVERITIES:
            add(receiver_name(team, severity), team, path, given or {}, severity)
        for rung in _rungs(team, given):
            name, where = rung_name(team, rung["number"]), f"{path}.escalation[{rung['number'] - 1}]"
            if not add(name, name, where, rung):
                raise RoutingError(f"{where} has no channel; give it one of {', '.join(CHANNELS)}")
    return result, files


def receiver_name(team: str, severity: str) -> str:
    return f"{team}-{severity}"


def rung_name(team: str, number: int) -> str:
    return f"{team}-escalation-{number}"


def office_name(team: str) -> str:
    return f"{team}-office"


def _rungs(team: str, given: t.Mapping[str, t.Any] | None) -> list[dict[str, t.Any]]:
    try:
        return escalation.rungs(team, given)
    except escalation.LadderError as error:
        raise RoutingError(str(error)) from None


def time_intervals(teams: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the office hours of the teams that have any, as Alertmanager's time intervals."""
    found = []
    for team, given in sorted(teams.items()):
        hours = (given or {}).get("office_hours")
        if hours:
            interval = {
                "weekdays": list(hours.get("days") or OFFICE_DAYS),
                "times": [{"start_time": hours["from"], "end_time": hours["to"]}],
                "location": hours.get("timezone") or "UTC",
            }
            found.append({"name": office_name(team), "time_intervals": [interval]})
    return found


def route(
    teams: t.Mapping[str, t.Mapping[str, t.Any]], platform_team: str, timing: t.Mapping[str, t.Any], watched: bool = False
) -> dict[str, t.Any]:
    """Return the routing tree. `timing` has group_by, group_wait, group_interval, repeat_interval, page_repeat_interval and watchdog_interval."""
    names = sorted(teams)
    if platform_team not in names:
        known = ", ".join(names) or "it is empty"
        raise RoutingError(f"observatory_platform_team is {platform_team!r}, which is no team of observatory_teams: {known}")
    page = {"matchers": ['severity="critical"'], "repeat_interval": timing["page_repeat_interval"]}
    return {
        "receiver": receiver_name(platform_team, "warning"),
        "group_by": list(timing["group_by"]),
        "group_wait": timing["group_wait"],
        "group_interval": timing["group_interval"],
        "repeat_interval": timing["repeat_interval"],
        "routes": [
            {"receiver": receiver_name(platform_team, "critical"), "matchers": ['synthetic="true"'], **SYNTHETIC},
            *([{"receiver": WATCHDOG_RECEIVER, "matchers": ['alertname="Watchdog"'], **WATCHDOG,
                "group_interval": timing["watchdog_interval"]}] if watched else []),
            *(
                {
                    "receiver": test_name(team, channel),
                    "matchers": [f'alertname="{TEST_ALERT}"', f'team="{team}"', f'channel="{channel}"'],
                    **SYNTHETIC,
                }
                for team, channel in test_channels(teams)
            ),
            {"receiver": NULL_RECEIVER, "matchers": ['severity=~"none|info"']},
            *(
                {
                    "receiver": rung_name(team, rung["number"]),
                    "matchers": [f'team="{team}"', f'escalation="{rung["number"]}"'],
                    "repeat_interval": timing["page_repeat_interval"],
                    **_when(team, rung["when"]),
                }
                for team in names
                for rung in _rungs(team, teams[team])
            ),
            *(
                {
                    "receiver": receiver_name(team, "warning"),
                    "matchers": [f'team="{team}"'],
                    # A ticket can wait for the morning, a page cannot.
                    **_when(team, "office" if (teams[team] or {}).get("office_hours") else "always"),
                    "routes": [{"receiver": receiver_name(team, "critical"), **page}],
                }
                for team in names
            ),
            {"receiver": receiver_name(platform_team, "critical"), **page},
        ],
    }


def test_channels(teams: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[tuple[str, str]]:
    """Return (team, channel) of all channels: each can be tried by a message of its own."""
    return [(team, channel) for team, given in sorted(teams.items()) for channel in CHANNELS if (given or {}).get(channel)]


def test_name(team: str, channel: str) -> str:
    return f"{team}-test-{channel}"


def _when(team: str, when: str) -> dict[str, list[str]]:
    key = {"office": "active_time_intervals", "nights": "mute_time_intervals"}.get(when)
    return {key: [office_name(team)]} if key else {}


def build(
    teams: t.Mapping[str, t.Mapping[str, t.Any]],
    platform_team: str,
    timing: t.Mapping[str, t.Any],
    secret: t.Callable[[str, str], str],
    watchers: t.Sequence[str] = (),
) -> dict[str, t.Any]:
    """Return {route, inhibit_rules, time_intervals, receivers, channels, files: [{path, content}]}.

    secret: (variable's name, path of the entry that names it) -> its value; raises when there is none.
    watchers: addresses that expect the watchdog.
    """
    made, files = receivers(teams, secret)
    tests = test_channels(teams)
    for team, channel in tests:
        made.append({"name": test_name(team, channel), **Channel(secret, team, f"observatory_teams.{team}").configs({channel: teams[team][channel]})})
    if watchers:
        webhooks = [{"url": url, "send_resolved": False, "http_config": {"tls_config": dict(OWN_CERTIFICATE)}} for url in watchers]
        made.append({"name": WATCHDOG_RECEIVER, "webhook_configs": webhooks})
    return {
        "route": route(teams, platform_team, timing, watched=bool(watchers)),
        "inhibit_rules": [dict(rule) for rule in INHIBIT_RULES],
        "time_intervals": time_intervals(teams),
        "receivers": made,
        "channels": [list(entry) for entry in tests],
        "files": [{"path": path, "content": content} for path, content in sorted(files.items())],
    }
