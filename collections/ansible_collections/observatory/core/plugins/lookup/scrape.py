"""Gives the role prometheus what it scrapes and probes."""

from __future__ import annotations

DOCUMENTATION = """
name: scrape
short_description: Scrape jobs and target files, from the inventory and services.yml
author: Observatory contributors
version_added: 1.0.0
description:
  - Works out which addresses Prometheus reads, and which it has probed, from the inventory's groups, C(observatory_services) and
    C(observatory_probes). Every target carries the labels C(host) and C(instance) (inventory name and port).
  - The site's own files in C(scrape.d) beside its inventory, and the secrets of C(prometheus_remote_write), are among the files.
  - Each job's targets are a file of its own under /etc/prometheus/targets, which Prometheus watches.
options:
  jobs:
    description:
      - The products that are scraped, each with C(name) (of the job), C(group) and C(port) (name of a variable of the target host).
      - C(path) is that of the metrics, where it is not /metrics. C(product_port) names the variable of the product's own port, where another
        one serves its metrics; C(module) and C(page) are of the exporter that reads it.
    type: list
    elements: dict
    required: true
  listeners:
    description:
      - The TLS listeners whose certificates are probed, each with C(component), C(group), C(port) and, where a listener is only open
        when the group has so many hosts, C(members).
    type: list
    elements: dict
    required: true
notes:
  - It reads the variables C(observatory_services), C(observatory_probes), C(observatory_platform_team) and, of each target host,
    C(observatory_address) and the ports; for remote write C(prometheus_remote_write).
"""

EXAMPLES = """
scrape_configs: "{{ lookup('observatory.core.scrape', jobs=__prometheus_jobs, listeners=__prometheus_listeners).scrape_configs }}"
"""

RETURN = """
_raw:
  description: One dictionary.
  type: list
  elements: dict
  contains:
    scrape_configs:
      description: Prometheus' scrape_configs.
      type: list
    remote_write:
      description: Prometheus' remote_write, secrets as files.
      type: list
    files:
      description: The target, scrape and secret files, each with path and content, for C(config.files) of M(observatory.core.component).
      type: list
"""

import pathlib

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.observatory.core.plugins.plugin_utils import scrape


class _Inventory:
    """Reads group members and other hosts' variables out of a task's variables."""

    def __init__(self, variables):
        self._groups = variables["groups"]
        self._hostvars = variables["hostvars"]
        # Another host's variables are computed anew by each look; a target asks for the same ones several times.
        self._seen = {}

    def members(self, group):
        return sorted(str(host) for host in self._groups.get(group) or [])

    def exists(self, name):
        return name in self._hostvars

    def value(self, host, name):
        try:
            if (host, name) not in self._seen:
                self._seen[host, name] = self._hostvars[host][name]
            return self._seen[host, name]
        except KeyError:
            raise AnsibleError(f"{name} is not set for the host {host}, which Prometheus has to reach. The shipped group_vars/all sets it.") from None


class LookupModule(LookupBase):
    """Reads the variables; plugin_utils/scrape.py does the work."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [
                scrape.build(
                    self.get_option("jobs"),
                    self.get_option("listeners"),
                    self._value("observatory_services"),
                    self._value("observatory_probes"),
                    str(self._value("observatory_platform_team")),
                    _Inventory(self._templar.available_variables),
                    self._value("prometheus_remote_write", []),
                    self._site_files(),
                )
            ]
        except scrape.ScrapeError as error:
            raise AnsibleError(f"{error}. Nothing was changed.") from None

    def _site_files(self):
        """Return name -> text of scrape.d/*.yml beside each inventory; a later inventory's file of the same name wins."""
        files = {}
        for source in self._templar.available_variables.get("ansible_inventory_sources") or []:
            folder = pathlib.Path(str(source))
            folder = folder if folder.is_dir() else folder.parent
            for file in sorted(folder.glob("scrape.d/*.yml")):
                files[file.name] = file.read_text(encoding="utf-8")
        return files

    def _value(self, name, default=None):
        if name not in self._templar.available_variables:
            if default is not None:
                return default
            raise AnsibleError(f"{name} is missing; the shipped group_vars/all sets it.")
        return self._templar.template(self._templar.available_variables[name]) or {}
