"""Every command of the runbooks that only looks, run as written on the hub by somebody who is on call; and the pages, where the alerts' links lead."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from fleet import INVENTORY, ROOT, host

from lab.common import LOGIN

FOLDER = "/etc/gateway/pages/runbooks"
SECONDS = 20
# A pager's worth of commands at once: each waits more than it works.
AT_ONCE = 4


@pytest.fixture(scope="module")
def sources():
    """Return page -> its source with the site's values, as the gateway's pages were made from it."""
    done = subprocess.run(
        [sys.executable, "-m", "observatory.runbooks", str(INVENTORY), "--sources"], cwd=ROOT, env=dict(os.environ, PYTHONPATH=str(ROOT / "src")),
        capture_output=True, text=True, check=True,
    )
    return json.loads(done.stdout)


def blocks(text):
    return re.findall(r"^```bash run\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_every_command_that_looks_works_as_written(sources):
    """With exit code 0, also while nothing is wrong, within twenty seconds."""
    todo = [(name, number, block) for name, text in sorted(sources.items()) for number, block in enumerate(blocks(text), 1)]
    wrong = []

    def run(entry):
        name, number, block = entry
        done = host("hub").run(f"timeout {SECONDS} su - {LOGIN} -s /bin/bash -c {shlex.quote(block)}")
        if done.rc:
            wrong.append(f"{name}, block {number}: exit code {done.rc}\n{block}{done.stdout[-600:]}{done.stderr[-600:]}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, todo))
    assert not wrong, f"{len(wrong)} of {len(todo)}:\n" + "\n\n".join(sorted(wrong))
    assert not set(sources) - {name for name, _number, _block in todo}, "pages without a command to run"


def test_every_rule_leads_to_a_page():
    """The runbook_url of each rule that Prometheus has is a page of the gateway's folder."""
    pages = set(host("hub").check_output(f"cd {FOLDER} && find . -name '*.html'").replace("./", "").split())
    rules = host("hub").check_output("grep -ho 'runbook_url: \"[^\"]*\"' /etc/prometheus/rules/*.yml").splitlines()
    links = {re.search(r"/runbooks/([^\"]+)", line)[1] for line in rules}
    shipped = {link for link in links if "{{" not in link}
    assert shipped, rules
    assert not {f"{link}.html" for link in shipped} - pages
