"""Checks of variables against specs: every kind of mistake gives its whole message."""

from __future__ import annotations

import datetime
import json
import os
import pathlib

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import cross_checks, scrape
from ansible_collections.observatory.core.plugins.plugin_utils.arguments import (
    UNRESOLVED,
    broken_relations,
    check,
    nearest,
    show,
    unknown_names,
)
from ansible_collections.observatory.core.plugins.plugin_utils.finding import Finding, merge, report
from ansible_collections.observatory.core.plugins.plugin_utils.specs import Specs, load_specs

PROJECT = pathlib.Path(__file__).parents[2]
SITE_SPEC = """
argument_specs:
  main:
    options:
      observatory_site: {type: str, required: true, description: Name of the site. More words.}
      observatory_authority_key: {type: str, no_log: true, required: true, description: The key.}
      observatory_services:
        type: list
        elements: dict
        default: []
        options:
          name: {type: str, required: true}
          team: {type: str, required: true, description: The team that gets its alerts.}
          hosts: {type: list, elements: str}
          metrics:
            type: dict
            options:
              port: {type: int, required: true}
              interval: {type: str, default: 15s}
      observatory_teams: {type: dict, elements: dict, options: {mail: {type: str, required: true}}}
      observatory_ratio: {type: float}
      observatory_mirror_url: {type: str, default: "", description: Mirror.}
      observatory_severities: {type: list, elements: str, choices: [critical, warning]}
"""
PROMETHEUS_SPEC = """
argument_specs:
  main:
    mutually_exclusive: [[prometheus_token, prometheus_token_file]]
    options:
      prometheus_version: {type: str, required: true}
      prometheus_port: {type: int, default: 9090}
      prometheus_retention_time: {type: str, default: 15d}
      prometheus_retention_size: {type: str, default: ""}
      prometheus_external_url: {type: str}
      prometheus_disk_percent: {type: int}
      prometheus_keep_days: {type: int}
      prometheus_admin_api: {type: bool, default: false}
      prometheus_log_level: {type: str, default: info, choices: [debug, info, warn]}
      prometheus_flags: {type: list, elements: str, default: []}
      prometheus_token: {type: str}
      prometheus_token_file: {type: path}
"""
EXPORTER_SPEC = "argument_specs: {main: {options: {exporter_port: {type: int, default: 9100}}}}"
COMPONENT_TASK = """
- name: Prometheus is healthy
  observatory.core.component: {name: prometheus, service: {unit: prometheus}}
"""

# What a host needs at least, so that a test's own mistake is the only one.
GOOD = {"observatory_site": "lab", "observatory_authority_key": "k", "prometheus_version": "3.5.3"}


@pytest.fixture(scope="module")
def roles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roles")
    for role, spec in {"site": SITE_SPEC, "prometheus": PROMETHEUS_SPEC, "exporter": EXPORTER_SPEC}.items():
        (folder / role / "meta").mkdir(parents=True)
        (folder / role / "meta" / "argument_specs.yml").write_text(spec)
    (folder / "prometheus" / "tasks").mkdir()
    (folder / "prometheus" / "tasks" / "main.yml").write_text(COMPONENT_TASK)
    return folder


@pytest.fixture(scope="module")
def specs(roles):
    return load_specs(roles)


def findings(specs, given, **options):
    variables = {**GOOD, **(yaml.safe_load(given) if isinstance(given, str) else given)}
    where = {name: f"site.yml:{number}" for number, name in enumerate(variables, 1) if name not in GOOD}
    return check(variables, lambda path: where.get(path[0], ""), specs, site="lab", **options)


