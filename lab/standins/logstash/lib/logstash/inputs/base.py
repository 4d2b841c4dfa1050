"""What all inputs share."""

import threading
import time

from .. import options
from ..filters.base import add_decorator
from ..plugin import Plugin


class Input(Plugin):
    """An input: `start(write)` begins to hand events to `write(events, waiting)`, `stop()` ends that."""

    TYPE = "input"
    COMMON = options.OF_INPUTS

    def __init__(self, plugin_id, given, context):
        super().__init__(plugin_id, given, context)
        self.decorate = add_decorator(self.options)
        self.stopping = threading.Event()
        self.count, self.push_seconds = 0, 0.0
        self._counting = threading.Lock()

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
