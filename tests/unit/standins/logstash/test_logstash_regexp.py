"""Ruby's regular expressions, as Python runs them."""

from __future__ import annotations

import pytest
from logstash import ruby_regexp
from logstash.errors import ConfigurationError


@pytest.mark.parametrize("source, text, expected", [
    (r"(?<year>\d+)-(\d+)", "2026-11", "2026-11"), (r"\h+", "xyz 0fA9", "0fA9"), (r"\Aab\z", "ab", "ab"), (r"\Aab\z", "ab\n", None), (r"ab\Z", "ab\n", "ab"),
    (r"^b$", "a\nb\nc", "b"), (r"a.c", "a\nc", None), (r"(?m)a.c", "a\nc", "a\nc"), (r"a(?i)b|C", "aB", "aB"), (r"a(?i)b|C", "ac", "ac"),
    (r"(?i:x)y", "XY", None), (r"[[:alpha:]]+", "12äé3", "äé"), (r"[[:xdigit:]_]+", "zz_a1g", "_a1"), (r"[^[:space:]]+", " \tab ", "ab"),
    (r"\p{L}+", "1é2", "é"), (r"\d+", "٣", None), (r"\w+", "é", None), (r"[\w.-]+@[\w-]+", "to a.b@c-d!", "a.b@c-d"), (r"[\s\S]+", "a\nb", "a\nb"),
    (r"(?>a+)b", "aaab", "aaab"), (r"a++a", "aaa", None), (r"(?<!x)y", "xyy", "y"), (r"\x41\u0042\u{43}", "ABC", "ABC"), (r"a{,2}b", "aab", "aab"),
    (r"\R", "a\r\nb", "\r\n"), (r"(?<q>['\"])x\k<q>", "'x'", "'x'"), (r"[\]\[]+", "a[]b", "[]"), (r"a\/b", "a/b", "a/b"), (r"[a[bc]]+", "xcab", "cab"),
    (r"(?#note)a", "a", "a"), (r"x{y}", "x{y}", "x{y}"), (r"\bfoo\b", "a foo.", "foo"), (r"[\D]+", "12ab", "ab"), (r"[^\W]+", "é_a", "_a"),
])
def test_expressions_match_what_ruby_matches(source, text, expected):
    """One case for each difference between the two languages."""
    found = ruby_regexp.compiled(source).search(text)
    assert (found and found[0]) == expected


def test_plain_groups_do_not_capture_beside_named_ones():
    """Ruby's rule, which decides on group numbers."""
    assert ruby_regexp.compiled(r"(a)(?<name>b)").search("ab").groups() == ("b",)


@pytest.mark.parametrize("source, what", [
    (r"a{2}+", "{n,m}+"), (r"[a-z&&[^b]]", "&&"), (r"\Kx", r"\K"), (r"\Gx", r"\G"), (r"(?<a>x)\g<a>", r"\g"), (r"[a[^b]]", "a negated bracket"),
    (r"(?~x)", "(?~x"), (r"\p{Greek}", r"\p{"), (r"[abc", "not closed"), (r"(?<=a+)b", "look-behind"), (r"a)", "unmatched"), ("(a", "missing )"),
])
def test_what_cannot_be_translated_is_refused(source, what):
    """By the expression and the reason."""
    with pytest.raises(ConfigurationError) as error:
        ruby_regexp.compiled(source)
    assert source in str(error.value)
    assert what in str(error.value)


@pytest.mark.parametrize("needle, put_in, expected", [
    (r"(\w+)=(\w+)", r"\2=\1", "b=a"), (r"(?<k>\w+)=\w+", r"\k<k>=x", "a=x"), (r"=", r"\\", "a\\b"), (r"=", r"<\0>", "a<=>b"), ("=", "$1", "a$1b"),
    (r"(x)?=", r"\1-", "a-b"),
])
def test_replacements_are_read_as_ruby_reads_them(needle, put_in, expected):
    """Groups by number and by name."""
    assert ruby_regexp.compiled(needle).sub(ruby_regexp.replacement(put_in), "a=b") == expected
