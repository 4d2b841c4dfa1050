"""The queue on disk: pages of records, and a checkpoint that says from where on records are needed."""

import fcntl
import json
import os
import struct
import time
import zlib
from collections import deque

from .errors import ConfigurationError
from .event import Event
from .logs import Logger
from .queues import Queue
from .timestamps import Timestamp

_HEADER = struct.Struct(">III")
EVENTS_OF_A_RECORD = 250
# Events that are kept in memory too, so that a worker that keeps up need not read them back.
KEPT = 4000
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


class _Record:
    """A record: where it is, how many of its events were taken and are done with."""

    __slots__ = ("acked", "count", "events", "length", "offset", "page", "taken")

    def __init__(self, page, offset, length, count, events=None):
        self.page, self.offset, self.length, self.count, self.events = page, offset, length, count, events
        self.taken = self.acked = 0


class _Page:
    """A file of records; `pending` of them are not done with."""

    def __init__(self, folder, number, create=False):
        self.number, self.path = number, os.path.join(folder, f"page.{number}")
        self.file = os.open(self.path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
        self.size = os.fstat(self.file).st_size
        self.pending = 0

    def close(self):
        os.close(self.file)


def encode(events):
    """Return events as bytes."""
    return _encode([[event.data, event.metadata] for event in events]).encode("ascii")


def decode(data):
    """Return the events of such bytes."""
    events = []
    for values, metadata in json.loads(data):
        if "@timestamp" in values:
            values["@timestamp"] = Timestamp(values["@timestamp"])
        events.append(Event(values, metadata))
    return events


class DiskQueue(Queue):
    """At least once: what was taken in is handed out again until it is acknowledged, also after a kill."""

    TYPE = "persisted"

    def __init__(self, folder, settings):
        super().__init__()
        self.folder = folder
        self.max_bytes, self.page_capacity, self.max_events = (settings[f"queue.{name}"] for name in ("max_bytes", "page_capacity", "max_events"))
        self._sync_after, self._checkpoint_after = settings["queue.checkpoint.writes"], settings["queue.checkpoint.acks"]
        self._interval = settings["queue.checkpoint.interval"] / 1000
        self._log = Logger("logstash.ackedqueue", settings["pipeline.id"])
        self._pages, self._unread, self._unacked = {}, deque(), deque()
        self._held = self._kept = self._unsynced = self._acked = 0
        self._checkpointed = time.monotonic()
        self._open()

    # Opening

    def _open(self):
        os.makedirs(self.folder, mode=0o750, exist_ok=True)
        self._lock_file = os.open(os.path.join(self.folder, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock_file)
            raise ConfigurationError(f"The queue failed to obtain exclusive access, cause: Lock held by another program on {self.folder}") from None
        first, offset = self._read_checkpoint()
        numbers = sorted(int(name[5:]) for name in os.listdir(self.folder) if name.startswith("page.") and name[5:].isdigit())
        for number in numbers:
            page = _Page(self.folder, number)
            if number < first:
                page.close()
                os.unlink(page.path)
                continue
            self._pages[number] = page
            self._scan(page, offset if number == first else 0, last=number == numbers[-1])
        self._head = self._pages[numbers[-1]] if numbers and numbers[-1] in self._pages else self._new_page(first)
        for number in [number for number, page in self._pages.items() if not page.pending and page is not self._head]:
            self._remove(number)

    def _read_checkpoint(self):
        try:
            with open(os.path.join(self.folder, "checkpoint.head"), encoding="ascii") as handle:
                read = json.load(handle)
            return read["page"], read["offset"]
        except (OSError, ValueError, KeyError):
            return 0, 0

    def _scan(self, page, offset, last):
        """Find a page's records; what a kill left half written at the end of the last one is cut off."""
        while offset < page.size:
            header = os.pread(page.file, _HEADER.size, offset)
            length, crc, count = _HEADER.unpack(header) if len(header) == _HEADER.size else (page.size, 0, 0)
            end = offset + _HEADER.size + length
            whole = end <= page.size and (not last or zlib.crc32(os.pread(page.file, length, offset + _HEADER.size)) == crc)
            if not whole:
                self._log.warn("A record at the end of the queue is not whole and is cut off", page=page.path, offset=offset)
                os.ftruncate(page.file, offset)
                page.size = offset
                break
            self._add(_Record(page, offset, length, count))
            offset = end

    # Writing

    def parts(self, events):
        for at in range(0, len(events), EVENTS_OF_A_RECORD):
            part = events[at:at + EVENTS_OF_A_RECORD]
            data = encode(part)
            yield len(part), (part, _HEADER.pack(len(data), zlib.crc32(data), len(part)) + data)

    def has_room(self, part):
        events, data = part
        if not self._unacked:
            return True
        if self.max_events and self._held + len(events) > self.max_events:
            return False
        return sum(page.size for page in self._pages.values() if page.pending) + len(data) <= self.max_bytes

    def put(self, part):
        events, data = part
        if self._head.size and self._head.size + len(data) > self.page_capacity:
            self._roll()
        page, offset = self._head, self._head.size
        view = memoryview(data)
        while view:
            written = os.pwrite(page.file, view, page.size)
            view = view[written:]
            page.size += written
        keep = self._kept < KEPT
        self._add(_Record(page, offset, len(data) - _HEADER.size, len(events), list(events) if keep else None))
        self._kept += len(events) if keep else 0
        self._unsynced += len(events)
        if self._sync_after and self._unsynced >= self._sync_after:
            self._sync()

    def _add(self, record):
        record.page.pending += 1
        self._unread.append(record)
        self._unacked.append(record)
        self._held += record.count

    def _sync(self):
        os.fdatasync(self._head.file)
        self._unsynced = 0

    def _new_page(self, number):
        page = self._pages[number] = _Page(self.folder, number, create=True)
        return page

    def _roll(self):
        self._sync()
        old = self._head
        self._head = self._new_page(old.number + 1)
        if not old.pending:
            self._checkpoint()
            self._remove(old.number)

    # Reading

    def take(self, batch, limit):
        taken = False
        while self._unread and len(batch.events) < limit:
            record = self._unread[0]
            if record.events is None:
                record.events = decode(os.pread(record.page.file, record.length, record.offset + _HEADER.size))
                self._kept += record.count
            part = record.events[record.taken:record.taken + limit - len(batch.events)]
            record.taken += len(part)
            batch.events.extend(part)
            batch.parts.append((record, len(part)))
            taken = True
            if record.taken == record.count:
                self._unread.popleft()
                record.events = None
                self._kept -= record.count
        return taken

    def forget(self, batch):
        for record, count in batch.parts:
            record.acked += count
            self._held -= count
            self._acked += count
            if record.acked == record.count:
                record.page.pending -= 1
        while self._unacked and self._unacked[0].acked == self._unacked[0].count:
            self._unacked.popleft()
        done = [number for number, page in self._pages.items() if not page.pending and page is not self._head]
        if done or (self._checkpoint_after and self._acked >= self._checkpoint_after) or time.monotonic() - self._checkpointed > self._interval:
            self._checkpoint()
        for number in done:
            self._remove(number)
        return True

    def _checkpoint(self):
        """Write down from where on records are needed."""
        page, offset = (self._unacked[0].page.number, self._unacked[0].offset) if self._unacked else (self._head.number, self._head.size)
        path = os.path.join(self.folder, "checkpoint.head")
        with open(f"{path}.tmp", "w", encoding="ascii") as handle:
            json.dump({"page": page, "offset": offset}, handle)
            handle.flush()
            os.fdatasync(handle.fileno())
        os.replace(f"{path}.tmp", path)
        self._acked, self._checkpointed = 0, time.monotonic()

    def _remove(self, number):
        page = self._pages.pop(number)
        page.close()
        os.unlink(page.path)

    # The end

    def is_empty(self):
        return not self._unread

    def delete(self):
        """Close the files; what is not acknowledged stays on disk."""
        with self.lock:
            self._sync()
            self._checkpoint()
            for page in self._pages.values():
                page.close()
            os.close(self._lock_file)

    def stats(self):
        with self.lock:
            count, size = self._held, sum(page.size for page in self._pages.values())
        disk = os.statvfs(self.folder)
        return {
            "type": self.TYPE, "events_count": count, "events": count, "queue_size_in_bytes": size, "max_queue_size_in_bytes": self.max_bytes,
            "capacity": {
                "page_capacity_in_bytes": self.page_capacity, "max_queue_size_in_bytes": self.max_bytes, "max_unread_events": self.max_events,
                "queue_size_in_bytes": size,
            },
            "data": {"path": self.folder, "free_space_in_bytes": disk.f_bavail * disk.f_frsize, "storage_type": "unknown"},
        }
