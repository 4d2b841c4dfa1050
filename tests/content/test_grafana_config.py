"""Grafana's files, rendered for 10 and for 13: it ignores what it does not know in silence, so every key is looked up."""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import tarfile

import pytest
import yaml
from rendered import forget, role_files
from shipped import ARCHITECTURES, cache_folder

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
SECRETS = {
    "grafana_secret_key": "the-secret-key", "grafana_admin_password": "the-admin-password", "elasticsearch_password_grafana": "the-reader-password",
}
EVERYTHING = """
observatory:
  hosts:
    hub: {ansible_host: 192.0.2.1}
    hub2: {ansible_host: 192.0.2.2}
  children: GROUPS
"""
BOTH = {"hosts": {"hub": {}, "hub2": {}}}
ONE = {"hosts": {"hub": {}}}
VERSIONS = ("10.0.0", "13.2.3")


@pytest.fixture(scope="module")
def grafana(tmp_path_factory):
    """Return a function that renders the role on an inventory with these groups: path -> file."""
    inventories = {}

    def render(version="10.0.0", groups=None, **values):
        groups = {"prometheus": ONE, "alertmanager": ONE, "elasticsearch": ONE, "jaeger": ONE} if groups is None else groups
        text = EVERYTHING.replace("GROUPS", json.dumps({**groups, "grafana": ONE}))
        if text not in inventories:
            inventories[text] = tmp_path_factory.mktemp("inventory") / "hosts.yml"
            inventories[text].write_text(text)
        site = {"observatory_site": "lab", "observatory_public_url": "https://observatory.example.org"}
        return role_files("grafana", inventory=str(inventories[text]), grafana_version=version, **{**SECRETS, **site, **values})

    return render


def settings(files):
    """Return section -> key -> value of grafana.ini."""
    parser = configparser.RawConfigParser(strict=True)
    parser.read_string(files["/etc/grafana/grafana.ini"]["content"])
    return {section: dict(parser[section]) for section in parser.sections()}


def sources(files):
    """Return name -> data source, and the whole file."""
    whole = yaml.safe_load(files["/etc/grafana/provisioning/datasources/observatory.yml"]["content"])
    return {source["name"]: source for source in whole["datasources"]}, whole


def shipped_keys(version):
    """Return the keys that a Grafana knows, section.key: of 10 out of its archive, of 13 out of its documentation."""
    if version.startswith("13"):
        return set((FIXTURES / "grafana-13" / "settings.txt").read_text().split())
    name = f"grafana-{version}.linux-{ARCHITECTURES['x86_64']}.tar.gz"
    archive = cache_folder() / "lab" / "mirror" / "dl.grafana.com" / "oss" / "release" / name
    if not archive.is_file():
        pytest.skip(f"the lab's mirror has no {name} yet: python -m lab mirror")
    with tarfile.open(archive) as content:
        text = next(content.extractfile(entry).read().decode() for entry in content if entry.name.endswith("/conf/defaults.ini"))
    keys, section = set(), ""
    for line in text.splitlines():
        if match := re.match(r"\[(.+)\]", line):
            section = match[1]
        elif match := re.match(r"([a-z_]+)\s*=", line):
            keys.add(f"{section}.{match[1]}")
    return keys


@pytest.mark.parametrize("version", VERSIONS)
def test_every_setting_is_known_to_its_version(grafana, version):
    """A mistyped key would be no error and no setting."""
    rendered = {f"{section}.{key}" for section, keys in settings(grafana(version)).items() for key in keys}
    assert not (unknown := rendered - shipped_keys(version)), f"Grafana {version} does not know {sorted(unknown)}"


