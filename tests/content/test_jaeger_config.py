"""Jaeger's configuration, in the form of each release: the one that the lab runs reads its own, the newer one's is compared with its rules."""

from __future__ import annotations

import pathlib
import platform
import subprocess
import tarfile
import typing as t

import pytest
import yaml
from rendered import role_files
from shipped import ARCHITECTURES, GROUP_VARS, cache_folder, read_yaml

GROUPS = {"all": ["app1", "hub"], "jaeger": ["hub"], "prometheus": ["hub"], "elasticsearch": ["hub"]}
HOSTVARS = {"hub": {"observatory_address": "192.0.2.11", "prometheus_port": 9090, "elasticsearch_port": 9200}}
STORES = ["https://192.0.2.11:9200"]
# The older form of index rotation, and the first release with the newer one.
VERSIONS = ("2.13.0", "2.19.0", "2.20.0", "2.21.0")
INDICES = ("spans", "services", "dependencies", "sampling")
# Keys that 2.20 and 2.21 refuse. Source: their release notes.
REFUSED = {
    "use_aliases", "use_ilm", "span_read_alias", "span_write_alias", "service_read_alias", "service_write_alias", "disable_health_check",
    "health_check_timeout_startup", "send_get_body_as", "use_https", "max_actions",
}


def config(version: str, **values: t.Any) -> dict[str, t.Any]:
    given = {"groups": GROUPS, "hostvars": HOSTVARS, "observatory_elasticsearch_urls": STORES, "elasticsearch_password_jaeger": "not-in-the-configuration"}
    return yaml.safe_load(role_files("jaeger", "hub", **(given | {"jaeger_version": version} | values))["/etc/jaeger/config.yml"]["content"])


def store(version: str) -> dict[str, t.Any]:
    return config(version)["extensions"]["jaeger_storage"]["backends"]["elasticsearch"]["elasticsearch"]


def names(node: t.Any) -> set[str]:
    """Return all keys, at any depth."""
    if isinstance(node, dict):
        return set(node) | {name for value in node.values() for name in names(value)}
    return {name for entry in node for name in names(entry)} if isinstance(node, list) else set()


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory):
    """Return the program that the lab runs."""
    version = read_yaml(GROUP_VARS / "versions.yml")["jaeger_version"]
    archive = cache_folder() / f"lab/mirror/github.com/jaegertracing/jaeger/releases/download/v{version}" / (
        f"jaeger-{version}-linux-{ARCHITECTURES[platform.machine()]}.tar.gz"
    )
    if not archive.is_file():
        pytest.skip(f"the lab's mirror has no {archive.name} yet: python -m lab mirror")
    folder = tmp_path_factory.mktemp("jaeger")
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    return next(folder.glob("*/jaeger"))


def validate(program: pathlib.Path, folder: pathlib.Path, content: dict[str, t.Any]) -> subprocess.CompletedProcess:
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return subprocess.run([program, "validate", "--config", path], capture_output=True, text=True, check=False)


def test_jaeger_itself_accepts_the_configuration(jaeger, tmp_path):
    """`jaeger validate` of the real product, which refuses keys that it does not know."""
    content = config(read_yaml(GROUP_VARS / "versions.yml")["jaeger_version"])
    done = validate(jaeger, tmp_path, content)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_newer_form_is_an_error_to_the_older_release(jaeger, tmp_path):
    """So rendering by version is needed, and the test above would find a slip."""
    done = validate(jaeger, tmp_path, config("2.20.0"))
    assert done.returncode != 0
    assert "rotation" in done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_indices_are_daily_in_the_form_of_the_release(version):
    """Below `rotation` from 2.20 on, where the older keys are an error; beside shards before."""
    daily = {"date_layout": "2006-01-02", "rollover_frequency": "day"}
    newer = tuple(int(part) for part in version.split(".")) >= (2, 20, 0)
    expected = {"shards": 1, "replicas": 0} | ({"rotation": {"periodic": daily}} if newer else daily)
    assert {name: store(version)["indices"][name] for name in INDICES} == dict.fromkeys(INDICES, expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_key_is_used_that_a_newer_release_refuses(version):
    """An upgrade needs no other variable than the version."""
    assert not names(config(version)) & REFUSED


@pytest.mark.parametrize("version", VERSIONS)
def test_the_password_is_in_a_file_of_its_own(version):
    """The configuration is readable by all; it names the file."""
    content = config(version)
    assert "not-in-the-configuration" not in yaml.safe_dump(content)
    assert store(version)["auth"] == {"basic": {"username": "jaeger", "password_file": "/etc/jaeger/secrets/elasticsearch"}}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_spans_are_taken_from_those_alone_who_show_a_certificate(protocol):
    """Everything else listens on the loopback."""
    tls = config("2.13.0")["receivers"]["otlp"]["protocols"][protocol]["tls"]
    assert tls["client_ca_file"] == "/etc/jaeger/tls/ca.crt"
    assert tls["min_version"] == "1.2"


def test_everything_but_the_receivers_listens_on_the_loopback():
    """Query, health, sampling, its own metrics and those of spans."""
    content = config("2.13.0")
    endpoints = [content["exporters"]["prometheus"]["endpoint"], content["extensions"]["healthcheckv2"]["http"]["endpoint"]]
    endpoints += [content["extensions"]["jaeger_query"][kind]["endpoint"] for kind in ("http", "grpc")]
    endpoints += [content["extensions"]["remote_sampling"][kind]["endpoint"] for kind in ("http", "grpc")]
    readers = content["service"]["telemetry"]["metrics"]["readers"]
    endpoints += [reader["pull"]["exporter"]["prometheus"]["host"] + ":" for reader in readers]
    assert {endpoint.rpartition(":")[0] for endpoint in endpoints} == {"127.0.0.1"}


def test_without_prometheus_there_is_no_page_of_metrics():
    """Jaeger would ask for what is not there."""
    content = config("2.13.0", groups=GROUPS | {"prometheus": []})
    assert "metric_backends" not in content["extensions"]["jaeger_storage"]
    assert content["extensions"]["jaeger_query"]["storage"] == {"traces": "elasticsearch"}
