from __future__ import annotations

DOCUMENTATION = r"""
module: findings
short_description: Report what preflight found on all hosts, in one message
version_added: "1.0.0"
description:
  - Collects the results of M(observatory.core.preflight) of all hosts of the play and, if there is any finding, fails once with all of
    them.
  - The first line says how many problems there are. Each problem follows with at most four lines, what is wrong, where it was set and
    what was given, what to do, and the hosts if it does not concern all. What is the same on several hosts stands there once.
  - Runs on the controller, once for all hosts, also when the first host has failed. Use it in a play with C(any_errors_fatal).
author: Observatory
attributes:
  check_mode:
    description: Works in check mode as it does otherwise.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
options:
  register:
    description: Name under which the preflight task registered its results.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Report what is wrong, before anything changes
  observatory.core.findings:
    register: __preflight
"""

RETURN = r"""
msg:
  description: The report.
  returned: always
  type: str
  sample: |-
    1 problem, nothing was changed
    prometheus_retention_tim is not a variable of this project
      set in inventories/lab/group_vars/all/site.yml:3; given: "15d"
      did you mean prometheus_retention_time?
findings:
  description: The findings of all hosts, those that are the same made one. Empty, as a problem makes the task fail with RV(msg) alone.
  returned: success
  type: list
  elements: dict
"""