MESSAGES = {
    "prometheus_retention_tim: 15d": [
        "prometheus_retention_tim is not a variable of this project",
        '  set in site.yml:4; given: "15d"',
        "  did you mean prometheus_retention_time?",
    ],
    "promethus_port: 1": [
        "promethus_port is not a variable of this project",
        "  set in site.yml:4; given: 1",
        "  did you mean prometheus_port?",
    ],
    "observatory_zzz: 1": [
        "observatory_zzz is not a variable of this project",
        "  set in site.yml:4; given: 1",
        "  docs/reference/variables.md lists all; a name of your own must not begin with observatory_",
    ],
    "__prometheus_quux: 1": [
        "__prometheus_quux is not a variable of this project",
        "  set in site.yml:4; given: 1",
        "  names that begin with __ belong to the roles alone",
    ],
    "exporter_wrong_password: hunter2": [
        "exporter_wrong_password is not a variable of this project",
        "  set in site.yml:4; given: (hidden)",
        "  docs/reference/variables.md lists all; a name of your own must not begin with exporter_",
    ],
    "prometheus_port: abc": ["prometheus_port must be a port from 1 to 65535", '  set in site.yml:4; given: "abc"'],
    "prometheus_port: 70000": ["prometheus_port must be a port from 1 to 65535", "  set in site.yml:4; given: 70000"],
    "prometheus_port: true": ["prometheus_port must be a port from 1 to 65535", "  set in site.yml:4; given: true"],
    "prometheus_port: 9.5": ["prometheus_port must be a port from 1 to 65535", "  set in site.yml:4; given: 9.5"],
    "prometheus_port:": ["prometheus_port is empty; it must be a port from 1 to 65535", "  set in site.yml:4"],
    "prometheus_port: [[ port ]]": [
        "prometheus_port must be a port from 1 to 65535",
        '  set in site.yml:4; given: [["port"]]',
        '  [[ ]] without quotes is a list in a list: write "[[ port ]]"',
    ],
    "prometheus_admin_api: 'yes'": [
        "prometheus_admin_api must be true or false",
        '  set in site.yml:4; given: "yes"',
        "  write true or false without quotes; on the command line: -e '{\"name\": true}'",
    ],
    "prometheus_retention_time: 15 days": [
        'prometheus_retention_time must be a duration such as "15d", "1h30m" or "30s"',
        '  set in site.yml:4; given: "15 days"',
    ],
    "prometheus_retention_time: 15": [
        'prometheus_retention_time must be a duration such as "15d", "1h30m" or "30s"',
        "  set in site.yml:4; given: 15",
        '  write it in quotes: "15"',
    ],
    "prometheus_retention_size: 10 GiB": [
        'prometheus_retention_size must be a size such as "512MB" or "10GB"',
        '  set in site.yml:4; given: "10 GiB"',
    ],
    "prometheus_external_url: prometheus.example.org": [
        "prometheus_external_url must be a URL that begins with http:// or https://",
        '  set in site.yml:4; given: "prometheus.example.org"',
    ],
    "prometheus_keep_days: 0": ["prometheus_keep_days must be a number of days, 1 or more", "  set in site.yml:4; given: 0"],
    "prometheus_disk_percent: 101": ["prometheus_disk_percent must be a percentage from 0 to 100", "  set in site.yml:4; given: 101"],
    "prometheus_log_level: trace": ["prometheus_log_level must be one of debug, info, warn", '  set in site.yml:4; given: "trace"'],
    "prometheus_log_level: inf": [
        "prometheus_log_level must be one of debug, info, warn",
        '  set in site.yml:4; given: "inf"',
        "  did you mean info?",
    ],
    "prometheus_flags: --web": [
        "prometheus_flags must be a list, each entry text",
        '  set in site.yml:4; given: "--web"',
        '  write a list: ["--web"]',
    ],
    "prometheus_flags: [a, 3]": [
        "prometheus_flags[1] must be text",
        "  set in site.yml:4; given: 3",
        '  write it in quotes: "3"',
    ],
    "{prometheus_token: a, prometheus_token_file: /b}": [
        "The inventory sets prometheus_token and prometheus_token_file; only one of them may be set"
    ],
    "observatory_ratio: a": ["observatory_ratio must be a number", '  set in site.yml:4; given: "a"'],
    "observatory_services: {shop: {}}": [
        "observatory_services must be a list, each entry a mapping",
        '  set in site.yml:4; given: {"shop": {}}',
    ],
    "observatory_services: [{name: shop, team: ops, metrics: {port: a}}]": [
        "observatory_services.shop.metrics.port must be a port from 1 to 65535",
        '  set in site.yml:4; given: "a"',
    ],
    "observatory_services: [{name: shop, team: ops, metrics: {prt: 1, port: 1}}]": [
        "observatory_services.shop.metrics.prt is not an option of this project",
        "  set in site.yml:4; given: 1",
        "  did you mean port?",
    ],
    "observatory_services: [{name: shop}]": [
        "observatory_services.shop.team is missing; it must be text",
        "  set in site.yml:4",
        "  The team that gets its alerts.",
    ],
    "observatory_services: [{team: ops}]": ["observatory_services[0].name is missing; it must be text", "  set in site.yml:4"],
    "observatory_services: [{name: a, team: x}, {name: a, team: x}]": [
        "observatory_services.a is there twice; names must differ",
        "  set in site.yml:4",
        "  entries 1 and 2 of observatory_services",
    ],
    "observatory_teams: {ops: {mial: x, mail: y}}": [
        "observatory_teams.ops.mial is not an option of this project",
        '  set in site.yml:4; given: "x"',
        "  did you mean mail?",
    ],
    "observatory_site: ''": ["observatory_site is empty; it must be text", "  Name of the site."],
    "observatory_severities: [critical, warn]": [
        "observatory_severities[1] must be one of critical, warning",
        '  set in site.yml:4; given: "warn"',
        "  did you mean warning?",
    ],
    "observatory_site:": ["observatory_site is empty; it must be text", "  Name of the site."],
    "observatory_authority_key: [1]": ["observatory_authority_key must be text", "  given: (hidden)"],
}


