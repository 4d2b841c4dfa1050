"""dead_letter_queue: reads what other pipelines could not hand on."""

import hashlib
import json
import os
import threading
from functools import partial

from .. import dlq, options
from ..errors import ConfigurationError
from ..queues import Closed
from .base import Input

_CHUNK = 125
_LOOK_EVERY = 0.5


class DeadLetterQueue(Input):
    """See Logstash's documentation of the dead_letter_queue input."""

    NAME = "dead_letter_queue"
    OPTIONS = options.declare({
        "path": options.path(required=True), "pipeline_id": options.string("main"), "sincedb_path": options.string(), "commit_offsets": options.boolean(True),
        "clean_consumed": options.boolean(False), "start_timestamp": options.string(),
    })

    def register(self):
        if self["clean_consumed"] and not self["commit_offsets"]:
            raise ConfigurationError("clean_consumed requires that also commit_offsets is enabled to work properly")
        if self["sincedb_path"] and os.path.isdir(self["sincedb_path"]):
            raise ConfigurationError(f'The "sincedb_path" argument must point to a file, received a directory: "{self["sincedb_path"]}"')
        self._folder = os.path.join(self["path"], self["pipeline_id"])
        name = hashlib.md5(self["path"].encode(), usedforsecurity=False).hexdigest()
        self._position_path = self["sincedb_path"] or os.path.join(
            self.context.settings["path.data"], "plugins", "inputs", "dead_letter_queue", self["pipeline_id"], f".sincedb_{name}"
        )
        os.makedirs(os.path.dirname(self._position_path), exist_ok=True)

    def start(self, write):
        self._thread = threading.Thread(target=self._run, args=(write,), name=f"[{self.context.pipeline}]<dead_letter_queue", daemon=True)
        self._thread.start()

    def stop(self):
        super().stop()
        self._thread.join()

    def _run(self, write):
        number, offset = self._position()
        while not self.stopping.is_set():
            following = next((entry for entry in dlq.segments(self._folder) if entry[0] > number or (entry[0] == number and entry[2] > offset)), None)
            if following is None:
                self.stopping.wait(_LOOK_EVERY)
                continue
            if following[0] != number:
                number, offset = following[0], 0
            try:
                offset = self._read(write, number, following[1], offset)
            except FileNotFoundError:
                # The writer needed the room.
                continue
            except Closed:
                return

    def _read(self, write, number, path, offset):
        """Hand a segment's entries on, and return where it ends."""
        events = []
        for entry, after in dlq.entries(path, offset):
            if self["start_timestamp"] and entry["entry_time"] < self["start_timestamp"]:
                continue
            event = entry["event"]
            event.metadata["dead_letter_queue"] = {key: entry[key] for key in ("plugin_type", "plugin_id", "reason", "entry_time")}
            events.append(event)
            offset = after
            if len(events) >= _CHUNK:
                self._hand_on(write, events, number, offset)
                events = []
        self._hand_on(write, events, number, offset)
        if self["clean_consumed"]:
            os.unlink(path)
        # What follows the last whole entry will not become one.
        return max(offset, os.stat(path).st_size) if os.path.exists(path) else offset

    def _hand_on(self, write, events, number, offset):
        if events:
            self.emit(write, events, partial(_unless, self.stopping))
            if self["commit_offsets"]:
                with open(f"{self._position_path}.tmp", "w", encoding="ascii") as handle:
                    json.dump([number, offset], handle)
                os.replace(f"{self._position_path}.tmp", self._position_path)

    def _position(self):
        try:
            with open(self._position_path, encoding="ascii") as handle:
                number, offset = json.load(handle)
        except (OSError, ValueError):
            return 0, 0
        return number, offset


def _unless(stopping):
    if stopping.is_set():
        raise Closed
