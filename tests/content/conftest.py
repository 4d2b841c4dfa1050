"""Fixtures of the content tests: the products' own checkers."""

from __future__ import annotations

import pytest
from shipped import checker


@pytest.fixture(scope="session")
def promtool() -> str:
    return checker("promtool")


@pytest.fixture(scope="session")
def amtool() -> str:
    return checker("amtool")
