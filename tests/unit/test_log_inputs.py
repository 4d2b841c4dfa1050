"""What Filebeat reads follows the inventory and services.yml."""

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import log_inputs, scrape

GROUPS = {"shop_servers": ["app1", "app2"]}
UNITS = ["prometheus", "jaeger-index-cleaner"]


class Hosts:
    def members(self, group):
        return GROUPS.get(group, [])

    def exists(self, name):
        return name in ("hub", "app1", "app2")

    def value(self, host, name):
        raise AssertionError("nothing is asked of other hosts")


def build(host="app1", event_log=False, **services):
    return log_inputs.build(host, "lab", services, Hosts(), UNITS, hours=24, days=7, event_log=event_log)


def service(**logs):
    return {"team": "shop", "hosts": ["shop_servers"], "logs": logs}


def test_every_host_sends_its_journal_and_marks_the_platforms_own_units():
    """Other lines are the system's."""
    assert build("hub") == {
        "inputs": [
            {
                "type": "journald",
                "id": "journal",
                "seek": "since",
                "since": "-24h",
                "fields_under_root": True,
                "fields": {"data_stream": {"type": "logs", "dataset": "system", "namespace": "lab"}, "observatory": {"format": "journal"}},
                "processors": [
                    {
                        "add_fields": {
                            "when": {"regexp": {"systemd.unit": r"^(jaeger\-index\-cleaner|prometheus)\.service$"}},
                            "target": "data_stream",
                            "fields": {"dataset": "observatory"},
                        }
                    }
                ],
            }
        ],
        "groups": [],
    }


def test_a_service_is_read_on_its_hosts_alone():
    """A group of the inventory stands for its members; a service without logs has none."""
    services = {"shop": service(paths=["/var/log/shop/*.jsonl"]), "silent": {"team": "shop", "hosts": ["hub"]}}
    assert [entry["id"] for entry in build("app2", **services)["inputs"]] == ["journal", "service-shop"]
    assert [entry["id"] for entry in build("hub", **services)["inputs"]] == ["journal"]


def test_lines_of_a_service_carry_its_name_data_stream_and_format():
    """Nothing is parsed on the host."""
    entry = build(shop=service(paths=["/var/log/shop/*.jsonl"]))["inputs"][1]
    assert entry["fields"] == {
        "data_stream": {"type": "logs", "dataset": "shop", "namespace": "lab"},
        "observatory": {"format": "json"},
        "service": {"name": "shop"},
    }
    assert "parsers" not in entry


def test_rotated_files_are_read_to_their_end_and_compressed_ones_not_at_all():
    """By the usual names; a pattern that matches them already stays alone."""
    entry = build(shop=service(paths=["/var/log/shop/*.jsonl", "/var/log/other*"]))["inputs"][1]
    assert entry["paths"] == ["/var/log/shop/*.jsonl", "/var/log/shop/*.jsonl.[0-9]*", "/var/log/shop/*.jsonl-[0-9]*", "/var/log/other*"]
    assert entry["prospector"]["scanner"]["exclude_files"] == [r"\.(gz|bz2|xz|zst|zip)$"]
    assert entry["close"]["on_state_change"] == {"removed": False, "renamed": False, "inactive": "1h"}


def test_records_of_several_lines_begin_where_the_pattern_matches():
    """All other lines belong to the record before."""
    entry = build(batch=service(paths=["/var/log/batch.log"], format="plain", multiline=r"^\d{4}-"))["inputs"][1]
    assert entry["parsers"] == [{"multiline": {"type": "pattern", "pattern": r"^\d{4}-", "negate": True, "match": "after"}}]


def test_alertmanagers_event_log_is_read_where_it_runs():
    """Only its group may read it."""
    built = build(event_log=True)
    assert built["inputs"][1]["paths"][0] == "/var/log/alertmanager/events.jsonl"
    assert built["inputs"][1]["fields"]["observatory"] == {"format": "alertmanager"}
    assert built["groups"] == ["alertmanager"]


def test_groups_are_those_of_the_services_on_the_host():
    """Each once, in order."""
    services = {"shop": service(paths=["/a"], group="shop"), "web": service(paths=["/b"], group="adm"), "three": service(paths=["/c"], group="shop")}
    assert build(**services)["groups"] == ["adm", "shop"]
    assert build("hub", **services)["groups"] == []


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ({"shop": service(paths=["log/shop.jsonl"])}, "observatory_services.shop.logs.paths[0]: 'log/shop.jsonl' is not absolute; write it from / on"),
        (
            {"shop": service(paths=["/var/log/a.log"]), "web": service(paths=["/var/log/b.log", "/var/log/a.log"])},
            "observatory_services.web.logs.paths[1]: '/var/log/a.log' is read for shop already; a file belongs to one service",
        ),
        (
            {"shop": service(paths=["/var/log/a.log"], multiline="^x")},
            "observatory_services.shop.logs.multiline needs the format plain: records of json have one line each",
        ),
    ],
)
def test_what_is_wrong_names_the_variable(services, message):
    """And what to do."""
    with pytest.raises(log_inputs.LogInputError) as caught:
        build(**services)
    assert str(caught.value) == message


def test_an_unknown_host_of_a_service_is_named():
    """As for its scrape job."""
    with pytest.raises(scrape.ScrapeError, match=r"^observatory_services\.shop\.hosts names 'app9', which is no host and no group of the inventory$"):
        build(shop={"team": "shop", "hosts": ["app9"], "logs": {"paths": ["/x"]}})
