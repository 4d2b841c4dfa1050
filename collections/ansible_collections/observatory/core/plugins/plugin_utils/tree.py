"""Renders a role's picture of the target's file system on the controller (used by `component` and `config_tree`)."""

from __future__ import annotations

import fnmatch
import os

import yaml
from ansible.errors import AnsibleError
from ansible.template import trust_as_template

TEMPLATE_SUFFIX = ".j2"
REFERENCE_SUFFIX = "_file"
DEFAULT_OWNER = "root"
DEFAULT_MODE = "0644"
YAML_SUFFIXES = (".yml", ".yaml")


def render(action, config, task_vars):
    """Return the declaration's `config` with every file rendered: {files: [{path, content, owner, group, mode, secret}], ...}.

    action: the running action plugin; its task's role says where the templates lie. Raises AnsibleError naming the template.
    """
    folder = _templates_folder(action, config["templates"])
    files = {}
    if folder:
        templar = action._templar.copy_with_new_env(searchpath=[folder], available_variables=dict(task_vars))
        for source, path in _sources(folder):
            text = _render_file(action, templar, source)
            if text.strip():
                files[path] = {"path": path, "content": text}
    for entry in config["files"]:
        if entry["path"] in files:
            raise AnsibleError("{0} is rendered by a template and listed in `files` too: keep one of them".format(entry["path"]))
        files[entry["path"]] = {key: value for key, value in entry.items() if value is not None}
    entries = [_with_permissions(files[path], config["permissions"]) for path in sorted(files)]
    return {
        "files": entries,
        "own": config["own"],
        "keep": config["keep"],
        "validate": config["validate"],
        "references": sorted(set(config["references"]) | {path for entry in entries for path in references(entry)}),
        "reader": config["reader"],
    }


def references(entry):
    """Return the absolute paths that a rendered YAML file names under keys ending in `_file`: its product will read them."""
    if not entry["path"].endswith(YAML_SUFFIXES):
        return set()
    try:
        documents = list(yaml.load_all(entry["content"], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError:
        return set()
    base = os.path.dirname(entry["path"])
    return {os.path.normpath(os.path.join(base, value)) for document in documents for value in _named_files(document)}


def _named_files(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(key, str) and key.endswith(REFERENCE_SUFFIX) and isinstance(value, str) and value:
                yield value
            else:
                yield from _named_files(value)
    elif isinstance(node, list):
        for value in node:
            yield from _named_files(value)


def _templates_folder(action, templates):
    if os.path.isabs(templates):
        folder = templates
    elif action._task._role:
        folder = os.path.join(action._task._role._role_path, templates)
    else:
        folder = os.path.join(action._loader.get_basedir(), templates)
    return folder if os.path.isdir(folder) else None


def _sources(folder):
    """Yield (template, absolute target path), sorted; folders that begin with `_` hold macros and are not shipped."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("_"))
        for name in sorted(names):
            source = os.path.join(parent, name)
            path = "/" + os.path.relpath(source, folder)
            yield source, path[: -len(TEMPLATE_SUFFIX)] if path.endswith(TEMPLATE_SUFFIX) else path


def _render_file(action, templar, source):
    text = action._loader.get_text_file_contents(source)
    if not source.endswith(TEMPLATE_SUFFIX):
        return str(text)
    try:
        # Without trust the text would be shipped as it is, braces included.
        rendered = templar.template(trust_as_template(text), escape_backslashes=False)
    except AnsibleError as error:
        raise AnsibleError("{0}: {1}".format(_short(source), error.message)) from error
    if rendered is None:
        return ""  # a template whose conditions left nothing: the file is not wanted
    if not isinstance(rendered, str):
        kind = type(rendered).__name__.replace("_AnsibleTagged", "").lower()
        raise AnsibleError(
            "{0}: the template is one lone expression and gives {1}, not text: end it with `| to_nice_yaml` or the like".format(
                _short(source), kind
            )
        )
    return str(rendered)


def _short(source):
    position = source.find("/roles/")
    return source[position + 1:] if position >= 0 else source


def _with_permissions(entry, permissions):
    rule = next((rule for rule in permissions if fnmatch.fnmatchcase(entry["path"], rule["path"])), {})
    merged = {"owner": DEFAULT_OWNER, "group": DEFAULT_OWNER, "mode": DEFAULT_MODE, "secret": None}
    for source in (rule, entry):
        merged.update({key: value for key, value in source.items() if value is not None and key != "path"})
    merged["path"] = entry["path"]
    if merged["secret"] is None:
        merged["secret"] = not int(merged["mode"], 8) & 0o004
    return merged