@pytest.mark.parametrize("given", MESSAGES)
def test_each_mistake_has_its_whole_message(specs, given):
    """One mistake gives one finding with the variable, the place, the value, what is expected and the way out."""
    found = findings(specs, given)
    assert report(found).splitlines() == ["1 problem, nothing was changed", *MESSAGES[given]]


@pytest.mark.parametrize(
    "given",
    [
        "prometheus_port: '9091'",
        "observatory_ratio: '0.5'",
        "observatory_ratio: 2",
        "observatory_severities: [critical]",
        "observatory_mirror_url: ''",
        "prometheus_retention_time: 1h30m",
        "prometheus_retention_size: ''",
        "prometheus_external_url: https://[2001:db8::1]:9090/x",
        "prometheus_external_url:",
        "lab_network: 10.0.0",
        "ansible_prometheus_port: 3",
        "exporters: [a]",
    ],
)
def test_what_is_right_or_the_sites_own_has_no_finding(specs, given):
    """Digits as text count as a number (templates return them); names without a role's prefix are free."""
    assert findings(specs, given) == []


def test_a_missing_secret_names_the_command_that_makes_it(specs):
    """Secrets are made, not written: the way out is make secrets."""
    found = check({**GOOD, "observatory_authority_key": UNRESOLVED}, lambda path: "", specs, site="lab")
    assert found == []
    without = {name: value for name, value in GOOD.items() if name != "observatory_authority_key"}
    assert report(check(without, lambda path: "", specs, site="lab")).splitlines()[1:] == [
        "observatory_authority_key is missing",
        "  run: make secrets SITE=lab",
    ]


def test_a_required_text_is_empty_only_where_its_description_says_so():
    """ "Empty:" in a description says what an empty value means."""
    option = {"type": "str", "required": True, "role": "site", "description": "Mirror. Empty: none."}
    specs = Specs(options={"observatory_mirror_url": option}, roles=("site",))
    assert check({"observatory_mirror_url": ""}, lambda path: "", specs) == []
    option["description"] = "Mirror. Empty is no mirror."
    assert check({"observatory_mirror_url": ""}, lambda path: "", specs) == []
    option["description"] = "Mirror. Empty is an error."
    expected = "observatory_mirror_url is empty; it must be a URL that begins with http:// or https://"
    assert [finding.text for finding in check({"observatory_mirror_url": ""}, lambda path: "", specs)] == [expected]


def test_only_the_roles_of_a_host_are_required_of_it(specs):
    """A host without Prometheus needs no prometheus_version, but a wrong name is wrong anywhere."""
    given = {name: value for name, value in GOOD.items() if name != "prometheus_version"}
    assert check(given, lambda path: "", specs, roles=["exporter"]) == []
    assert [finding.variable for finding in check({**given, "prometheus_prt": 1}, lambda path: "", specs, roles=["exporter"])] == ["prometheus_prt"]


def test_names_that_other_variables_refer_to_are_known(specs):
    """A team's secret has a name of the site's choice; a slip in it is found, and its value is not shown."""
    given = {**GOOD, "observatory_teams": {"ops": {"mail": "x", "key_variable": "prometheus_key_of_ops"}}}
    wrong = "observatory_teams.ops.key_variable is not an option of this project"
    where = "site/secrets.yml:3"
    found = check({**given, "prometheus_key_of_ops": "s3cret"}, lambda path: where, specs)
    assert [finding.text for finding in found] == [wrong]
    found = check({**given, "prometheus_key_of_op": "s3cret"}, lambda path: where, specs)
    assert [finding.lines() for finding in found[:1]] == [
        [
            "prometheus_key_of_op is not a variable of this project",
            "  set in site/secrets.yml:3; given: (hidden)",
            "  did you mean prometheus_key_of_ops?",
        ]
    ]


