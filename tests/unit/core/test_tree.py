"""A role's templates become a tree of files with owners and modes, and the paths that they name are found."""

import types

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.observatory.core.plugins.plugin_utils import tree


@pytest.fixture
def role(tmp_path):
    """Return a function that renders templates {path below templates/: text} with further configuration."""
    loader = DataLoader()
    action = types.SimpleNamespace(
        _loader=loader, _templar=Templar(loader=loader),
        _task=types.SimpleNamespace(_role=types.SimpleNamespace(_role_path=str(tmp_path / "roles" / "beacon"))),
    )

    def render(templates, variables=None, **config):
        for path, text in templates.items():
            source = tmp_path / "roles" / "beacon" / "templates" / path
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(text)
        whole = {"templates": "templates", "files": [], "permissions": [], "own": [], "keep": [], "validate": [], "references": [], "reader": None}
        return tree.render(action, {**whole, **config}, variables or {})

    return render


def references(text, path="/etc/beacon/main.yml"):
    return sorted(tree.references({"path": path, "content": text}))


def test_a_folder_of_templates_is_a_picture_of_the_file_system(role):
    """Rendered, or taken as it is; macros and what renders to nothing are not shipped."""
    result = role(
        {
            "etc/beacon/main.yml.j2": "{% import '_macros/m.j2' as m %}{{ m.line(port) }}\n",
            "etc/beacon/plain.yml": "as: {{ it is }}\n",
            "etc/beacon/rules.yml.j2": "#jinja2: variable_start_string: '[[', variable_end_string: ']]'\n[[ port ]] {{ $value }} C:\\\\n\n",
            "etc/beacon/unwanted.yml.j2": "{% if false %}x{% endif %}\n",
            "_macros/m.j2": "{% macro line(x) %}port: {{ x }}{% endmacro %}",
        },
        {"port": 9},
    )
    root = {"owner": "root", "group": "root", "mode": "0644", "secret": False}
    assert result == {
        "files": [
            {**root, "path": "/etc/beacon/main.yml", "content": "port: 9\n"},
            {**root, "path": "/etc/beacon/plain.yml", "content": "as: {{ it is }}\n"},
            {**root, "path": "/etc/beacon/rules.yml", "content": "9 {{ $value }} C:\\\\n\n"},
        ],
        "own": [], "keep": [], "validate": [], "references": [], "reader": None,
    }


def test_an_undefined_variable_is_told_with_its_template(role):
    """Ansible gives no file by itself."""
    with pytest.raises(AnsibleError) as caught:
        role({"etc/beacon/main.yml.j2": "a: {{ beacon_prot }}\n"})
    assert str(caught.value).startswith("roles/beacon/templates/etc/beacon/main.yml.j2: ")
    assert "'beacon_prot' is undefined" in str(caught.value)


def test_a_template_that_gives_no_text_is_refused(role):
    """A lone expression keeps its type, and the file would hold Python."""
    with pytest.raises(AnsibleError) as caught:
        role({"etc/beacon/main.yml.j2": "{{ settings }}\n"}, {"settings": {"a": 1}})
    assert str(caught.value) == (
        "roles/beacon/templates/etc/beacon/main.yml.j2: the template is one lone expression and gives dict, not text: "
        "end it with `| to_nice_yaml` or the like"
    )


def test_a_path_is_declared_once(role):
    """Not by a template and in `files`."""
    with pytest.raises(AnsibleError) as caught:
        role({"etc/a": "x\n"}, files=[{"path": "/etc/a", "content": "y"}])
    assert str(caught.value) == "/etc/a is rendered by a template and listed in `files` too: keep one of them"


def test_permissions_count_from_the_first_match_and_a_files_own_come_first(role):
    """What others may not read is a secret unless it is said not to be."""
    rules = [
        {"path": "/etc/tls/*.key", "owner": None, "group": "beacon", "mode": "0640", "secret": None},
        {"path": "/etc/tls/*", "owner": "beacon", "group": None, "mode": "0600", "secret": False},
    ]
    generated = [
        {"path": "/etc/tls/own.key", "content": "k", "mode": "0400", "owner": None, "group": None, "secret": None},
        {"path": "/etc/open", "content": "o", "mode": None, "owner": None, "group": None, "secret": True},
    ]
    result = role({"etc/tls/a.key": "k", "etc/tls/a.crt": "c", "etc/other": "x"}, files=generated, permissions=rules)
    assert {entry["path"]: [entry[key] for key in ("owner", "group", "mode", "secret")] for entry in result["files"]} == {
        "/etc/tls/a.key": ["root", "beacon", "0640", True],
        "/etc/tls/own.key": ["root", "beacon", "0400", True],
        "/etc/tls/a.crt": ["beacon", "root", "0600", False],
        "/etc/other": ["root", "root", "0644", False],
        "/etc/open": ["root", "root", "0644", True],
    }


def test_paths_that_a_configuration_names_are_found(role):
    """At any depth, relative to the file, in every document; lists of globs and other keys are none."""
    text = (
        "tls: {cert_file: tls/a.crt, key_file: /etc/beacon/tls/../tls/a.key}\n"
        "jobs:\n  - basic_auth: {password_file: password}\n  - scrape_file: ''\n"
        "rule_files: [rules/*.yml]\nfile: x\nsome_file: [a]\n---\nother_file: b\n"
    )
    assert references(text) == ["/etc/beacon/b", "/etc/beacon/password", "/etc/beacon/tls/a.crt", "/etc/beacon/tls/a.key"]
    result = role({"etc/beacon/main.yml": "key_file: k\n"}, references=["/etc/z"])
    assert result["references"] == ["/etc/beacon/k", "/etc/z"]


def test_what_is_not_yaml_names_nothing():
    """A broken file is the checker's business, another format has no such keys."""
    assert references("a_file: [") == []
    assert references("a_file: x\n", "/etc/beacon/main.conf") == []
    assert references("just text\n") == []
