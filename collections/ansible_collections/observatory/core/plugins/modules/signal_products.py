"""Says which products run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signal_products
short_description: Says which products run on a host
version_added: "1.0.0"
description:
  - Reads which products of the project are installed, in which version, and asks systemd for the state of their units.
  - It reads only, and does so in check mode too.
author: Observatory contributors
options: {}
attributes:
  check_mode:
    support: full
    description: It changes nothing.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: See what runs here
  observatory.core.signal_products:
"""

RETURN = r"""
products:
  description: The products with a unit, by name.
  type: list
  elements: dict
  returned: always
  contains:
    product:
      description: Its name.
      type: str
    version:
      description: The release that is current.
      type: str
    state:
      description: The unit's state, C(active) where all is well.
      type: str
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils.host import STATE_DIR
from ansible_collections.observatory.core.plugins.module_utils.release import RELEASES_DIR


def main():
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    folder = os.path.join(STATE_DIR, "component")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    products = []
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8") as handle:
            unit = json.load(handle).get("unit")
        if unit:
            product = name[: -len(".json")]
            state = module.run_command(["systemctl", "is-active", unit])[1].strip()
            products.append({"product": product, "version": _version(product), "state": state or "unknown"})
    module.exit_json(changed=False, products=products)


def _version(product):
    try:
        return os.path.basename(os.readlink(os.path.join(RELEASES_DIR, product, "current")))
    except OSError:
        return ""


if __name__ == "__main__":
    main()
