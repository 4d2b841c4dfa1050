"""Defaults and the variable reference are generated from the argument specs; whole texts are compared."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from observatory import reference

PROJECT = pathlib.Path(__file__).parents[2]
SPEC = """
argument_specs:
  main:
    short_description: Metrics.
    options:
      prometheus_port:
        type: int
        default: 9090
        description:
          - Port of the API.
          - Behind a firewall it may stay.
      prometheus_version: {type: str, required: true, description: "Version, for example `<3.5.3>` | newer, in <site>/*.yml."}
      prometheus_level: {type: str, default: info, choices: [info, warn], description: Level.}
      prometheus_url: {type: str, default: "https://{{ inventory_hostname }}:{{ prometheus_port }}/", description: Address.}
      prometheus_empty: {type: str, default: "", description: Empty means none.}
      prometheus_yes: {type: str, default: "yes", description: Looks like a boolean.}
      prometheus_jobs:
        type: list
        elements: dict
        default: [{name: a, targets: [x]}]
        description: Jobs.
        options:
          name: {type: str, required: true, description: Name of the job.}
          tls: {type: dict, description: TLS., options: {enabled: {type: bool, default: true, description: Whether.}}}
      prometheus_labels: {type: dict, default: {}, description: Labels.}
"""
DEFAULTS = """\
---
# generated from meta/argument_specs.yml by `make generate`, do not edit: set variables in group_vars

# Port of the API. Behind a firewall it may stay.
prometheus_port: 9090

# Level. One of: info, warn.
prometheus_level: info

# Address.
prometheus_url: "https://{{ inventory_hostname }}:{{ prometheus_port }}/"

# Empty means none.
prometheus_empty: ""

# Looks like a boolean.
prometheus_yes: "yes"

# Jobs.
prometheus_jobs:
  - name: a
    targets:
      - x

# Labels.
prometheus_labels: {}
"""
TABLE = """
## prometheus

Metrics.

| variable | type | default | description |
|---|---|---|---|
| `prometheus_port` | int | `9090` | Port of the API. Behind a firewall it may stay. |
| `prometheus_version` | str | *required* | Version, for example `<3.5.3>` \\| newer, in &lt;site>/\\*.yml. |
| `prometheus_level` | str | `info` | Level. One of: `info`, `warn`. |
| `prometheus_url` | str | `https://{{ inventory_hostname }}:{{ prometheus_port }}/` | Address. |
| `prometheus_empty` | str | `""` | Empty means none. |
| `prometheus_yes` | str | `yes` | Looks like a boolean. |
| `prometheus_jobs` | list of dict | `[{"name": "a", "targets": ["x"]}]` | Jobs. |
| &emsp;`name` | str | *required* | Name of the job. |
| &emsp;`tls` | dict |  | TLS. |
| &emsp;&emsp;`enabled` | bool | `true` | Whether. |
| `prometheus_labels` | dict | `{}` | Labels. |
"""


@pytest.fixture
def root(tmp_path):
    for role, spec in {
        "prometheus": SPEC,
        "site": "argument_specs: {main: {options: {observatory_site: {type: str, required: true, description: Name.}}}}",
    }.items():
        (tmp_path / "roles" / role / "meta").mkdir(parents=True)
        (tmp_path / "roles" / role / "meta" / "argument_specs.yml").write_text(spec)
    return tmp_path


def test_defaults_and_reference_are_written_whole(root, capsys):
    """The first run writes both, a second one nothing; a role without defaults gets no file."""
    assert reference.main(["--root", str(root)]) == 0
    assert capsys.readouterr().out.splitlines() == ["roles/prometheus/defaults/main.yml", "docs/reference/variables.md"]
    assert (root / "roles/prometheus/defaults/main.yml").read_text() == DEFAULTS
    page = (root / "docs/reference/variables.md").read_text()
    assert page.startswith(reference.INTRODUCTION)
    assert page.endswith(TABLE)
    assert page.index("## Shared by all roles") < page.index("## prometheus")
    assert not (root / "roles/site/defaults").exists()
    assert reference.main(["--root", str(root)]) == 0
    assert capsys.readouterr().out == ""


def test_the_defaults_file_says_what_the_spec_says(root):
    """Read back, every default has the spec's value and type."""
    reference.main(["--root", str(root)])
    options = yaml.safe_load(SPEC)["argument_specs"]["main"]["options"]
    wanted = {name: option["default"] for name, option in options.items() if "default" in option}
    assert yaml.safe_load((root / "roles/prometheus/defaults/main.yml").read_text()) == wanted


def test_check_names_what_is_out_of_step_and_writes_nothing(root, capsys):
    """A defaults file edited by hand, a missing page, and a leftover file of a role without defaults."""
    reference.main(["--root", str(root)])
    (root / "roles/prometheus/defaults/main.yml").write_text("edited: true\n")
    (root / "docs/reference/variables.md").unlink()
    (root / "roles/site/defaults").mkdir()
    (root / "roles/site/defaults/main.yml").write_text("left: over\n")
    capsys.readouterr()
    assert reference.main(["--root", str(root), "--check"]) == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == ["roles/site/defaults/main.yml", "roles/prometheus/defaults/main.yml", "docs/reference/variables.md"]
    assert output.err == "out of step with the roles' meta/argument_specs.yml; run: make generate\n"
    assert (root / "roles/prometheus/defaults/main.yml").read_text() == "edited: true\n"
    assert reference.main(["--root", str(root)]) == 0
    assert not (root / "roles/site/defaults/main.yml").exists()
    assert reference.main(["--root", str(root), "--check"]) == 0


def test_an_option_without_description_is_refused(root, capsys):
    """To the leaf: a nested option counts too."""
    (root / "roles/site/meta/argument_specs.yml").write_text(
        "argument_specs: {main: {options: {a: {type: dict, description: A., options: {b: {type: str}}}}}}"
    )
    assert reference.main(["--root", str(root)]) == 2
    assert capsys.readouterr().err == (
        "roles/site/meta/argument_specs.yml: a.b has no description. Say its effect, unit, range, and what empty means\n"
    )


def test_a_file_that_is_no_spec_is_refused(root, capsys):
    (root / "roles/site/meta/argument_specs.yml").write_text("{}\n")
    assert reference.main(["--root", str(root)]) == 2
    assert capsys.readouterr().err == "roles/site/meta/argument_specs.yml: argument_specs.main cannot be read: 'argument_specs'\n"


def test_the_projects_own_files_are_in_step():
    """What is in the tree is what the specs give; `make generate` brings it in step."""
    wanted = reference.files(PROJECT)
    assert [str(file.relative_to(PROJECT)) for file in reference.out_of_step(wanted)] == []
