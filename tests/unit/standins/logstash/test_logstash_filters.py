"""The filters, with the cases of their documentation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from logstash.errors import ConfigurationError
from logstash_fakes import fields, filtered, make_settings, plan

# mutate


def test_mutate_runs_in_its_fixed_order():
    """The documentation's example: a rename is seen by the replace of the same filter, whatever the order in the file."""
    assert fields('mutate { replace => { "b1" => "%{b1}-x" } rename => { "a1" => "b1" } uppercase => ["b1"] copy => { "b1" => "c1" } }', a1="v") == {
        "b1": "V-X", "c1": "V-X",
    }


def test_mutate_twice_runs_in_the_order_of_the_file():
    """Two filters where the order matters."""
    assert fields('mutate { replace => { "a1" => "x" } } mutate { rename => { "a1" => "b1" } }', a1="v") == {"b1": "x"}


@pytest.mark.parametrize("kind, value, expected", [
    ("integer", "12", 12), ("integer", "1,234", 1234), ("integer", "12.7", 12), ("integer", True, 1), ("integer", "0x1A", 26), ("integer", "1e3", 1000),
    ("integer", "abc", 0), ("integer", 12.7, 12), ("integer_eu", "1.234,56", 1234), ("float", "1,000.5", 1000.5), ("float", "5", 5.0), ("float", True, 1.0),
    ("float_eu", "1.234,56", 1234.56), ("string", 12, "12"), ("string", True, "true"),
    ("boolean", "yes", True), ("boolean", "F", False), ("boolean", "", False),
    ("boolean", 1, True), ("boolean", "perhaps", "perhaps"), ("integer", ["1", None, "2"], [1, None, 2]), ("integer", None, None),
    ("integer", {"x": 1}, {"x": 1}),
])
def test_mutate_converts(kind, value, expected):
    """The table of the documentation."""
    assert fields(f'mutate {{ convert => {{ "f1" => "{kind}" }} }}', f1=value) == {"f1": expected}


@pytest.mark.parametrize("kind, value", [("integer", "hello"), ("float", "abc")])
def test_mutate_tags_what_it_cannot_convert(kind, value):
    """As of 8.14, what is no number is an error for some conversions."""
    assert fields(f'mutate {{ convert => {{ "f1" => "{kind}" }} add_tag => ["done"] }}', f1=value) == {"f1": value, "tags": ["_mutate_error"]}


@pytest.mark.parametrize("section, given, expected", [
    ('gsub => [ "f1", "/", "_" ]', "/a/b", "_a_b"), (r'gsub => [ "f1", "[\\?#-]", "." ]', "a?b#c-d", "a.b.c.d"),
    ('uppercase => [ "f1" ]', ["ab", 1], ["AB", 1]),
    ('lowercase => [ "f1" ]', "AB", "ab"), ('capitalize => [ "f1" ]', "heLLO world", "Hello world"), ('strip => [ "f1" ]', " a b\n", "a b"),
    ('split => { "f1" => "," }', "a,b,,c,,", ["a", "b", "", "c"]), ('split => { "f1" => " " }', " a  b", ["a", "b"]),
    ('join => { "f1" => "," }', ["a", 1], "a,1"),
    ('join => { "f1" => "," }', "a", "a"), ('update => { "f1" => "My new %{f1}" }', "x", "My new x"), ('replace => { "f1" => "%{f1}: new" }', "x", "x: new"),
    ('gsub => [ "f1", "(\\w+)=\\w+", "\\1=*" ]', "a=b c=d", "a=* c=*"), ('gsub => [ "f1", "b", "" ]', ["abc", 1], ["ac", 1]),
    ('gsub => [ "f1", "x", "y" ]', 5, 5),
    ('coerce => { "f1" => "default_value" }', None, "default_value"), ('gsub => [ "f1", "%{[f1]}", "x" ]', "ab", "x"),
])
def test_mutate_changes(section, given, expected):
    """Each operation as documented."""
    assert fields(f"mutate {{ {section} }}", f1=given) == {"f1": expected}


