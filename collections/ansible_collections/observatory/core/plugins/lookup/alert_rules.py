"""Gives Prometheus' role the rule files of the project and of the site."""

from __future__ import annotations

DOCUMENTATION = """
name: alert_rules
short_description: Alert and recording rules, one file a component, with the site's values in them
author: Observatory contributors
version_added: 1.0.0
description:
  - Reads C(alerts/<component>/rules.yml) of the project and of the site (C(alerts/) beside the inventory file), puts the site's
    values where they say C([[ ]]), checks them against the contract of docs/develop/alerts.md and returns the files to ship.
  - A component of the site adds to the shipped component of that name, or stands beside the shipped ones.
  - A mistake fails with file, line and what to write instead, before any host is touched. The bytes are the same on any controller.
options:
  _terms:
    description: The components to return. None means all.
    type: list
    elements: str
notes:
  - It reads the variables C(observatory_thresholds), C(observatory_thresholds_site) (values that replace single thresholds; none),
    C(observatory_thresholds_overrides) (the same for single hosts and groups; none),
    C(observatory_alerts_disabled) (names of shipped alerts to leave out; none), C(observatory_runbook_base_url),
    C(observatory_dashboard_base_url), C(observatory_platform_team), C(observatory_teams), C(observatory_site), and
    C(<product>_version) for rules that need a newer product.
  - The project's folder is the first C(alerts/) of these places, the folder of the playbook, the one above it, the one that holds
    this collection.
"""

EXAMPLES = """
config:
  own: [/etc/prometheus/rules]
  files: "{{ lookup('observatory.core.alert_rules') }}"

# only two components
files: "{{ lookup('observatory.core.alert_rules', 'node', 'prometheus') }}"
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
      sample: /etc/prometheus/rules/node.yml
    content:
      description: The rules as Prometheus reads them.
      type: str
"""

import functools
import os
from collections.abc import Mapping

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, escalation, overrides, site_values

THRESHOLDS = "observatory_thresholds"
SITE_THRESHOLDS = "observatory_thresholds_site"
DISABLED = "observatory_alerts_disabled"
TIME_SCALE = "observatory_alert_time_scale"
# From this file to the folder that holds collections/ansible_collections/observatory/core/plugins/lookup/.
LEVELS_UP = 7


