"""Checks of an operator's variables against the roles' argument specs. Plain data in, findings out; no Ansible here.

The specs of all roles are one table: variable name -> option. Each finding names the variable's path, what was given, what is
expected, the nearest valid name and, through an origin lookup that the caller brings, the file and line that set it.
"""

from __future__ import annotations

import difflib
import json
import re
import typing as t

from .finding import Finding
from .specs import RELATIONS, SHARED_PREFIX, SHARED_ROLE, Specs

# A name with a role's prefix is meant for that role, so even a faint likeness helps. Any other name is probably the
# site's own: only a slip of a letter or two is taken for a mistake.
NEAREST_CUTOFF = 0.65
SLIP_CUTOFF = 0.87

SECRET_WORDS = {"password", "token", "key", "secret"}
SECRETS_FILE = "secrets.yml"
# A key with this ending holds the name of a variable: secrets have names that the site chooses.
REFERENCE_ENDING = "_variable"
# Ansible's own variables that do not begin with ansible_.
ANSIBLE_NAMES = frozenset(
    (
        "environment",
        "group_names",
        "groups",
        "hostvars",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "omit",
        "play_hosts",
        "playbook_dir",
        "role_name",
        "role_names",
        "role_path",
        "vars",
    )
)
SHOWN_VALUE_LENGTH = 60

Path = tuple[str | int, ...]


class Unresolved:
    """Stands for a value whose template could not be resolved; it has a finding of its own and is checked no further."""


UNRESOLVED = Unresolved()


# -- values ------------------------------------------------------------------------------------------------------------


def is_secret(path: Path, option: t.Mapping[str, t.Any] | None = None, where: str = "") -> bool:
    """Say whether a value must not be shown: its option says so, a word of its path does, or it stands among the secrets."""
    names = [str(part) for part in path if not str(part).endswith(REFERENCE_ENDING)]
    return bool((option or {}).get("no_log")) or SECRETS_FILE in where or any(SECRET_WORDS & set(name.split("_")) for name in names)


