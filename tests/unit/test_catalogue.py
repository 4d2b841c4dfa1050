"""The catalogue of alerts is generated from rules, thresholds and runbooks; whole texts are compared."""

from __future__ import annotations

import json
import textwrap

import pytest

from observatory import catalogue

THRESHOLDS = {
    "node": {
        "Full": {"hours": 24, "warning": {"ratio": 0.1, "for": "30m"}, "critical": {"ratio": 0.05, "units": ["a", "b"], "for": "5m"}},
        "Down": {"for": "0m"},
    }
}
RULES = """
groups:
  - name: node
    rules:
      - {record: "a:b", expr: a}
      - alert: Full
        expr: a:b < [[ thresholds.node.Full.warning.ratio ]]
        for: "[[ thresholds.node.Full.warning.for ]]"
        labels: &labels {severity: warning, team: x, component: node, alert_type: cause, incident: Full}
        annotations: &texts {summary: s, description: d, impact: i, runbook_url: "[[ runbook_base_url ]]/node/Full"}
      - alert: Full
        expr: a:b < [[ thresholds.node.Full.critical.ratio ]]
        for: "[[ thresholds.node.Full.critical.for ]]"
        labels: {<<: *labels, severity: critical}
        annotations: *texts
      - alert: Down
        expr: up == 0
        for: "[[ thresholds.node.Down.for ]]"
        labels: {<<: *labels, severity: critical, incident: Down}
        annotations: {<<: *texts, runbook_url: "https://example.org/down"}
"""
PAGE = """\
---
component: node
---

# Full

## Meaning

Less than [[ thresholds.node.Full.warning.ratio | percent ]] are free, e.g. of
`/var`|`/`, see [Down]([[ runbook_base_url ]]/node/Down) <x>. It fills.

## Impact

Great.
"""
TABLE = """
## node

| alert | severity | means | threshold | for |
|---|---|---|---|---|
| Down | critical |  |  | at once |
| [Full](../runbooks/node/Full.md) | critical | Less than 10% are free, e.g. of `/var`\\|`/`, see Down &lt;x>. | `hours` 24, `ratio` 0.05, `units` a, b | 5m |
| [Full](../runbooks/node/Full.md) | warning | Less than 10% are free, e.g. of `/var`\\|`/`, see Down &lt;x>. | `hours` 24, `ratio` 0.1 | 30m |
"""


@pytest.fixture
def root(tmp_path):
    files = {
        "group_vars/all/versions.yml": 'prometheus_version: "3.5.3"\n',
        "group_vars/all/thresholds.yml": json.dumps({"observatory_thresholds": THRESHOLDS}),
        "alerts/node/rules.yml": textwrap.dedent(RULES),
        "alerts/node/runbooks/Full.md": PAGE,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_alert_has_its_row(root):
    """Meaning without the rest of the page, numbers of its own severity, records left out, a page that is not there not linked."""
    text = catalogue.catalogue(root)
    assert text.endswith(TABLE)
    assert "There are 2, in 3\nrules: 2 critical, 1 warning." in text


def test_a_page_out_of_step_is_named_and_written(root, capsys):
    assert catalogue.main(["--check", "--root", str(root)]) == 1
    assert capsys.readouterr().out == "docs/reference/alerts.md\n"
    assert catalogue.main(["--root", str(root)]) == 0
    assert catalogue.main(["--check", "--root", str(root)]) == 0


def test_a_rule_that_cannot_be_read_is_told_with_its_place(root, capsys):
    (root / "alerts/node/rules.yml").write_text(RULES.replace("Full.critical.ratio", "Full.critical.ration"))
    assert catalogue.main(["--root", str(root)]) == 2
    assert "alerts/node/rules.yml:12" in capsys.readouterr().err
