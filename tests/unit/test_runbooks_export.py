"""Runbooks as files that can be served anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from observatory import runbooks


@pytest.mark.parametrize(("page", "given", "made"), [
    ("node/HostDown.html", 'href="/runbooks/node/HostRebooted#impact"', 'href="HostRebooted.html#impact"'),
    ("node/HostDown.html", 'href="/runbooks/observatory/Watchdog"', 'href="../observatory/Watchdog.html"'),
    ("index.html", 'href="/runbooks/node/HostDown"', 'href="node/HostDown.html"'),
    ("node/HostDown.html", 'src="/assets/copy.js"', 'src="../static/copy.js"'),
    ("node/HostDown.html", 'href="/"', 'href="../index.html"'),
    ("node/HostDown.html", 'href="https://x.example/d/a"', 'href="https://x.example/d/a"'),
    ("node/HostDown.html", 'href="#impact"', 'href="#impact"'),
])
def test_links_work_in_any_folder(page, given, made):
    assert runbooks.relative(page, given) == made


def test_an_inventory_that_is_not_there_is_named(capsys):
    assert runbooks.main(["inventories/nowhere"]) == 1
    assert "inventories/nowhere does not exist" in capsys.readouterr().err


def test_the_assets_are_there():
    for source in runbooks.ASSETS.values():
        assert (Path(runbooks.ROOT) / source).is_file()
