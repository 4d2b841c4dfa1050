"""Brings the runbooks into the MkDocs site, with the shipped thresholds, in the folders that the alerts' links expect."""

from __future__ import annotations

import re
import sys
from itertools import groupby
from pathlib import Path

import yaml
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
GROUP_VARS = ROOT / "group_vars/all"
# Stands for the address of the runbooks until links between them are made relative.
BASE = "observatory-runbooks:"
# Each site has an address of its own.
EXAMPLE_DASHBOARDS = "https://observatory.example.org/grafana"
# Lists as GitHub reads them: MkDocs nests what is indented by four spaces, and wants an empty line before the next entry.
INDENT = re.compile(r"^ {2,}", re.MULTILINE)
NEXT_ENTRY = re.compile(r"^( {4}.*\n)(?=(?:\d+\.|-) )", re.MULTILINE)
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def on_config(config):
    """Give each component's runbooks a place below the page that lists them."""
    on_call = next(entry["On call"] for entry in config.nav if "On call" in entry)
    for component, names in groupby(sorted(_pages()), key=lambda name: name.split("/")[0]):
        on_call.append({component: [f"runbooks/{name}.md" for name in names]})
    return config


def on_files(files, config):
    """Add the rendered pages, and a page that lists them."""
    pages = _pages()
    for name, text in pages.items():
        text = re.sub(rf"\]\({BASE}/([\w/]+)\)", r"](../\1.md)", text)
        text = INDENT.sub(lambda found: found[0] + " " * (2 - len(found[0]) % 2), text)
        text = NEXT_ENTRY.sub(r"\1\n", text)
        files.append(File.generated(config, f"runbooks/{name}.md", content=text))
    files.append(File.generated(config, "runbooks/index.md", content=_index(pages)))
    return files


def _index(pages: dict[str, str]) -> str:
    lines = ["# Runbooks", "", "After this page you know where to look when an alert has reached you: its name is the page's name.", ""]
    lines += ["| alert | component | severity |", "|---|---|---|"]
    for name, text in sorted(pages.items(), key=lambda page: page[0].split("/")[1]):
        head = yaml.safe_load(FRONT_MATTER.match(text)[1])
        lines.append(f"| [{name.split('/')[1]}]({name}.md) | {head['component']} | {', '.join(head['severities'])} |")
    return "\n".join([*lines, ""])


def _pages() -> dict[str, str]:
    sys.path.insert(0, str(ROOT / "collections"))
    try:
        from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, site_values
    finally:
        sys.path.pop(0)
    values = {key: value for file in GROUP_VARS.glob("*.yml") for key, value in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).items()}
    context = {
        "thresholds": values["observatory_thresholds"], "platform_team": values["observatory_platform_team"], "site": "example", "groups": {},
        "dashboard_base_url": EXAMPLE_DASHBOARDS, "runbook_base_url": BASE,
    }
    return alert_rules.runbooks([str(ROOT / "alerts")], site_values.Values(context), str(ROOT))
