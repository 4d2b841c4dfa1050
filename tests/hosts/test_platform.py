"""The converged platform, looked at from outside: listeners and who may use them, units, secrets, scrapes, rules, alerts."""

from __future__ import annotations

import re

import pytest
from fleet import LAB, PRODUCTS, ROOT, ask, host, identity, playbook, prometheus, unit, wait_for

ON_HOST = {"hub": PRODUCTS, "app1": ("node_exporter",)}
INSTALLED = [(name, product) for name, products in ON_HOST.items() for product in products]
HARDENING_LIMIT = 3.0


def listener_table() -> list[tuple[str, int, set[str]]]:
    """Return (product, port, role names let in) of docs/security.md, so that the page is what is tested."""
    text = (ROOT / "docs/security.md").read_text().split("<!-- listeners -->")[1].split("<!-- /listeners -->")[0]
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[1].isdigit() and "mesh" not in cells[0]:
            rows.append((cells[0], int(cells[1]), set(re.findall(r"`([a-z_]+)`", cells[3]))))
    return rows


LISTENERS = [(name, product, port, roles) for product, port, roles in listener_table() for name in ON_HOST if product in ON_HOST[name]]
ROLES = ("prometheus", "alertmanager", "blackbox_exporter", "node_exporter", "grafana", "gateway", "jaeger", "admin")


@pytest.mark.parametrize(("name", "product"), INSTALLED)
def test_unit_runs_is_enabled_and_has_not_been_restarted_by_systemd(name, product):
    service = host(name).service(f"{product}.service")
    assert service.is_running
    assert service.is_enabled
    assert unit(name, product, "NRestarts") == "0", host(name).check_output(f"journalctl -u {product} -n 30 --no-pager")


@pytest.mark.parametrize(("name", "product"), INSTALLED)
def test_unit_is_hardened(name, product):
    text = host(name).check_output(f"systemd-analyze security --no-pager {product}.service | tail -1")
    score = float(re.search(r"(\d+\.\d+)", text).group(1))
    assert score <= HARDENING_LIMIT, text


@pytest.mark.parametrize("name", ON_HOST)
def test_host_listens_on_the_ports_of_the_table_and_no_others(name):
    text = host(name).check_output("ss -Hlntu")
    found = {int(line.split()[4].rsplit(":", 1)[1]) for line in text.splitlines() if not line.split()[4].startswith("127.")}
    assert found - {22} == {port for where, _product, port, _roles in LISTENERS if where == name}


@pytest.mark.parametrize(("name", "product", "port", "roles"), LISTENERS, ids=lambda value: str(value) if isinstance(value, str) else "")
def test_listener_lets_in_the_role_names_of_the_table_and_nobody_else(name, product, port, roles):
    """Every cell: no certificate, a foreign one, an expired one, another host's, and each role name."""
    found, expected = {}, {}
    path = "/metrics"
    found["none"], expected["none"] = ask(name, port, path, None), "refused"
    with identity("prometheus", kind="foreign") as files:
        found["foreign"], expected["foreign"] = ask(name, port, path, files), "refused"
    with identity("prometheus", kind="expired") as files:
        found["expired"], expected["expired"] = ask(name, port, path, files), "refused"
    other = "app1" if name == "hub" else "hub"
    with identity("host", host_name=other) as files:
        found["another host"], expected["another host"] = ask(name, port, path, files), "refused"
    with identity("host", host_name=name) as files:
        found["own host"], expected["own host"] = ask(name, port, path, files), 200
    for role in ROLES:
        with identity(role, host_name="elsewhere") as files:
            found[role] = ask(name, port, path, files)
            expected[role] = 200 if role in roles else "refused"
    # A refused name is told so by HTTP where the toolkit finds out after the handshake.
    found = {key: "refused" if value in (401, 403) else value for key, value in found.items()}
    assert found == expected


@pytest.mark.parametrize("name", ON_HOST)
def test_keys_and_secrets_are_readable_by_their_service_alone(name):
    text = host(name).check_output(
        r"find /etc/observatory /etc/prometheus /etc/alertmanager /etc/node_exporter /etc/blackbox_exporter -type f "
        r"\( -name '*.key' -o -path '*/secrets/*' \) -printf '%m %p\n' 2>/dev/null || true"
    )
    modes = dict(reversed(line.split(" ", 1)) for line in text.splitlines())
    assert len(modes) >= len(ON_HOST[name]) + 1
    assert {path: mode for path, mode in modes.items() if mode not in ("600", "640")} == {}
    state = host(name).check_output("stat -c %a /var/lib/observatory/config /var/lib/observatory/service").split()
    assert set(state) == {"700"}


def test_every_target_is_up_and_the_jobs_are_those_of_the_inventory():
    expected = {
        ("node", "hub:9100"), ("node", "app1:9100"), ("prometheus", "hub:9090"), ("alertmanager", "hub:9093"), ("blackbox_exporter", "hub:9115"),
    }
    wait_for("the jobs", lambda: expected <= {(row["metric"]["job"], row["metric"]["instance"]) for row in prometheus("up")})
    wait_for("all targets up", lambda: not prometheus("up == 0"))


def test_every_listener_is_probed_for_its_certificate():
    wait_for("certificate probes", lambda: len(prometheus("probe_ssl_earliest_cert_expiry - time() > 29 * 86400")) >= len(LISTENERS))
    wait_for("probes succeed", lambda: not prometheus("probe_success == 0"))


def test_collectors_of_systemd_processes_and_textfiles_give_series():
    for query in ('node_systemd_unit_state{name="prometheus.service", state="active"} == 1', "node_processes_pids > 0", "node_textfile_scrape_error == 0"):
        wait_for(query, lambda query=query: prometheus(query))


def test_rules_are_loaded_and_evaluate_without_error():
    def loaded():
        groups = {row["metric"]["rule_group"] for row in prometheus("prometheus_rule_group_rules > 0")}
        return {re.search(r"rules/([a-z_]+)\.yml", group).group(1) for group in groups}

    wait_for("all rule files", lambda: loaded() == {"node", "prometheus", "certificates", "observatory"})
    wait_for("the count of failures", lambda: prometheus("prometheus_rule_evaluation_failures_total"))
    assert not prometheus("prometheus_rule_evaluation_failures_total > 0")


def test_watchdog_has_reached_alertmanager():
    wait_for("the watchdog's rule", lambda: prometheus('ALERTS{alertname="Watchdog", alertstate="firing"}'))
    wait_for("the watchdog", lambda: "Watchdog" in host("hub").check_output(
        "curl -sS --cacert /etc/observatory/pki/ca.crt --cert /etc/observatory/pki/host.crt --key /etc/observatory/pki/host.key "
        "https://localhost:9093/api/v2/alerts"
    ))


def test_metric_and_alert_arrive_from_end_to_end():
    """The operator's own check: a metric written on app1 is queried, an alert arrives as mail and at the webhook."""
    done = playbook("playbooks/verify.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"alert: written to received\s+arrived\s+\d+\.\d+\s+email, webhook", done.stdout), done.stdout
    print(done.stdout[done.stdout.index("HOST "):done.stdout.index("PLAY RECAP")])


def test_nothing_of_the_platform_is_reachable_from_the_network_without_tls():
    for name, _product, port, _roles in LISTENERS:
        done = host(name).run(f"curl -sS -m 5 http://{LAB.address(name)}:{port}/metrics")
        assert "HTTP request to an HTTPS server" in done.stdout + done.stderr or done.rc != 0
