"""YAML as plain data with the line of each entry, its `[[ ]]` expressions rendered. No Ansible here."""

from __future__ import annotations

import re
import typing as t

import yaml

from .site_values import EXPRESSION, ExpressionError, Problem, Values

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without libyaml: the same result, slower
    from yaml import SafeLoader

STRING = "tag:yaml.org,2002:str"
# What is a number for PyYAML and a text for promtool stays as it is written: `values: 0x30` (30 zeros) would become 48.
JSON_SCALAR = re.compile(r"^(-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?|true|false|null|~|)$")
BARE_EXPRESSION = re.compile(r"^\s*(?:- +)?(?:[\w.]+:\s+|- +)?\[\[")
BARE_TEMPLATE = re.compile(r"^\s*(?:- +)?[\w.]+:\s+\{\{")


class Broken(str):
    """Stands for a value that could not be had; its problem is told, and nothing else is to be said about it."""


class Document:
    """A YAML file as plain data with its expressions rendered, and the line of each entry."""

    def __init__(self, path: str, shown: str, values: Values) -> None:
        self.shown = shown
        self.problems: list[Problem] = []
        self.lines: dict[tuple, int] = {}
        with open(path, encoding="utf-8") as handle:
            self.source = handle.read()
        self._rows = self.source.splitlines()
        self._values = values
        self.data = self._load()

    def line(self, *path: t.Any) -> int:
        """Return the line of an entry, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, message: str, *path: t.Any) -> None:
        self.problems.append(Problem(self.shown, self.line(*path), message))

    def _load(self) -> t.Any:
        loader = SafeLoader(self.source)
        try:
            node = loader.get_single_node()
            return None if node is None else self._data(loader, node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            row = mark.line if mark else 0
            hint = self._quote_hint(row)
            self.problems.append(Problem(self.shown, row + 1, f"not YAML: {hint or error.problem or error.context}"))
        except yaml.YAMLError as error:
            self.problems.append(Problem(self.shown, 1, f"not YAML: {' '.join(str(error).split())}"))
        finally:
            loader.dispose()
        return None

    def _quote_hint(self, row: int) -> str:
        """Say how to quote when the row that YAML stumbled over, or the one before it, begins a value with a bare [[ or {{."""
        for index in (row, row - 1):
            text = self._rows[index] if 0 <= index < len(self._rows) else ""
            if BARE_EXPRESSION.match(text):
                return f"[[ ]] at the begin of a value must stand in quotes: {_quoted(text)}"
            if BARE_TEMPLATE.match(text):
                return f"{{{{ }}}} at the begin of a value must stand in quotes: {_quoted(text)}"
        return ""

    def _data(self, loader: SafeLoader, node: yaml.Node, path: tuple) -> t.Any:
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            if node.flow_style and len(node.value) == 1 and isinstance(node.value[0], yaml.SequenceNode) and node.value[0].flow_style:
                row = self._rows[node.start_mark.line]
                self.problem(f"[[ ]] at the begin of a value must stand in quotes: {_quoted(row)}", *path)
                return Broken()
            return [self._data(loader, entry, (*path, index)) for index, entry in enumerate(node.value)]
        return self._scalar(loader, node)

    def _mapping(self, loader: SafeLoader, node: yaml.MappingNode, path: tuple) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(
                    Problem(self.shown, key.start_mark.line + 1, self._quote_hint(key.start_mark.line) or "a key must be a plain word")
                )
                return {}
            if key.value in seen and key.value != "<<":
                self.problems.append(Problem(self.shown, key.start_mark.line + 1, f'"{key.value}" is given twice'))
            seen.add(key.value)
        loader.flatten_mapping(node)
        result = {}
        for key, value in node.value:
            place = (*path, key.value)
            result[key.value] = self._data(loader, value, place)
            self.lines[place] = key.start_mark.line + 1
        return result

    def _scalar(self, loader: SafeLoader, node: yaml.ScalarNode) -> t.Any:
        if "[[" not in node.value:
            plain = node.tag == STRING or JSON_SCALAR.match(node.value)
            return loader.construct_object(node) if plain else node.value
        whole = EXPRESSION.match(node.value)
        if whole and whole.end() == len(node.value):
            # A lone expression keeps its type, so that `limit: "[[ … ]]"` is a number.
            try:
                return self._values.evaluate(whole[1])
            except ExpressionError as error:
                self.problems.append(Problem(self.shown, self._row_of(node, whole[0]), str(error)))
                return Broken()
        return self._values.text(
            node.value,
            lambda at, message: self.problems.append(Problem(self.shown, self._row_of(node, EXPRESSION.match(node.value, at)[0]), message)),
        )

    def _row_of(self, node: yaml.Node, text: str) -> int:
        """Return the line on which an expression of a scalar stands; folding has moved it, so it is searched in the source."""
        first = text.split("\n", 1)[0].strip()
        for row in range(node.start_mark.line, min(node.end_mark.line + 1, len(self._rows))):
            if first in self._rows[row]:
                return row + 1
        return node.start_mark.line + 1


def _quoted(row: str) -> str:
    """Return a row with its value in quotes: `for: [[ x ]]` -> `for: "[[ x ]]"`."""
    match = re.match(r"^\s*((?:- +)?(?:[\w.]+: +|- +)?)(.*)$", row)
    return f'{match[1]}"{match[2].rstrip()}"'.lstrip()
