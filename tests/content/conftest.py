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


def pytest_addoption(parser) -> None:
    parser.addoption("--golden", action="store_true", help="write the golden files of the messages anew, from what is sent")
