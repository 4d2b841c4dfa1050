"""Where the controller keeps what it need not work out again."""

from __future__ import annotations

import os


def folder(name: str) -> str:
    """Return the folder of one kind of results in the user's cache (XDG Base Directory Specification)."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "observatory", name)
