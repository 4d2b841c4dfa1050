"""How much goes through a pipeline in a time: the rates of the statistics API."""

import time
from collections import deque

# The product looks every five seconds.
SAMPLE_SECONDS = 5.0
_WINDOWS = {"current": 10.0, "last_1_minute": 60.0, "last_5_minutes": 300.0, "last_15_minutes": 900.0}


class Flow:
    """Samples of one pipeline's counters."""

    def __init__(self, pipeline):
        self._pipeline = pipeline
        self._samples = deque(maxlen=int(_WINDOWS["last_15_minutes"] / SAMPLE_SECONDS) + 2)
        self.sample()

    def _now(self):
        counts = self._pipeline.events()
        stats = self._pipeline.queue.stats() if self._pipeline.state == "RUNNING" else {}
        return time.monotonic(), {
            "input_throughput": counts["in"], "filter_throughput": counts["filtered"], "output_throughput": counts["out"],
            "queue_backpressure": self._pipeline.push_seconds, "worker_concurrency": self._pipeline.busy_seconds,
            "worker_utilization": self._pipeline.busy_seconds / self._pipeline.workers * 100,
            **({
                "queue_persisted_growth_events": stats["events_count"], "queue_persisted_growth_bytes": stats["queue_size_in_bytes"],
            } if stats.get("type") == "persisted" else {}),
        }

    def sample(self):
        self._samples.append(self._now())

    def rates(self):
        """Return name -> window -> change in a second; a window that the pipeline has not run for is left out."""
        moment, values = self._now()
        first_moment, first = self._samples[0]
        found = {}
        for name, value in values.items():
            rates = {}
            for window, seconds in _WINDOWS.items():
                base = next(((at, old) for at, old in reversed(self._samples) if moment - at >= seconds), None)
                if base is None and window == "current":
                    base = first_moment, first
                if base and moment > base[0]:
                    rates[window] = round((value - base[1].get(name, 0)) / (moment - base[0]), 4)
            if moment > first_moment:
                rates["lifetime"] = round(value / (moment - self._pipeline.started), 4)
            found[name] = rates
        return found