def test_mutate_does_not_update_what_is_not_there():
    """But replaces it."""
    assert fields('mutate { update => { "u1" => "x" } replace => { "r1" => "y" } }') == {"r1": "y"}


@pytest.mark.parametrize("dest, added, expected", [
    (["a"], "b", ["a", "b"]), ("a", "b", ["a", "b"]), (["a"], ["b"], ["a", "b"]), ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}), (["a"], {"b": 2}, ["a"]),
])
def test_mutate_merges(dest, added, expected):
    """array + string, string + string, hashes; an array and a hash do not go together."""
    assert fields('mutate { merge => { "dest" => "added" } }', dest=dest, added=added)["dest"] == expected


def test_mutate_renames_into_objects():
    """A place below a text is none: the filter fails with its tag, and its common options are not applied."""
    assert fields('mutate { rename => { "[a][b]" => "[c][d]" "x1" => "[c][e]" } }', a={"b": 1}) == {"a": {}, "c": {"d": 1}}
    assert fields('mutate { rename => { "aa" => "[cc][d]" } add_tag => ["t"] remove_field => ["cc"] }', aa=1, cc="text") == {
        "cc": "text", "tags": ["_mutate_error"],
    }


@pytest.mark.parametrize("section, words", [
    ('gsub => [ "a", "b" ]', "gsub requires 3 non-nil elements"),
    ('convert => { "a" => "number" }', "Invalid conversion type 'number', expected one of 'string"),
    (r'gsub => [ "a", "\Gx", "b" ]', r"regular expression /\Gx/"),
])
def test_mutate_is_refused_at_the_start(section, words):
    """What the product finds when it registers the plugin."""
    with pytest.raises(ConfigurationError) as error:
        filtered(f"mutate {{ {section} }}", {})
    assert words in str(error.value)


def test_common_options_are_applied_in_order():
    """add_field, remove_field, add_tag, remove_tag, each with placeholders."""
    section = '''mutate { add_field => { "foo_%{somefield}" => "Hello, %{host}" "new" => "1" }
        remove_field => ["%{gone}", "host"] add_tag => ["t_%{somefield}"] remove_tag => ["old"] }'''
    assert fields(section, somefield="hello", host="h", gone="other", other=1, tags=["old", "kept"], new="0") == {
        "somefield": "hello", "gone": "other", "foo_hello": "Hello, h", "new": ["0", "1"], "tags": ["kept", "t_hello"],
    }


# json


def test_json_spreads_into_the_root_or_below_a_target():
    """The two examples of the documentation."""
    message = json.dumps({"a": 1, "b": {"c": [True, None]}, "message": "inner"})
    assert fields('json { source => "message" }', message=message) == {"a": 1, "b": {"c": [True, None]}, "message": "inner"}
    assert fields('json { source => "message" target => "doc" remove_field => ["message"] }', message=message) == {"doc": json.loads(message)}


@pytest.mark.parametrize("message", ["{", "text", "NaN", '{"a": NaN}', "", "[1, 2]", "12", '"text"'])
def test_json_tags_what_is_no_object(message):
    """The event stays as it is."""
    assert fields('json { source => "message" add_tag => ["ok"] }', message=message) == {"message": message, "tags": ["_jsonparsefailure"]}


def test_json_skips_what_is_no_json():
    """skip_on_invalid_json: neither tag nor warning; the common options are not applied."""
    assert fields('json { source => "message" skip_on_invalid_json => true add_tag => ["ok"] }', message="text") == {"message": "text"}
    assert fields('json { source => "none" add_tag => ["ok"] }', message="text") == {"message": "text"}


