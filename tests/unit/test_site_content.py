"""Mistakes in a site's own rule and scrape files, with file and line."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.observatory.core.plugins.module_utils.site_files import read_words, refusals
from ansible_collections.observatory.core.plugins.plugin_utils.site_content import (
    SiteFile,
    check_scrape_files,
    from_problems,
    from_refusal,
    rule_files,
    scrape_files,
    value_problems,
)


@dataclasses.dataclass(frozen=True)
class Problem:
    path: str
    line: int
    message: str


SCRAPE_MISTAKES = {
    "scrape_configs:\n  - job_name: a\n   bad: 1\n": [
        "A scrape file is not YAML",
        "  set in site/scrape.d/a.yml:3",
        "  expected <block end>, but found '<block mapping start>'",
    ],
    "- job_name: a\n": [
        "A scrape file holds no jobs",
        "  set in site/scrape.d/a.yml:1",
        "  it must hold scrape_configs: and a list of jobs",
    ],
    "scrape_configs: {}\n": [
        "A scrape file holds no jobs",
        "  set in site/scrape.d/a.yml:1",
        "  it must hold scrape_configs: and a list of jobs",
    ],
    "scrape_config: []\n": [
        "A scrape file has the unknown key scrape_config",
        "  set in site/scrape.d/a.yml",
        "  did you mean scrape_configs?",
    ],
}


@pytest.mark.parametrize("text", SCRAPE_MISTAKES)
def test_a_scrape_file_of_the_wrong_form_is_found(tmp_path, text):
    """The file's form; its contents are for Prometheus' own checker."""
    (tmp_path / "scrape.d").mkdir()
    (tmp_path / "scrape.d" / "a.yml").write_text(text)
    (finding,) = check_scrape_files(tmp_path, lambda file: file.replace(str(tmp_path), "site"))
    assert finding.lines() == SCRAPE_MISTAKES[text]


def test_a_right_scrape_file_or_none_has_no_finding(tmp_path):
    assert check_scrape_files(tmp_path) == []
    (tmp_path / "scrape.d").mkdir()
    (tmp_path / "scrape.d" / "a.yml").write_text("scrape_configs:\n  - job_name: a\n")
    assert check_scrape_files(tmp_path) == []


def test_mistakes_in_rules_keep_their_place():
    """Files by line; variables by where they were set, the nearest name on a line of its own."""
    problems = [
        Problem("alerts/shop/rules.yml", 7, 'alert A has no "expr"'),
        Problem("observatory_thresholds_site.node.HostUp", 0, 'nothing shipped has this name. Did you mean "HostDown"?'),
        Problem("observatory_alerts_disabled[0]", 0, 'no shipped alert is called "x".'),
        Problem("alerts/shop.yml", 0, "move it to shop/rules.yml"),
    ]
    found = from_problems(problems, lambda path: "site.yml:" + ".".join(map(str, path)))
    assert [finding.lines() for finding in found] == [
        ['Alert A has no "expr"', "  set in alerts/shop/rules.yml:7"],
        [
            "observatory_thresholds_site.node.HostUp: nothing shipped has this name",
            "  set in site.yml:observatory_thresholds_site.node.HostUp",
            "  did you mean HostDown?",
        ],
        ['observatory_alerts_disabled[0]: no shipped alert is called "x"', "  set in site.yml:observatory_alerts_disabled.0"],
        ["Move it to shop/rules.yml", "  set in alerts/shop.yml"],
    ]


def test_values_for_shipped_alerts_are_checked_without_reading_the_rules(tmp_path):
    """A threshold that no alert has, one out of its range, an alert that is not there."""
    alerts, values = tmp_path / "alerts", tmp_path / "group_vars" / "all"
    (alerts / "node").mkdir(parents=True)
    (alerts / "node" / "rules.yml").write_text("groups:\n  - rules:\n      - alert: HostDown\n")
    values.mkdir(parents=True)
    (values / "thresholds.yml").write_text("observatory_thresholds:\n  node:\n    HostDown:\n      # Sensible: 1m-15m.\n      for: 3m\n")
    shipped = {"node": {"HostDown": {"for": "3m"}}}
    for site, disabled, message in (
        ({"node": {"HostDown": {"for": 3}}}, [], "observatory_thresholds_site.node.HostDown.for: 3 is not possible"),
        ({"node": {"HostUp": {"for": "3m"}}}, [], "observatory_thresholds_site.node.HostUp: nothing shipped has this name"),
        ({"node": {"HostDown": {"for": "1h"}}}, [], "observatory_thresholds_site.node.HostDown.for: 1h is out of range; sensible is 1m-15m"),
        ({}, ["HostUp"], 'observatory_alerts_disabled[0]: no shipped alert is called "HostUp".'),
    ):
        (problem,) = value_problems(str(alerts), shipped, site, disabled)
        assert str(problem).startswith(message)
    assert value_problems(str(alerts), shipped, {"node": {"HostDown": {"for": "5m"}}}, ["HostDown"]) == []
    assert value_problems(str(alerts), None, None, None) == []


RULES = """\
# Made by Observatory
groups:
  # alerts/node/rules.yml
  - name: "node"
    rules:
      - alert: "HostDown"
        expr: |-
          up == 0
  # {source}
  - name: "shop"
    rules:
      - record: "shop:requests:rate5m"
        expr: |-
          sum(rate(x[5m])
"""
PROMTOOL_RULES = """\
Checking /dev/stdin
  FAILED:
/dev/stdin: 14:27: group "shop", rule 1, "shop:requests:rate5m": could not parse expression: 1:16: parse error: unclosed left parenthesis
"""
PROMTOOL_TEMPLATE = """\
  FAILED:
/dev/stdin: group "shop", rule 1, "shop:requests:rate5m": annotation "s": template: __alert_X:1: undefined variable "$x"
"""
PROMTOOL_SCRAPE = """\
Checking /dev/stdin
  FAILED: parsing YAML file /dev/stdin: yaml: unmarshal errors:
  line 3: field static_config not found in type config.ScrapeConfig
"""
PROMTOOL_DURATION = '  FAILED: parsing YAML file /dev/stdin: not a valid duration string: "abc"\n'


def test_promtools_words_are_read():
    """The four forms that promtool 3.5 has: with a place, by rule, by line of YAML, by words alone."""
    assert [read_words(text) for text in (PROMTOOL_RULES, PROMTOOL_TEMPLATE, PROMTOOL_SCRAPE, PROMTOOL_DURATION)] == [
        {
            "line": 14,
            "rule": "shop:requests:rate5m",
            "words": "could not parse expression: 1:16: parse error: unclosed left parenthesis",
        },
        {"line": 0, "rule": "shop:requests:rate5m", "words": 'annotation "s": template: __alert_X:1: undefined variable "$x"'},
        {"line": 3, "rule": "", "words": "field static_config not found in type config.ScrapeConfig"},
        {"line": 0, "rule": "", "words": 'not a valid duration string: "abc"'},
    ]


def test_the_checker_of_the_host_is_asked_where_there_is_one(tmp_path):
    """Only refused files come back; a host without Prometheus says nothing."""
    checker = tmp_path / "promtool"
    files = [{"kind": "rules", "content": "good"}, {"kind": "scrape", "content": "bad"}]
    assert refusals(files, str(checker)) == []
    checker.write_text("#!/bin/sh\ngrep -q good && exit 0\necho '  FAILED: no' \"$@\"\nexit 1\n")
    checker.chmod(0o755)
    assert refusals(files, str(checker)) == [{"index": 1, "line": 0, "rule": "", "words": "no check config --syntax-only /dev/stdin"}]
    assert refusals([], str(checker)) == []


@pytest.mark.parametrize("text", [PROMTOOL_RULES, PROMTOOL_TEMPLATE])
def test_a_refused_rule_is_found_in_the_sites_own_file(tmp_path, text):
    """Prometheus reads what was rendered; the finding names what was written, with its line."""
    source = tmp_path / "rules.yml"
    source.write_text("groups:\n  - name: shop\n    rules:\n\n      - record: shop:requests:rate5m\n        expr: x\n")
    finding = from_refusal(read_words(text), SiteFile("rules", RULES.format(source=source)))
    assert finding.lines() == [
        "Prometheus refuses the rule shop:requests:rate5m",
        f"  set in {source}:5",
        "  " + read_words(text)["words"],
    ]


def test_a_refused_file_without_a_line_is_named():
    """A scrape file by its own line; a rule file that has gone by its path."""
    refusal = {"line": 3, "rule": "", "words": "w" * 200}
    assert from_refusal(refusal, SiteFile("scrape", "", "site/scrape.d/a.yml")).lines() == [
        "Prometheus refuses a scrape file",
        "  set in site/scrape.d/a.yml:3",
        "  " + "w" * 157 + "...",
    ]
    gone = from_refusal({**refusal, "line": 0}, SiteFile("rules", RULES.format(source="gone/rules.yml")))
    assert (gone.text, gone.where) == ("Prometheus refuses the rules", "gone/rules.yml")


def test_only_what_the_site_has_part_in_is_asked_about(tmp_path):
    """Shipped rules have tests of their own."""
    (tmp_path / "alerts" / "shop").mkdir(parents=True)
    (tmp_path / "alerts" / "shop" / "rules.yml").write_text("groups: []\n")
    files = [{"path": "/etc/prometheus/rules/node.yml", "content": "a"}, {"path": "/etc/prometheus/rules/shop.yml", "content": "b"}]
    assert rule_files(files, str(tmp_path / "alerts")) == [SiteFile("rules", "b")]
    assert scrape_files(tmp_path, str) == []
    (tmp_path / "scrape.d").mkdir()
    (tmp_path / "scrape.d" / "a.yml").write_text("scrape_configs: []\n")
    assert scrape_files(tmp_path, lambda file: "place") == [SiteFile("scrape", "scrape_configs: []\n", "place")]
