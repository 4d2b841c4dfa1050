"""Dashboards as they are shipped: the project's and a site's, with the site's values in them. No Ansible here.

An expression stands in a dashboard as `[[ thresholds.node.NodeCPUHighUsage.ratio ]]`, blanks included: Grafana has an old form of its own, `[[host]]`,
which is left alone. A text that is one expression becomes its value, a number where it is one.
"""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

from . import site_values

TARGET = "/etc/grafana/dashboards"
EXPRESSION = re.compile(r"\[\[ (.*?) \]\]", re.DOTALL)
WIDTH = 160
# Grafana 12 and later refuse any other.
UID = re.compile(r"[a-zA-Z0-9_-]{1,40}")


def files(folders: t.Sequence[str], values: site_values.Values, base: str = "") -> list[dict[str, str]]:
    """Return [{path, content}] of all dashboards `<folder>/<name>.json`, sorted; a later folder's replaces an earlier one of the same uid.

    Raises site_values.ContentError with all mistakes.
    """
    problems: list[site_values.Problem] = []
    found: dict[str, dict[str, str]] = {}
    for folder in folders:
        taken: dict[str, str] = {}
        for file in sorted(pathlib.Path(folder).rglob("*.json")):
            shown = _shown(file, base)
            place = file.relative_to(folder)
            if len(place.parts) != 2:
                problems.append(site_values.Problem(shown, 0, "a dashboard lies in a folder of its own name in Grafana: move it to <folder>/<name>.json"))
                continue
            dashboard = _read(file, shown, problems)
            if dashboard is None:
                continue
            uid = dashboard["uid"]
            if uid in taken:
                problems.append(site_values.Problem(shown, 0, f'uid "{uid}" is already that of {taken[uid]}'))
            taken[uid] = shown
            rendered = _render(dashboard, values, lambda message, shown=shown: problems.append(site_values.Problem(shown, 0, message)))
            # Grafana sets the id by itself and compares the rest.
            rendered.pop("id", None)
            found[uid] = {"path": f"{TARGET}/{place.as_posix()}", "content": to_json(rendered)}
    paths: dict[str, str] = {}
    for uid, entry in found.items():
        if entry["path"] in paths:
            problems.append(site_values.Problem(entry["path"], 0, f'two dashboards, "{paths[entry["path"]]}" and "{uid}", have this place: rename one file'))
        paths[entry["path"]] = uid
    if problems:
        raise site_values.ContentError(problems)
    return sorted(found.values(), key=lambda entry: entry["path"])


def to_json(dashboard: t.Mapping[str, t.Any]) -> str:
    """Return a dashboard as text in which whatever fits a line stands on one: a diff of it can be read."""
    return _lines(dashboard, "", 0) + "\n"


def _lines(node: t.Any, indent: str, taken: int) -> str:
    short = json.dumps(node, ensure_ascii=False)
    if len(indent) + taken + len(short) < WIDTH or not isinstance(node, (dict, list)) or not node:
        return short
    inner = indent + " "
    if isinstance(node, list):
        return "[\n" + ",\n".join(inner + _lines(value, inner, 0) for value in node) + f"\n{indent}]"
    parts = []
    for key, value in node.items():
        head = json.dumps(key, ensure_ascii=False) + ": "
        parts.append(inner + head + _lines(value, inner, len(head)))
    return "{\n" + ",\n".join(parts) + f"\n{indent}}}"


def _read(file: pathlib.Path, shown: str, problems: list[site_values.Problem]) -> dict[str, t.Any] | None:
    try:
        dashboard = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        problems.append(site_values.Problem(shown, error.lineno, f"this is not JSON: {error.msg}"))
        return None
    except UnicodeDecodeError:
        problems.append(site_values.Problem(shown, 0, "this is not UTF-8 text"))
        return None
    if not isinstance(dashboard, dict) or not isinstance(dashboard.get("panels"), list):
        problems.append(site_values.Problem(shown, 0, 'this is no dashboard: it has no list "panels". Export it with "Export for sharing externally" off'))
        return None
    if not isinstance(dashboard.get("title"), str) or not dashboard["title"]:
        problems.append(site_values.Problem(shown, 0, "the dashboard has no title"))
        return None
    if not isinstance(dashboard.get("uid"), str) or not UID.fullmatch(dashboard["uid"]):
        problems.append(site_values.Problem(shown, 0, "the dashboard needs a uid of at most 40 letters, digits, _ and -: links lead to it"))
        return None
    return dashboard


def _render(node: t.Any, values: site_values.Values, problem: t.Callable[[str], None]) -> t.Any:
    if isinstance(node, dict):
        return {key: _render(value, values, problem) for key, value in node.items()}
    if isinstance(node, list):
        return [_render(value, values, problem) for value in node]
    return _text(node, values, problem) if isinstance(node, str) else node


def _text(text: str, values: site_values.Values, problem: t.Callable[[str], None]) -> t.Any:
    def evaluate(match: re.Match) -> t.Any:
        try:
            return values.evaluate(match[1])
        except site_values.ExpressionError as error:
            problem(str(error))
            return ""

    whole = EXPRESSION.fullmatch(text)
    if whole:
        value = evaluate(whole)
        # 1 - 0.9 is 0.09999999999999998, which no legend should show.
        return float(site_values.show(value)) if isinstance(value, float) else value
    return EXPRESSION.sub(lambda match: site_values.show(evaluate(match)), text)


def _shown(file: pathlib.Path, base: str) -> str:
    try:
        return str(file.relative_to(base)) if base else str(file)
    except ValueError:
        return str(file)
