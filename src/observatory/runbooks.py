"""Writes a site's runbooks as a folder of web pages that can be served anywhere, or read from a disk: for the hour in which the platform is down.

    python -m observatory.runbooks inventories/lab build/runbooks

With `--sources` the pages' Markdown with the site's values is printed instead, as JSON: component/AlertName -> text.

Exit code 0: written; 1: refused, the reason is on stderr; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import posixpath
import re
import shutil
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
ASSETS = {
    "/session/static/style.css": "roles/gateway/templates/etc/gateway/pages/session/static/style.css",
    "/session/static/icon.svg": "roles/gateway/templates/etc/gateway/pages/session/static/icon.svg",
    "/assets/copy.js": "roles/gateway/templates/etc/gateway/pages/assets/copy.js",
}
LINK = re.compile(r'(href|src)="(/[^"#]*)(#[^"]*)?"')


def lookup(inventory: pathlib.Path, name: str) -> t.Any:
    """Return a lookup of the collection as a play on the inventory's first host would have it."""
    os.environ.setdefault("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader, lookup_loader
    from ansible.template import Templar
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    init_plugin_loader()
    loader = DataLoader()
    loader.set_basedir(str(ROOT / "playbooks"))
    hosts = InventoryManager(loader=loader, sources=[str(inventory)])
    manager = VariableManager(loader=loader, inventory=hosts)
    manager._hostvars = HostVars(hosts, manager, loader)
    first = sorted(hosts.get_groups_dict().get("prometheus") or hosts.get_groups_dict()["all"])[0]
    variables = {**manager.get_vars(host=hosts.get_host(first)), "playbook_dir": str(ROOT / "playbooks")}
    return lookup_loader.get(f"observatory.core.{name}", loader=loader, templar=Templar(loader=loader, variables=variables)), variables


def relative(page: str, text: str) -> str:
    """Return a page with links that work in any folder. `page` is its path in the folder."""

    def change(match: re.Match) -> str:
        attribute, target, anchor = match[1], match[2], match[3] or ""
        if target in ASSETS:
            goal = posixpath.join("static", posixpath.basename(target))
        elif target in ("/", "/runbooks/", "/runbooks"):
            goal = "index.html"
        elif target.startswith("/runbooks/"):
            goal = target.removeprefix("/runbooks/") + ".html"
        else:
            return match[0]
        return f'{attribute}="{posixpath.relpath(goal, posixpath.dirname(page) or ".")}{anchor}"'

    return LINK.sub(change, text)


def export(inventory: pathlib.Path, folder: pathlib.Path) -> int:
    """Write all pages below the folder, which is emptied before; return how many."""
    plugin, variables = lookup(inventory, "runbook_pages")
    (files,) = plugin.run(["/"], variables=variables)
    shutil.rmtree(folder, ignore_errors=True)
    for entry in files:
        name = entry["path"].lstrip("/")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(relative(name, entry["content"]), encoding="utf-8")
    (folder / "static").mkdir()
    for source in ASSETS.values():
        shutil.copy(ROOT / source, folder / "static")
    return len(files)


def sources(inventory: pathlib.Path) -> dict[str, str]:
    """Return component/AlertName -> the page's Markdown with the site's values."""
    plugin, variables = lookup(inventory, "alert_rules")
    from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, site_values  # the collection can be found from here on

    plugin.set_options(var_options=variables, direct={})
    folders = plugin._folders()
    return alert_rules.runbooks(folders, site_values.Values(plugin._context(folders)))


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m observatory.runbooks", description="Write a site's runbooks as web pages.")
    parser.add_argument("inventory", type=pathlib.Path, help="the inventory's folder, for instance inventories/lab")
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=ROOT / "build/runbooks", help="where to write them (build/runbooks)")
    parser.add_argument("--sources", action="store_true", help="print the Markdown as JSON instead")
    options = parser.parse_args(arguments)
    if not options.inventory.exists():
        print(f"error: {options.inventory} does not exist", file=sys.stderr)
        return 1
    from ansible.errors import AnsibleError

    try:
        if options.sources:
            print(json.dumps(sources(options.inventory)))
        else:
            print(f"{options.folder}: {export(options.inventory, options.folder)} pages")
    except AnsibleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
