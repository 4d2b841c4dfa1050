"""The dead letter queue on disk: segments of entries, with a limit of size and of age."""

import fcntl
import json
import os
import struct
import threading
import time
import zlib

from . import diskqueue, timestamps
from .errors import ConfigurationError
from .logs import Logger

SEGMENT_BYTES = 10 << 20
_HEADER = struct.Struct(">II")


class Writer:
    """Takes events that cannot go on; a segment is readable once it is finished."""

    def __init__(self, folder, settings):
        self.folder = folder
        self.max_bytes, self.policy = settings["dead_letter_queue.max_bytes"], settings["dead_letter_queue.storage_policy"]
        self._age, self._flush = settings["dead_letter_queue.retain.age"], settings["dead_letter_queue.flush_interval"] / 1000
        self._log = Logger("org.logstash.common.io.DeadLetterQueueWriter", settings["pipeline.id"])
        self._lock = threading.Lock()
        self._file, self._written = None, 0.0
        self.dropped = self.expired = 0
        self.last_error = "no errors"
        os.makedirs(folder, mode=0o750, exist_ok=True)
        self._lock_file = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock_file)
            raise ConfigurationError(f"Existing `dead_letter_queue` found at {folder}. Another program holds its lock") from None
        # A segment that a kill left unfinished is as good as its whole entries.
        for name in os.listdir(folder):
            if name.endswith(".log.tmp"):
                os.replace(os.path.join(folder, name), os.path.join(folder, name[:-4]))
        self._number = max([number for number, _path, _size in segments(folder)], default=0) + 1
        self._closed = threading.Event()
        check = settings["dead_letter_queue.flush_check_interval"] / 1000
        threading.Thread(target=self._flusher, args=(check,), name="dlq-flush-check", daemon=True).start()

    def write(self, event, plugin_type, plugin_id, reason):
        """Take an event, unless it came out of a dead letter queue already."""
        if "dead_letter_queue" in event.metadata:
            self._log.warn("Event previously submitted to dead letter queue. Skipping...")
            return
        moment = timestamps.now()
        body = json.dumps({
            "entry_time": moment, "plugin_type": plugin_type, "plugin_id": plugin_id, "reason": reason, "event": diskqueue.encode([event]).decode("ascii"),
        }).encode("ascii")
        data = _HEADER.pack(len(body), zlib.crc32(body)) + body
        with self._lock:
            self._expire()
            if self.size() + len(data) > self.max_bytes and not self._make_room(len(data)):
                return
            if self._file is None:
                self._file = open(os.path.join(self.folder, f"{self._number}.log.tmp"), "wb")
            self._file.write(data)
            self._file.flush()
            self._written = time.monotonic()
            if self._file.tell() >= SEGMENT_BYTES:
                self._finish()

    def _make_room(self, needed):
        if self.policy == "drop_older":
            for _number, path, size in segments(self.folder):
                self.dropped += sum(1 for _ in entries(path, 0))
                os.unlink(path)
                self.last_error = f"Cannot write event to DLQ(path: {self.folder}): reached maxQueueSize of {self.max_bytes}"
                needed -= size
                if needed <= 0:
                    return True
            return self.size() + needed <= self.max_bytes
        self.dropped += 1
        self.last_error = f"Cannot write event to DLQ(path: {self.folder}): reached maxQueueSize of {self.max_bytes}"
        self._log.error(self.last_error)
        return False

    def _expire(self):
        if not self._age:
            return
        for _number, path, _size in segments(self.folder):
            if time.time() - os.stat(path).st_mtime > self._age:
                self.expired += sum(1 for _ in entries(path, 0))
                os.unlink(path)

    def _flusher(self, check):
        while not self._closed.wait(check):
            with self._lock:
                if self._file and time.monotonic() - self._written >= self._flush:
                    self._finish()
                self._expire()

    def _finish(self):
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._file.name, self._file.name[:-4])
        self._file = None
        self._number += 1

    def size(self):
        """Return the bytes of all segments."""
        return sum(entry.stat().st_size for entry in os.scandir(self.folder) if entry.name.endswith((".log", ".log.tmp")))

    def close(self):
        self._closed.set()
        with self._lock:
            if self._file:
                self._finish()
            os.close(self._lock_file)

    def stats(self):
        return {
            "max_queue_size_in_bytes": self.max_bytes, "queue_size_in_bytes": self.size(), "dropped_events": self.dropped, "expired_events": self.expired,
            "last_error": self.last_error, "storage_policy": self.policy,
        }


def segments(folder):
    """Return (number, path, bytes) of the finished segments, oldest first."""
    found = []
    try:
        for entry in os.scandir(folder):
            number, dot, rest = entry.name.partition(".")
            if dot and rest == "log" and number.isdigit():
                found.append((int(number), entry.path, entry.stat().st_size))
    except FileNotFoundError:
        pass
    return sorted(found)


def entries(path, offset):
    """Yield (entry, offset after it) of a segment; ends where an entry is not whole."""
    with open(path, "rb") as handle:
        handle.seek(offset)
        while len(header := handle.read(_HEADER.size)) == _HEADER.size:
            length, crc = _HEADER.unpack(header)
            body = handle.read(length)
            if len(body) < length or zlib.crc32(body) != crc:
                return
            offset += _HEADER.size + length
            entry = json.loads(body)
            entry["event"] = diskqueue.decode(entry["event"])[0]
            yield entry, offset
