"""Events: field references, texts with placeholders, timestamps, date patterns."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from logstash import joda, references, timestamps
from logstash.errors import ConfigurationError
from logstash.event import Event, template

APACHE = {"agent": "Mozilla", "ip": "192.168.24.44", "request": "/index.html", "response": {"status": 200, "bytes": 52353}, "ua": {"os": "Windows 7"}}


def test_fields_are_found_by_reference():
    """The example of the page on accessing event data."""
    event = Event(dict(APACHE, list=[1, {"a": "b"}]), {"x": {"y": 1}})
    assert event.get("ip") == event.get("[ip]") == "192.168.24.44"
    assert event.get("[ua][os]") == "Windows 7"
    assert event.get("[response][missing]") is None
    assert event.get("[ip][os]") is None
    assert event.get("[list][0]") == 1
    assert event.get("[list][-1][a]") == "b"
    assert event.get("[@metadata][x][y]") == 1


def test_setting_makes_the_objects_around():
    """And a place below a text is none."""
    event = Event({"text": "x"})
    event.set("[a][b][c]", 1)
    event.set("[@metadata][d]", 2)
    assert (event.data["a"], event.metadata) == ({"b": {"c": 1}}, {"d": 2})
    with pytest.raises(TypeError, match="Could not set field 'b' on object 'x'"):
        event.set("[text][b]", 1)


def test_removing_returns_the_value():
    """A missing one is nothing."""
    event = Event({"a": {"b": 1, "c": None}, "list": [1, 2]})
    assert (event.remove("[a][b]"), event.remove("[x][y]"), event.remove("[list][0]")) == (1, None, 1)
    assert (event.includes("[a][c]"), event.includes("[a][b]"), event.data) == (True, False, {"a": {"c": None}, "list": [2]})


@pytest.mark.parametrize("text", ["[a", "a]", "[a]b", "[a][]", "[[a]]", ""])
def test_a_broken_reference_is_refused(text):
    """By its text."""
    with pytest.raises(ConfigurationError, match="Invalid FieldReference"):
        references.parse(text)


@pytest.mark.parametrize("text, expected", [
    ("increment.%{[response][status]}", "increment.200"), ("%{ip}", "192.168.24.44"), ("%{missing} %{[a][b]}", "%{missing} %{[a][b]}"),
    ("%{+YYYY.MM.dd.HH}", "2026.11.24.09"), ("%{+xxxx.ww}", "2026.48"), ("%{+%s}", "1795510983"), ("%{response}", '{"status":200,"bytes":52353}'),
    ("%{tags}", "a,b"), ("plain", "plain"), ("%{flag}", "true"), ("100%", "100%"), ("%{[@metadata][k]}", "v"),
])
def test_placeholders_are_filled(text, expected):
    """The sprintf format of the documentation; what is missing stays."""
    event = Event(APACHE | {"@timestamp": timestamps.Timestamp("2026-11-24T09:03:03.500Z"), "tags": ["a", "b"], "flag": True}, {"k": "v"})
    assert template(text)(event) == expected


def test_a_new_event_has_timestamp_and_version():
    """Metadata in the object becomes the event's."""
    event = Event.new({"message": "x", "@metadata": {"a": 1}})
    assert event.metadata == {"a": 1}
    assert event.data["@version"] == "1"
    assert datetime.fromisoformat(event.data["@timestamp"]).tzinfo is not None


def test_a_timestamp_that_is_none_is_kept_beside():
    """With the product's tag."""
    event = Event.new({"@timestamp": "yesterday"})
    assert (event.data["_@timestamp"], event.data["tags"]) == ("yesterday", ["_timestampparsefailure"])


def test_tags_that_are_none_are_kept_beside():
    """As of 8.7: an object under the name of the tags."""
    event = Event.new({"tags": {"a": 1}})
    assert (event.data["_tags"], event.data["tags"]) == ({"a": 1}, ["_tagsparsefailure"])


def test_tags_are_added_once():
    """A text becomes a list."""
    event = Event({"tags": "a"})
    for tag in ("a", "b", "b"):
        event.tag(tag)
    assert event.data["tags"] == ["a", "b"]


