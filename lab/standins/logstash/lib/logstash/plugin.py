"""What inputs, filters and outputs share."""

from . import options
from .logs import Logger


class Plugin:
    """A plugin of a pipeline, with its options checked."""

    NAME = ""
    TYPE = ""
    OPTIONS = options.declare()
    # Those of every plugin of the type; a plugin's own of the same name win.
    COMMON = options.declare()

    def __init__(self, plugin_id, given, context):
        """Check the options; raises ConfigurationError."""
        self.id = plugin_id
        self.context = context
        self.options = options.checked(self.TYPE, self.NAME, self.COMMON | self.OPTIONS, given)
        self.log = Logger(f"logstash.{self.TYPE}s.{self.NAME}", context.pipeline)

    def __getitem__(self, option):
        return self.options[option]

    def register(self):
        """Get ready: what only a start of the product finds wrong is found here."""
