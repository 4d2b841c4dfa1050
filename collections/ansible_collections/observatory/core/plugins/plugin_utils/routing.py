"""Alertmanager's receivers, routes and secret files, worked out from teams.yml. Plain data in, plain data out; no Ansible here."""

from __future__ import annotations

import typing as t

SECRETS_DIR = "/etc/alertmanager/secrets"
NULL_RECEIVER = "nobody"
# How soon a synthetic alert goes out: it measures the way, not the patience.
SYNTHETIC = {"group_by": ["..."], "group_wait": "0s", "group_interval": "5s", "repeat_interval": "1h"}
SEVERITIES = ("critical", "warning")
DEFAULT_SEVERITIES = {"pagerduty": ("critical",)}
CHANNELS = ("email", "slack", "pagerduty", "webhook")

# A source stands in for its targets where the labels in `equal` agree. A label that is missing on both sides counts as agreeing, so every
# rule asks for it by name.
INHIBIT_RULES = (
    {
        "name": "a host that is down explains the rest of its alerts",
        "source_matchers": ['alertname="HostDown"'],
        "target_matchers": ['alertname!="HostDown"', 'host=~".+"', 'synthetic!="true"'],
        "equal": ["host"],
    },
    {
        "name": "critical stands for warning and info",
        "source_matchers": ['severity="critical"', 'host=~".+"'],
        "target_matchers": ['severity=~"warning|info"', 'host=~".+"'],
        "equal": ["alertname", "host", "instance"],
    },
)


class RoutingError(Exception):
    """What is wrong, with the variable's path."""


class Channel:
    """One channel of a team, as Alertmanager's receiver wants it. A secret is a file; `files` collects them."""

    def __init__(self, secret: t.Callable[[str, str], str]) -> None:
        self._secret = secret
        self.files: dict[str, str] = {}

    def email(self, team: str, given: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        return [
            {
                "to": ", ".join(given["to"]),
                "send_resolved": True,
                "headers": {"Subject": '{{ template "observatory.title" . }}'},
                "html": '{{ template "observatory.mail.html" . }}',
                "text": '{{ template "observatory.mail.text" . }}',
            }
        ]

    def slack(self, team: str, given: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        return [
            {
                "api_url_file": self._file(team, "slack", given["url_variable"]),
                "channel": given["channel"],
                "send_resolved": True,
                "title": '{{ template "observatory.title" . }}',
                "title_link": '{{ template "observatory.link" . }}',
                "text": '{{ template "observatory.slack.text" . }}',
                "fallback": '{{ template "observatory.title" . }}',
            }
        ]

    def pagerduty(self, team: str, given: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        config = {
            "routing_key_file": self._file(team, "pagerduty", given["routing_key_variable"]),
            "send_resolved": True,
            "description": '{{ template "observatory.title" . }}',
            "details": {"summary": '{{ template "observatory.mail.text" . }}'},
        }
        if given.get("events_url"):
            config["url"] = given["events_url"]
        return [config]

    def webhook(self, team: str, given: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        return [{"url_file": self._file(team, "webhook", given["url_variable"]), "send_resolved": True}]

    def _file(self, team: str, channel: str, variable: str) -> str:
        path = f"{SECRETS_DIR}/{team}-{channel}"
        self.files[path] = self._secret(variable, f"observatory_teams.{team}.{channel}")
        return path


def receivers(teams: t.Mapping[str, t.Mapping[str, t.Any]], secret: t.Callable[[str, str], str]) -> tuple[list[dict], dict[str, str]]:
    """Return (receivers, path -> content of secret files): one receiver a team and severity, with the channels that have it."""
    made = Channel(secret)
    result: list[dict[str, t.Any]] = [{"name": NULL_RECEIVER}]
    for team, channels in sorted(teams.items()):
        for severity in SEVERITIES:
            receiver: dict[str, t.Any] = {"name": receiver_name(team, severity)}
            for channel in CHANNELS:
                given = (channels or {}).get(channel)
                if given and severity in (given.get("severities") or DEFAULT_SEVERITIES.get(channel, SEVERITIES)):
                    receiver[f"{channel}_configs"] = getattr(made, channel)(team, given)
            result.append(receiver)
    return result, made.files


def receiver_name(team: str, severity: str) -> str:
    return f"{team}-{severity}"


def route(teams: t.Iterable[str], platform_team: str, timing: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the routing tree. `timing` has group_by, group_wait, group_interval, repeat_interval and page_repeat_interval."""
    teams = sorted(teams)
    if platform_team not in teams:
        known = ", ".join(teams) or "it is empty"
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
            {"receiver": NULL_RECEIVER, "matchers": ['severity=~"none|info"']},
            *(
                {
                    "receiver": receiver_name(team, "warning"),
                    "matchers": [f'team="{team}"'],
                    "routes": [{"receiver": receiver_name(team, "critical"), **page}],
                }
                for team in teams
            ),
            {"receiver": receiver_name(platform_team, "critical"), **page},
        ],
    }


def build(
    teams: t.Mapping[str, t.Mapping[str, t.Any]], platform_team: str, timing: t.Mapping[str, t.Any], secret: t.Callable[[str, str], str]
) -> dict[str, t.Any]:
    """Return {route, inhibit_rules, receivers, files: [{path, content}]}.

    secret: (variable's name, path of the entry that names it) -> its value; raises when there is none.
    """
    made, files = receivers(teams, secret)
    return {
        "route": route(teams, platform_team, timing),
        "inhibit_rules": [dict(rule) for rule in INHIBIT_RULES],
        "receivers": made,
        "files": [{"path": path, "content": content} for path, content in sorted(files.items())],
    }
