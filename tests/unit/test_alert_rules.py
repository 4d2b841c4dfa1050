"""Rule folders in, rule files out: what is shipped whole, and each mistake's message in full."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, site_values
from ansible_collections.observatory.core.plugins.plugin_utils.site_values import ContentError, Values

ROOT = pathlib.Path(__file__).parents[2]
THRESHOLDS = {"shop": {"ShopSlow": {"seconds": 1.5, "for": "10m"}}}
RULE = """\
groups:
  - name: shop
    rules:
      - alert: ShopSlow
        expr: shop_seconds > [[ thresholds.shop.ShopSlow.seconds ]]
        for: "[[ thresholds.shop.ShopSlow.for ]]"
        labels: {severity: warning, team: "[[ platform_team ]]", component: shop, alert_type: symptom, incident: ShopSlow}
        annotations:
          summary: Shop is slow on {{ $labels.host }}
          description: Answers take {{ $value }} s.
          impact: Customers leave.
          runbook_url: "[[ runbook_base_url ]]/shop/ShopSlow"
"""
SHIPPED = """\
# Made by Observatory from the files named below; changes here are put back.
groups:
  # alerts/shop/rules.yml
  - name: "shop"
    rules:
      - alert: "ShopSlow"
        expr: |-
          shop_seconds > 1.5
        for: "10m"
        labels:
          severity: "warning"
          team: "platform"
          component: "shop"
          alert_type: "symptom"
          incident: "ShopSlow"
        annotations:
          summary: "Shop is slow on {{ $labels.host }}"
          description: "Answers take {{ $value }} s."
          impact: "Customers leave."
          runbook_url: "https://books.example.org/shop/ShopSlow"
"""


@pytest.fixture
def values():
    return Values({"thresholds": THRESHOLDS, "platform_team": "platform", "runbook_base_url": "https://books.example.org"})


@pytest.fixture
def write(tmp_path):
    """Write files below a folder: {path: text}; a page comes with each rule file."""

    def write(files, page=True):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            if page and file.name == "rules.yml":
                (file.parent / "runbooks").mkdir(exist_ok=True)
                (file.parent / "runbooks" / "ShopSlow.md").write_text("# ShopSlow\n", encoding="utf-8")
        return tmp_path

    return write


def load(root, values, folders=("alerts",), **options):
    return alert_rules.load([str(root / folder) for folder in folders], values, base=str(root), **options)


def mistake(root, values, folders=("alerts",), **options):
    with pytest.raises(ContentError) as caught:
        load(root, values, folders, **options)
    return str(caught.value)


def test_a_component_becomes_one_file(write, values):
    """Values are in, Prometheus' own {{ }} stays, and the bytes are exactly these."""
    files = load(write({"alerts/shop/rules.yml": RULE}), values).files()
    assert files == [{"path": "/etc/prometheus/rules/shop.yml", "content": SHIPPED}]


def test_a_site_adds_to_a_component_and_stands_beside(write, values):
    """Groups of the same component follow the shipped ones in one file; a component of the site's own has a file of its own."""
    own = RULE.replace("ShopSlow", "ShopEmpty").replace("thresholds.shop.ShopEmpty.seconds", "2").replace("[[ 2 ]]", "2")
    own = own.replace("[[ thresholds.shop.ShopEmpty.for ]]", "5m").replace("name: shop", "name: shop-own")
    own = own.replace("[[ runbook_base_url ]]", "https://wiki.example.org")
    root = write(
        {"alerts/shop/rules.yml": RULE, "site/shop/rules.yml": own, "site/bar/rules.yml": own.replace("component: shop", "component: bar")}
    )
    with pytest.raises(ContentError, match="ShopEmpty with severity warning exists already"):
        load(root, values, ("alerts", "site"))
    (root / "site/bar/rules.yml").write_text("groups: [{name: bar, rules: [{record: 'bar:up', expr: up}]}]\n", encoding="utf-8")
    rules = load(root, values, ("alerts", "site", "nowhere"))
    assert [file["path"] for file in rules.files()] == ["/etc/prometheus/rules/bar.yml", "/etc/prometheus/rules/shop.yml"]
    assert [(rule.name, rule.shipped) for rule in rules.rules] == [("ShopSlow", True), ("ShopEmpty", False), ("bar:up", False)]
    assert rules.files(["bar"])[0]["content"].endswith('      - record: "bar:up"\n        expr: |-\n          up\n')


def test_a_site_switches_a_shipped_alert_off(write, values):
    root = write({"alerts/shop/rules.yml": RULE})
    assert load(root, values, disabled=["ShopSlow"]).files() == []
    assert mistake(root, values, disabled=["ShopSlo"]) == (
        'observatory_alerts_disabled[0]: no shipped alert is called "ShopSlo". Did you mean "ShopSlow"?'
    )


