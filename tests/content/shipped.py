"""The shipped alerts with the shipped values, and the products' own checkers, for tests: one that is not there fails or skips a test."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from observatory import shipped
from observatory.shipped import ARCHITECTURES, ROOT, cache_folder, load_rules, make_values, shipped_thresholds

__all__ = ["ARCHITECTURES", "GROUP_VARS", "ROOT", "cache_folder", "checker", "load_rules", "make_values", "read_yaml", "shipped_thresholds"]

GROUP_VARS = ROOT / "group_vars" / "all"
# The lab builds them; what needs no host does without.
BUILT = {"json_exporter"}


def checker(name: str) -> str:
    """Return the path of a product's own program."""
    try:
        return shipped.checker(name)
    except shipped.NoCheckerError as error:
        if name in BUILT:
            pytest.skip(str(error))
        pytest.fail(str(error), pytrace=False)


def read_yaml(path: pathlib.Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))
