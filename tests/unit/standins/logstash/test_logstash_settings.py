"""logstash.yml, pipelines.yml, jvm.options and the command line: what is read, what is refused, and with which words."""

from __future__ import annotations

import pytest
from logstash import jvm, main, yamlfile
from logstash.errors import BootstrapCheckError, ConfigurationError, SettingError, UsageError
from logstash.settings import check, read_settings
from logstash.substitution import replace


def read(tmp_path, text: str, **variables: str):
    (tmp_path / "logstash.yml").write_text(text)
    return read_settings(tmp_path, variables)


def test_yaml_is_read():
    """Mappings, lists, flow style, quotes, folded lines, literals, comments."""
    assert yamlfile.load("""---
# comment
a.b: 1
text: "x # y\\n"   # comment
list:
- one: 1
  two: [a, 'b', {c: d}]
-   - nested
- {e: 1.5, f: ~}
map:
    yes: on
    url: https://x:9200/a#b
    folded: a text
      that goes on
    quoted: "it goes
      on"
literal: |
  first
    second

  third
empty:
last: 'it''s'
""") == {
        "a.b": 1, "text": "x # y\n", "list": [{"one": 1, "two": ["a", "b", {"c": "d"}]}, ["nested"], {"e": 1.5, "f": None}],
        "map": {True: True, "url": "https://x:9200/a#b", "folded": "a text that goes on", "quoted": "it goes on"},
        "literal": "first\n  second\n\nthird\n", "empty": None, "last": "it's",
    }


@pytest.mark.parametrize("text, words", [
    ("a: 1\na: 2", "line 2: 'a: 2' gives 'a' a second time"), ("a: &x 1", "line 1: 'a: &x 1' has anchors"), ("a:\n\tb: 1", "line 2: is indented with a tab"),
    ("a: [1, 2", "line 1: 'a: [1, 2' is not closed"), ("a:\n  b: 1\n c: 2", "line 3: 'c: 2'"), ("a: 1\nb", "line 2: 'b' is no 'key: value'"),
    ("a: 1\n  b: 2\n", ""),
])
def test_yaml_that_cannot_be_read_is_refused(text, words):
    """By line. The last one is a text that goes on, as YAML has it."""
    if not words:
        assert yamlfile.load(text) == {"a": "1 b: 2"}
        return
    with pytest.raises(yamlfile.YamlError) as error:
        yamlfile.load(text)
    assert words in str(error.value)


def test_settings_are_read_flat_and_nested(tmp_path):
    """With sizes, times and variables; what is not set has its default."""
    text = f'path.data: {tmp_path}/data\nqueue:\n  type: persisted\n  max_bytes: 5gb\nconfig.reload.interval: "3s"\nnode.name: "${{NAME:x}}-${{SITE}}"\n'
    settings = read(tmp_path, text, SITE="lab")
    assert [settings[name] for name in ("queue.type", "queue.max_bytes", "config.reload.interval", "node.name", "pipeline.batch.size", "path.queue")] == [
        "persisted", 5 << 30, 3.0, "x-lab", 125, f"{tmp_path}/data/queue",
    ]
    assert list(settings["api.http.port"])[::100] == [9600, 9700]


@pytest.mark.parametrize("text, words", [
    ("queue.typ: memory", 'Setting "queue.typ" doesn\'t exist. Please check if you haven\'t made a typo.'),
    ("queue.type: disk", "Options are: [persisted, memory]"),
    ("config.reload.automatic: maybe", 'Setting "config.reload.automatic" must be a boolean. Received: maybe'),
    ("pipeline.workers: 0", "Number must be bigger than 0. Received: 0"), ("queue.max_bytes: many", "Invalid byte value `many`"),
    ("config.reload.interval: 3 parsecs", "Invalid time value"), ("api.http.port: 99999", "within the range of 1-65535"),
    ("http.port: 9600", '"http.port" doesn\'t exist'),
    ("path.data: /proc/version/x", "must be a writable directory"), ("pipeline.batch.size: ten", "Failed to coerce value to Numeric. Received ten"),
    ("log.level: loud", "Options are: [fatal, error"), ("xpack.monitoring.enabled: true", "Options are: [False]"),
])
def test_settings_are_refused_by_name(tmp_path, text, words):
    """With the value and what it should be."""
    with pytest.raises(SettingError) as error:
        read(tmp_path, text)
    assert words in str(error.value)


def test_a_variable_without_a_value_is_refused():
    """In the product's words."""
    words = r"Cannot evaluate `\$\{A\}`\. Replacement variable `A` is not defined in a Logstash secret store or as an Environment"
    with pytest.raises(ConfigurationError, match=words):
        replace("x${A}", {})


@pytest.mark.parametrize("text, words", [
    ("ssl.reload.automatic: true", "requires `config.reload.automatic: true`"),
    ("queue.type: persisted\nqueue.max_bytes: 1mb", "must be equal or greater than 'queue.page_capacity'"),
])
def test_settings_that_do_not_go_together_are_refused(tmp_path, text, words):
    """The product's bootstrap checks."""
    with pytest.raises(BootstrapCheckError, match=words):
        check(read(tmp_path, text))


def test_only_settings_of_a_pipeline_belong_into_pipelines_yml(tmp_path):
    """A node's setting there is refused, as in the product."""
    settings = read(tmp_path, "")
    assert settings.with_pipeline({"pipeline.id": "a", "queue": {"type": "persisted"}})["queue.type"] == "persisted"
    with pytest.raises(SettingError, match=r'Only pipeline related settings are expected\. Received "log\.level"'):
        settings.with_pipeline({"pipeline.id": "a", "log.level": "debug"})


def test_the_heap_comes_from_jvm_options():
    """Lines for other versions of Java do not count; the last size wins."""
    assert jvm.heap(["## comment", "-Xms512m", "-Xmx1g", "17:-Xmx9g", "21-:-Xmx2g", "11-13:-XX:+UseG1GC", "-Djava.io.tmpdir=/x"]) == (512 << 20, 2 << 30)


@pytest.mark.parametrize("line, words", [
    ("Xmx1g", "line 1: 'Xmx1g' is no option of Java"), ("-Xmx1t", "Invalid heap size: -Xmx1t"), ("-Xms4g", "Initial heap size set to a larger value"),
])
def test_options_that_java_would_refuse_are_refused(line, words):
    """By line."""
    with pytest.raises(SettingError, match=words):
        jvm.heap([line])


def test_the_command_line_is_read():
    """As the role and people call it."""
    assert main.command_line(["--path.settings", "/etc/logstash", "--path.data=/x", "-t", "-r", "--no-api.enabled"]) == {
        "path.settings": "/etc/logstash", "path.data": "/x", "config.test_and_exit": True, "config.reload.automatic": True, "api.enabled": False,
    }


@pytest.mark.parametrize("arguments, words", [
    (["--nosuch"], "Unrecognised option '--nosuch'"), (["--path.data"], "no value provided"), (["start"], "Unknown command 'start'"),
])
def test_an_unknown_option_is_refused(arguments, words):
    """By name."""
    with pytest.raises(UsageError, match=words):
        main.command_line(arguments)


def test_the_version_is_printed(capsys):
    """As the product prints it."""
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == "logstash 9.5.0\n"
