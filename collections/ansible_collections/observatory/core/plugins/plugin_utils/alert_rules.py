"""Alert rules: component folders in, one rule file a component out. Plain data, no Ansible here.

A folder of alerts holds a folder a component (`alerts/node/`) with `rules.yml`, `tests.yml` and `runbooks/<AlertName>.md`. Rule
files have Prometheus' own format; `[[ ]]` brings site values in (site_values.py). The contract that every rule must meet is
docs/develop/alerts.md. Mistakes are found with file and line, all of them in one go.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import os
import re
import typing as t

from .located_yaml import Broken, Document
from .site_values import ContentError, Problem, Values, is_duration, nearest, show

RULES, TESTS, RUNBOOKS = "rules.yml", "tests.yml", "runbooks"
TARGET_FOLDER = "/etc/prometheus/rules"

GROUP_KEYS = {"name", "interval", "query_offset", "limit", "labels", "rules"}
ALERT_KEYS = {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
RECORD_KEYS = {"record", "expr", "labels"}
DURATION_KEYS = {"interval", "query_offset", "for", "keep_firing_for"}

SEVERITIES = ("critical", "warning", "info", "none")
ALERT_TYPES = ("symptom", "cause", "heartbeat")
LABELS = ("severity", "team", "component", "alert_type", "incident")
ANNOTATIONS = ("summary", "description", "impact", "runbook_url")
SUMMARY_LENGTH = 90
# What {{ $labels.host }} is counted as: the length of the name that it will be is not known here.
TEMPLATE_LENGTH = 12

ALERT_NAME = re.compile(r"^[A-Z][A-Za-z0-9]*$")
COMPONENT_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
VALUE_TEMPLATE = re.compile(r"\{\{.*?\$value|\{\{.*?\.Value")
TEMPLATE = re.compile(r"\{\{.*?\}\}")
DASHBOARD = re.compile(r"/d/([A-Za-z0-9_-]+)")
REQUIRES_LIKE = re.compile(r"^\s*#\s*requires?\b", re.IGNORECASE)
REQUIRES = re.compile(r"^\s*# requires: ([a-z_]+) *(>=|<) *(\d+(?:\.\d+)*)\s*$")
REQUIRES_FORM = '"# requires: prometheus >= 3.8", on the line above the rule or group'
# Keys of a page's front matter that go into messages, each on one line.
MESSAGE_TEXTS = ("verify", "first_step")
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
MESSAGE_TEXT = re.compile(r"^(verify|first_step): *(.*)$", re.MULTILINE)
OPERATORS = {">=": operator.ge, "<": operator.lt}


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule as it will be shipped, and where it came from."""

    component: str
    group: str
    body: dict[str, t.Any]
    path: str
    line: int
    shipped: bool

    @property
    def name(self) -> str:
        return str(self.body.get("alert") or self.body.get("record") or "")

    @property
    def is_alert(self) -> bool:
        return "alert" in self.body

    @property
    def labels(self) -> dict[str, str]:
        return self.body.get("labels") or {}

    @property
    def annotations(self) -> dict[str, str]:
        return self.body.get("annotations") or {}


@dataclasses.dataclass(frozen=True)
class RuleSet:
    """All rules of a site: component -> its groups (each: the mapping that Prometheus reads, without rules; its rules; its file)."""

    groups: dict[str, list[tuple[dict[str, t.Any], list[Rule], str]]]

    @property
    def rules(self) -> list[Rule]:
        return [rule for groups in self.groups.values() for _, rules, _ in groups for rule in rules]

    @property
    def alerts(self) -> list[Rule]:
        return [rule for rule in self.rules if rule.is_alert]

    def files(self, components: t.Collection[str] = ()) -> list[dict[str, str]]:
        """Return {path, content} a component that has rules, sorted; all components when none is named."""
        for name in components:
            if name not in self.groups:
                raise ContentError([Problem("alert_rules", 0, f'no component "{name}".{nearest(name, self.groups)}')])
        return [
            {"path": f"{TARGET_FOLDER}/{name}.yml", "content": file_text(self.groups[name])}
            for name in sorted(components or self.groups)
            if self.groups[name]
        ]


# -- loading


