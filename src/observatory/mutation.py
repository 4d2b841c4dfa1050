"""Proves that the alerts' tests notice a wrong rule: each threshold, comparison and `for` is changed in turn, and a test has to fail.

    python -m observatory.mutation [--root DIR] [COMPONENT ...]

Only the rule's text is changed; its tests keep computing from the thresholds. What has been found out about a rule and its tests is kept in
the user's cache, so only what has changed since is run. Exit code 0: a test fails for every change, or the change is on the list EQUIVALENT;
1: a change survives, no test notices it; 2: the rules cannot be read, or their tests fail without any change.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t
import xml.etree.ElementTree as ElementTree

import yaml

from . import promql, shipped
from .shipped import alert_rules, site_values

# Changes that make no difference, and why: "component/Alert (severity): change", as the report prints it.
EQUIVALENT: dict[str, str] = {}

NEIGHBOURS = {">": (">=", "<"), ">=": (">", "<="), "<": ("<=", ">"), "<=": ("<", ">="), "==": ("!=",), "!=": ("==",)}
# A tenth, or one for numbers so small that a tenth is none.
STEP, SMALL = 0.1, 10
MINUTE = 60
PROCESSES = 2
# promtool lives for seconds and is thrown away: memory is cheaper than collecting garbage, which takes it nearly half of its time.
LAZY = {**os.environ, "GOGC": "400"}
# Characters on either side of a change that say which of several it is.
CONTEXT = 24


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A rule with one change. `change` says which; it holds no value, so that a site's numbers do not rename it."""

    change: str
    shown: str
    body: dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Trial:
    """A rule, its mutants, and the tests that concern it."""

    rule: alert_rules.Rule
    mutants: list[Mutant]
    rule_files: list[str]
    """The rule as it is, then each mutant, in a file with what it needs."""
    tests: dict[str, t.Any]

    @property
    def name(self) -> str:
        severity = f" ({self.rule.labels.get('severity')})" if self.rule.is_alert else ""
        return f"{self.rule.component}/{self.rule.name}{severity}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the tests said: they failed without a change, or the changes that they noticed and those that they did not."""

    trial: Trial
    broken: str
    killed: list[Mutant]
    survivors: list[Mutant]


class MutationError(Exception):
    """promtool has not said what was asked; the message has its words."""


# -- mutants


def mutants(rule: alert_rules.Rule, source: str, values: site_values.Values, step: float = MINUTE) -> list[Mutant]:
    """Return every change of a rule whose expression is written as `source`; `step` is the time between two evaluations in its tests."""
    found = [*_thresholds(source, values), *_comparisons(rule.body["expr"])]
    made = [Mutant(change, shown, {**rule.body, "expr": text}) for change, shown, text in found]
    return [mutant for mutant in (*made, *_durations(rule.body, step)) if mutant.body != rule.body]


def _thresholds(source: str, values: site_values.Values) -> t.Iterator[tuple[str, str, str]]:
    """Yield (change, shown, expression) with each use of a threshold larger and smaller."""
    parts = site_values.EXPRESSION.split(source)
    # Texts and expressions take turns.
    results = [part if number % 2 == 0 else values.evaluate(part) for number, part in enumerate(parts)]
    seen: dict[str, int] = {}
    for number in range(1, len(parts), 2):
        name = parts[number].strip().removeprefix("thresholds.")
        if "thresholds." not in parts[number]:
            continue
        seen[name] = seen.get(name, 0) + 1
        use = name if seen[name] == 1 else f"{name}, use {seen[name]}"
        for word, other in zip(("larger", "smaller"), _others(results[number]), strict=False):
            text = "".join(site_values.show(entry) for entry in (*results[:number], other, *results[number + 1 :]))
            yield f"{use} {word}", f"{use}: {site_values.show(results[number])} becomes {site_values.show(other)}", text


