"""No rule and no panel asks for what nothing produces: an alert on such a series would be silent for ever, and every test of it green.

What there is was recorded in the lab (fixtures/series/series.json, made by `python -m observatory.series record`), and states.yml adds with a source
each what the lab cannot show.
"""

from __future__ import annotations

import copy
import json
import re

import pytest
from shipped import ROOT, load_rules, make_values

from observatory import series

# A variable of a dashboard asks by a function of Grafana's own.
LABEL_VALUES = re.compile(r"^label_values\((.*), *\w+\)$")


@pytest.fixture(scope="module")
def rules():
    return load_rules(make_values())


@pytest.fixture(scope="module")
def known(rules):
    return series.load(ROOT, rules)


def queries(part):
    """Yield all PromQL of a dashboard: of panels, variables and annotations."""
    if isinstance(part, list):
        for entry in part:
            yield from queries(entry)
    elif isinstance(part, dict):
        if part.get("type") == "datasource":
            return
        for key, value in part.items():
            if key in ("expr", "query", "definition") and isinstance(value, str):
                yield LABEL_VALUES.sub(r"\1", value.replace("$__rate_interval", "5m").replace("$__range", "5m"))
            else:
                yield from queries(value)


def test_rules_ask_for_series_that_there_are(rules, known):
    """Names, labels and values, excluded ones included."""
    wrong = [f"{rule.path}:{rule.line}: {rule.name}: {mistake}" for rule in rules.rules for mistake in known.mistakes(rule.body["expr"])]
    assert not wrong, "\n".join(dict.fromkeys(wrong)) + f"\nIf it appears in a state that the lab cannot make: {series.FOLDER}/{series.STATES}"


def test_dashboards_ask_for_series_that_there_are(known):
    """As they are written: a value that a reader chooses is not known here."""
    wrong = {}
    for file in sorted((ROOT / "dashboards").rglob("*.json")):
        for query in queries(json.loads(file.read_text(encoding="utf-8"))):
            wrong.update({f"{file.relative_to(ROOT)}: {mistake}": None for mistake in known.mistakes(query)})
    assert not wrong, "\n".join(wrong)


def test_the_recording_says_when_and_of_what_it_is():
    recording = json.loads((ROOT / series.FOLDER / series.RECORDING).read_text(encoding="utf-8"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", recording["recorded"]) and recording["state"]
    assert {"prometheus_version", "elasticsearch_version", "node_exporter_version"} <= set(recording["versions"])


def test_the_recording_is_of_the_versions_that_are_installed():
    """Another release may have other metrics: after a change in versions.yml it is made anew."""
    recording = json.loads((ROOT / series.FOLDER / series.RECORDING).read_text(encoding="utf-8"))
    other = {name: value for name, value in series.versions().items() if recording["versions"].get(name) != value}
    assert not other, f"make it anew for {other}: make bench; python -m observatory.series record --lab bench"


@pytest.mark.parametrize("entry", series.states(), ids=lambda entry: entry["metrics"][0])
def test_a_state_has_a_source_and_adds_to_the_recording(entry):
    """What the lab shows by now is taken off the list."""
    assert set(entry) <= {"metrics", "jobs", "labels", "source"} and len(entry["source"].split()) + entry["source"].count("/") > 3
    found, targets = series.recorded()
    before = copy.deepcopy(found)
    series.add(found, entry, targets)
    assert found != before, f"{series.FOLDER}/{series.STATES}: the lab shows all of {entry['metrics']}; take it off"
