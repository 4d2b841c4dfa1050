"""drop: ends an event."""

import random

from .. import options
from .base import Filter


class Drop(Filter):
    """See Logstash's documentation of the drop filter."""

    NAME = "drop"
    OPTIONS = options.declare({"percentage": options.number(100)})

    def filter(self, event):
        if self["percentage"] >= 100 or random.random() * 100 < self["percentage"]:
            event.cancelled = True
        return False
