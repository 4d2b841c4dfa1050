"""The pages for people on call: their examples of teams are valid, their commands exist, their numbers are those of the code."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import arguments, escalation, routing, site_values, specs
from role_programs import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs/oncall").glob("*.md")), ROOT / "docs/operate/alerting.md", ROOT / "docs/operate/obs.md"]
WITH_TEAMS = [ROOT / "docs/operate/alerting.md", ROOT / "docs/oncall/escalation.md"]
ESCALATION = ROOT / "docs/oncall/escalation.md"
FENCE = re.compile(r"^( *)```([a-z]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
COMMAND_LANGUAGES = ("sh", "bash", "console")
OBSERVATORY = (["ack"], ["alerts", "history"], ["alert", "test"])
SPECS = specs.load_specs(ROOT / "roles")
TIMING_NAMES = ("group_by", "group_wait", "group_interval", "repeat_interval", "page_repeat_interval", "watchdog_interval")
TIMING = {name: SPECS.options[f"alertmanager_{name}"]["default"] for name in TIMING_NAMES}


OBS = load("obs/templates/usr/local/bin/obs")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the page's fenced blocks in these languages, without the indentation of a list's entry."""
    return [re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
            for match in FENCE.finditer(page.read_text(encoding="utf-8")) if match[2] in languages]


def yaml_blocks(page: Path) -> list[dict]:
    return [yaml.safe_load(block) for block in blocks(page, "yaml")]


def examples() -> list[pytest.ParameterSet]:
    """Return each example that defines teams, in the order of its page."""
    found = []
    for page in WITH_TEAMS:
        teams = [block for block in yaml_blocks(page) if "observatory_teams" in block]
        assert teams, f"{name_of(page)} has no example of observatory_teams"
        found += [pytest.param(block, id=f"{page.stem}-{number}") for number, block in enumerate(teams, 1)]
    return found


def commands(program: str) -> list[pytest.ParameterSet]:
    """Return each distinct command line of a program that the pages name, in blocks and in running text, as words without its name."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line.strip().removeprefix("$ ") for block in blocks(page, *COMMAND_LANGUAGES) for line in block.replace("\\\n", " ").splitlines()]
        for line in (*lines, *SPAN.findall(FENCE.sub("", text))):
            if line.startswith(program + " "):
                found.setdefault(line, page)
    assert found, f"no page names {program}"
    return [pytest.param(shlex.split(line, comments=True)[1:], id=f"{page.stem}: {line}") for line, page in found.items()]


def table(page: Path, first_cell: str) -> list[list[str]]:
    """Return the rows of the table whose head begins with a text."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    rows = []
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def build(teams: dict) -> dict:
    platform = "platform"
    assert platform in teams, f"the example lacks the team {platform}, which the shipped observatory_platform_team names"
    return routing.build(teams, platform, TIMING, lambda name, named_by: f"value of {name}")


