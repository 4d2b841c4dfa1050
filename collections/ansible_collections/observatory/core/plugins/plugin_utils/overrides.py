"""Thresholds of single hosts: a second rule of the same name for them, and none of the first. Plain data in, plain data out; no Ansible here.

An alert tells of a host by the label `host` of its result, so that is what divides the two rules. Which hosts are meant is written as constant
series, by records in the alert's own group: an expression stays short however many hosts a group has, and it stands in the links of messages.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from .alert_rules import Rule, RuleSet
from .site_values import ContentError, Problem, given_mistakes, merge_thresholds, nearest, scaled

VARIABLE = "observatory_thresholds_overrides"
RECORD = "observatory:override:host"
KEYS = ("hosts", "thresholds")

_TEXT = re.compile(r'"(?:\\.|[^"\\])*"|' + r"'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*")
_SELECTION = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]")
_WORD = r"(?<![\w:.])(%s)\s*"
_SCALAR = re.compile(_WORD % "scalar" + r"(?=\()")
_AGGREGATION = re.compile(_WORD % "sum|avg|min|max|count|group|stddev|stdvar|quantile|count_values" + r"(?=\(|by\b|without\b)", re.IGNORECASE)
_CLAUSE = re.compile(r"\s*(by|without)\s*\(([^()]*)\)", re.IGNORECASE)
_UNLABELLED = re.compile(_WORD % "absent|absent_over_time|vector" + r"\(")
_MATCHING = re.compile(_WORD % "on|ignoring" + r"\(([^()]*)\)", re.IGNORECASE)
_RECORD_NAME = re.compile(r"(?<![\w:.])[A-Za-z_]\w*(?::\w+)+")


@dataclasses.dataclass(frozen=True)
class Variant:
    """Hosts that have thresholds of their own, the same ones."""

    hosts: tuple[str, ...]
    thresholds: dict[str, t.Any]
    """All thresholds as they are for these hosts."""
    components: tuple[str, ...]
    """Those whose rules may differ."""


# -- what is given


def mistakes(
    overrides: t.Any, thresholds: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], ranges: t.Mapping[tuple[str, ...], tuple[str, str]]
) -> list[Problem]:
    """Return what is wrong with the entries. `thresholds`: those of the site; `groups`: the inventory's; `ranges`: what is sensible."""
    if not isinstance(overrides, list):
        return [Problem(VARIABLE, 0, f"expected a list of entries with hosts and thresholds, got {overrides!r}")]
    found: list[Problem] = []
    for index, entry in enumerate(overrides):
        path = f"{VARIABLE}[{index}]"
        if not isinstance(entry, dict) or not set(KEYS) <= set(entry):
            found.append(Problem(path, 0, f"expected hosts and thresholds, got {entry!r}"))
            continue
        found += [Problem(f"{path}.{key}", 0, f"this key is not known.{nearest(key, KEYS)}") for key in entry if key not in KEYS]
        hosts = entry["hosts"]
        if not isinstance(hosts, list) or not hosts:
            found.append(Problem(f"{path}.hosts", 0, f"expected a list of hosts and groups of the inventory, got {hosts!r}"))
            hosts = []
        names = {*groups, *groups.get("all", ())}
        for number, name in enumerate(hosts):
            if not isinstance(name, str) or name not in names:
                found.append(Problem(f"{path}.hosts[{number}]", 0, f'no host or group of the inventory is called "{name}".{nearest(name, names)}'))
        found += given_mistakes(entry["thresholds"], thresholds, {}, ranges, f"{path}.thresholds")
    return found


def variants(
    overrides: t.Sequence[t.Mapping[str, t.Any]], thresholds: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], scale: float = 1.0
) -> list[Variant]:
    """Return the hosts with thresholds of their own; entries without mistakes are laid over the site's thresholds in their order."""
    entries: dict[str, list[int]] = {}
    for index, entry in enumerate(overrides):
        for host in {host for name in entry["hosts"] for host in groups.get(name, (name,))}:
            entries.setdefault(host, []).append(index)
    hosts: dict[tuple[int, ...], list[str]] = {}
    for host in sorted(entries):
        hosts.setdefault(tuple(entries[host]), []).append(host)
    found = []
    for indices, members in hosts.items():
        merged, components = dict(thresholds), set()
        for index in indices:
            given = scaled(overrides[index]["thresholds"], scale)
            merged = merge_thresholds(merged, given)
            components |= set(given)
        found.append(Variant(tuple(members), merged, tuple(sorted(components))))
    return found


# -- the rules


def apply(rules: RuleSet, overrides: t.Sequence[t.Mapping[str, t.Any]], variants: t.Sequence[tuple[Variant, RuleSet]]) -> RuleSet:
    """Return the rules with those of single hosts beside them; each variant comes with the rules as its thresholds make them."""
    problems = _not_for_hosts(rules, overrides)
    named = {(component, alert) for entry in overrides for component, alerts in entry["thresholds"].items() for alert in alerts}
    groups = dict(rules.groups)
    for component in sorted({component for component, _ in named} & set(groups)):
        theirs = [(variant.hosts, other.groups[component]) for variant, other in variants if component in variant.components]
        groups[component] = [
            (group, _split(entries, [(hosts, found[index][1]) for hosts, found in theirs], named, problems), path)
            for index, (group, entries, path) in enumerate(groups[component])
        ]
    if problems:
        raise ContentError(problems)
    return RuleSet(groups)


