"""Gives the gateway's role the runbooks as web pages."""

from __future__ import annotations

DOCUMENTATION = """
name: runbook_pages
short_description: Runbooks as web pages, one a file
author: Observatory contributors
version_added: 1.0.0
description:
  - Reads C(alerts/<component>/runbooks/*.md) of the project and of the site, and the site's own C(runbooks/) beside the inventory file
    (C(<component>/<AlertName>.md), or C(<Name>.md) for pages of no component), puts the site's values where they say C([[ ]]), and returns an
    HTML page for each and an index. The site's page of a name replaces the shipped one.
  - The pages are kept in the controller's cache folder until a source or a value changes.
options:
  _terms:
    description: The folder on the host. One.
    type: list
    elements: str
    required: true
notes:
  - It reads the variables that P(observatory.core.alert_rules#lookup) reads, for the values.
"""

EXAMPLES = """
config:
  own: [/srv/runbooks]
  files: "{{ lookup('observatory.core.runbook_pages', '/srv/runbooks') }}"
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
      sample: /srv/runbooks/node/HostDown.html
    content:
      description: The page.
      type: str
"""

import os

from ansible.errors import AnsibleError
from ansible_collections.observatory.core.plugins.lookup.alert_rules import LookupModule as AlertRules
from ansible_collections.observatory.core.plugins.plugin_utils import cache, runbook_pages, site_values


class LookupModule(AlertRules):
    """The same folders and values as the rules; plugin_utils/runbook_pages.py does the work."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        (target,) = (str(term).rstrip("/") for term in terms)
        folders = self._folders()
        try:
            context = dict(self._context(folders), runbook_base_url=runbook_pages.BASE)
            pages = runbook_pages.load(
                folders,
                "".join(os.path.join(os.path.dirname(site), "runbooks") for site in folders[1:]),
                site_values.Values(context),
                base=os.path.dirname(folders[0]),
                cache=cache.folder("runbooks"),
            )
        except site_values.ContentError as error:
            raise AnsibleError(f"The runbooks cannot be used:\n{error}") from None
        return [[{"path": f"{target}/{name}", "content": page} for name, page in sorted(pages.items())]]
