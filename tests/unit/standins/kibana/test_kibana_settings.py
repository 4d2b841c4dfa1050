"""kibana.yml: what is read from it, and in which words a wrong one is refused."""

from __future__ import annotations

import pytest
from kibana_standin import settings as config
from kibana_standin import yaml_subset
from kibana_standin.main import read_node_options

KEY = "k" * 32


def read(tmp_path, *texts, environment=None):
    paths = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yml"
        path.write_text(text)
        paths.append(str(path))
    return config.read(paths, environment or {})


@pytest.mark.parametrize(("text", "data"), [
    ("", None),
    ("---\n# nothing\n", None),
    ("a: 1\nb: 1.5\nc: true\nd: null\ne: text with spaces\nf: '1'\ng: \"a\\nb\"\nh: it's # so\n",
     {"a": 1, "b": 1.5, "c": True, "d": None, "e": "text with spaces", "f": "1", "g": "a\nb", "h": "it's"}),
    ("a: https://es1:9200/x#y\n", {"a": "https://es1:9200/x#y"}),
    ("a:\n  b.c: 1\n  d:\n    - x\n    - 'y: z'\ne: []\nf: {}\n", {"a": {"b.c": 1, "d": ["x", "y: z"]}, "e": [], "f": {}}),
    ("a:\n- x\n- b: 1\n  c: 2\n- - y\nd: 1\n".replace("- - y\n", ""), {"a": ["x", {"b": 1, "c": 2}], "d": 1}),
    ('a: ["x", y, 3, [true]]\nb: {c: d, "e": [f]}\n', {"a": ["x", "y", 3, [True]], "b": {"c": "d", "e": ["f"]}}),
    ("a: '''quoted'' # no comment'\n", {"a": "'quoted' # no comment"}),
    ("a:\nb: x\n", {"a": None, "b": "x"}),
])
def test_yaml_is_read(text, data):
    """The forms that Ansible writes and operators use."""
    assert yaml_subset.load(text) == data


@pytest.mark.parametrize(("text", "words"), [
    ("a: 1\na: 2\n", "line 2: duplicated mapping key 'a'"),
    ("a: 1\n  b: 2\n", "line 2: 'b: 2' is indented as nothing above it"),
    ("a: [1, 2\n", "line 1: a list does not end on its line"),
    ("a: 'x\n", "line 1: a quote does not end on its line"),
    ("a: &x 1\n", "line 1: the stand-in does not read '&'"),
    ("a: |\n  text\n", "line 1: the stand-in does not read '|'"),
    ("a: b: c\n", "line 1: 'b: c' needs quotes, or a line break after its first colon"),
    ("a: 1\nb\n", "line 2: expected 'key: value', found 'b'"),
    ("a: 'x' y\n", "line 1: 'y' after the end of a value"),
])
def test_yaml_that_is_wrong_or_too_much_is_refused(text, words):
    """With the number of the line: a guess would hide a mistake of the role."""
    with pytest.raises(yaml_subset.YamlError) as caught:
        yaml_subset.load(text)
    assert str(caught.value) == words


def test_keys_are_the_same_dotted_and_nested(tmp_path):
    """And what is not set has Kibana's default."""
    settings = read(tmp_path, "server.port: 5602\nserver:\n  host: 0.0.0.0\nelasticsearch:\n  hosts: https://a:9200\nlogging.root.appenders: [default]\n")
    assert [settings[key] for key in ("server.port", "server.host", "elasticsearch.hosts", "server.basePath")] == [5602, "0.0.0.0", ["https://a:9200"], ""]


def test_the_later_file_wins_and_names_of_the_environment_are_put_in(tmp_path):
    """As with several --config, and ${NAME} or ${NAME:default} in a value."""
    settings = read(tmp_path, "server.name: a\nserver.port: 1\n", "server.name: ${NAME}-${OTHER:x}\n", environment={"NAME": "hub"})
    assert (settings["server.name"], settings["server.port"]) == ("hub-x", 1)
    with pytest.raises(config.ConfigError, match="Unknown environment variable referenced in config : NAME"):
        read(tmp_path, "server.name: ${NAME}\n")


