"""What is wrong with a routing tree, its receivers and its inhibitions, beyond what Alertmanager itself refuses. Plain data in, sentences out."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

Labels = t.Mapping[str, str]
Route = t.Mapping[str, t.Any]
MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')
# A regular expression of which all values can be named.
LIST = re.compile(r"[\w-]+(\|[\w-]+)*")
# Labels that say which rule an alert is of, not what it is about.
RULE_LABELS = ("alertname", "incident", "severity")
# Those that are the same for all alerts of a rule, or of a site.
CONSTANT_LABELS = (*RULE_LABELS, "team", "component", "alert_type", "site")


@dataclass(frozen=True)
class Matcher:
    """One matcher. A label that an alert lacks is empty to it."""

    label: str
    sign: str
    value: str

    def accepts(self, value: str) -> bool:
        found = value == self.value if self.sign in ("=", "!=") else re.fullmatch(self.value, value) is not None
        return found != self.sign.startswith("!")

    def values(self) -> set[str] | None:
        """Return all values that it accepts; None when they cannot be named."""
        if self.sign == "=":
            return {self.value}
        return set(self.value.split("|")) if self.sign == "=~" and LIST.fullmatch(self.value) else None


def matchers(given: t.Iterable[str]) -> list[Matcher]:
    """Return the matchers of a route or an inhibition. Raises ValueError for what is none."""
    found = []
    for text in given:
        match = MATCHER.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is no matcher")
        found.append(Matcher(match[1], match[2], match[3]))
    return found


def matches(wanted: t.Iterable[Matcher], labels: Labels) -> bool:
    return all(matcher.accepts(labels.get(matcher.label, "")) for matcher in wanted)


def implied(wanted: Matcher, given: t.Sequence[Matcher]) -> bool:
    """Whether all that is accepted by `given` is accepted by `wanted`; False also when that cannot be told."""
    same = [matcher for matcher in given if matcher.label == wanted.label]
    named = [values for matcher in same if (values := matcher.values()) is not None]
    return wanted in same or (bool(named) and all(wanted.accepts(value) for value in set.intersection(*named)))


def contradictory(given: t.Sequence[Matcher]) -> bool:
    """Whether no alert can have these labels; False also when that cannot be told."""
    return any(
        (values := matcher.values()) is not None
        and not any(all(other.accepts(value) for other in given if other.label == matcher.label) for value in values)
        for matcher in given
    )


def walk(route: Route, labels: Labels) -> list[Route]:
    """Return the routes at which an alert ends, as Alertmanager does: the deepest that match, more than one after `continue`."""
    found: list[Route] = []
    for child in route.get("routes", []):
        if matches(matchers(child.get("matchers", [])), labels):
            found += walk(child, labels)
            if not child.get("continue"):
                break
    return found or [route]


def all_routes(route: Route, path: str = "route") -> t.Iterator[tuple[str, Route]]:
    """Yield (path, route), the root first."""
    yield path, route
    for number, child in enumerate(route.get("routes", [])):
        yield from all_routes(child, f"{path}.routes[{number}]")


Taken = tuple[str, t.Sequence[Matcher]]


def unreachable(route: Route, path: str = "route", above: t.Sequence[Matcher] = (), before: t.Sequence[Taken] = ()) -> list[str]:
    """Return a sentence for each route that no alert reaches. What a regular expression beyond a list of words hides is not found.

    above: matchers of the routes that lead here. before: earlier routes, beside this one or beside one above it, that let nothing go on.
    """
    found: list[str] = []
    earlier = list(before)
    for number, child in enumerate(route.get("routes", [])):
        where, own = f"{path}.routes[{number}]", matchers(child.get("matchers", []))
        whole = [*above, *own]
        taken = [other for other, wanted in earlier if all(implied(matcher, whole) for matcher in wanted)]
        if contradictory(whole):
            found.append(f"{where} to {child.get('receiver')}: its matchers and those above it exclude each other")
        elif taken:
            found.append(f"{where} to {child.get('receiver')}: {taken[0]} takes all of its alerts")
        else:
            found += unreachable(child, where, whole, earlier)
        if not child.get("continue"):
            earlier.append((where, own))
    return found


def unused_receivers(config: t.Mapping[str, t.Any]) -> list[str]:
    used = {route.get("receiver") for _path, route in all_routes(config["route"])}
    return [f"receiver {entry['name']}: no route leads to it" for entry in config["receivers"] if entry["name"] not in used]


def bad_inhibitions(rules: t.Iterable[t.Mapping[str, t.Any]], alerts: t.Sequence[Labels]) -> list[str]:
    """Return a sentence for each inhibition that compares nothing, or a label that may be missing on both sides: that counts as equal.

    alerts: label sets of the alerts that there are.
    """
    found = []
    for rule in rules:
        name, equal = rule.get("name") or rule.get("source_matchers"), rule.get("equal") or []
        source, target = matchers(rule.get("source_matchers", [])), matchers(rule.get("target_matchers", []))
        things = [label for label in equal if label not in RULE_LABELS]
        sources = [labels for labels in alerts if matches(source, labels)]
        if not things:
            found.append(f"{name}: equal names no label of what the alerts are about")
            continue
        # One that names no alert may be there for a site's own.
        if _names_alerts(source) and not sources:
            found.append(f"{name}: no alert is its source")
        if _names_alerts(target) and not any(matches(target, labels) for labels in alerts):
            found.append(f"{name}: no alert is its target")
        if not any(_demanded(label, target) for label in things):
            found.append(f"{name}: its targets may lack {', '.join(things)}")
        lacking = [labels for labels in sources if not any(labels.get(label) for label in things)]
        if lacking:
            found.append(f"{name}: its source {lacking[0].get('alertname')} lacks {', '.join(things)}")
    return found


def told_apart_by_more(rules: t.Iterable[t.Mapping[str, t.Any]], alerts: t.Sequence[Labels], follows: t.Collection[str]) -> list[str]:
    """Return a sentence for each inhibition between alerts of one name that does not compare all of their labels.

    follows: labels that are the same where the others are.
    """
    found = set()
    for rule in rules:
        source, target, equal = matchers(rule["source_matchers"]), matchers(rule["target_matchers"]), rule.get("equal") or []
        for one in (labels for labels in alerts if "alertname" in equal and matches(source, labels)):
            for other in (labels for labels in alerts if labels["alertname"] == one["alertname"] and matches(target, labels)):
                lacking = {*one, *other} - {*equal, *follows, *CONSTANT_LABELS}
                if lacking:
                    found.add(f"{rule['name']}: {one['alertname']} of another {', '.join(sorted(lacking))} is held back too")
    return sorted(found)


def _names_alerts(wanted: t.Iterable[Matcher]) -> bool:
    return any(matcher.label in ("alertname", "incident") for matcher in wanted)


def _demanded(label: str, wanted: t.Iterable[Matcher]) -> bool:
    return any(matcher.label == label and not matcher.accepts("") for matcher in wanted)


def problems(config: t.Mapping[str, t.Any], alerts: t.Sequence[Labels]) -> list[str]:
    """Return all that is wrong with a configuration."""
    return [*unreachable(config["route"]), *unused_receivers(config), *bad_inhibitions(config.get("inhibit_rules", []), alerts)]