def test_only_a_timestamp_can_be_the_timestamp():
    """A text is refused."""
    with pytest.raises(TypeError, match="expected LogStash::Timestamp"):
        Event({}).set("@timestamp", "2026-11-24T10:00:00.000Z")


@pytest.mark.parametrize("given, expected", [
    ("2026-11-24T10:00:00.123Z", "2026-11-24T10:00:00.123Z"), ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00.000Z"),
    ("2026-11-24T10:00:00.123456Z", "2026-11-24T10:00:00.123456Z"), ("2026-11-24T10:00:00.123456789Z", "2026-11-24T10:00:00.123456789Z"),
    ("2026-11-24T10:00:00,5+01:00", "2026-11-24T09:00:00.500Z"), ("2026-11-24T10:00:00.120000-0330", "2026-11-24T13:30:00.120Z"),
    ("2026-02-30T10:00:00.000Z", None), ("2026-11-24 10:00:00", None), ("24/Nov/2026", None), (12, None),
])
def test_timestamps_are_normalised(given, expected):
    """UTC with three, six or nine digits."""
    assert timestamps.coerce(given) == expected


def test_halves_of_surrogate_pairs_do_not_stop_an_event():
    """They become question marks."""
    assert Event({"a": "x\ud83dy"}).json() == b'{"a":"x?y"}'


@pytest.mark.parametrize("pattern, text, expected", [
    ("MMM dd HH:mm:ss", "Apr 07 09:32:01", (4, 7, 9, 32, 1)), ("MMM d HH:mm:ss", "Apr 7 09:32:01", (4, 7, 9, 32, 1)),
    ("MMM  d HH:mm:ss", "Apr  7 09:32:01", (4, 7, 9, 32, 1)), ("MMM dd yyyy HH:mm:ss", "Aug 13 2010 00:03:44", (8, 13, 0, 3, 44)),
    ("dd/MMM/yyyy:HH:mm:ss Z", "24/Nov/2026:11:00:05 +0100", (11, 24, 11, 0, 5)), ("yyyy-MM-dd'T'HH:mm:ss", "2015-01-01T01:12:23", (1, 1, 1, 12, 23)),
    ("EEE, dd MMMM yyyy hh:mm:ss a", "Tue, 24 November 2026 03:04:05 PM", (11, 24, 15, 4, 5)), ("yyyy-DDD HH", "2026-033 07", (2, 2, 7, 0, 0)),
])
def test_dates_are_read_by_pattern(pattern, text, expected):
    """The formats of the date filter's documentation."""
    moment = joda.parser(pattern)(text, UTC)
    assert (moment.month, moment.day, moment.hour, moment.minute, moment.second) == expected


def test_fractions_and_zones_are_read():
    """Milliseconds at the most; an offset wins over the zone."""
    read = joda.parser("yyyy-MM-dd HH:mm:ss,SSS")
    assert read("2026-07-01 12:00:00,123", ZoneInfo("Europe/Berlin")).astimezone(UTC).isoformat() == "2026-07-01T10:00:00.123000+00:00"
    assert joda.parser("yyyy-MM-dd HH:mm ZZ")("2026-07-01 12:00 -07:00", UTC).astimezone(UTC).hour == 19
    assert joda.parser("yyyy-MM-dd HH:mm ZZZ")("2026-07-01 12:00 America/Los_Angeles", UTC).astimezone(UTC).hour == 19


@pytest.mark.parametrize("month, present, expected", [(1, (2026, 12), 2027), (12, (2026, 1), 2025), (6, (2026, 1), 2026)])
def test_a_year_that_is_missing_is_guessed(month, present, expected):
    """Near the turn of the year, the one that lies close."""
    assert joda._guess_year(month, datetime(*present, 15, tzinfo=UTC)) == expected


def test_what_does_not_fit_is_not_read():
    """No date, and a pattern that is none."""
    assert joda.parser("MMM dd HH:mm:ss")("Foo 07 09:32:01", UTC) is None
    assert joda.parser("yyyy-MM-dd")("2026-13-01", UTC) is None
    with pytest.raises(ConfigurationError, match="Illegal pattern component: z"):
        joda.parser("HH:mm z")
