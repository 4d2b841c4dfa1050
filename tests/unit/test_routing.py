"""Receivers and routes follow teams.yml."""

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import routing

TIMING = {
    "group_by": ["alertname"], "group_wait": "30s", "group_interval": "5m", "repeat_interval": "12h", "page_repeat_interval": "1h",
    "watchdog_interval": "1m",
}
TEAMS = {
    "platform": {"email": {"to": ["a@x", "b@x"]}},
    "shop": {"pagerduty": {"routing_key_variable": "key"}, "slack": {"channel": "#c", "url_variable": "url", "severities": ["warning"]}},
    "quiet": {},
}


def build(teams=TEAMS, platform="platform"):
    return routing.build(teams, platform, TIMING, lambda name, named_by: f"value of {name} for {named_by}")


def channels(built):
    """Return receiver -> its channels, without those of test messages."""
    kinds = {receiver["name"]: [key for key in receiver if key != "name"] for receiver in built["receivers"]}
    return {name: kind for name, kind in kinds.items() if "-test-" not in name}


def routes(built):
    """Return the routes below the root, without those of test messages."""
    return [entry for entry in built["route"]["routes"] if "-test-" not in entry["receiver"]]


def test_each_team_has_a_receiver_for_each_severity_with_the_channels_that_want_it():
    """pagerduty has critical alone by default, the others both; `severities` decides."""
    assert channels(build()) == {
        "nobody": [],
        "platform-critical": ["email_configs"],
        "platform-warning": ["email_configs"],
        "quiet-critical": [],
        "quiet-warning": [],
        "shop-critical": ["pagerduty_configs"],
        "shop-warning": ["slack_configs"],
    }


def test_secrets_are_files_that_the_receivers_point_to():
    """A variable's value is in a file of the team and channel, never in the configuration."""
    built = build()
    assert built["files"] == [
        {"path": "/etc/alertmanager/secrets/shop-pagerduty", "content": "value of key for observatory_teams.shop.pagerduty"},
        {"path": "/etc/alertmanager/secrets/shop-slack", "content": "value of url for observatory_teams.shop.slack"},
    ]
    assert "value of" not in str([built["route"], built["receivers"]])


def test_routes_send_critical_to_the_page_and_the_rest_to_the_ticket():
    """A synthetic alert comes first and at once; info and none go to nobody; what names no team goes to the platform's."""
    assert build()["route"]["receiver"] == "platform-warning"
    found = routes(build())
    assert [entry["receiver"] for entry in found] == [
        "platform-critical", "nobody", "platform-warning", "quiet-warning", "shop-warning", "platform-critical"
    ]
    assert found[0]["matchers"] == ['synthetic="true"'] and found[0]["group_wait"] == "0s"
    assert found[4]["routes"] == [{"receiver": "shop-critical", "matchers": ['severity="critical"'], "repeat_interval": "1h"}]


def test_every_inhibition_asks_for_the_labels_that_it_compares():
    """A label missing on both sides counts as equal: alerts without a host would silence each other."""
    for rule in build()["inhibit_rules"]:
        asked = [label for label in rule["equal"] if f'{label}=~".+"' in rule["target_matchers"] or label == "host"]
        assert asked and f'{asked[0]}=~".+"' in rule["target_matchers"], rule["name"]


def test_an_unknown_platform_team_is_named():
    """The variable, its value, and the teams that exist."""
    with pytest.raises(routing.RoutingError) as error:
        build(platform="ops")
    assert str(error.value) == "observatory_platform_team is 'ops', which is no team of observatory_teams: platform, quiet, shop"


LADDER = {
    "office_hours": {"days": ["monday:friday"], "from": "08:00", "to": "18:00", "timezone": "Europe/Berlin"},
    "email": {"to": ["a@x"]},
    "escalation": [
        {"after": "15m", "when": "office", "email": {"to": ["second@x"]}},
        {"after": "10m", "when": "nights", "pagerduty": {"routing_key_variable": "key"}},
        {"after": "1h", "email": {"to": ["manager@x"]}},
    ],
}


def test_a_rung_has_a_receiver_and_a_route_of_its_own():
    """Before those of the teams, by team and number, in the hours that it is for."""
    built = build({**TEAMS, "shop": LADDER})
    assert {name: kinds for name, kinds in channels(built).items() if "escalation" in name} == {
        "shop-escalation-1": ["email_configs"], "shop-escalation-2": ["pagerduty_configs"], "shop-escalation-3": ["email_configs"]
    }
    assert routes(built)[2:5] == [
        {"receiver": "shop-escalation-1", "matchers": ['team="shop"', 'escalation="1"'], "repeat_interval": "1h", "active_time_intervals": ["shop-office"]},
        {"receiver": "shop-escalation-2", "matchers": ['team="shop"', 'escalation="2"'], "repeat_interval": "1h", "mute_time_intervals": ["shop-office"]},
        {"receiver": "shop-escalation-3", "matchers": ['team="shop"', 'escalation="3"'], "repeat_interval": "1h"},
    ]
    assert built["files"] == [{"path": "/etc/alertmanager/secrets/shop-escalation-2-pagerduty",
                               "content": "value of key for observatory_teams.shop.escalation[1].pagerduty"}]
    assert built["time_intervals"] == [{"name": "shop-office", "time_intervals": [
        {"weekdays": ["monday:friday"], "times": [{"start_time": "08:00", "end_time": "18:00"}], "location": "Europe/Berlin"}
    ]}]


def test_tickets_wait_for_office_hours_and_pages_do_not():
    """Where a team has office hours."""
    shop = routes(build({**TEAMS, "shop": LADDER}))[-2]
    assert shop["receiver"] == "shop-warning" and shop["active_time_intervals"] == ["shop-office"]
    assert shop["routes"] == [{"receiver": "shop-critical", "matchers": ['severity="critical"'], "repeat_interval": "1h"}]
    assert "active_time_intervals" not in build()["route"]["routes"][-2]


def test_a_rung_without_a_channel_is_refused():
    with pytest.raises(routing.RoutingError, match=r"shop.escalation\[0\] has no channel"):
        build({**TEAMS, "shop": {"escalation": [{"after": "10m"}]}})


def test_the_watchdog_goes_to_the_watchers_each_minute():
    """By Alertmanager's own certificate; and to nobody where nobody watches."""
    built = routing.build(TEAMS, "platform", TIMING, lambda name, named_by: "", watchers=["https://app1:9095/watchdog"])
    assert routes(built)[1] == {"receiver": "watchdog", "matchers": ['alertname="Watchdog"'], **routing.WATCHDOG, "group_interval": "1m"}
    config = built["receivers"][-1]["webhook_configs"][0]
    assert config["url"] == "https://app1:9095/watchdog" and config["send_resolved"] is False
    assert "watchdog" not in channels(build())


def test_each_channel_can_be_tried_alone():
    """By a receiver and a route of its own, at once."""
    built = build()
    assert built["channels"] == [["platform", "email"], ["shop", "slack"], ["shop", "pagerduty"]]
    tried = [entry for entry in built["route"]["routes"] if entry["receiver"] == "shop-test-slack"]
    assert tried[0]["matchers"] == ['alertname="TestMessage"', 'team="shop"', 'channel="slack"'] and tried[0]["group_wait"] == "0s"
    receiver = next(receiver for receiver in built["receivers"] if receiver["name"] == "shop-test-slack")
    assert list(receiver) == ["name", "slack_configs"]
