"""Checks of what a site says about alerts, and keeps in files of its own: rule and scrape files beside its inventory. No Ansible here.

The mistakes in rule files are found by alert_rules.py; here they become findings, and get the place in the site's file.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import typing as t

from . import alert_rules, site_values
from .arguments import Path, nearest
from .finding import Finding

SCRAPE_FOLDER = "scrape.d"
SCRAPE_KEY = "scrape_configs"
SITE_THRESHOLDS = "observatory_thresholds_site"
DISABLED = "observatory_alerts_disabled"
HINT_LENGTH = 160
# alert_rules.py writes the source's path above each group.
_SOURCE = re.compile(r"^  # (\S.*)$", re.MULTILINE)


class Problem(t.Protocol):
    """A mistake in a file (path and line), or in a variable (its dotted path, and no line)."""

    path: str
    line: int
    message: str


def from_problems(problems: t.Iterable[Problem], where: t.Callable[[Path], str]) -> list[Finding]:
    """Return the mistakes that the reader of rule files found as findings."""
    found = []
    for problem in problems:
        text, hint = _split(problem.message)
        if problem.line or "/" in problem.path:
            place = f"{problem.path}:{problem.line}" if problem.line else problem.path
            found.append(Finding(_sentence(text), "", place, "", hint))
        else:
            path = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", problem.path))
            found.append(Finding(f"{problem.path}: {text}", problem.path, where(path), "", hint))
    return found


def _split(message: str) -> tuple[str, str]:
    """Take a "Did you mean" off the end of a message."""
    text, mark, rest = message.partition(" Did you mean ")
    return (text.rstrip("."), f"did you mean {rest.strip(chr(34) + '?')}?") if mark else (message.rstrip("."), "")


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:]


def value_problems(shipped_folder: str, thresholds: t.Any, site: t.Any, disabled: t.Any) -> list[site_values.Problem]:
    """Return what is wrong with a site's values for shipped alerts, without reading the rules: that costs a tenth of a second.

    Only for a site without rules of its own and without overrides; then the rules have to be read anyway.
    """
    problems = []
    if site and isinstance(site, dict):
        ranges = site_values.sensible_ranges(str(pathlib.Path(shipped_folder).parent / site_values.THRESHOLDS_FILE))
        problems += site_values.given_mistakes(site, thresholds, {}, ranges, SITE_THRESHOLDS)
    if disabled and isinstance(disabled, list):
        names = {name for _component, path in alert_rules.component_folders(shipped_folder) for name in alert_rules.alert_names(path)}
        for index, name in enumerate(disabled):
            if name not in names:
                message = f'no shipped alert is called "{name}".{site_values.nearest(name, names)}'
                problems.append(site_values.Problem(f"{DISABLED}[{index}]", 0, message))
    return problems


@dataclasses.dataclass(frozen=True)
class SiteFile:
    """A file of the site as it would be shipped."""

    kind: str
    """rules or scrape"""
    content: str
    source: str = ""
    """Its path as people write it; rules name theirs in the content."""


def rule_files(files: t.Iterable[t.Mapping[str, str]], folder: str) -> list[SiteFile]:
    """Return those of the rendered rule files whose component has something in the site's own folder."""
    names = {name for name, _path in alert_rules.component_folders(folder)}
    return [SiteFile("rules", str(file["content"])) for file in files if pathlib.PurePath(file["path"]).stem in names]


def scrape_files(inventory: str | pathlib.Path, place: t.Callable[[str], str]) -> list[SiteFile]:
    """Return a site's scrape files."""
    files = sorted(pathlib.Path(inventory, SCRAPE_FOLDER).glob("*.y*ml"))
    return [SiteFile("scrape", file.read_text(encoding="utf-8"), place(str(file))) for file in files]


def from_refusal(refusal: t.Mapping[str, t.Any], file: SiteFile) -> Finding:
    """Return what Prometheus says about a file as a finding that names the site's own file and line."""
    words = str(refusal["words"])
    hint = words if len(words) <= HINT_LENGTH else words[: HINT_LENGTH - 3] + "..."
    line = int(refusal["line"])
    if file.kind == "scrape":
        return Finding("Prometheus refuses a scrape file", "", f"{file.source}:{line}" if line else file.source, "", hint)
    rule = str(refusal["rule"])
    return Finding(
        f"Prometheus refuses the rule {rule}" if rule else "Prometheus refuses the rules", "", _rule_place(file.content, rule, line), "", hint
    )


def _rule_place(content: str, rule: str, line: int) -> str:
    """Return file:line of a rule in the file that people write, from its place in the one that is shipped."""
    rows = content.splitlines()
    quoted = json.dumps(rule, ensure_ascii=False)
    number = line or next((number for number, row in enumerate(rows, 1) if row.endswith((f"alert: {quoted}", f"record: {quoted}"))), 0)
    sources = _SOURCE.findall("\n".join(rows[:number] if number else rows))
    if not sources:
        return ""
    source = sources[-1]
    try:
        text = pathlib.Path(source).read_text(encoding="utf-8")
    except OSError:
        return source
    found = re.search(rf"^\s*(?:- +)?(?:alert|record):\s*[\"']?{re.escape(rule)}[\"']?\s*$", text, re.MULTILINE) if rule else None
    return f"{source}:{text.count(chr(10), 0, found.start()) + 1 + _leading_newlines(found[0])}" if found else source


def _leading_newlines(text: str) -> int:
    return len(text) - len(text.lstrip("\n"))


def check_scrape_files(inventory: str | pathlib.Path, show: t.Callable[[str], str] = str) -> list[Finding]:
    """Return what is wrong with the form of a site's scrape files; their contents are for Prometheus' own checker."""
    found = []
    for file in sorted(pathlib.Path(inventory, SCRAPE_FOLDER).glob("*.y*ml")):
        finding = _check_scrape_file(file, show(str(file)))
        found += [finding] if finding else []
    return found


def _check_scrape_file(file: pathlib.Path, shown: str) -> Finding | None:
    import yaml  # late: few sites have such files

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Finding("A scrape file is not YAML", "", f"{shown}:{mark.line + 1 if mark else 1}", "", str(error.problem or error.context))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return Finding("A scrape file is not YAML", "", shown, "", " ".join(str(error).split()))
    hint = f"it must hold {SCRAPE_KEY}: and a list of jobs"
    if not isinstance(data, dict):
        return Finding("A scrape file holds no jobs", "", f"{shown}:1", "", hint)
    for key in data:
        if key != SCRAPE_KEY:
            near = nearest(key, [SCRAPE_KEY])
            return Finding(f"A scrape file has the unknown key {key}", "", shown, "", f"did you mean {near}?" if near else hint)
    if not isinstance(data.get(SCRAPE_KEY), list):
        return Finding("A scrape file holds no jobs", "", f"{shown}:1", "", hint)
    return None
