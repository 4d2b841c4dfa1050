"""Generates each role's defaults and the variable reference from the roles' argument specs, or checks that they are in step.

    python -m observatory.reference [--check] [--root DIR]

Exit code 0: written, or in step; 1: `--check` found files out of step (their names go to stdout); 2: a spec is wrong.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import textwrap
import typing as t

import yaml

SPEC = "meta/argument_specs.yml"
DEFAULTS = "defaults/main.yml"
REFERENCE = "docs/reference/variables.md"
SHARED_ROLE = "site"
WIDTH = 120
HEADER = f"---\n# generated from {SPEC} by `make generate`, do not edit: set variables in group_vars\n"

INTRODUCTION = """\
<!-- generated from roles/*/meta/argument_specs.yml by `make generate`, do not edit -->
# Variables

Every variable that this project reads, with its type, its default and what it does. Set them in `group_vars/all/` or, for one site, in
`inventories/<site>/group_vars/all/`, which wins. Before anything changes, preflight checks each value against this page. *required* means
that there is no default: the shipped `group_vars/all/` sets most of these, `make secrets` makes the secrets.

The last word of a name says how its value is written: `_port` 1-65535, `_interval`, `_timeout`, `_time` and `_wait` a duration such as
`1h30m`, `_size` a size such as `10GB`, `_url` an http or https address, `_days` a whole number above 0, `_percent` 0-100, `_version` three
numbers in quotes such as `"3.5.3"`, `_checksum` `sha256:` and 64 hex digits, `_quota` a share of one processor such as `150%`.
"""

Option = t.Mapping[str, t.Any]


class SpecError(Exception):
    """A spec that cannot be read as one; the message names file and variable."""


class _Dumper(yaml.SafeDumper):
    """YAML in this project's style: lists indented under their key, double quotes where quotes are needed."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: t.Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    if "\n" in value:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    plain = "{{" not in value and bool(value) and yaml.safe_dump(value, width=10_000).startswith(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def load(root: pathlib.Path) -> dict[str, Option]:
    """Return role -> its entry point `main`, the shared role first, then by name. SpecError when one is malformed."""
    specs = {}
    for file in sorted(root.glob(f"roles/*/{SPEC}")):
        name = file.relative_to(root)
        try:
            main = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]["main"]
            options = main.get("options") or {}
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"{name}: argument_specs.main cannot be read: {error}") from error
        for path, option in _all(options):
            if not isinstance(option, dict) or not option.get("description"):
                raise SpecError(f"{name}: {path} has no description. Say its effect, unit, range, and what empty means")
        specs[file.parent.parent.name] = main
    return dict(sorted(specs.items(), key=lambda item: (item[0] != SHARED_ROLE, item[0])))


def _all(options: t.Mapping[str, Option], prefix: str = "") -> t.Iterator[tuple[str, Option]]:
    """Yield (path, option) of all options to the leaf."""
    for name, option in options.items():
        yield prefix + name, option
        if isinstance(option, dict) and option.get("options"):
            yield from _all(option["options"], f"{prefix}{name}.")


def description(option: Option) -> str:
    """Return an option's description as one line."""
    text = option.get("description") or ""
    return _words(" ".join(text) if isinstance(text, list) else text)


def type_text(option: Option) -> str:
    """Return a type with its element type: `list of str`, `dict of dict` (a mapping of names to mappings)."""
    kind = option.get("type") or ("dict" if option.get("options") else "str")
    return f"{kind} of {option['elements']}" if option.get("elements") else kind


def defaults(main: Option) -> str:
    """Return the text of a role's defaults file; empty when no option has a default."""
    parts = []
    for name, option in (main.get("options") or {}).items():
        if option.get("default") is None:
            continue
        words = description(option)
        if option.get("choices"):
            words += " One of: " + ", ".join(map(str, option["choices"])) + "."
        comment = textwrap.fill(words, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False)
        value = yaml.dump({name: option["default"]}, Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True)
        parts.append(f"\n{comment}\n{value}")
    return HEADER + "".join(parts) if parts else ""


def reference(specs: t.Mapping[str, Option]) -> str:
    """Return the variable reference as Markdown."""
    parts = [INTRODUCTION]
    for role, main in specs.items():
        title = "Shared by all roles" if role == SHARED_ROLE else role
        intro = _words(main.get("short_description"))
        parts.append(f"\n## {title}\n" + (f"\n{intro}\n" if intro else ""))
        rows = list(_rows(main.get("options") or {}))
        if rows:
            parts.append("\n| variable | type | default | description |\n|---|---|---|---|\n" + "".join(rows))
    return "".join(parts)


def _words(text: t.Any) -> str:
    return " ".join(str(text or "").split())


def _rows(options: t.Mapping[str, Option], depth: int = 0) -> t.Iterator[str]:
    for name, option in options.items():
        words = description(option)
        if option.get("choices"):
            words += " One of: " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        cells = ["&emsp;" * depth + f"`{name}`", type_text(option), _default_cell(option), _prose(words)]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
        if option.get("options"):
            yield from _rows(option["options"], depth + 1)


def _prose(text: str) -> str:
    """Return a description as Markdown: <site> is no tag and *.prom no emphasis; what stands in backquotes is left alone."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def _default_cell(option: Option) -> str:
    if option.get("required"):
        return "*required*"
    default = option.get("default")
    if default is None:
        return ""
    text = default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)
    mark = "``" if "`" in text else "`"
    return f"{mark}{' '.join(text.split())}{mark}"


def files(root: pathlib.Path) -> dict[pathlib.Path, str]:
    """Return every generated file with the text that it should have; empty text: there should be no such file."""
    specs = load(root)
    wanted = {root / "roles" / role / DEFAULTS: defaults(main) for role, main in specs.items()}
    return {**wanted, root / REFERENCE: reference(specs)}


def out_of_step(wanted: t.Mapping[pathlib.Path, str]) -> list[pathlib.Path]:
    """Return the files whose text on the disk is another one."""
    return [file for file, text in wanted.items() if (file.read_text(encoding="utf-8") if file.exists() else "") != text]


def write(wanted: t.Mapping[pathlib.Path, str]) -> list[pathlib.Path]:
    """Bring the files in step; return those that were not."""
    changed = out_of_step(wanted)
    for file in changed:
        if wanted[file]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[file], encoding="utf-8")
        else:
            file.unlink()
    return changed


def tell(changed: t.Sequence[pathlib.Path], root: pathlib.Path, check: bool, source: str) -> int:
    """Print the files that were changed, or with `check` are out of step with their source; return the exit code."""
    for file in changed:
        print(file.relative_to(root))
    if check and changed:
        print(f"out of step with {source}; run: make generate", file=sys.stderr)
    return 1 if check and changed else 0


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="observatory.reference", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the files that are out of step")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(), help="the project's folder")
    options = parser.parse_args(arguments)
    try:
        wanted = files(options.root)
    except SpecError as error:
        print(error, file=sys.stderr)
        return 2
    changed = out_of_step(wanted) if options.check else write(wanted)
    return tell(changed, options.root, options.check, f"the roles' {SPEC}")


if __name__ == "__main__":
    sys.exit(main())