def load(
    folders: t.Sequence[str],
    values: Values,
    *,
    disabled: t.Sequence[str] = (),
    versions: t.Mapping[str, str] | None = None,
    teams: t.Collection[str] | None = None,
    base: str = "",
    only: t.Collection[str] = (),
) -> RuleSet:
    """Return the rules of the shipped folder (the first) and of the site's (the others); raises ContentError with all mistakes.

    `disabled`: names of shipped alerts that the site switches off. `versions`: product -> version, for rules that ask for one.
    `teams`: the names that a `team` label may have; None: not checked. `base`: messages show paths from here.
    `only`: components to read; none named: all, and then the disabled names are checked too.
    """
    problems: list[Problem] = []
    groups: dict[str, list[tuple[dict[str, t.Any], list[Rule], str]]] = {}
    all_shipped: set[str] = set()
    for number, folder in enumerate(folders):
        for component, path in component_folders(folder, base, problems):
            if only and component not in only:
                continue
            shown = _shown(os.path.join(path, RULES), base)
            document = Document(os.path.join(path, RULES), shown, values)
            found = _read(document, component, number == 0, versions or {})
            if not document.problems:
                _check_contract(document, found, path, values, teams)
            problems.extend(document.problems)
            all_shipped.update(rule.name for _, rules, _ in found for rule in rules if rule.is_alert and rule.shipped)
            groups.setdefault(component, []).extend(found)
    for index, name in enumerate(disabled):
        if name not in all_shipped and not only:
            problems.append(
                Problem(f"observatory_alerts_disabled[{index}]", 0, f'no shipped alert is called "{name}".{nearest(name, all_shipped)}')
            )
    groups = {component: _without(entries, set(disabled)) for component, entries in groups.items()}
    result = RuleSet(groups)
    problems.extend(_duplicates(result))
    if problems:
        raise ContentError(problems)
    return result


def component_folders(folder: str, base: str = "", problems: list[Problem] | None = None) -> list[tuple[str, str]]:
    """Return (component, path) of each component folder, sorted. A folder of alerts that does not exist has none."""
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        mistake = ""
        if name.startswith((".", "_")) or name == "README.md":
            continue
        if not os.path.isdir(path):
            stem = name.rsplit(".", 1)[0]
            mistake = f"rules lie in a folder for each component: move it to {stem}/{RULES}"
        elif not COMPONENT_NAME.match(name):
            mistake = "a component's folder is named in lower case letters, digits and _"
        elif not os.path.isfile(os.path.join(path, RULES)):
            others = sorted(entry for entry in os.listdir(path) if entry.endswith((".yml", ".yaml")) and entry != TESTS)
            mistake = f"no {RULES} in this folder" + (f"; rename {others[0]}" if others else "")
        else:
            found.append((name, path))
        if mistake and problems is not None:
            problems.append(Problem(_shown(path, base), 0, mistake))
    return found


def alert_names(folder: str) -> set[str]:
    """Return the names of a component folder's alerts without reading its YAML: it may hold what is yet to be checked."""
    with open(os.path.join(folder, RULES), encoding="utf-8") as handle:
        return set(re.findall(r"^\s*(?:- +)?alert:\s*[\"']?(\w+)", handle.read(), re.MULTILINE))


def _shown(path: str, base: str) -> str:
    relative = os.path.relpath(path, base or os.getcwd())
    return path if relative.startswith("..") else relative


def _read(document: Document, component: str, shipped: bool, versions: t.Mapping[str, str]) -> list:
    """Return the groups of a rule file: structure and types are right, and what another product version needs is left out."""
    found: list[tuple[dict[str, t.Any], list[Rule], str]] = []
    data = document.data
    if data is None:
        if not document.problems:
            document.problem('the file is empty; it must begin with "groups:"')
        return found
    if not isinstance(data, dict) or not isinstance(data.get("groups"), list):
        document.problem('the file must hold "groups:" with a list of groups')
        return found
    _check_keys(document, data, {"groups"}, "the file")
    requires = _requirements(document)
    names: dict[str, int] = {}
    for index, group in enumerate(data["groups"]):
        path = ("groups", index)
        if not isinstance(group, dict) or not isinstance(group.get("name"), str) or not isinstance(group.get("rules"), list):
            document.problem('a group needs "name" and a list "rules"', *path)
            continue
        name = group["name"]
        if name in names:
            document.problem(f'group "{name}" is already on line {names[name]}', *path)
        names[name] = document.line(*path)
        _check_keys(document, group, GROUP_KEYS, f'group "{name}"', *path)
        _check_values(document, group, f'group "{name}"', path)
        wanted = _satisfied(document, requires.pop(document.line(*path), []), versions)
        rules = []
        for position, body in enumerate(group["rules"]):
            place = (*path, "rules", position)
            needed = _satisfied(document, requires.pop(document.line(*place), []), versions)
            if _check_rule(document, body, place) and wanted and needed:
                rules.append(Rule(component, name, body, document.shown, document.line(*place), shipped))
        if rules:
            found.append(({key: value for key, value in group.items() if key != "rules"}, rules, document.shown))
    for entries in requires.values():
        for line, _ in entries:
            document.problems.append(Problem(document.shown, line, f"this line belongs to no rule; write {REQUIRES_FORM}"))
    return found


