"""Selectors and comparisons are found in the text of an expression, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from observatory import promql


def names(expression):
    return [selector.metric for selector in promql.selectors(expression)]


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ("up", ["up"]),
        ("1 - avg by (host) (rate(cpu_seconds_total{mode='idle'}[5m:30s]))", ["cpu_seconds_total"]),
        ("sum(a) by (le, job) / on (host) group_left (version) b", ["a", "b"]),
        ("a:b:rate5m > bool 0.5 and on () vector(1) unless c offset 5m", ["a:b:rate5m", "c"]),
        ("max_over_time((a == 1)[30m:1m]) or absent(b)", ["a", "b"]),
        ("a # of b\n+ c", ["a", "c"]),
        ("topk(3, a) @ 1e3 == Inf", ["a"]),
        ('label_replace(a, "host", "$1", "instance", "(.*):b")', ["a"]),
        ('{__name__="a", job="x"} + {__name__=~"b.*"}', ["a", ""]),
    ],
)
def test_metrics_are_told_from_functions_labels_and_texts(expression, metrics):
    assert names(expression) == metrics


def test_matchers_have_label_sign_and_value_without_quotes():
    (selector,) = promql.selectors(r'a{job="x", name!~"b|c\\.d", host = `\w`, empty!=""}[5m]')
    assert selector.matchers == (("job", "=", "x"), ("name", "!~", r"b|c\.d"), ("host", "=", r"\w"), ("empty", "!=", ""))


def test_comparisons_are_those_of_the_expression_alone():
    """Neither a matcher's != nor a sign within a text is one."""
    found = [word.text for word in promql.tokens('a{b!="c", d="x > y"} >= 1 and a{} != 2 < bool 3') if word.kind == "comparison"]
    assert found == [">=", "!=", "<"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a", ["a"]),
        ("a|b.*", ["a", "b.*"]),
        ("(a|b)[.]service", ["a[.]service", "b[.]service"]),
        ("x(?:a|b(c|d))y|z", ["xay", "xbcy", "xbdy", "z"]),
        ("x(a|b)+", ["x(?:a|b)+"]),
        (r"a\|b|[|(]", [r"a\|b", "[|(]"]),
        ("", [""]),
    ],
)
def test_alternatives_of_a_regular_expression_are_multiplied_out(pattern, found):
    assert promql.alternatives(pattern) == found
