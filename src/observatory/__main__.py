"""The command `observatory`: what people on call do, from the machine that has the inventory.

    python -m observatory [--site lab] ack HostDown host=app1 --comment 'restarting it'
    python -m observatory [--site lab] alerts history --since 7d
    python -m observatory [--site lab] alert test --team shop --channel slack

Each runs `obs` on the site's first host of the group obs, by Ansible's connection to it, and prints its answer. `obs` is the same for those who are
logged in there. Exit code: that of obs; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What the command is called here -> what it is called on the host.
COMMANDS = {("ack",): ["ack"], ("alerts", "history"): ["history"], ("alert", "test"): ["alert-test"]}
HEAD = re.compile(r"^(\S+) \| (?:CHANGED|SUCCESS|FAILED) \| rc=(\d+) >>\n", re.MULTILINE)
REFUSAL = re.compile(r"^(\S+) \| (UNREACHABLE!|FAILED!) => (.*)", re.MULTILINE | re.DOTALL)
FAILED_WORDS = "non-zero return code"


def translate(words: t.Sequence[str], user: str) -> list[str]:
    """Return obs' arguments for those of this command. Raises ValueError with what there is."""
    for name, command in COMMANDS.items():
        if tuple(words[: len(name)]) == name:
            rest = list(words[len(name):])
            if command == ["ack"] and not any(word.startswith("--author") for word in rest):
                rest += ["--author", user]
            return [*command, *rest]
    raise ValueError("expected " + ", ".join(" ".join(name) for name in COMMANDS))


def answer(output: str) -> tuple[int, str]:
    """Return (exit code, text) of the command on the host, out of what Ansible prints."""
    head = HEAD.search(output)
    if head:
        text = output[head.end():].rstrip()
        return int(head[2]), text.removesuffix(FAILED_WORDS).rstrip() + "\n" if text else ""
    refusal = REFUSAL.search(output)
    return 1, f"error: {refusal[1] if refusal else 'the host'} cannot be asked: {' '.join((refusal[3] if refusal else output).split())}\n"


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="observatory", description="Acknowledge an alert, see the history, try a channel.",
        epilog="Commands: " + ", ".join(" ".join(name) for name in COMMANDS) + ". Their options are those of obs on the host.",
    )
    parser.add_argument("--site", default="lab", help="folder below inventories/ (lab)")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND …")
    options = parser.parse_args(arguments)
    inventory = ROOT / "inventories" / options.site
    if not inventory.is_dir():
        parser.error(f"{inventory} does not exist; --site names a folder of inventories/")
    try:
        words = translate(options.words, getpass.getuser())
    except ValueError as error:
        parser.error(str(error))
    done = subprocess.run(
        [pathlib.Path(sys.executable).with_name("ansible"), "-i", inventory, "obs[0]", "--become", "-m", "ansible.builtin.command",
         "-a", json.dumps({"argv": ["obs", *words]})],
        cwd=ROOT, env=dict(os.environ, ANSIBLE_NOCOLOR="1"), capture_output=True, text=True, check=False,
    )
    code, text = answer(done.stdout or done.stderr)
    (sys.stdout if code == 0 else sys.stderr).write(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
