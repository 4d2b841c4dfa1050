# Copyright: Observatory contributors
# Apache License 2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: service
short_description: Bring a systemd unit to the state that its files call for, and prove that it is healthy
version_added: "1.0.0"
description:
  - The unit is enabled and running, and is reloaded or restarted exactly when one of the named files differs from those it was started with.
    This is known from a record, so it also holds when an earlier run died between the change and the restart, and a reboot restarts nothing.
  - The unit has to answer at its health URL and to stay up. If it does not, the module fails with the last lines of its journal.
  - A process that was started by something else is adopted when it is younger than all of its files.
author: Observatory
attributes:
  check_mode:
    description: Says whether the unit would be restarted or reloaded as things are on the disk.
    support: full
  diff_mode:
    description: Names what would be done and why.
    support: full
options:
  name: {description: "Name of the unit.", type: str, required: true}
  restart_on:
    description: Paths and globs whose change calls for a restart. The unit's own file and drop-ins are always among them.
    type: list
    elements: str
    default: []
  reload_on: {description: "Paths and globs whose change calls for a reload.", type: list, elements: str, default: []}
  health:
    description: What proves that the product works.
    type: dict
    suboptions:
      url: {description: "URL that answers with 2xx; C(unix:SOCKET:/PATH) for one behind a socket.", type: str, required: true}
      ca: {description: "File of the authority.", type: str}
      cert: {description: "File of the client certificate.", type: str}
      key: {description: "File of its key.", type: str}
      user: {description: "User for basic authentication.", type: str}
      password: {description: "Its password.", type: str}
      timeout: {description: "Seconds until a start has failed.", type: int, default: 60}
  restart:
    description: With V(rolling) the restart of a running unit is only reported as RV(restart_due).
    type: str
    choices: [now, rolling]
    default: now
"""

EXAMPLES = r"""
- name: The web server follows its configuration
  observatory.core.service:
    name: nginx
    reload_on: [/etc/nginx/*]
    health: {url: "http://localhost/healthz"}
"""

RETURN = r"""
action:
  description: V(restart), V(reload) or empty.
  returned: success
  type: str
reason:
  description: Why.
  returned: success
  type: str
restart_due:
  description: Why a rolling play has to restart the unit.
  returned: with O(restart=rolling), when a restart is due
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils.answer import answer
from ansible_collections.observatory.core.plugins.module_utils.service import SPEC, apply


def main():
    options = {key: value for key, value in SPEC.items() if key not in ("unit", "rollback")}
    module = AnsibleModule(argument_spec=dict(options, name={"type": "str", "required": True}), supports_check_mode=True)
    answer(module, lambda host: apply(host, module.params["name"], module.params))


if __name__ == "__main__":
    main()
