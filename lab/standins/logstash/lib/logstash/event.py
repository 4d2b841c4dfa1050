"""Events: their data, and the metadata that no output writes."""

import json
from functools import lru_cache

from . import joda, references, timestamps
from .errors import ConfigurationError

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class Event:
    """One event. `cancelled` is set by a filter that drops it."""

    __slots__ = ("cancelled", "data", "metadata")

    def __init__(self, data, metadata=None):
        self.data, self.metadata, self.cancelled = data, {} if metadata is None else metadata, False

    @classmethod
    def new(cls, values):
        """Return the event of a decoded object, with timestamp and version as Logstash gives them."""
        metadata = values.pop("@metadata", None)
        event = cls(values, metadata if type(metadata) is dict else None)
        if "@version" not in values:
            values["@version"] = "1"
        given = values.get("@timestamp")
        if given is None:
            values["@timestamp"] = timestamps.now()
        else:
            event.take_timestamp(given)
        if "tags" in values:
            event.set_tags(values["tags"])
        return event

    def take_timestamp(self, given):
        """Set the timestamp from a decoded value; one that is none is kept beside, with a tag."""
        moment = timestamps.coerce(given)
        if moment is None:
            self.data["@timestamp"] = timestamps.now()
            self.data["_@timestamp"] = text(given)
            self.tag("_timestampparsefailure")
        else:
            self.data["@timestamp"] = moment

    def set_timestamp(self, value):
        if type(value) is not timestamps.Timestamp:
            raise TypeError(f"wrong argument type {type(value).__name__} (expected LogStash::Timestamp)")
        self.data["@timestamp"] = value

    def set_tags(self, value):
        """Set the tags; what is no text or list of texts is kept beside, with a tag."""
        if value is None or type(value) is str or (type(value) is list and all(type(tag) is str for tag in value)):
            self.data["tags"] = value
        else:
            self.data["_tags"] = value
            self.data["tags"] = ["_tagsparsefailure"]

    def get(self, name):
        return references.getter(name)(self)

    def set(self, name, value):
        references.setter(name)(self, value)

    def remove(self, name):
        return references.remover(name)(self)

    def includes(self, name):
        return references.tester(name)(self)

    def tag(self, name):
        """Add a tag, once."""
        tags = self.data.get("tags")
        if type(tags) is list:
            if name not in tags:
                tags.append(name)
        elif tags is None:
            self.data["tags"] = [name]
        elif tags != name:
            self.data["tags"] = [tags, name]

    def clone(self):
        return Event(copy(self.data), copy(self.metadata))

    def json(self):
        """Return the data as JSON in UTF-8; halves of surrogate pairs become question marks."""
        body = _dumps(self.data)
        try:
            return body.encode()
        except UnicodeEncodeError:
            return body.encode("utf-8", "replace")


def copy(value):
    """Return a deep copy of decoded JSON."""
    if type(value) is dict:
        return {key: copy(item) if type(item) in (dict, list) else item for key, item in value.items()}
    if type(value) is list:
        return [copy(item) if type(item) in (dict, list) else item for item in value]
    return value


def text(value):
    """Return a value as it appears in a text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(text, value))
    return _dumps(value) if isinstance(value, dict) else str(value)


@lru_cache(maxsize=10000)
def template(source):
    """Return event -> text with each %{field} and %{+date format} filled in; what the event lacks stays as it is."""
    if not isinstance(source, str):
        constant = text(source)
        return lambda event: constant
    parts = list(_parts(source))
    if not any(callable(part) for part in parts):
        return lambda event: source
    if len(parts) == 1:
        return parts[0]
    return lambda event: "".join([part(event) if callable(part) else part for part in parts])


def _parts(source):
    at = 0
    while (start := source.find("%{", at)) >= 0:
        end = source.find("}", start)
        if end < 0:
            break
        if start > at:
            yield source[at:start]
        yield _placeholder(source[start:end + 1])
        at = end + 1
    if at < len(source):
        yield source[at:]


def _placeholder(whole):
    inner = whole[2:-1]
    if inner.startswith("{"):
        raise ConfigurationError(f"`{whole}}}`: Java time formats are not implemented by this stand-in")
    if inner == "+%s":
        return lambda event: str(int(event.data["@timestamp"].moment().timestamp())) if "@timestamp" in event.data else whole
    if inner.startswith("+"):
        form = joda.formatter(inner[1:])
        return lambda event: form(event.data["@timestamp"].moment()) if "@timestamp" in event.data else whole
    if not inner:
        return lambda event: whole
    get = references.getter(inner)

    def fill(event):
        value = get(event)
        return value if type(value) is str else whole if value is None else text(value)

    return fill