def test_settings_differ_between_versions_where_grafana_does(grafana):
    """And nowhere else."""
    old, new = (settings(grafana(version)) for version in VERSIONS)
    flat = [{(section, key): value for section, keys in part.items() for key, value in keys.items()}.items() for part in (old, new)]
    assert {f"{section}.{key}={value}" for (section, key), value in flat[0] - flat[1]} == {
        "alerting.enabled=false", "security.angular_support_enabled=false",
    }
    assert {f"{section}.{key}={value}" for (section, key), value in flat[1] - flat[0]} == {
        "news.news_feed_enabled=false", "public_dashboards.enabled=false", "plugins.public_key_retrieval_disabled=true", "plugins.preinstall_disabled=true",
        "plugins.preinstall_auto_update=false",
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_front_can_sign_people_in(grafana, version):
    """Grafana listens on its socket, whoever names himself there is believed, and no setting of a site changes that."""
    wrong = {"server": {"protocol": "http", "socket_mode": "0666"}, "auth.proxy": {"headers": "", "sync_ttl": 60}, "auth.anonymous": {"enabled": True}}
    ini = settings(grafana(version, grafana_settings={**wrong, "users": {"default_theme": "light"}}))
    assert {key: ini["server"][key] for key in ("protocol", "socket", "socket_mode", "serve_from_sub_path", "root_url")} == {
        "protocol": "socket", "socket": "/run/grafana/grafana.sock", "socket_mode": "0660", "serve_from_sub_path": "false",
        "root_url": "https://observatory.example.org/grafana/",
    }
    assert ini["auth.proxy"] == {
        "enabled": "true", "header_name": "X-WEBAUTH-USER", "header_property": "username", "headers": "Role:X-WEBAUTH-ROLE", "auto_sign_up": "true",
        "whitelist": "", "sync_ttl": "1",
    }
    assert (ini["auth.basic"]["enabled"], ini["auth.anonymous"]["enabled"], ini["auth"]["disable_login_form"]) == ("false", "false", "true")
    # No name that the gateway allows is that of Grafana's own first user.
    assert not re.fullmatch(r"[a-z0-9_]+", ini["security"]["admin_user"])
    assert ini["users"]["default_theme"] == "light"


@pytest.mark.parametrize("version", VERSIONS)
def test_secrets_are_in_files_of_grafana_alone(grafana, version):
    """No other file holds one; what refers to them names files that are there."""
    files = grafana(version)
    for path, entry in files.items():
        held = [value for value in [*SECRETS.values(), "key\n"] if value.strip() == entry["content"].strip()]
        if path.startswith(("/etc/grafana/secrets/", "/etc/grafana/tls/")) and not path.endswith(".crt"):
            assert held and (entry["owner"], entry["group"], entry["mode"], entry["secret"]) == ("root", "grafana", "0640", True), path
        else:
            assert not [value for value in SECRETS.values() if value in entry["content"]], path
    named = {
        name for path in ("/etc/grafana/grafana.ini", "/etc/grafana/provisioning/datasources/observatory.yml")
        for name in re.findall(r"\$__file\{([^}]+)\}", files[path]["content"])
    }
    assert named and named <= set(files)


@pytest.mark.parametrize("version", VERSIONS)
def test_data_sources_lead_to_each_other(grafana, version):
    """From a metric's exemplar to the trace, from a log line to the trace, from a span to its logs and metrics."""
    found, _whole = sources(grafana(version))
    assert {name: (source["uid"], source["type"], source["url"]) for name, source in found.items()} == {
        "Prometheus": ("prometheus", "prometheus", "https://192.0.2.1:9090"),
        "Elasticsearch": ("elasticsearch", "elasticsearch", "https://192.0.2.1:9200"),
        "Jaeger": ("jaeger", "jaeger", "https://192.0.2.1:9443/jaeger"),
        "Alertmanager": ("alertmanager", "alertmanager", "https://192.0.2.1:9093"),
    }
    # $$ is a literal $ in a provisioning file.
    assert found["Prometheus"]["jsonData"]["exemplarTraceIdDestinations"] == [{"name": "trace_id", "datasourceUid": "jaeger"}]
    assert found["Elasticsearch"]["jsonData"]["dataLinks"] == [{"field": "trace.id", "datasourceUid": "jaeger", "url": "$${__value.raw}"}]
    assert found["Jaeger"]["jsonData"]["tracesToLogsV2"]["query"] == 'trace.id:"$${__span.traceId}"'
    assert {entry["name"] for entry in found["Jaeger"]["jsonData"]["tracesToMetrics"]["queries"]}
    assert all("$$__tags" in entry["query"] for entry in found["Jaeger"]["jsonData"]["tracesToMetrics"]["queries"])
    for name, source in found.items():
        assert source["jsonData"]["tlsAuth"] and source["jsonData"]["tlsAuthWithCACert"], name
        assert set(source["secureJsonData"]) - {"basicAuthPassword"} == {"tlsCACert", "tlsClientCert", "tlsClientKey"}, name
        assert source["editable"] is False and re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", source["uid"]), name


def test_dollar_signs_are_meant_for_grafana(grafana):
    """A single $ is the name of a variable of Grafana's environment, which would be empty."""
    text = grafana()["/etc/grafana/provisioning/datasources/observatory.yml"]["content"]
    assert not re.findall(r"(?<!\$)\$(?!\$|__file\{)", text)


def test_a_source_that_the_inventory_lacks_is_neither_there_nor_linked_to(grafana):
    """A site with metrics alone."""
    files = grafana(groups={"prometheus": ONE})
    found, whole = sources(files)
    assert set(found) == {"Prometheus"}
    assert "jaeger" not in files["/etc/grafana/provisioning/datasources/observatory.yml"]["content"]
    assert "/etc/grafana/secrets/elasticsearch" not in files
    assert [entry["name"] for entry in whole["deleteDatasources"]] == ["Alertmanager", "Elasticsearch", "Jaeger", "Prometheus hub", "Prometheus hub2"]


def test_each_prometheus_is_a_source_and_the_first_is_the_default(grafana):
    """A pair."""
    found, whole = sources(grafana(groups={"prometheus": BOTH}))
    assert {name: (source["uid"], source["isDefault"]) for name, source in found.items()} == {
        "Prometheus": ("prometheus", True), "Prometheus hub2": ("prometheus-hub2", False),
    }
    assert {"name": "Prometheus hub2", "orgId": 1} not in whole["deleteDatasources"]


def test_newer_grafana_removes_stale_sources_by_itself(grafana):
    """`prune` came with 11.1; older ones refuse nothing and do nothing about it."""
    _found, old = sources(grafana("11.0.1"))
    _found, new = sources(grafana("11.1.0"))
    assert "prune" not in old and "deleteDatasources" in old
    assert new["prune"] is True and "deleteDatasources" not in new


def test_further_sources_of_a_site_come_after_the_platforms(grafana):
    """In Grafana's own form."""
    own = {"name": "Loki", "uid": "loki", "type": "loki", "access": "proxy", "url": "https://loki.example.org"}
    assert sources(grafana(grafana_datasources=[own]))[1]["datasources"][-1] == own


def test_dashboards_lie_where_grafana_looks_for_them(grafana):
    """In a folder each, and the first page is one of them."""
    files = grafana()
    provider = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/observatory.yml"]["content"])["providers"][0]
    assert provider["options"] == {"path": "/etc/grafana/dashboards", "foldersFromFilesStructure": True}
    assert (provider["disableDeletion"], provider["allowUiUpdates"]) == (False, False)
    assert settings(files)["dashboards"]["default_home_dashboard_path"] in files


def test_rendering_twice_gives_the_same_bytes(grafana):
    """Or each run would restart Grafana."""
    first = {path: entry["content"] for path, entry in grafana().items()}
    forget()
    assert {path: entry["content"] for path, entry in grafana().items()} == first