def _requirements(document: Document) -> dict[int, list[tuple[int, tuple[str, str, str]]]]:
    """Return line of a rule or group -> its `# requires:` lines (line, (product, operator, version))."""
    found: dict[int, list] = {}
    waiting: list = []
    for number, row in enumerate(document.source.splitlines(), 1):
        if REQUIRES_LIKE.match(row):
            match = REQUIRES.match(row)
            if match:
                waiting.append((number, match.groups()))
            else:
                document.problems.append(Problem(document.shown, number, f'"{row.strip()}" cannot be read; write {REQUIRES_FORM}'))
        elif waiting and not row.lstrip().startswith("#"):
            found[number] = waiting
            waiting = []
    if waiting:
        found[0] = waiting
    return found


def _satisfied(document: Document, entries: list, versions: t.Mapping[str, str]) -> bool:
    satisfied = True
    for line, (product, sign, version) in entries:
        if product not in versions:
            names = nearest(product, versions)
            document.problems.append(Problem(document.shown, line, f'no version of "{product}" is known ({product}_version).{names}'))
            return False
        satisfied = satisfied and OPERATORS[sign](_numbers(versions[product]), _numbers(version))
    return satisfied


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version for comparison: '3.8.0+ds' -> (3, 8); trailing zeros do not count."""
    numbers = [int(part) for part in re.match(r"[\d.]*", str(version))[0].split(".") if part]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _check_keys(document: Document, data: dict, valid: t.Collection[str], what: str, *path: t.Any) -> None:
    for key in data:
        if key not in valid:
            document.problem(f'{what} has the unknown key "{key}".{nearest(key, valid)}', *path, key)


def _check_values(document: Document, data: dict, what: str, path: tuple) -> None:
    """Durations are durations, labels and annotations are mappings of texts."""
    for key, value in data.items():
        if key in DURATION_KEYS and not is_duration(value) and not isinstance(value, Broken):
            document.problem(f"{what}: {key} is {value!r}; expected a duration such as 5m or 1h30m", *path, key)
        if key in ("labels", "annotations"):
            if not isinstance(value, dict):
                document.problem(f"{what}: {key} must be a mapping of name to text", *path, key)
                data[key] = {}
                continue
            for name, text in value.items():
                if isinstance(text, bool) or not isinstance(text, (str, int, float)):
                    document.problem(f'{what}: {key}.{name} must be a text; put quotes around "{show(text)}"', *path, key, name)
                value[name] = show(text)


def _check_rule(document: Document, body: t.Any, path: tuple) -> bool:
    if not isinstance(body, dict) or ("alert" in body) == ("record" in body):
        document.problem('a rule needs either "alert" or "record"' + (nearest_kind(body) if isinstance(body, dict) else ""), *path)
        return False
    kind = "alert" if "alert" in body else "record"
    what = f"{kind} {body[kind]}"
    _check_keys(document, body, ALERT_KEYS if kind == "alert" else RECORD_KEYS, what, *path)
    _check_values(document, body, what, path)
    if isinstance(body.get("expr"), Broken):
        pass
    elif not isinstance(body.get("expr"), (str, int, float)) or not str(body["expr"]).strip():
        document.problem(f'{what} has no "expr"', *path)
    else:
        body["expr"] = "\n".join(row.rstrip() for row in str(body["expr"]).strip().splitlines())
    return True


def nearest_kind(body: dict) -> str:
    """Return a hint when a key looks like a mistyped `alert` or `record`."""
    for key in body:
        hint = nearest(key, ("alert", "record"))
        if "Did you mean" in hint:
            return f'; it has "{key}".{hint}'
    return ""


# -- the contract


def _check_contract(document: Document, groups: list, folder: str, values: Values, teams: t.Collection[str] | None) -> None:
    runbook_base = str(values.context.get("runbook_base_url", ""))
    for _, rules, _ in groups:
        for rule in rules:
            if not rule.is_alert:
                continue
            for message in contract_mistakes(rule, teams):
                document.problems.append(Problem(rule.path, rule.line, f"alert {rule.name}: {message}"))
            url = rule.annotations.get("runbook_url", "")
            page = os.path.join(folder, RUNBOOKS, f"{rule.name}.md")
            if url.startswith(runbook_base) and not os.path.isfile(page):
                shown = _shown(page, os.path.dirname(os.path.dirname(folder)))
                message = f"alert {rule.name}: its runbook is missing; write {shown}, or let runbook_url point elsewhere"
                document.problems.append(Problem(rule.path, rule.line, message))


def contract_mistakes(rule: Rule, teams: t.Collection[str] | None = None) -> list[str]:
    """Return what an alert lacks for the routes, mails and runbooks to work."""
    found = []
    labels, annotations = rule.labels, rule.annotations
    if not ALERT_NAME.match(rule.name):
        found.append("a name is CamelCase: letters and digits, the component first")
    for kind, names, given in (("label", LABELS, labels), ("annotation", ANNOTATIONS, annotations)):
        missing = [name for name in names if not str(given.get(name, "")).strip()]
        if missing:
            found.append(f"{kind} {', '.join(missing)} missing")
    for name, valid in (
        ("severity", SEVERITIES),
        ("alert_type", ALERT_TYPES),
        ("component", (rule.component,)),
        ("incident", (rule.name,)),
    ):
        if labels.get(name) and labels[name] not in valid:
            found.append(f'label {name} is "{labels[name]}"; expected {" or ".join(valid)}')
    if teams is not None and labels.get("team") and "{{" not in labels["team"] and labels["team"] not in teams:
        found.append(f'team "{labels["team"]}" is not in observatory_teams.{nearest(labels["team"], teams)}')
    for name, text in labels.items():
        if VALUE_TEMPLATE.search(text):
            found.append(f"label {name} holds the value: each evaluation would be a new alert; put it into an annotation")
    summary = annotations.get("summary", "")
    length = len(TEMPLATE.sub("x" * TEMPLATE_LENGTH, summary))
    if length > SUMMARY_LENGTH:
        found.append(f"summary has {length} characters, {SUMMARY_LENGTH} are the most (each {{{{ }}}} counts {TEMPLATE_LENGTH})")
    if summary and summary.strip().rstrip(".") in annotations.get("description", ""):
        found.append("description repeats the summary; give the value and why it matters")
    return found


def _without(groups: list, names: set[str]) -> list:
    kept = []
    for group, rules, path in groups:
        rest = [rule for rule in rules if not (rule.shipped and rule.is_alert and rule.name in names)]
        if rest:
            kept.append((group, rest, path))
    return kept


def _duplicates(rules: RuleSet) -> list[Problem]:
    found, first = [], {}
    for rule in rules.alerts:
        key = (rule.name, rule.labels.get("severity"))
        if key in first:
            where = f"{first[key].path}:{first[key].line}"
            hint = ". Switch the shipped one off by observatory_alerts_disabled, or rename yours" if not rule.shipped else ""
            found.append(Problem(rule.path, rule.line, f"alert {rule.name} with severity {key[1]} exists already, {where}{hint}"))
        first.setdefault(key, rule)
    for component, groups in rules.groups.items():
        names: dict[str, str] = {}
        for group, entries, path in groups:
            if group["name"] in names and names[group["name"]] != path:
                message = f'group "{group["name"]}" of component {component} exists already in {names[group["name"]]}; rename yours'
                found.append(Problem(path, entries[0].line, message))
            names.setdefault(group["name"], path)
    return found


def drop_dead_links(rules: RuleSet, dashboards: t.Collection[str]) -> None:
    """Take the link off alerts whose dashboard is not there (yet): a message must not lead nowhere."""
    for rule in rules.alerts:
        found = DASHBOARD.search(rule.annotations.get("dashboard_url", ""))
        if rule.shipped and found and found[1] not in dashboards:
            del rule.annotations["dashboard_url"]
            rule.annotations.pop("dashboard_panel", None)


# -- writing


def file_text(groups: list) -> str:
    """Return a rule file: the same bytes for the same rules on any controller, so no YAML library has a say in it."""
    lines = ["# Made by Observatory from the files named below; changes here are put back.", "groups:"]
    for group, rules, path in groups:
        lines.append(f"  # {path}")
        head = [f"{key}: {_value(value)}" for key, value in group.items() if key != "labels"]
        lines += [f"  {'- ' if number == 0 else '  '}{row}" for number, row in enumerate(head)]
        lines += _mapping_lines("labels", group.get("labels"), "    ")
        lines.append("    rules:")
        for rule in rules:
            lines += _rule_lines(rule.body)
    return "\n".join(lines) + "\n"


def _rule_lines(body: dict[str, t.Any]) -> list[str]:
    kind = "alert" if "alert" in body else "record"
    lines = [f"      - {kind}: {_value(body[kind])}", "        expr: |-"]
    lines += [f"          {row}".rstrip() for row in body["expr"].splitlines()]
    lines += [f"        {key}: {_value(body[key])}" for key in ("for", "keep_firing_for") if key in body]
    for key in ("labels", "annotations"):
        lines += _mapping_lines(key, body.get(key), "        ")
    return lines


def _mapping_lines(key: str, mapping: dict[str, str] | None, indent: str) -> list[str]:
    return [f"{indent}{key}:", *(f"{indent}  {name}: {_value(text)}" for name, text in mapping.items())] if mapping else []


def _value(value: t.Any) -> str:
    # A JSON string is a YAML string too, and needs no rule about when to quote.
    return json.dumps(value, ensure_ascii=False)


# -- tests and runbooks


def promtool_tests(folder: str, values: Values, base: str = "") -> str:
    """Return a component's `tests.yml` as promtool reads it; raises ContentError."""
    path = os.path.join(folder, TESTS)
    document = Document(path, _shown(path, base), values)
    if document.problems:
        raise ContentError(document.problems)
    return json.dumps(document.data, ensure_ascii=False, indent=1) + "\n"


