"""Removal leaves a host as it was before the first run."""

from __future__ import annotations

import pytest
from fleet import LAB, ROOT, changed, host, playbook, snapshot

REMEMBERED = ROOT / "build" / "snapshots" / LAB.name
DATA = ("/var/lib/prometheus", "/var/lib/alertmanager", "/var/lib/node_exporter")


@pytest.mark.parametrize("name", LAB.hosts)
def test_remember_the_bare_hosts(name):
    """Run by the scenario before anything else."""
    REMEMBERED.mkdir(parents=True, exist_ok=True)
    (REMEMBERED / name).write_text(snapshot(name))


def test_removal_asks_which_site_is_meant():
    done = playbook("playbooks/remove.yml")
    assert done.returncode != 0
    assert "This removes Observatory from hub, app1. To do it, add: -e confirm=lab" in done.stdout


def test_removal_keeps_the_data_and_lists_it():
    done = playbook("playbooks/remove.yml", "-e", "confirm=lab")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(count > 0 for count in changed(done.stdout).values()), done.stdout
    assert "/var/lib/prometheus" in done.stdout
    assert host("hub").file("/var/lib/prometheus").is_directory
    assert host("hub").run("ls /var/lib/prometheus/wal").rc == 0
    assert not host("hub").file("/etc/prometheus").exists


def test_second_removal_changes_nothing():
    done = playbook("playbooks/remove.yml", "-e", "confirm=lab")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(changed(done.stdout).values()) == {0}, done.stdout


def test_removal_with_data_leaves_the_hosts_as_they_were():
    done = playbook("playbooks/remove.yml", "-e", "confirm=lab", "-e", "remove_data=true")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in LAB.hosts:
        before, after = (REMEMBERED / name).read_text().splitlines(), snapshot(name).splitlines()
        assert {"left behind": sorted(set(after) - set(before)), "gone": sorted(set(before) - set(after))} == {"left behind": [], "gone": []}, name