def test_a_site_replaces_an_alert_only_when_it_is_switched_off(write, values):
    root = write({"alerts/shop/rules.yml": RULE, "site/shop/rules.yml": RULE.replace("name: shop", "name: own")})
    assert mistake(root, values, ("alerts", "site")) == (
        "site/shop/rules.yml:4: alert ShopSlow with severity warning exists already, alerts/shop/rules.yml:4. "
        "Switch the shipped one off by observatory_alerts_disabled, or rename yours"
    )
    assert [rule.path for rule in load(root, values, ("alerts", "site"), disabled=["ShopSlow"]).alerts] == ["site/shop/rules.yml"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "expr: shop",
            "exp: shop",
            '5: alert ShopSlow has the unknown key "exp". Did you mean "expr"?\nalerts/shop/rules.yml:4: alert ShopSlow has no "expr"',
        ),
        ("- alert:", "- alrt:", '4: a rule needs either "alert" or "record"; it has "alrt". Did you mean "alert"?'),
        ("    rules:", "    rule:", '2: a group needs "name" and a list "rules"'),
        ("groups:", "group:", '1: the file must hold "groups:" with a list of groups'),
        (
            'for: "[[ thresholds.shop.ShopSlow.for ]]"',
            "for: [[ thresholds.shop.ShopSlow.for ]]",
            '6: [[ ]] at the begin of a value must stand in quotes: for: "[[ thresholds.shop.ShopSlow.for ]]"',
        ),
        (
            'runbook_url: "[[ runbook_base_url ]]/shop/ShopSlow"',
            "runbook_url: [[ runbook_base_url ]]/shop/ShopSlow",
            '12: not YAML: [[ ]] at the begin of a value must stand in quotes: runbook_url: "[[ runbook_base_url ]]/shop/ShopSlow"',
        ),
        (
            "summary: Shop is slow on {{ $labels.host }}",
            "summary: {{ $labels.host }} is slow",
            '9: not YAML: {{ }} at the begin of a value must stand in quotes: summary: "{{ $labels.host }} is slow"',
        ),
        (
            "ShopSlow.seconds",
            "ShopSlow.second",
            '5: "second" of [[ thresholds.shop.ShopSlow.second ]] is not known in thresholds.shop.ShopSlow. Did you mean "seconds"?',
        ),
        (
            "[[ platform_team ]]",
            "[[ platfrm_team ]]",
            '7: "platfrm_team" of [[ platfrm_team ]] is not known. Did you mean "platform_team"?',
        ),
        (
            "[[ thresholds.shop.ShopSlow.seconds ]]",
            "[[ thresholds.shop.ShopSlow ]]",
            "5: [[ thresholds.shop.ShopSlow ]] is a mapping; a text or a number is needed. Valid: for, seconds.",
        ),
        ("[[ platform_team ]]", "[[ platform_team | ]]", None),
        (
            '"[[ thresholds.shop.ShopSlow.for ]]"',
            "10 minutes",
            "6: alert ShopSlow: for is '10 minutes'; expected a duration such as 5m or 1h30m",
        ),
        (
            "severity: warning",
            "severity: high",
            '4: alert ShopSlow: label severity is "high"; expected critical or warning or info or none',
        ),
        ("severity: warning, ", "", "4: alert ShopSlow: label severity missing"),
        ("incident: ShopSlow", "incident: Slow", '4: alert ShopSlow: label incident is "Slow"; expected ShopSlow'),
        ("component: shop", "component: shp", '4: alert ShopSlow: label component is "shp"; expected shop'),
        (
            'team: "[[ platform_team ]]"',
            'team: "{{ $value }}"',
            "4: alert ShopSlow: label team holds the value: each evaluation would be a new alert; put it into an annotation",
        ),
        ("          impact: Customers leave.\n", "", "4: alert ShopSlow: annotation impact missing"),
        (
            "Shop is slow on",
            "Shop is slow, and this text goes on for much longer than a title on a telephone can show, on",
            "4: alert ShopSlow: summary has 105 characters, 90 are the most (each {{ }} counts 12)",
        ),
        (
            "Answers take {{ $value }} s.",
            "Shop is slow on {{ $labels.host }}, sadly.",
            "4: alert ShopSlow: description repeats the summary; give the value and why it matters",
        ),
        ("severity: warning", "severity: warning, severity: critical", '7: "severity" is given twice'),
        ("impact: Customers leave.", "impact: yes: no", "11: not YAML: mapping values are not allowed in this context"),
    ],
)
def test_mistakes_name_file_line_and_fix(write, values, old, new, message):
    assert old in RULE
    said = mistake(write({"alerts/shop/rules.yml": RULE.replace(old, new, 1)}), values)
    if message is None:
        assert said.startswith("alerts/shop/rules.yml:7: [[ platform_team | ]] cannot be read: ")
    else:
        first, *rest = message.split("\n")
        assert set(said.splitlines()) == {f"alerts/shop/rules.yml:{first}", *rest}


