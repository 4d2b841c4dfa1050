"""The settings that Filebeat knows, read out of the reference file that its archive holds.

`python tests/content/filebeat_reference.py filebeat.reference.yml` prints the list for another release, for tests/content/fixtures.
"""

from __future__ import annotations

import pathlib
import re
import sys

# A setting that is commented out has its mark right before the name; prose has a blank after the mark.
SETTING = re.compile(r"^(?P<indent> *)#?(?P<more> *)(?P<item>- )?(?P<name>[a-z@_][\w.@]*):(?P<value>.*)$")
PROSE = re.compile(r"^ *# +(?!- )")
# What the role has no use for, and would make the list long.
LEFT_OUT = re.compile(
    r"^(filebeat\.(modules|autodiscover|config)|output\.(?!logstash)|setup|monitoring|cloud|apm|instrumentation|migration|features|seccomp|keystore|path)\b"
)
INPUTS = ("filestream", "journald")


def keys(text: str) -> list[str]:
    """Return dotted names; those of an input begin with inputs.<type>, an entry of a list is no level of its own."""
    found: set[str] = set()
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = SETTING.match(line)
        if not match or PROSE.match(line):
            continue
        indent = len(match["indent"]) + len(match["more"])
        if match["item"]:
            # Entries of a list may stand under their key or beside it: what opens them is left of their own settings.
            while stack and stack[-1][0] > indent:
                stack.pop()
            indent += 2
        while stack and stack[-1][0] >= indent:
            stack.pop()
        name = match["name"]
        if match["item"] and name == "type" and indent == 2:
            stack = [(0, f"inputs.{match['value'].strip()}")]
            continue
        if match["item"] and match["value"].strip():
            continue
        found.add(".".join([part for _indent, part in stack] + [name]))
        if not match["value"].strip():
            # What belongs to an entry of a list stands right below its name.
            stack.append((indent - 1 if match["item"] else indent, name))
    wanted = [key for key in found if not LEFT_OUT.match(key)]
    return sorted(key for key in wanted if not key.startswith("inputs.") or key.split(".")[1] in INPUTS)


if __name__ == "__main__":
    print("\n".join(keys(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))))
