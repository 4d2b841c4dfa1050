"""Receivers and routes follow teams.yml."""

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import routing

TIMING = {"group_by": ["alertname"], "group_wait": "30s", "group_interval": "5m", "repeat_interval": "12h", "page_repeat_interval": "1h"}
TEAMS = {
    "platform": {"email": {"to": ["a@x", "b@x"]}},
    "shop": {"pagerduty": {"routing_key_variable": "key"}, "slack": {"channel": "#c", "url_variable": "url", "severities": ["warning"]}},
    "quiet": {},
}


def build(teams=TEAMS, platform="platform"):
    return routing.build(teams, platform, TIMING, lambda name, named_by: f"value of {name} for {named_by}")


def channels(built):
    return {receiver["name"]: [key for key in receiver if key != "name"] for receiver in built["receivers"]}


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
    route = build()["route"]
    assert route["receiver"] == "platform-warning"
    assert [entry["receiver"] for entry in route["routes"]] == [
        "platform-critical", "nobody", "platform-warning", "quiet-warning", "shop-warning", "platform-critical"
    ]
    assert route["routes"][0]["matchers"] == ['synthetic="true"'] and route["routes"][0]["group_wait"] == "0s"
    assert route["routes"][4]["routes"] == [{"receiver": "shop-critical", "matchers": ['severity="critical"'], "repeat_interval": "1h"}]


def test_every_inhibition_asks_for_the_labels_that_it_compares():
    """A label missing on both sides counts as equal: alerts without a host would silence each other."""
    for rule in build()["inhibit_rules"]:
        assert rule["equal"] and any(matcher == 'host=~".+"' for matcher in rule["target_matchers"])


def test_an_unknown_platform_team_is_named():
    """The variable, its value, and the teams that exist."""
    with pytest.raises(routing.RoutingError) as error:
        build(platform="ops")
    assert str(error.value) == "observatory_platform_team is 'ops', which is no team of observatory_teams: platform, quiet, shop"
