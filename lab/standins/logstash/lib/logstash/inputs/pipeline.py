"""pipeline: takes what other pipelines send to its address."""

from .. import options
from ..errors import ConfigurationError
from .base import Input


class PipelineInput(Input):
    """See Logstash's documentation of pipeline-to-pipeline communication."""

    NAME = "pipeline"
    OPTIONS = options.declare({"address": options.string(required=True)})

    def start(self, write):
        self._write = write
        if not self.context.bus.listen(self["address"], self.receive):
            raise ConfigurationError(f"Internal input at '{self['address']}' already bound! Addresses must be globally unique across pipelines.")

    def receive(self, events, waiting):
        self.emit(self._write, events, waiting)

    def stop(self):
        super().stop()
        self.context.bus.unlisten(self["address"], self.receive)
