"""Generates the catalogue of the shipped alerts from rules, thresholds and runbooks, or checks that it is in step.

    python -m observatory.catalogue [--check] [--root DIR]

Exit code 0: written, or in step; 1: `--check` found it out of step (its name goes to stdout); 2: rules or runbooks are wrong.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
import typing as t

from . import reference, shipped
from .shipped import alert_rules, site_values

CATALOGUE = "docs/reference/alerts.md"
INTRODUCTION = """\
<!-- generated from alerts/, group_vars/all/thresholds.yml and versions.yml by `make generate`, do not edit -->
# Alerts

After this page you know which alerts are shipped, what each means, and the numbers that it compares with. There are {count}, in {rules}
rules: {severities}.

A name leads to its runbook, `alerts/<component>/runbooks/<name>.md`. *for* is how long the condition holds before somebody is told. Numbers are
those of `group_vars/all/thresholds.yml`, below `observatory_thresholds.<component>.<name>`, where a comment gives each one's unit and sensible
range; a site changes them by `observatory_thresholds_site`, and switches an alert off by `observatory_alerts_disabled`. `critical`: somebody acts
now. `warning`: a ticket. `info`: dashboards only. `none`: goes to the watch from outside.
"""
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
# A sentence ends before the capital, number, quote or bracket of the next one: "e.g. this" does not.
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9`\"'*(\[])")


def catalogue(root: pathlib.Path) -> str:
    """Return the page as Markdown; raises ContentError."""
    thresholds = shipped.shipped_thresholds(root)
    values = shipped.make_values(thresholds, root)
    rules = shipped.load_rules(values, root)
    pages = alert_rules.runbooks([str(root / shipped.ALERTS)], values, str(root))
    alerts = sorted(rules.alerts, key=lambda rule: (rule.component, rule.name, alert_rules.SEVERITIES.index(rule.labels["severity"])))
    counts = {severity: sum(rule.labels["severity"] == severity for rule in alerts) for severity in alert_rules.SEVERITIES}
    severities = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
    parts = [INTRODUCTION.format(count=len({rule.name for rule in alerts}), rules=len(alerts), severities=severities)]
    for component in dict.fromkeys(rule.component for rule in alerts):
        parts.append(f"\n## {component}\n\n| alert | severity | means | threshold | for |\n|---|---|---|---|---|\n")
        for rule in (rule for rule in alerts if rule.component == component):
            block = thresholds.get(component, {}).get(rule.name, {})
            cells = (_name(rule, pages), rule.labels["severity"], _meaning(rule, pages), _numbers(rule, block), _duration(rule))
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def _name(rule: alert_rules.Rule, pages: t.Collection[str]) -> str:
    place = f"{rule.component}/{rule.name}"
    return f"[{rule.name}](../runbooks/{place}.md)" if place in pages else rule.name


def _meaning(rule: alert_rules.Rule, pages: t.Mapping[str, str]) -> str:
    """Return the first sentence of the runbook's Meaning."""
    found = re.search(r"^## Meaning\n+(.*?)(?:\n\n|\n#|\Z)", pages.get(f"{rule.component}/{rule.name}", ""), re.MULTILINE | re.DOTALL)
    text = LINK.sub(r"\1", " ".join(found[1].split())) if found else ""
    return SENTENCE.split(text)[0].replace("<", "&lt;")


def _numbers(rule: alert_rules.Rule, block: t.Mapping[str, t.Any]) -> str:
    """Return the thresholds of one severity, without `for`, which has a column of its own."""
    own = block.get(rule.labels["severity"])
    shared = {key: value for key, value in block.items() if not isinstance(value, dict)}
    found = {**shared, **(own if isinstance(own, dict) else {})}
    return ", ".join(f"`{key}` {_show(value)}" for key, value in found.items() if key != "for")


def _show(value: t.Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else site_values.show(value)


def _duration(rule: alert_rules.Rule) -> str:
    value = str(rule.body.get("for", ""))
    return value if value and site_values.seconds(value) else "at once"


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="observatory.catalogue", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is out of step")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(), help="the project's folder")
    options = parser.parse_args(arguments)
    try:
        wanted = {options.root / CATALOGUE: catalogue(options.root)}
    except site_values.ContentError as error:
        print(error, file=sys.stderr)
        return 2
    changed = reference.out_of_step(wanted) if options.check else reference.write(wanted)
    return reference.tell(changed, options.root, options.check, "alerts/ and group_vars/all/thresholds.yml")


if __name__ == "__main__":
    sys.exit(main())
