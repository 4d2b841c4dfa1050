"""Just enough of PromQL for questions about its text: its words in order, and the selectors in it. Prometheus itself judges the rest."""

from __future__ import annotations

import re
import typing as t

TOKEN = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
  | (?P<range>\[[^\]]*\])
  | (?P<number>0x[0-9a-fA-F]+|(?:\d+(?:ms|[ywdhms]))+|\d*\.?\d+(?:[eE][+-]?\d+)?)
  | (?P<name>[a-zA-Z_:][\w:]*)
  | (?P<comparison>==|!=|>=|<=|>(?!=)|<(?!=))
  | (?P<mark>=~|!~|.)
    """,
    re.VERBOSE | re.DOTALL,
)
AGGREGATIONS = frozenset(
    ("sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile", "limitk", "limit_ratio")
)
# These have labels in brackets after them, not an expression.
LABEL_LISTS = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
WORDS = frozenset(("and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", *LABEL_LISTS, *AGGREGATIONS))


class Token(t.NamedTuple):
    """A word of an expression, and where it begins. In a selector's braces `!=` is of kind "matcher", everywhere else "comparison"."""

    kind: str
    text: str
    start: int


class Matcher(t.NamedTuple):
    """One condition on a label."""

    label: str
    sign: str
    value: str


class Selector(t.NamedTuple):
    """A metric's name (empty when there is none) and the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...]


def tokens(expression: str) -> list[Token]:
    """Return the words of an expression, without spaces and comments."""
    found: list[Token] = []
    braces = False
    for match in TOKEN.finditer(expression):
        kind, text = str(match.lastgroup), match[0]
        if kind == "space":
            continue
        if text in "{}":
            braces = text == "{"
        if braces and text in ("!=", "=", "=~", "!~"):
            kind = "matcher"
        found.append(Token(kind, text, match.start()))
    return found


def selectors(expression: str) -> list[Selector]:
    """Return the selectors of an expression in their order."""
    words = [*tokens(expression), Token("end", "", len(expression))]
    found: list[Selector] = []
    place = 0
    while words[place].kind != "end":
        word, following = words[place], words[place + 1]
        named = word.kind == "name" and word.text.lower() not in WORDS and following.text != "("
        if word.text.lower() in LABEL_LISTS and following.text == "(":
            place = _closed(words, place, ")")
        elif word.text == "{" or (named and following.text == "{"):
            end = _closed(words, place, "}")
            found.append(_selector(word.text if named else "", words[place:end]))
            place = end
        else:
            if named:
                found.append(Selector(word.text, ()))
            place += 1
    return found


def _closed(words: list[Token], place: int, bracket: str) -> int:
    """Return the place behind the next closing bracket."""
    while words[place].kind != "end" and words[place].text != bracket:
        place += 1
    return min(place + 1, len(words) - 1)


def _selector(metric: str, inside: list[Token]) -> Selector:
    """Read `{`, `label`, `=`, `"value"`, `,` … `}`."""
    found = []
    for label, sign, value in zip(inside, inside[1:], inside[2:], strict=False):
        if sign.kind == "matcher" and value.kind == "text":
            found.append(Matcher(label.text.strip("\"'`"), sign.text, _unquoted(value.text)))
    named = next((value for label, sign, value in found if (label, sign) == ("__name__", "=")), "")
    return Selector(metric or named, tuple(matcher for matcher in found if not (named and matcher[:2] == ("__name__", "="))))


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    return inner if text[0] == "`" else re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), inner)


# -- regular expressions in matchers


def alternatives(pattern: str) -> list[str]:
    """Return the alternatives of a regular expression, groups multiplied out: `(a|b)[.]c|d` -> `a[.]c`, `b[.]c`, `d`."""
    found, place = _alternation(pattern, 0)
    return found if place == len(pattern) else [pattern]


ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^()|]", re.DOTALL)
QUANTIFIER = re.compile(r"[*+?{]")


def _alternation(pattern: str, place: int) -> tuple[list[str], int]:
    found: list[str] = []
    heads = [""]
    while place < len(pattern) and pattern[place] != ")":
        if pattern[place] == "|":
            found += heads
            heads, place = [""], place + 1
        elif pattern[place] == "(":
            opening = re.compile(r"\((?:\?:)?").match(pattern, place)[0]
            inner, end = _alternation(pattern, place + len(opening))
            end += 1
            if QUANTIFIER.match(pattern, end):
                inner = [f"(?:{'|'.join(inner)})"]
            heads = [head + part for head in heads for part in inner]
            place = end
        else:
            atom = ATOM.match(pattern, place)[0]
            heads = [head + atom for head in heads]
            place += len(atom)
    return found + heads, place
