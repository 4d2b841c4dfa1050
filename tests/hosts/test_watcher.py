"""The dead man's switch on app1: people hear of it when the alerting on the hub is dead, by whatever cause."""

from __future__ import annotations

import pytest
from alerting import now, received
from fleet import CURL, LAB, host, prometheus, wait_for

from lab import hosts as lab_hosts

# Patience of the lab's watcher, a renewal of Prometheus, and a look.
PATIENCE, RENEWAL = 90, 60


def on_hub(command):
    return lambda: host("hub").check_output(command)


# What kills the alerting, and what brings it back.
CAUSES = {
    "Prometheus is stopped": (on_hub("systemctl stop prometheus"), on_hub("systemctl start prometheus")),
    "Prometheus hangs": (on_hub("systemctl kill --signal=SIGSTOP prometheus"), on_hub("systemctl kill --signal=SIGCONT prometheus")),
    "Alertmanager is stopped": (on_hub("systemctl stop alertmanager"), on_hub("systemctl start alertmanager")),
    "the hub is cut off": (lambda: lab_hosts.cut(LAB, "hub"), lambda: lab_hosts.join(LAB, "hub")),
    "the hub is off": (lambda: lab_hosts.power_off(LAB, "hub"), lambda: lab_hosts.power_on(LAB, "hub")),
}


def heard():
    return "nothing is missing" in host("app1").run(f"{CURL} https://localhost:9095/health").stdout


def notice(since, state):
    """Whether both channels have said that the alerting is dead (`firing`), or that it is back (`resolved`)."""
    title = {"firing": "CRITICAL No watchdog", "resolved": "RESOLVED Watchdog"}[state]
    webhook = [entry for entry in received("webhook", since, "WatchdogMissing") if entry["body"]["status"] == state]
    return webhook and [mail for mail in received("mail", since) if mail["subject"].startswith(title)]


@pytest.fixture(autouse=True)
def alive():
    wait_for("the watchdog", heard, 2 * RENEWAL + PATIENCE)


@pytest.mark.parametrize("cause", CAUSES)
def test_people_hear_that_the_alerting_is_dead(cause, tell):
    """By mail and webhook, and again when it is back. Alertmanager's repetitions of what Prometheus said last do not count."""
    stop, start = CAUSES[cause]
    began = now()
    stop()
    try:
        wait_for("the notice", lambda: notice(began, "firing"), PATIENCE + RENEWAL + 20)
        tell(f"{cause}: told after {received('webhook', began, 'WatchdogMissing')[0]['time'] - began:.0f} s, patience {PATIENCE} s")
    finally:
        start()
    wait_for("the all-clear", lambda: notice(began, "resolved"), 2 * RENEWAL + 60)


def test_how_old_the_newest_watchdog_is_can_be_asked():
    """Prometheus' clock comes back to it, by a file that the node_exporter of the watcher's host reads."""
    age = 'time() - alert_canary_last_received_timestamp_seconds{job="node", host="app1"}'
    wait_for("a fresh one", lambda: prometheus(f"{age} < {2 * RENEWAL + 45}"), 3 * RENEWAL)
    assert not prometheus(f"{age} < 0")
    assert not prometheus('node_textfile_scrape_error{host="app1"} == 1')


def test_only_alertmanager_is_listened_to():
    """The host's own certificate may ask for the health, and feed nothing."""
    curl = "curl -sS -o /dev/null -w '%{http_code}' --cacert /etc/observatory/pki/ca.crt"
    own = "--cert /etc/observatory/pki/host.crt --key /etc/observatory/pki/host.key"
    address = f"https://{LAB.address('app1')}:9095"
    assert host("app1").check_output(f"{curl} {own} https://localhost:9095/health") == "200"
    assert host("app1").check_output(f"{curl} {own} -d '{{}}' https://localhost:9095/watchdog") == "403"
    assert host("hub").check_output(f"{curl} {own} {address}/health") == "403"
    assert host("hub").run(f"{curl} {address}/health").rc != 0
    assert host("hub").check_output(
        f"sudo {curl} --cert /etc/alertmanager/tls/server.crt --key /etc/alertmanager/tls/server.key -d nonsense {address}/watchdog"
    ) == "400"
