"""The part of YAML that kibana.yml needs: mappings and lists in blocks or on one line, plain and quoted scalars. All else is refused."""

from __future__ import annotations

import json
import re

INTEGER = re.compile(r"[-+]?\d+\Z")
DECIMAL = re.compile(r"[-+]?\d+\.\d+\Z")
QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""")
WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'\[\]{},#&*!|>%@`-][^:#]*?|-[^\s:][^:#]*?)\s*:(?:\s+|\Z)""")


class YamlError(ValueError):
    """What is wrong, with the number of the line."""


def load(text: str) -> object:
    """Return the document as data; an empty one is None."""
    lines = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = _without_comment(raw)
        if not line.strip() or (number == 1 and line.strip() == "---"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        if line[indent] == "\t":
            raise YamlError(f"line {number}: tabs cannot indent")
        lines.append((number, indent, line.strip()))
    if not lines:
        return None
    value, rest = _block(lines, lines[0][1])
    if rest:
        raise YamlError(f"line {rest[0][0]}: '{rest[0][2]}' is indented as nothing above it")
    return value


def _without_comment(line: str) -> str:
    place = 0
    while place < len(line):
        character = line[place]
        if character in "\"'" and (place == 0 or line[place - 1] in " [{,:"):
            quoted = QUOTED.match(line, place)
            place = quoted.end() if quoted else len(line)
            continue
        if character == "#" and (place == 0 or line[place - 1] in " \t"):
            return line[:place].rstrip()
        place += 1
    return line.rstrip()


def _block(lines: list, indent: int) -> tuple[object, list]:
    number, _indent, text = lines[0]
    if text == "-" or text.startswith("- "):
        return _list(lines, indent)
    if KEY.match(text):
        return _mapping(lines, indent)
    if len(lines) > 1 and lines[1][1] >= indent:
        raise YamlError(f"line {number}: expected 'key: value', found '{text}'")
    return scalar(text, number), lines[1:]


def _list(lines: list, indent: int) -> tuple[list, list]:
    result = []
    while lines and lines[0][1] == indent and (lines[0][2] == "-" or lines[0][2].startswith("- ")):
        number, _indent, text = lines[0]
        content = text[1:].strip()
        if not content:
            below = lines[1:]
            if not below or below[0][1] <= indent:
                result.append(None)
                lines = below
                continue
            value, lines = _block(below, below[0][1])
        elif KEY.match(content) and content[0] not in "[{":
            value, lines = _block([(number, indent + 2, content), *lines[1:]], indent + 2)
        else:
            value, lines = scalar(content, number), lines[1:]
        result.append(value)
    return result, lines


def _mapping(lines: list, indent: int) -> tuple[dict, list]:
    result: dict = {}
    while lines and lines[0][1] == indent:
        number, _indent, text = lines[0]
        match = KEY.match(text)
        if not match:
            raise YamlError(f"line {number}: expected 'key: value', found '{text}'")
        key, content = str(scalar(match[1], number, plain=True)), text[match.end():].strip()
        if key in result:
            raise YamlError(f"line {number}: duplicated mapping key '{key}'")
        lines = lines[1:]
        if content:
            result[key] = scalar(content, number)
            continue
        result[key] = None
        # A list may stand as far left as its key.
        if lines and (lines[0][1] > indent or (lines[0][1] == indent and (lines[0][2] == "-" or lines[0][2].startswith("- ")))):
            result[key], lines = _block(lines, lines[0][1])
    if lines and lines[0][1] > indent:
        raise YamlError(f"line {lines[0][0]}: '{lines[0][2]}' is indented as nothing above it")
    return result, lines


def scalar(text: str, number: int, plain: bool = False) -> object:
    """Return a value that stands on one line; with `plain` unquoted text stays text."""
    value, rest = _flow(text, number, plain, top=True)
    if rest.strip():
        raise YamlError(f"line {number}: '{rest.strip()}' after the end of a value")
    return value


def _flow(text: str, number: int, plain: bool = False, top: bool = False) -> tuple[object, str]:
    text = text.lstrip()
    if text.startswith("'"):
        match = re.match(r"'((?:[^']|'')*)'", text)
        if not match:
            raise YamlError(f"line {number}: a quote does not end on its line")
        return match[1].replace("''", "'"), text[match.end():]
    if text.startswith('"'):
        match = re.match(r'"(?:[^"\\]|\\.)*"', text)
        if not match:
            raise YamlError(f"line {number}: a quote does not end on its line")
        try:
            return json.loads(match[0]), text[match.end():]
        except ValueError as error:
            raise YamlError(f"line {number}: {match[0]} is not understood: {error}") from error
    if text.startswith("["):
        return _flow_list(text[1:], number)
    if text.startswith("{"):
        return _flow_mapping(text[1:], number)
    if text[:1] in tuple("&*!|>%@`"):
        raise YamlError(f"line {number}: the stand-in does not read '{text[0]}'")
    end = len(text) if top else min((text.find(mark) for mark in ",]}" if mark in text), default=len(text))
    word, rest = text[:end].strip(), text[end:]
    if top and ": " in word:
        raise YamlError(f"line {number}: '{word}' needs quotes, or a line break after its first colon")
    return (word if plain else _typed(word)), rest


def _typed(word: str) -> object:
    if word.lower() in WORDS:
        return WORDS[word.lower()]
    if INTEGER.match(word):
        return int(word)
    if DECIMAL.match(word):
        return float(word)
    return word


def _flow_list(text: str, number: int) -> tuple[list, str]:
    result: list = []
    text = text.lstrip()
    while not text.startswith("]"):
        if not text:
            raise YamlError(f"line {number}: a list does not end on its line")
        value, text = _flow(text, number)
        result.append(value)
        text = text.lstrip()
        if text.startswith(","):
            text = text[1:].lstrip()
        elif not text.startswith("]"):
            raise YamlError(f"line {number}: a list does not end on its line")
    return result, text[1:]


def _flow_mapping(text: str, number: int) -> tuple[dict, str]:
    result: dict = {}
    text = text.lstrip()
    while not text.startswith("}"):
        match = KEY.match(text) or re.match(r'("(?:[^"\\]|\\.)*")\s*:', text)
        if not match:
            raise YamlError(f"line {number}: a mapping does not end on its line")
        value, text = _flow(text[match.end():], number)
        result[str(scalar(match[1], number, plain=True))] = value
        text = text.lstrip()
        if text.startswith(","):
            text = text[1:].lstrip()
        elif not text.startswith("}"):
            raise YamlError(f"line {number}: a mapping does not end on its line")
    return result, text[1:]
