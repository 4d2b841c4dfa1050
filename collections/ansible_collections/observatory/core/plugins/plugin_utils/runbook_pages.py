"""Runbooks as the web pages that the gateway serves. No Ansible here.

The links in alerts are <runbook_base_url>/<component>/<AlertName>; each page is the file of that name with `.html`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import html
import json
import os
import pathlib
import re
import tempfile
import typing as t

from . import alert_rules
from .site_values import ContentError, Problem, Values

BASE = "/runbooks"
# Runbooks of the site that belong to no component.
SITE_COMPONENT = "site"
CACHE_SCHEMA = 1
# Lists as GitHub reads them: the Markdown library nests what is indented by four spaces, and wants an empty line before the next entry.
INDENT = re.compile(r"^ {2,}", re.MULTILINE)
NEXT_ENTRY = re.compile(r"^( {4}.*\n)(?=(?:\d+\.|-) )", re.MULTILINE)
HEADING = re.compile(r"^# +(.+?) *$", re.MULTILINE)
MEANING = re.compile(r"^## Meaning\n+(.+?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
SENTENCE = re.compile(r"(.+?[.:])(?=\s|$)")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
EXTENSIONS = {
    "tables": {}, "attr_list": {}, "sane_lists": {}, "toc": {"toc_depth": "2"}, "pymdownx.superfences": {}, "pymdownx.highlight": {"use_pygments": False},
}

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Observatory</title>
<link rel="icon" href="/session/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/session/static/style.css">
<script src="/assets/copy.js" defer></script>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header class="bar"><a class="brand" href="/">Observatory</a><nav aria-label="Where you are">{trail}</nav></header>
<main id="main" class="{kind}">
{body}
</main>
</body>
</html>
"""


@dataclasses.dataclass(frozen=True)
class Runbook:
    """One page's source, read."""

    title: str
    severities: tuple[str, ...]
    meaning: str
    """The first sentence under `Meaning`, Markdown; empty when there is none."""
    markdown: str


def read(name: str, text: str) -> Runbook:
    """Return a rendered runbook taken apart; `name` is <component>/<AlertName>."""
    front = alert_rules.FRONT_MATTER.match(text)
    body = text[front.end():] if front else text
    heading = HEADING.search(body)
    meaning = MEANING.search(body)
    sentence = SENTENCE.match(" ".join(meaning[1].split())) if meaning else None
    severities = re.search(r"^severities: *\[(.*)\]", front[1], re.MULTILINE) if front else None
    return Runbook(
        title=heading[1] if heading else name.rpartition("/")[2],
        severities=tuple(word.strip() for word in severities[1].split(",") if word.strip()) if severities else (),
        meaning=sentence[1] if sentence else "",
        markdown=for_library(body),
    )


def for_library(body: str) -> str:
    """Return Markdown as written for GitHub in the form that the Markdown library reads."""
    body = body.replace("```bash run\n", "```bash\n")
    body = INDENT.sub(lambda found: found[0] + " " * (2 - len(found[0]) % 2), body)
    return NEXT_ENTRY.sub(r"\1\n", body)


def render(texts: t.Mapping[str, str]) -> dict[str, str]:
    """Return path below /runbooks -> HTML: a page for each `<component>/<AlertName>` -> text, and index.html."""
    import markdown  # late: most runs find their pages in the cache

    library = markdown.Markdown(extensions=list(EXTENSIONS), extension_configs=EXTENSIONS, output_format="html")
    books = {name: read(name, text) for name, text in texts.items()}
    pages = {f"{name}.html": _page(name, book, library) for name, book in books.items()}
    pages["index.html"] = _index(books, library)
    return pages


def _page(name: str, book: Runbook, library: t.Any) -> str:
    content = library.reset().convert(book.markdown).replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    sections = "".join(f'<li><a href="#{token["id"]}">{token["name"]}</a></li>' for token in _sections(library.toc_tokens))
    component, _slash, alert = name.rpartition("/")
    chips = "".join(_chip(severity) for severity in book.severities)
    aside = f'<aside><h2>On this page</h2><ol>{sections}</ol></aside>' if sections else ""
    content = content.replace("</h1>", f"</h1>\n<p class=\"chips\"><span class=\"chip\">{html.escape(component)}</span>{chips}</p>", 1)
    trail = f'<a href="{BASE}/">Runbooks</a> <span aria-current="page">{html.escape(alert)}</span>'
    return PAGE.format(title=html.escape(book.title), trail=trail, kind="article", body=f"{aside}\n<article>\n{content}\n</article>")


