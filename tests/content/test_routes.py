"""Where alerts go: tables of label sets and receivers, run by amtool over the rendered configuration of the lab and of a site with everything.

And what amtool does not see: routes that no alert reaches, receivers that no route names, inhibitions that compare nothing.
"""

from __future__ import annotations

import functools
import json
import pathlib
import subprocess

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules
from messages import SECRETS
from rendered import role_files
from route_lint import all_routes, bad_inhibitions, contradictory, implied, matchers, problems, told_apart_by_more, unreachable, unused_receivers, walk
from shipped import ROOT, make_values, read_yaml

FIXTURES = pathlib.Path(__file__).parent / "fixtures" / "routes"
CONFIG = "/etc/alertmanager/alertmanager.yml"
# Of one filesystem there is one device and one type, of one instance one job.
FOLLOWS = {"device", "fstype", "job"}
SITES = ("lab", "site")
WATCHERS = ["https://192.0.2.21:9095/watchdog", "https://192.0.2.22:9095/watchdog"]


@functools.cache
def rendered(site: str) -> str:
    """Return alertmanager.yml of the lab's hub, or of the same host with the teams of the fixture."""
    values = {**read_yaml(FIXTURES / "teams.yml"), "__alertmanager_watchers": WATCHERS} if site == "site" else {}
    return role_files("alertmanager", **SECRETS, **values)[CONFIG]["content"]


@functools.cache
def parsed(site: str) -> dict:
    return yaml.safe_load(rendered(site))


@pytest.fixture(scope="module", params=SITES)
def site(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def config(site) -> dict:
    return parsed(site)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, pathlib.Path]:
    """Site -> its configuration, as a file."""
    folder = tmp_path_factory.mktemp("routes")
    for name in SITES:
        (folder / f"{name}.yml").write_text(rendered(name), encoding="utf-8")
    return {name: folder / f"{name}.yml" for name in SITES}


def rows() -> list[pytest.ParameterSet]:
    return [
        pytest.param(site, row, id=f"{site} {' '.join(f'{name}={value}' for name, value in row['labels'].items())}")
        for site in SITES for row in read_yaml(FIXTURES / f"{site}.yml")
    ]


