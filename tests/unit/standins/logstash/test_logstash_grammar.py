"""Logstash's configuration language: what parses, what does not, and the words of the refusal."""

from __future__ import annotations

import pytest
from logstash import grammar
from logstash.errors import ConfigurationError
from logstash.grammar import Branch, Call, Field, Plugin, Regexp


def plugin(name: str, *attributes: tuple[str, object]) -> Plugin:
    return Plugin(name, attributes, 0, 0)


def condition(text: str) -> object:
    """Return the tree of a condition."""
    branch, = grammar.parse(f"filter {{ if {text} {{ drop {{ }} }} }}")["filter"]
    return branch.arms[0][0]


def refusal(text: str, file: str | None = None) -> str:
    with pytest.raises(ConfigurationError) as error:
        grammar.parse(text, file=file)
    return str(error.value)


def test_a_pipeline_of_the_documentation_parses():
    """The value types of the page on configuration syntax."""
    sections = grammar.parse("""
        # a comment
        input { file { path => "/tmp/*_log" start_position => beginning } }
        input { stdin { } }
        output {
          stdout { codec => rubydebug { metadata => true } }   # and one here
          elasticsearch {
            hosts => [ "https://a:9200", 'https://b:9200' ]
            "workers" => 33
            delay => -1.5
            match => {
              "field1" => "value1"
              # a comment between entries
              'field2' => "value2"
              3 => [ 1, "two", { four => "five" } ]
            }
          }
        }
    """)
    assert sections == {
        "input": [plugin("file", ("path", "/tmp/*_log"), ("start_position", "beginning")), plugin("stdin")],
        "filter": [],
        "output": [
            plugin("stdout", ("codec", plugin("rubydebug", ("metadata", "true")))),
            plugin(
                "elasticsearch", ("hosts", ["https://a:9200", "https://b:9200"]), ("workers", 33), ("delay", -1.5),
                ("match", {"field1": "value1", "field2": "value2", "3": [1, "two", {"four": "five"}]}),
            ),
        ],
    }


def test_branches_keep_their_order():
    """if, else if and else, nested."""
    assert grammar.parse('filter { if [a] { drop {} } else if [b] == 1 { if [c] {} } else { mutate { } } }')["filter"] == [Branch((
        (Field("[a]"), (plugin("drop"),)), (Call("==", (Field("[b]"), 1)), (Branch(((Field("[c]"), ()),)),)), (None, (plugin("mutate"),)),
    ))]


@pytest.mark.parametrize("text, tree", [
    ('[loglevel] == "ERROR" and [deployment] == "production"',
     Call("and", (Call("==", (Field("[loglevel]"), "ERROR")), Call("==", (Field("[deployment]"), "production"))))),
    ('[a][b] =~ /^a\\/b$/', Call("=~", (Field("[a][b]"), Regexp("^a\\/b$")))),
    ('[a] !~ "x"', Call("!~", (Field("[a]"), "x"))),
    ('"_grokparsefailure" not in [tags]', Call("!", (Call("in", ("_grokparsefailure", Field("[tags]"))),))),
    ('[foo] in ["hello", "world", 3]', Call("in", (Field("[foo]"), ["hello", "world", 3]))),
    ("!([a] in [b])", Call("!", (Call("in", (Field("[a]"), Field("[b]"))),))),
    ("![a]", Call("!", (Field("[a]"),))),
    ("[a] <= 5 or ([b] >= 2.5)", Call("or", (Call("<=", (Field("[a]"), 5)), Call(">=", (Field("[b]"), 2.5))))),
    ("[a] xor [b]", Call("xor", (Field("[a]"), Field("[b]")))),
    ("[a] nand [b]", Call("nand", (Field("[a]"), Field("[b]")))),
    ("[a] or [b] and [c]", Call("or", (Field("[a]"), Call("and", (Field("[b]"), Field("[c]")))))),
    # The product takes one operator at a time off its stack, so this is not (a and b and c) or d.
    ("[a] and [b] and [c] or [d]",
     Call("and", (Field("[a]"), Call("or", (Call("and", (Field("[b]"), Field("[c]"))), Field("[d]")))))),
])
def test_conditions_become_trees(text, tree):
    """Every operator, with the product's precedence."""
    assert condition(text) == tree


def test_escapes_are_read_only_when_asked_for():
    r"""config.support_escapes: \n, \t, \\, quotes; anything else stays."""
    text = r'''filter { mutate { replace => { a1 => "x\n\t\\\"\d" b1 => 'it\'s' } } }'''
    plain = dict(grammar.parse(text)["filter"][0].attributes)["replace"]
    read = dict(grammar.parse(text, escapes=True)["filter"][0].attributes)["replace"]
    assert plain == {"a1": r'x\n\t\\\"\d', "b1": r"it\'s"}
    assert read == {"a1": 'x\n\t\\"\\d', "b1": "it's"}


def test_a_refusal_names_file_line_column_and_what_was_expected():
    """In the product's words, with the file added."""
    assert refusal("input {\n  beats {\n    port => \n  }\n}", "/etc/logstash/a.conf") == (
        'Expected one of "#", [ \\t\\r\\n], [A-Za-z0-9_-], "\\"", "\'", [A-Za-z_], [0-9], "[", "{" at line 4, column 3 (byte 34) in file /etc/logstash/a.conf '
        "after input {\n  beats {\n    port => \n  "
    )


@pytest.mark.parametrize("text, expected", [
    ("filter { mutate { a1 => 1 } ", "at line 1, column 29 (byte 29)"),
    ("filters { }", 'Expected one of [ \\t\\r\\n], "#", "{" at line 1, column 7'),
    ("filter { mutate { add_tag => [ 'a', ] } }", "at line 1, column 37"),
    ("filter { mutate { replace => { 'a' => 'b', 'c' => 'd' } } }", "at line 1, column 42"),
    ("filter { mutate { replace => { a => 'b' } } }", "Expected [A-Za-z0-9_] at line 1, column 33"),
    ('filter { mutate { replace => "x } }', 'Expected "\\"" at line 1'),
    ("filter { if [a] = 1 { } }", "at line 1, column 17"),
    ("filter { if [a] == { } }", "at line 1, column 20"),
    ('filter { if "a" { drop { } } }', "Exprs should only have one part!"),
    ('filter { if "a" =~ /a/ { drop { } } }', "Expected a selector in =~!"),
    ("filter { if [a] and [b] xor [c] { drop { } } }", "Unexpected operator xor"),
    ("filter { if [a] == [ 1, 2 ] { drop { } } }", "compares fields, strings and numbers only"),
    ("filter { if foo([a]) { } }", "method calls are not implemented"),
    ("filter { mutate { replace => { 'a' => 1 'a' => 2 } } }", "Duplicate keys found in your configuration: [a]\nAt line: 1, column 30 (byte 30)"),
])
def test_what_does_not_parse_is_refused(text, expected):
    """One case for each way of going wrong."""
    assert expected in refusal(text)


def test_a_comment_may_end_the_file_without_a_line_break():
    """As of 8.14."""
    assert grammar.parse("input { } # the end") == {"input": [], "filter": [], "output": []}


def test_the_byte_counts_bytes():
    """A refusal after signs beyond ASCII."""
    assert "line 2, column 10 (byte 17)" in refusal("# äö\nfilter { ! }")
