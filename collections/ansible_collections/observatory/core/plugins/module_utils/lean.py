"""What a module of this collection takes of ansible.module_utils.basic, when it runs without Ansible's library on the host.

The action has checked the options and filled in their defaults (plugin_utils/lean.py); what is left is the frame: check mode, secrets,
warnings and the answer as one line of JSON.
"""

from __future__ import annotations

import json
import sys

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
SHORTEST_SECRET = 4
# Set by the program that starts the module: its options, with Ansible's own among them.
ARGUMENTS = {}


class AnsibleModule:
    """Same names as Ansible's class, as far as these modules use it."""

    def __init__(self, argument_spec, supports_check_mode=False, **_checked_by_the_action):
        self.params = {name: value for name, value in ARGUMENTS.items() if not name.startswith("_ansible_")}
        self.check_mode = bool(ARGUMENTS.get("_ansible_check_mode"))
        self._diff = bool(ARGUMENTS.get("_ansible_diff"))
        self._warnings = []
        self._secrets = sorted(_secrets(argument_spec, self.params), key=len, reverse=True)
        if self.check_mode and not supports_check_mode:
            self.exit_json(skipped=True, msg="this module does not support check mode")

    def warn(self, warning):
        """Have Ansible show a warning beside the answer."""
        self._warnings.append(str(warning))

    def exit_json(self, **result):
        """Print the answer and end."""
        result.setdefault("changed", False)
        if self._warnings:
            result["warnings"] = self._warnings
        print("\n" + json.dumps(_without(result, self._secrets)))
        sys.exit(0)

    def fail_json(self, msg, **result):
        """Print what went wrong and end."""
        self.exit_json(failed=True, msg=msg, **result)


def _secrets(spec, values):
    """Yield the texts that no answer may hold: values of options with `no_log`, at any depth."""
    for name, option in spec.items():
        value = values.get(name)
        if value in (None, ""):
            continue
        if option.get("no_log"):
            yield from _texts(value)
        elif option.get("options"):
            for entry in value if isinstance(value, list) else [value]:
                yield from _secrets(option["options"], entry)


def _texts(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
    elif len(str(value)) >= SHORTEST_SECRET:
        yield str(value)


def _without(value, secrets):
    if isinstance(value, dict):
        return {key: _without(entry, secrets) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(entry, secrets) for entry in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, HIDDEN)
    return value
