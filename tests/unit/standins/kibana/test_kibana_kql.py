"""Kibana's query language becomes the queries that Kibana makes of it."""

from __future__ import annotations

import pytest
from kibana_standin import kql


@pytest.mark.parametrize(("text", "query"), [
    ("", {"match_all": {}}),
    ("*", {"match_all": {}}),
    ("trace.id : *", {"exists": {"field": "trace.id"}}),
    ('trace.id: "4bf92f"', {"match_phrase": {"trace.id": "4bf92f"}}),
    ("log.level:error", {"match": {"log.level": "error"}}),
    ("message: connection refused", {"match": {"message": "connection refused"}}),
    ("refused", {"multi_match": {"type": "best_fields", "query": "refused", "lenient": True}}),
    ('"timed out"', {"multi_match": {"type": "phrase", "query": "timed out", "lenient": True}}),
    ("host.name: web*", {"query_string": {"fields": ["host.name"], "query": "web*", "analyze_wildcard": True, "lenient": True}}),
    ("http.response.status_code >= 500", {"range": {"http.response.status_code": {"gte": "500"}}}),
    ("log.level : (error or fatal)", {"bool": {"should": [{"match": {"log.level": "error"}}, {"match": {"log.level": "fatal"}}], "minimum_should_match": 1}}),
    ("a: 1 and not b: 2", {"bool": {"filter": [{"match": {"a": "1"}}, {"bool": {"must_not": [{"match": {"b": "2"}}]}}]}}),
    ("a: 1 or b: 2 and c: 3", {"bool": {"should": [{"match": {"a": "1"}}, {"bool": {"filter": [{"match": {"b": "2"}}, {"match": {"c": "3"}}]}}],
                                        "minimum_should_match": 1}}),
    ("(a: 1 OR b: 2) AND c: 3", {"bool": {"filter": [{"bool": {"should": [{"match": {"a": "1"}}, {"match": {"b": "2"}}], "minimum_should_match": 1}},
                                                     {"match": {"c": "3"}}]}}),
    (r"url.path: \(x\)", {"match": {"url.path": "(x)"}}),
])
def test_a_query_is_translated(text, query):
    """Fields, phrases, wildcards, ranges, and their combinations."""
    assert kql.to_query(text) == query


@pytest.mark.parametrize(("text", "words"), [
    ("log.level :", "expected a value, found the end: log.level :"),
    ("(a: 1", "expected ')', found the end: (a: 1"),
    ("a: 1)", "')' is not expected at character 5 of: a: 1)"),
    ('a: "x', 'a quote does not end, from character 4 on: a: "x'),
    ("a: {b: 1}", "expected a value, found '{': a: {b: 1}"),
    ("a: and b: 1", "expected a value, found 'and': a: and b: 1"),
])
def test_a_query_that_does_not_parse_is_refused(text, words):
    """With the place, and never guessed at."""
    with pytest.raises(kql.KqlError) as caught:
        kql.to_query(text)
    assert str(caught.value) == words


def test_fields_of_a_query():
    """For those who check whether they exist."""
    assert kql.fields("log.level : (error or fatal) and not trace.id: * and http.response.status_code > 499 and word") == {
        "log.level", "trace.id", "http.response.status_code"}
