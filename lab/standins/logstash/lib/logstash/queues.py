"""The queue between inputs and workers: what both kinds share, and the one in memory."""

import threading
import time
from collections import deque


class Closed(Exception):
    """The queue takes no more events; `taken` of those that were given it has."""

    def __init__(self, taken=0):
        super().__init__()
        self.taken = taken


class Batch:
    """Events that a worker took, and what of the queue they are."""

    __slots__ = ("events", "parts")

    def __init__(self, events, parts=()):
        self.events, self.parts = events, parts


class Queue:
    """Events in order. Subclasses say what is full, and put, take and forget events, all under the lock."""

    def __init__(self):
        self.lock = threading.Condition()
        self.closed = False

    def write(self, events, waiting=None):
        """Take events, all of them; blocks while the queue is full.

        While it blocks, `waiting` is called every second; what it raises ends the wait, and what was not taken is lost to the queue.
        """
        taken = 0
        for size, part in self.parts(events):
            while not self._written(part, taken):
                if waiting:
                    waiting()
            taken += size

    def _written(self, part, taken):
        """Take one part, or return False after a second without room."""
        with self.lock:
            if not self.has_room(part) and not self.closed:
                self.lock.wait(1.0)
            if self.closed:
                raise Closed(taken)
            if not self.has_room(part):
                return False
            self.put(part)
            self.lock.notify_all()
            return True

    def read(self, limit, seconds):
        """Return a batch of at most `limit` events; waits that long for them."""
        batch = Batch([], [])
        until = time.monotonic() + seconds
        with self.lock:
            while True:
                if self.take(batch, limit):
                    self.lock.notify_all()
                remaining = until - time.monotonic()
                if len(batch.events) >= limit or self.closed or remaining <= 0:
                    return batch
                self.lock.wait(remaining)

    def ack(self, batch):
        """Forget a batch: its events are done with."""
        with self.lock:
            if self.forget(batch):
                self.lock.notify_all()

    def close(self):
        """Take no more events; what is held can still be read."""
        with self.lock:
            self.closed = True
            self.lock.notify_all()

    def parts(self, events):
        """Return (number of events, what `put` takes) for each part that is taken at once."""
        raise NotImplementedError

    def has_room(self, part):
        raise NotImplementedError

    def put(self, part):
        raise NotImplementedError

    def take(self, batch, limit):
        raise NotImplementedError

    def forget(self, batch):
        raise NotImplementedError


class MemoryQueue(Queue):
    """Holds as many events as the workers take at once."""

    TYPE = "memory"

    def __init__(self, capacity):
        super().__init__()
        self.capacity = capacity
        self._events = deque()

    def parts(self, events):
        parts = [events[at:at + self.capacity] for at in range(0, len(events), self.capacity)]
        return [(len(part), part) for part in parts]

    def has_room(self, part):
        return not self._events or len(self._events) + len(part) <= self.capacity

    def put(self, part):
        self._events.extend(part)

    def take(self, batch, limit):
        before = len(batch.events)
        while self._events and len(batch.events) < limit:
            batch.events.append(self._events.popleft())
        return len(batch.events) > before

    def forget(self, _batch):
        return False

    def is_empty(self):
        return not self._events

    def delete(self):
        """Nothing stays behind."""

    def stats(self):
        return {"type": self.TYPE, "events_count": len(self._events), "queue_size_in_bytes": 0, "max_queue_size_in_bytes": 0}
