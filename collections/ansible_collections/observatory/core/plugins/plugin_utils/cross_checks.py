"""Checks that look at more than one variable: groups that need each other, names that must exist, ports, the authority.

Each is a small function from an `Inventory` to findings, listed in `INVENTORY_CHECKS` (what concerns the site as a whole, looked at once)
or `HOST_CHECKS` (what may differ from host to host). A product that comes later adds its own there.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import typing as t
import zoneinfo

# certificates is imported here, and so in the process that starts all others: each of them then has cryptography (35 ms) for nothing.
from . import escalation
from .arguments import SECRETS_FILE, SLIP_CUTOFF, UNRESOLVED, Path, nearest, path_text, references, show, type_of
from .certificates import check_authority
from .finding import Finding
from .routing import CHANNELS
from .specs import Specs

PLATFORM_GROUP = "observatory"
LAB_SITE = "lab"
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
DAYS = {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

# (a group, the group that it needs, why)
GROUP_NEEDS = (
    ("prometheus", "alertmanager", "its alerts would reach nobody"),
    ("alertmanager", "prometheus", "nothing would send it alerts"),
    ("node_exporter", "prometheus", "nothing would read its metrics"),
    ("blackbox_exporter", "prometheus", "nothing would ask it to probe"),
    ("elasticsearch_exporter", "elasticsearch", "there would be nothing to measure"),
    ("elasticsearch_exporter", "prometheus", "nothing would read its metrics"),
    ("jaeger", "elasticsearch", "traces would be stored nowhere"),
    ("logstash", "elasticsearch", "logs would be stored nowhere"),
    ("kibana", "elasticsearch", "it would have nothing to show"),
    ("filebeat", "logstash", "nothing would take its logs"),
    ("grafana", "prometheus", "it would have nothing to show"),
    ("watcher", "alertmanager", "nothing would send it a sign of life"),
    ("json_exporter", "prometheus", "nothing would read its metrics"),
)


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What the checks see of one host and of the inventory around it."""

    host: str
    products: tuple[str, ...]
    """The roles of the groups that the host is in."""
    groups: t.Mapping[str, t.Sequence[str]]
    variables: t.Mapping[str, t.Any]
    """Resolved; defaults of the specs filled in; what has a finding already may be UNRESOLVED."""
    specs: Specs
    where: t.Callable[[Path], str]
    sources: str = ""
    """The inventory's files, as they were named on the command line."""
    site: str = ""
    first: bool = True
    """Whether this host is the one for which the site as a whole is looked at."""
    now: datetime.datetime = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

    def get(self, name: str, kind: type) -> t.Any:
        """Return a variable when it is of a type, else an empty one: a wrong type has a finding of its own."""
        value = self.variables.get(name)
        return value if isinstance(value, kind) else kind()

    def hosts_of(self, name: str) -> t.Sequence[str]:
        return self.groups.get(name) or ()

    @property
    def host_names(self) -> set[str]:
        return {host for hosts in self.groups.values() for host in hosts}


def check_platform_has_hosts(inventory: Inventory) -> t.Iterator[Finding]:
    if not inventory.hosts_of(PLATFORM_GROUP):
        hint = "name an inventory with -i, for example: -i inventories/lab"
        yield Finding(f"The group {PLATFORM_GROUP} has no host", where=inventory.sources, hint=hint)


def check_groups_that_need_each_other(inventory: Inventory) -> t.Iterator[Finding]:
    for group, needed, why in GROUP_NEEDS:
        if inventory.hosts_of(group) and not inventory.hosts_of(needed):
            text = f"The group {needed} has no host, but {group} has: {why}"
            yield Finding(text, where=inventory.sources, hint=f"add a host to the group {needed}, or take the hosts out of {group}")


def check_group_names(inventory: Inventory) -> t.Iterator[Finding]:
    """A mistyped group silently installs nothing."""
    known = [role for role in inventory.specs.components if role != "pki"] + [PLATFORM_GROUP]
    for group, hosts in inventory.groups.items():
        near = nearest(group, known, SLIP_CUTOFF) if hosts and group not in known else ""
        if near:
            yield Finding(f"{group} is not a group of this project", where=inventory.sources, hint=f"did you mean {near}?")


def entries(value: t.Any) -> t.Iterator[tuple[t.Any, str, dict[str, t.Any]]]:
    """Yield (key or index, name, entry) of a mapping of names, or of a list of entries that carry a name."""
    if isinstance(value, dict):
        yield from ((key, str(key), entry) for key, entry in value.items() if isinstance(entry, dict))
    elif isinstance(value, list):
        yield from ((index, str(entry.get("name", f"[{index}]")), entry) for index, entry in enumerate(value) if isinstance(entry, dict))