def _others(value: t.Any) -> tuple[t.Any, ...]:
    """Return a value a step larger and a step smaller; nothing for what is neither number nor duration."""
    if isinstance(value, int):
        step = 1 if abs(value) < SMALL else round(abs(value) * STEP)
        return value + step, value - step
    if isinstance(value, float):
        return value * (1 + STEP), value * (1 - STEP)
    if site_values.is_duration(value):
        seconds = site_values.seconds(value)
        step = max(MINUTE, seconds * STEP // MINUTE * MINUTE)
        # A range cannot be empty.
        return site_values.duration(seconds + step), site_values.duration(seconds - step if seconds > step else seconds / 2)
    return ()


def _comparisons(expression: str) -> t.Iterator[tuple[str, str, str]]:
    """Yield (change, shown, expression) with each comparison replaced by its neighbours."""
    signs = [token for token in promql.tokens(expression) if token.kind == "comparison"]
    for number, (_, sign, begin) in enumerate(signs, 1):
        end = begin + len(sign)
        for other in NEIGHBOURS[sign]:
            around = " ".join(f"{expression[max(0, begin - CONTEXT) : begin]}[{sign}]{expression[end : end + CONTEXT]}".split())
            change = f"comparison {number}, {sign} becomes {other}"
            yield change, f"{change}: … {around} …", f"{expression[:begin]}{other}{expression[end:]}"


def _durations(body: dict[str, t.Any], step: float) -> t.Iterator[Mutant]:
    """Yield each `for` a step longer, a step shorter where that is not none, and none at all."""
    for key in ("for", "keep_firing_for"):
        if key not in body:
            continue
        seconds = site_values.seconds(body[key])
        others = {"longer": site_values.duration(seconds + step)}
        if seconds > step:
            others["shorter"] = site_values.duration(seconds - step)
        if seconds:
            others["removed"] = "none"
        for word, other in others.items():
            rest = {name: value for name, value in body.items() if name != key}
            yield Mutant(f"{key} {word}", f"{key} {word}: {body[key]} becomes {other}", {**rest, **({} if word == "removed" else {key: other})})


# -- trials


def trials(root: pathlib.Path, components: t.Collection[str] = ()) -> list[Trial]:
    """Return a trial for each shipped rule that can be changed, of the named components or of all; raises ContentError."""
    values = shipped.make_values(root=root)
    rules = shipped.load_rules(values, root)
    rules.files(components)
    found = []
    for component in sorted(components or rules.groups):
        folder = root / shipped.ALERTS / component
        tests = json.loads(alert_rules.promtool_tests(str(folder), values, str(root)))
        sources = _sources(folder / alert_rules.RULES, values)
        step = max(MINUTE, site_values.seconds(tests.get("evaluation_interval", "1m")))
        for rule in (rule for _, entries, _ in rules.groups[component] for rule in entries):
            made = mutants(rule, sources[rule.name, rule.body["expr"]], values, step)
            # A record without a limit is arithmetic, which its own test compares; an alert has tests in any case.
            if not made and not rule.is_alert:
                continue
            names = _readers(rules.groups[component], rule)
            own = _own_tests(tests, names)
            groups = needed(rules.groups[component], names.union(*(names_in(block) for block in own["tests"])))
            bodies = [rule.body, *(mutant.body for mutant in made)]
            found.append(Trial(rule, made, [alert_rules.file_text(_with(groups, rule, body)) for body in bodies], own))
    return found


def _sources(file: pathlib.Path, values: site_values.Values) -> dict[tuple[str, str], str]:
    """Return (rule, rendered expression) -> the expression as it is written."""
    found = {}
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            source = _stripped(str(rule["expr"]))
            found[rule.get("alert") or rule["record"], _stripped(values.page(source, str(file)))] = source
    return found


def _stripped(text: str) -> str:
    return "\n".join(row.rstrip() for row in text.strip().splitlines())


# Each rule is asked by every other one.
@functools.cache
def asked(expression: str) -> frozenset[str]:
    """Return the series that an expression reads, and the alerts that it names."""
    found: set[str] = set()
    for selector in promql.selectors(expression):
        alerts = {value for label, sign, value in selector.matchers if (label, sign) == ("alertname", "=")}
        found |= alerts or {selector.metric}
    return frozenset(found)


def _readers(groups: list, rule: alert_rules.Rule) -> set[str]:
    """Return a rule's name, and those of the rules that read it, themselves or through a record: records stand before them."""
    names = {rule.name}
    for other in (other for _, rules, _ in groups for other in rules):
        if asked(other.body["expr"]) & names:
            names.add(other.name)
    return names


def _own_tests(tests: dict[str, t.Any], names: set[str]) -> dict[str, t.Any]:
    """Return the tests that look at these rules, and of them what concerns them."""
    blocks = []
    for block in tests["tests"]:
        looks = {
            "alert_rule_test": [look for look in block.get("alert_rule_test", []) if look["alertname"] in names],
            "promql_expr_test": [look for look in block.get("promql_expr_test", []) if asked(look["expr"]) & names],
        }
        if any(looks.values()):
            blocks.append({**block, **looks})
    return {**tests, "tests": blocks}


def names_in(block: dict[str, t.Any]) -> set[str]:
    """Return the alerts and series that a block of tests looks at."""
    alerts = {look["alertname"] for look in block.get("alert_rule_test", [])}
    return alerts.union(*(asked(look["expr"]) for look in block.get("promql_expr_test", [])))


def needed(groups: list, names: t.Collection[str]) -> list:
    """Return the groups without the rules that have no say in what has these names: each costs time in every test."""
    wanted = set(names)
    kept: list = []
    while more := [entry for _, rules, _ in groups for entry in rules if entry.name in wanted and entry not in kept]:
        kept += more
        wanted = wanted.union(*(asked(entry.body["expr"]) for entry in more))
        # Which series these are is not to be seen from here.
        if wanted & {"", "ALERTS", "ALERTS_FOR_STATE"}:
            return groups
    reduced = [(group, [entry for entry in rules if entry in kept], path) for group, rules, path in groups]
    return [entry for entry in reduced if entry[1]]


def _with(groups: list, rule: alert_rules.Rule, body: dict[str, t.Any]) -> list:
    changed = dataclasses.replace(rule, body=body)
    return [(group, [changed if entry is rule else entry for entry in rules], path) for group, rules, path in groups]


# -- running them


def run(trial: Trial, promtool: str, version: str, cache: pathlib.Path) -> Outcome:
    """Return what promtool says, or has said before, about a rule and its mutants."""
    asked = json.dumps([version, trial.rule_files, trial.tests], sort_keys=True)
    kept = cache / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
    if kept.is_file():
        said = json.loads(kept.read_text(encoding="utf-8"))
    else:
        said = _ask(trial, promtool)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache, delete=False) as handle:
            json.dump(said, handle)
        pathlib.Path(handle.name).replace(kept)
    outcome = Outcome(trial, said[0], [], [])
    for mutant, failure in zip(trial.mutants, said[1:], strict=True):
        # A rule that Prometheus refuses is never in force: no test has to notice it.
        if failure.startswith("rules-"):
            continue
        (outcome.killed if failure else outcome.survivors).append(mutant)
    return outcome


