#!/usr/bin/python
# Copyright: Observatory contributors
# Apache License 2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: silence
short_description: Silences the alerts of hosts and services for a maintenance, and lifts that again
version_added: "1.0.0"
description:
  - Makes one silence for all named hosts and one for all named services, with who made it and why, or lifts one.
options:
  url: {description: Address of Alertmanager., type: str, required: true}
  ca: {description: File with the authority of its certificate., type: path}
  cert: {description: Client certificate., type: path}
  key: {description: Its key., type: path}
  state: {description: V(absent) lifts the silence O(id)., type: str, choices: [present, absent], default: present}
  id: {description: The silence to lift., type: str}
  hosts: {description: Inventory names of hosts., type: list, elements: str, default: []}
  services: {description: Names of services., type: list, elements: str, default: []}
  duration: {description: "For how long, for example V(30m), V(2h), V(1d).", type: str, default: 1h}
  author: {description: Who does the maintenance., type: str}
  reason: {description: Why., type: str}
author: Observatory contributors
attributes:
  check_mode: {support: full, description: Says what it would do.}
"""

EXAMPLES = r"""
- name: Alerts of the host are silenced
  observatory.core.silence:
    url: https://localhost:9093
    ca: /etc/observatory/pki/ca.crt
    cert: /etc/observatory/pki/host.crt
    key: /etc/observatory/pki/host.key
    hosts: [app1]
    duration: 2h
    author: ann
    reason: new kernel
"""

RETURN = r"""
silences:
  description: What was made.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: Its id; empty in check mode., type: str}
    what: {description: What it silences., type: str}
    until: {description: When it ends., type: str}
done:
  description: What was (in check mode, would be) done, in words.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils.answer import answer
from ansible_collections.observatory.core.plugins.module_utils.silence import SPEC, apply


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    answer(module, lambda host: apply(module.params, check=host.check))


if __name__ == "__main__":
    main()
