"""Kibana's query language, and what Kibana makes of it for Elasticsearch. What is not here (nested fields, functions) is refused."""

from __future__ import annotations

import re

TOKEN = re.compile(r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<mark><=|>=|[():<>{}])|(?P<word>(?:\\.|[^\s():<>{}"\\])+))""")
RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
KEYWORDS = ("and", "or", "not")


class KqlError(ValueError):
    """What is wrong, and where."""


def to_query(text: str) -> dict:
    """Return the Elasticsearch query; an empty text finds everything."""
    if not text.strip():
        return {"match_all": {}}
    parser = _Parser(text)
    query = parser.either()
    if parser.next is not None:
        raise KqlError(f"'{parser.next[1]}' is not expected at character {parser.next[2] + 1} of: {text}")
    return query


def fields(text: str) -> set[str]:
    """Return the names of the fields that a query speaks of."""
    if not text.strip():
        return set()
    parser = _Parser(text)
    parser.either()
    return parser.fields


class _Parser:
    def __init__(self, text: str):
        self.text = text
        self.fields: set[str] = set()
        self._tokens = list(self._split(text))
        self._place = 0

    @staticmethod
    def _split(text: str):
        place = 0
        while text[place:].strip():
            match = TOKEN.match(text, place)
            if not match:
                begin = place + len(text[place:]) - len(text[place:].lstrip())
                raise KqlError(f"a quote does not end, from character {begin + 1} on: {text}")
            kind = str(match.lastgroup)
            yield kind, match[kind], match.start(kind)
            place = match.end()

    @property
    def next(self):
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _is(self, kind: str, *texts: str) -> bool:
        token = self.next
        return token is not None and token[0] == kind and (not texts or token[1].lower() in texts)

    def _take(self) -> str:
        token = self.next
        if token is None:
            raise KqlError(f"the query ends too early: {self.text}")
        self._place += 1
        return token[1]

    def _expect(self, mark: str) -> None:
        if not self._is("mark", mark):
            found = f"'{self.next[1]}'" if self.next else "the end"
            raise KqlError(f"expected '{mark}', found {found}: {self.text}")
        self._place += 1

    def either(self, field: str | None = None) -> dict:
        found = [self._all(field)]
        while self._is("word", "or"):
            self._take()
            found.append(self._all(field))
        return found[0] if len(found) == 1 else {"bool": {"should": found, "minimum_should_match": 1}}

    def _all(self, field: str | None) -> dict:
        found = [self._one(field)]
        while self._is("word", "and"):
            self._take()
            found.append(self._one(field))
        return found[0] if len(found) == 1 else {"bool": {"filter": found}}

    def _one(self, field: str | None) -> dict:
        if self._is("word", "not"):
            self._take()
            return {"bool": {"must_not": [self._one(field)]}}
        if self._is("mark", "("):
            self._take()
            inner = self.either(field)
            self._expect(")")
            return inner
        if field is not None:
            return self._value(field)
        after = self._tokens[self._place + 1] if self._place + 1 < len(self._tokens) else None
        if self._is("word") and after is not None and after[0] == "mark" and after[1] in (":", *RANGES):
            name, mark = self._take().replace("\\", ""), self._take()
            self.fields.add(name)
            if mark in RANGES:
                return {"range": {name: {RANGES[mark]: _plain(self._take())}}}
            if self._is("mark", "("):
                self._take()
                inner = self.either(name)
                self._expect(")")
                return inner
            return self._value(name)
        return self._value(None)

    def _value(self, field: str | None) -> dict:
        if self._is("quoted"):
            value = re.sub(r"\\(.)", r"\1", self._take()[1:-1])
            return {"match_phrase": {field: value}} if field else {"multi_match": {"type": "phrase", "query": value, "lenient": True}}
        words = []
        while self._is("word") and not self._is("word", *KEYWORDS):
            words.append(self._take())
        if not words:
            found = f"'{self.next[1]}'" if self.next else "the end"
            raise KqlError(f"expected a value, found {found}: {self.text}")
        text = " ".join(words)
        if text == "*":
            return {"exists": {"field": field}} if field else {"match_all": {}}
        if re.search(r"(?<!\\)\*", text):
            where = {"fields": [field]} if field else {}
            return {"query_string": {**where, "query": re.sub(r'([+\-=&|><!(){}\[\]^"~?:/ ])', r"\\\1", text), "analyze_wildcard": True, "lenient": True}}
        value = re.sub(r"\\(.)", r"\1", text)
        return {"match": {field: value}} if field else {"multi_match": {"type": "best_fields", "query": value, "lenient": True}}


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1] if text.startswith('"') else text)
