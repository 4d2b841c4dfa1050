"""The runbooks as the lab's people on call have them, and their commands, run as written."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache

from fleet import INVENTORY, ROOT, host

from lab.common import LOGIN

# What a command that only looks may take.
SECONDS = 20


@cache
def sources() -> dict[str, str]:
    """Return <component>/<AlertName> -> the page's source with the site's values, as the gateway's pages were made from it."""
    done = subprocess.run(
        [sys.executable, "-m", "observatory.runbooks", str(INVENTORY), "--sources"], cwd=ROOT, env=dict(os.environ, PYTHONPATH=str(ROOT / "src")),
        capture_output=True, text=True, check=True,
    )
    return json.loads(done.stdout)


def section(text: str, title: str) -> str:
    """Return what stands below the heading that begins with the title."""
    return re.search(rf"^## {re.escape(title)}.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def blocks(text: str, kind: str = "bash run") -> list[str]:
    """Return the blocks of a kind: `bash run` only looks, `bash` changes something. Those in a list are set in."""
    found = re.findall(rf"^( *)```{kind}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def follow(name: str, block: str, seconds: float = SECONDS, **values: str) -> subprocess.CompletedProcess[str]:
    """Run a block on a host as somebody who is on call; `values` are what the page says to set, in place of its examples."""
    for key, value in values.items():
        block, count = re.subn(rf"^{key}=\S+", f"{key}={shlex.quote(value)}", block, count=1, flags=re.MULTILINE)
        assert count, f"{key} is not set in\n{block}"
    done = host(name).run(f"timeout {seconds} su - {LOGIN} -s /bin/bash -c {shlex.quote(block)}")
    # `cut -c` counts bytes: it may leave a part of a character.
    stdout, stderr = (said.decode(errors="replace") for said in (done.stdout_bytes, done.stderr_bytes))
    return subprocess.CompletedProcess(block, done.rc, stdout, stderr)
