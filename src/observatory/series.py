"""Which series the products can produce: recorded from a lab's Prometheus, and asked whether an expression's selectors can find any.

    python -m observatory.series record --lab oncall [--host hub] [--state TEXT] [--hours 1]

Writes tests/content/fixtures/series/series.json. Record a converged lab under load, after the drills of the scenario oncall: what no product has shown is
taken for a mistake in a rule. Exit code 0: written; 1: Prometheus has not answered.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import fnmatch
import json
import pathlib
import re
import subprocess
import sys
import time
import typing as t
import urllib.parse

import yaml

from . import promql, shipped
from .shipped import site_values

FOLDER = "tests/content/fixtures/series"
RECORDING, STATES = "series.json", "states.yml"
# A label of so many values or more is not recorded by value.
LIMIT = 25
# These say where and when the recording was made, or which release of what was in it: no rule may depend on them.
VOLATILE = frozenset(
    (
        "address", "alertmanager", "branch", "broadcast", "build_date", "build_hash", "cluster_uuid", "exported_host", "exported_instance", "filename",
        "fingerprint_sha256", "goarch", "goversion", "host", "index", "instance", "issuer", "le", "lucene_version", "machine", "nodename",
        "otel_scope_version", "peer", "pretty_name", "release", "revision", "rule_group", "serialnumber", "server_address",
        "service_instance_id", "service_version", "span_name", "subject", "subjectalternative", "tags", "version", "version_codename", "version_id",
    )
)
# What Prometheus makes of alerts, with the labels of the series that they are about.
ALERT_SERIES = ("ALERTS", "ALERTS_FOR_STATE")
CERTIFICATE = ("--cacert", "/etc/observatory/pki/ca.crt", "--cert", "/etc/observatory/pki/host.crt", "--key", "/etc/observatory/pki/host.key")
FLAGGED = ("prometheus.service", "alertmanager.service", "jaeger.service", "*_exporter.service")
# In states.yml: any job, as a site calls its applications.
ANY_JOB = "*"
VARIABLE = re.compile(r"\$(?:\w|\{)")

# Label -> its values; None: any value.
Labels = dict[str, set[str] | None]
# Metric -> job -> labels.
Series = dict[str, dict[str, Labels]]


class RecordError(Exception):
    """Prometheus has not answered; the message has its words."""


# -- recording


def record(lab: str, host: str, hours: float) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return job -> metric -> label -> values of what a lab's Prometheus has stored in the last hours."""
    query = urllib.parse.urlencode({"match[]": '{__name__=~".+"}', "start": f"{time.time() - hours * 3600:.0f}"})
    answer = json.loads(_execute(lab, host, "curl", "-sS", "--fail", *CERTIFICATE, f"https://localhost:9090/api/v1/series?{query}"))
    found: dict = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(set)))
    for series in answer["data"]:
        place = found[series.pop("job", "")][series.pop("__name__")]
        for label, value in series.items():
            place[label].add(value)
    return {job: {name: {label: sorted(values) for label, values in entry.items()} for name, entry in names.items()} for job, names in found.items()}


def flags(lab: str, host: str) -> dict[str, str]:
    """Return unit -> the command line that it was started with: an exporter shows what its flags say."""
    said = _execute(lab, host, "systemctl", "show", "--property=Id,ExecStart", *FLAGGED)
    found = {}
    for block in said.strip().split("\n\n"):
        unit, command = re.search(r"^Id=(.*)\.service$", block, re.MULTILINE), re.search(r"argv\[\]=(.*?) ;", block)
        if unit and command:
            found[unit[1]] = command[1].partition(" ")[2]
    return dict(sorted(found.items()))


