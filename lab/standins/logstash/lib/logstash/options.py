"""Declarations of plugin options, and the check of what a pipeline gives against them, in the product's words."""

import os
from copy import copy
from dataclasses import dataclass, replace

from .errors import ConfigurationError
from .grammar import Plugin
from .logs import inspect

_MISSING = object()


@dataclass(frozen=True)
class Option:
    """One option: its type, its default, what it must be among."""

    kind: str
    default: object = None
    required: bool = False
    among: tuple = ()
    many: bool = False
    note: str = ""

    def listed(self):
        """Return the option as one that takes several values."""
        return replace(self, many=True)


def string(default=None, **more):
    return Option("string", default, **more)


def number(default=None, **more):
    return Option("number", default, **more)


def boolean(default=None, **more):
    return Option("boolean", default, **more)


def array(default=None, **more):
    return Option("array", default, **more)


def hash_(default=None, **more):
    return Option("hash", default, **more)


def password(default=None, **more):
    return Option("password", default, **more)


def path(default=None, **more):
    return Option("path", default, **more)


def uri(default=None, **more):
    return Option("uri", default, **more)


def one_of(*values, default=None, **more):
    return Option("one_of", default, among=values, **more)


def codec(default="plain", among=("plain",), **more):
    return Option("codec", default, among=among, **more)


def obsolete(note):
    """An option that a former version had; `note` names the new one."""
    return Option("obsolete", note=note)


def absent():
    """An option that the product has and this stand-in lacks."""
    return Option("absent")


def declare(table=None):
    """Return a plugin's own options: name -> Option."""
    return dict(table or {})


ECS = {"ecs_compatibility": one_of("disabled", "v1", "v8")}
OF_INPUTS = {"add_field": hash_({}), "codec": codec(), "enable_metric": boolean(True), "id": string(), "tags": array(), "type": string()}
OF_FILTERS = {
    "add_field": hash_({}), "add_tag": array([]), "enable_metric": boolean(True), "id": string(), "periodic_flush": boolean(False),
    "remove_field": array([]), "remove_tag": array([]),
}
OF_OUTPUTS = {"codec": codec(), "enable_metric": boolean(True), "id": string(), "workers": number(1)}


def merged(attributes):
    """Return a plugin's attributes as a mapping; what is given twice is put together, as the product does."""
    values = {}
    for name, value in attributes:
        if name not in values:
            values[name] = value
        elif isinstance(values[name], dict) and isinstance(value, dict):
            values[name] = values[name] | {
                key: _joined(values[name][key], item) if key in values[name] else item for key, item in value.items()
            }
        elif isinstance(values[name], list):
            values[name] = values[name] + (value if isinstance(value, list) else [value])
        elif values[name] != value:
            values[name] = [values[name], value]
    return values


def _joined(one, other):
    return (one if isinstance(one, list) else [one]) + (other if isinstance(other, list) else [other])


def checked(kind, name, declared, given):
    """Return all options with their values; raises ConfigurationError that says everything that is wrong with them."""
    errors, values = [], {}
    for option, entry in declared.items():
        if option not in given:
            values[option] = copy(entry.default)
            if entry.required:
                errors.append(_missing(kind, name, option))
    for option, value in given.items():
        entry = declared.get(option)
        if entry is None:
            errors.append(f"Unknown setting '{option}' for {name}")
        elif entry.kind == "obsolete":
            errors.append(
                f"The setting `{option}` in plugin `{name}` is obsolete and is no longer available. {entry.note} If you have any questions about this, "
                "you are invited to visit https://discuss.elastic.co/c/logstash and ask."
            )
        elif entry.kind == "absent":
            errors.append(f"Unknown setting '{option}' for {name}: the product has it, this stand-in does not implement it")
        else:
            values[option], words = _value(entry, value)
            if words:
                errors.append(_invalid(kind, name, option, entry, value, words))
    if errors:
        raise ConfigurationError("\n".join([*errors, "Something is wrong with your configuration."]))
    return {option: value for option, value in values.items() if declared[option].kind not in ("obsolete", "absent")}


def _missing(kind, name, option):
    return (
        f"Missing a required setting for the {name} {kind} plugin:\n\n  {kind} {{\n    {name} {{\n      {option} => # SETTING MISSING\n      ...\n    }}\n  }}"
    )


def _invalid(kind, name, option, entry, value, words):
    wanted = inspect(list(entry.among)) if entry.kind == "one_of" else entry.kind
    return (
        f"Invalid setting for {name} {kind} plugin:\n\n  {kind} {{\n    {name} {{\n      # This setting must be a {wanted}\n"
        f"      # {words}\n      {option} => {inspect(value)}\n      ...\n    }}\n  }}"
    )


def _value(entry, value):
    """Return (value in its type, "") or (None, what is wrong)."""
    if entry.many:
        found = []
        for one in value if isinstance(value, list) else [value]:
            read, words = _value(replace(entry, many=False), one)
            if words:
                return None, words
            found.append(read)
        return found, ""
    if isinstance(value, list) and len(value) == 1 and entry.kind not in ("array", "hash", "codec"):
        value = value[0]
    return _READERS[entry.kind](entry, value)


def _read_string(_entry, value):
    if isinstance(value, (list, dict, Plugin)):
        return None, f"Expected string, got {inspect(value) if not isinstance(value, Plugin) else value.name}"
    return (value if isinstance(value, str) else inspect(value)), ""


def _read_number(_entry, value):
    text = str(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value, ""
    try:
        return (float(text) if "." in text else int(text)), ""
    except ValueError:
        return None, f"Expected number, got {inspect(value)} (type {text})"


def _read_boolean(_entry, value):
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true", ""
    return None, f"Expected boolean 'true' or 'false', got {inspect(value)}"


def _read_array(_entry, value):
    return (value if isinstance(value, list) else [value]), ""


def _read_hash(_entry, value):
    if isinstance(value, dict):
        return value, ""
    items = value if isinstance(value, list) else [value]
    if len(items) % 2:
        return None, f"This field must contain an even number of items, got {len(items)}"
    found = {}
    for key, item in zip(items[::2], items[1::2], strict=True):
        found[str(key)] = _joined(found[key], item) if key in found else item
    return found, ""


def _read_path(_entry, value):
    if isinstance(value, str) and os.path.exists(value):
        return value, ""
    return None, f"File does not exist or cannot be opened {value}"


def _read_one_of(entry, value):
    known = {str(one): one for one in entry.among}
    if isinstance(value, bool):
        value = str(value).lower()
    if str(value) in known:
        return known[str(value)], ""
    return None, f"Expected one of {inspect(list(entry.among))}, got {inspect([value])}"


def _read_codec(entry, value):
    name = value.name if isinstance(value, Plugin) else value
    if isinstance(value, Plugin) and value.attributes:
        return None, f"options of the codec {name} are not implemented by this stand-in"
    if name in entry.among:
        return name, ""
    return None, f"Couldn't find any codec plugin named '{name}' in this stand-in; it has {', '.join(entry.among)}"


_READERS = {
    "string": _read_string, "password": _read_string, "uri": _read_string, "number": _read_number, "boolean": _read_boolean, "array": _read_array,
    "hash": _read_hash, "path": _read_path, "one_of": _read_one_of, "codec": _read_codec,
}
