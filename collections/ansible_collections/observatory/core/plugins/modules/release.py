# Copyright: Observatory contributors
# Apache License 2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Install a versioned archive, verified, and make it current by an atomic link
version_added: "1.0.0"
description:
  - The archive is fetched by the host, verified, and unpacked to C(/opt/observatory/NAME/VERSION); C(current) points at it.
  - The version before stays as C(previous), so that going back needs no download. A version whose files are as they were unpacked needs
    neither the publisher nor a mirror. A damaged one is unpacked anew.
  - Exactly one top folder is expected in the archive; paths and links that lead out of it are refused.
author: Observatory
attributes:
  check_mode:
    description: Resolves the checksum (so an unknown version is found), and downloads nothing else.
    support: full
  diff_mode:
    description: Shows the version before and after.
    support: full
options:
  name: {description: "Name of the product.", type: str, required: true}
  version: {description: "Version. C({version}) in the URLs stands for it.", type: str, required: true}
  url: {description: "The publisher's URL of the archive.", type: str, required: true}
  checksum: {description: "V(sha256:…), V(sha512:…) or the URL of the publisher's checksum file.", type: str, required: true}
  mirror: {description: "Base URL of a mirror of the layout MIRROR/HOST/PATH.", type: str, default: ""}
  arch: {description: "Machine name (C(uname -m)) to the publisher's word for it.", type: dict, default: {}}
  creates: {description: "Paths that the unpacked archive has to hold.", type: list, elements: str, default: []}
"""

EXAMPLES = r"""
- name: The node exporter is installed
  observatory.core.release:
    name: node_exporter
    version: "1.11.1"
    url: https://github.com/prometheus/node_exporter/releases/download/v{version}/node_exporter-{version}.linux-{arch}.tar.gz
    checksum: https://github.com/prometheus/node_exporter/releases/download/v{version}/sha256sums.txt
    arch: {x86_64: amd64, aarch64: arm64}
    creates: [node_exporter]
"""

RETURN = r"""
folder:
  description: Where the version lies.
  returned: success
  type: str
  sample: /opt/observatory/node_exporter/1.11.1
previous_version:
  description: The version that was current before this run.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils.answer import answer
from ansible_collections.observatory.core.plugins.module_utils.release import SPEC, apply


def main():
    module = AnsibleModule(argument_spec=dict(SPEC, name={"type": "str", "required": True}), supports_check_mode=True)
    answer(module, lambda host: apply(host, module.params["name"], module.params))


if __name__ == "__main__":
    main()
