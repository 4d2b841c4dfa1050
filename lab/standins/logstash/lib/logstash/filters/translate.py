"""translate: looks a field's value up in a dictionary."""

import csv
import json
import os
import threading
import time

from .. import options, ruby_regexp, yamlfile
from ..errors import ConfigurationError
from ..event import template, text
from .base import Filter


class Translate(Filter):
    """See Logstash's documentation of the translate filter."""

    NAME = "translate"
    OPTIONS = options.declare({
        "source": options.string(), "target": options.string(), "field": options.absent(), "destination": options.absent(),
        "dictionary": options.hash_({}), "dictionary_path": options.path(), "refresh_interval": options.number(300),
        "refresh_behaviour": options.one_of("merge", "replace", default="merge"), "override": options.boolean(), "exact": options.boolean(True),
        "regex": options.boolean(False), "fallback": options.string(), "iterate_on": options.absent(),
        **options.ECS,
    })

    def register(self):
        if not self["source"]:
            raise ConfigurationError("translate: `source` is a required setting")
        if self["dictionary"] and self["dictionary_path"]:
            raise ConfigurationError(
                "Cannot register filter translate plugin. The error reported is: \n  "
                "The configuration options 'dictionary' and 'dictionary_path' are mutually exclusive"
            )
        if not self["exact"]:
            raise ConfigurationError("translate: exact => false is not implemented by this stand-in")
        ecs = (self["ecs_compatibility"] or self.context.ecs) != "disabled"
        self._target = self["target"] or (self["source"] if ecs else "translation")
        self._override = self["override"] if self["override"] is not None else self._target == self["source"]
        self._fallback = template(self["fallback"]) if self["fallback"] is not None else None
        self._lock = threading.Lock()
        self._entries = dict(self["dictionary"])
        self._due = None
        if self["dictionary_path"]:
            self._load()

    def _load(self):
        path = self["dictionary_path"]
        try:
            with open(path, encoding="utf-8", newline="") as handle:
                kind = os.path.splitext(path)[1]
                if kind in (".yml", ".yaml"):
                    read = yamlfile.load(handle.read()) or {}
                elif kind == ".json":
                    read = json.load(handle)
                elif kind == ".csv":
                    read = {row[0]: row[1] for row in csv.reader(handle) if len(row) > 1}
                else:
                    raise ConfigurationError(f"Translate: Dictionary {path} has a non valid format")
        except (OSError, ValueError, yamlfile.YamlError) as error:
            if self._due is None:
                raise ConfigurationError(f"Translate: {error} when loading dictionary file at {path}") from None
            self.log.warn(f"Translate: {error}, continuing with old dictionary", dictionary_path=path)
            read = {}
        read = {text(key): value for key, value in read.items()}
        self._entries = read if self["refresh_behaviour"] == "replace" and read else self._entries | read
        self._due = time.monotonic() + self["refresh_interval"]

    def _current(self):
        if self._due is not None and self["refresh_interval"] > 0 and time.monotonic() >= self._due:
            with self._lock:
                if time.monotonic() >= self._due:
                    self._load()
        return self._entries

    def filter(self, event):
        if not event.includes(self["source"]) or (event.includes(self._target) and not self._override):
            return False
        source, entries = event.get(self["source"]), self._current()
        if isinstance(source, list):
            source = source[0] if source else None
        source = text(source)
        if self["regex"]:
            key = next((key for key in entries if ruby_regexp.compiled(key).search(source)), None)
        else:
            key = source if source in entries else None
        if key is not None:
            event.set(self._target, entries[key])
        elif self._fallback:
            event.set(self._target, self._fallback(event))
        else:
            return False
        return True
