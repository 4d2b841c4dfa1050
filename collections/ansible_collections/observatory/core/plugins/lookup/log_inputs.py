"""Gives the role filebeat what it reads on a host."""

from __future__ import annotations

DOCUMENTATION = """
name: log_inputs
short_description: Filebeat's inputs, from the inventory and services.yml
author: Observatory contributors
version_added: 1.0.0
description:
  - Works out which logs of this host are sent, the journal, Alertmanager's event log and the files that C(observatory_services) names.
  - Each line carries the data stream that it belongs to, and its format.
options:
  units:
    description: Names of the platform's own units, whose lines in the journal go to a data stream of their own.
    type: list
    elements: str
    required: true
  hours:
    description: How far the first start reads back in the journal.
    type: int
    required: true
  days:
    description: Files that were last written longer ago are not begun.
    type: int
    required: true
  event_log:
    description: Whether an Alertmanager on this host writes its event log.
    type: bool
    default: false
notes:
  - It reads the variables C(observatory_site), C(observatory_services), C(inventory_hostname) and the inventory's groups.
"""

EXAMPLES = """
inputs: "{{ lookup('observatory.core.log_inputs', units=['prometheus'], hours=24, days=7).inputs }}"
"""

RETURN = """
_raw:
  description: One dictionary.
  type: list
  elements: dict
  contains:
    inputs:
      description: Filebeat's inputs.
      type: list
    groups:
      description: Groups of the host whose files it has to read.
      type: list
"""

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.observatory.core.plugins.plugin_utils import log_inputs, scrape


class _Inventory:
    """Names of hosts and groups out of a task's variables."""

    def __init__(self, variables):
        self._groups = variables["groups"]

    def members(self, group):
        return sorted(str(host) for host in self._groups.get(group) or [])

    def exists(self, name):
        return name in (self._groups.get("all") or [])


class LookupModule(LookupBase):
    """Reads the variables; plugin_utils/log_inputs.py does the work."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [
                log_inputs.build(
                    str(self._value("inventory_hostname")),
                    str(self._value("observatory_site")),
                    self._value("observatory_services") or {},
                    _Inventory(self._templar.available_variables),
                    [str(unit) for unit in self.get_option("units")],
                    hours=int(self.get_option("hours")),
                    days=int(self.get_option("days")),
                    event_log=bool(self.get_option("event_log")),
                )
            ]
        except (log_inputs.LogInputError, scrape.ScrapeError) as error:
            raise AnsibleError(f"{error}. Nothing was changed.") from None

    def _value(self, name):
        if name not in self._templar.available_variables:
            raise AnsibleError(f"{name} is missing; the shipped group_vars/all or the site sets it.")
        return self._templar.template(self._templar.available_variables[name])
