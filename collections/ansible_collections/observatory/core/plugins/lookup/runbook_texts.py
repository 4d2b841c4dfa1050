"""Gives the role alertmanager the sentences of the runbooks that stand in its messages."""

from __future__ import annotations

DOCUMENTATION = """
name: runbook_texts
short_description: What the runbooks say for messages, by alert
author: Observatory contributors
version_added: 1.0.0
description:
  - Reads C(verify) and C(first_step) of the front matter of all runbooks, of the project and of the site, with the site's values in them.
options: {}
notes:
  - It reads the variables that P(observatory.core.alert_rules#lookup) reads, for the values.
"""

EXAMPLES = """
texts: "{{ lookup('observatory.core.runbook_texts') }}"
"""

RETURN = """
_raw:
  description: One dictionary, name of an alert to a dictionary with C(verify) and C(first_step).
  type: list
  elements: dict
"""

from ansible.errors import AnsibleError
from ansible_collections.observatory.core.plugins.lookup.alert_rules import LookupModule as AlertRules
from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, site_values


class LookupModule(AlertRules):
    """The same folders and values as the rules."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        folders = self._folders()
        try:
            return [alert_rules.message_texts(folders, site_values.Values(self._context(folders)))]
        except site_values.ContentError as error:
            raise AnsibleError(f"The runbooks cannot be used:\n{error}") from None
