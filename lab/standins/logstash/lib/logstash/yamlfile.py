"""Reads the YAML that logstash.yml, pipelines.yml and dictionaries are written in; what it does not know it refuses by line."""

import re

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", '"': '"', "/": "/", "e": "\x1b", " ": " "}
# A key: quoted, or plain without a colon before a blank and without what begins a comment.
_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?![-?:]\s)[^\s\[\]{},#&*!|>'"%@`](?:[^:#]|:(?=\S)|(?<=\S)#)*?)\s*:(?:\s+|$)""")


class YamlError(Exception):
    """A line that cannot be read."""


class _Line:
    __slots__ = ("indent", "number", "text")

    def __init__(self, number, indent, text):
        self.number, self.indent, self.text = number, indent, text


def load(text):
    """Return the document as Python values; raises YamlError naming the line."""
    reader = _Reader(text)
    if not reader.lines:
        return None
    value = reader.block(reader.lines[0].indent)
    if reader.at < len(reader.lines):
        raise reader.wrong(reader.lines[reader.at], "does not belong to what stands above it")
    return value


class _Reader:
    def __init__(self, text):
        self.raw = text.split("\n")
        self.at = 0
        self.lines = []
        for number, line in enumerate(self.raw, 1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#") or (stripped in ("---", "...") and not line[0].isspace()):
                continue
            indent = len(line) - len(line.lstrip(" "))
            if line[indent] == "\t":
                raise YamlError(f"line {number}: is indented with a tab")
            self.lines.append(_Line(number, indent, line[indent:].rstrip()))

    @staticmethod
    def wrong(line, words):
        return YamlError(f"line {line.number}: '{line.text}' {words}")

    def block(self, indent):
        line = self.lines[self.at]
        if line.text == "-" or line.text.startswith("- "):
            return self._sequence(indent)
        if _KEY.match(line.text):
            return self._mapping(indent)
        self.at += 1
        return self._scalar(line, line.text, indent - 1)

    def _sequence(self, indent):
        values = []
        while self.at < len(self.lines) and self.lines[self.at].indent == indent:
            line = self.lines[self.at]
            if line.text != "-" and not line.text.startswith("- "):
                break
            rest = line.text[1:].lstrip()
            if not rest or rest.startswith("#"):
                self.at += 1
                values.append(self._nested(indent, None))
            elif _KEY.match(rest) or rest.startswith("- "):
                # A mapping or list that begins on the dash's own line: seen as a line of its own, further in.
                self.lines[self.at] = _Line(line.number, indent + len(line.text) - len(rest), rest)
                values.append(self.block(self.lines[self.at].indent))
            else:
                self.at += 1
                values.append(self._scalar(line, rest, indent))
        return values

    def _mapping(self, indent):
        values = {}
        while self.at < len(self.lines) and self.lines[self.at].indent == indent:
            line = self.lines[self.at]
            found = _KEY.match(line.text)
            if not found:
                raise self.wrong(line, "is no 'key: value'")
            key = self._flow(line, found[1])[0] if found[1][0] in "\"'" else _plain(found[1])
            if key in values:
                raise self.wrong(line, f"gives '{key}' a second time")
            self.at += 1
            rest = line.text[found.end():]
            if not rest or rest.startswith("#"):
                values[key] = self._nested(indent, line)
            else:
                values[key] = self._scalar(line, rest, indent)
        if self.at < len(self.lines) and self.lines[self.at].indent > indent:
            raise self.wrong(self.lines[self.at], "is indented further than what stands above it")
        return values

    def _nested(self, indent, key_line):
        if self.at >= len(self.lines):
            return None
        line = self.lines[self.at]
        in_step = key_line is not None and line.indent == indent and (line.text == "-" or line.text.startswith("- "))
        return self.block(line.indent) if line.indent > indent or in_step else None

    def _scalar(self, line, text, indent):
        if text[0] in "&*!%@`":
            raise self.wrong(line, "has anchors, tags or other signs that are not read here")
        if text[0] in "|>":
            return self._literal(line, text, indent)
        if text[0] in "\"'[{":
            # What is not closed on its line goes on on the next.
            while True:
                try:
                    value, rest = self._flow(line, text)
                    break
                except _Open:
                    if self.at >= len(self.lines):
                        raise self.wrong(line, "is not closed") from None
                    text += " " + self.lines[self.at].text
                    self.at += 1
            if rest.strip() and not rest.lstrip().startswith("#"):
                raise self.wrong(line, f"has '{rest.strip()}' after its end")
            return value
        text = _uncommented(text)
        while self.at < len(self.lines) and self.lines[self.at].indent > indent:
            text += " " + _uncommented(self.lines[self.at].text)
            self.at += 1
        return _plain(text)

    def _literal(self, line, text, indent):
        style, chomp = text[0], text[1:].strip()
        if chomp not in ("", "-", "+"):
            raise self.wrong(line, "has an indentation indicator that is not read here")
        found, base = [], None
        number = line.number
        while number < len(self.raw):
            raw = self.raw[number]
            depth = len(raw) - len(raw.lstrip(" "))
            if raw.strip() and depth <= indent:
                break
            base = depth if base is None and raw.strip() else base
            found.append(raw[base or 0:] if raw.strip() else "")
            number += 1
        while self.at < len(self.lines) and self.lines[self.at].number <= number:
            self.at += 1
        while found and not found[-1]:
            found.pop()
        body = "\n".join(found) if style == "|" else re.sub(r"(?<!\n)\n(?!\n)", " ", "\n".join(found))
        return body if chomp == "-" else body + "\n"

    def _flow(self, line, text):
        """Return the value at the text's beginning, and what follows it."""
        if text[0] == '"':
            return self._double(line, text)
        if text[0] == "'":
            found = re.match(r"'((?:[^']|'')*)'", text)
            if not found:
                raise _Open
            return found[1].replace("''", "'"), text[found.end():]
        if text[0] in "[{":
            return self._collection(line, text)
        found = re.match(r"(?:[^,\[\]{}:#]|:(?=\S)|(?<=\S)#)+", text)
        if not found:
            raise self.wrong(line, "has an empty entry")
        return _plain(found[0].strip()), text[found.end():]

    def _double(self, line, text):
        value, at = [], 1
        while at < len(text):
            if text[at] == '"':
                return "".join(value), text[at + 1:]
            if text[at] != "\\":
                value.append(text[at])
                at += 1
                continue
            sign = text[at + 1:at + 2]
            if sign in ("x", "u"):
                size = 2 if sign == "x" else 4
                value.append(chr(int(text[at + 2:at + 2 + size], 16)))
                at += 2 + size
            elif sign in _ESCAPES and sign:
                value.append(_ESCAPES[sign])
                at += 2
            else:
                raise self.wrong(line, f"has an unknown escape '\\{sign}'")
        raise _Open

    def _collection(self, line, text):
        opening, closing = text[0], "]" if text[0] == "[" else "}"
        values = [] if opening == "[" else {}
        rest = text[1:].lstrip()
        while True:
            if not rest:
                raise _Open
            if rest[0] == closing:
                return values, rest[1:]
            value, rest = self._flow(line, rest)
            rest = rest.lstrip()
            if opening == "[":
                values.append(value)
            else:
                if not rest.startswith(":"):
                    raise _Open if not rest else self.wrong(line, "has an entry without a value")
                rest = rest[1:].lstrip()
                if not rest:
                    raise _Open
                values[value], rest = self._flow(line, rest)
                rest = rest.lstrip()
            if rest.startswith(","):
                rest = rest[1:].lstrip()
            elif rest and rest[0] != closing:
                raise self.wrong(line, "lacks a comma between entries")


class _Open(Exception):
    """Ends on a later line."""


def _uncommented(text):
    found = re.search(r"\s#", text)
    return (text[:found.start()] if found else text).rstrip()


def _plain(text):
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in _BOOLEANS and text in (text.lower(), text.capitalize(), text.upper()):
        return _BOOLEANS[text.lower()]
    if re.fullmatch(r"[-+]?(0|[1-9][0-9_]*)", text):
        return int(text)
    if re.fullmatch(r"[-+]?([0-9][0-9_]*)?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+", text):
        return float(text)
    return text