def _sections(tokens: list[dict[str, t.Any]]) -> t.Iterator[dict[str, t.Any]]:
    for token in tokens:
        if token["level"] == 2:
            yield token
        yield from _sections(token["children"])


def _index(books: t.Mapping[str, Runbook], library: t.Any) -> str:
    parts = ["<h1>Runbooks</h1>", "<p>The page of an alert has its name. The link in each message leads here too.</p>"]
    components = sorted({name.rpartition("/")[0] for name in books})
    for component in components:
        parts.append(f"<h2>{html.escape(component)}</h2>\n<ul class=\"entries\">")
        for name, book in sorted(books.items()):
            if name.rpartition("/")[0] == component:
                chips = "".join(_chip(severity) for severity in book.severities)
                meaning = library.reset().convert(book.meaning).removeprefix("<p>").removesuffix("</p>") if book.meaning else ""
                parts.append(f'<li><a href="{BASE}/{html.escape(name)}">{html.escape(book.title)}</a> {chips}<br><span>{meaning}</span></li>')
        parts.append("</ul>")
    if not books:
        parts.append("<p>There are none.</p>")
    return PAGE.format(title="Runbooks", trail='<span aria-current="page">Runbooks</span>', kind="page", body="\n".join(parts))


def _chip(severity: str) -> str:
    return f'<span class="chip {html.escape(severity, quote=True)}">{html.escape(severity)}</span>'


# -- where they lie


def site_files(folder: str) -> dict[str, str]:
    """Return name -> file of the runbooks in `inventories/<site>/runbooks`: <component>/<Name>.md, or <Name>.md of no component.

    Raises ContentError for names that no address can have.
    """
    found, problems = {}, []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        component = os.path.relpath(parent, folder)
        for name in sorted(names):
            path = os.path.join(parent, name)
            page, suffix = os.path.splitext(name)
            if suffix != ".md" or name.startswith("."):
                continue
            place = SITE_COMPONENT if component == "." else component
            if not NAME.fullmatch(page) or not NAME.fullmatch(place):
                problems.append(Problem(path, 0, "a runbook lies at <component>/<AlertName>.md, of letters, digits, - and _ alone"))
            found[f"{place}/{page}"] = path
    if problems:
        raise ContentError(problems)
    return found


def texts(alert_folders: t.Sequence[str], site_folder: str, values: Values, base: str = "") -> dict[str, str]:
    """Return `<component>/<AlertName>` -> text with the site's values; the site's own file of a name replaces the shipped one."""
    found = alert_rules.runbooks(alert_folders, values, base)
    problems: list[Problem] = []
    for name, path in site_files(site_folder).items() if site_folder else ():
        try:
            found[name] = values.page(pathlib.Path(path).read_text(encoding="utf-8"), path)
        except ContentError as error:
            problems.extend(error.problems)
    if problems:
        raise ContentError(problems)
    return found


def load(alert_folders: t.Sequence[str], site_folder: str, values: Values, *, base: str = "", cache: str | None = None) -> dict[str, str]:
    """Return what `render` does of all runbooks; kept in the folder `cache` under what the pages came from."""
    stamp = _stamp(alert_folders, site_folder, values)
    kept = pathlib.Path(cache, f"runbooks-{hashlib.sha256(repr([*alert_folders, site_folder]).encode()).hexdigest()[:16]}.json") if cache else None
    if kept:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(kept.read_text(encoding="utf-8"))
            if data["stamp"] == stamp:
                return data["pages"]
    pages = render(texts(alert_folders, site_folder, values, base))
    if kept:
        with contextlib.suppress(OSError):
            _keep(kept, json.dumps({"stamp": stamp, "pages": pages}))
    return pages


def _stamp(alert_folders: t.Sequence[str], site_folder: str, values: Values) -> str:
    own = pathlib.Path(__file__)
    files = [own, own.with_name("site_values.py")]
    for folder in [*alert_folders, site_folder]:
        files.extend(sorted(pathlib.Path(folder).rglob("*.md")) if folder else ())
    seen = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([CACHE_SCHEMA, seen, values.context], sort_keys=True, default=str).encode()).hexdigest()


def _keep(file: pathlib.Path, text: str) -> None:
    """Write the cache beside and rename it: several processes may be at it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as stream:
        stream.write(text)
    os.replace(stream.name, file)