def runbooks(folders: t.Sequence[str], values: Values, base: str = "") -> dict[str, str]:
    """Return `<component>/<AlertName>` -> the page with its site values; raises ContentError with all mistakes."""
    return _of_pages(folders, base, lambda component, alert, text, shown: (f"{component}/{alert}", values.page(text, shown)))


def message_texts(folders: t.Sequence[str], values: Values, base: str = "") -> dict[str, dict[str, str]]:
    """Return alert -> its runbook's `verify` and `first_step`, for messages; empty where a page has none. Raises ContentError."""

    def read(component: str, alert: str, text: str, shown: str) -> tuple[str, dict[str, str]]:
        front = FRONT_MATTER.match(text)
        texts = dict(MESSAGE_TEXT.findall(front[1])) if front else {}
        return alert, {key: values.page(_unquoted(texts.get(key, "")), shown) for key in MESSAGE_TEXTS}

    return _of_pages(folders, base, read)


def _of_pages(folders: t.Sequence[str], base: str, read: t.Callable[[str, str, str, str], tuple[str, t.Any]]) -> dict[str, t.Any]:
    """Return what `read` makes of each page: (component, alert, text, path as it is shown) -> (key, value). Raises ContentError with all mistakes."""
    found: dict[str, t.Any] = {}
    problems: list[Problem] = []
    for folder in folders:
        for component, path in component_folders(folder):
            directory = os.path.join(path, RUNBOOKS)
            for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
                file = os.path.join(directory, name)
                with open(file, encoding="utf-8") as handle:
                    text = handle.read()
                try:
                    key, value = read(component, name.removesuffix(".md"), text, _shown(file, base))
                except ContentError as error:
                    problems.extend(error.problems)
                else:
                    found[key] = value
    if problems:
        raise ContentError(problems)
    return found


def _unquoted(text: str) -> str:
    """Return a YAML scalar of one line as text: these pages are many, and a YAML library would take its time."""
    text = text.strip()
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return json.loads(text)
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    return text