def test_the_password_of_each_user_of_the_gateway_is_known():
    """Its name is made of the user's; one of nobody is a slip."""
    specs = Specs(options={"gateway_users": {"role": "gateway", "type": "dict"}}, roles=("gateway",))
    given = {"gateway_users": {"anna": {}}, "gateway_password_anna": "x", "gateway_password_hash_anna": "y", "gateway_pasword_anne": "z"}
    found = unknown_names(given, specs, lambda path: "secrets.yml")
    assert [finding.lines()[0] for finding in found] == ["gateway_pasword_anne is not a variable of this project"]
    assert "z" not in found[0].lines()[1]


def test_secret_values_are_never_shown():
    """A hidden value stays hidden whatever its type."""
    assert show({"a": 1}, secret=True) == "(hidden)"
    assert show("x" * 100) == '"' + "x" * 56 + "..."


def test_findings_of_several_hosts_become_one():
    """The same problem on two hosts is one problem; hosts are left out when they are all."""
    found = [Finding("a is wrong", "a", hosts=(host,)) for host in ("h1", "h2")] + [Finding("b is wrong", "b", hosts=("h2",))]
    assert merge(found) == [Finding("a is wrong", "a", hosts=("h1", "h2")), Finding("b is wrong", "b", hosts=("h2",))]
    assert report(found, ["h1", "h2"]).splitlines() == ["2 problems, nothing was changed", "a is wrong", "b is wrong", "  on h2"]
    assert Finding.from_dict(found[0].as_dict()) == found[0]


def test_one_finding_is_at_most_six_lines():
    """The headline and all parts together."""
    full = Finding("text", "a", "f:1", "1", "hint", ("h1",))
    assert len(report([full], ["h1", "h2"]).splitlines()) == 5


def test_relations_between_options_are_checked():
    """Ansible's words for relations, each with its sentence."""
    given = {"mode": "file", "a": 1, "b": 2}
    assert list(broken_relations(given, {"required_if": [["mode", "file", ["path"]]]})) == ['needs path, because mode is "file"']
    assert list(broken_relations(given, {"mutually_exclusive": [["a", "b"]]})) == ["sets a and b; only one of them may be set"]
    assert list(broken_relations(given, {"required_together": [["a", "c"]]})) == ["needs c too, with a"]
    assert list(broken_relations(given, {"required_one_of": [["x", "y"]]})) == ["needs one of x, y"]
    assert list(broken_relations(given, {"required_by": {"a": ["z"]}})) == ["needs z, because a is set"]
    assert list(broken_relations(given, {"required_if": [["mode", "http", ["url"]]], "required_one_of": [["a", "x"]]})) == []


def test_the_longest_prefix_owns_a_name():
    """elasticsearch_exporter_x belongs to the exporter, not to elasticsearch."""
    specs = Specs(options={}, roles=("elasticsearch", "elasticsearch_exporter", "site"))
    assert specs.owner("elasticsearch_exporter_x") == "elasticsearch_exporter"
    assert specs.owner("elasticsearch_x") == "elasticsearch"
    assert specs.owner("site_x") is None


def test_nearest_is_empty_when_nothing_is_alike():
    assert nearest("zzz", ["prometheus"]) == ""


