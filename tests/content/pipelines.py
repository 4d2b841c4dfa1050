"""The filters of the role logstash as it renders them, run by the lab's stand-in for Logstash."""

from __future__ import annotations

import functools
import json
import pathlib
import sys
import tempfile
import typing as t

import rendered

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "lab" / "standins" / "logstash" / "lib"))

from logstash import pipeline  # noqa: E402  it lies outside of the test's own folders
from logstash.bus import Bus  # noqa: E402
from logstash.event import Event  # noqa: E402
from logstash.settings import Settings  # noqa: E402

FOLDER = "/etc/logstash/pipelines/"
SERVICES = {
    "shop": {"team": "shop", "logs": {"paths": ["/var/log/shop/*.jsonl"]}},
    "legacy": {"team": "shop", "logs": {"paths": ["/var/log/legacy.log"], "format": "syslog"}},
}
SUBJECT = "CN={0},OU=filebeat,O=Observatory lab"


def role_files(**values: t.Any) -> dict[str, dict]:
    """Return the role's files for the lab's hub with two services."""
    return rendered.role_files("logstash", **{"observatory_elasticsearch_urls": ["https://192.0.2.1:9200"], "observatory_services": SERVICES, **values})


class Filters:
    """The filter section of one rendered pipeline; `run` takes and returns an event."""

    def __init__(self, name: str, text: str, folder: pathlib.Path):
        # The real places hold certificates and queues that only a host has.
        for real in ("/etc/logstash/tls/", "/var/lib/logstash/"):
            text = text.replace(real, f"{folder}{real}")
        settings = Settings({"pipeline.id": name, "pipeline.workers": 1, "pipeline.ecs_compatibility": "v8", "path.data": str(folder)})
        config = pipeline.PipelineConfig(name, settings, ((f"{name}.conf", text),))
        plan = pipeline.Plan(config, pipeline.Context(name, settings, Bus()), {"ELASTICSEARCH_PASSWORD": "unused"})
        self._pipeline = pipeline.Pipeline(plan)
        for plugin in plan.plugins["filter"]:
            plugin.register()
        self._run = self._pipeline._filters(plan.filters)

    def run(self, event: Event) -> Event:
        self._run(event)
        return event


@functools.cache
def _folder() -> pathlib.Path:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pipelines-"))
    for name in ("ca.crt", "server.crt", "server.key", "client.key"):
        path = folder / "etc/logstash/tls" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (folder / "var/lib/logstash/dead_letter_queue").mkdir(parents=True)
    return folder


@functools.cache
def _filters(name: str, values: str) -> Filters:
    return Filters(name, role_files(**json.loads(values))[f"{FOLDER}{name}.conf"]["content"], _folder())


def filters(name: str, **values: t.Any) -> Filters:
    """Return a pipeline's filters, with further variables of the role."""
    return _filters(name, json.dumps(values, sort_keys=True))


def beat(message: str, text_format: str = "json", dataset: str = "shop", **fields: t.Any) -> dict:
    """Return what Filebeat sends of a line of a file."""
    service, _, part = dataset.partition(".")
    event = {
        "@timestamp": "2026-11-24T10:00:00.123Z",
        "@metadata": {"beat": "filebeat", "type": "_doc", "version": "9.0.0"},
        "message": message,
        "host": {"name": "app1"},
        "log": {"file": {"path": f"/var/log/{service}/{part or service}.jsonl", "fingerprint": "f" * 64, "inode": "42"}, "offset": 0},
        "data_stream": {"type": "logs", "dataset": dataset, "namespace": "lab"},
        "service": {"name": service},
        "observatory": {"format": text_format},
    }
    if text_format == "journal":
        del event["log"], event["service"]
    return {**event, **fields}


def received(values: dict, sender: str = "app1") -> Event:
    """Return the event that the input makes of it, from a host with that certificate."""
    event = Event.new({**values})
    event.metadata.update(
        {"input": {"beats": {"tls": {"client": {"subject": SUBJECT.format(sender)}}, "host": {"ip": "192.0.2.7"}}}, "tls_peer": {"status": "verified"}}
    )
    return event


def through(values: dict, sender: str = "app1", until: str = "output", **variables: t.Any) -> Event:
    """Return the event after the pipelines, up to that one."""
    event = received(values, sender)
    for name in ("input", "route", "output"):
        filters(name, **variables).run(event)
        if name == until:
            break
    return event
