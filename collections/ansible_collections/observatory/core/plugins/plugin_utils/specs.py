"""The argument specs of all roles as one table: variable -> option, kept between runs. No Ansible here."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile
import typing as t

# The role that holds the variables that several roles share; they begin with this prefix instead of the role's name.
SHARED_ROLE = "site"
SHARED_PREFIX = "observatory_"
CACHE_SCHEMA = 3


@dataclasses.dataclass(frozen=True)
class Specs:
    """All roles' variables: name -> option (with `role`), and what the roles install: role -> its component's arguments."""

    options: dict[str, dict[str, t.Any]]
    roles: tuple[str, ...]
    components: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    rules: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    """Role -> the relations of its variables: required_if, mutually_exclusive, required_together, required_one_of."""

    def prefix(self, role: str) -> str:
        return SHARED_PREFIX if role == SHARED_ROLE else role + "_"

    def owner(self, name: str) -> str | None:
        """Return the role whose prefix a name carries, the longest one: elasticsearch_exporter before elasticsearch."""
        fitting = [role for role in self.roles if name.startswith((self.prefix(role), "__" + self.prefix(role)))]
        return max(fitting, key=len, default=None)

    def of(self, roles: t.Collection[str]) -> dict[str, dict[str, t.Any]]:
        """Return the options that hosts of these roles need; the shared ones always."""
        return {name: option for name, option in self.options.items() if option["role"] in (SHARED_ROLE, *roles)}


RELATIONS = ("required_if", "mutually_exclusive", "required_together", "required_one_of", "required_by")


def load_specs(roles: str | os.PathLike, *, cache: str | os.PathLike | None = None) -> Specs:
    """Return the table of all roles below a folder.

    Reading YAML costs tens of milliseconds in every process; with `cache` (a folder) the table is kept there as JSON
    under the sizes and times of the files it came from.
    """
    folder = pathlib.Path(roles)
    files = sorted([*folder.glob("*/meta/argument_specs.yml"), *folder.glob("*/tasks/main.yml")])
    stamp = json.dumps([CACHE_SCHEMA, [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]])
    kept = pathlib.Path(cache, f"specs-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json") if cache else None
    if kept:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(kept.read_text(encoding="utf-8"))
            if data.pop("stamp") == stamp:
                return Specs(**{**data, "roles": tuple(data["roles"])})
    specs = _read_specs(files)
    if kept:
        with contextlib.suppress(OSError, TypeError):
            _keep(kept, json.dumps({"stamp": stamp, **dataclasses.asdict(specs)}))
    return specs


def _read_specs(files: t.Iterable[pathlib.Path]) -> Specs:
    import yaml  # late: a run that finds the cache does not need it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    options: dict[str, dict[str, t.Any]] = {}
    components: dict[str, dict[str, t.Any]] = {}
    rules: dict[str, dict[str, t.Any]] = {}
    roles = []
    for file in files:
        role = file.parent.parent.name
        with file.open(encoding="utf-8") as stream:
            data = yaml.load(stream, loader)
        if file.name == "argument_specs.yml":
            main = ((data or {}).get("argument_specs") or {}).get("main") or {}
            roles.append(role)
            rules[role] = {word: main[word] for word in RELATIONS if main.get(word)}
            for name, option in (main.get("options") or {}).items():
                if name in options:
                    raise ValueError(f"{file}: {name} is declared by the role {options[name]['role']} too")
                options[name] = {**(option or {}), "role": role}
        else:
            tasks = [task for task in data or [] if isinstance(task, dict) and "observatory.core.component" in task]
            if tasks:
                components[role] = tasks[0]["observatory.core.component"]
    return Specs(options=options, roles=tuple(roles), components=components, rules=rules)


def _keep(file: pathlib.Path, text: str) -> None:
    """Write the cache beside and rename it: hosts are checked by several processes at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as stream:
        stream.write(text)
    os.replace(stream.name, file)
