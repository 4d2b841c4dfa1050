"""Asks the Prometheus on a host what it thinks of a site's own rule and scrape files, before they are shipped.

Standard library and Python 3.9 syntax: this runs on the targets. A host without Prometheus says nothing; there the role asks.
"""

from __future__ import annotations

import os
import re
import subprocess

CHECKER = "/opt/observatory/prometheus/current/promtool"
TIMEOUT_SECONDS = 30
# A scrape file has the form of a configuration file with nothing but jobs; the files that it names may not be there yet.
COMMANDS = {
    "rules": ["check", "rules", "--lint=none", "/dev/stdin"],
    "scrape": ["check", "config", "--syntax-only", "/dev/stdin"],
}

_RULE = re.compile(r'^/dev/stdin: (?:(\d+):\d+: )?group "(.*?)", rule \d+, "(.*?)": (.*)$', re.MULTILINE)
_LINE = re.compile(r"\bline (\d+): (.*)")
_FAILED = re.compile(r"FAILED:\s*(?:parsing YAML file )?(?:/dev/stdin: )?(.*)", re.DOTALL)


def refusals(files, checker=CHECKER, run=None):
    """Return [{index, line, rule, words}] for those of the files that the checker refuses; `line` is 0 where it names none."""
    if not files or not os.access(checker, os.X_OK):
        return []
    run = run or _run
    found = []
    for index, file in enumerate(files):
        code, text = run([checker, *COMMANDS[file["kind"]]], file["content"])
        if code != 0:
            found.append({"index": index, **read_words(text)})
    return found


def read_words(text):
    """Return the first complaint of promtool: its line, the rule that it is about, and its words."""
    rule = _RULE.search(text)
    if rule:
        return {"line": int(rule.group(1) or 0), "rule": rule.group(3), "words": rule.group(4)}
    line = _LINE.search(text)
    if line:
        return {"line": int(line.group(1)), "rule": "", "words": line.group(2).strip()}
    failed = _FAILED.search(text)
    return {"line": 0, "rule": "", "words": " ".join((failed.group(1) if failed else text).split())}


def _run(argv, text):
    try:
        done = subprocess.run(argv, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return 0, ""  # what the checker would say will be said by the role
    return done.returncode, done.stdout.decode(errors="replace")
