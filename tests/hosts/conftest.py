"""Fixtures of the tests on real hosts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from toy import APP, HUB, Beacon, State, everything, observe, same

TOLD = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: a drill that needs no shortened clocks")
    config.stash[TOLD] = []


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Print what tests have measured."""
    if config.stash[TOLD]:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(config.stash[TOLD]))


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Take a line for the end of the report."""
    return pytestconfig.stash[TOLD].append


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Beacon:
    """Beacon's playbook, with the hosts as they are."""
    return Beacon(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def bare(runs: Beacon) -> dict[str, list[str]]:
    """Make sure that beacon is nowhere; return host -> listing of everything on it."""
    if any(observe(host).files for host in (HUB, APP)):
        runs.converge(hosts=f"{HUB},{APP}", state="absent", remove_data=True)
    return {host: everything(host) for host in (HUB, APP)}


@pytest.fixture(scope="session")
def good(runs: Beacon, bare: dict[str, list[str]]) -> State:
    """Return what the hub looks like with version 1.0.0 in its good state."""
    runs.converge()
    return observe()


@pytest.fixture
def beacon(runs: Beacon, good: State) -> Beacon:
    """Beacon's playbook, with the hub in the good state."""
    if not same(observe(), good):
        runs.converge()
        assert same(observe(), good), "the good state cannot be reached"
    return runs