def references(value: t.Any, path: Path = ()) -> t.Iterator[tuple[Path, str]]:
    """Yield (path, variable's name) of all keys that name a variable."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, entry in pairs:
        if isinstance(key, str) and key.endswith(REFERENCE_ENDING) and isinstance(entry, str):
            yield (*path, key), entry
        else:
            yield from references(entry, (*path, key))


def show(value: t.Any, secret: bool = False) -> str:
    """Return a value as one short line."""
    if secret:
        return "(hidden)"
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_VALUE_LENGTH else text[: SHOWN_VALUE_LENGTH - 3] + "..."


def path_text(path: Path, labels: t.Mapping[Path, str] | None = None) -> str:
    """Return a path as operators read it: a.b[2].c, or a.shop.c for the list entry that calls itself shop."""
    text = str(path[0]) if path else ""
    for length in range(2, len(path) + 1):
        part = path[length - 1]
        label = (labels or {}).get(path[:length])
        text += f".{label}" if label else f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def nearest(name: str, valid: t.Iterable[str], cutoff: float = NEAREST_CUTOFF) -> str:
    """Return the valid name that is most like a wrong one, or nothing."""
    return next(iter(difflib.get_close_matches(str(name), list(valid), n=1, cutoff=cutoff)), "")


# Duration of Prometheus: units in falling order, each at most once. Source: model.ParseDuration.
_DURATION = re.compile(r"^(?=\d)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$|^0$")
_SIZE = re.compile(r"^\d+(\.\d+)?(B|KB|MB|GB|TB|PB|EB)$")
_URL = re.compile(r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(:\d{1,5})?(/[^\s]*)?$")
_VERSION = re.compile(r"^\d+\.\d+\.\d+([+~.-].*|[a-z].*)?$")
_QUOTA = re.compile(r"^[1-9]\d*%$")
_CHECKSUM = re.compile(r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")
_ADDRESS = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):\d{1,5}$")
_EMPTY = re.compile(r"\bEmpty\b(?! is (an error|wrong|refused))")
_DIGITS = re.compile(r"^-?\d+$")


def _number_between(low: float, high: float) -> t.Callable[[t.Any], bool]:
    return lambda value: low <= float(value) <= high


# Last word of a name -> (types it applies to, test, what is expected). The variables' contract (docs/develop.md).
_DURATION_RULE = (("str",), _DURATION.match, 'a duration such as "15d", "1h30m" or "30s"')
_AGE = re.compile(r"^[1-9]\d*d$")
_GATEWAY_PASSWORD = re.compile(r"^gateway_password(_hash)?_[a-z0-9_]+$")
FORMATS: dict[str, tuple[tuple[str, ...], t.Callable[[t.Any], t.Any], str]] = {
    "port": (("int",), _number_between(1, 65535), "a port from 1 to 65535"),
    "interval": _DURATION_RULE,
    "timeout": _DURATION_RULE,
    "time": _DURATION_RULE,
    "wait": _DURATION_RULE,
    "size": (("str",), _SIZE.match, 'a size such as "512MB" or "10GB"'),
    "max": (("str",), _SIZE.match, 'a size such as "512MB" or "4GB"'),
    "quota": (("str",), _QUOTA.match, 'a share of one processor such as "50%" or "150%"'),
    "checksum": (("str",), _CHECKSUM.match, '"sha256:" and 64 hex digits, or "sha512:" and 128'),
    "smarthost": (("str",), _ADDRESS.match, 'host:port, for example "mail.example.org:587"'),
    "url": (("str",), _URL.match, "a URL that begins with http:// or https://"),
    "retention": (("str",), _AGE.match, 'an age in days such as "30d"'),
    "days": (("int",), lambda value: int(value) > 0, "a number of days, 1 or more"),
    "percent": (("int", "float"), _number_between(0, 100), "a percentage from 0 to 100"),
    "version": (("str",), _VERSION.match, 'a version of three numbers such as "3.5.3", in quotes'),
}

_TYPE_WORDS = {
    "str": "text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


def may_be_empty(option: t.Mapping[str, t.Any]) -> bool:
    """Say whether a required text may be empty: its description then says what that means ("Empty: no limit.")."""
    return bool(_EMPTY.search(_description(option)))


def _description(option: t.Mapping[str, t.Any] | None) -> str:
    text = (option or {}).get("description") or ""
    return " ".join(" ".join(text if isinstance(text, list) else [str(text)]).split())


def type_of(option: t.Mapping[str, t.Any]) -> str:
    return option.get("type") or ("dict" if option.get("options") else "str")


def has_type(value: t.Any, kind: str) -> bool:
    """Say whether a value is of a type. Nothing is coerced but digits, which templates may return as text."""
    if kind == "int":
        return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and bool(_DIGITS.match(value)))
    if kind == "float":
        if isinstance(value, str):
            return bool(re.match(r"^-?\d+(\.\d+)?$", value))
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    types = {"str": str, "path": str, "bool": bool, "list": (list, tuple), "dict": dict}
    return isinstance(value, types[kind]) if kind in types else True


def expectation(name: str, option: t.Mapping[str, t.Any]) -> str:
    """Return what an option's value must be, as the end of a sentence that begins with "must be"."""
    kind = type_of(option)
    if option.get("choices"):
        return "one of " + ", ".join(str(choice) for choice in option["choices"])
    rule = FORMATS.get(str(name).rpartition("_")[2])
    if rule and kind in rule[0]:
        return rule[2]
    if kind == "list" and option.get("elements"):
        return f"a list, each entry {_TYPE_WORDS.get(option['elements'], option['elements'])}"
    return _TYPE_WORDS.get(kind, kind)


# -- the walk over one variable ------------------------------------------------------------------------------------------


