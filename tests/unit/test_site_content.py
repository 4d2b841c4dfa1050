"""Mistakes in a site's own rule and scrape files, with file and line."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils.site_content import check_scrape_files, from_problems


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