def test_all_mistakes_are_told_at_once_in_six_lines(write, values):
    """An operator repairs all of them in one go; a long list is cut."""
    text = RULE
    for number in range(8):
        text += f"      - {{alert: Shop{number}, exp: up}}\n"
    lines = mistake(write({"alerts/shop/rules.yml": text}), values).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "and 11 more"


def test_an_undefined_value_inside_a_folded_text_has_its_own_line(write, values):
    text = RULE.replace(
        "description: Answers take {{ $value }} s.", "description: >-\n            Answers take long,\n            [[ nobody ]] knows."
    )
    assert mistake(write({"alerts/shop/rules.yml": text}), values) == (
        'alerts/shop/rules.yml:12: "nobody" of [[ nobody ]] is not known. Valid: platform_team, runbook_base_url, thresholds.'
    )


def test_a_missing_runbook_and_an_unknown_team_are_mistakes(write, values):
    root = write({"alerts/shop/rules.yml": RULE}, page=False)
    assert mistake(root, values, teams=["platfrom"]) == (
        "alerts/shop/rules.yml:4: alert ShopSlow: its runbook is missing; "
        "write alerts/shop/runbooks/ShopSlow.md, or let runbook_url point elsewhere\n"
        'alerts/shop/rules.yml:4: alert ShopSlow: team "platform" is not in observatory_teams. Did you mean "platfrom"?'
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"site/shop.yml": RULE}, "site/shop.yml: rules lie in a folder for each component: move it to shop/rules.yml"),
        ({"site/shop/rule.yml": RULE}, "site/shop: no rules.yml in this folder; rename rule.yml"),
        ({"site/Shop/rules.yml": RULE}, "site/Shop: a component's folder is named in lower case letters, digits and _"),
        ({"site/shop/rules.yml": ""}, 'site/shop/rules.yml:1: the file is empty; it must begin with "groups:"'),
    ],
)
def test_misplaced_files_are_mistakes(write, values, files, message):
    assert mistake(write(files), values, ("alerts", "site")) == message


@pytest.mark.parametrize(
    ("version", "rendered"), [("3.5.3", False), ("3.8.0", True), ("3.8", True), ("3.10.1+ds", True), ("4.0.0-rc.1", True)]
)
def test_a_rule_is_rendered_only_where_the_product_is_new_enough(write, values, version, rendered):
    """`# requires:` above a rule; versions are compared by number, so 3.10 is newer than 3.8."""
    root = write({"alerts/shop/rules.yml": RULE.replace("      - alert", "      # requires: prometheus >= 3.8\n      - alert")})
    assert bool(load(root, values, versions={"prometheus": version}).files()) is rendered


def test_requires_also_stands_above_a_group_and_knows_older_than(write, values):
    root = write({"alerts/shop/rules.yml": RULE.replace("  - name", "  # requires: prometheus < 3.8\n  - name")})
    assert load(root, values, versions={"prometheus": "3.5.3"}).files()
    assert not load(root, values, versions={"prometheus": "3.9.0"}).files()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "      # require: prometheus 3.8\n      - alert",
            '4: "# require: prometheus 3.8" cannot be read; write "# requires: prometheus >= 3.8", on the line above the rule or group',
        ),
        (
            "      # requires: promethus >= 3.8\n      - alert",
            '4: no version of "promethus" is known (promethus_version). Did you mean "prometheus"?',
        ),
    ],
)
def test_a_mistyped_requirement_is_a_mistake(write, values, line, message):
    root = write({"alerts/shop/rules.yml": RULE.replace("      - alert", line)})
    assert mistake(root, values, versions={"prometheus": "3.5.3"}) == f"alerts/shop/rules.yml:{message}"


def test_a_requirement_that_belongs_to_no_rule_is_a_mistake(write, values):
    root = write({"alerts/shop/rules.yml": RULE.replace("        for:", "        # requires: prometheus >= 3.8\n        for:")})
    assert mistake(root, values, versions={"prometheus": "3.5.3"}) == (
        'alerts/shop/rules.yml:6: this line belongs to no rule; write "# requires: prometheus >= 3.8", on the line above the rule or group'
    )


