# Copyright: Observatory contributors
# Apache License 2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: api_object
short_description: Bring objects behind a product's HTTP API to their declared state
version_added: "1.0.0"
description:
  - For what lives behind an API and not in a file, such as index templates, snapshot repositories, data views and saved objects.
  - Each object is read, brought into a normal form, compared, and written only when it differs. One task serves a whole list.
  - All objects are read before any is written. Writes follow the order of the list, so an object stands after those that it refers to.
    Objects with O(objects[].state=absent) are deleted after the writes, from the last to the first.
  - The first write that is refused fails the task with the server's own words. What was written before it stays and is named, nothing after
    it is tried.
  - A product that is starting is waited for, see O(timeout). In check mode a product that nobody has started yet, or whose certificates are
    not there yet, counts as empty, and a warning says so.
  - Numbers, booleans and their texts are equal, and so are a text that holds JSON and its data. A field that is empty is equal to one that
    is missing on the server.
author: Observatory
attributes:
  check_mode:
    description: Reads, and says what it would write. On a product that does not exist yet it says that all would be created.
    support: full
  diff_mode:
    description: Shows each object in its normal form, secrets excepted.
    support: full
options:
  url: {description: "Base URL, as seen from the target.", type: str, required: true}
  ca: {description: "File of the authority that the server is checked against.", type: path}
  cert: {description: "File of the client certificate.", type: path}
  key: {description: "File of its key.", type: path}
  user: {description: "User for basic authentication.", type: str}
  password: {description: "Its password.", type: str}
  headers: {description: "Further headers of each request. They are not hidden: no secret belongs here.", type: dict, default: {}}
  timeout:
    description: Seconds for which a server that does not answer, or answers 429, 502, 503 or 504, is asked again; one span for the whole task.
    type: int
    default: 60
  objects:
    description: The objects, in the order in which they are written.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: "What messages and diffs call it.", type: str, required: true}
      path: {description: "Path and query at which it is read, written and deleted.", type: str, required: true}
      state: {description: "Whether it has to be there.", type: str, choices: [present, absent], default: present}
      create:
        description:
          - Whether it is made where it is missing. V(false) is for what something else makes, and is only put right here, such as the retention
            of a data stream.
        type: bool
        default: true
      body:
        description:
          - The object as the server shows it. A mapping or a list; for the formats of lines a list, or text with one JSON object a line.
          - Needed unless O(objects[].state=absent).
        type: raw
      select:
        description:
          - Dotted path to the object within the answer, C(\.) for a dot in a key. Empty means the whole answer.
          - An answer without that path means that the object is not there.
        type: str
        default: ""
      ignore:
        description: Dotted paths of fields that the server makes by itself, from the object on. C(*) stands for any key or element.
        type: list
        elements: str
        default: []
      compare:
        description:
          - With V(exact) a field that the server has beyond the declaration, and that O(objects[].ignore) does not name, is a difference. So a
            field that leaves the declaration leaves the server.
          - With V(subset) it is not, for objects that the server fills up in ways that nobody can list.
        type: str
        choices: [exact, subset]
        default: exact
      secrets:
        description:
          - Dotted path to value; put into the body when it is written, and kept out of logs, diffs and messages.
          - A secret that the server does not show is not compared, so a change of it alone is not noticed.
        type: dict
        default: {}
      read:
        description: How it is read, where that is not a GET of O(objects[].path).
        type: dict
        suboptions:
          method: {description: "Method.", type: str, choices: [GET, POST], default: GET}
          path: {description: "Path and query. Default is the object's own.", type: str}
          body: {description: "JSON body of the request.", type: raw}
          absent: {description: "Status codes that mean that the object is not there.", type: list, elements: int, default: [404]}
      write:
        description: How it is written, where that is not a PUT to O(objects[].path).
        type: dict
        suboptions:
          method: {description: "Method.", type: str, choices: [PUT, POST, PATCH], default: PUT}
          path: {description: "Path and query. Default is the object's own.", type: str}
          format:
            description: V(json), V(ndjson) for one object a line, V(multipart) for such lines as an uploaded file named C(file).
            type: str
            choices: [json, ndjson, multipart]
            default: json
          under: {description: "Key under which the body is sent, where the request wraps it.", type: str}
          beside: {description: "Further keys of the request beside it. They are not compared.", type: dict, default: {}}
  own:
    description:
      - Families of objects that are this task's own. One that is on the server, and that O(objects) does not declare, is deleted.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: "What messages and diffs call one of them, before its key.", type: str, required: true}
      path: {description: "Path and query of their list.", type: str, required: true}
      select: {description: "Dotted path to the list within the answer.", type: str, default: ""}
      key: {description: "Dotted path to the key within an element.", type: str, required: true}
      match: {description: "Pattern of the keys that count.", type: str, default: "*"}
      object: {description: "Path of one, with C({key}) for its key; the same form as O(objects[].path).", type: str, required: true}
