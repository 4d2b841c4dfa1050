"""stdout: prints events."""

import sys

from .. import options
from ..logs import inspect
from .base import Output


class Stdout(Output):
    """See Logstash's documentation of the stdout output."""

    NAME = "stdout"
    OPTIONS = options.declare({"codec": options.codec("rubydebug", ("rubydebug", "json_lines", "json", "dots"))})

    def receive(self, events):
        for event in events:
            sys.stdout.write(self._text(event))
        sys.stdout.flush()

    def _text(self, event):
        if self["codec"] == "dots":
            return "."
        if self["codec"] == "rubydebug":
            return inspect(event.data) + "\n"
        return event.json().decode() + ("\n" if self["codec"] == "json_lines" else "")
