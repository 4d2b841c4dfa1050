"""The two tasks of playbooks/preflight.yml, run by ansible-playbook on a small project whose hosts cannot be reached."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest
import yaml
from ansible_collections.observatory.core.plugins.action.preflight import check_clock

PROJECT = pathlib.Path(__file__).parents[2]
SITE_SPEC = """
argument_specs:
  main:
    options:
      observatory_site: {type: str, required: true, description: Name of the site.}
      observatory_mirror_url: {type: str, required: true, description: "Mirror. Empty: none."}
      observatory_teams: {type: dict, elements: dict, required: true, description: Teams., options: {mail: {type: str, description: Mail.}}}
"""
PROMETHEUS_SPEC = """
argument_specs:
  main:
    options:
      prometheus_version: {type: str, required: true, description: Version.}
      prometheus_port: {type: int, default: 9090, description: Port.}
      prometheus_external_url: {type: str, default: "https://{{ inventory_hostname }}:{{ prometheus_port }}/", description: Address.}
      prometheus_api_enabled: {type: bool, default: false, description: Whether.}
"""
NODE_SPEC = "argument_specs: {main: {options: {node_exporter_port: {type: int, default: 9100, description: Port.}}}}"
ALERTMANAGER_SPEC = "argument_specs: {main: {options: {alertmanager_port: {type: int, default: 9093, description: Port.}}}}"
SHIPPED = """
observatory_mirror_url: ""
observatory_teams: {}
prometheus_version: "3.5.3"
prometheus_api_enabled: false
"""
HOSTS = """
observatory:
  vars: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_retries: 0, ansible_ssh_common_args: -o BatchMode=yes}
  hosts: {h1: {}, h2: {}}
  children:
    prometheus: {hosts: {h1: {}}}
    alertmanager: {hosts: {h1: {}}}
    node_exporter: {hosts: {h1: {}, h2: {}}}
"""
UNREACHABLE = [
    "The host cannot be reached",
    '  set in site/hosts.yml:3; given: "127.0.0.1"',
    "  ssh: connect to host 127.0.0.1 port 1: Connection refused",
]


@pytest.fixture
def project(tmp_path):
    """The smallest project that preflight can look at: specs, shipped variables, one site."""
    specs = {"site": SITE_SPEC, "prometheus": PROMETHEUS_SPEC, "node_exporter": NODE_SPEC, "alertmanager": ALERTMANAGER_SPEC}
    for role, text in specs.items():
        write(tmp_path / f"roles/{role}/meta/argument_specs.yml", text)
    write(tmp_path / "playbooks/preflight.yml", (PROJECT / "playbooks/preflight.yml").read_text())
    write(tmp_path / "playbooks/group_vars/all/shipped.yml", SHIPPED)
    write(tmp_path / "site/hosts.yml", HOSTS)
    write(tmp_path / "site/group_vars/all/site.yml", "observatory_site: lab\n")
    (tmp_path / "collections").symlink_to(PROJECT / "collections")
    (tmp_path / "ansible.cfg").symlink_to(PROJECT / "ansible.cfg")
    return tmp_path


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def preflight(project, *arguments, inventory="site"):
    """Return (exit code, the lines of the message) of a run."""
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "playbooks/preflight.yml", "-i", inventory, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment.update(ANSIBLE_NOCOLOR="1", ANSIBLE_HOME=str(project / "home"), XDG_CACHE_HOME=str(project / "cache"))
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count("FAILED! =>") == 1, done.stdout + done.stderr
    assert "[ERROR]" not in done.stdout + done.stderr
    block = done.stdout.split("FAILED! =>", 1)[1].split("PLAY RECAP")[0]
    return done.returncode, yaml.safe_load(textwrap.dedent(block.lstrip(" ").lstrip("\n")))["msg"].splitlines()


def test_all_findings_of_all_hosts_come_in_one_message(project):
    """Variables with file and line, also of a boolean that overrides a shipped one; unreachable hosts; nothing twice."""
    write(
        project / "site/group_vars/all/site.yml",
        "observatory_site: lab\nprometheus_api_enabled:\nprometheus_prot: 1\nobservatory_teams:\n  ops: {mial: x}\n",
    )
    write(project / "site/host_vars/h2.yml", "node_exporter_port: '{{ nowhere }}'\n")
    code, lines = preflight(project)
    assert code != 0
    assert lines == [
        "5 problems, nothing was changed",
        "prometheus_prot is not a variable of this project",
        "  set in site/group_vars/all/site.yml:3; given: 1",
        "  did you mean prometheus_port?",
        "prometheus_api_enabled is empty; it must be true or false",
        "  set in site/group_vars/all/site.yml:2",
        "  Whether.",
        "  on h1",
        "observatory_teams.ops.mial is not an option of this project",
        '  set in site/group_vars/all/site.yml:5; given: "x"',
        "  did you mean mail?",
        *UNREACHABLE,
        "node_exporter_port uses nowhere, which is not defined",
        '  set in site/host_vars/h2.yml:1; given: "{{ nowhere }}"',
        "  on h2",
    ]


def test_the_groups_are_those_of_the_inventory_also_with_a_limit(project):
    """--limit leaves hosts out of the run, not out of the site: Prometheus is there though it is not looked at."""
    assert preflight(project, "--limit", "h2", "--check")[1] == ["1 problem, nothing was changed", *UNREACHABLE]


def test_a_group_without_hosts_is_one_problem_of_the_site(project):
    """What concerns the inventory as a whole names no host."""
    write(project / "site/hosts.yml", HOSTS.replace("    alertmanager: {hosts: {h1: {}}}\n", ""))
    assert preflight(project)[1] == [
        "2 problems, nothing was changed",
        "The group alertmanager has no host, but prometheus has: its alerts would reach nobody",
        "  set in site",
        "  add a host to the group alertmanager, or take the hosts out of prometheus",
        *UNREACHABLE,
    ]


def test_an_inventory_without_hosts_is_refused(project):
    """A run that does nothing must not succeed."""
    code, lines = preflight(project, inventory="/dev/null")
    assert code != 0
    assert lines == [
        "1 problem, nothing was changed",
        "The group observatory has no host",
        "  set in /dev/null",
        "  name an inventory with -i, for example: -i inventories/lab",
    ]


@pytest.mark.parametrize(
    ("then", "text"),
    [
        (100, None),
        (71, None),
        (139, None),
        (60, "The host's clock is 40 s behind the controller's"),
        (150, "The host's clock is 41 s ahead of the controller's"),
    ],
)
def test_a_clock_is_compared_with_the_time_of_the_round_trip_left_out(then, text):
    """Asked at 100, answered at 109: what the host read in between is right."""
    hint = "at most 30 s are allowed; start a time service on the host (systemd-timesyncd, chrony)"
    found = [(finding["text"], finding["hint"]) for finding in check_clock(then, 100, 109, 30)]
    assert found == ([(text, hint)] if text else [])