def test_json_takes_a_timestamp():
    """One that is none is kept beside, with a tag."""
    event = filtered('json { source => "message" }', {"message": '{"@timestamp": "2026-11-24T10:00:00+01:00"}'})
    assert event.data["@timestamp"] == "2026-11-24T09:00:00.000Z"
    event = filtered('json { source => "message" }', {"message": '{"@timestamp": "soon"}'})
    assert (event.data["_@timestamp"], event.data["tags"]) == ("soon", ["_timestampparsefailure"])


# date


@pytest.mark.parametrize("formats, value, expected", [
    ('"ISO8601"', "2011-04-19T03:44:01.103Z", "2011-04-19T03:44:01.103Z"), ('"UNIX"', "1326149001.132", "2012-01-09T22:43:21.132Z"),
    ('"UNIX"', 1326149001, "2012-01-09T22:43:21.000Z"), ('"UNIX_MS"', 1366125117000, "2013-04-16T15:11:57.000Z"),
    ('"MMM dd yyyy HH:mm:ss"', "Aug 13 2010 00:03:44", "2010-08-13T00:03:44.000Z"),
    ('"MMM dd yyyy HH:mm:ss", "MMM  d yyyy HH:mm:ss", "ISO8601"', "Aug  3 2010 00:03:44", "2010-08-03T00:03:44.000Z"),
    ('"yyyy-MM-dd HH:mm:ss,SSS"', "2026-11-24 10:00:00,042", "2026-11-24T10:00:00.042Z"),
    ('"yyyy-MM-dd HH:mm:ss.SSS"', "2026-11-24 10:00:00.042", "2026-11-24T10:00:00.042Z"), ('"ISO8601"', "2026-11-24T10:00:00", "2026-11-24T10:00:00.000Z"),
])
def test_date_reads(formats, value, expected):
    """The documentation's formats."""
    event = filtered(f'date {{ match => [ "logdate", {formats} ] add_tag => ["read"] }}', {"logdate": value})
    assert (event.data["@timestamp"], event.data["tags"]) == (expected, ["read"])


def test_date_has_a_target_and_a_zone():
    """A zone may come from the event."""
    section = 'date { match => [ "[log][date]", "yyyy-MM-dd HH:mm:ss", "ISO8601" ] target => "[event][created]" timezone => "%{zone}" }'
    assert fields(section, log={"date": "2026-07-01 12:00:00"}, zone="Europe/Paris")["event"] == {"created": "2026-07-01T10:00:00.000Z"}
    assert fields(section, log={"date": "2026-07-01T12:00:00.5"}, zone="America/Los_Angeles")["event"] == {"created": "2026-07-01T19:00:00.500Z"}


def test_date_tags_what_it_cannot_read():
    """And leaves an event without the field alone."""
    assert fields('date { match => [ "d1", "ISO8601" ] }', d1="24.11.2026") == {"d1": "24.11.2026", "tags": ["_dateparsefailure"]}
    assert fields('date { match => [ "d1", "ISO8601" ] }') == {}


# grok


def test_grok_reads_the_example_of_the_documentation():
    """Patterns by name, with names for what they find."""
    section = 'grok { match => { "message" => "%{IP:client} %{WORD:method} %{URIPATHPARAM:request} %{NUMBER:bytes:int} %{NUMBER:duration:float}" } }'
    assert fields(section, message="55.3.244.1 GET /index.html 15824 0.043") == {
        "message": "55.3.244.1 GET /index.html 15824 0.043", "client": "55.3.244.1", "method": "GET", "request": "/index.html", "bytes": 15824,
        "duration": 0.043,
    }


