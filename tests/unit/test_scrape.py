"""What Prometheus scrapes follows the inventory and services.yml."""

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import scrape

GROUPS = {"node_exporter": ["app1", "hub"], "blackbox_exporter": ["hub"], "alertmanager": ["hub"]}
VALUES = {
    "hub": {"observatory_address": "192.0.2.1", "node_exporter_port": 9100, "blackbox_exporter_port": 9115, "mesh_port": 9094},
    "app1": {"observatory_address": "2001:db8::2", "node_exporter_port": 19100},
}
JOBS = [{"name": "node", "group": "node_exporter", "port": "node_exporter_port"}, {"name": "none", "group": "nowhere", "port": "x"}]
LISTENERS = [
    {"component": "node_exporter", "group": "node_exporter", "port": "node_exporter_port"},
    {"component": "alertmanager", "group": "alertmanager", "port": "mesh_port", "members": 2},
]


class Hosts:
    def members(self, group):
        return GROUPS.get(group, [])

    def exists(self, name):
        return name in VALUES

    def value(self, host, name):
        return VALUES[host][name]


def build(**given):
    arguments = {"jobs": JOBS, "listeners": [], "declared_services": {}, "declared_probes": {}, "team": "platform", "hosts": Hosts()}
    return scrape.build(**{**arguments, **given})


def contents(built):
    return {file["path"].removeprefix("/etc/prometheus/"): yaml.safe_load(file["content"]) for file in built["files"]}


def test_platform_targets_carry_host_and_instance_and_use_each_hosts_own_port():
    """A job a product; a group without hosts has none; an IPv6 address stands in brackets."""
    built = build()
    assert [config["job_name"] for config in built["scrape_configs"]] == ["node"]
    assert contents(built)["targets/node.yml"] == [
        {"targets": ["[2001:db8::2]:19100"], "labels": {"host": "app1", "instance": "app1:19100"}},
        {"targets": ["192.0.2.1:9100"], "labels": {"host": "hub", "instance": "hub:9100"}},
    ]


def test_a_product_that_another_one_serves_keeps_its_own_instance():
    """Read through an exporter on its host, or below a path of another listener: the name is the product's, the address the other's."""
    jobs = [
        {"name": "pipe", "group": "alertmanager", "port": "blackbox_exporter_port", "path": "/probe", "product_port": "mesh_port",
         "module": "pipe", "page": "http://127.0.0.1:{port}/stats"},
        {"name": "screen", "group": "alertmanager", "port": "blackbox_exporter_port", "path": "/screen/metrics"},
    ]
    built = build(jobs=jobs)
    assert [config.get("metrics_path") for config in built["scrape_configs"]] == ["/probe", "/screen/metrics"]
    labels = {"host": "hub", "instance": "hub:9094", "__param_module": "pipe", "__param_target": "http://127.0.0.1:9094/stats"}
    assert contents(built)["targets/pipe.yml"] == [{"targets": ["192.0.2.1:9115"], "labels": labels}]
    assert contents(built)["targets/screen.yml"] == [{"targets": ["192.0.2.1:9115"], "labels": {"host": "hub", "instance": "hub:9115"}}]


def test_a_service_is_scraped_on_the_hosts_of_its_groups_as_it_says():
    """Groups are expanded, labels added, TLS chosen; a service without metrics has no job."""
    metrics = {"port": 8443, "tls": "site", "path": "/m", "interval": "30s", "labels": {"tier": 1}}
    built = build(declared_services={"pay": {"team": "shop", "hosts": ["node_exporter", "hub"], "metrics": metrics}, "quiet": {"team": "shop"}})
    assert built["scrape_configs"][-1] == {
        "job_name": "pay",
        "scrape_interval": "30s",
        "metrics_path": "/m",
        "scheme": "https",
        "tls_config": scrape.MUTUAL_TLS,
        "file_sd_configs": [{"files": ["targets/service-pay.yml"]}],
    }
    targets = contents(built)["targets/service-pay.yml"]
    assert [target["targets"] for target in targets] == [["[2001:db8::2]:8443"], ["192.0.2.1:8443"]]
    assert targets[0]["labels"] == {"host": "app1", "instance": "app1:8443", "service_name": "pay", "team": "shop", "tier": "1"}


def test_plain_http_is_the_default_of_a_service():
    """Without `tls` nothing about TLS is rendered."""
    built = build(declared_services={"shop": {"team": "shop", "hosts": ["hub"], "metrics": {"port": 8080}}})
    assert built["scrape_configs"][-1] == {
        "job_name": "shop", "metrics_path": "/metrics", "scheme": "http", "file_sd_configs": [{"files": ["targets/service-shop.yml"]}]
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"declared_services": {"shop": {"team": "a", "hosts": ["hup"], "metrics": {"port": 1}}}},
            "observatory_services.shop.hosts names 'hup', which is no host and no group of the inventory",
        ),
        (
            {"declared_services": {"node": {"team": "a", "hosts": ["hub"], "metrics": {"port": 1}}}},
            "observatory_services.node has the name of one of the platform's own jobs: choose another",
        ),
        ({"declared_probes": {"front": {}}}, "observatory_probes.front needs a url, or for modules that are not http an address"),
    ],
)
def test_a_mistake_is_named(given, message):
    """The variable's path, what is wrong, what to do."""
    with pytest.raises(scrape.ScrapeError) as error:
        build(**given)
    assert str(error.value) == message


def test_each_listener_and_each_declared_address_is_probed():
    """The mesh's port is left out where there is no mesh; the target is the prober, the goal a label."""
    built = build(listeners=LISTENERS, declared_probes={"front": {"url": "https://shop.example.org/x", "team": "shop"}})
    targets = contents(built)["targets/blackbox.yml"]
    assert {target["targets"][0] for target in targets} == {"192.0.2.1:9115"}
    assert [target["labels"]["__param_target"] for target in targets] == ["[2001:db8::2]:19100", "192.0.2.1:9100", "https://shop.example.org/x"]
    assert targets[-1]["labels"] == {
        "host": "shop.example.org",
        "instance": "https://shop.example.org/x",
        "probe": "front",
        "team": "shop",
        "module": "http_2xx",
        "prober": "hub",
        "__param_module": "http_2xx",
        "__param_target": "https://shop.example.org/x",
    }


def test_secrets_of_remote_write_are_files():
    """No password or token stands in the configuration."""
    built = build(
        declared_remote_write=[
            {"name": "a", "url": "https://a/w", "username": "u", "password": "secret-a"},
            {"name": "b", "url": "https://b/w", "token": "secret-b", "tls": "site", "send_exemplars": False},
        ]
    )
    assert built["remote_write"] == [
        {"name": "a", "url": "https://a/w", "send_exemplars": True, "basic_auth": {"username": "u", "password_file": "secrets/a"}},
        {
            "name": "b", "url": "https://b/w", "send_exemplars": False,
            "authorization": {"credentials_file": "secrets/b"}, "tls_config": scrape.MUTUAL_TLS,
        },
    ]
    assert [file for file in built["files"] if "/secrets/" in file["path"]] == [
        {"path": "/etc/prometheus/secrets/a", "content": "secret-a"},
        {"path": "/etc/prometheus/secrets/b", "content": "secret-b"},
    ]