def test_tests_and_pages_are_rendered_too(write, values):
    """Durations can be added, numbers computed, and what promtool reads as a text stays one (0x30 is 30 zeros)."""
    root = write(
        {
            "alerts/shop/rules.yml": RULE,
            "alerts/shop/tests.yml": textwrap.dedent("""\
                tests:
                  - input_series: [{series: up, values: 0x30}]
                    eval_time: "[[ thresholds.shop.ShopSlow.for | plus('1h') ]]"
                    value: "[[ thresholds.shop.ShopSlow.seconds + 0.1 ]]"
                """),
            "alerts/shop/runbooks/ShopSlow.md": "# ShopSlow\nSlower than [[ thresholds.shop.ShopSlow.seconds ]] s.\n",
        },
        page=False,
    )
    assert json.loads(alert_rules.promtool_tests(str(root / "alerts/shop"), values)) == {
        "tests": [{"input_series": [{"series": "up", "values": "0x30"}], "eval_time": "1h10m", "value": 1.6}]
    }
    assert alert_rules.runbooks([str(root / "alerts")], values) == {"shop/ShopSlow": "# ShopSlow\nSlower than 1.5 s.\n"}
    (root / "alerts/shop/runbooks/ShopSlow.md").write_text("# ShopSlow\n\nSlower than [[ threshold.x ]].\n", encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        alert_rules.runbooks([str(root / "alerts")], values, str(root))
    assert (
        str(caught.value) == 'alerts/shop/runbooks/ShopSlow.md:3: "threshold" of [[ threshold.x ]] is not known. Did you mean "thresholds"?'
    )


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("thresholds.shop.ShopSlow.for | seconds", 600),
        ("thresholds.shop.ShopSlow.for | minutes", 10),
        ("'1h' | minus('30m')", "30m"),
        ("'1d' | longest('30h')", "30h"),
        ("0.905 | percent", "90.5%"),
        ("5400 | duration", "1h30m"),
        ("1814340 | humanize_duration", "20d 23h 59m 0s"),
        ("['a', 'b'] | join('|')", "a|b"),
    ],
)
def test_expressions(values, source, result):
    assert values.evaluate(source) == result


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "[[ ]] is empty"),
        ("'soon' | seconds", """[[ 'soon' | seconds ]] cannot be computed: "soon" is not a duration such as 5m or 1h30m"""),
        ("'1m' | minus('1h')", "[[ '1m' | minus('1h') ]] cannot be computed: a duration of -3540 s is below zero"),
        ("1 / 0", "[[ 1 / 0 ]] cannot be computed: division by zero"),
        ("platform_team.upper.__globals__", None),
    ],
)
def test_expressions_that_have_no_value(values, source, message):
    with pytest.raises(site_values.ExpressionError) as caught:
        values.evaluate(source)
    assert message is None or str(caught.value) == message


def test_thresholds_are_checked_by_their_names():
    wrong = {"node": {"A": {"ratio": 90, "for": "5 min", "days": -1, "units": [], "count": "3"}}}
    assert [str(problem) for problem in site_values.threshold_mistakes(wrong, "observatory_thresholds")] == [
        "observatory_thresholds.node.A.ratio: 90 is not possible; expected a ratio from 0 to 1 (90 % is 0.9)",
        "observatory_thresholds.node.A.for: '5 min' is not possible; expected a duration such as 5m or 1h30m",
        "observatory_thresholds.node.A.days: -1 is not possible; expected a number, not below 0",
        "observatory_thresholds.node.A.units: [] is not possible; expected a list of names",
        "observatory_thresholds.node.A.count: '3' is not possible; expected a number, not below 0",
    ]


def test_a_site_changes_single_thresholds_and_brings_its_own():
    """Values are laid over one by one; a name that no rule reads is told, one of the site's own alerts is not."""
    site = {"shop": {"ShopSlow": {"seconds": 3}, "Mine": {"count": 1}}, "bar": {"BarEmpty": {"count": 2}}}
    assert site_values.merge_thresholds(THRESHOLDS, site)["shop"] == {"ShopSlow": {"seconds": 3, "for": "10m"}, "Mine": {"count": 1}}
    assert not site_values.unknown_thresholds(site, THRESHOLDS, {"shop": {"Mine"}, "bar": {"BarEmpty"}}, "site")
    assert [str(problem) for problem in site_values.unknown_thresholds(site, THRESHOLDS, {"bar": {"Other"}}, "site")] == [
        "site.shop.Mine: nothing shipped has this name, and no alert of the site's own has it. Valid: ShopSlow.",
        "site.bar.BarEmpty: nothing shipped has this name, and no alert of the site's own has it.",
    ]