def test_grok_takes_own_patterns_and_captures():
    """The documentation's postfix example, into nested fields, overwriting."""
    section = r"""grok {
        pattern_definitions => { "ID" => "[0-9A-F]{10,11}" "REST" => ".*" }
        match => { "message" =>
            "^%{SYSLOGTIMESTAMP:[log][time]} %{SYSLOGHOST:[host][name]} (?<[process][name]>\S+?)\[%{POSINT:[process][pid]:int}\]: %{ID:id}: %{REST:message}"
        }
        overwrite => [ "message" ]
    }"""
    line = "Jan  1 06:25:43 mailserver14 postfix/cleanup[21403]: BEF25A72965: message-id=<20130101142543.5828399CCAF@mailserver14.example.com>"
    assert fields(section, message=line) == {
        "log": {"time": "Jan  1 06:25:43"}, "host": {"name": "mailserver14"}, "process": {"name": "postfix/cleanup", "pid": 21403}, "id": "BEF25A72965",
        "message": "message-id=<20130101142543.5828399CCAF@mailserver14.example.com>",
    }


def test_grok_takes_the_first_pattern_that_matches():
    """Without overwrite, a value is added to what is there."""
    section = 'grok { match => { "message" => [ "Duration: %{NUMBER:duration}", "Speed: %{NUMBER:speed}" ] } add_tag => ["read"] }'
    assert fields(section, message="Speed: 12") == {"message": "Speed: 12", "speed": "12", "tags": ["read"]}
    assert fields(section, message="Duration: 1 Speed: 2", duration="0") == {"message": "Duration: 1 Speed: 2", "duration": ["0", "1"], "tags": ["read"]}
    assert fields(section, message="x") == {"message": "x", "tags": ["_grokparsefailure"]}


def test_grok_refuses_a_pattern_that_it_does_not_know():
    """By name."""
    with pytest.raises(ConfigurationError, match=r"pattern %\{NOSUCH:x\} not defined"):
        filtered('grok { match => { "message" => "%{NOSUCH:x}" } }', {})


# dissect


@pytest.mark.parametrize("mapping, text, expected", [
    ("%{ts} %{+ts} %{+ts} %{src} %{} %{prog}[%{pid}]: %{msg}", "May 29 16:37:11 sadness x logger[12]: hello world",
     {"ts": "May 29 16:37:11", "src": "sadness", "prog": "logger", "pid": "12", "msg": "hello world"}),
    ("%{+a/2} %{+a/1} %{+a/4} %{+a/3}", "1 2 3 go", {"a": "2 1 go 3"}), ("%{a} %{b} %{+a}", "1 2 3 go", {"a": "1 3 go", "b": "2"}),
    ("error: %{?err}, %{&err}", "error: some_error, some_description", {"some_error": "some_description"}),
    ("%{?a}: %{&a}", "google: 77.98", {"google": "77.98"}),
    ("%{name},%{addr1},%{addr2},%{addr3},%{city},%{zip}", "Jane Doe,4321 Fifth Avenue,,,New York,87432",
     {"name": "Jane Doe", "addr1": "4321 Fifth Avenue", "addr2": "", "addr3": "", "city": "New York", "zip": "87432"}),
    ("%{id} %{function->} %{server}", "f3000a3b Calc            machine-123", {"id": "f3000a3b", "function": "Calc", "server": "machine-123"}),
    ("%{id->} %{function} %{server}", "f3000a3b            Calc machine-321", {"id": "f3000a3b", "function": "Calc", "server": "machine-321"}),
])
def test_dissect_cuts(mapping, text, expected):
    """Every example of the documentation."""
    assert fields(f'dissect {{ mapping => {{ "message" => "{mapping}" }} remove_field => ["message"] }}', message=text) == expected


def test_dissect_converts_and_tags():
    """convert_datatype, and what does not fit."""
    assert fields('dissect { mapping => { "message" => "%{cpu} %{code}" } convert_datatype => { cpu => "float" code => "int" } }', message="0.5 7") == {
        "message": "0.5 7", "cpu": 0.5, "code": 7,
    }
    assert fields('dissect { mapping => { "message" => "%{aa}: %{bb}" } }', message="x") == {"message": "x", "tags": ["_dissectfailure"]}


