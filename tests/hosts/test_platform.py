"""The converged platform, looked at from outside: listeners and who may use them, units, secrets, scrapes, rules, alerts."""

from __future__ import annotations

import re

import pytest
from fleet import CURL, LAB, ROOT, ask, greet, host, identity, playbook, products, prometheus, unit, wait_for

ON_HOST = {name: products(name) for name in LAB.hosts}
INSTALLED = [(name, product) for name, products in ON_HOST.items() for product in products]
HARDENING_LIMIT = 3.0


ANYBODY = "any certificate of the site"
EVERYBODY = "everybody"


def rows_of(marker: str) -> list[list[str]]:
    """Return the cells of a table of docs/security.md, so that the page is what is tested."""
    text = (ROOT / "docs/security.md").read_text().split(f"<!-- {marker} -->")[1].split(f"<!-- /{marker} -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()[2:]]


def role_names(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", cell))


def listener_table() -> list[tuple[str, int, str, set[str] | str]]:
    """Return (product, port, protocol, role names let in, or ANYBODY or EVERYBODY)."""
    return [
        (product.split(",")[0], int(port), protocol, next((word for word in (ANYBODY, EVERYBODY) if who.startswith(word)), None) or role_names(who))
        for product, port, protocol, who in rows_of("listeners")
        if "of peers" not in product
    ]


LISTENERS = [(name, *row) for row in listener_table() for name in ON_HOST if row[0] in ON_HOST[name]]
# Whose certificate is none of the site.
NOBODY = ("none", "foreign", "expired")
ROLES = ("prometheus", "alertmanager", "blackbox_exporter", "node_exporter", "grafana", "gateway", "jaeger", "admin")


def tried(look, name: str) -> dict[str, str]:
    """Return visitor -> what `look(certificate files)` says: nobody's certificate, hosts' own ones, and each role name's."""
    found = {"none": look(None)}
    for kind in ("foreign", "expired"):
        with identity("prometheus", kind=kind) as files:
            found[kind] = look(files)
    for visitor, host_name in (("another host", "app1" if name == "hub" else "hub"), ("own host", name)):
        with identity("host", host_name=host_name) as files:
            found[visitor] = look(files)
    for role in ROLES:
        with identity(role, host_name="elsewhere") as files:
            found[role] = look(files)
    return found


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
    loopback = ("127.", "[::1]", "[::ffff:127.")
    found = {int(line.split()[4].rsplit(":", 1)[1]) for line in text.splitlines() if not line.split()[4].startswith(loopback)}
    assert found - {22} == {port for where, _product, port, _protocol, _roles in LISTENERS if where == name}


@pytest.mark.parametrize("name", ON_HOST)
def test_host_listens_locally_as_the_table_says_and_nowhere_else(name):
    """127.0.0.11 is the engine's name server."""
    table = {where for product, where, _who in rows_of("local listeners") if product.split(",")[0] in ON_HOST[name]}
    ports = {line.split()[4] for line in host(name).check_output("ss -Hlntu").splitlines()}
    assert {where for where in ports if where.startswith(("127.", "[::1]", "[::ffff:127.")) and not where.startswith("127.0.0.11:")} == {
        where for where in table if not where.startswith("/")
    }
    sockets = {where for where in table if where.startswith("/")}
    folders = [f"/run/{product}" for product in ON_HOST[name]]
    assert set(host(name).run(f"find {' '.join(folders)} -type s 2>/dev/null").stdout.split()) == sockets
    if "grafana" in ON_HOST[name]:
        modes = host(name).check_output("stat -c '%a %U:%G' /run/grafana /run/grafana/grafana.sock").splitlines()
        assert modes == ["750 grafana:grafana", "660 grafana:grafana"]
        assert host(name).check_output("id --groups --name front; systemctl show front --property=SupplementaryGroups --value").split() == ["front", "grafana"]
        assert host(name).check_output("getent group grafana").endswith(":")


@pytest.mark.parametrize(("name", "product", "port", "protocol", "roles"), LISTENERS, ids=lambda value: str(value) if isinstance(value, str) else "")
def test_listener_lets_in_the_role_names_of_the_table_and_nobody_else(name, product, port, protocol, roles):
    """Every cell: no certificate, a foreign one, an expired one, another host's, and each role name."""

    def look(files):
        value = greet(name, port, protocol, files) if isinstance(roles, str) else ask(name, port, "/health" if product == "watcher" else "/metrics", files)
        # A refused name is told so by HTTP where the toolkit finds out after the handshake.
        return "open" if value in (200, "open") else "refused"

    found = tried(look, name)
    if isinstance(roles, str):
        assert found == {visitor: "open" if roles == EVERYBODY or visitor not in NOBODY else "refused" for visitor in found}
    else:
        assert found == {visitor: "open" if visitor in {*roles, "own host"} else "refused" for visitor in found}


@pytest.mark.skipif("front" not in ON_HOST["hub"], reason="this inventory has no front")
@pytest.mark.parametrize(("path", "who"), rows_of("front paths"), ids=lambda value: value if value.startswith("/") else "")
def test_front_passes_on_the_role_names_of_its_table_and_nobody_else(path, who):
    """Whatever the product behind answers, it was asked."""
    found = tried(lambda files: "refused" if ask("hub", 9443, path, files) in ("refused", 403) else "open", "hub")
    let_in = role_names(who) | ({"own host"} if "own certificates" in who else set())
    assert found == {visitor: "open" if visitor in let_in else "refused" for visitor in found}


@pytest.mark.parametrize("name", ON_HOST)
def test_keys_and_secrets_are_readable_by_their_service_alone(name):
    text = host(name).check_output(
        rf"find /etc/observatory {' '.join(f'/etc/{product}' for product in ON_HOST[name])} -type f "
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

    # Others come with their product.
    wait_for("all rule files", lambda: loaded() >= {"node", "prometheus", "certificates", "observatory"})
    wait_for("the count of failures", lambda: prometheus("prometheus_rule_evaluation_failures_total"))
    assert not prometheus("prometheus_rule_evaluation_failures_total > 0")


def test_watchdog_has_reached_alertmanager():
    wait_for("the watchdog's rule", lambda: prometheus('ALERTS{alertname="Watchdog", alertstate="firing"}'))
    wait_for("the watchdog", lambda: "Watchdog" in host("hub").check_output(f"{CURL} https://localhost:9093/api/v2/alerts"))


def test_metric_and_alert_arrive_from_end_to_end():
    """The operator's own check: a metric written on app1 is queried, an alert arrives as mail and at the webhook."""
    done = playbook("playbooks/verify.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"alert: written to received\s+arrived\s+\d+\.\d+\s+email, webhook", done.stdout), done.stdout
    if "jaeger" in ON_HOST["hub"]:
        assert re.search(r"trace: sent to found\s+arrived\s+\d+\.\d+\s+1 span", done.stdout), done.stdout
    print(done.stdout[done.stdout.index("HOST "):done.stdout.index("PLAY RECAP")])


def test_nothing_of_the_platform_is_reachable_from_the_network_without_tls():
    for name, _product, port, _protocol, _roles in LISTENERS:
        done = host(name).run(f"curl -sS -m 5 http://{LAB.address(name)}:{port}/metrics")
        said = re.sub(r"was sent to HTTPS port", "to an HTTPS server", done.stdout + done.stderr)
        assert "HTTP request to an HTTPS server" in said or done.rc != 0