def _ask(trial: Trial, promtool: str) -> list[str]:
    """Return the first failure of the tests, or nothing, for each rule file of a trial."""
    if not trial.tests["tests"]:
        return ["no test looks at it", *("" for _ in trial.mutants)]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for number, text in enumerate(trial.rule_files):
            (folder / f"rules-{number}.yml").write_text(text, encoding="utf-8")
            tests = {**trial.tests, "rule_files": [f"rules-{number}.yml"]}
            (folder / f"tests-{number}.yml").write_text(json.dumps(tests), encoding="utf-8")
        files = [f"tests-{number}.yml" for number in range(len(trial.rule_files))]
        command = [promtool, "test", "rules", "--junit=said.xml", *files]
        done = subprocess.run(command, cwd=folder, env=LAZY, capture_output=True, text=True, check=False)
        try:
            suites = {suite.get("name"): suite for suite in ElementTree.parse(folder / "said.xml").getroot()}
            return [next((failure.text or "failed" for failure in suites[file].iter() if failure.tag in ("failure", "error")), "") for file in files]
        except (OSError, KeyError, ElementTree.ParseError) as error:
            raise MutationError(f"{trial.name}: promtool has not judged every change ({error}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}") from None


def report(outcomes: t.Sequence[Outcome], equivalent: t.Mapping[str, str]) -> int:
    """Print what survives and the share killed; return the exit code."""
    broken = [outcome for outcome in outcomes if outcome.broken]
    for outcome in broken:
        print(f"{outcome.trial.rule.path}:{outcome.trial.rule.line}: {outcome.trial.name}: its tests fail without a change:\n{outcome.broken}")
    killed = sum(len(outcome.killed) for outcome in outcomes)
    listed, survive = 0, 0
    for outcome in outcomes:
        for mutant in () if outcome.broken else outcome.survivors:
            if f"{outcome.trial.name}: {mutant.change}" in equivalent:
                listed += 1
                continue
            survive += 1
            print(f"{outcome.trial.rule.path}:{outcome.trial.rule.line}: {outcome.trial.name}: no test notices: {mutant.shown}")
    unnoticed = {f"{outcome.trial.name}: {mutant.change}" for outcome in outcomes for mutant in outcome.survivors}
    tried = {outcome.trial.name for outcome in outcomes if not outcome.broken}
    idle = [name for name in equivalent if name.split(":")[0] in tried and name not in unnoticed]
    for name in idle:
        print(f'src/observatory/mutation.py: take "{name}" off EQUIVALENT: there is no such change, or a test notices it')
    total = killed + survive
    share = f"{killed / total:.1%}" if total else "none to make"
    print(f"rules: {len(outcomes)}, changes: {total}, noticed by a test: {killed} ({share}), without effect: {listed}")
    if survive:
        print("Add a test that tells the rule from its change: docs/develop/alerts.md#mutation")
    return 2 if broken else 1 if survive or idle else 0


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="observatory.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("components", nargs="*", metavar="COMPONENT", help="folders below alerts/; all when none is named")
    parser.add_argument("--root", type=pathlib.Path, default=shipped.ROOT, help="the project's folder")
    options = parser.parse_args(arguments)
    try:
        promtool = shipped.checker("promtool", options.root)
        version = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=True).stdout
        todo = trials(options.root, options.components)
        cache = shipped.cache_folder() / "mutation"
        with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
            outcomes = list(pool.map(lambda trial: run(trial, promtool, version, cache), todo))
    except (site_values.ContentError, shipped.NoCheckerError, MutationError) as error:
        print(error, file=sys.stderr)
        return 2
    return report(outcomes, EQUIVALENT)


if __name__ == "__main__":
    sys.exit(main())
