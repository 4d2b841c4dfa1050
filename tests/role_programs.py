"""Programs that roles ship, loaded as modules: they have no name that could be imported."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import types
from pathlib import Path

ROLES = Path(__file__).resolve().parents[1] / "roles"


def load(path: str) -> types.ModuleType:
    """Return a program as a module of its own, by its path below roles/."""
    loader = importlib.machinery.SourceFileLoader(Path(path).stem, str(ROLES / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module
