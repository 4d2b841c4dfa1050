"""Parses Logstash's configuration language into a tree, as its grammar (lscl_grammar.treetop) has it."""

import json
import re
from dataclasses import dataclass, field

from .errors import ConfigurationError

SECTIONS = ("input", "filter", "output")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {'"': '"', "'": "'", "\\": "\\", "n": "\n", "r": "\r", "t": "\t", "0": "\0"}


@dataclass(frozen=True)
class Plugin:
    """A plugin with its settings, in the order of the file."""

    name: str
    attributes: tuple[tuple[str, object], ...]
    line: int = field(compare=False)
    column: int = field(compare=False)


@dataclass(frozen=True)
class Branch:
    """if, else if, else: (condition or None, body) in order."""

    arms: tuple[tuple[object, tuple], ...]


@dataclass(frozen=True)
class Field:
    """A reference to a field, as in the file."""

    name: str


@dataclass(frozen=True)
class Regexp:
    """A Ruby regular expression."""

    source: str


@dataclass(frozen=True)
class Call:
    """A comparison, a combination or a negation of conditions."""

    operator: str
    operands: tuple


class _Fail(Exception):
    """This alternative does not fit here."""


def parse(text, escapes=False, file=None):
    """Return section -> list of plugins and branches; raises ConfigurationError naming place and what was expected."""
    return _Parser(text, escapes, file).config()


