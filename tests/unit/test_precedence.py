"""A site's inventory wins over the shipped group_vars: one variable of every file is overridden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "group_vars/all").glob("*.yml"))


@pytest.mark.parametrize("folder", [ROOT, ROOT / "playbooks"], ids=["site.yml", "playbooks"])
def test_one_variable_of_every_file_is_overridden_by_the_inventory(folder, tmp_path):
    """The same holds for site.yml and for a playbook of its own folder, which finds the shipped values by a link."""
    first = {path.name: next(iter(yaml.safe_load(path.read_text()))) for path in SHIPPED}
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text("observatory: {hosts: {somewhere: {ansible_connection: local}}}\n")
    for name, variable in first.items():
        (tmp_path / "group_vars/all" / name).write_text(yaml.safe_dump({variable: f"site-{variable}"}))
    # alertmanager_port is overridden nowhere: it shows that the shipped files are read at all.
    shown = " ".join(f"{{{{ {variable} }}}}" for variable in [*first.values(), "alertmanager_port"])
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible"), "-i", tmp_path, "--playbook-dir", folder, "all", "-o", "-m", "debug", "-a", f"msg='{shown}'"],
        cwd=ROOT, env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1"), capture_output=True, text=True, check=False,
    )
    words = " ".join(done.stdout.split())
    assert " ".join(f"site-{variable}" for variable in first.values()) + " 9093" in words, done.stdout + done.stderr
