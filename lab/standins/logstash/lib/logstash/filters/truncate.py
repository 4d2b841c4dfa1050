"""truncate: cuts long texts by their length in bytes."""

from .. import options, references
from .base import Filter


class Truncate(Filter):
    """See Logstash's documentation of the truncate filter."""

    NAME = "truncate"
    OPTIONS = options.declare({"fields": options.string().listed(), "length_bytes": options.number(required=True)})

    def register(self):
        self._fields = [(references.getter(name), references.setter(name)) for name in self["fields"] or ()]

    def filter(self, event):
        if self._fields:
            for get, put in self._fields:
                value = get(event)
                new = self._cut(value)
                if new is not value:
                    put(event, new)
        else:
            for name, value in event.data.items():
                if name != "@timestamp":
                    event.data[name] = self._cut(value)
        return True

    def _cut(self, value):
        length = self["length_bytes"]
        if isinstance(value, str):
            if len(value) * 4 <= length:
                return value
            data = value.encode("utf-8", "replace")
            return value if len(data) <= length else data[:length].decode("utf-8", "ignore")
        if isinstance(value, list):
            return [self._cut(one) if isinstance(one, str) else one for one in value]
        if isinstance(value, dict):
            return {key: self._cut(item) for key, item in value.items()}
        return value
