"""What all outputs share."""

import threading
import time

from .. import options
from ..errors import AbortedBatch
from ..plugin import Plugin


class Output(Plugin):
    """An output: `receive(events)` returns when it is done with them."""

    TYPE = "output"
    COMMON = options.OF_OUTPUTS

    def __init__(self, plugin_id, given, context):
        super().__init__(plugin_id, given, context)
        self.count, self.done, self.seconds = 0, 0, 0.0
        self._counting = threading.Lock()
        # Whether no other output of the pipeline comes after it.
        self.is_last = False

    def watched(self):
        """Return the files whose change calls for a reload of the pipeline."""
        return []

    def send(self, events):
        """Hand events to the output and count them."""
        began = time.monotonic()
        with self._counting:
            self.count += len(events)
        self.receive(events)
        with self._counting:
            self.done += len(events)
            self.seconds += time.monotonic() - began

    def receive(self, events):
        raise NotImplementedError

    def give_up_at_stop(self):
        """Raise AbortedBatch when the pipeline stops and its queue keeps the batch."""
        if self.context.stopping.is_set() and not self.context.drains:
            raise AbortedBatch

    def close(self):
        """Let go of what the output holds."""

    def stats(self):
        return {"id": self.id, "name": self.NAME, "events": {"in": self.count, "out": self.done, "duration_in_millis": int(self.seconds * 1000)}}
