"""Prints tasks and seconds of runs without a change, as docs/performance.md shows them: `make bench`.

Each row is the median of some runs on converged hosts. The floor is an empty play, and one with a single round trip.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab.common import find_lab  # noqa: E402

RUNS = 5
LAB = find_lab("bench")
THREE = ("node_exporter", "prometheus", "alertmanager")
HOSTS = """
observatory:
  hosts: {{{hosts}}}
  children:
    {groups}
"""
FLOOR = {
    "an empty play": "- {hosts: hub, gather_facts: false, tasks: []}",
    "one round trip (ping)": "- hosts: hub\n  gather_facts: false\n  become: true\n  tasks: [ansible.builtin.ping: ]",
}


def inventory(folder: Path, names: tuple[str, ...], everywhere: bool) -> Path:
    """Write an inventory of the three products: on the first host, or on all of them."""
    variables = folder / "group_vars/all"
    variables.mkdir(parents=True)
    for file in (ROOT / "inventories/lab/group_vars/all").iterdir():
        if file.name != "services.yml":  # its services are on hosts that are not always there
            os.symlink(file, variables / file.name)
    hosts = ", ".join(f"{name}: {{ansible_host: {LAB.address(name)}}}" for name in names)
    members = {product: names if everywhere or product == "node_exporter" else names[:1] for product in THREE}
    groups = "\n    ".join(f"{product}: {{hosts: {{{', '.join(f'{name}: {{}}' for name in where)}}}}}" for product, where in members.items())
    (folder / "hosts.yml").write_text(HOSTS.format(hosts=hosts, groups=groups))
    return folder


def run(where: Path, playbook: str, *arguments: str) -> tuple[float, str]:
    """Run a playbook; return (seconds, output). Ends the benchmark when it fails."""
    env = dict(os.environ, OBSERVATORY_LAB_NETWORK=LAB.network, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
    begun = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", "-i", str(where), playbook, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begun
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return seconds, done.stdout


def measure(name: str, where: Path, playbook: str, *arguments: str) -> None:
    """Print a row: tasks, median and best seconds, of runs that change nothing."""
    run(where, playbook, *arguments)
    results = [run(where, playbook, *arguments) for _ in range(RUNS)]
    output = results[-1][1]
    changed = sum(int(count) for count in re.findall(r"changed=(\d+)", output))
    if changed:
        sys.exit(f"{name}: a run changed something:\n{output}")
    tasks = len(re.findall(r"^TASK ", output, re.MULTILINE))
    seconds = [result[0] for result in results]
    print(f"| {name} | {tasks} | {statistics.median(seconds):.2f} | {min(seconds):.2f} |", flush=True)


def main() -> None:
    """Converge the bench lab, then measure."""
    print("| run without a change | tasks | seconds, median | seconds, best |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = inventory(folder / "one", LAB.hosts[:1], everywhere=True)
        five = inventory(folder / "five", LAB.hosts, everywhere=False)
        for row, text in FLOOR.items():
            path = folder / "floor.yml"
            path.write_text(text)
            measure(row, one, str(path))
        measure("node_exporter + Prometheus + Alertmanager, 1 host, whole site.yml", one, "site.yml")
        measure("the same without the look before (--skip-tags always)", one, "site.yml", "--skip-tags", "always")
        measure("node_exporter on 5 hosts, Prometheus + Alertmanager on the first, whole site.yml", five, "site.yml")
        every = inventory(folder / "every", LAB.hosts, everywhere=True)
        measure("all three on each of 5 hosts, whole site.yml", every, "site.yml")
        measure("the same, --check --diff", every, "site.yml", "--check", "--diff")


if __name__ == "__main__":
    main()
