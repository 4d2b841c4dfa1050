"""mutate: renames, replaces and changes fields, in its fixed order."""

import re
from decimal import Decimal, InvalidOperation

from .. import options, references, ruby_regexp
from ..errors import ConfigurationError
from ..event import copy, template, text
from .base import Filter

_TRUE = re.compile(r"(true|t|yes|y|1|1.0)", re.IGNORECASE)
_FALSE = re.compile(r"(false|f|no|n|0|0.0)?", re.IGNORECASE)
_HEX = re.compile(r"([+-]?)0x([0-9a-f]+)", re.IGNORECASE)
_FLOAT = re.compile(r"[+-]?\d[\d_]*(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)
CONVERSIONS = ("string", "integer", "float", "boolean", "integer_eu", "float_eu")


def _to_integer(value):
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return int(value)
    if not isinstance(value, str):
        raise ValueError(f"can't convert {type(value).__name__} into Integer")
    value = value.strip().replace(",", "")
    found = _HEX.fullmatch(value)
    if found:
        return int(found[1] + found[2], 16)
    if "e" in value:
        try:
            return int(Decimal(value))
        except (InvalidOperation, ValueError, OverflowError):
            raise ValueError(f'invalid value for BigDecimal(): "{value}"') from None
    found = re.match(r"[+-]?[0-9]+", value)
    return int(found[0]) if found else 0


def _to_float(value):
    if isinstance(value, (bool, int, float)):
        return float(value)
    if not isinstance(value, str):
        raise ValueError(f"can't convert {type(value).__name__} into Float")
    value = value.strip().replace(",", "")
    found = _HEX.fullmatch(value)
    if found:
        return float(int(found[1] + found[2], 16))
    if not _FLOAT.fullmatch(value):
        raise ValueError(f'invalid value for Float(): "{value}"')
    return float(value.replace("_", ""))


def _european(value):
    return value.translate(str.maketrans(",.", ".,")) if isinstance(value, str) else value


def _to_boolean(value):
    written = text(value)
    if _TRUE.fullmatch(written):
        return True
    return False if _FALSE.fullmatch(written) else value


_CONVERT = {
    "string": lambda value: repr(value) if isinstance(value, float) else text(value), "integer": _to_integer, "float": _to_float, "boolean": _to_boolean,
    "integer_eu": lambda value: _to_integer(_european(value)), "float_eu": lambda value: _to_float(_european(value)),
}


class Mutate(Filter):
    """See Logstash's documentation of the mutate filter."""

    NAME = "mutate"
    ORDER = ("coerce", "rename", "update", "replace", "convert", "gsub", "uppercase", "capitalize", "lowercase", "strip", "split", "join", "merge", "copy")
    OPTIONS = options.declare({
        **{name: options.hash_() for name in ("coerce", "rename", "update", "replace", "convert", "split", "join", "merge", "copy")},
        **{name: options.array() for name in ("gsub", "uppercase", "capitalize", "lowercase", "strip")},
        "tag_on_failure": options.string("_mutate_error"),
    })

    def register(self):
        self._steps = []
        for name in self.ORDER:
            if self[name]:
                self._steps.extend(getattr(self, f"_{name}")(self[name]))

    def filter(self, event):
        try:
            for step in self._steps:
                step(event)
            if self.decorate:
                self.decorate(event)
        except (TypeError, ValueError, ConfigurationError) as error:
            self.log.warn("Exception caught while applying mutate filter", exception=str(error))
            event.tag(self["tag_on_failure"])
        # The common options were applied above, where their failure is the filter's too.
        return False

    def _coerce(self, fields):
        for name, value in fields.items():
            fill = template(value)
            yield lambda event, name=name, fill=fill: event.set(name, fill(event)) if event.includes(name) and event.get(name) is None else None

    def _rename(self, fields):
        for old, new in fields.items():
            if "%{" in old or "%{" in new:
                yield self._dynamic_rename(template(old), template(new))
            else:
                yield self._fixed_rename(references.tester(old), references.remover(old), references.setter(new))

    @staticmethod
    def _fixed_rename(included, remove, put):
        def rename(event):
            if included(event):
                put(event, remove(event))

        return rename

    @staticmethod
    def _dynamic_rename(old, new):
        def rename(event):
            name = old(event)
            if event.includes(name):
                event.set(new(event), event.remove(name))

        return rename

    def _update(self, fields):
        for name, value in fields.items():
            included, put, fill = references.tester(name), references.setter(name), template(value)
            yield lambda event, included=included, put=put, fill=fill: put(event, fill(event)) if included(event) else None

    def _replace(self, fields):
        for name, value in fields.items():
            put, fill = references.setter(name), template(value)
            yield lambda event, put=put, fill=fill: put(event, fill(event))

    def _convert(self, fields):
        for name, kind in fields.items():
            if kind not in CONVERSIONS:
                raise ConfigurationError(
                    f"Cannot register filter mutate plugin. The error reported is: \n  Invalid conversion type '{kind}', "
                    f"expected one of '{','.join(CONVERSIONS)}'"
                )
            yield self._conversion(references.getter(name), references.setter(name), _CONVERT[kind])

    @staticmethod
    def _conversion(get, put, change):
        def convert(event):
            value = get(event)
            if isinstance(value, list):
                put(event, [one if one is None else change(one) for one in value])
            elif value is not None and not isinstance(value, dict):
                put(event, change(value))

        return convert

    def _gsub(self, entries):
        if len(entries) % 3:
            raise ConfigurationError(
                f"Cannot register filter mutate plugin. The error reported is: \n  Invalid gsub configuration {entries[len(entries) // 3 * 3:]}. "
                "gsub requires 3 non-nil elements per config entry"
            )
        for name, needle, put_in in zip(entries[::3], entries[1::3], entries[2::3], strict=True):
            yield self._substitution(references.getter(name), references.setter(name), str(needle), str(put_in))

    @staticmethod
    def _substitution(get, put, needle, put_in):
        if "%{" not in needle and "%{" not in put_in:
            substitute, change = ruby_regexp.compiled(needle).sub, ruby_regexp.replacement(put_in)
            if "\\" not in put_in:
                # A text without groups needs no function, and is quicker.
                change = put_in

            def replaced(_event, value):
                return substitute(change, value)
        else:
            needle_of, put_in_of = template(needle), template(put_in)

            def replaced(event, value):
                return ruby_regexp.compiled(needle_of(event)).sub(ruby_regexp.replacement(put_in_of(event)), value)

        def gsub(event):
            value = get(event)
            if type(value) is str:
                new = replaced(event, value)
                if new is not value:
                    put(event, new)
            elif isinstance(value, list):
                put(event, [replaced(event, one) if isinstance(one, str) else one for one in value])

        return gsub

    @staticmethod
    def _each_text(names, change):
        for name in names:
            get, put = references.getter(name), references.setter(name)

            def step(event, get=get, put=put):
                value = get(event)
                if isinstance(value, str):
                    put(event, change(value))
                elif isinstance(value, list):
                    put(event, [change(one) if isinstance(one, str) else one for one in value])

            yield step

    def _uppercase(self, names):
        return self._each_text(names, str.upper)

    def _capitalize(self, names):
        return self._each_text(names, str.capitalize)

    def _lowercase(self, names):
        return self._each_text(names, str.lower)

    def _strip(self, names):
        # Ruby's strip takes off ASCII white space and the null sign only.
        return self._each_text(names, lambda value: value.strip(" \t\n\v\f\r\0"))

    def _split(self, fields):
        for name, separator in fields.items():
            def step(event, name=name, separator=separator):
                value = event.get(name)
                if isinstance(value, str):
                    event.set(name, _ruby_split(value, separator))

            yield step

    def _join(self, fields):
        for name, separator in fields.items():
            def step(event, name=name, separator=separator):
                value = event.get(name)
                if isinstance(value, list):
                    event.set(name, separator.join(map(text, value)))

            yield step

    def _merge(self, fields):
        for name, added in fields.items():
            for source in added if isinstance(added, list) else [added]:
                yield lambda event, name=name, source=source: self._merge_one(event, name, source)

    def _merge_one(self, event, name, source):
        present, added = event.get(name), copy(event.get(source))
        if added is None:
            return
        if present is None:
            event.set(name, added)
        elif isinstance(present, dict) != isinstance(added, dict):
            self.log.error("Not possible to merge an array and a hash: ", dest_field=name, added_field=source)
        elif isinstance(present, dict):
            event.set(name, present | added)
        else:
            event.set(name, _listed(present) + _listed(added))

    def _copy(self, fields):
        for name, target in fields.items():
            def step(event, name=name, target=target):
                source = template(name)(event)
                if event.includes(source):
                    event.set(template(target)(event), copy(event.get(source)))

            yield step


def _listed(value):
    return value if isinstance(value, list) else [value]


def _ruby_split(value, separator):
    """Return a text's parts as Ruby's split does: no empty ones at the end, one blank stands for any white space."""
    if separator == " ":
        return value.split()
    parts = value.split(separator) if separator else list(value)
    while parts and not parts[-1]:
        parts.pop()
    return parts
