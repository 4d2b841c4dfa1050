"""Prints what runs where, and how long each signal took."""

from __future__ import annotations

DOCUMENTATION = r"""
name: signal_table
short_description: The report of a verification as text
version_added: "1.0.0"
description: Aligns the products of all hosts, then the signals with their seconds.
author: Observatory contributors
options:
  _input:
    description: Signal's name to the registered result of M(observatory.core.signal_wait); an empty one was not tried.
    type: dict
    required: true
  products:
    description: The products, each with C(host), C(product), C(version) and C(state).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the report
  ansible.builtin.debug:
    msg: "{{ {'metric': __verify_metric | default({})} | observatory.core.signal_table(products) }}"
"""

RETURN = r"""
_value:
  description: The lines, in one text.
  type: str
"""

from ansible_collections.observatory.core.plugins.module_utils.signals import table


def state(result):
    """Return what became of a signal: skipped and missing ones are told apart."""
    if not result or result.get("skipped"):
        return "not tried"
    return "MISSING" if result.get("failed") else "arrived"


def signal_table(signals, products):
    rows = [
        {"name": name, "state": state(result), "seconds": result.get("seconds"), "detail": result.get("detail")} for name, result in signals.items()
    ]
    return "\n".join(table(products, rows))


class FilterModule:
    def filters(self):
        return {"signal_table": signal_table}
