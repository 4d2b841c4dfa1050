"""What Prometheus scrapes and probes, worked out from the inventory and services.yml. Plain data in, plain data out; no Ansible here.

Targets lie in files that Prometheus watches, one a job, so that a new host or service instance needs no reload.
"""

from __future__ import annotations

import typing as t
import urllib.parse

import yaml

CONFIG_DIR = "/etc/prometheus"
HEADER = "# Kept by Observatory: it follows the inventory and services.yml. A change made here is put back by the next run.\n"
# Relative, so that the whole tree can be checked before it is moved into place.
MUTUAL_TLS = {"ca_file": "tls/ca.crt", "cert_file": "tls/server.crt", "key_file": "tls/server.key"}
PROBE_JOB = "blackbox"
PROBER_GROUP = "blackbox_exporter"
PROBER_PORT = "blackbox_exporter_port"
TLS_MODULE = "tcp_tls"
URL_MODULE = "http_2xx"


class ScrapeError(Exception):
    """What is wrong, with the variable's path."""


class Hosts(t.Protocol):
    """The inventory as it is read here."""

    def members(self, group: str) -> list[str]: ...

    def exists(self, name: str) -> bool: ...

    def value(self, host: str, name: str) -> t.Any: ...


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: t.Any) -> bool:
        return True


# Ansible's values are subclasses that carry where they came from; they are written as what they are.
_Dumper.add_multi_representer(str, lambda dumper, value: dumper.represent_str(str(value)))
_Dumper.add_multi_representer(int, lambda dumper, value: dumper.represent_int(int(value)))


def to_yaml(data: t.Any) -> str:
    return HEADER + yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def address(hosts: Hosts, host: str, port: int | str) -> str:
    """Return address:port, an IPv6 address in brackets."""
    name = str(hosts.value(host, "observatory_address"))
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def platform(jobs: t.Sequence[t.Mapping[str, str]], hosts: Hosts) -> tuple[list[dict], dict[str, list]]:
    """Return (scrape configs, file name -> target groups) of the products: one job a product, over mutual TLS.

    A product whose metrics another one serves has `product_port`, for its name; one that an exporter reads has `module`, the exporter's,
    and `page`, the address that the exporter asks on its own host.
    """
    configs, files = [], {}
    for job in jobs:
        targets = []
        for host in hosts.members(job["group"]):
            product_port = hosts.value(host, job.get("product_port", job["port"]))
            labels = {"host": host, "instance": f"{host}:{product_port}"}
            if "module" in job:
                labels |= {"__param_module": job["module"], "__param_target": job["page"].format(port=product_port)}
            targets.append({"targets": [address(hosts, host, hosts.value(host, job["port"]))], "labels": labels})
        if targets:
            path = {"metrics_path": job["path"]} if "path" in job else {}
            configs.append({"job_name": job["name"], **path, "scheme": "https", "tls_config": MUTUAL_TLS, **_from_file(job["name"])})
            files[job["name"]] = targets
    return configs, files


def services(declared: t.Mapping[str, t.Mapping[str, t.Any]], hosts: Hosts) -> tuple[list[dict], dict[str, list]]:
    """Return the same of the applications in services.yml; those without `metrics` have no job."""
    configs, files = [], {}
    for name, service in sorted(declared.items()):
        metrics = service.get("metrics")
        if not metrics:
            continue
        tls = metrics.get("tls", "none")
        config: dict[str, t.Any] = {"job_name": name}
        if metrics.get("interval"):
            config["scrape_interval"] = metrics["interval"]
        config.update(metrics_path=metrics.get("path", "/metrics"), scheme="http" if tls == "none" else "https")
        if tls == "site":
            config["tls_config"] = MUTUAL_TLS
        file = f"service-{name}"
        configs.append({**config, **_from_file(file)})
        files[file] = [
            {
                "targets": [address(hosts, host, metrics["port"])],
                "labels": {
                    "host": host,
                    "instance": f"{host}:{metrics['port']}",
                    "service_name": name,
                    "team": service["team"],
                    **{label: str(value) for label, value in (metrics.get("labels") or {}).items()},
                },
            }
            for host in expand(service.get("hosts") or [], hosts, f"observatory_services.{name}.hosts")
        ]
    return configs, files


def expand(names: t.Iterable[str], hosts: Hosts, variable: str) -> list[str]:
    """Return the hosts behind names of hosts and groups, sorted, each once."""
    found = set()
    for name in names:
        members = hosts.members(name)
        if not members and not hosts.exists(name):
            raise ScrapeError(f"{variable} names {name!r}, which is no host and no group of the inventory")
        found.update(members or [name])
    return sorted(found)


