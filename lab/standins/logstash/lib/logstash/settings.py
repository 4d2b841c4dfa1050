"""The settings of logstash.yml, pipelines.yml and the command line: each with its type, an unknown one refused by name."""

import os
import re
import socket
from pathlib import Path

from . import HOME, yamlfile
from .errors import BootstrapCheckError, SettingError
from .substitution import replace_deep

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", 1):
    _UNITS[_letter] = _UNITS[_letter + "b"] = 1024**_power
_TIMES = {"nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def _boolean(name, value):
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise SettingError(f'Setting "{name}" must be a boolean. Received: {value} ({type(value).__name__})')


def _text(name, value):
    if isinstance(value, str):
        return value
    raise SettingError(f'Setting "{name}" must be a String. Received: {value} ({type(value).__name__})')


def _coercible(name, value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(name, value):
    try:
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        raise SettingError(f'Failed to coerce value to Numeric. Received {value} ({type(value).__name__}) for setting "{name}"') from None


def _positive(name, value):
    number = _number(name, value)
    if number < 1 or int(number) != number:
        raise SettingError(f'Number must be bigger than 0. Received: {value} for setting "{name}"')
    return int(number)


def _bytes(name, value):
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", str(value).lower())
    if isinstance(value, bool) or not found or found[2] not in _UNITS:
        raise SettingError(f'Invalid byte value `{value}` for setting "{name}": a number with kb, mb, gb, … is expected')
    return int(float(found[1]) * _UNITS[found[2]])


def seconds(name, value):
    """Return seconds; a bare number is read as nanoseconds, as the product does."""
    found = re.fullmatch(r"(-?[0-9]+)\s*([a-z]*)", str(value))
    if isinstance(value, bool) or not found or (found[2] and found[2] not in _TIMES):
        raise SettingError(f'Invalid time value `{value}` for setting "{name}": a number with ms, s, m, h or d is expected')
    return int(found[1]) * _TIMES[found[2] or "nanos"]


def _ports(name, value):
    found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", str(value))
    if found and 1 <= int(found[1]) <= int(found[2] or found[1]) <= 65535:
        return range(int(found[1]), int(found[2] or found[1]) + 1)
    raise SettingError(f'Invalid value for "{name}": "{value}". Valid options are within the range of 1-65535')


def _directory(name, value):
    path = Path(_text(name, value))
    parent = path if path.is_dir() else path.parent
    if path.exists() and not path.is_dir():
        raise SettingError(f'Path "{path}" must be a writable directory. It is not a directory. (setting "{name}")')
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise SettingError(f'Path "{path}" must be a writable directory. It is not writable. (setting "{name}")')
    return str(path)


def _list(name, value):
    if isinstance(value, list):
        return value
    raise SettingError(f'Setting "{name}" must be a Array. Received: {value} ({type(value).__name__})')


def _settings():
    """Return name -> (reader, default, allowed values)."""
    table = {
        "allow_superuser": (_boolean, False), "node.name": (_text, socket.gethostname()), "path.config": (_text, None),
        "path.data": (_directory, str(HOME / "data")), "path.logs": (_text, str(HOME / "logs")), "path.settings": (_text, str(HOME / "config")),
        "path.queue": (_directory, None), "path.dead_letter_queue": (_directory, None), "path.plugins": (_list, []),
        "config.string": (_text, None), "config.test_and_exit": (_boolean, False), "config.reload.automatic": (_boolean, False),
        "config.reload.interval": (seconds, 3.0), "config.support_escapes": (_boolean, False), "config.debug": (_boolean, False),
        "config.field_reference.escape_style": (_text, "none", ("none",)), "ssl.reload.automatic": (_boolean, False),
        "metric.collect": (_boolean, True), "pipeline.id": (_text, "main"), "pipeline.system": (_boolean, False),
        "pipeline.workers": (_positive, os.cpu_count() or 1), "pipeline.batch.size": (_positive, 125), "pipeline.batch.delay": (_number, 50),
        "pipeline.batch.output_chunking.growth_threshold_factor": (_positive, 1000), "pipeline.unsafe_shutdown": (_boolean, False),
        "pipeline.reloadable": (_boolean, True), "pipeline.recoverable": (_coercible, "false", ("auto", "true", "false")),
        "pipeline.plugin_classloaders": (_boolean, False), "pipeline.separate_logs": (_boolean, False, (False,)),
        "pipeline.ordered": (_coercible, "auto", ("auto", "true", "false")), "pipeline.ecs_compatibility": (_text, "v8", ("disabled", "v1", "v8")),
        "pipeline.batch.metrics.sampling_mode": (_text, "minimal", ("disabled", "minimal", "full")),
        "pipeline.buffer.type": (_text, "heap", ("direct", "heap")),
        "log.level": (_text, "info", ("fatal", "error", "warn", "info", "debug", "trace")), "log.format": (_text, "plain", ("json", "plain")),
        "log.format.json.fix_duplicate_message_fields": (_boolean, True),
        "api.enabled": (_boolean, True), "api.http.host": (_text, "127.0.0.1"), "api.http.port": (_ports, range(9600, 9701)),
        "api.environment": (_text, "production"), "api.auth.type": (_text, "none", ("none",)), "api.ssl.enabled": (_boolean, False, (False,)),
        "queue.type": (_text, "memory", ("persisted", "memory")), "queue.drain": (_boolean, False), "queue.page_capacity": (_bytes, 64 << 20),
        "queue.max_bytes": (_bytes, 1024 << 20), "queue.max_events": (_number, 0), "queue.checkpoint.acks": (_number, 1024),
        "queue.checkpoint.writes": (_number, 1024), "queue.checkpoint.interval": (_number, 1000), "queue.checkpoint.retry": (_boolean, True),
        "queue.compression": (_text, "none", ("none", "disabled")),
        "dead_letter_queue.enable": (_boolean, False), "dead_letter_queue.max_bytes": (_bytes, 1024 << 20),
        "dead_letter_queue.flush_interval": (_number, 5000), "dead_letter_queue.flush_check_interval": (_number, 1000),
        "dead_letter_queue.storage_policy": (_text, "drop_newer", ("drop_newer", "drop_older")), "dead_letter_queue.retain.age": (seconds, None),
        "monitoring.cluster_uuid": (_text, None), "keystore.file": (_text, None), "otel.metrics.enabled": (_boolean, False, (False,)),
        "xpack.monitoring.enabled": (_boolean, False, (False,)), "xpack.monitoring.allow_legacy_collection": (_boolean, False, (False,)),
        "xpack.management.enabled": (_boolean, False, (False,)), "xpack.geoip.downloader.enabled": (_boolean, True),
    }
    table |= {f"slowlog.threshold.{level}": (seconds, -1e-9) for level in ("warn", "info", "debug", "trace")}
    return {name: (*entry, None)[:3] for name, entry in table.items()}


SETTINGS = _settings()
# What pipelines.yml may set for one pipeline.
OF_A_PIPELINE = frozenset(
    name for name in SETTINGS
    if name.startswith(("dead_letter_queue.", "queue."))
    or name in (
        "config.debug", "config.support_escapes", "config.string", "metric.collect", "pipeline.plugin_classloaders", "path.config", "path.dead_letter_queue",
        "path.queue", "pipeline.batch.delay", "pipeline.batch.metrics.sampling_mode", "pipeline.batch.size", "pipeline.id", "pipeline.reloadable",
        "pipeline.system", "pipeline.workers", "pipeline.ordered", "pipeline.ecs_compatibility",
    )
)


class Settings:
    """Values by name: what was set, else the default."""

    def __init__(self, values=None):
        self._values = dict(values or {})

    def set(self, name, value):
        if name not in SETTINGS:
            raise SettingError(f'Setting "{name}" doesn\'t exist. Please check if you haven\'t made a typo.')
        reader, _default, allowed = SETTINGS[name]
        if value is None:
            self._values.pop(name, None)
            return
        read = reader(name, value)
        if allowed and read not in allowed:
            words = ", ".join(map(str, allowed))
            raise SettingError(f'Invalid value "{name}: {value}" . Options are: [{words}]')
        self._values[name] = read

    def __eq__(self, other):
        return isinstance(other, Settings) and self._values == other._values

    __hash__ = None

    def __getitem__(self, name):
        if name in self._values:
            return self._values[name]
        if name in ("path.queue", "path.dead_letter_queue"):
            return os.path.join(self["path.data"], name.removeprefix("path."))
        return SETTINGS[name][1]

    def with_pipeline(self, values):
        """Return these settings with those of one entry of pipelines.yml."""
        changed = Settings(self._values)
        for name, value in flatten(values).items():
            if name not in OF_A_PIPELINE:
                raise SettingError(f'Only pipeline related settings are expected. Received "{name}". Allowed settings: {sorted(OF_A_PIPELINE)}')
            changed.set(name, value)
        return changed


def flatten(value, prefix=""):
    """Return nested mappings as one with dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    found = {}
    for key, item in value.items():
        found |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return found


def read_settings(folder, variables):
    """Return the settings of a folder's logstash.yml; raises SettingError naming key or line."""
    path = Path(folder, "logstash.yml")
    settings = Settings()
    settings.set("path.settings", str(folder))
    try:
        content = yamlfile.load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yamlfile.YamlError) as error:
        raise SettingError(f'Failed to load settings file from "path.settings". Aborting... {{"path.settings"=>"{folder}", "message"=>"{error}"}}') from None
    if not isinstance(content, dict):
        raise SettingError(f"{path} must hold settings, 'name: value'")
    for name, value in replace_deep(flatten(content), variables).items():
        settings.set(name, value)
    return settings


def check(settings):
    """Raise BootstrapCheckError for settings that do not go together."""
    if settings["ssl.reload.automatic"] and not settings["config.reload.automatic"]:
        raise BootstrapCheckError("`ssl.reload.automatic: true` requires `config.reload.automatic: true` or Centralized Pipeline Management to be enabled.")
    check_queue(settings)


def check_queue(settings):
    """Raise BootstrapCheckError for a queue that could not hold a page."""
    if settings["queue.type"] == "persisted" and settings["queue.page_capacity"] > settings["queue.max_bytes"]:
        raise BootstrapCheckError(
            f"Invalid configuration, 'queue.max_bytes' ({settings['queue.max_bytes']}) must be equal or greater than 'queue.page_capacity' "
            f"({settings['queue.page_capacity']}) (pipeline {settings['pipeline.id']})"
        )
