"""Logstash's own log, on stdout, in its two formats."""

import json
import sys
import threading
import time

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


class Logs:
    """Where loggers write to, and from which level on."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stdout
        self.level = LEVELS.index("info")
        self.json = False
        self.dated = True
        self._lock = threading.Lock()

    def configure(self, level, form):
        self.level = LEVELS.index(level)
        self.json = form == "json"

    def write(self, level, name, message, details, pipeline):
        now = time.time()
        if self.json:
            entry = {"level": level.upper(), "loggerName": name, "timeMillis": int(now * 1000), "thread": threading.current_thread().name}
            if pipeline:
                entry["pipeline.id"] = pipeline
            line = json.dumps(entry | {"logEvent": {"message": message} | details}, default=str)
        else:
            stamp = time.strftime("[%Y-%m-%dT%H:%M:%S", time.localtime(now)) + f",{int(now * 1000) % 1000:03}]" if self.dated else ""
            line = f"{stamp}[{level.upper():5}][{name:25}]{f'[{pipeline}]' if pipeline else ''} {message}"
            if details:
                line += f" {inspect({Symbol(key): value for key, value in details.items()})}"
        with self._lock:
            try:
                print(line, file=self.stream, flush=True)
            except (OSError, ValueError):
                # Whoever read the log has gone; the work goes on.
                pass


LOGS = Logs()


class Symbol(str):
    """A name that Ruby prints with a colon."""


class Logger:
    """Writes one component's lines."""

    def __init__(self, name, pipeline=None, logs=LOGS):
        self._name, self._pipeline, self._logs = name, pipeline, logs

    def log(self, level, message, /, **details):
        if LEVELS.index(level) >= self._logs.level:
            self._logs.write(level, self._name, message, details, self._pipeline)

    def debug(self, message, /, **details):
        self.log("debug", message, **details)

    def info(self, message, /, **details):
        self.log("info", message, **details)

    def warn(self, message, /, **details):
        self.log("warn", message, **details)

    def error(self, message, /, **details):
        self.log("error", message, **details)

    def fatal(self, message, /, **details):
        self.log("fatal", message, **details)


def inspect(value):
    """Return a value as Ruby prints it: a hash with arrows, a missing value as nil."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Symbol):
        return f":{value}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inspect(key)}=>{inspect(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(inspect, value)) + "]"
    if isinstance(value, BaseException):
        return f"#<{type(value).__name__}: {value}>"
    return str(value)
