# Copyright: Observatory contributors
# Apache License 2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_cluster
short_description: Form a cluster of Elasticsearch nodes, or restart one of its nodes without its clients noticing
version_added: "1.0.0"
description:
  - With O(step=form) this host's node gets into a cluster. A new one is formed only when each node of O(nodes) says that it belongs to none, and
    by the one that is O(leader). A node that is silent stops that, since it may hold the data. So neither a node that has lost its data nor one
    that is new makes a cluster of its own. All nodes are asked over the network, whatever hosts a run is limited to.
  - Nodes that belong to different clusters are told, and nothing is restarted.
  - With O(step=restart) the node is restarted within its cluster. The cluster has to be whole, allocation is limited to primaries, indices are
    flushed, the node is restarted and has to rejoin, allocation is put back, and the cluster has to become whole again. A failure says what is
    missing. Allocation is put back in any case, through another node if need be.
  - A node that is a cluster of its own, and has a restart due because others are to join it, is restarted by O(step=form).
author: Observatory
attributes:
  check_mode:
    description: Says whether there would be something to do.
    support: full
  diff_mode:
    description: There is no text to compare.
    support: none
options:
  step: {description: "What is wanted.", type: str, choices: [form, restart], required: true}
  url: {description: "Address of this host's node, as seen from the host.", type: str, required: true}
  nodes: {description: "All nodes of the group, C(node.name) to address.", type: dict, required: true}
  ca: {description: "File of the authority that nodes are checked against.", type: path, required: true}
  cert: {description: "File of the client certificate.", type: path, required: true}
  key: {description: "File of its key.", type: path, required: true}
  user: {description: "User that may manage the cluster.", type: str, required: true}
  password: {description: "Its password.", type: str, required: true}
  unit: {description: "The systemd unit.", type: str, default: elasticsearch}
  leader: {description: "Whether this node forms a new cluster.", type: bool, default: false}
  restart_due: {description: "Whether a restart is due, for O(step=form).", type: bool, default: false}
  status: {description: "What counts as whole; V(green) asks for all of O(nodes) too.", type: str, choices: [green, yellow], default: green}
  start_timeout: {description: "Seconds until a node that does not answer has failed.", type: int, default: 300}
  timeout: {description: "Seconds until a cluster that is not whole has failed.", type: int, default: 1800}
"""

EXAMPLES = r"""
- name: The node is restarted, and the cluster whole again
  observatory.core.elasticsearch_cluster:
    step: restart
    url: https://localhost:9200
    nodes: {es1: "https://192.0.2.1:9200", es2: "https://192.0.2.2:9200", es3: "https://192.0.2.3:9200"}
    ca: /etc/observatory/pki/ca.crt
    cert: /etc/observatory/pki/host.crt
    key: /etc/observatory/pki/host.key
    user: admin
    password: "{{ elasticsearch_password_admin }}"
"""

RETURN = r"""
done:
  description: What was (in check mode, would be) done, in words.
  returned: success
  type: list
  elements: str
  sample: ["elasticsearch restarted"]
restarted:
  description: Whether the node was restarted.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils.answer import answer
from ansible_collections.observatory.core.plugins.module_utils.elasticsearch import SPEC, Node


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    answer(module, lambda host: Node(host, module.params).apply())


if __name__ == "__main__":
    main()
