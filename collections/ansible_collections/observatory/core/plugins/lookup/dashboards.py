"""Gives Grafana's role the dashboards of the project and of the site."""

from __future__ import annotations

DOCUMENTATION = """
name: dashboards
short_description: Dashboards, one file each, with the site's values in them
author: Observatory contributors
version_added: 1.0.0
description:
  - Reads C(dashboards/<folder>/<name>.json) of the project and of the site (C(dashboards/) beside the inventory file), puts the site's
    values where they say C([[ … ]]), and returns the files to ship. The folder is the one in which Grafana shows the dashboard.
  - A dashboard of the site with the uid of a shipped one replaces it.
  - A mistake fails with file, line and what to write instead, before any host is touched.
notes:
  - It reads the same variables as the lookup P(observatory.core.alert_rules#lookup), and finds the project's folder beside C(alerts/).
"""

EXAMPLES = """
config:
  own: [/etc/grafana/dashboards]
  files: "{{ lookup('observatory.core.dashboards') }}"
"""

RETURN = """
_raw:
  description: The files, as C(config.files) of C(observatory.core.component) takes them.
  type: list
  elements: dict
  contains:
    path:
      description: Where the file goes on the host.
      type: str
      sample: /etc/grafana/dashboards/Platform/platform-overview.json
    content:
      description: The dashboard as Grafana reads it.
      type: str
"""

import os

from ansible.errors import AnsibleError
from ansible_collections.observatory.core.plugins.lookup import alert_rules
from ansible_collections.observatory.core.plugins.plugin_utils import dashboards, site_values

FOLDER = "dashboards"


class LookupModule(alert_rules.LookupModule):
    """Reads the variables as the lookup of the rules does; plugin_utils/dashboards.py does the work."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        alerts = self._folders()
        places = [os.path.dirname(folder) for folder in alerts]
        try:
            values = site_values.Values(self._context(alerts))
            return [dashboards.files([os.path.join(place, FOLDER) for place in places], values, base=places[0])]
        except site_values.ContentError as error:
            raise AnsibleError(f"The dashboards cannot be used:\n{error}") from None
