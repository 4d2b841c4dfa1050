"""Writes the dashboards to dashboards/<folder>/<uid>.json, or checks that they are in step.

    python -m observatory.dashboards [--check] [--root DIR]

Exit code 0: written, or in step; 1: `--check` found files out of step (their names go to stdout).
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import typing as t

from observatory.reference import tell

from . import DASHBOARDS
from .build import render

FOLDER = "dashboards"


def files(root: pathlib.Path) -> dict[pathlib.Path, str]:
    """Return every file with the text that it should have."""
    collections = str(pathlib.Path(__file__).parents[3] / "collections")
    if collections not in sys.path:
        sys.path.append(collections)
    from ansible_collections.observatory.core.plugins.plugin_utils.dashboards import to_json

    return {root / FOLDER / dashboard.folder / f"{dashboard.uid}.json": to_json(render(dashboard)) for dashboard in DASHBOARDS}


def out_of_step(root: pathlib.Path) -> list[pathlib.Path]:
    """Return the files whose text on the disk is another one, and those that no dashboard has."""
    wanted = files(root)
    changed = [file for file, text in wanted.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    return sorted(changed + [file for file in (root / FOLDER).rglob("*.json") if file not in wanted])


def write(root: pathlib.Path) -> list[pathlib.Path]:
    """Bring the files in step; return those that were not."""
    wanted, changed = files(root), out_of_step(root)
    for file in changed:
        if file in wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[file], encoding="utf-8")
        else:
            file.unlink()
    return changed


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="observatory.dashboards", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the files that are out of step")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(), help="the project's folder")
    options = parser.parse_args(arguments)
    changed = out_of_step(options.root) if options.check else write(options.root)
    return tell(changed, options.root, options.check, "src/observatory/dashboards")


if __name__ == "__main__":
    sys.exit(main())