@pytest.mark.parametrize(("site_name", "row"), rows())
def test_an_alert_goes_to(site_name, row, files, amtool):
    """amtool knows no hours: those are read from the route at which the alert ends, which has to be the one that amtool finds."""
    receivers = row["receivers"]
    labels = [f'{name}="{value}"' for name, value in row["labels"].items()]
    done = subprocess.run(
        [amtool, "config", "routes", "test", f"--config.file={files[site_name]}", f"--verify.receivers={','.join(receivers)}", *labels],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, f"expected {receivers}, amtool says: {done.stdout}{done.stderr}"
    ends = walk(parsed(site_name)["route"], row["labels"])
    assert [route["receiver"] for route in ends] == receivers
    office = [f"{row['labels'].get('team')}-office"]
    hours = {"office": {"active_time_intervals": office}, "nights": {"mute_time_intervals": office}}.get(row.get("sent"), {})
    for route in ends:
        assert {key: value for key, value in route.items() if key.endswith("_time_intervals")} == hours


def test_each_route_is_reached_by_a_row(site, config):
    reached = [id(route) for row in read_yaml(FIXTURES / f"{site}.yml") for route in walk(config["route"], row["labels"])]
    assert [f"{path} to {route['receiver']}" for path, route in all_routes(config["route"]) if id(route) not in reached] == []


@pytest.fixture(scope="module")
def known_alerts() -> list[dict[str, str]]:
    """Label sets of all shipped alerts, as Alertmanager gets them: from what their tests expect."""
    found, values = [], make_values()
    for component, folder in alert_rules.component_folders(str(ROOT / "alerts")):
        tests = json.loads(alert_rules.promtool_tests(folder, values, str(ROOT)))["tests"]
        cases = [case for block in tests for case in block.get("alert_rule_test", [])]
        found += [{"site": "lab", "alertname": case["alertname"], **entry["exp_labels"]} for case in cases for entry in case.get("exp_alerts") or []]
        assert cases, component
    return found


def test_nothing_is_wrong_with_the_routes(config, known_alerts):
    assert problems(config, known_alerts) == []


def test_a_critical_alert_stands_for_the_warning_about_the_same_thing_alone(config, known_alerts):
    """A filesystem that is nearly full is no reason to be silent about another one of its host."""
    assert told_apart_by_more(config["inhibit_rules"], known_alerts, FOLLOWS) == []


# -- the lint itself: each of these has to be found


def tree(*routes: dict, **root: object) -> dict:
    return {"receiver": "root", "routes": list(routes), **root}


def to(receiver: str, *given: str, **more: object) -> dict:
    return {"receiver": receiver, "matchers": list(given), **more}


SHADOWED = {
    "the same matchers": (to("a", 'x="1"'), to("b", 'x="1"')),
    "fewer matchers come first": (to("a", 'x="1"'), to("b", 'x="1"', 'y="2"')),
    "a list comes first": (to("a", 'x=~"1|2"'), to("b", 'x="2"')),
    "a list within a list": (to("a", 'x=~"1|2|3"'), to("b", 'x=~"1|3"')),
    "a pattern comes first": (to("a", 'x=~".+"'), to("b", 'x="1"')),
    "what is not another": (to("a", 'x!="2"'), to("b", 'x="1"')),
    "without matchers": (to("a"), to("b", 'x="1"')),
    "the label is missing": (to("a", 'x!~".+"'), to("b", 'x=""')),
}


@pytest.mark.parametrize("case", SHADOWED)
def test_a_route_behind_one_that_takes_its_alerts_is_found(case):
    assert unreachable(tree(*SHADOWED[case])) == ["route.routes[1] to b: route.routes[0] takes all of its alerts"]


REACHED = {
    "the first goes on": (to("a", 'x="1"', **{"continue": True}), to("b", 'x="1"')),
    "more matchers come first": (to("a", 'x="1"', 'y="2"'), to("b", 'x="1"')),
    "another value": (to("a", 'x="1"'), to("b", 'x="2"')),
    "a shorter list comes first": (to("a", 'x="1"'), to("b", 'x=~"1|2"')),
    "another label": (to("a", 'x="1"'), to("b", 'y="1"')),
    "the label may be missing": (to("a", 'x=~".+"'), to("b", 'y="1"')),
}


@pytest.mark.parametrize("case", REACHED)
def test_a_route_that_is_reached_is_not_blamed(case):
    assert unreachable(tree(*REACHED[case])) == []


def test_what_stands_above_counts():
    """A branch of team a has no alerts of team b, and all of its own are of team a."""
    inside = to("top", 'team="a"', routes=[to("b", 'team="b"'), to("all", 'team="a"'), to("late", 'severity="critical"')])
    assert unreachable(tree(inside)) == [
        "route.routes[0].routes[0] to b: its matchers and those above it exclude each other",
        "route.routes[0].routes[2] to late: route.routes[0].routes[1] takes all of its alerts",
    ]


def test_an_earlier_branch_takes_from_within_a_later_one():
    """But not what its own parent does not let in."""
    net, team = to("net", 'severity="critical"'), to("team", 'team="a"', routes=[to("page", 'severity="critical"')])
    assert unreachable(tree(net, team)) == ["route.routes[1].routes[0] to page: route.routes[0] takes all of its alerts"]
    assert unreachable(tree(to("other", 'team="b"', routes=[net]), team)) == []


def test_the_shipped_tree_in_another_order_is_found(config):
    """The net for pages without a team, moved to the front, takes the pages of all teams."""
    routes = config["route"]["routes"]
    pages = [child["receiver"] for entry in routes for child in entry.get("routes", [])]
    found = unreachable({**config["route"], "routes": [routes[-1], *routes[:-1]]})
    assert [sentence.split(": ")[0].split(" to ")[1] for sentence in found] == pages
    assert len(unreachable({**config["route"], "routes": [to("everything"), *routes]})) == len(routes)


def test_a_receiver_without_a_route_is_found():
    receivers = [{"name": name} for name in ("root", "a", "lost")]
    assert unused_receivers({"route": tree(to("a", 'x="1"')), "receivers": receivers}) == ["receiver lost: no route leads to it"]


ALERTS = [
    {"alertname": "Down", "severity": "critical", "host": "h"}, {"alertname": "Slow", "severity": "warning", "host": "h"},
    {"alertname": "Lost", "severity": "critical", "site": "s"},
]
RULE = {"name": "rule", "source_matchers": ['alertname="Down"'], "target_matchers": ['alertname="Slow"', 'host=~".+"'], "equal": ["host"]}
INHIBITIONS = {
    "none": (RULE, []),
    "nothing is equal": ({**RULE, "equal": []}, ["rule: equal names no label of what the alerts are about"]),
    "equal is missing": ({key: RULE[key] for key in RULE if key != "equal"}, ["rule: equal names no label of what the alerts are about"]),
    "the name alone is equal": ({**RULE, "equal": ["alertname"]}, ["rule: equal names no label of what the alerts are about"]),
    "targets may lack it": ({**RULE, "target_matchers": ['alertname="Slow"']}, ["rule: its targets may lack host"]),
    "a source lacks it": ({**RULE, "source_matchers": ['severity="critical"']}, ["rule: its source Lost lacks host"]),
    "no source": ({**RULE, "source_matchers": ['alertname="Dwon"']}, ["rule: no alert is its source"]),
    "no target": ({**RULE, "target_matchers": ['alertname="Solw"', 'host=~".+"']}, ["rule: no alert is its target"]),
}


@pytest.mark.parametrize("case", INHIBITIONS)
def test_an_inhibition_that_compares_nothing_is_found(case):
    rule, expected = INHIBITIONS[case]
    assert bad_inhibitions([rule], ALERTS) == expected


def test_an_inhibition_that_compares_too_little_is_found():
    """Alerts of one name, about two filesystems."""
    alerts = [{"alertname": "Full", "severity": severity, "host": "h", "mountpoint": "/"} for severity in ("critical", "warning")]
    rule = {"name": "rule", "source_matchers": ['severity="critical"'], "target_matchers": ['severity="warning"'], "equal": ["alertname", "host"]}
    assert told_apart_by_more([rule], alerts, ()) == ["rule: Full of another mountpoint is held back too"]
    assert told_apart_by_more([{**rule, "equal": [*rule["equal"], "mountpoint"]}], alerts, ()) == []


def test_matchers_are_read_as_alertmanager_does():
    """Whole values, a missing label is empty; what is no matcher is refused."""
    assert [matcher.accepts("shop-data") for matcher in matchers(['a=~"shop"', 'a="shop-data"', 'a!="shop"', 'a!~"shop.*"'])] == [False, True, True, False]
    with pytest.raises(ValueError, match="is no matcher"):
        matchers(["a=b"])
    assert implied(*matchers(['a=~"x.*"']), matchers(['a="xy"'])) and not implied(*matchers(['a="x"']), matchers(['a=~"x.*"']))
    assert contradictory(matchers(['a="x"', 'a!~"x|y"'])) and not contradictory(matchers(['a=~"x|y"', 'a!="x"']))


def test_an_alert_ends_at_more_routes_than_one_after_continue():
    ends = walk(tree(to("a", 'x="1"', **{"continue": True}), to("b", 'x="1"'), to("c")), {"x": "1"})
    assert [route["receiver"] for route in ends] == ["a", "b"]
