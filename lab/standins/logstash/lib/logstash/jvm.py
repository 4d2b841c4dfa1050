"""Reads jvm.options as the start script of the product does, and says what memory it grants."""

import re

from .errors import SettingError

_SIZE = re.compile(r"-Xm([sx])([0-9]+)([kKmMgG]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
DEFAULT_HEAP = 1 << 30


def heap(lines):
    """Return (first, greatest) heap in bytes that jvm.options' lines set; raises SettingError naming a line that Java refuses."""
    sizes = {"s": DEFAULT_HEAP, "x": DEFAULT_HEAP}
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        # `11-13:-XX:…` is for those versions of Java only; the platform's archive brings 21.
        found = re.fullmatch(r"(?:([0-9]+)(-?)([0-9]*):)?(-.*)", line)
        if not found:
            raise SettingError(f"jvm.options line {number}: '{line}' is no option of Java")
        if found[1] and not (int(found[1]) <= 21 <= int(found[3] or (99 if found[2] else found[1]))):
            continue
        size = _SIZE.fullmatch(found[4])
        if found[4].startswith("-Xm") and not size:
            raise SettingError(f"jvm.options line {number}: Invalid heap size: {found[4]}")
        if size:
            sizes[size[1]] = int(size[2]) * _UNITS[size[3].lower()]
    if sizes["s"] > sizes["x"]:
        raise SettingError("jvm.options: Initial heap size set to a larger value than the maximum heap size")
    return sizes["s"], sizes["x"]
