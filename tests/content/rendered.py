"""The files that a role ships to a host, rendered as its first task would: the role's variables, the shipped group_vars and an inventory.

Run as a program it prints them as JSON. It is one, since Ansible's plugin loader lives once in a process and pytest has its own imports.
"""

from __future__ import annotations

import functools
import json
import pathlib
import subprocess
import sys
import types
import typing as t

ROOT = pathlib.Path(__file__).parents[2]
# Enough for a role to render; a test that looks at a value gives it.
CERTIFICATE = {"certificate": "certificate\n", "key": "key\n", "authority": "authority\n"}


def role_files(role: str, host: str = "hub", inventory: str = "inventories/lab", **values) -> dict[str, dict]:
    """Return path -> {content, owner, group, mode, secret}; `values` win over every other variable, certificates are placeholders."""
    return _files(role, host, inventory, json.dumps(values, sort_keys=True))


def forget() -> None:
    """Let the next call render anew."""
    _files.cache_clear()


@functools.cache
def _files(role: str, host: str, inventory: str, values: str) -> dict[str, dict]:
    done = subprocess.run(
        [sys.executable, __file__, role, host, inventory, values], cwd=ROOT, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    return {entry["path"]: entry for entry in json.loads(done.stdout)}


def render(role: str, host: str, inventory: str, values: dict) -> list[dict]:
    """Return the rendered files of the role's component."""
    import yaml
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.template import Templar
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    init_plugin_loader()
    from ansible_collections.observatory.core.plugins.module_utils.config_tree import SPEC
    from ansible_collections.observatory.core.plugins.plugin_utils import tree

    loader = DataLoader()
    loader.set_basedir(str(ROOT / "playbooks"))
    hosts = InventoryManager(loader=loader, sources=[str(ROOT / inventory)])
    folder = ROOT / "roles" / role

    def read(name: str) -> t.Any:
        path = folder / name / "main.yml"
        return loader.load_from_file(str(path), trusted_as_template=True) if path.exists() else {}

    manager = VariableManager(loader=loader, inventory=hosts)
    manager._hostvars = HostVars(hosts, manager, loader)
    variables = {**read("defaults"), **manager.get_vars(host=hosts.get_host(host)), **read("vars")}
    variables |= {"playbook_dir": str(ROOT / "playbooks"), "role_path": str(folder)}
    variables |= {f"__{role}_certificate": CERTIFICATE, **values}
    templar = Templar(loader=loader, variables=variables)
    task = read("tasks")[0]
    config = {name: option.get("default") for name, option in SPEC.items()} | templar.template(task["observatory.core.component"]["config"])
    action = types.SimpleNamespace(_loader=loader, _templar=templar, _task=types.SimpleNamespace(_role=types.SimpleNamespace(_role_path=str(folder))))
    files = tree.render(action, config, variables)["files"]
    return yaml.safe_load(json.dumps(files))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "collections"))
    print(json.dumps(render(sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))))
