"""json: reads a field's JSON into the event."""

import json

from .. import options, references, timestamps
from ..event import text
from .base import Filter


def _refuse(constant):
    raise ValueError(f"{constant} is no JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode


class Json(Filter):
    """See Logstash's documentation of the json filter."""

    NAME = "json"
    OPTIONS = options.declare({
        "source": options.string(required=True), "target": options.string(), "tag_on_failure": options.array(["_jsonparsefailure"]),
        "skip_on_invalid_json": options.boolean(False), **options.ECS,
    })

    def register(self):
        self._get = references.getter(self["source"])
        self._put = references.setter(self["target"]) if self["target"] else None

    def filter(self, event):
        source = self._get(event)
        if source is None or source is False:
            return False
        try:
            parsed = _decode(source) if source != "" else None
        except (ValueError, TypeError, RecursionError) as error:
            if not self["skip_on_invalid_json"]:
                self.log.warn("Error parsing json", source=self["source"], raw=source, exception=error)
                self.tag_failure(event)
            return False
        if self._put:
            self._put(event, parsed)
            return True
        if not isinstance(parsed, dict):
            self.tag_failure(event)
            self.log.warn("Parsed JSON object/hash requires a target configuration option", source=self["source"], raw=source)
            return False
        return self._spread(event, parsed)

    def _spread(self, event, parsed):
        """Put an object's members into the event's root."""
        given = parsed.pop("@timestamp", None)
        try:
            for key, value in parsed.items():
                references.setter(key)(event, value)
        except Exception as error:
            self.log.warn("Exception caught in json filter", source=self["source"], exception=error)
            self.tag_failure(event)
            return False
        if given is not None:
            moment = timestamps.coerce(given)
            if moment is None:
                self.log.warn(
                    "Unrecognized @timestamp value, setting current time to @timestamp, original in _@timestamp field", value=text(given),
                )
                event.data["_@timestamp"] = text(given)
                event.tag("_timestampparsefailure")
            event.data["@timestamp"] = moment or timestamps.now()
        return True