def _execute(lab: str, host: str, *command: str) -> str:
    done = subprocess.run([sys.executable, "-m", "lab", "exec", lab, host, *command], cwd=shipped.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RecordError(f"{host} of the lab '{lab}': {command[0]} failed with exit code {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


def document(found: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Sequence[str]]]], **head: t.Any) -> str:
    """Return the recording as JSON, a line a metric: metric -> job -> label -> values, `null` where they do not matter.

    Labels that all series of a job have, whatever their values, stand once, below `targets`.
    """
    targets: dict[str, list[str]] = {}
    series: dict[str, dict[str, dict]] = {}
    for job, metrics in sorted(found.items()):
        known = {name: labels for name, labels in metrics.items() if ":" not in name and name not in ALERT_SERIES}
        if not known:
            continue
        shared = sorted(set.intersection(*(set(labels) for labels in known.values())) & VOLATILE)
        targets[job] = shared
        for name, labels in known.items():
            entry = {label: None if label in VOLATILE or len(values) >= LIMIT else sorted(values) for label, values in sorted(labels.items())}
            series.setdefault(name, {})[job] = {label: values for label, values in entry.items() if label not in shared}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in {**head, "targets": targets}.items()]
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(jobs, ensure_ascii=False)}" for name, jobs in sorted(series.items()))
    return "\n".join(["{", *lines, ' "series": {', rows, " }", "}", ""])


# -- asking


@dataclasses.dataclass(frozen=True)
class Known:
    """All series that there can be: of products, of recording rules, and of alerts."""

    series: Series
    records: frozenset[str] = frozenset()
    alerts: Labels = dataclasses.field(default_factory=dict)

    @property
    def jobs(self) -> set[str]:
        return {job for jobs in self.series.values() for job in jobs}

    def mistakes(self, expression: str) -> list[str]:
        """Return what each selector of an expression asks for that nothing produces."""
        found: dict[str, None] = {}
        for selector in promql.selectors(expression):
            found.update(dict.fromkeys(self._mistakes(selector)))
        return list(found)

    def _mistakes(self, selector: promql.Selector) -> t.Iterator[str]:
        name = selector.metric
        # What a reader chooses is not known here, and `label=""` is true of any series without the label.
        matchers = [matcher for matcher in selector.matchers if not VARIABLE.search(matcher.value) and matcher[1:] != ("=", "")]
        if name in self.records:
            return
        if name in ALERT_SERIES:
            for matcher in matchers:
                yield from _unknown(name, matcher, self.alerts.get(matcher.label, None))
            return
        places = self._places(selector)
        if not places:
            near = site_values.nearest(name, [other for other in (*self.series, *self.records) if other[:4] == name[:4]])
            yield f"{name or 'a selector without a name'}: no product has shown such a metric.{near}"
            return
        asked = [matcher for matcher in matchers if matcher.label == "job"]
        strange = [] if ANY_JOB in {job for job, _ in places} else [text for matcher in asked for text in _unknown("job", matcher, self.jobs)]
        if strange:
            yield from strange
            return
        chosen = [labels for job, labels in places if job == ANY_JOB or all(_matches(matcher, job) for matcher in asked)]
        if not chosen:
            yield f"{name}: only the job {', '.join(sorted({job for job, _ in places}))} has it"
            return
        for matcher in matchers:
            if matcher.label not in ("job", "__name__"):
                yield from self._label(name, matcher, chosen)

    def _places(self, selector: promql.Selector) -> list[tuple[str, Labels]]:
        """Return (job, labels) of all metrics that the selector's name, or its matchers on the name, allow."""
        conditions = [matcher for matcher in selector.matchers if matcher.label == "__name__"]
        names = [selector.metric] if selector.metric else [name for name in self.series if all(_matches(entry, name) for entry in conditions)]
        return [place for name in names for place in self.series.get(name, {}).items()]

    def _label(self, name: str, matcher: promql.Matcher, places: list[Labels]) -> t.Iterator[str]:
        having = [labels[matcher.label] for labels in places if matcher.label in labels]
        if not having:
            labels = sorted(set().union(*places))
            yield f'{name}: no series has the label "{matcher.label}".{site_values.nearest(matcher.label, labels)}'
        elif None not in having:
            yield from _unknown(name, matcher, set().union(*having))


