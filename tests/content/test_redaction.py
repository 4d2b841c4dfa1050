"""Secrets and personal data are masked in the text of a record before it may be written to a disk; other texts stay as they are."""

from __future__ import annotations

import json
import pathlib
import re
import time

import pipelines
import pytest

CORPUS = pathlib.Path(__file__).parent / "redaction"
MASK = re.compile(r"\[redacted:[a-z_]+\]")
LEFT_CHARACTERS = 5
"""A piece of a secret of this length is a leak."""


def read(name: str) -> list[str]:
    return [line for line in (CORPUS / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


SECRET = [tuple(line.replace("⏎", "\n").split("\t", 1)) for line in read("secret.txt")]
CLEAN = read("clean.txt")


def masked(text: str) -> str:
    """Return the text after the pipeline that receives it."""
    return pipelines.through(pipelines.beat(text), until="input").get("message")


def parsed(text: str):
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def shape(value):
    """Return an object's names without its values, lists with their length."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


def test_the_corpus_has_the_size_and_the_kinds_that_are_asked_for():
    """At least 200 of each, and every kind that the role masks."""
    assert len(SECRET) >= 200
    assert len(CLEAN) >= 200
    assert len(set(CLEAN)) == len(CLEAN)
    text = pipelines.role_files()["/etc/logstash/pipelines/input.conf"]["content"]
    assert {kind for kind, _line in SECRET} == set(re.findall(r", '[^']*\[redacted:([a-z_]+)\][^']*'", text))


@pytest.mark.parametrize(("kind", "line"), SECRET, ids=[f"{number}-{kind}" for number, (kind, _line) in enumerate(SECRET, 1)])
def test_nothing_of_a_secret_is_left(kind, line):
    """The mask names the kind, no piece of the secret stays, and JSON stays JSON of the same shape."""
    secrets = [secret.replace("¦", "") for secret in re.findall("«(.*?)»", line, re.DOTALL)]
    around = re.sub("«.*?»", "\0", line, flags=re.DOTALL)
    record = re.sub("[«»¦]", "", line)
    result = masked(record)
    assert f"[redacted:{kind}]" in result
    rest = MASK.sub("\0", result)
    for secret in secrets:
        size = min(len(secret), LEFT_CHARACTERS)
        pieces = {secret[start : start + size] for start in range(len(secret) - size + 1)}
        assert not [piece for piece in pieces if piece in rest and piece not in around], result
    if parsed(record) is not None:
        assert parsed(result) is not None, f"no JSON any more: {result}"
        assert shape(parsed(result)) == shape(parsed(record))


@pytest.mark.parametrize("line", CLEAN)
def test_what_is_no_secret_stays(line):
    """Identifiers, times, sizes and sentences about secrets are not touched."""
    assert masked(line) == line


@pytest.mark.parametrize(("kind", "line"), SECRET[::7])
def test_a_masked_record_is_left_alone(kind, line):
    """A record that comes a second time looks as it did the first time."""
    once = masked(re.sub("[«»¦]", "", line))
    assert masked(once) == once


def test_a_secret_in_json_is_masked_before_the_record_is_parsed():
    """So every field of the record is masked, whatever its name."""
    record = {
        "message": "signed in",
        "labels": {"deep": {"mail": "joe@example.org"}},
        "url": {"full": "https://u:hunter2fake@example.org/"},
        "x": ["AKIA" + "FAKEFAKEFAKEFAKE"],
    }
    event = pipelines.through(pipelines.beat(json.dumps(record)))
    assert event.get("[labels][deep][mail]") == "[redacted:email]"
    assert event.get("[url][full]") == "https://u:[redacted:url_password]@example.org/"
    assert event.get("[labels][x]") == ["[redacted:aws]"]
    assert event.get("message") == "signed in"


def test_no_second_copy_of_the_text_is_kept():
    """Neither in the event nor in its metadata is there an unmasked text when it leaves the first pipeline."""
    event = pipelines.through(
        pipelines.beat(
            "password=hunter2fake",
            event={"original": "password=hunter2fake"},
            custom="hunter2fake",
            process={"command_line": "x --password hunter2fake", "args": ["hunter2fake"], "pid": 1},
        ),
        until="input",
    )
    assert "hunter2fake" not in json.dumps([event.data, event.metadata], default=str)
    assert event.get("[process][pid]") == 1


def test_patterns_stay_with_what_ruby_and_python_share():
    """The stand-in runs them with Python, the product with Ruby."""
    for group in pipelines.role_files()["/etc/logstash/pipelines/input.conf"]["content"].split("gsub => [")[1:]:
        for pattern in re.findall(r"\"message\", '(.*)', '.*'", group.split("\n      ]", 1)[0]):
            assert not re.search(r"\\[AzZhHRXGK]|\\p\{|\(\?<[a-zA-Z]|\(\?P|\[\[:|&&", pattern), pattern
            assert not re.search(r"[*+?}]\+", re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", pattern)), pattern


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a@" * 50_000,
        "password=" * 10_000,
        "-----BEGIN PRIVATE KEY-----" + "A" * 100_000 + '"',
        "http://" * 15_000,
        "\\" * 100_000,
        '"password":"' + "x" * 100_000,
        "a." * 50_000 + "@",
        "eyJ" + "a" * 100_000,
        "mysql " * 15_000,
        "4" * 100_000,
        "<" + "a" * 100_000,
        "--" + "a-" * 50_000,
        "DE12 1234" * 10_000,
        "cookie: " * 10_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_long_record_is_read_in_time(text):
    """No pattern takes more than a few times the length: a hostile line cannot stop the pipeline."""
    began = time.process_time()
    masked(text)
    assert time.process_time() - began < 10


def test_a_site_masks_more():
    """logstash_redactions adds kinds of the site's own."""
    values = {"logstash_redactions": {"customer": "CUST-[0-9]{8}", "email": "MAIL-[0-9]{4}"}}
    event = pipelines.through(pipelines.beat("order of CUST-12345678, MAIL-1234"), until="input", **values)
    assert event.get("message") == "order of [redacted:customer], [redacted:email]"
    ids = re.findall(r' id => "([^"]+)"', pipelines.role_files(**values)[f"{pipelines.FOLDER}input.conf"]["content"])
    assert len(ids) == len(set(ids)), "Logstash refuses an id that two plugins have"
