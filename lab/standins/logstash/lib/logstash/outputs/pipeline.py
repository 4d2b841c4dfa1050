"""pipeline: sends events to the pipelines that listen at its addresses."""

from .. import options
from ..queues import Closed
from .base import Output


class PipelineOutput(Output):
    """See Logstash's documentation of pipeline-to-pipeline communication."""

    NAME = "pipeline"
    OPTIONS = options.declare({"send_to": options.string(required=True).listed(), "ensure_delivery": options.boolean(True)})

    def receive(self, events):
        last = len(self["send_to"]) - 1
        for number, address in enumerate(self["send_to"]):
            # Whoever comes last may keep the events themselves.
            given_away = self.is_last and number == last
            self._deliver(address, events if given_away else [event.clone() for event in events])

    def _deliver(self, address, events):
        """Send events until an input has taken them all."""
        while True:
            receive = self.context.bus.receiver(address, self.give_up_at_stop)
            try:
                receive(events, self.give_up_at_stop)
                return
            except Closed as error:
                events = events[error.taken:]
                if not self["ensure_delivery"]:
                    self.log.warn("Attempted to send event to an address that is not available; the event is dropped", address=address)
                    return
                self.context.stopping.wait(0.2)
                self.give_up_at_stop()
