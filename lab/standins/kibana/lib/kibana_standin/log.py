"""Log records on standard output: Kibana's pattern, or ECS JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from .settings import LEVELS, Settings

RANK = {"trace": 0, "debug": 1, "info": 2, "warn": 3, "error": 4, "fatal": 5}


class Log:
    """Writes what is at least as important as the level of the root logger."""

    def __init__(self, settings: Settings, stream=None, clock=time.time):
        self._stream = stream or sys.stdout
        self._clock = clock
        self._lock = threading.RLock()
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Take over the settings of the logging, as Kibana does on SIGHUP."""
        level = str(settings["logging.root.level"])
        assert level in LEVELS
        self._least = {"all": 0, "off": 99}.get(level, RANK.get(level, 2))
        chosen = (settings["logging.root.appenders"] or ["default"])[0]
        self._json = settings[f"logging.appenders.{chosen}.layout.type"] == "json"

    def __call__(self, level: str, logger: str, message: str) -> None:
        if RANK[level] < self._least:
            return
        now = self._clock()
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
        if self._json:
            line = json.dumps({
                "@timestamp": moment + "Z", "message": message, "ecs": {"version": "9.3.0"}, "service": {"name": "kibana"},
                "log": {"level": level.upper(), "logger": logger}, "process": {"pid": os.getpid()},
            }, ensure_ascii=False)
        else:
            line = f"[{moment}+00:00][{level.upper():<5}][{logger}] {message}"
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()