def test_specs_are_kept_until_a_file_changes(roles, tmp_path):
    """The cache answers as the files do, and a changed file is read again."""
    first = load_specs(roles, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    assert load_specs(roles, cache=tmp_path) == first == load_specs(roles)
    assert first.components == {"prometheus": {"name": "prometheus", "service": {"unit": "prometheus"}}}
    assert first.rules["prometheus"] == {"mutually_exclusive": [["prometheus_token", "prometheus_token_file"]]}
    file = roles / "exporter" / "meta" / "argument_specs.yml"
    file.write_text(EXPORTER_SPEC.replace("9100", "9101"))
    assert load_specs(roles, cache=tmp_path).options["exporter_port"]["default"] == 9101
    file.write_text(EXPORTER_SPEC)
    kept.write_text("{")
    assert load_specs(roles, cache=tmp_path).options == first.options


def test_a_variable_declared_twice_is_refused(tmp_path):
    """Two roles cannot both own a name."""
    for role in ("a", "b"):
        (tmp_path / role / "meta").mkdir(parents=True)
        (tmp_path / role / "meta" / "argument_specs.yml").write_text("argument_specs: {main: {options: {x: {type: str}}}}")
    with pytest.raises(ValueError, match="x is declared by the role a too"):
        load_specs(tmp_path)


# -- cross checks


def inventory(specs, groups=None, variables=None, **options):
    groups = groups if groups is not None else {"observatory": ["h1"], "prometheus": ["h1"], "alertmanager": ["h1"]}
    values = {"host": "h1", "products": ("prometheus", "exporter"), "sources": "inv", "site": "lab", **options}
    return cross_checks.Inventory(groups=groups, variables=variables or {}, specs=specs, where=lambda path: "f:" + ".".join(map(str, path)), **values)


CROSS_MESSAGES = [
    (
        {"variables": {"observatory_services": {"node": {}}}},
        [
            "observatory_services.node has the name of one of the platform's own jobs",
            "  set in f:observatory_services.node",
            "  choose another name, for example my-node",
        ],
    ),
    (
        {"variables": {"prometheus_scrape_interval": "5s", "prometheus_scrape_timeout": "10s"}},
        [
            "prometheus_scrape_interval is shorter than prometheus_scrape_timeout",
            '  set in f:prometheus_scrape_interval; given: "5s"',
            "  raise it, or lower prometheus_scrape_timeout (10s)",
        ],
    ),
    (
        {
            "variables": {
                "prometheus_scrape_timeout": "10s",
                "observatory_services": {"shop": {"hosts": ["h1"], "metrics": {"interval": "1s"}}},
            }
        },
        [
            "observatory_services.shop.metrics.interval is shorter than prometheus_scrape_timeout",
            '  set in f:observatory_services.shop.metrics.interval; given: "1s"',
            "  raise it, or lower prometheus_scrape_timeout (10s)",
        ],
    ),
    (
        {"products": ("alertmanager",), "variables": {"observatory_teams": {"ops": {"email": {"to": ["a"]}}}}},
        [
            "alertmanager_smtp_smarthost is empty, but the team ops has mail",
            "  set in f:observatory_teams.ops.email",
            '  set it to the mail relay, for example "mail.example.org:587"',
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {"escalation": [{"after": "30m", "slack": {}}]}}}},
        [
            "observatory_teams.ops.escalation[0] has no channel",
            "  set in f:observatory_teams.ops.escalation.0",
            "  give it one of email, slack, pagerduty, webhook",
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {"escalation": [{"after": "9h", "when": "nights", "webhook": {"url_variable": "a"}}]}}, "a": "x"}},
        [
            "observatory_teams.ops.escalation[0].when is 'nights', but observatory_teams.ops.office_hours is not set",
            "  set in f:observatory_teams.ops.escalation",
            "  see docs/oncall/escalation.md",
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {"office_hours": {"from": "8:00", "to": "18:00"}}}}},
        [
            "observatory_teams.ops.office_hours.from is no time of day",
            '  set in f:observatory_teams.ops.office_hours.from; given: "8:00"',
            '  expected "08:00"',
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {"office_hours": {"from": "22:00", "to": "06:00"}}}}},
        [
            "observatory_teams.ops.office_hours ends before it begins",
            "  set in f:observatory_teams.ops.office_hours; given: 22:00 to 06:00",
            "  both are on the same day; hours over midnight are the nights of office hours",
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {"office_hours": {"from": "08:00", "to": "18:00", "timezone": "Europe/Berln"}}}}},
        [
            "observatory_teams.ops.office_hours.timezone is no time zone",
            '  set in f:observatory_teams.ops.office_hours.timezone; given: "Europe/Berln"',
            "  did you mean Europe/Berlin?",
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {"office_hours": {"from": "08:00", "to": "18:00", "days": ["mon:fri"]}}}}},
        [
            "observatory_teams.ops.office_hours.days[0] is no day of the week",
            '  set in f:observatory_teams.ops.office_hours.days.0; given: "mon:fri"',
            '  expected days such as "monday" or "monday:friday"',
        ],
    ),
    (
        {"variables": {"observatory_site": "shop", "observatory_alert_time_scale": 0.1}},
        [
            "observatory_alert_time_scale is for the lab alone",
            "  set in f:observatory_alert_time_scale; given: 0.1",
            "  remove it; thresholds.yml has each alert's `for`",
        ],
    ),
    (
        {"products": ("alertmanager",), "variables": {"alertmanager_smtp_username": "relay"}},
        [
            "alertmanager_smtp_password is not set, but alertmanager_smtp_username is",
            '  set in f:alertmanager_smtp_username; given: "relay"',
            "  add alertmanager_smtp_password to the site's secrets.yml, or empty the user name for a relay without a login",
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {"slack": {"url_variable": "slack_url_op"}}}, "slack_url_ops": "x"}},
        [
            "observatory_teams.ops.slack.url_variable names slack_url_op, which is not set",
            '  set in f:observatory_teams.ops.slack.url_variable; given: "slack_url_op"',
            "  did you mean slack_url_ops?",
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {"slack": {"url_variable": "slack_url_op"}}}}},
        [
            "observatory_teams.ops.slack.url_variable names slack_url_op, which is not set",
            '  set in f:observatory_teams.ops.slack.url_variable; given: "slack_url_op"',
            "  set slack_url_op in inventories/lab/group_vars/all/secrets.yml",
        ],
    ),
    (
        {"variables": {"observatory_certificate_days": 30}},
        [
            "observatory_certificate_days must be from 31 to 825",
            "  set in f:observatory_certificate_days; given: 30",
            "  certificates are renewed 30 days before they end, and clients refuse longer ones",
        ],
    ),
    (
        {"groups": {"observatory": []}},
        ["The group observatory has no host", "  set in inv", "  name an inventory with -i, for example: -i inventories/lab"],
    ),
    (
        {"groups": {"observatory": ["h1"], "prometheus": ["h1"], "alertmanager": []}},
        [
            "The group alertmanager has no host, but prometheus has: its alerts would reach nobody",
            "  set in inv",
            "  add a host to the group alertmanager, or take the hosts out of prometheus",
        ],
    ),
    (
        {"groups": {"observatory": ["h1"], "node_exporter": ["h1"]}},
        [
            "The group prometheus has no host, but node_exporter has: nothing would read its metrics",
            "  set in inv",
            "  add a host to the group prometheus, or take the hosts out of node_exporter",
        ],
    ),
    (
        {"groups": {"observatory": ["h1"], "promethues": ["h1"]}},
        ["promethues is not a group of this project", "  set in inv", "  did you mean prometheus?"],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {}}, "observatory_services": [{"name": "shop", "team": "op"}]}},
        [
            "observatory_services[0].team names a team that does not exist",
            '  set in f:observatory_services.0.team; given: "op"',
            "  did you mean ops?",
        ],
    ),
    (
        {"variables": {"observatory_teams": {"ops": {}}, "observatory_platform_team": "opps"}},
        [
            "observatory_platform_team names a team that does not exist",
            '  set in f:observatory_platform_team; given: "opps"',
            "  did you mean ops?",
        ],
    ),
    (
        {"variables": {"observatory_services": {"shop": {"metrics": {"port": 1}}}}},
        [
            "observatory_services.shop.hosts is missing or empty, but the service has metrics",
            "  set in f:observatory_services.shop.hosts",
            "  name the hosts or groups on which the service runs",
        ],
    ),
    (
        {"variables": {"observatory_services": {"shop": {"hosts": ["appx"]}}}},
        [
            "observatory_services.shop.hosts names a host or group that does not exist",
            '  set in f:observatory_services.shop.hosts; given: "appx"',
            "  the inventory has: h1",
        ],
    ),
    (
        {"groups": {"observatory": ["h1"], "filebeat": ["h2"], "logstash": ["h2"], "elasticsearch": ["h2"]},
         "variables": {"observatory_services": {"shop": {"hosts": ["h1"], "logs": {"paths": ["/a"]}}}}},
        [
            "observatory_services.shop.logs cannot be collected: the host has no Filebeat",
            "  set in f:observatory_services.shop.logs",
            "  add h1 to the group filebeat, or take `logs` out of the service",
        ],
    ),
    (
        {"variables": {"observatory_services": {"system": {"hosts": ["h1"]}}}},
        [
            "observatory_services.system has the name of one of the platform's own data streams",
            "  set in f:observatory_services.system",
            "  choose another name, for example my-system",
        ],
    ),
    (
        {"groups": {"observatory": ["h1"], "kibana": ["h1"], "elasticsearch": ["h1"]}, "products": ("kibana",),
         "variables": {"kibana_version": "9.6.0", "elasticsearch_version": "9.5.0"}},
        [
            "kibana_version is not that of Elasticsearch, 9.5.0: Kibana would not start",
            '  set in f:kibana_version; given: "9.6.0"',
            "  upgrade Elasticsearch first, and set both",
        ],
    ),
    (
        {"groups": {"observatory": ["h1"], "logstash": ["h1"], "elasticsearch": ["h1"]}, "products": ("logstash",),
         "variables": {"logstash_version": "9.10.0", "elasticsearch_version": "9.5.0"}},
        [
            "logstash_version is newer than Elasticsearch, 9.5.0",
            '  set in f:logstash_version; given: "9.10.0"',
            "  upgrade Elasticsearch first, and set both",
        ],
    ),
    (
        {"groups": {"observatory": ["h1"], "gateway": ["h1"]}, "variables": {"observatory_public_url": "https://example.org/watch"}},
        [
            "observatory_public_url must be https:// and a host, without a path",
            '  set in f:observatory_public_url; given: "https://example.org/watch"',
            "  the gateway serves at the root of a host, for example https://observatory.example.org",
        ],
    ),
    (
        {"groups": {"observatory": ["h1"], "gateway": ["h1"]}, "variables": {"gateway_users": {"Jane": {"role": "viewer"}}}},
        [
            "gateway_users.Jane is no name of lower-case letters, digits and underscores",
            "  set in f:gateway_users.Jane",
            "  choose another name",
        ],
    ),
    (
        {"groups": {"observatory": ["h1"], "gateway": ["h1"]}, "variables": {"gateway_users": {"jane": {"role": "viewer"}}}},
        [
            "gateway_users.jane has no password",
            "  set in f:gateway_users.jane",
            "  make one: make secrets SITE=lab",
        ],
    ),
    (
        {"variables": {"prometheus_port": 9090, "exporter_port": "9090"}},
        [
            "prometheus_port and exporter_port are the same port on one host",
            "  set in f:prometheus_port; given: 9090",
            "  choose another port for one of them",
        ],
    ),
]