def _not_for_hosts(rules: RuleSet, overrides: t.Sequence[t.Mapping[str, t.Any]]) -> list[Problem]:
    """Return the entries' alerts that tell of no host."""
    records: dict[str, list[str]] = {}
    for rule in rules.rules:
        if not rule.is_alert:
            records.setdefault(rule.name, []).append(rule.body["expr"])
    found = []
    for index, entry in enumerate(overrides):
        for component, alerts in entry["thresholds"].items():
            for rule in rules.alerts:
                why = host_is_lost(rule.body["expr"], records) if rule.component == component and rule.name in alerts else ""
                if why:
                    path = f"{VARIABLE}[{index}].thresholds.{component}.{rule.name}"
                    message = f"this alert has no host, so that its values are the same for all: {why}; use observatory_thresholds_site"
                    found.append(Problem(path, 0, message))
    return found


def _split(rules: t.Sequence[Rule], theirs: t.Sequence[tuple[tuple[str, ...], t.Sequence[Rule]]], named: t.Collection, problems: list[Problem]) -> list[Rule]:
    """Return a group's rules; where a variant's rule is another one, both, and before all of them the records that tell them apart."""
    constants, made = [], []
    for position, rule in enumerate(rules):
        others: dict[str, tuple[dict[str, t.Any], list[str]]] = {}
        for hosts, found in theirs:
            body = found[position].body
            if body != rule.body:
                others.setdefault(json.dumps(body), (body, []))[1].extend(hosts)
        if not others:
            made.append(rule)
            continue
        if not rule.is_alert or (rule.component, rule.name) not in named:
            message = f"{rule.name} reads a value that {VARIABLE} changes for single hosts; only the alert that has the value's name may read it"
            problems.append(Problem(rule.path, rule.line, message))
            continue
        labels = {"alert": rule.name, "severity": rule.labels["severity"]}
        made.append(_limited(rule, rule.body, "unless", labels))
        for number, (body, hosts) in enumerate(sorted(others.values(), key=lambda other: min(other[1])), 1):
            own = {**labels, "override": str(number)}
            constants.append(dataclasses.replace(rule, body={"record": RECORD, "expr": _constants(sorted(hosts)), "labels": own}))
            made.append(_limited(rule, body, "and", own))
    return constants + made


def _limited(rule: Rule, body: t.Mapping[str, t.Any], word: str, labels: t.Mapping[str, str]) -> Rule:
    matchers = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    return dataclasses.replace(rule, body={**body, "expr": f"(\n{body['expr']}\n)\n{word} on (host) {RECORD}{{{matchers}}}"})


def _constants(hosts: t.Iterable[str]) -> str:
    return "\nor ".join(f'label_replace(vector(1), "host", {json.dumps(host)}, "", "")' for host in hosts)


# -- does a result tell of a host


def host_is_lost(expression: str, records: t.Mapping[str, t.Sequence[str]], seen: tuple[str, ...] = ()) -> str:
    """Return what takes the label `host` out of an expression's result, or nothing. In doubt it is taken for lost.

    Each target has the label, so that each selector brings it. `records`: name -> expressions.
    """
    if "__name__" in expression:
        return "which series are meant by __name__ cannot be told"
    text = _without_scalars(_SELECTION.sub("", _TEXT.sub("", expression)))
    for match in _AGGREGATION.finditer(text):
        clause = _CLAUSE.match(text, match.end()) or _CLAUSE.match(text, _closing(text, match.end()))
        word, labels = (clause[1].lower(), _names(clause[2])) if clause else ("", set())
        if not word or (word == "by") != ("host" in labels):
            return f'"{match[1]}{" " + clause[0].strip() if clause else ""}" leaves no label host'
    unlabelled = _UNLABELLED.search(text)
    if unlabelled:
        return f'the result of "{unlabelled[1]}()" has no label host'
    for match in _MATCHING.finditer(text):
        if (match[1].lower() == "on") != ("host" in _names(match[2])):
            return f'"{match[0]}" matches series without their host'
    for name in sorted(set(_RECORD_NAME.findall(text)) - set(seen)):
        if name not in records:
            return f"no rule records {name}, which it reads"
        for recorded in records[name]:
            why = host_is_lost(recorded, records, (*seen, name))
            if why:
                return f"in {name}, {why}" if not why.startswith("in ") else why
    return ""


def _without_scalars(text: str) -> str:
    """Take out what becomes a plain number: its labels do not matter."""
    match = _SCALAR.search(text)
    while match:
        text = text[: match.start()] + "0" + text[_closing(text, match.end()) :]
        match = _SCALAR.search(text)
    return text


def _closing(text: str, start: int) -> int:
    """Return the place behind the bracket that closes the first one from `start` on."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0 and text[place] == ")":
            return place + 1
    return len(text)


def _names(labels: str) -> set[str]:
    return {name.strip() for name in labels.split(",")}