def check_teams(inventory: Inventory) -> t.Iterator[Finding]:
    """Whoever is to get alerts is one of the teams."""
    teams = {name for _key, name, _entry in entries(inventory.variables.get("observatory_teams"))}
    named: list[tuple[Path, t.Any]] = [(("observatory_platform_team",), inventory.variables.get("observatory_platform_team"))]
    for variable in ("observatory_services", "observatory_probes"):
        named += [((variable, key, "team"), entry.get("team")) for key, _name, entry in entries(inventory.variables.get(variable))]
    for path, team in named:
        if teams and isinstance(team, str) and team not in teams:
            near = nearest(team, teams)
            hint = f"did you mean {near}?" if near else "observatory_teams has: " + ", ".join(sorted(teams))
            text = path_text(path)
            yield Finding(f"{text} names a team that does not exist", text, inventory.where(path), show(team), hint)


def check_services(inventory: Inventory) -> t.Iterator[Finding]:
    """A service's hosts exist, and one with metrics has some."""
    for key, name, service in entries(inventory.variables.get("observatory_services")):
        path = f"observatory_services.{name}"
        at = ("observatory_services", key, "hosts")
        if service.get("metrics") and not service.get("hosts"):
            hint = "name the hosts or groups on which the service runs"
            yield Finding(f"{path}.hosts is missing or empty, but the service has metrics", f"{path}.hosts", inventory.where(at), "", hint)
        yield from _unknown_hosts(inventory, path, at, service.get("hosts"))


def check_service_logs(inventory: Inventory) -> t.Iterator[Finding]:
    """Logs are sent by Filebeat: each host of a service that writes some has it, where the site collects logs at all."""
    senders = set(inventory.hosts_of("filebeat"))
    for key, name, service in entries(inventory.variables.get("observatory_services")):
        named, logs = service.get("hosts"), service.get("logs")
        for index, pattern in enumerate(logs.get("paths") or [] if isinstance(logs, dict) else []):
            if isinstance(pattern, str) and not pattern.startswith("/"):
                path = ("observatory_services", key, "logs", "paths", index)
                text = f"observatory_services.{name}.logs.paths[{index}]"
                yield Finding(f"{text} is not absolute", text, inventory.where(path), show(pattern), "write it from / on")
        if not senders or not service.get("logs") or not isinstance(named, list):
            continue
        hosts = {host for entry in named for host in inventory.groups.get(str(entry), [entry])} & inventory.host_names
        if inventory.host in hosts - senders:
            path = f"observatory_services.{name}.logs"
            hint = f"add {inventory.host} to the group filebeat, or take `logs` out of the service"
            yield Finding(f"{path} cannot be collected: the host has no Filebeat", path, inventory.where(("observatory_services", key, "logs")), "", hint)


# Names of Prometheus' jobs that are the platform's own (roles/prometheus/vars/main.yml).
OWN_JOBS = (
    "alertmanager", "blackbox", "blackbox_exporter", "elasticsearch", "elasticsearch_retention", "file", "filebeat", "grafana", "jaeger",
    "json_exporter", "kibana", "logstash", "node", "prometheus", "spans",
)


# Data streams that are not an application's (group_vars/all/retention.yml).
OWN_DATASETS = ("default", "observatory", "system", "unparsed")


def check_service_names(inventory: Inventory) -> t.Iterator[Finding]:
    """A service's name is its job's name in Prometheus, and its logs' dataset."""
    for key, name, _service in entries(inventory.variables.get("observatory_services")):
        owner = "jobs" if name in OWN_JOBS else "data streams" if name in OWN_DATASETS else ""
        if owner:
            path = f"observatory_services.{name}"
            where = inventory.where(("observatory_services", key))
            yield Finding(f"{path} has the name of one of the platform's own {owner}", path, where, "", "choose another name, for example my-" + name)


def _unknown_hosts(inventory: Inventory, path: str, at: Path, hosts: t.Any) -> t.Iterator[Finding]:
    named = [hosts] if isinstance(hosts, str) else hosts if isinstance(hosts, list) else []
    valid = inventory.host_names | set(inventory.groups)
    if not inventory.hosts_of(PLATFORM_GROUP):
        # Which has a finding of its own.
        return
    for host in named:
        if isinstance(host, str) and host not in valid:
            near = nearest(host, valid)
            hint = f"did you mean {near}?" if near else "the inventory has: " + ", ".join(sorted(inventory.host_names))
            yield Finding(f"{path}.hosts names a host or group that does not exist", f"{path}.hosts", inventory.where(at), show(host), hint)