@pytest.mark.parametrize(("text", "words", "code"), [
    ("server.prot: 5601\n", "[config validation of [server].prot]: definition for this key is missing", 78),
    ("telemetri.optIn: false\nfoo: 1\n",
     'Unknown configuration key(s): "foo", "telemetri.optIn". Check for spelling errors and ensure that expected plugins are installed.', 64),
    ("xpack.monitorin.enabled: false\n",
     'Unknown configuration key(s): "xpack.monitorin.enabled". Check for spelling errors and ensure that expected plugins are installed.', 64),
    ("server.port: '5601'\n", "[config validation of [server].port]: expected value of type [number] but got [string]", 78),
    ("server.rewriteBasePath: 'no'\n", "[config validation of [server].rewriteBasePath]: expected value of type [boolean] but got [string]", 78),
    ("server.basePath: /kibana/\n", "[config validation of [server].basePath]: must start with a slash, don't end with one", 78),
    ("server.rewriteBasePath: true\n", "[config validation of [server]]: cannot use [rewriteBasePath] when [basePath] is not specified", 78),
    ("server.basePath: /kibana\nserver.publicBaseUrl: https://x.example\n",
     "[config validation of [server]]: [publicBaseUrl] must contain the [basePath]: / !== /kibana", 78),
    ("xpack.security.encryptionKey: short-key\n",
     "[config validation of [xpack.security].encryptionKey]: value has length [9] but it must have a minimum length of [32].", 78),
    (f"xpack.encryptedSavedObjects.encryptionKey: {'k' * 31}\n",
     "[config validation of [xpack.encryptedSavedObjects].encryptionKey]: value has length [31] but it must have a minimum length of [32].", 78),
    ("elasticsearch.serviceAccountToken: t\nelasticsearch.username: kibana_system\n",
     '[config validation of [elasticsearch].serviceAccountToken]: serviceAccountToken cannot be specified when "username" is also set.', 78),
    ("elasticsearch.hosts: [es1:9200]\n", "[config validation of [elasticsearch].hosts]: expected URI with scheme [http|https].", 78),
    ("elasticsearch.ssl.certificateAuthorities: [/nowhere/ca.crt]\n", "ENOENT: no such file or directory, open '/nowhere/ca.crt'", 1),
    ("elasticsearch.requestTimeout: 30 seconds\n",
     "[config validation of [elasticsearch].requestTimeout]: Failed to parse value as time value. Value must be a duration in milliseconds, "
     "or follow the format <count>[ms|s|m|h|d|w|M|Y], got [30 seconds]", 78),
    ("logging.root.level: info\n", "[config validation of [logging].root]: expected at least one defined value but got [undefined]", 78),
    ("logging.root.appenders: [file]\n", '[config validation of [logging]]: Logger "root" contains unsupported appender key "file".', 78),
])
def test_a_wrong_configuration_is_refused_in_kibanas_words(tmp_path, text, words, code):
    """By name, and with the exit code that Kibana ends with."""
    with pytest.raises(config.ConfigError) as caught:
        read(tmp_path, text)
    assert (str(caught.value), caught.value.code) == (words, code)


def test_a_value_that_is_none_of_the_allowed_is_refused(tmp_path):
    """With the list of those."""
    with pytest.raises(config.ConfigError) as caught:
        read(tmp_path, "elasticsearch.ssl.verificationMode: strict\n")
    assert str(caught.value) == (
        "[config validation of [elasticsearch].ssl.verificationMode]: types that failed validation:\n"
        "- [elasticsearch.ssl.verificationMode]: expected value to equal [none]\n"
        "- [elasticsearch.ssl.verificationMode]: expected value to equal [certificate]\n"
        "- [elasticsearch.ssl.verificationMode]: expected value to equal [full]"
    )


def test_which_files_are_read():
    """Those of the command line, else those of the environment, else kibana.yml."""
    assert config.config_files("/opt/k", ["/a.yml", "/b.yml"], {"KBN_CONFIG_PATHS": "/c.yml"}) == ["/a.yml", "/b.yml"]
    assert config.config_files("/opt/k", [], {"KBN_CONFIG_PATHS": "/c.yml, /d.yml", "KBN_PATH_CONF": "/etc/kibana"}) == ["/c.yml", "/d.yml"]
    assert config.config_files("/opt/k", [], {"KBN_PATH_CONF": "/etc/kibana"}) == ["/etc/kibana/kibana.yml"]
    assert config.config_files("/opt/k", [], {}) == ["/opt/k/config/kibana.yml"]


def test_nodes_options_are_read(tmp_path):
    """Comments apart; what is no option is refused."""
    (tmp_path / "node.options").write_text("# comment\n--max-old-space-size=1024\n--a --b\n")
    assert read_node_options(str(tmp_path)) == ["--max-old-space-size=1024", "--a", "--b"]
    (tmp_path / "node.options").write_text("max-old-space-size=1024\n")
    with pytest.raises(config.ConfigError, match="node: max-old-space-size=1024: not found"):
        read_node_options(str(tmp_path))