# drop, fingerprint, prune, translate, truncate


def test_drop_ends_an_event():
    """Nothing after it runs."""
    event = filtered('if [loglevel] == "debug" { drop { } } mutate { add_tag => ["x"] }', {"loglevel": "debug"})
    assert event.cancelled
    assert "tags" not in event.data


def test_fingerprint_hashes():
    """One source, several, all joined in the order of their names; a key makes it an HMAC."""
    def digest(text):
        return hashlib.sha1(text.encode()).hexdigest()

    assert fields('fingerprint { source => ["message"] target => "id" }', message="x")["id"] == digest("x")
    assert fields('fingerprint { }', message="x")["event"] == {"hash": digest("x")}
    joined = fields('fingerprint { source => ["message", "[host][name]"] target => "id" concatenate_sources => true }', message="x", host={"name": "h"})
    assert joined["id"] == digest("|[host][name]|h|message|x|")
    keyed = fields('fingerprint { source => "message" target => "id" method => "SHA256" key => "k" base64encode => true }', message="x")["id"]
    assert keyed == base64.b64encode(hmac.digest(b"k", b"x", "sha256")).decode()
    assert len(fields('fingerprint { method => "UUID" target => "id" }')["id"]) == 36
    assert fields('fingerprint { source => ["none"] target => "id" }') == {}


def test_fingerprint_refuses_methods_that_it_lacks():
    """By name."""
    with pytest.raises(ConfigurationError, match="method => MURMUR3 is not implemented"):
        filtered('fingerprint { method => "MURMUR3" }', {})


def test_prune_keeps_the_names_that_are_listed():
    """The documentation's example; metadata stays, an unlisted timestamp does not."""
    data = {"method": "GET", "status": 1, "http_status": 2, "methods": 3}
    event = filtered('prune { whitelist_names => [ "^method$", "(referrer|status)" ] }', data, {"m": 1})
    assert (event.data, event.metadata) == ({"method": "GET", "status": 1, "http_status": 2}, {"m": 1})
    assert fields('prune { }', **{"%{hmm}": 1, "kept": 2}) == {"kept": 2}


@pytest.mark.parametrize("value, expected", [
    ("hello world, how are you?", "hello worl"), ("short", "short"), ("ééééééé", "ééééé"), ("aééééé", "aéééé"),
    (["hello world, how", 1], ["hello worl", 1]),
])
def test_truncate_cuts_by_bytes(value, expected):
    """The documentation's example; no character is cut apart."""
    assert fields('truncate { fields => ["f1"] length_bytes => 10 }', f1=value, f2="hello world, how") == {"f1": expected, "f2": "hello world, how"}


def test_translate_looks_up(tmp_path):
    """A dictionary in place and one from a file, with a fallback."""
    section = 'translate { source => "code" target => "words" dictionary => { "100" => "Continue" "101" => "Switching Protocols" } fallback => "no %{code}" }'
    assert [fields(section, code=code)["words"] for code in ("100", 101, "7")] == ["Continue", "Switching Protocols", "no 7"]
    path = tmp_path / "words.yml"
    path.write_text('"100": Continue\nmerci: gracias\n')
    assert fields(f'translate {{ source => "word" dictionary_path => "{path}" }}', word="merci") == {"word": "gracias"}
    assert fields('translate { source => "word" dictionary => { "^a" => "begins with a" } regex => true }', word="ab") == {"word": "begins with a"}


# Options


