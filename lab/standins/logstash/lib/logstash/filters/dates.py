"""date: reads a moment from a field."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .. import joda, options, references, timestamps
from ..errors import ConfigurationError
from ..event import template
from .base import Filter


class Date(Filter):
    """See Logstash's documentation of the date filter."""

    NAME = "date"
    OPTIONS = options.declare({
        "match": options.array([]), "target": options.string("@timestamp"), "timezone": options.string(), "locale": options.string(),
        "tag_on_failure": options.array(["_dateparsefailure"]),
    })

    def register(self):
        if len(self["match"]) < 2:
            raise ConfigurationError(
                "Cannot register filter date plugin. The error reported is: \n  "
                "The match setting should contains first a field name and at least one date format"
            )
        if not (self["locale"] or "en").lower().startswith("en"):
            raise ConfigurationError(f"date: locale '{self['locale']}' is not implemented by this stand-in, en is")
        self._get = references.getter(self["match"][0])
        self._put = references.setter(self["target"])
        self._zone_of = template(self["timezone"]) if self["timezone"] and "%{" in self["timezone"] else None
        self._zone = _zone(self["timezone"] or "UTC") if not self._zone_of else None
        self._readers = [_SPECIAL.get(form) or self._joda(form) for form in self["match"][1:]]

    def _joda(self, form):
        read = joda.parser(form)

        def by_pattern(value, zone):
            moment = read(value, zone) if isinstance(value, str) else None
            return timestamps.of(moment) if moment else None

        return by_pattern

    def filter(self, event):
        value = self._get(event)
        if value is None:
            return False
        try:
            zone = _zone(self._zone_of(event)) if self._zone_of else self._zone
        except ConfigurationError:
            zone = ZoneInfo("UTC")
        for one in value if isinstance(value, list) else [value]:
            for read in self._readers:
                moment = read(one, zone)
                if moment is not None:
                    self._put(event, moment)
                    return True
        self.tag_failure(event)
        return False


def _zone(name):
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"The datetime zone id '{name}' is not recognised") from None


def _iso(value, zone):
    if not isinstance(value, str):
        return None
    if len(value) >= 19 and value[-1] != "Z" and "+" not in value and value.rfind("-") < 10:
        # Without an offset it is a moment of the filter's zone.
        local = timestamps.coerce(value + "Z")
        return timestamps.of(local.moment().replace(tzinfo=zone)) if local else None
    return timestamps.coerce(value)


def _unix(scale):
    def read(value, _zone):
        try:
            number = float(value) if scale == 1000 else int(value)
        except (TypeError, ValueError):
            return None
        if isinstance(value, bool):
            return None
        try:
            return timestamps.of_milliseconds(round(number * scale))
        except OverflowError:
            return None

    return read


_SPECIAL = {"ISO8601": _iso, "UNIX": _unix(1000), "UNIX_MS": _unix(1)}