class LookupModule(LookupBase):
    """Reads the variables; plugin_utils/alert_rules.py does the work."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        folders = self._folders()
        try:
            rules = self._rules(folders)
            alert_rules.drop_dead_links(rules, self._dashboards(folders))
            rules.groups[escalation.COMPONENT] = self._escalation()
            return [rules.files([str(term) for term in terms])]  # one result, so that lookup() returns the list as it is
        except site_values.ContentError as error:
            raise AnsibleError(f"The alert rules cannot be used:\n{error}") from None

    def _rules(self, folders):
        """Return the rules, with those of single hosts among them."""
        context, given = self._context(folders), _plain(self._value(overrides.VARIABLE, []))
        ranges = self._ranges(folders)
        mistakes = overrides.mistakes(given, context["thresholds"], context["groups"], ranges)
        if mistakes:
            raise site_values.ContentError(mistakes)
        variants = overrides.variants(given, context["thresholds"], context["groups"], self._scale())
        load = functools.partial(
            alert_rules.load,
            folders,
            disabled=self._names(DISABLED),
            versions=_Versions(self._templar),
            teams=self._teams(),
            base=os.path.dirname(folders[0]),
        )
        theirs = [
            (variant, load(site_values.Values({**context, "thresholds": variant.thresholds}), only=variant.components)) for variant in variants
        ]
        return overrides.apply(load(site_values.Values(context)), given, theirs)

    def _ranges(self, folders):
        return site_values.sensible_ranges(os.path.join(os.path.dirname(folders[0]), site_values.THRESHOLDS_FILE))

    def _escalation(self):
        """Return the groups of the ladders in observatory_teams."""
        teams = _plain(self._value("observatory_teams", {}))
        try:
            return escalation.groups(teams if isinstance(teams, Mapping) else {}, self._addresses(), self._scale())
        except escalation.LadderError as error:
            raise AnsibleError(f"{error}. Nothing was changed.") from None

    def _dashboards(self, folders):
        """Return the names of the dashboards that are shipped and of the site's own: a file is called as its dashboard."""
        beside = (os.path.join(os.path.dirname(folder), "dashboards") for folder in folders)
        return {
            os.path.splitext(name)[0] for folder in beside for _path, _folders, names in os.walk(folder) for name in names if name.endswith(".json")
        }

    def _service_team(self):
        """Return the label `team` of an alert with a service's name: Prometheus' own template, which knows the teams of services.yml."""
        services, platform = _plain(self._value("observatory_services", {})), self._text("observatory_platform_team")
        teams = {name: entry.get("team") for name, entry in sorted(services.items()) if isinstance(entry, Mapping)} if isinstance(services, Mapping) else {}
        return site_values.service_team(teams, platform)

    def _scale(self):
        return float(self._value(TIME_SCALE, 1.0))

    def _addresses(self):
        return {
            "runbook_base_url": self._text("observatory_runbook_base_url").rstrip("/"),
            "dashboard_base_url": self._text("observatory_dashboard_base_url").rstrip("/"),
        }

    def _folders(self):
        """Return the folders alerts/ of the project and, with an inventory, of the site; other kinds of content lie beside them."""
        inventory = self._value("inventory_dir")
        return [self._project_folder(), *([os.path.join(str(inventory), "alerts")] if inventory else [])]

    def _context(self, folders):
        return {
            "thresholds": self._thresholds(folders),
            "site": self._text("observatory_site"),
            "platform_team": self._text("observatory_platform_team"),
            "service_team": self._service_team(),
            **self._addresses(),
            "groups": _plain(self._value("groups") or {}),
        }

    def _thresholds(self, folders):
        shipped, site = self._value(THRESHOLDS), self._value(SITE_THRESHOLDS, {})
        if shipped is None:
            raise AnsibleError(f"{THRESHOLDS} is missing; it is set in group_vars/all/thresholds.yml")
        shipped, site = _plain(shipped), _plain(site)
        own = {name: alert_rules.alert_names(path) for folder in folders[1:] for name, path in alert_rules.component_folders(folder)}
        mistakes = site_values.threshold_mistakes(shipped, THRESHOLDS)
        mistakes += site_values.given_mistakes(site, shipped, own, self._ranges(folders), SITE_THRESHOLDS)
        if mistakes:
            raise site_values.ContentError(mistakes)
        return site_values.scaled(site_values.merge_thresholds(shipped, site), self._scale())

    def _teams(self):
        teams = self._value("observatory_teams")
        return None if not isinstance(teams, Mapping) else {*map(str, teams), self._text("observatory_platform_team")}

    def _project_folder(self):
        playbooks = str(self._value("playbook_dir", os.getcwd()))
        beside_collection = os.path.abspath(__file__)
        for _ in range(LEVELS_UP):
            beside_collection = os.path.dirname(beside_collection)
        places = [playbooks, os.path.dirname(playbooks), beside_collection]
        for place in places:
            if os.path.isdir(os.path.join(place, "alerts")):
                return os.path.join(place, "alerts")
        raise AnsibleError(f"No folder alerts/ in {', '.join(places)}. The project's rules lie there; run the playbook from a checkout.")

    def _names(self, name):
        value = _plain(self._value(name, []))
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise AnsibleError(f"{name} is {value!r}; expected a list of alert names")
        return value

    def _text(self, name):
        value = self._value(name)
        if value is None or not str(value).strip():
            raise AnsibleError(f"{name} is missing; the alert rules need it")
        return str(value)

    def _value(self, name, default=None):
        if name not in self._templar.available_variables:
            return default
        return self._templar.template(self._templar.available_variables[name])


class _Versions(Mapping):
    """Product -> version, from the variables <product>_version; templated only when a rule asks."""

    def __init__(self, templar):
        self._templar = templar

    def __getitem__(self, product):
        return str(self._templar.template(self._templar.available_variables[f"{product}_version"]))

    def __iter__(self):
        names = self._templar.available_variables
        return (name.removesuffix("_version") for name in names if name.endswith("_version") and not name.startswith("ansible_"))

    def __len__(self):
        return sum(1 for _ in self)


def _plain(value):
    """Return plain data: Ansible's values are templated when they are read and carry tags, which others cannot print."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