def refusal(section: str, kind: str = "filter", **variables: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        plan(f"{kind} {{ {section} }}", variables=variables)
    return str(error.value)


@pytest.mark.parametrize("section, words", [
    ("mutate { nosuch => 1 }", "Unknown setting 'nosuch' for mutate"), ("ruby { code => '' }", "Couldn't find any filter plugin named 'ruby'"),
    ("json { }", "Missing a required setting for the json filter plugin:\n\n  filter {\n    json {\n      source => # SETTING MISSING"),
    ('grok { break_on_match => "maybe" }', "# This setting must be a boolean\n      # Expected boolean 'true' or 'false', got \"maybe\""),
    ('truncate { length_bytes => "ten" }', "This setting must be a number"),
    ('mutate { rename => ["a", "b", "c"] }', "must contain an even number of items, got 3"),
    ('fingerprint { method => "CRC" }', 'Expected one of ["SHA1", "SHA256"'),
    ("grok { patterns_dir => [] }", "the product has it, this stand-in does not implement it"),
    ('translate { source => "a" dictionary_path => "/no/such" }', "File does not exist or cannot be opened /no/such"),
    ("drop { id => 'a' } drop { id => 'a' }", "Two plugins have the id 'a'"), ('mutate { add_tag => ["${NOSUCH}"] }', "Cannot evaluate `${NOSUCH}`."),
])
def test_options_are_checked(section, words):
    """What --config.test_and_exit refuses, in the product's words."""
    assert words in refusal(section)


def test_what_only_a_start_finds_is_not_refused_by_the_test():
    """Expressions of gsub and grok, as in the product."""
    plan(r'filter { mutate { gsub => ["a", "\G", ""] } grok { match => { "a" => "%{NOSUCH}" } } }')


def test_variables_are_filled_in():
    """In texts, lists and hashes, with defaults."""
    made = plan('filter { mutate { add_tag => ["${A}", "x${B:b}"] replace => { "k1" => "${C:}" } } }', variables={"A": "1"})
    options = made.plugins["filter"][0].options
    assert (options["add_tag"], options["replace"]) == (["1", "xb"], {"k1": ""})


def test_hashes_that_are_given_twice_are_merged():
    """The grok filter's old way of several matches."""
    made = plan('filter { grok { match => { "a" => "x" } match => { "b" => "y" "a" => "z" } } }')
    assert made.plugins["filter"][0].options["match"] == {"a": ["x", "z"], "b": "y"}


def test_ecs_compatibility_decides_on_targets(tmp_path):
    """pipeline.ecs_compatibility disabled: the old names."""
    settings = make_settings(tmp_path, pipeline__ecs_compatibility="disabled")
    assert "fingerprint" in filtered("fingerprint { }", {"message": "x"}, settings=settings).data


@pytest.mark.parametrize("priority, facility, severity", [
    (191, (23, "local7"), (7, "debug")), ("165", (20, "local4"), (5, "notice")), (0, (0, "kernel"), (0, "emergency")),
    (34, (4, "security/authorization"), (2, "critical")), ("137", (17, "local1"), (1, "alert")), ([14, 2], (1, "user-level"), (6, "informational")),
    ("x", (0, "kernel"), (0, "emergency")), (None, (1, "user-level"), (5, "notice")),
])
def test_syslog_pri_names_facility_and_severity(priority, facility, severity):
    """RFC 3164: the priority is eight times the facility, and the severity; without one it is 13."""
    given = {"log": {"syslog": {"priority": priority}}} if priority is not None else {}
    syslog = fields("syslog_pri { }", **given)["log"]["syslog"]
    assert syslog["facility"] == dict(zip(("code", "name"), facility, strict=True))
    assert syslog["severity"] == dict(zip(("code", "name"), severity, strict=True))


def test_syslog_pri_tags_an_unknown_facility():
    """The codes are set, the names are not; without names nothing is tagged."""
    given = {"log": {"syslog": {"priority": 193}}}
    codes = {"priority": 193, "facility": {"code": 24}, "severity": {"code": 1}}
    assert fields("syslog_pri { }", **given) == {"log": {"syslog": codes}, "tags": ["_syslogpriparsefailure"]}
    given = {"log": {"syslog": {"priority": 193}}}
    assert fields("syslog_pri { use_labels => false }", **given) == {"log": {"syslog": codes}}