PLAY = """\
- hosts: hub
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: "BEGIN {{ lookup('observatory.core.alert_rules', 'node', 'shop') | to_json | b64encode }} END"}
"""
SITE_VARIABLES = {
    "node_exporter_version": "1.11.1",
    "grafana_version": "10.0.0",
    "observatory_site": "lab",
    "observatory_platform_team": "{{ 'plat' ~ 'form' }}",
    "observatory_runbook_base_url": "https://{{ inventory_hostname }}/runbooks/",
    "observatory_dashboard_base_url": "https://{{ inventory_hostname }}/grafana",
}


@pytest.fixture
def play(tmp_path, write):
    """Run a play that asks the lookup, with the project's alerts and those beside the inventory; return what Ansible says."""

    def run(variables):
        thresholds = yaml.safe_load((ROOT / "group_vars/all/thresholds.yml").read_text(encoding="utf-8"))
        write(
            {
                "play/play.yml": PLAY,
                "site/hosts.yml": "all: {hosts: {hub: {ansible_connection: local}}}\n",
                "site/group_vars/all.yml": yaml.safe_dump({**thresholds, **SITE_VARIABLES, **variables}),
                "site/alerts/shop/rules.yml": RULE,
            }
        )
        command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "../site/hosts.yml", "play.yml"]
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_NOCOLOR": "1"}
        return subprocess.run(command, cwd=tmp_path / "play", env=environment, capture_output=True, text=True)

    return run


def test_the_lookup_gives_the_files_of_project_and_site(play):
    """Templated variables arrive as plain values, single thresholds are replaced, and Ansible leaves Prometheus' {{ }} alone."""
    done = play({"observatory_thresholds_site": {"node": {"NodeCPUHighUsage": {"ratio": "{{ 0.25 * 2 }}"}}, **THRESHOLDS}})
    assert done.returncode == 0, done.stdout + done.stderr
    node, shop = json.loads(base64.b64decode(done.stdout.split("BEGIN ")[1].split(" END")[0]))
    assert node["path"] == "/etc/prometheus/rules/node.yml"
    assert "instance:node_cpu_utilisation:rate5m > 0.5\n" in node["content"]
    assert shop["content"].splitlines()[3:] == SHIPPED.replace("books.example.org", "hub/runbooks").splitlines()[3:]


def test_the_lookup_tells_the_mistakes(play):
    done = play({"observatory_thresholds_site": {"node": {"NodeCPUHighUse": {"ratio": 0.5}}, **THRESHOLDS}})
    assert done.returncode != 0
    assert (
        "The alert rules cannot be used:\nobservatory_thresholds_site.node.NodeCPUHighUse: nothing shipped has this name, "
        'and no alert of the site\'s own has it. Did you mean "NodeCPUHighUsage"?'
    ) in done.stdout + done.stderr


def test_the_lookup_gives_single_hosts_their_own_rule(play):
    """An override of an alert, the site's own among them, by host or group; the other components are as they were."""
    own = {"hosts": ["hub"], "thresholds": {"shop": {"ShopSlow": {"seconds": 3}}}}
    done = play({"observatory_thresholds_site": THRESHOLDS, "observatory_thresholds_overrides": [own]})
    assert done.returncode == 0, done.stdout + done.stderr
    _node, shop = json.loads(base64.b64decode(done.stdout.split("BEGIN ")[1].split(" END")[0]))
    rules = yaml.safe_load(shop["content"])["groups"][0]["rules"]
    assert [rule["expr"].splitlines()[1:2] or rule["expr"] for rule in rules] == [
        'label_replace(vector(1), "host", "hub", "", "")', ["shop_seconds > 1.5"], ["shop_seconds > 3"],
    ]


def test_the_lookup_tells_mistakes_in_overrides(play):
    """Before any rule is rendered: an unknown host, and a value out of the range that the shipped file names."""
    wrong = {"hosts": ["hubb"], "thresholds": {"node": {"NodeCPUHighUsage": {"ratio": 0.2}}}}
    done = play({"observatory_thresholds_site": THRESHOLDS, "observatory_thresholds_overrides": [wrong]})
    assert done.returncode != 0
    assert (
        'observatory_thresholds_overrides[0].hosts[0]: no host or group of the inventory is called "hubb". Did you mean "hub"?\n'
        "observatory_thresholds_overrides[0].thresholds.node.NodeCPUHighUsage.ratio: 0.2 is out of range; sensible is 0.5-0.99"
    ) in done.stdout + done.stderr
