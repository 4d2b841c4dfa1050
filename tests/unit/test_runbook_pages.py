"""Runbooks as web pages."""

from __future__ import annotations

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import runbook_pages
from ansible_collections.observatory.core.plugins.plugin_utils.site_values import ContentError, Values

TEXT = """\
---
severities: [critical, warning]
---
# ShopSlow

## Meaning
The shop at *[[ thresholds.limit ]]* answers slowly: customers leave. More follows.

## Diagnosis
1. Look:

   ```sh
   systemctl status shop
   ```
2. Compare:

| sign | means |
|---|---|
| a | b |
"""


@pytest.fixture
def shipped(tmp_path):
    """A folder of alerts with one runbook."""
    folder = tmp_path / "alerts/shop/runbooks"
    folder.mkdir(parents=True)
    (folder.parent / "rules.yml").write_text("groups: []\n")
    (folder / "ShopSlow.md").write_text(TEXT)
    return tmp_path / "alerts"


@pytest.fixture
def values():
    return Values({"thresholds": {"limit": 3}, "platform_team": "platform", "runbook_base_url": runbook_pages.BASE})


def test_runbook_is_taken_apart():
    book = runbook_pages.read("shop/ShopSlow", TEXT)
    assert (book.title, book.severities, book.meaning) == (
        "ShopSlow", ("critical", "warning"), "The shop at *[[ thresholds.limit ]]* answers slowly:",
    )
    assert runbook_pages.read("shop/ShopSlow", "no heading") == runbook_pages.Runbook("ShopSlow", (), "", "no heading")


def test_page_has_its_sections_its_commands_and_no_script_of_its_own():
    pages = runbook_pages.render({"shop/ShopSlow": TEXT})
    assert sorted(pages) == ["index.html", "shop/ShopSlow.html"]
    page = pages["shop/ShopSlow.html"]
    assert '<li><a href="#meaning">Meaning</a></li><li><a href="#diagnosis">Diagnosis</a></li>' in page
    assert "systemctl status shop" in page and page.count("<ol>") == 2, "the table of contents and one list"
    assert '<div class="wide"><table>' in page
    # What the gateway's Content-Security-Policy lets through.
    assert page.count("<script") == page.count('<script src="/assets/') == 1
    assert "style=" not in page


def test_index_lists_each_runbook_with_its_meaning():
    index = runbook_pages.render({"shop/ShopSlow": TEXT, "node/HostDown": "# HostDown\n"})["index.html"]
    assert index.index("<h2>node</h2>") < index.index("<h2>shop</h2>")
    assert '<a href="/runbooks/shop/ShopSlow">ShopSlow</a> <span class="chip critical">critical</span>' in index
    assert "There are none." in runbook_pages.render({})["index.html"]


def test_names_and_severities_are_text_and_no_html():
    page = runbook_pages.render({"shop/Shop": "---\nseverities: [<b>]\n---\n# A <b>bold</b> & title\n"})["shop/Shop.html"]
    assert "<title>A &lt;b&gt;bold&lt;/b&gt; &amp; title · Observatory</title>" in page
    assert '<span class="chip &lt;b&gt;">&lt;b&gt;</span>' in page


def test_site_puts_values_in_and_its_own_pages_beside_and_in_place(shipped, values, tmp_path):
    site = tmp_path / "site"
    (site / "shop").mkdir(parents=True)
    (site / "Moving.md").write_text("# Moving house\n")
    (site / ".hidden.md").write_text("# no\n")
    (site / "notes.txt").write_text("no")
    found = runbook_pages.texts([str(shipped)], str(site), values)
    assert sorted(found) == ["shop/ShopSlow", "site/Moving"]
    assert "The shop at *3* answers" in found["shop/ShopSlow"]
    (site / "shop/ShopSlow.md").write_text("# Ours, [[ thresholds.limit ]]\n")
    assert runbook_pages.texts([str(shipped)], str(site), values)["shop/ShopSlow"] == "# Ours, 3\n"


def test_name_that_no_address_can_have_is_refused(values, tmp_path):
    (tmp_path / "a name.md").write_text("# x\n")
    with pytest.raises(ContentError, match=r"a runbook lies at <component>/<AlertName>\.md, of letters, digits, - and _ alone"):
        runbook_pages.texts([], str(tmp_path), values)


def test_pages_are_kept_until_a_source_or_a_value_changes(shipped, values, tmp_path, monkeypatch):
    cache = str(tmp_path / "cache")
    first = runbook_pages.load([str(shipped)], "", values, cache=cache)
    with monkeypatch.context() as patched:
        patched.setattr(runbook_pages, "render", lambda texts: pytest.fail("made again"))
        assert runbook_pages.load([str(shipped)], "", values, cache=cache) == first
    other = Values({**values.context, "thresholds": {"limit": 4}})
    assert "<em>4</em>" in runbook_pages.load([str(shipped)], "", other, cache=cache)["shop/ShopSlow.html"]
    (shipped / "shop/runbooks/ShopSlow.md").write_text("# Another text\n")
    assert "Another text" in runbook_pages.load([str(shipped)], "", values, cache=cache)["shop/ShopSlow.html"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"stamp": 1}'])
def test_broken_cache_is_made_again(shipped, values, tmp_path, content):
    cache = tmp_path / "cache"
    first = runbook_pages.load([str(shipped)], "", values, cache=str(cache))
    next(cache.iterdir()).write_text(content)
    assert runbook_pages.load([str(shipped)], "", values, cache=str(cache)) == first