class _Walk:
    """Compares one value with its option, to the leaf; findings collect in `findings`."""

    def __init__(self, where: t.Callable[[Path], str]) -> None:
        self.findings: list[Finding] = []
        self._where = where
        self._labels: dict[Path, str] = {}

    def add(self, path: Path, text: str, *, value: t.Any = UNRESOLVED, secret: bool = False, hint: str = "", at: Path | None = None) -> None:
        variable = path_text(path, self._labels)
        where = self._where(at or path)
        given = "" if value is UNRESOLVED else show(value, secret or SECRETS_FILE in where)
        self.findings.append(Finding(f"{variable} {text}", variable, where, given, hint))

    def value(self, path: Path, value: t.Any, option: t.Mapping[str, t.Any]) -> None:
        if value is UNRESOLVED:
            return
        name = str(path[-1]) if isinstance(path[-1], str) else ""
        kind = type_of(option)
        secret = is_secret(path, option)
        if value is None:
            if option.get("required") or option.get("default") is not None:
                self.add(path, f"is empty; it must be {expectation(name, option)}", hint=_hint(option))
            return
        if not has_type(value, kind):
            self.add(path, f"must be {expectation(name, option)}", value=value, secret=secret, hint=_type_hint(value, kind, option, secret))
            return
        if option.get("choices") and kind != "list" and value not in option["choices"]:
            near = nearest(value, map(str, option["choices"]))
            hint = f"did you mean {near}?" if near else ""
            self.add(path, f"must be {expectation(name, option)}", value=value, secret=secret, hint=hint)
            return
        if value == "" and kind in ("str", "path"):
            if option.get("required") and not may_be_empty(option):
                self.add(path, f"is empty; it must be {expectation(name, option)}", hint=_hint(option))
            return
        self._format(path, name, value, option, secret)
        if kind == "list":
            self._list(path, value, option)
        elif kind == "dict" and option.get("elements"):
            # Ansible has no word for "a mapping of names to things of one kind"; here `elements` on a dict says it.
            for key, entry in value.items():
                self.value((*path, key), entry, _element(option))
        elif kind == "dict" and option.get("options"):
            self.mapping(path, value, option["options"], option)

    def mapping(self, path: Path, given: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], relations: t.Mapping[str, t.Any]) -> None:
        for key, entry in given.items():
            inside = (*path, key)
            if key in options:
                self.value(inside, entry, options[key] or {})
                continue
            near = nearest(key, options)
            hint = f"did you mean {near}?" if near else "valid: " + ", ".join(options)
            self.add(inside, "is not an option of this project", value=entry, secret=is_secret(inside), hint=hint)
        for key, option in options.items():
            if key not in given and (option or {}).get("required"):
                text = f"is missing; it must be {expectation(key, option)}"
                self.add((*path, key), text, hint=_hint(option), at=path)
        for text in broken_relations(with_defaults(given, options), relations):
            self.add(path, text)

    def _list(self, path: Path, value: t.Sequence[t.Any], option: t.Mapping[str, t.Any]) -> None:
        if not option.get("elements"):
            return
        element = _element(option)
        seen: dict[str, int] = {}
        for index, entry in enumerate(value):
            inside = (*path, index)
            label = entry.get("name") if isinstance(entry, dict) else None
            if isinstance(label, str):
                self._labels[inside] = label
                if label in seen:
                    self.add(inside, "is there twice; names must differ", hint=f"entries {seen[label] + 1} and {index + 1} of {path_text(path)}")
                seen.setdefault(label, index)
            self.value(inside, entry, element)

    def _format(self, path: Path, name: str, value: t.Any, option: t.Mapping[str, t.Any], secret: bool) -> None:
        rule = FORMATS.get(name.rpartition("_")[2])
        kind = type_of(option)
        if not rule or kind not in rule[0] or option.get("choices"):
            return
        if not rule[1](value):
            self.add(path, f"must be {rule[2]}", value=value, secret=secret)


def _element(option: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    relations = {word: option[word] for word in RELATIONS if option.get(word)}
    return {"type": option["elements"], "options": option.get("options"), "choices": option.get("choices"), "required": True, **relations}


def _hint(option: t.Mapping[str, t.Any] | None) -> str:
    """Return the first sentence of a description: what the value does."""
    sentence = re.split(r"(?<=[.;])\s", _description(option), maxsplit=1)[0]
    return sentence if len(sentence) <= 140 else sentence[:137] + "..."


def _type_hint(value: t.Any, kind: str, option: t.Mapping[str, t.Any], secret: bool) -> str:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) and kind != "list":
        inner = ", ".join(str(part) for part in value[0])
        return f'[[ ]] without quotes is a list in a list: write "[[ {inner} ]]"'
    if kind == "bool" and isinstance(value, str):
        return "write true or false without quotes; on the command line: -e '{\"name\": true}'"
    if kind in ("str", "path") and isinstance(value, (int, float)):
        return "write it in quotes" + ("" if secret else f': "{str(value).lower() if isinstance(value, bool) else value}"')
    if kind == "list" and option.get("elements") == "str" and isinstance(value, str):
        return "write a list" + ("" if secret else f': ["{value}"]')
    return ""


