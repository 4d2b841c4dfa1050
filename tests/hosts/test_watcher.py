"""The dead man's switch on app1: people hear of it when the alerting on the hub is dead, by whatever cause."""

from __future__ import annotations

import pytest
from alerting import now, received
from fleet import LAB, host, wait_for

from lab import hosts as lab_hosts

# Patience of the lab's watcher, a renewal of Prometheus, and a look.
PATIENCE, RENEWAL = 90, 60
CAUSES = {
    "Prometheus is stopped": ("systemctl stop prometheus", "systemctl start prometheus"),
    "Alertmanager is stopped": ("systemctl stop alertmanager", "systemctl start alertmanager"),
    "Prometheus hangs": ("systemctl kill --signal=SIGSTOP prometheus", "systemctl kill --signal=SIGCONT prometheus"),
}


def heard():
    done = host("app1").run(
        "curl -sS --cacert /etc/observatory/pki/ca.crt --cert /etc/observatory/pki/host.crt --key /etc/observatory/pki/host.key https://localhost:9095/health"
    )
    return "nothing is missing" in done.stdout


def notice(since, word):
    return [entry for entry in received("webhook", since, "WatchdogMissing") if entry["body"]["status"] == word] and received("mail", since, "atchdog")


@pytest.fixture(autouse=True)
def alive():
    wait_for("the watchdog", heard, 2 * RENEWAL + PATIENCE)


@pytest.mark.parametrize("cause", CAUSES)
def test_people_hear_that_the_alerting_is_dead(cause, tell):
    """By mail and webhook, and again when it is back. Alertmanager's repetitions of what Prometheus said last do not count."""
    stop, start = CAUSES[cause]
    began = now()
    host("hub").check_output(stop)
    try:
        wait_for("the notice", lambda: notice(began, "firing"), PATIENCE + RENEWAL + 20)
        tell(f"{cause}: told after {received('webhook', began, 'WatchdogMissing')[0]['time'] - began:.0f} s, patience {PATIENCE} s")
    finally:
        host("hub").check_output(start)
    wait_for("the all-clear", lambda: notice(began, "resolved"), 2 * RENEWAL + 30)


def test_people_hear_that_the_hub_is_cut_off(tell):
    began = now()
    lab_hosts.cut(LAB, "hub")
    try:
        wait_for("the notice", lambda: notice(began, "firing"), PATIENCE + RENEWAL + 20)
        tell(f"The hub is cut off: told after {received('webhook', began, 'WatchdogMissing')[0]['time'] - began:.0f} s, patience {PATIENCE} s")
    finally:
        lab_hosts.join(LAB, "hub")
    wait_for("the all-clear", lambda: notice(began, "resolved"), 2 * RENEWAL + 30)


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