class _Parser:
    def __init__(self, text, escapes, file):
        self.text, self.escapes, self.file = text, escapes, file
        self.at = 0
        self.furthest, self.expected = 0, []

    # What is read sign by sign

    def literal(self, wanted):
        if not self.text.startswith(wanted, self.at):
            self.missing(json.dumps(wanted))
        self.at += len(wanted)
        return wanted

    def pattern(self, pattern, shown):
        found = pattern.match(self.text, self.at)
        if not found:
            self.missing(shown)
        self.at = found.end()
        return found[0]

    def missing(self, shown):
        if self.at > self.furthest:
            self.furthest, self.expected = self.at, []
        if self.at == self.furthest and shown not in self.expected:
            self.expected.append(shown)
        raise _Fail

    def attempt(self, rule):
        """Return what a rule reads, or None with nothing read."""
        before = self.at
        try:
            return rule()
        except _Fail:
            self.at = before
            return None

    def first(self, *rules):
        for rule in rules:
            before = self.at
            try:
                return rule()
            except _Fail:
                self.at = before
        raise _Fail

    def many(self, rule):
        found = []
        while (value := self.attempt(rule)) is not None:
            found.append(value)
        return found

    # The rules

    def config(self):
        sections = {name: [] for name in SECTIONS}
        for name, body in self.many(self.section):
            sections[name].extend(body)
        self.blank()
        if self.at < len(self.text):
            raise self.refusal()
        return sections

    def refusal(self):
        shown = self.expected if len(self.expected) > 1 else None
        words = f"Expected one of {', '.join(self.expected)}" if shown else f"Expected {self.expected[0]}"
        line, column = self.place(self.furthest)
        byte = len(self.text[:self.furthest].encode()) + 1
        after = self.text[self.at:self.furthest]
        where = f" in file {self.file}" if self.file else ""
        return ConfigurationError(f"{words} at line {line}, column {column} (byte {byte}){where} after {after}")

    def place(self, at):
        return self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)

    def section(self):
        self.blank()
        name = self.first(*(lambda name=name: self.literal(name) for name in SECTIONS))
        self.blank()
        return name, self.body()

    def body(self):
        self.literal("{")
        self.blank()
        found = self.many(self.branch_or_plugin_then_blank)
        self.literal("}")
        return tuple(found)

    def branch_or_plugin_then_blank(self):
        found = self.first(self.branch, self.plugin)
        self.blank()
        return found

    def whitespace(self):
        return self.pattern(_WHITESPACE, r"[ \t\r\n]")

    def comment(self):
        before = self.at
        self.attempt(self.whitespace)
        self.literal("#")
        self.at = _COMMENT.match(self.text, self.at).end()
        return self.text[before:self.at]

    def blank(self):
        while self.attempt(lambda: self.first(self.comment, self.whitespace)):
            pass

    def plugin(self):
        line, column = self.place(self.at)
        name = self.name()
        self.blank()
        self.literal("{")
        self.blank()
        attributes = []
        if (one := self.attempt(self.attribute)) is not None:
            attributes.append(one)
            attributes += self.many(self.further_attribute)
        self.blank()
        self.literal("}")
        return Plugin(name, tuple(attributes), line, column)

    def further_attribute(self):
        self.whitespace()
        self.blank()
        return self.attribute()

    def name(self):
        return self.first(lambda: self.pattern(_NAME, "[A-Za-z0-9_-]"), lambda: self.string(raw=True))

    def attribute(self):
        name = self.name()
        self.arrow()
        return name, self.value()

    def arrow(self):
        self.blank()
        self.literal("=>")
        self.blank()

    def value(self):
        return self.first(self.plugin, self.bareword, self.string, self.number, self.array, self.hash)

    def bareword(self):
        self.pattern(_LETTER, "[A-Za-z_]")
        start = self.at - 1
        self.pattern(_LETTERS, "[A-Za-z0-9_]")
        return self.text[start:self.at]

    def string(self, raw=False):
        quote = '"' if self.text.startswith('"', self.at) else "'"
        if quote == "'" and not self.text.startswith("'", self.at):
            self.attempt(lambda: self.literal('"'))
            self.literal("'")
        found = (_DOUBLE if quote == '"' else _SINGLE).match(self.text, self.at)
        if not found:
            self.at = len(self.text)
            self.missing(json.dumps(quote))
        self.at = found.end()
        body = found[0][1:-1]
        return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), body) if self.escapes and not raw else body

    def number(self):
        text = self.pattern(_NUMBER, "[0-9]")
        return float(text) if "." in text else int(text)

    def array(self):
        return self._array(self.value)

    def _array(self, element):
        self.literal("[")
        self.blank()
        values = []
        if (one := self.attempt(element)) is not None:
            values.append(one)
            values += self.many(lambda: self.after_comma(element))
        self.blank()
        self.literal("]")
        return values

    def after_comma(self, element):
        self.blank()
        self.literal(",")
        self.blank()
        return element()

    def hash(self):
        start = self.at
        self.literal("{")
        self.blank()
        entries = []
        if (one := self.attempt(self.hash_entry)) is not None:
            entries.append(one)
            entries += self.many(self.further_hash_entry)
        self.blank()
        self.literal("}")
        keys = [str(key) for key, _value in entries]
        twice = sorted({key for key in keys if keys.count(key) > 1}, key=keys.index)
        if twice:
            line, column = self.place(start)
            where = f" in file {self.file}" if self.file else ""
            raise ConfigurationError(
                f"Duplicate keys found in your configuration: [{', '.join(twice)}]\nAt line: {line}, column {column} (byte {start + 1}){where}\n"
                f"after {self.text[:start + 1]}"
            )
        return dict(entries)

    def further_hash_entry(self):
        self.blank()
        return self.hash_entry()

    def hash_entry(self):
        key = self.first(self.number, self.bareword, self.string)
        self.arrow()
        return str(key), self.value()

    # Conditions

    def branch(self):
        arms = [self.arm("if")]
        arms += self.many(lambda: self.after_blank(lambda: self.arm("else", "if")))
        if (last := self.attempt(lambda: self.after_blank(self.otherwise))) is not None:
            arms.append(last)
        return Branch(tuple(arms))

    def after_blank(self, rule):
        self.blank()
        return rule()

    def arm(self, *words):
        for word in words:
            self.literal(word)
            self.blank()
        condition = self.condition()
        self.blank()
        return condition, self.body()

    def otherwise(self):
        self.literal("else")
        self.blank()
        return None, self.body()

    def condition(self):
        terms = [self.expression()]
        operators = []
        for operator, term in self.many(self.further_term):
            operators.append(operator)
            terms.append(term)
        return join(terms, operators)

    def further_term(self):
        self.blank()
        operator = self.first(*(lambda word=word: self.literal(word) for word in ("and", "or", "xor", "nand")))
        self.blank()
        return operator, self.expression()

    def expression(self):
        return self.first(self.parentheses, self.negation, self.membership, self.absence, self.comparison, self.matching, self.single)

    def parentheses(self):
        self.literal("(")
        self.blank()
        condition = self.condition()
        self.blank()
        self.literal(")")
        return condition

    def negation(self):
        self.literal("!")
        self.blank()
        return Call("!", (self.first(self.parentheses, self.selector),))

    def membership(self):
        return self._binary(lambda: self.literal("in"), self.rvalue)

    def absence(self):
        call = self._binary(self.not_in, self.rvalue)
        return Call("!", (Call("in", call.operands),))

    def not_in(self):
        self.literal("not ")
        self.blank()
        self.literal("in")
        return "not in"

    def comparison(self):
        call = self._binary(lambda: self.first(*(lambda sign=sign: self.literal(sign) for sign in ("==", "!=", "<=", ">=", "<", ">"))), self.rvalue)
        if any(isinstance(operand, (list, Regexp)) for operand in call.operands):
            raise ConfigurationError(f"`{call.operator}` compares fields, strings and numbers only{self._here()}")
        return call

    def matching(self):
        call = self._binary(lambda: self.first(lambda: self.literal("=~"), lambda: self.literal("!~")), lambda: self.first(self.string, self.regexp))
        if not isinstance(call.operands[0], Field):
            raise ConfigurationError(f"Expected a selector in {call.operator}!{self._here()}")
        return call

    def single(self):
        value = self.rvalue()
        if not isinstance(value, Field):
            raise ConfigurationError(f"Exprs should only have one part!{self._here()}")
        return value

    def _here(self):
        line, _column = self.place(self.at)
        return f" (line {line}{f' of {self.file}' if self.file else ''})"

    def _binary(self, operator, right):
        left = self.rvalue()
        self.blank()
        sign = operator()
        self.blank()
        return Call(sign, (left, right()))

    def rvalue(self):
        return self.first(self.string, self.number, self.selector, lambda: self._array(self.rvalue), self.method_call, self.regexp)

    def method_call(self):
        name = self.bareword()
        self.blank()
        self.literal("(")
        raise ConfigurationError(f"`{name}(…)`: method calls are not implemented{self._here()}")

    def regexp(self):
        self.literal("/")
        found = _REGEXP.match(self.text, self.at - 1)
        if not found:
            self.at = len(self.text)
            self.missing('"/"')
        self.at = found.end()
        return Regexp(found[0][1:-1])

    def selector(self):
        elements = self.many(lambda: self.pattern(_SELECTOR, '"["'))
        if not elements:
            raise _Fail
        return Field("".join(elements))


