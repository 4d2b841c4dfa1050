"""What all inputs share."""

import threading
import time

from .. import options
from ..filters.base import add_decorator
from ..logs import Logger


class Input:
    """An input: `start(write)` begins to hand events to `write(events, waiting)`, `stop()` ends that."""

    NAME = ""
    OPTIONS = options.declare()
    TYPE = "input"

    def __init__(self, plugin_id, given, context):
        """Check the options; raises ConfigurationError."""
        self.id = plugin_id
        self.context = context
        self.options = options.checked("input", self.NAME, options.OF_INPUTS | self.OPTIONS, given)
        self.log = Logger(f"logstash.inputs.{self.NAME}", context.pipeline)
        self.decorate = add_decorator(self.options)
        self.stopping = threading.Event()
        self.count, self.push_seconds = 0, 0.0
        self._counting = threading.Lock()

    def __getitem__(self, option):
        return self.options[option]

    def register(self):
        """Get ready: what only a start of the product finds wrong is found here."""

    def start(self, write):
        raise NotImplementedError

    def stop(self):
        self.stopping.set()

    def emit(self, write, events, waiting=None):
        """Hand events on and count them."""
        if self.decorate:
            for event in events:
                self.decorate(event)
        began = time.monotonic()
        write(events, waiting)
        with self._counting:
            self.count += len(events)
            self.push_seconds += time.monotonic() - began

    def stats(self):
        return {"id": self.id, "name": self.NAME, "events": {"out": self.count, "queue_push_duration_in_millis": int(self.push_seconds * 1000)}}