def probes(
    listeners: t.Sequence[t.Mapping[str, str]], declared: t.Mapping[str, t.Mapping[str, t.Any]], team: str, hosts: Hosts
) -> tuple[list[dict], dict[str, list]]:
    """Return the same for what blackbox_exporter asks: each TLS listener of the site, and observatory_probes.

    A target's own address is the prober's; where it goes, and how, stands in the labels `__param_target` and `__param_module`.
    """
    goals = []
    for listener in listeners:
        members = hosts.members(listener["group"])
        if len(members) < int(listener.get("members", 1)):
            continue
        for host in members:
            port = hosts.value(host, listener["port"])
            labels = {"host": host, "instance": f"{host}:{port}", "component": listener["component"], "team": team}
            goals.append((address(hosts, host, port), TLS_MODULE, labels))
    for name, probe in sorted(declared.items()):
        goal = probe.get("url") or probe.get("address")
        if not goal:
            raise ScrapeError(f"observatory_probes.{name} needs a url, or for modules that are not http an address")
        host = urllib.parse.urlsplit(goal if "://" in goal else f"//{goal}").hostname or goal
        labels = {"host": host, "instance": goal, "probe": name, "team": probe.get("team") or team}
        labels.update((label, str(value)) for label, value in (probe.get("labels") or {}).items())
        goals.append((goal, probe.get("module") or URL_MODULE, labels))
    targets = [
        {
            "targets": [address(hosts, prober, hosts.value(prober, PROBER_PORT))],
            "labels": {**labels, "module": module, "prober": prober, "__param_module": module, "__param_target": goal},
        }
        for prober in hosts.members(PROBER_GROUP)
        for goal, module, labels in goals
    ]
    if not targets:
        return [], {}
    config = {"job_name": PROBE_JOB, "metrics_path": "/probe", "scheme": "https", "tls_config": MUTUAL_TLS, **_from_file(PROBE_JOB)}
    return [config], {PROBE_JOB: targets}


def remote_write(declared: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[dict], list[dict]]:
    """Return (remote_write configs, secret files) of prometheus_remote_write: secrets go to files, never into the configuration."""
    configs, files = [], []
    for entry in declared:
        config: dict[str, t.Any] = {"name": entry["name"], "url": entry["url"], "send_exemplars": entry.get("send_exemplars", True)}
        secret = f"secrets/{entry['name']}"
        if entry.get("password"):
            config["basic_auth"] = {"username": entry["username"], "password_file": secret}
        elif entry.get("token"):
            config["authorization"] = {"credentials_file": secret}
        if entry.get("password") or entry.get("token"):
            files.append({"path": f"{CONFIG_DIR}/{secret}", "content": entry.get("password") or entry["token"]})
        if entry.get("tls", "public") == "site":
            config["tls_config"] = MUTUAL_TLS
        for key in ("write_relabel_configs", "queue_config"):
            if entry.get(key):
                config[key] = entry[key]
        configs.append(config)
    return configs, files


def _from_file(name: str) -> dict[str, t.Any]:
    return {"file_sd_configs": [{"files": [f"targets/{name}.yml"]}]}


def build(
    jobs: t.Sequence[t.Mapping[str, str]],
    listeners: t.Sequence[t.Mapping[str, str]],
    declared_services: t.Mapping[str, t.Mapping[str, t.Any]],
    declared_probes: t.Mapping[str, t.Mapping[str, t.Any]],
    team: str,
    hosts: Hosts,
    declared_remote_write: t.Sequence[t.Mapping[str, t.Any]] = (),
    site_files: t.Mapping[str, str] | None = None,
) -> dict[str, t.Any]:
    """Return {scrape_configs, remote_write, files: [{path, content}]} for the role prometheus.

    site_files: name -> text of the site's own scrape files, which go over as they are.
    """
    parts = [platform(jobs, hosts), probes(listeners, declared_probes, team, hosts), services(declared_services, hosts)]
    configs = [config for part, _files in parts for config in part]
    taken: dict[str, int] = {}
    for config in configs:
        taken[config["job_name"]] = taken.get(config["job_name"], 0) + 1
    twice = sorted(name for name, count in taken.items() if count > 1)
    if twice:
        raise ScrapeError(f"observatory_services.{twice[0]} has the name of one of the platform's own jobs: choose another")
    written, secrets = remote_write(declared_remote_write)
    targets = {name: groups for _part, files in parts for name, groups in files.items()}
    return {
        "scrape_configs": configs,
        "remote_write": written,
        "files": [
            *({"path": f"{CONFIG_DIR}/targets/{name}.yml", "content": to_yaml(groups)} for name, groups in sorted(targets.items())),
            *({"path": f"{CONFIG_DIR}/scrape.d/{name}", "content": text} for name, text in sorted((site_files or {}).items())),
            *secrets,
        ],
    }