def with_defaults(given: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the values that are in force: those given, and the defaults of the rest."""
    defaults = {name: option["default"] for name, option in options.items() if (option or {}).get("default") is not None}
    return {**defaults, **given}


def broken_relations(given: t.Mapping[str, t.Any], relations: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Yield a sentence for each relation between options (in Ansible's own words for them) that does not hold."""

    def is_set(name: str) -> bool:
        return given.get(name) not in (None, "", [], {})

    for group in relations.get("mutually_exclusive") or []:
        both = [name for name in group if is_set(name)]
        if len(both) > 1:
            yield f"sets {' and '.join(both)}; only one of them may be set"
    for group in relations.get("required_together") or []:
        missing = [name for name in group if not is_set(name)]
        if missing and len(missing) < len(group):
            yield f"needs {', '.join(missing)} too, with {', '.join(name for name in group if is_set(name))}"
    for group in relations.get("required_one_of") or []:
        if not any(is_set(name) for name in group):
            yield f"needs one of {', '.join(group)}"
    for rule in relations.get("required_if") or []:
        name, value, needed = rule[:3]
        missing = [other for other in needed if not is_set(other)]
        if given.get(name) == value and (len(missing) == len(needed) if len(rule) > 3 and rule[3] else missing):
            yield f"needs {', '.join(missing)}, because {name} is {show(value)}"
    for name, needed in (relations.get("required_by") or {}).items():
        missing = [other for other in ([needed] if isinstance(needed, str) else needed) if not is_set(other)]
        if is_set(name) and missing:
            yield f"needs {', '.join(missing)}, because {name} is set"


# -- all variables of a host -----------------------------------------------------------------------------------------------


def unknown_names(variables: t.Mapping[str, t.Any], specs: Specs, where: t.Callable[[Path], str]) -> list[Finding]:
    """Return a finding for each name that carries a role's prefix or all but equals a known name, and is not known.

    Names that other variables refer to are known: a team's secrets have names that the site chooses, and each user of the gateway has a
    password, whose name is made of the user's; that of somebody who has left does no harm.
    """
    known = {*specs.options, *(name for _path, name in references({name: variables.get(name) for name in specs.options}))}
    found = []
    for name in variables:
        if name in known or name in ANSIBLE_NAMES or name.startswith("ansible_") or _GATEWAY_PASSWORD.match(name):
            continue
        role = specs.owner(name) or (SHARED_ROLE if name.startswith(SHARED_PREFIX) else None)
        near = "" if name.startswith("__") else _nearest_variable(name, specs.prefix(role) if role else "", known)
        if role is None and not near:
            continue
        if near:
            hint = f"did you mean {near}?"
        elif name.startswith("__"):
            hint = "names that begin with __ belong to the roles alone"
        else:
            hint = f"docs/reference/variables.md lists all; a name of your own must not begin with {specs.prefix(role or SHARED_ROLE)}"
        place = where((name,))
        given = show(variables[name], is_secret((name,), where=place))
        found.append(Finding(f"{name} is not a variable of this project", name, place, given, hint))
    return found


def _nearest_variable(name: str, prefix: str, known: t.Collection[str]) -> str:
    """Return the known variable that was meant. A role's prefix is left out: it would make all its variables alike."""
    near = nearest(name[len(prefix) :], (other[len(prefix) :] for other in known if other.startswith(prefix))) if prefix else ""
    return prefix + near if near else nearest(name, known, SLIP_CUTOFF)


def check(
    variables: t.Mapping[str, t.Any],
    origins: t.Callable[[Path], str],
    specs: Specs,
    *,
    roles: t.Collection[str] | None = None,
    site: str = "",
) -> list[Finding]:
    """Return what is wrong with a host's variables: unknown names, then each known one that its roles read.

    `variables` are resolved values; `UNRESOLVED` stands for those that are not. `roles` defaults to all.
    """
    wanted = specs.options if roles is None else specs.of(roles)
    walk = _Walk(origins)
    walk.findings.extend(unknown_names(variables, specs, origins))
    secrets = []
    for name, option in wanted.items():
        if name in variables:
            walk.value((name,), variables[name], option)
        elif option.get("required") and (is_secret((name,), option) or name.endswith("_certificate")):
            secrets.append(name)
        elif option.get("required"):
            walk.findings.append(Finding(f"{name} is missing; it must be {expectation(name, option)}", name, "", "", _hint(option)))
    if secrets:
        # Made together by one command, so they are one problem.
        text = f"{', '.join(secrets)} {'are' if len(secrets) > 1 else 'is'} missing"
        walk.findings.append(Finding(text, secrets[0], "", "", f"run: make secrets SITE={site or '<the name of the inventory>'}"))
    effective = with_defaults(variables, wanted)
    for role in specs.roles if roles is None else (SHARED_ROLE, *roles):
        for text in broken_relations(effective, specs.rules.get(role) or {}):
            walk.findings.append(Finding(f"The inventory {text}"))
    return walk.findings
