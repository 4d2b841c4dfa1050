"""The few pages that people see: a list of what there is, and the lines that a saved search finds."""

from __future__ import annotations

import html
import json

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 80rem; padding: 1rem; color: #1a1c21; background: #fff; }
table { border-collapse: collapse; width: 100%; } td, th { border-bottom: 1px solid #d3dae6; padding: .3rem .5rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; } input { font: inherit; width: 100%; box-sizing: border-box; padding: .3rem; }
.note { color: #5a606b; } .wide { overflow-x: auto; }
"""
# Kibana's links keep the view and the query behind the #, which only the browser sees.
SCRIPT = """
'use strict';
const base = document.documentElement.dataset.base;
function follow() {
  const hash = decodeURIComponent(location.hash);
  const view = /#\\/view\\/([^?&/]+)/.exec(hash);
  const query = /query:'((?:[^'!]|!.)*)'/.exec(hash);
  if (!view && !query) return;
  const wanted = new URLSearchParams();
  if (view) wanted.set('view', view[1]);
  if (query) wanted.set('query', query[1].replace(/!(.)/g, '$1'));
  location.replace(base + '/app/discover?' + wanted);
}
window.addEventListener('hashchange', follow);
follow();
"""


def page(title: str, base: str, body: str, script: bool = False) -> str:
    base, title = html.escape(base), html.escape(title)
    head = f'<script defer src="{base}/standin/discover.js"></script>' if script else ""
    return (
        f'<!doctype html><html lang="en" data-base="{base}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title} - Kibana (stand-in)</title>'
        f'<link rel="stylesheet" href="{base}/standin/style.css">{head}</head><body><h1>{title}</h1>{body}</body></html>'
    )


def home(base: str, user: str, version: str, views: list[dict], searches: list[dict], dashboards: list[dict]) -> str:
    """Return the first page."""
    def links(rows: list[dict], path: str) -> str:
        names = (html.escape(row["attributes"].get("name") or row["attributes"]["title"]) for row in rows)
        entries = (f'<li><a href="{html.escape(base + path + row["id"])}">{name}</a></li>' for row, name in zip(rows, names, strict=True))
        return f"<ul>{''.join(entries)}</ul>" if rows else '<p class="note">None.</p>'

    return page("Kibana", base, (
        f'<p class="note">The lab\'s stand-in for Kibana {html.escape(version)}. You are {html.escape(user)}.</p>'
        f"<h2>Discover</h2>{links(searches, '/app/discover?view=')}"
        f"<h2>Data views</h2>{links(views, '/app/discover?data_view=')}"
        f"<h2>Dashboards</h2>{links(dashboards, '/app/dashboards?view=')}"
    ))


def dashboard(base: str, row: dict, titles: dict[tuple[str, str], str]) -> str:
    """Return a page that names a dashboard's panels: the stand-in draws nothing."""
    attributes = row["attributes"]
    references = {reference["name"]: reference for reference in row["references"]}
    entries = []
    for panel in json.loads(attributes.get("panelsJSON") or "[]"):
        reference = references.get(f"{panel.get('panelIndex')}:{panel.get('panelRefName')}") or references.get(str(panel.get("panelRefName"))) or {}
        title = titles.get((reference.get("type", ""), reference.get("id", "")), "?")
        text = html.escape(title)
        if reference.get("type") == "search":
            text = f'<a href="{html.escape(base)}/app/discover?view={html.escape(reference["id"])}">{text}</a>'
        entries.append(f"<li>{text} ({html.escape(str(panel.get('type')))})</li>")
    return page(attributes["title"], base, f"<p>{html.escape(attributes.get('description') or '')}</p><ul>{''.join(entries)}</ul>")


def discover(base: str, title: str, index: str, query: str, columns: list[str], hits: list[dict], total: int, error: str, hidden: dict[str, str]) -> str:
    """Return the page with what a search has found."""
    inputs = "".join(f'<input type="hidden" name="{html.escape(key)}" value="{html.escape(value)}">' for key, value in hidden.items())
    form = (
        f'<form action="{html.escape(base)}/app/discover"><input name="query" aria-label="Query" value="{html.escape(query)}">{inputs}</form>'
        f'<p class="note">{html.escape(index)}: {total} documents</p>'
    )
    if error:
        return page(title, base, form + f"<p><strong>{html.escape(error)}</strong></p>", script=True)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(shown(hit.get('_source') or {}, name))}</td>" for name in columns) + "</tr>" for hit in hits)
    return page(title, base, form + f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>', script=True)


def shown(source: dict, name: str) -> str:
    """Return a field's value as text, whether the document has it dotted or nested."""
    value = field(source, name)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def field(source: object, name: str) -> object:
    if not isinstance(source, dict):
        return None
    if name in source:
        return source[name]
    for place, character in enumerate(name):
        if character == "." and name[:place] in source:
            found = field(source[name[:place]], name[place + 1:])
            if found is not None:
                return found
    return None
