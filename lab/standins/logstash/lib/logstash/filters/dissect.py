"""dissect: cuts a text at fixed delimiters."""

import re

from .. import options, references
from ..errors import ConfigurationError
from .base import Filter

_FIELD = re.compile(r"%\{([^}]*)\}")
_KEY = re.compile(r"(?P<sign>[?+&]?)(?P<name>.*?)(?:/(?P<order>\d+))?(?P<padded>->)?")


class _Field:
    __slots__ = ("name", "order", "padded", "sign")

    def __init__(self, text):
        found = _KEY.fullmatch(text)
        self.sign, self.name, self.padded = found["sign"], found["name"], bool(found["padded"])
        self.order = int(found["order"]) if found["order"] else None


class Dissect(Filter):
    """See Logstash's documentation of the dissect filter."""

    NAME = "dissect"
    OPTIONS = options.declare({"mapping": options.hash_({}), "convert_datatype": options.hash_({}), "tag_on_failure": options.array(["_dissectfailure"])})

    def register(self):
        self._dissections = [(references.getter(name), _compile(pattern)) for name, pattern in self["mapping"].items()]
        for name, kind in self["convert_datatype"].items():
            if kind not in ("int", "float"):
                raise ConfigurationError(f"Dissect datatype conversion, datatype: {kind} not supported for {name}, int or float is")

    def filter(self, event):
        for get, dissection in self._dissections:
            value = get(event)
            found = dissection(value) if isinstance(value, str) else None
            if found is None:
                self.tag_failure(event)
                return False
            _keep(event, found)
        for name, kind in self["convert_datatype"].items():
            value = event.get(name)
            try:
                event.set(name, int(float(value)) if kind == "int" else float(value))
            except (TypeError, ValueError):
                event.tag(f"_dataconversionuncoercible_{name}_{kind}" if value is not None else f"_dataconversionnullvalue_{name}_{kind}")
        return True


def _compile(pattern):
    """Return text -> [(field, value, delimiter before it)], or None where a delimiter is missing."""
    pieces = _FIELD.split(pattern)
    lead, fields, delimiters = pieces[0], [_Field(text) for text in pieces[1::2]], pieces[2::2]
    if not fields:
        raise ConfigurationError(f"dissect: '{pattern}' has no %{{field}}")

    def dissect(text):
        if not text.startswith(lead):
            return None
        at, found, before = len(lead), [], lead
        for field, delimiter in zip(fields, delimiters, strict=True):
            if not delimiter:
                end = len(text)
            else:
                end = text.find(delimiter, at)
                if end < 0:
                    return None
            found.append((field, text[at:end], before))
            at = end + len(delimiter)
            while field.padded and delimiter and text.startswith(delimiter, at):
                at += len(delimiter)
            before = delimiter
        return found

    return dissect


def _keep(event, found):
    appended, plain = {}, {}
    for field, value, before in found:
        if field.sign == "+":
            appended.setdefault(field.name, []).append((field.order, before or " ", value))
        elif field.sign != "&" and field.name:
            plain[field.name] = (field.sign, value)
    for name, (sign, value) in plain.items():
        if sign != "?":
            event.set(f"[{name}]" if "[" not in name else name, value)
    for name, parts in appended.items():
        if any(order is not None for order, _before, _value in parts):
            parts.sort(key=lambda part: part[0] or 0)
        text = event.get(name)
        for _order, before, value in parts:
            text = value if text is None else f"{text}{before}{value}"
        event.set(name, text)
    for field, value, _before in found:
        if field.sign == "&":
            key = plain[field.name][1] if field.name in plain else event.get(field.name)
            if key:
                event.set(str(key), value)
