"""Gives the role alertmanager its receivers, routes and secret files."""

from __future__ import annotations

DOCUMENTATION = """
name: routing
short_description: Alertmanager's receivers and routes, from teams.yml
author: Observatory contributors
version_added: 1.0.0
description:
  - Makes a receiver for each team and severity, and the routes that lead there, from C(observatory_teams).
  - A secret that a team names by its variable becomes a file, to which the receiver points.
options:
  watchers:
    description: Addresses that expect the watchdog.
    type: list
    elements: str
    default: []
notes:
  - It reads the variables C(observatory_teams), C(observatory_platform_team), C(alertmanager_group_by), C(alertmanager_group_wait),
    C(alertmanager_group_interval), C(alertmanager_repeat_interval), C(alertmanager_page_repeat_interval),
    C(alertmanager_watchdog_interval), and those that the teams name.
"""

EXAMPLES = """
receivers: "{{ lookup('observatory.core.routing').receivers }}"
"""

RETURN = """
_raw:
  description: One dictionary.
  type: list
  elements: dict
  contains:
    route:
      description: The routing tree.
      type: dict
    time_intervals:
      description: The teams' office hours.
      type: list
    inhibit_rules:
      description: Which alert stands for which.
      type: list
    receivers:
      description: The receivers.
      type: list
    files:
      description: The secrets, each with path and content, for C(config.files) of M(observatory.core.component).
      type: list
"""

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.observatory.core.plugins.plugin_utils import routing

TIMING = ("group_by", "group_wait", "group_interval", "repeat_interval", "page_repeat_interval", "watchdog_interval")


class LookupModule(LookupBase):
    """Reads the variables; plugin_utils/routing.py does the work."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        timing = {name: self._value(f"alertmanager_{name}") for name in TIMING}
        try:
            teams, platform = self._value("observatory_teams"), str(self._value("observatory_platform_team"))
            return [routing.build(teams, platform, timing, self._secret, watchers=self.get_option("watchers"))]
        except routing.RoutingError as error:
            raise AnsibleError(f"{error}. Nothing was changed.") from None

    def _secret(self, name, named_by):
        value = self._value(name, named_by)
        if not isinstance(value, str) or not value.strip():
            raise AnsibleError(f"{name}, which {named_by} names, is empty. Set it in the site's secrets.yml.")
        return value.strip()

    def _value(self, name, named_by=""):
        if name not in self._templar.available_variables:
            if named_by:
                raise AnsibleError(f"{name}, which {named_by} names, is not set. Set it in the site's secrets.yml.")
            raise AnsibleError(f"{name} is missing; the shipped group_vars/all sets it.")
        return self._templar.template(self._templar.available_variables[name])
