from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Find out whether a host can take what the inventory gives it
version_added: "1.0.0"
description:
  - Checks the variables of a host on the controller, to the leaf and against each other, then looks at the host itself, in one round trip.
  - It never fails and changes nothing. What is wrong comes back as RV(findings), also that a host cannot be reached or has no Python;
    M(observatory.core.findings) reports the findings of all hosts at once.
  - Everything that it looks for follows from the roles' argument specs, their component declarations, and the groups that the host is in.
    The options below exist for the part of it that runs on the host; a playbook needs none but O(roles).
author: Observatory
attributes:
  check_mode:
    description: Works in check mode as it does otherwise.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
options:
  roles:
    description: Folder of the roles whose argument specs apply.
    type: path
    default: ../roles beside the playbook
  clock_tolerance:
    description: Seconds that a host's clock may differ from the controller's. Certificates and alerts need clocks that agree.
    type: int
    default: 30
  supported:
    description: Mapping of a distribution's id (of its os-release file) to its supported main versions.
    type: dict
    default: {debian: ["12", "13"]}
  architectures:
    description: The supported machine names, as C(uname -m) prints them.
    type: list
    elements: str
    default: [x86_64, aarch64]
  systemd_minimum:
    description: The oldest systemd that knows what the units use.
    type: int
    default: 247
  ports:
    description: Ports that must be free, or held by the named unit.
    type: list
    elements: dict
    default: []
    suboptions:
      port: {description: The port., type: int, required: true}
      unit: {description: The unit that may hold it., type: str, required: true}
      variable: {description: The variable that sets it., type: str, required: true}
  disks:
    description: Folders of data and the bytes that each will need.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: The folder., type: str, required: true}
      bytes: {description: What it will hold in all., type: int, required: true}
      variable: {description: The variable that says how much., type: str, default: ""}
      given: {description: That variable's value as it was set., type: str, default: ""}
  memory:
    description: The least memory of each product on the host.
    type: list
    elements: dict
    default: []
    suboptions:
      product: {description: The product., type: str, required: true}
      bytes: {description: Its need., type: int, required: true}
      variable: {description: The variable of its heap., type: str, default: ""}
      given: {description: That variable's value., type: str, default: ""}
  names:
    description: Host names that must resolve on the host.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: The name., type: str, required: true}
      variable: {description: The variable that contains it., type: str, required: true}
      given: {description: That variable's value as it was set., type: str, default: ""}
  releases:
    description: Versions that will be installed. One that is not there yet must be to be had under its address.
    type: list
    elements: dict
    default: []
    suboptions:
      product: {description: The product., type: str, required: true}
      version: {description: Its version., type: str, required: true}
      url:
        description: What is asked for, the checksum file where there is one. C({arch}) stands for the architecture's word.
        type: str
        required: true
      arch: {description: Machine name to the word that the publisher uses for it., type: dict, default: {}}
      variable: {description: The variable of the version., type: str, default: ""}
      source: {description: The variable of the server's address., type: str, default: ""}
      given: {description: That variable's value., type: str, default: ""}
      data:
        description: Folder of the data, when a release migrates it and no older one reads it then. Empty when any release does.
        type: str
        default: ""
      snapshots: {description: Folder of its snapshots., type: str, default: ""}
      snapshot_hours: {description: How old the newest snapshot may be at an upgrade. 0 asks for none., type: int, default: 0}
  site_files:
    description: Rule and scrape files of the site. Where Prometheus is installed already, its checker reads them.
    type: list
    elements: dict
    default: []
    suboptions:
      kind: {description: V(rules) or V(scrape)., type: str, required: true, choices: [rules, scrape]}
      content: {description: The text that would be shipped., type: str, required: true}
  authority_fingerprints:
    description: SHA-256 of the authorities that the site trusts. A host that trusts none of them belongs to another site.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at each host
  observatory.core.preflight:
  register: __preflight

- name: Report what is wrong, before anything changes
  observatory.core.findings:
    register: __preflight
"""

RETURN = r"""
findings:
  description: What is wrong, one entry a problem.
  returned: always
  type: list
  elements: dict
  contains:
    text: {description: The problem as a sentence., type: str}
    variable: {description: Path of the variable concerned., type: str}
    where: {description: File and line that set it., type: str}
    given: {description: The value given; never a secret., type: str}
    hint: {description: What to do., type: str}
    hosts: {description: The hosts concerned; empty for the inventory as a whole., type: list, elements: str}
  sample:
    - text: prometheus_retention_tim is not a variable of this project
      variable: prometheus_retention_tim
      where: inventories/lab/group_vars/all/site.yml:3
      given: '"15d"'
      hint: did you mean prometheus_retention_time?
      hosts: [hub]
facts:
  description: What the host is; empty when it cannot be reached.
  returned: always
  type: dict
  sample:
    machine: x86_64
    os: debian 13
    memory_bytes: 2147483648
    disk_free_bytes: {/var/lib/prometheus: 35000000000}
    systemd: 257
    python: 3.13.5
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils import host_probe, site_files


def main():
    module = AnsibleModule(argument_spec=host_probe.SPEC, supports_check_mode=True)
    facts, findings = host_probe.probe(host_probe.Machine(), module.params)
    module.exit_json(changed=False, facts=facts, findings=findings, refusals=site_files.refusals(module.params["site_files"]))


if __name__ == "__main__":
    main()