@pytest.mark.parametrize("example", examples())
def test_an_example_of_teams_makes_routes(example, amtool, tmp_path):
    """Alertmanager's own checker takes what comes out."""
    built = build(example["observatory_teams"])
    config = {"global": {"smtp_smarthost": "mail.example.org:587", "smtp_from": "observatory@example.org"},
              **{key: built[key] for key in ("route", "inhibit_rules", "time_intervals", "receivers")}}
    (tmp_path / "alertmanager.yml").write_text(json.dumps(config))
    done = subprocess.run([amtool, "check-config", tmp_path / "alertmanager.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_variables_of_examples_are_right(page):
    """Their names and types are those of the specs; a secret's name is free, as long as a team names it."""
    variables = [block for block in yaml_blocks(page) if "watcher" not in block]
    secrets = {name for block in variables for _path, name in arguments.references(block)}
    for block in variables:
        given = {name: value for name, value in block.items() if name not in secrets}
        # Only what the example has is looked at: it is no whole inventory.
        options = {name: {**SPECS.options[name], "role": specs.SHARED_ROLE} for name in given if name in SPECS.options}
        found = arguments.check(given, lambda path: "", dataclasses.replace(SPECS, options=options, rules={}), roles=())
        assert not found, f"{name_of(page)}: {[finding.text for finding in found]}"
    unused = {name for block in variables for name in block if name not in SPECS.options} - secrets
    assert not unused, f"{name_of(page)}: no example of a team names {sorted(unused)}"


@pytest.mark.parametrize("words", commands("obs"))
def test_obs_takes_the_commands_of_the_pages(words):
    """In running text a command may be named without its arguments."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            OBS.parser().parse_args(words)
    except SystemExit as stopped:
        short = len(words) == 1 and "the following arguments are required" in said.getvalue()
        assert stopped.code == 0 or short, said.getvalue()


@pytest.mark.parametrize("words", commands("observatory"))
def test_observatory_has_the_commands_of_the_pages(words):
    """Its sub-commands, by name."""
    assert any(words[:len(known)] == known for known in OBSERVATORY), f"observatory has {OBSERVATORY}"


def test_queries_of_the_pages_are_promql(promtool, tmp_path):
    """All that `obs prom` is asked for."""
    queries = [parameters.values[0][1] for parameters in commands("obs") if parameters.values[0][0] == "prom" and len(parameters.values[0]) > 1]
    assert queries
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_ladders_table_is_its_example():
    """Minutes, rungs and routes, the page itself first."""
    teams = next(block["observatory_teams"] for block in yaml_blocks(ESCALATION) if "shop" in block["observatory_teams"])
    wanted = [(0, "", routing.receiver_name("shop", "critical"))]
    wanted += [(rung["seconds"] / 60, str(rung["number"]), routing.rung_name("shop", rung["number"])) for rung in escalation.rungs("shop", teams["shop"])]
    shown = [(float(row[0]), row[2], row[3].strip("`")) for row in table(ESCALATION, "minutes after the page")]
    assert shown == wanted
    receivers = {receiver["name"]: receiver for receiver in build(teams)["receivers"]}
    assert all(len(receivers[name]) > 1 for _minutes, _rung, name in wanted), "a rung of the table reaches nobody"


def test_the_ladders_table_has_the_intervals_of_repetition():
    repeats = {row[0]: row[2] for row in table(ESCALATION, "severity")}
    assert repeats["critical"].split()[0] == TIMING["page_repeat_interval"]
    assert repeats["warning"].split()[0] == TIMING["repeat_interval"]
    assert repeats["info, none"] == "never"


def test_the_shares_of_the_error_budget_are_right():
    """The whole budget of four weeks, and a fifth of it."""
    for objective, budget, fifth in table(ROOT / "docs/oncall/postmortem.md", "objective"):
        minutes = (100 - float(objective.split()[0])) / 100 * site_values.seconds("4w") / 60
        assert float(budget.split()[0]) == pytest.approx(minutes, rel=0.02), objective
        assert float(fifth.split()[0]) == pytest.approx(minutes / 5, rel=0.02), objective


def test_the_matrix_has_burn_rates_that_end_in_time():
    """A burn rate is the number of times that four weeks are gone faster."""
    rates = {row[0].strip("*"): row[2] for row in table(ROOT / "docs/oncall/severity.md", "SEV")}
    for severity, hours in (("SEV-1", 1), ("SEV-2", 48), ("SEV-3", 168)):
        rate = float(re.search(r"([\d.]+) or more", rates[severity])[1])
        assert site_values.seconds("4w") / 3600 / rate == pytest.approx(hours, rel=0.05), severity


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_says_what_it_is_for(page):
    """Its first words after the title."""
    assert re.match(r"# .+\n\nAfter this page you (know|can) ", page.read_text(encoding="utf-8")), f"{name_of(page)} begins otherwise"
