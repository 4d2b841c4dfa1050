# Copyright: Observatory contributors
# Apache License 2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: config_tree
short_description: Bring a tree of files to its declared state, checked as a whole
version_added: "1.0.0"
description:
  - A folder of templates is a picture of the target's file system. All of it is rendered on the controller, sent once, staged, checked by the
    product's own checker as a whole tree and for the files that it refers to, and only then moved into place, each file atomically.
  - A failed check changes nothing and shows the checker's words.
author: Observatory
attributes:
  check_mode:
    description: Predicts every file. A checker that is not installed yet is named in a warning.
    support: full
  diff_mode:
    description: Shows every file that changes, except those that others may not read.
    support: full
options:
  name: {description: "Name of the tree; the record of its files carries it.", type: str, required: true}
  current: {description: "What C({current}) stands for in O(validate).", type: str, default: ""}
  templates: {description: "Folder of templates, relative to the role.", type: str, default: templates}
  files:
    description: Generated files beside the templates.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: "Absolute path.", type: str, required: true}
      content: {description: "Text.", type: str, required: true}
      owner: {description: "Owner.", type: str}
      group: {description: "Group.", type: str}
      mode: {description: "Mode in octal.", type: str}
      secret: {description: "Whether the content is kept out of diffs.", type: bool}
  permissions:
    description: Owner, group and mode by path; the first match counts. Others are V(root:root 0644).
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: "Path or glob.", type: str, required: true}
      owner: {description: "Owner.", type: str}
      group: {description: "Group.", type: str}
      mode: {description: "Mode in octal.", type: str}
      secret: {description: "Whether the content is kept out of diffs.", type: bool}
  own: {description: "Folders in which every file that is not rendered is removed.", type: list, elements: str, default: []}
  keep: {description: "Paths in owned folders that are never touched.", type: list, elements: str, default: []}
  validate: {description: "Commands that check the tree staged at C({root}).", type: list, elements: str, default: []}
  references: {description: "Paths that must exist and be readable by O(reader).", type: list, elements: str, default: []}
  reader: {description: "User that reads the files.", type: str}
"""

EXAMPLES = r"""
- name: Blackbox's modules are checked and in place
  observatory.core.config_tree:
    name: blackbox
    templates: templates
    validate: ["/usr/local/bin/blackbox_exporter --config.check --config.file {root}/etc/blackbox/blackbox.yml"]
    reader: blackbox
"""

RETURN = r"""
done:
  description: What was (in check mode, would be) done, in words.
  returned: success
  type: list
  elements: str
changed_paths:
  description: Files written or removed.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils.answer import answer
from ansible_collections.observatory.core.plugins.module_utils.component import unpack
from ansible_collections.observatory.core.plugins.module_utils.config_tree import apply


def main():
    module = AnsibleModule(argument_spec={"payload": {"type": "str", "required": True, "no_log": True}}, supports_check_mode=True)
    declaration = unpack(module.params["payload"])
    answer(module, lambda host: apply(host, declaration))


if __name__ == "__main__":
    main()
