"""fingerprint: a hash of fields, or a random identifier."""

import base64
import hashlib
import hmac
import uuid

from .. import options, references
from ..errors import ConfigurationError
from ..event import text
from ..logs import inspect
from .base import Filter

_METHODS = ("SHA1", "SHA256", "SHA384", "SHA512", "MD5", "UUID")
_OTHERS = ("MURMUR3", "MURMUR3_128", "IPV4_NETWORK", "PUNCTUATION")


class Fingerprint(Filter):
    """See Logstash's documentation of the fingerprint filter."""

    NAME = "fingerprint"
    OPTIONS = options.declare({
        "source": options.array(["message"]), "target": options.string(), "key": options.password(), "base64encode": options.boolean(False),
        "method": options.one_of(*_METHODS, *_OTHERS, default="SHA1"), "concatenate_sources": options.boolean(False),
        "concatenate_all_fields": options.boolean(False), **options.ECS,
    })

    def register(self):
        if self["method"] in _OTHERS:
            raise ConfigurationError(f"fingerprint: method => {self['method']} is not implemented by this stand-in")
        ecs = (self["ecs_compatibility"] or self.context.ecs) != "disabled"
        self._put = references.setter(self["target"] or ("[event][hash]" if ecs else "fingerprint"))
        self._sources = [(name, references.getter(name)) for name in self["source"]]
        self._sorted = sorted(self._sources)
        self._key = (self["key"] or "").encode()
        self._new = getattr(hashlib, self["method"].lower(), None)

    def filter(self, event):
        if self["method"] == "UUID":
            self._put(event, str(uuid.uuid4()))
        elif self["concatenate_all_fields"]:
            self._put(event, self._hash("".join(f"|{name}|{_written(value)}" for name, value in sorted(event.data.items())) + "|"))
        elif self["concatenate_sources"]:
            self._put(event, self._hash("".join([f"|{name}|{_written(get(event))}" for name, get in self._sorted]) + "|"))
        else:
            for name, get in self._sources:
                value = get(event)
                if value is None and not event.includes(name):
                    continue
                self._put(event, [self._hash(_written(one)) for one in value] if isinstance(value, list) else self._hash(_written(value)))
        return True

    def _hash(self, value):
        data = value.encode("utf-8", "replace")
        digest = hmac.new(self._key, data, self._new) if self._key else self._new(data)
        return base64.b64encode(digest.digest()).decode() if self["base64encode"] else digest.hexdigest()


def _written(value):
    """Return a value as Ruby writes it, objects with sorted keys."""
    return inspect(_sorted(value)) if isinstance(value, (dict, list)) else text(value)


def _sorted(value):
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in sorted(value.items())}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
