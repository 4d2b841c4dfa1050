"""Faults and day-2 changes of the real products: each ends with a converged platform, and says what it did on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fleet import CLOSED_PORT, LAB, changed, converge, host, playbook, products, prometheus, serial, unit, wait_for

from lab import hosts as lab_hosts

PRODUCTS = products("hub")
PORTS = {
    "prometheus": 9090, "alertmanager": 9093, "blackbox_exporter": 9115, "node_exporter": 9100, "elasticsearch": 9200, "elasticsearch_exporter": 9114,
    "jaeger": 4318, "json_exporter": 7979, "logstash": 5044, "front": 9443, "gateway": 443,
}
# They read the certificate that they show to others once (docs/security.md).
RESTARTED_FOR_CERTIFICATES = {"elasticsearch_exporter", "filebeat", "kibana", "grafana"}


@pytest.fixture(autouse=True)
def converged() -> Iterator[None]:
    """Each test ends with the platform as the inventory declares it."""
    yield
    converge()


@pytest.fixture(autouse=True, scope="module")
def converged_at_first() -> None:
    converge()


def pids() -> dict[str, str]:
    return {product: unit("hub", product, "MainPID") for product in PRODUCTS}


def invocations() -> dict[str, str]:
    return {product: unit("hub", product, "InvocationID") for product in PRODUCTS}


def owned_files() -> str:
    return host("hub").check_output(
        f"find {' '.join(f'/etc/{product}' for product in PRODUCTS)} /etc/observatory /etc/systemd/system /opt/observatory "
        "/var/lib/observatory -type f -print0 | sort -z | xargs -0 sha256sum"
    )


def test_run_without_a_change_changes_nothing():
    before = (owned_files(), pids(), invocations())
    output = converge()
    assert set(changed(output).values()) == {0}, output
    assert (owned_files(), pids(), invocations()) == before


def test_run_without_a_change_needs_no_mirror():
    output = converge("-e", f"observatory_mirror_url={CLOSED_PORT}")
    assert set(changed(output).values()) == {0}, output


def test_hand_edit_is_shown_in_the_diff_put_back_and_reloaded():
    before = pids()
    host("hub").check_output("sed -i 's/scrape_interval: 5s/scrape_interval: 55s/' /etc/prometheus/prometheus.yml && systemctl reload prometheus")
    predicted = converge("--check", "--diff", expect_change=True)
    assert re.search(r"^-\s+scrape_interval: 55s$", predicted, re.MULTILINE), predicted
    assert host("hub").run("grep -q 55s /etc/prometheus/prometheus.yml").rc == 0
    converge(expect_change=True)
    assert host("hub").run("grep -q 55s /etc/prometheus/prometheus.yml").rc == 1
    wait_for("reload", lambda: bool(prometheus("prometheus_config_last_reload_successful == 1")))
    assert pids() == before


def test_rule_that_is_switched_off_is_gone_after_a_reload():
    before = pids()
    loaded = 'prometheus_rule_group_rules{rule_group=~".*node.*"}'
    count = sum(int(row["value"][1]) for row in prometheus(loaded))
    converge("-e", '{"observatory_alerts_disabled": ["NodeClockNotSynchronising", "NodeCPUHighUsage"]}', expect_change=True)
    wait_for("one rule less", lambda: sum(int(row["value"][1]) for row in prometheus(loaded)) == count - 1, 30)
    assert pids() == before


def test_killed_prometheus_comes_back_by_itself_and_the_next_run_is_quiet():
    before = pids()["prometheus"]
    host("hub").check_output("systemctl kill --signal=SIGKILL prometheus")
    wait_for("a new process", lambda: unit("hub", "prometheus", "MainPID") not in ("0", before))
    wait_for("its start", lambda: unit("hub", "prometheus", "ActiveState") == "active")
    assert set(changed(converge()).values()) == {0}


def test_stopped_and_disabled_unit_is_started_and_enabled():
    host("hub").check_output("systemctl disable --now alertmanager 2>&1")
    output = converge(expect_change=True)
    assert changed(output)["hub"] == 1
    assert host("hub").service("alertmanager").is_running
    assert host("hub").service("alertmanager").is_enabled


def test_reboot_restarts_nothing_in_the_next_run():
    lab_hosts.reboot(LAB, "hub")
    for product in PRODUCTS:
        wait_for(f"{product} after the reboot", lambda product=product: host("hub").service(product).is_running)
    # What needs Elasticsearch may end, and be started again by systemd, until that answers.
    wait_for("Elasticsearch", lambda: "elasticsearch" not in PRODUCTS or host("hub").run("curl -sk -o /dev/null https://localhost:9200").rc in (0, 56), 120)
    wait_for("all targets", lambda: prometheus("up") and not prometheus("up == 0"), 180)
    before = invocations()
    output = converge()
    assert set(changed(output).values()) == {0}, output
    assert invocations() == before


def test_renewed_certificates_are_served_without_a_restart():
    """A new generation stands for a renewal: new key and serial everywhere, within a minute, no process replaced."""
    before, processes = {product: serial("hub", port) for product, port in PORTS.items()}, pids()
    converge("-e", "observatory_certificate_generation=2", expect_change=True)
    for product, port in PORTS.items():
        wait_for(f"{product}'s new certificate", lambda product=product, port=port: serial("hub", port) not in ("", before[product]), 90)
    after = pids()
    assert {product for product in after if after[product] != processes[product]} == RESTARTED_FOR_CERTIFICATES
    wait_for("scrapes with the new certificates", lambda: prometheus('count(up{job="node"} == 1)')[0]["value"][1] == "2")


def test_older_version_and_back_needs_the_download_once():
    converge("-e", "node_exporter_version=1.9.0", expect_change=True)
    assert "1.9.0" in host("hub").check_output("/opt/observatory/node_exporter/current/node_exporter --version 2>&1")
    assert host("hub").check_output("readlink /opt/observatory/node_exporter/previous") == "1.11.1"
    converge("-e", f"observatory_mirror_url={CLOSED_PORT}", expect_change=True)
    assert host("hub").check_output("readlink /opt/observatory/node_exporter/current") == "1.11.1"


def test_flag_that_the_product_refuses_is_rolled_back():
    before = owned_files()
    done = playbook("site.yml", "-e", '{"node_exporter_flags": ["--no-such-flag"]}', "--limit", "hub")
    assert done.returncode != 0
    assert "unknown long flag '--no-such-flag'" in done.stdout
    assert "The previous configuration was put back, and node_exporter.service is healthy again" in done.stdout, done.stdout
    wait_for("the exporter", lambda: host("hub").service("node_exporter").is_running)
    strip = r"(?m)^.*(/var/lib/observatory|/etc/observatory).*$"
    assert re.sub(strip, "", owned_files()) == re.sub(strip, "", before)


def test_verification_fails_with_the_reason_when_alertmanager_is_gone():
    host("hub").check_output("systemctl stop alertmanager")
    wait_for("the scrape that finds it gone", lambda: prometheus('up{job="alertmanager"} == 0'))
    done = playbook("playbooks/verify.yml", "-e", "verify_timeout=8")
    assert done.returncode != 0
    assert "alertmanager hub:9093" in done.stdout, done.stdout
    assert not host("app1").file("/var/lib/node_exporter/textfile/observatory_verify.prom").exists
