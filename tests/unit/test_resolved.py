"""Where a variable was set and what its templates give, with Ansible's own loader and templating."""

from __future__ import annotations

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.observatory.core.plugins.plugin_utils.arguments import UNRESOLVED
from ansible_collections.observatory.core.plugins.plugin_utils.resolved import Variables, trusted

SITE = """\
plain: 15d
number: 3
nothing:
flag: true
nested:
  shop:
    port: 1
    up: true
  list: [a, {b: false}]
uses_plain: "{{ plain }}"
broken: "{{ nowhere }}"
part:
  good: "{{ number }}"
  bad: ["{{ nowhere.else }}"]
broken_password: "{{ nowhere }}"
wrong: "{{ plain | no_such_filter }}"
"""


@pytest.fixture
def variables(tmp_path):
    (tmp_path / "site.yml").write_text(SITE)
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))
    raw = loader.load_from_file(str(tmp_path / "site.yml"), trusted_as_template=True)
    return Variables(raw, Templar(loader, variables=raw), loader, base=str(tmp_path))


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (("plain",), "site.yml:1"),
        (("nothing",), "site.yml:3"),
        (("flag",), "site.yml:4"),
        (("nested",), "site.yml:5"),
        (("nested", "shop", "port"), "site.yml:7"),
        (("nested", "shop", "up"), "site.yml:8"),
        (("nested", "list", 1, "b"), "site.yml:9"),
        (("nested", "shop", "missing"), "site.yml:6"),
        (("uses_plain", "deeper"), "site.yml:10"),
        (("unknown",), ""),
    ],
)
def test_every_value_has_a_place(variables, path, where):
    """True, false and nothing take their key's; what a template returns takes the template's."""
    assert variables.where(path) == where


def test_a_place_is_right_where_another_file_set_the_key_first(tmp_path):
    """Merged mappings keep the first file's key: a boolean that a site sets must not point at the shipped file."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "all.yml").write_text("flag: false\nempty: 1\n")
    (tmp_path / "inventory" / "site.yml").write_text("other: 1\nflag: true\nempty:\n")
    loader = DataLoader()
    shipped = loader.load_from_file(str(tmp_path / "all.yml"))
    site = loader.load_from_file(str(tmp_path / "inventory" / "site.yml"))
    raw = {**shipped, **site, "ansible_inventory_sources": [str(tmp_path / "inventory")]}
    found = Variables(raw, None, loader, base=str(tmp_path))
    assert [found.where((name,)) for name in ("flag", "empty")] == ["inventory/site.yml:2", "inventory/site.yml:3"]


def test_templates_are_resolved_and_plain_data_is_left_alone(variables):
    """A native type stays one."""
    assert variables.resolve("uses_plain") == "15d"
    assert variables.resolve("nested") is variables.raw["nested"]
    assert variables.render("{{ number + 1 }}") == 4
    assert variables.render(trusted({"a": ["{{ plain }}", 1]})) == {"a": ["15d", 1]}
    assert variables.render("{{ nowhere }}") is UNRESOLVED
    assert variables.findings == []


def test_a_template_that_cannot_be_resolved_is_a_finding(variables):
    """The rest of the value is resolved; the finding names the leaf; a secret's template stays hidden."""
    assert variables.resolve("part") == {"good": 3, "bad": [UNRESOLVED]}
    assert variables.resolve("broken") is UNRESOLVED
    assert variables.resolve("broken_password") is UNRESOLVED
    assert variables.resolve("wrong") is UNRESOLVED
    assert [finding.lines() for finding in variables.findings] == [
        ["part.bad[0] uses nowhere, which is not defined", '  set in site.yml:14; given: "{{ nowhere.else }}"'],
        ["broken uses nowhere, which is not defined", '  set in site.yml:11; given: "{{ nowhere }}"'],
        ["broken_password uses nowhere, which is not defined", "  set in site.yml:15; given: (hidden)"],
        [
            "wrong is a template that cannot be resolved",
            '  set in site.yml:16; given: "{{ plain | no_such_filter }}"',
            "  Syntax error in template: No filter named 'no_such_filter'.",
        ],
    ]
