"""The documentation: it builds, its links lead somewhere, and what it tells people to type exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import specs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "collections").rglob("README.md")])
# Pages that are rendered into the site and lie elsewhere in the repository, or nowhere.
RENDERED = re.compile(r"(^|/)runbooks/index\.md$")
RUNBOOK = re.compile(r"(?:^|/)runbooks/(\w+)/(\w+)\.md$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```([a-z]*)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
COMMAND_LANGUAGES = ("sh", "bash", "console")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them for plain words."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(page: Path) -> list[str]:
    """Return the lines that a page tells people to type, without prompts and continuation marks."""
    text = "\n".join(match[4] for match in FENCE.finditer(page.read_text(encoding="utf-8")) if match[2] in COMMAND_LANGUAGES)
    return [line.strip().removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", target],
        cwd=ROOT, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1", NO_MKDOCS_2_WARNING="1"), capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return target


def test_site_holds_every_page_and_every_runbook(site):
    """A runbook is where the link of its alert leads, with values in place of [[ ]]."""
    for page in (ROOT / "docs").rglob("*.md"):
        relative = page.relative_to(ROOT / "docs").with_suffix("")
        folder = relative.parent if relative.name == "index" else relative
        assert (site / folder / "index.html").is_file(), f"{relative} is not in the site"
    for runbook in (ROOT / "alerts").glob("*/runbooks/*.md"):
        built = site / "runbooks" / runbook.parts[-3] / runbook.stem / "index.html"
        assert built.is_file(), f"{name_of(runbook)} is not in the site"
        assert not re.search(r"\[\[ \w|observatory-runbooks:", built.read_text(encoding="utf-8")), f"{built} has a value that was not rendered"


def test_site_asks_nobody(site):
    """Scripts, styles, fonts and pictures come from the site itself."""
    for page in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|img|iframe|link)\b[^>]*>", page.read_text(encoding="utf-8"))
        loaded = [tag for tag in tags if re.search(r"\b(?:src|href)=\"?https?:", tag)]
        assert not loaded, f"{page.relative_to(site)} loads {loaded}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page):
    """Files exist, and headings too."""
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link) or RENDERED.search(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if runbook := RUNBOOK.search(path):
            target = ROOT / "alerts" / runbook[1] / "runbooks" / f"{runbook[2]}.md"
        assert target.exists(), f"{name_of(page)}: {link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{name_of(page)}: {link}: {name_of(target)} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page):
    """Whatever a page says to make can be made."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    named = set(re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8")))
    named |= {word for line in commands(page) for word in re.findall(r"^make ([a-z-]+)", line)}
    assert not (unknown := named - targets), f"{name_of(page)}: the Makefile has no {sorted(unknown)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_playbooks_and_tests_exist(page):
    """Each playbook, test file and script of the project that a page names is there."""
    text = page.read_text(encoding="utf-8")
    # The example role of the developer's guide brings a playbook of its own.
    examples = {match[3] for match in FENCE.finditer(text) if match[3]}
    named = set(re.findall(r"(?<![\w./-])((?:playbooks|tests|lab|bin)/[\w/.-]*\w\.(?:yml|py))", text))
    for line in commands(page):
        if words := re.match(r"ansible-playbook (.*)", line):
            named |= {word for word in words[1].split() if word.endswith(".yml") and not word.startswith("inventories/")}
    for path in sorted(named - examples):
        assert (ROOT / path).exists(), f"{name_of(page)}: there is no {path}"


def test_every_make_target_is_in_the_readme():
    """What `make help` lists has its line in the table."""
    listed = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = set(re.findall(r"^\| `make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert shown == listed


def test_example_role_is_a_role(tmp_path):
    """The files of docs/develop/index.md make a role: its spec is read, its defaults are generated, its playbook has no error."""
    text = (ROOT / "docs/develop/index.md").read_text(encoding="utf-8")
    shutil.copytree(ROOT / "roles", tmp_path / "roles", symlinks=True)
    (tmp_path / "docs/reference").mkdir(parents=True)
    files = {match[3]: match[4] for match in FENCE.finditer(text) if match[3]}
    assert set(files) == {
        "roles/beacon/meta/argument_specs.yml", "roles/beacon/tasks/main.yml", "roles/beacon/templates/etc/beacon/beacon.json.j2",
        "roles/beacon/templates/etc/systemd/system/beacon.service.j2", "playbooks/toys.yml",
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    generated = subprocess.run(
        [sys.executable, "-m", "observatory.reference", "--root", tmp_path],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "src")), capture_output=True, text=True, check=False,
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
    assert yaml.safe_load((tmp_path / "roles/beacon/defaults/main.yml").read_text(encoding="utf-8")) == {"beacon_message": "hello"}
    table = specs.load_specs(tmp_path / "roles")
    assert table.components["beacon"]["name"] == "beacon" and table.options["beacon_port"]["role"] == "beacon"
    checked = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--syntax-check", "-i", "beacon,", tmp_path / "playbooks/toys.yml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_ROLES_PATH=str(tmp_path / "roles")),
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