def ports(inventory: Inventory) -> dict[str, int]:
    """Return the ports that the host's products listen on: variable -> port."""
    found = {}
    for name, option in inventory.specs.options.items():
        if option["role"] in inventory.products and name.endswith("_port"):
            value = inventory.variables.get(name)
            if str(value).isdigit():
                found[name] = int(value)
    return found


def check_ports_differ(inventory: Inventory) -> t.Iterator[Finding]:
    seen: dict[int, str] = {}
    for name, port in ports(inventory).items():
        if port in seen:
            text = f"{name} and {seen[port]} are the same port on one host"
            yield Finding(text, name, inventory.where((name,)), str(port), "choose another port for one of them")
        seen.setdefault(port, name)


def check_references(inventory: Inventory) -> t.Iterator[Finding]:
    """A key that names a variable names one that is set."""
    for name, option in inventory.specs.of(inventory.products).items():
        # Only these can hold a reference, and each other default would be rendered for nothing.
        value = inventory.variables.get(name) if type_of(option) in ("dict", "list") else None
        for path, variable in references(value, (name,)):
            if variable in inventory.variables:
                continue
            text = path_text(path)
            near = nearest(variable, inventory.variables, SLIP_CUTOFF)
            hint = f"did you mean {near}?" if near else f"set {variable} in inventories/{inventory.site or '<site>'}/group_vars/all/{SECRETS_FILE}"
            yield Finding(f"{text} names {variable}, which is not set", text, inventory.where(path), show(variable), hint)


def seconds(text: t.Any) -> float | None:
    """Return the seconds of a Prometheus duration; None when it is not one."""
    parts = re.findall(r"(\d+)(ms|[ywdhms])", str(text))
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(int(number) * DURATION_SECONDS[unit] for number, unit in parts)


