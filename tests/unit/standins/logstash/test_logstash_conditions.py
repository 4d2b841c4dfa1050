"""Conditions: what they say of an event, with the cases of the documentation on event-dependent configuration."""

from __future__ import annotations

import pytest
from logstash import conditions, grammar
from logstash.errors import ConditionError
from logstash.event import Event


def holds(text: str, metadata: dict | None = None, **data: object) -> bool:
    branch, = grammar.parse(f"filter {{ if {text} {{ }} }}")["filter"]
    return conditions.compile_condition(branch.arms[0][0])(Event(data, metadata))


@pytest.mark.parametrize("text, expected", [
    ("[foo] in [foobar]", True), ('[foo] in "foo"', True), ('"hello" in [greeting]', True), ('[foo] in ["hello", "world", "foo"]', True),
    ("[missing] in [alsomissing]", False), ('!("foo" in ["hello", "world"])', True), ('"o" in [foo]', True), ('"x" not in [foobar]', True),
])
def test_membership(text, expected):
    """The example of the documentation: in and not in."""
    assert holds(text, foo="foo", foobar=["foo", "bar"], greeting="hello world") is expected


@pytest.mark.parametrize("value, expected", [
    (None, False), (False, False), (True, True), ("", False), ("false", False), ("no", True), (0, True), ([], True), ({}, True),
])
def test_a_field_alone_is_asked_for_existence_and_truth(value, expected):
    """`if [field]`: there, not null, not false, not empty."""
    assert holds("[field]", field=value) is expected


def test_a_missing_field_is_not_true():
    """Also below a field that is no object."""
    assert not holds("[a][b]", a="text")
    assert holds("![a][b]", a="text")


@pytest.mark.parametrize("text, expected", [
    ('[status] == 200', True), ('[status] == "200"', False), ('[status] != "200"', True), ("[status] >= 200 and [status] < 300", True),
    ("[ratio] > 0.5", False), ("200 == [status]", True), ('[name] > "a"', True), ("[none] > 1", False), ("[none] == 1", False), ("[none] != 1", True),
    ("[flag] == 1", False), ("[status] == [same]", True),
])
def test_comparisons(text, expected):
    """Numbers compare with numbers, texts with texts; what is missing is not greater."""
    assert holds(text, status=200, ratio=0.5, name="b", flag=True, same=200.0) is expected


def test_a_text_is_not_comparable_with_a_number():
    """The product ends such an event."""
    with pytest.raises(ConditionError, match="str and int cannot be compared by >"):
        holds("[a] > 5", a="6")


@pytest.mark.parametrize("text, expected", [
    ('[type] =~ /^sys/', True), ('[type] !~ /^sys/', False), ('[number] =~ /1/', False), ('[number] !~ /1/', True), ('[none] =~ /x/', False),
    ('[type] =~ "log$"', True), (r'[path] =~ /^\/var\/log/', True), ('[lines] =~ /^two$/', True),
])
def test_regular_expressions(text, expected):
    """On texts only; ^ and $ stand at every line, as in Ruby."""
    assert holds(text, type="syslog", number=1, path="/var/log/x", lines="one\ntwo\nthree") is expected


@pytest.mark.parametrize("text, expected", [
    ("[t] xor [f]", True), ("[t] xor [t]", False), ("[t] nand [t]", False), ("[t] nand [f]", True), ("[t] and ![f]", True), ("!([t] or [f])", False),
])
def test_combinations(text, expected):
    """xor, nand and negation."""
    assert holds(text, t=True, f=False) is expected


def test_metadata_can_be_asked():
    """The documentation's example on @metadata."""
    assert holds('[@metadata][test] == "Hello"', {"test": "Hello"})