def _matches(matcher: promql.Matcher, value: str) -> bool:
    hit = value == matcher.value if matcher.sign in ("=", "!=") else bool(re.fullmatch(matcher.value, value, re.DOTALL))
    return hit != matcher.sign.startswith("!")


def _unknown(name: str, matcher: promql.Matcher, values: t.Collection[str] | None) -> t.Iterator[str]:
    """Yield what a matcher names that no series has: a value, or one alternative of a regular expression."""
    if values is None:
        return
    exact = matcher.sign in ("=", "!=")
    for wanted in [matcher.value] if exact else promql.alternatives(matcher.value):
        if wanted and not any(value == wanted if exact else re.fullmatch(wanted, value, re.DOTALL) for value in values):
            yield f'{name}: no series has {matcher.label}="{wanted}".{site_values.nearest(wanted, values)}'


def load(root: pathlib.Path = shipped.ROOT, rules: shipped.alert_rules.RuleSet | None = None) -> Known:
    """Return what the lab has shown, what states.yml adds to it, and what the rules make."""
    series, targets = recorded(root)
    for entry in states(root):
        add(series, entry, targets)
    if rules is None:
        return Known(series)
    alerts: Labels = {"alertstate": {"pending", "firing"}, "alertname": {rule.name for rule in rules.alerts}}
    for label in ("severity", "component", "alert_type", "incident"):
        alerts[label] = {rule.labels[label] for rule in rules.alerts}
    return Known(series, frozenset(rule.name for rule in rules.rules if not rule.is_alert), alerts)


def recorded(root: pathlib.Path = shipped.ROOT) -> tuple[Series, dict[str, list[str]]]:
    """Return what the lab has shown, and job -> the labels that all its series have."""
    recording = json.loads((root / FOLDER / RECORDING).read_text(encoding="utf-8"))
    series: Series = {}
    for name, jobs in recording["series"].items():
        for job, labels in jobs.items():
            own = {label: None if values is None else set(values) for label, values in labels.items()}
            series.setdefault(name, {})[job] = {**dict.fromkeys(recording["targets"][job]), **own}
    return series, recording["targets"]


def states(root: pathlib.Path = shipped.ROOT) -> list[dict[str, t.Any]]:
    return yaml.safe_load((root / FOLDER / STATES).read_text(encoding="utf-8"))


def add(series: Series, entry: t.Mapping[str, t.Any], targets: t.Mapping[str, t.Sequence[str]]) -> None:
    """Add an entry of states.yml to the series."""
    for name in [name for pattern in entry["metrics"] for name in fnmatch.filter(series, pattern) or [pattern]]:
        for job in entry["jobs"]:
            labels = series.setdefault(name, {}).setdefault(job, dict.fromkeys(targets.get(job, ("host", "instance"))))
            for label, values in entry.get("labels", {}).items():
                before = labels.get(label, set())
                labels[label] = None if before is None or not values else before | set(values)


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="observatory.series", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    command = verbs.add_parser("record", help="write down what a lab's Prometheus has stored")
    command.add_argument("--lab", required=True, help="name of a lab that is up: python -m lab status")
    command.add_argument("--host", default="hub", help="host of its Prometheus")
    command.add_argument("--hours", type=float, default=1, help="how far to look back")
    command.add_argument("--state", default="faults were drilled (scenario oncall), under load", help="what the lab was doing, in words")
    options = parser.parse_args(arguments)
    try:
        found, started = record(options.lab, options.host, options.hours), flags(options.lab, options.host)
    except RecordError as error:
        print(error, file=sys.stderr)
        return 1
    target = shipped.ROOT / FOLDER / RECORDING
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    target.write_text(document(found, recorded=today, state=options.state, versions=versions(), flags=started), encoding="utf-8")
    print(f"{target.relative_to(shipped.ROOT)}: {sum(map(len, found.values()))} metrics of {len(found)} jobs")
    return 0


def versions() -> dict[str, str]:
    return {name: str(value) for name, value in sorted(shipped.group_vars("versions").items()) if name.endswith("_version")}


if __name__ == "__main__":
    sys.exit(main())