"""

EXAMPLES = r"""
- name: Elasticsearch has the templates and the snapshot repository
  observatory.core.api_object:
    url: https://localhost:9200
    ca: /etc/observatory/pki/ca.crt
    cert: /etc/observatory/pki/host.crt
    key: /etc/observatory/pki/host.key
    user: admin
    password: "{{ elasticsearch_admin_password }}"
    objects:
      - name: component template logs@observatory
        path: /_component_template/logs@observatory
        select: component_templates.0.component_template
        body:
          template:
            settings: {index: {number_of_replicas: 1}}
            mappings: {properties: {trace: {properties: {id: {type: keyword}}}}}
      - name: index template logs
        path: /_index_template/logs
        select: index_templates.0.index_template
        ignore: [data_stream.hidden, data_stream.allow_custom_routing]
        body:
          index_patterns: [logs-*-*]
          composed_of: [logs@observatory]
          priority: 300
          data_stream: {}
          template: {lifecycle: {enabled: true, data_retention: 14d}}
      - name: snapshot repository backup
        path: /_snapshot/backup
        select: backup
        ignore: [uuid]
        body: {type: fs, settings: {location: /var/backups/elasticsearch}}
      - {name: index template old, path: /_index_template/old, state: absent}
    own:
      - {name: index template, path: /_index_template/logs-*, select: index_templates, key: name, object: "/_index_template/{key}"}

- name: Kibana has the data view and the saved objects
  observatory.core.api_object:
    url: http://127.0.0.1:5601
    user: kibana_admin
    password: "{{ kibana_admin_password }}"
    headers: {kbn-xsrf: "true"}
    objects:
      - name: data view logs
        path: /api/data_views/data_view/logs
        select: data_view
        compare: subset
        body: {id: logs, title: "logs-*", timeFieldName: "@timestamp", name: Logs}
        write: {method: POST, path: /api/data_views/data_view, under: data_view, beside: {override: true}}
      - name: saved objects of Observatory
        path: /api/saved_objects/_import?overwrite=true
        compare: subset
        ignore: ["*.version", "*.updated_at", "*.created_at", "*.managed"]
        body: "{{ lookup('file', 'kibana/objects.ndjson') }}"
        read:
          method: POST
          path: /api/saved_objects/_export
          body: {objects: "{{ kibana_saved_objects }}", excludeExportDetails: true}
          absent: [400, 404]
        write: {method: POST, format: multipart}
"""

RETURN = r"""
done:
  description: What was (in check mode, would be) done, in words.
  returned: success
  type: list
  elements: str
  sample: ["component template logs@observatory created", "index template old deleted"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils.answer import answer
from ansible_collections.observatory.core.plugins.module_utils.api_object import SPEC, apply


def main():
    module = AnsibleModule(
        argument_spec=SPEC, supports_check_mode=True, required_together=[("user", "password")], required_by={"key": ["cert"]},
    )
    answer(module, lambda host: apply(module.params, check=host.check))


if __name__ == "__main__":
    main()