def join(terms, operators):
    """Return terms joined by and, or, xor, nand, by the product's own way of precedence.

    It takes at most one operator off its stack at a time, so `a and b and c or d` becomes `a and ((b and c) or d)`, and knows
    a precedence for `and` and `or` only.
    """
    rank = {"and": 2, "or": 1}
    output, waiting = [terms[0]], []
    for operator, term in zip(operators, terms[1:], strict=True):
        if waiting:
            for known in (waiting[-1], operator):
                if known not in rank:
                    raise ConfigurationError(f"Unexpected operator {known}: put parentheses around it")
            if rank[waiting[-1]] > rank[operator]:
                output.append(waiting.pop())
        waiting.append(operator)
        output.append(term)
    stack = []
    for item in output + waiting[::-1]:
        if isinstance(item, str):
            right, left = stack.pop(), stack.pop()
            stack.append(Call(item, (left, right)))
        else:
            stack.append(item)
    return stack[0]


_WHITESPACE = re.compile(r"[ \t\r\n]+")
_COMMENT = re.compile(r"[^\r\n]*(?:\r?\n|\Z)?")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LETTER = re.compile(r"[A-Za-z_]")
_LETTERS = re.compile(r"[A-Za-z0-9_]+")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?")
_DOUBLE = re.compile(r'"(?:\\"|[^"])*"')
_SINGLE = re.compile(r"'(?:\\'|[^'])*'")
_REGEXP = re.compile(r"/(?:\\/|[^/])*/")
_SELECTOR = re.compile(r"\[[^\]\[,]+\]")