DURATION_SECONDS = {"y": 31536000, "w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}


def check_scrape_times(inventory: Inventory) -> t.Iterator[Finding]:
    """Prometheus refuses an interval that is shorter than the timeout."""
    if "prometheus" not in inventory.products:
        return
    interval, timeout = (inventory.variables.get(f"prometheus_scrape_{word}") for word in ("interval", "timeout"))
    limit = seconds(timeout)
    found: list[tuple[Path, t.Any]] = [(("prometheus_scrape_interval",), interval)]
    for key, _name, service in entries(inventory.variables.get("observatory_services")):
        metrics = service.get("metrics")
        found.append((("observatory_services", key, "metrics", "interval"), metrics.get("interval") if isinstance(metrics, dict) else None))
    for path, value in found:
        given = seconds(value)
        if given is not None and limit is not None and given < limit:
            text = path_text(path)
            hint = f"raise it, or lower prometheus_scrape_timeout ({timeout})"
            yield Finding(f"{text} is shorter than prometheus_scrape_timeout", text, inventory.where(path), show(value), hint)


def check_mail_relay(inventory: Inventory) -> t.Iterator[Finding]:
    if "alertmanager" not in inventory.products or inventory.variables.get("alertmanager_smtp_smarthost"):
        return
    for key, name, team in entries(inventory.variables.get("observatory_teams")):
        if any(entry.get("email") for entry in (team, *_rungs(team))):
            path = ("observatory_teams", key, "email")
            text = f"alertmanager_smtp_smarthost is empty, but the team {name} has mail"
            yield Finding(
                text,
                "alertmanager_smtp_smarthost",
                inventory.where(path),
                "",
                'set it to the mail relay, for example "mail.example.org:587"',
            )
            return


def _rungs(team: t.Mapping[str, t.Any]) -> list[t.Mapping[str, t.Any]]:
    ladder = team.get("escalation")
    return [rung for rung in ladder if isinstance(rung, dict)] if isinstance(ladder, list) else []


def check_ladders(inventory: Inventory) -> t.Iterator[Finding]:
    """A ladder can be climbed, and each rung reaches somebody."""
    for key, _name, team in entries(inventory.variables.get("observatory_teams")):
        path = ("observatory_teams", key, "escalation")
        if len(_rungs(team)) != len(team.get("escalation") or []):
            continue  # the types have a finding of their own
        try:
            escalation.rungs(str(key), team)
        except escalation.LadderError as error:
            text, _, problem = str(error).partition(" ")
            yield Finding(f"{text} {problem}", path_text(path), inventory.where(path), "", "see docs/oncall/escalation.md")
        for index, rung in enumerate(_rungs(team)):
            if not any(rung.get(channel) for channel in CHANNELS):
                where = (*path, index)
                hint = f"give it one of {', '.join(CHANNELS)}"
                yield Finding(f"{path_text(where)} has no channel", path_text(where), inventory.where(where), "", hint)
        hours = team.get("office_hours")
        if isinstance(hours, dict):
            yield from _office_hours(inventory, ("observatory_teams", key, "office_hours"), hours)


def _office_hours(inventory: Inventory, path: Path, hours: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    for name in ("from", "to"):
        if isinstance(hours.get(name), str) and not CLOCK.fullmatch(hours[name]):
            where = (*path, name)
            yield Finding(f"{path_text(where)} is no time of day", path_text(where), inventory.where(where), show(hours[name]), 'expected "08:00"')
    if all(isinstance(hours.get(name), str) and CLOCK.fullmatch(hours[name]) for name in ("from", "to")) and hours["from"] >= hours["to"]:
        yield Finding(
            f"{path_text(path)} ends before it begins", path_text(path), inventory.where(path), f"{hours['from']} to {hours['to']}",
            "both are on the same day; hours over midnight are the nights of office hours",
        )
    zone = hours.get("timezone")
    if isinstance(zone, str) and zone != "UTC" and zone not in zoneinfo.available_timezones():
        where = (*path, "timezone")
        near = nearest(zone, zoneinfo.available_timezones())
        hint = f"did you mean {near}?" if near else "expected a name such as Europe/Berlin"
        yield Finding(f"{path_text(where)} is no time zone", path_text(where), inventory.where(where), show(zone), hint)
    days = hours.get("days")
    for index, day in enumerate(days if isinstance(days, list) else []):
        if isinstance(day, str) and not set(day.split(":")) <= DAYS:
            where = (*path, "days", index)
            hint = 'expected days such as "monday" or "monday:friday"'
            yield Finding(f"{path_text(where)} is no day of the week", path_text(where), inventory.where(where), show(day), hint)


def check_time_scale(inventory: Inventory) -> t.Iterator[Finding]:
    """Shortened clocks are for tests: on a real site pages would come at nothing."""
    name, scale = "observatory_alert_time_scale", inventory.variables.get("observatory_alert_time_scale")
    if isinstance(scale, (int, float)) and scale != 1 and inventory.variables.get("observatory_site") != LAB_SITE:
        yield Finding(f"{name} is for the lab alone", name, inventory.where((name,)), show(scale), "remove it; thresholds.yml has each alert's `for`")


def check_mail_login(inventory: Inventory) -> t.Iterator[Finding]:
    user = inventory.variables.get("alertmanager_smtp_username")
    if "alertmanager" in inventory.products and user and not inventory.variables.get("alertmanager_smtp_password"):
        yield Finding(
            "alertmanager_smtp_password is not set, but alertmanager_smtp_username is",
            "alertmanager_smtp_username",
            inventory.where(("alertmanager_smtp_username",)),
            show(user),
            f"add alertmanager_smtp_password to the site's {SECRETS_FILE}, or empty the user name for a relay without a login",
        )


def version(text: t.Any) -> tuple[int, ...]:
    """Return a version's three numbers; () for what is none."""
    return tuple(map(int, str(text).split("."))) if re.fullmatch(r"\d+\.\d+\.\d+", str(text)) else ()


def check_elastic_versions(inventory: Inventory) -> t.Iterator[Finding]:
    """Kibana has exactly Elasticsearch's version; what sends logs has no newer one (the publisher's support matrix)."""
    store = version(inventory.variables.get("elasticsearch_version"))
    for product in ("kibana", "logstash", "filebeat"):
        name = f"{product}_version"
        own = version(inventory.variables.get(name))
        if product not in inventory.products or not own or not store or not inventory.hosts_of("elasticsearch"):
            continue
        if product == "kibana" and own != store:
            problem = f"{name} is not that of Elasticsearch, {'.'.join(map(str, store))}: Kibana would not start"
        elif own > store:
            problem = f"{name} is newer than Elasticsearch, {'.'.join(map(str, store))}"
        else:
            continue
        yield Finding(problem, name, inventory.where((name,)), show(inventory.variables[name]), "upgrade Elasticsearch first, and set both")


def check_files(inventory: Inventory) -> t.Iterator[Finding]:
    """Files that a role reads on the controller are there."""
    name = "kibana_saved_objects_files"
    files = inventory.get(name, list) if "kibana" in inventory.products else []
    for index, file in enumerate(files):
        if isinstance(file, str) and file != UNRESOLVED and not os.path.isfile(file):
            text = f"{name}[{index}] is no file on the controller"
            yield Finding(text, f"{name}[{index}]", inventory.where((name, index)), show(file), "export one in Kibana, or take the line out")


def check_gateway(inventory: Inventory) -> t.Iterator[Finding]:
    """Names can stand in nginx' configuration, each has a password, and the address is one of a host alone."""
    if not inventory.hosts_of("gateway"):
        return
    url = inventory.variables.get("observatory_public_url")
    if isinstance(url, str) and url != UNRESOLVED and not re.fullmatch(r"https://[^/?#]+", url):
        hint = "the gateway serves at the root of a host, for example https://observatory.example.org"
        text = "observatory_public_url must be https:// and a host, without a path"
        yield Finding(text, "observatory_public_url", inventory.where(("observatory_public_url",)), show(url), hint)
    source = inventory.variables.get("gateway_certificate_source")
    for name in ("gateway_certificate_path", "gateway_certificate_key_path"):
        if "gateway" in inventory.products and source == "files" and not inventory.variables.get(name):
            where = inventory.where(("gateway_certificate_source",))
            text = f'{name} is empty, but gateway_certificate_source is "files"'
            yield Finding(text, name, where, "", "name the file on the gateway's host, or take the site's own certificate")
    for key, name, _user in entries(inventory.variables.get("gateway_users")):
        path, where = f"gateway_users.{name}", inventory.where(("gateway_users", key))
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield Finding(f"{path} is no name of lower-case letters, digits and underscores", path, where, "", "choose another name")
        elif not inventory.variables.get(f"gateway_password_hash_{name}"):
            hint = f"make one: make secrets SITE={inventory.site or '<the inventory>'}"
            yield Finding(f"{path} has no password", path, where, "", hint)


# Whole numbers whose range is narrower than their format's: variable -> (lowest, highest, why).
RANGES = {
    "observatory_certificate_days": (31, 825, "certificates are renewed 30 days before they end, and clients refuse longer ones"),
}


def check_ranges(inventory: Inventory) -> t.Iterator[Finding]:
    for name, (low, high, why) in RANGES.items():
        value = inventory.variables.get(name)
        if str(value).isdigit() and not low <= int(value) <= high:
            yield Finding(f"{name} must be from {low} to {high}", name, inventory.where((name,)), show(value), why)


AUTHORITIES = ("observatory_authority", "observatory_transport_authority")


def check_authorities(inventory: Inventory) -> t.Iterator[Finding]:
    for name in AUTHORITIES:
        certificate, key = (inventory.variables.get(f"{name}_{part}") for part in ("certificate", "key"))
        if not (isinstance(certificate, str) and isinstance(key, str)) or UNRESOLVED in (certificate, key):
            continue
        for problem in check_authority(certificate, key, inventory.now):
            variable = f"{name}_certificate"
            yield Finding(f"{variable} {problem}", variable, inventory.where((variable,)), "", _secrets_hint(inventory))


def _secrets_hint(inventory: Inventory) -> str:
    return f"restore the site's secrets file, or make a new authority: make secrets SITE={inventory.site or '<the inventory>'}"


Check = t.Callable[[Inventory], t.Iterable[Finding]]

INVENTORY_CHECKS: tuple[Check, ...] = (
    check_platform_has_hosts,
    check_groups_that_need_each_other,
    check_group_names,
)
HOST_CHECKS: tuple[Check, ...] = (
    check_authorities,
    check_teams,
    check_services,
    check_service_names,
    check_service_logs,
    check_ports_differ,
    check_references,
    check_scrape_times,
    check_mail_relay,
    check_mail_login,
    check_ladders,
    check_time_scale,
    check_elastic_versions,
    check_files,
    check_gateway,
    check_ranges,
)


def cross_check(inventory: Inventory) -> list[Finding]:
    """Return what does not fit together; findings about the site as a whole name no host."""
    found = [finding for check in INVENTORY_CHECKS for finding in check(inventory)] if inventory.first else []
    return found + [dataclasses.replace(finding, hosts=(inventory.host,)) for check in HOST_CHECKS for finding in check(inventory)]
