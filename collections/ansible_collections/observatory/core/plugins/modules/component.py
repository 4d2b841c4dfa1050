# Copyright: Observatory contributors
# Apache License 2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: component
short_description: Bring a product to its declared state in one round trip
version_added: "1.0.0"
description:
  - A component is a product on a host, with its packages, system user, folders, release, configuration and systemd unit.
  - The role's C(templates/) folder is rendered on the controller, sent once, checked as a whole by the product's own checker, and only then
    moved into place. The unit is reloaded or restarted exactly when its release or files call for it, also when an earlier run died half
    way, and has to become healthy. A failure says what was restored.
  - Check mode writes nothing. What it cannot check yet, because the checker is not installed, it lists in one warning.
  - The cores are modules of their own, M(observatory.core.release), M(observatory.core.config_tree) and M(observatory.core.service).
author: Observatory
attributes:
  check_mode:
    description: Predicts what a run would change, on a bare host too.
    support: full
  diff_mode:
    description: Shows every file, link and unit that changes. Files that others may not read are never shown.
    support: full
options:
  name:
    description: Name of the component; names its state on the host, and its folder below C(/opt/observatory).
    type: str
    required: true
  state:
    description: V(absent) removes everything that the component has put on the host. Folders marked as data stay unless O(remove_data=true).
    type: str
    choices: [present, absent]
    default: present
  remove_data:
    description: Whether V(absent) removes the folders marked as data, and the user that owns them.
    type: bool
    default: false
  packages:
    description:
      - Packages of the distribution that have to be there, on Debian and its kin. One that is there is used as it is. One that is missing is installed
        without recommended ones, and the service of its name is left off.
      - V(absent) removes those that were installed for this component, unless another component, another package or a person uses them by then.
    type: list
    elements: str
    default: []
  user:
    description: System user, with a group of the same name and no way to log in. One that was there before is used and never removed.
    type: dict
    suboptions:
      name: {description: "Its name.", type: str, required: true}
      groups: {description: "Groups that it has to be in.", type: list, elements: str, default: []}
      members:
        description: Users of the host who are in the user's own group, these and no others. Left out, nobody is added or taken away.
        type: list
        elements: str
  directories:
    description: Folders that are made first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: "Absolute path.", type: str, required: true}
      owner: {description: "Owner.", type: str, default: root}
      group: {description: "Group.", type: str, default: root}
      mode: {description: "Mode in octal.", type: str, default: "0755"}
      data: {description: "Whether the folder outlives a removal.", type: bool, default: false}
  release:
    description: The archive that holds the product; see M(observatory.core.release).
    type: dict
    suboptions:
      version: {description: "Version. C({version}) in the URLs stands for it.", type: str, required: true}
      url: {description: "The publisher's URL of the archive.", type: str, required: true}
      checksum: {description: "V(sha256:…), V(sha512:…) or the URL of the publisher's checksum file.", type: str, required: true}
      mirror: {description: "Base URL of a mirror of the layout MIRROR/HOST/PATH.", type: str, default: ""}
      arch: {description: "Machine name (C(uname -m)) to the publisher's word for it, C({arch}) in the URLs.", type: dict, default: {}}
      creates: {description: "Paths that the unpacked archive has to hold.", type: list, elements: str, default: []}
  config:
    description: The files of the product; see M(observatory.core.config_tree).
    type: dict
    suboptions:
      templates: {description: "Folder that pictures the target's file system, relative to the role.", type: str, default: templates}
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
          secret: {description: "Whether the content is kept out of diffs. Default: what others may not read is.", type: bool}
      own: {description: "Folders in which every file that is not rendered is removed.", type: list, elements: str, default: []}
      keep: {description: "Paths in owned folders that are never touched.", type: list, elements: str, default: []}
      validate:
        description: Commands that check the staged tree. C({root}) is where it is staged, C({current}) the release's folder.
        type: list
        elements: str
        default: []
      references:
        description: Paths that must exist and be readable by O(config.reader). Values of C(*_file) keys in rendered YAML are found by themselves.
        type: list
        elements: str
        default: []
      reader: {description: "User that reads the files. Default: O(user.name).", type: str}
  service:
    description: The systemd unit; see M(observatory.core.service).
    type: dict
    suboptions:
      unit: {description: "Name of the unit. Default: O(name).", type: str}
      restart_on:
        description: Paths and globs whose change calls for a restart. The unit's own file, its drop-ins and the release are always among them.
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
      rollback:
        description: What a failed start restores, V(release) both release and configuration, V(config) the configuration alone.
        type: str
        choices: [release, config, none]
        default: none
      restart:
        description: With V(rolling) the restart of a running unit is only reported as RV(restart_due), for a play that does one host at a time.
        type: str
        choices: [now, rolling]
        default: now
"""

EXAMPLES = r"""
- name: Prometheus is installed, configured and healthy
  observatory.core.component:
    name: prometheus
    user: {name: prometheus}
    directories:
      - {path: /var/lib/prometheus, owner: prometheus, group: prometheus, mode: "0750", data: true}
    release:
      version: "3.5.3"
      url: https://github.com/prometheus/prometheus/releases/download/v{version}/prometheus-{version}.linux-{arch}.tar.gz
      checksum: https://github.com/prometheus/prometheus/releases/download/v{version}/sha256sums.txt
      arch: {x86_64: amd64, aarch64: arm64}
    config:
      own: [/etc/prometheus/rules]
      validate: ["{current}/promtool check config {root}/etc/prometheus/prometheus.yml"]
    service:
      reload_on: [/etc/prometheus/prometheus.yml, /etc/prometheus/rules/*]
      health: {url: "http://localhost:9090/-/ready"}
      rollback: config

- name: Prometheus is gone, its data stays
  observatory.core.component:
    name: prometheus
    state: absent
"""

RETURN = r"""
done:
  description: What was (in check mode, would be) done, in words.
  returned: success
  type: list
  elements: str
  sample: ["release 3.5.3 fetched", "/etc/prometheus/prometheus.yml written", "prometheus.service restarted: it was not running"]
steps:
  description: The points at which the run could have been interrupted, in order.
  returned: always
  type: list
  elements: str
restart_due:
  description: Why a rolling play has to restart the unit.
  returned: with O(service.restart=rolling), when a restart is due
  type: str
kept:
  description: Data folders that a removal has left.
  returned: with O(state=absent)
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils.answer import answer
from ansible_collections.observatory.core.plugins.module_utils.component import Component, unpack


def main():
    # The action has checked the options and rendered the files; all of it arrives in one argument that no log shows.
    module = AnsibleModule(argument_spec={"payload": {"type": "str", "required": True, "no_log": True}}, supports_check_mode=True)
    declaration = unpack(module.params["payload"])
    answer(module, lambda host: Component(host, declaration).apply())


if __name__ == "__main__":
    main()
