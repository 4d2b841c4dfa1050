"""An operator's variables as Ansible resolves them, with the place that set each: the one part of the checks that knows Ansible."""

from __future__ import annotations

import collections.abc
import os
import re
import typing as t

from ansible.errors import AnsibleError
from ansible.template import trust_as_template

from .arguments import UNRESOLVED, Path, is_secret, path_text, show
from .finding import Finding

try:
    from ansible._internal._datatag._tags import Origin
except ImportError:  # private to ansible-core 2.19: without them messages lack the place, nothing else
    Origin = None

TEMPLATE_MARKS = ("{{", "{%", "{#")


def origin(value: t.Any) -> t.Any:
    return Origin.get_tag(value) if Origin else None


def has_template(value: t.Any) -> bool:
    """Say whether a value holds a template anywhere. Ansible's own answer costs far more and is not needed for plain data."""
    if isinstance(value, str):
        return any(mark in value for mark in TEMPLATE_MARKS)
    if isinstance(value, dict):
        return any(has_template(entry) for entry in value.values())
    return isinstance(value, (list, tuple)) and any(has_template(entry) for entry in value)


def trusted(value: t.Any) -> t.Any:
    """Return data of the roles' own files (read without Ansible's loader) as templates that may be rendered."""
    if isinstance(value, str):
        return trust_as_template(value) if has_template(value) else value
    if isinstance(value, dict):
        return {key: trusted(entry) for key, entry in value.items()}
    return [trusted(entry) for entry in value] if isinstance(value, list) else value


class Variables:
    """Raw values by name, resolved on demand; `findings` collects what cannot be resolved.

    `defaults` are those of the roles: they are in force where nothing else is set, and templates may refer to them.
    """

    def __init__(
        self,
        raw: t.Mapping[str, t.Any],
        templar: t.Any,
        loader: t.Any = None,
        *,
        defaults: t.Mapping[str, t.Any] | None = None,
        base: str = "",
    ) -> None:
        self.raw = raw
        self.findings: list[Finding] = []
        self._defaults = {name: trusted(value) for name, value in (defaults or {}).items() if name not in raw}
        self.templar = templar.copy_with_new_env(available_variables={**self._defaults, **raw}) if templar else None
        self._loader = loader
        self._base = base or os.getcwd()
        self._reported: set[str] = set()

    # -- where a value was set

    def where(self, path: Path) -> str:
        """Return `file:line` of the deepest part of a path that carries a place; a template stands for what it returns."""
        found, node, key = None, self.raw, None
        for part in path:
            if isinstance(node, dict) and part in node:
                key = next(name for name in node if name == part)
                node = node[part]
            elif isinstance(node, (list, tuple)) and isinstance(part, int) and part < len(node):
                key, node = None, node[part]
            else:
                break
            found = self._place(path[0] if node is self.raw.get(path[0]) else None, key, node) or found
        return self._text(found)

    def _place(self, name: t.Any, key: t.Any, value: t.Any) -> t.Any:
        of_value, of_key = origin(value), origin(key)
        if name is not None and of_value is None:
            # true, false and nothing carry no place, and the key may be that of a file that was overridden.
            return self._defining_file(str(name), value) or of_key
        if isinstance(value, (dict, list)) and of_key and of_value and of_key.path == of_value.path:
            return of_key  # a container's place is that of its first entry, the line below
        return of_value or of_key

    def _defining_file(self, name: str, value: t.Any) -> t.Any:
        """Return the place of the key in the last of the inventory's files that set the variable to this value."""
        files = getattr(self._loader, "_FILE_CACHE", {})
        order = [os.path.abspath(str(source)) for source in self.raw.get("ansible_inventory_sources") or []]

        def rank(file: str) -> tuple[bool, int]:
            source = max((index for index, folder in enumerate(order) if file.startswith(_folder(folder))), default=-1)
            return "host_vars" in file, source

        setting = [file for file, data in files.items() if isinstance(data, dict) and data.get(name, UNRESOLVED) is value]
        if not setting:
            return None
        return origin(next(key for key in files[max(setting, key=rank)] if key == name))

    def place(self, path: str) -> str:
        """Return a file as people look for it: from the folder they stand in, unless it lies elsewhere."""
        relative = os.path.relpath(path, self._base)
        return os.path.abspath(path) if relative.startswith("..") else relative

    def _text(self, place: t.Any) -> str:
        if place is None:
            return ""
        if place.path:
            file = self.place(place.path)
            return f"{file}:{place.line_num}" if place.line_num else file
        return "-e (command line)" if "-e" in str(place.description) else str(place.description)

    # -- values

    def resolve(self, name: str, option: t.Mapping[str, t.Any] | None = None) -> t.Any:
        """Return a variable's value with its templates rendered; UNRESOLVED takes the place of each that cannot be."""
        return self._resolve((name,), self.raw[name], option or {})

    def default(self, name: str) -> t.Any:
        """Return a role's default, rendered; None when there is none."""
        return self.render(self._defaults.get(name))

    def render(self, value: t.Any) -> t.Any:
        """Return data of a role's own files rendered; UNRESOLVED when it cannot be: the role itself will say why."""
        try:
            return self.templar.template(trusted(value)) if has_template(value) else value
        except AnsibleError:
            return UNRESOLVED

    def _resolve(self, path: Path, value: t.Any, option: t.Mapping[str, t.Any]) -> t.Any:
        if not has_template(value):
            return value
        try:
            return self.templar.template(value)
        except AnsibleError as error:
            if isinstance(value, dict):
                return {key: self._resolve((*path, key), entry, {}) for key, entry in value.items()}
            if isinstance(value, (list, tuple)):
                return [self._resolve((*path, index), entry, {}) for index, entry in enumerate(value)]
            self._report(path, value, error, option)
            return UNRESOLVED

    def _report(self, path: Path, value: t.Any, error: AnsibleError, option: t.Mapping[str, t.Any]) -> None:
        variable = path_text(path)
        if variable in self._reported:
            return
        self._reported.add(variable)
        reason = " ".join(str(getattr(error, "message", "") or error).split())
        undefined = re.search(r"'([^']+)' is undefined", reason)
        text = f"{variable} uses {undefined.group(1)}, which is not defined" if undefined else f"{variable} is a template that cannot be resolved"
        hint = "" if undefined else reason[:140]
        self.findings.append(Finding(text, variable, self.where(path), show(value, is_secret(path, option)), hint))


def _folder(source: str) -> str:
    return (source if os.path.isdir(source) else os.path.dirname(source)) + os.sep


class Values(collections.abc.Mapping):
    """What is in force: the values given, and the roles' defaults, each rendered when it is first asked for."""

    def __init__(self, given: t.Mapping[str, t.Any], variables: Variables, names: t.Iterable[str], *, without: t.Collection[str] = ()) -> None:
        self._values = {name: given[name] for name in given if name not in without}
        self._variables = variables
        self._names = [name for name in names if name not in without]

    def __getitem__(self, name: str) -> t.Any:
        if name not in self._values:
            if name not in self._names:
                raise KeyError(name)
            self._values[name] = self._variables.default(name)
        return self._values[name]

    def __iter__(self) -> t.Iterator[str]:
        return iter({**self._values, **dict.fromkeys(self._names)})

    def __len__(self) -> int:
        return len(list(iter(self)))
