"""What Filebeat reads on a host, worked out from the inventory and services.yml. Plain data in, plain data out; no Ansible here.

Each input marks its lines with the data stream that they belong to and with their format. Nothing is parsed here: Logstash takes secrets out of
the raw text first.
"""

from __future__ import annotations

import re
import typing as t

from . import scrape

# Longer ones tell more files apart, but a file is read only when it has that many bytes: two or three lines of JSON. Releases that read shorter
# files too have the same fingerprints from there on.
FINGERPRINT_BYTES = 256
# A reader that waits for Logstash is closed as well when this has passed, and what it has not read of a rotated file waits for the next start.
# Until then a file that was deleted takes its place on the disk.
CLOSE_INACTIVE = "1h"
LOOK_INTERVAL = "1s"
COMPRESSED = r"\.(gz|bz2|xz|zst|zip)$"
# What logrotate and the usual libraries append: app.log.1, app.log-20261124, app.log.2026-11-24.
ROTATED = (".[0-9]*", "-[0-9]*")
EVENT_LOG = "/var/log/alertmanager/events.jsonl"
JOURNAL_ID = "journal"
EVENT_LOG_ID = "alertmanager-events"


class LogInputError(Exception):
    """What is wrong, with the variable's path."""


def marks(dataset: str, site: str, text_format: str, service: str = "") -> dict[str, t.Any]:
    """Return the fields that an input's lines carry into Logstash."""
    fields: dict[str, t.Any] = {
        "data_stream": {"type": "logs", "dataset": dataset, "namespace": site},
        "observatory": {"format": text_format},
    }
    if service:
        fields["service"] = {"name": service}
    return fields


def journal(site: str, units: t.Sequence[str], hours: int) -> dict[str, t.Any]:
    """Return the input of the journal; lines of the platform's own units go to a data stream of their own."""
    platform = "|".join(re.escape(unit) for unit in sorted(units))
    return {
        "type": "journald",
        "id": JOURNAL_ID,
        "seek": "since",
        "since": f"-{hours}h",
        "fields_under_root": True,
        "fields": marks("system", site, "journal"),
        "processors": [
            {
                "add_fields": {
                    "when": {"regexp": {"systemd.unit": rf"^({platform})\.service$"}},
                    "target": "data_stream",
                    "fields": {"dataset": "observatory"},
                }
            }
        ],
    }


def file(name: str, paths: t.Sequence[str], fields: dict[str, t.Any], days: int, multiline: str = "") -> dict[str, t.Any]:
    """Return the input of files, those included that a rotation has renamed."""
    entry: dict[str, t.Any] = {
        "type": "filestream",
        "id": name,
        "paths": rotated(paths),
        "fields_under_root": True,
        "fields": fields,
        # By content: an inode number comes back with the next file, and its position would belong to another one.
        "file_identity": {"fingerprint": None},
        "prospector": {
            "scanner": {
                "check_interval": LOOK_INTERVAL,
                "exclude_files": [COMPRESSED],
                "fingerprint": {"enabled": True, "offset": 0, "length": FINGERPRINT_BYTES},
            }
        },
        "backoff": {"init": LOOK_INTERVAL, "max": LOOK_INTERVAL},
        "ignore_older": f"{days * 24}h",
        # What is left of a file that was deleted or compressed is read to its end.
        "close": {"on_state_change": {"removed": False, "renamed": False, "inactive": CLOSE_INACTIVE}},
    }
    if multiline:
        entry["parsers"] = [{"multiline": {"type": "pattern", "pattern": multiline, "negate": True, "match": "after"}}]
    return entry


def rotated(paths: t.Sequence[str]) -> list[str]:
    """Return the patterns of files and of what they become when they are rotated."""
    found = []
    for path in paths:
        found += [path] + [path + ending for ending in ROTATED if not path.endswith("*")]
    return found


def build(
    host: str,
    site: str,
    declared: t.Mapping[str, t.Mapping[str, t.Any]],
    hosts: scrape.Hosts,
    units: t.Sequence[str],
    *,
    hours: int,
    days: int,
    event_log: bool = False,
) -> dict[str, t.Any]:
    """Return {inputs, groups} of a host: Filebeat's inputs, and the groups whose files it has to read.

    declared: observatory_services. event_log: whether the host's Alertmanager writes one.
    """
    inputs = [journal(site, units, hours)]
    groups = set()
    if event_log:
        inputs.append(file(EVENT_LOG_ID, [EVENT_LOG], marks("alertmanager.events", site, "alertmanager", "alertmanager"), days))
        groups.add("alertmanager")
    readers: dict[str, str] = {}
    for name, service in sorted(declared.items()):
        logs = service.get("logs")
        if not logs or host not in scrape.expand(service.get("hosts") or [], hosts, f"observatory_services.{name}.hosts"):
            continue
        variable = f"observatory_services.{name}.logs"
        for number, path in enumerate(logs["paths"]):
            if not path.startswith("/"):
                raise LogInputError(f"{variable}.paths[{number}]: {path!r} is not absolute; write it from / on")
            if readers.setdefault(path, name) != name:
                raise LogInputError(f"{variable}.paths[{number}]: {path!r} is read for {readers[path]} already; a file belongs to one service")
        text_format = logs.get("format") or "json"
        if logs.get("multiline") and text_format != "plain":
            raise LogInputError(f"{variable}.multiline needs the format plain: records of {text_format} have one line each")
        inputs.append(file(f"service-{name}", logs["paths"], marks(name, site, text_format, name), days, logs.get("multiline") or ""))
        if logs.get("group"):
            groups.add(logs["group"])
    return {"inputs": inputs, "groups": sorted(groups)}