@pytest.mark.parametrize(("given", "lines"), CROSS_MESSAGES, ids=[lines[0] for _given, lines in CROSS_MESSAGES])
def test_each_broken_cross_reference_has_its_whole_message(specs, given, lines):
    """Groups, teams, hosts and ports that do not fit together."""
    assert report(cross_checks.cross_check(inventory(specs, **given)), ["h1"]).splitlines()[1:] == lines


def test_an_inventory_that_fits_together_has_no_finding(specs):
    variables = {
        "observatory_teams": {"ops": {}},
        "observatory_services": [{"name": "shop", "team": "ops", "hosts": ["prometheus", "h1"]}, "not a mapping"],
        "prometheus_port": 9090,
        "exporter_port": UNRESOLVED,
    }
    assert cross_checks.cross_check(inventory(specs, variables=variables)) == []


def test_an_authoritys_problems_are_findings_of_its_certificate(specs, monkeypatch):
    """The words are those of certificates.py; the place and the way out come with them."""
    monkeypatch.setattr(cross_checks, "check_authority", lambda certificate, key, now: [f"expired on {now:%Y-%m-%d}"])
    variables = {"observatory_authority_certificate": "c", "observatory_authority_key": "k"}
    now = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert report(cross_checks.check_authorities(inventory(specs, variables=variables, now=now))).splitlines()[1:] == [
        "observatory_authority_certificate expired on 2026-01-02",
        "  set in f:observatory_authority_certificate",
        "  restore the site's secrets file, or make a new authority: make secrets SITE=lab",
    ]


def test_the_platforms_own_jobs_are_those_of_the_role():
    """The names that services must not have are the names that the role gives."""
    role = (PROJECT / "roles" / "prometheus" / "vars" / "main.yml").read_text()
    jobs = yaml.safe_load(role)["__prometheus_jobs"]
    assert sorted(cross_checks.OWN_JOBS) == sorted([*(job["name"] for job in jobs), scrape.PROBE_JOB, "file"])
    assert "job_name: file" in role


def test_the_cache_file_is_plain_json(roles, tmp_path):
    load_specs(roles, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    assert sorted(json.loads(kept.read_text())) == ["components", "options", "roles", "rules", "stamp"]
    assert os.listdir(tmp_path) == [kept.name]
