"""What Logstash's pipelines make of the records that Filebeat sends, and what its files say."""

from __future__ import annotations

import json
import pathlib
import re

import pipelines
import pytest
import yaml

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ECS = {
    "@timestamp": "2026-11-24T09:00:00.500Z",
    "log.level": "WARN",
    "log.logger": "shop.cart",
    "message": "cart is empty",
    "service.name": "cart-api",
    "service.version": "1.4.2",
    "service.environment": "production",
    "trace.id": TRACE.upper(),
    "span.id": "00f067aa0ba902b7",
    "event.sequence": 17,
    "http.request.method": "GET",
    "http.response.status_code": 404,
    "error": {"type": "ValueError", "message": "no items", "stack_trace": "Traceback"},
    "labels": {"tenant": "acme"},
    "order": {"id": 7},
}


def flat(value, prefix: str = "") -> dict:
    """Return an event's data as names with dots."""
    if not isinstance(value, dict):
        return {prefix: value if isinstance(value, (int, float, bool, list)) else str(value)}
    return {name: inner for key, item in value.items() for name, inner in flat(item, f"{prefix}.{key}" if prefix else key).items()}


def document(message, text_format="json", dataset="shop", sender="app1", fields=None, **variables) -> dict:
    """Return the document that is stored of a line."""
    text = message if isinstance(message, str) else json.dumps(message)
    return flat(pipelines.through(pipelines.beat(text, text_format, dataset, **(fields or {})), sender, **variables).data)


def events(peer: str) -> list[str]:
    return (FIXTURES / "alertmanager-0.33.1" / f"{peer}.jsonl").read_text(encoding="utf-8").splitlines()


def test_a_record_in_ecs_names_keeps_all_that_it_says():
    """Whole: dotted names become objects, unknown names become labels, and the shipper's word on place and service stands."""
    assert document(ECS) == {
        "@timestamp": "2026-11-24T09:00:00.500Z",
        "message": "cart is empty",
        "host.name": "app1",
        "data_stream.type": "logs",
        "data_stream.dataset": "shop",
        "data_stream.namespace": "lab",
        "service.name": "shop",
        "service.version": "1.4.2",
        "deployment.environment": "production",
        "event.dataset": "shop",
        "event.created": "2026-11-24T10:00:00.123Z",
        "event.sequence": 17,
        "log.level": "warn",
        "log.logger": "shop.cart",
        "log.file.path": "/var/log/shop/shop.jsonl",
        "log.offset": 0,
        "trace.id": TRACE,
        "span.id": "00f067aa0ba902b7",
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "error.type": "ValueError",
        "error.message": "no items",
        "error.stack_trace": "Traceback",
        "labels.tenant": "acme",
        "labels.order.id": 7,
    }


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"ts": 1764000000.5, "level": "error", "msg": "boom", "error": "bad"},
            {"@timestamp": "2025-11-24T16:00:00.500Z", "message": "boom", "error.message": "bad", "log.level": "error"},
        ),
        ({"time": 1764000000123, "level": 50, "msg": "pino"}, {"@timestamp": "2025-11-24T16:00:00.123Z", "log.level": "error", "message": "pino"}),
        (
            {"event": "structlog", "level": "critical", "timestamp": "2026-11-24T09:00:00Z"},
            {"message": "structlog", "log.level": "fatal", "@timestamp": "2026-11-24T09:00:00.000Z"},
        ),
        ({"message": 5, "severity": "Warning"}, {"message": "5", "log.level": "warn"}),
        ({"asctime": "2026-11-24 09:00:00,250", "levelname": "DEBUG", "message": "python"}, {"@timestamp": "2026-11-24T09:00:00.250Z", "log.level": "debug"}),
        ({"message": "x", "trace_id": TRACE, "spanId": "00f067aa0ba902b7"}, {"trace.id": TRACE, "span.id": "00f067aa0ba902b7"}),
        (
            {"message": "x", "user": "joe", "url": "/cart", "exception": "Traceback"},
            {"user.name": "joe", "url.original": "/cart", "error.stack_trace": "Traceback"},
        ),
        ({"log": "docker\n", "stream": "stdout", "time": "2026-11-24T09:00:00.000000001Z"}, {"message": "docker\n", "labels.stream": "stdout"}),
        (
            {"message": "x", "log": {"level": "TRACE", "origin": {"file": {"name": "a.py", "line": 4}}}},
            {"log.level": "trace", "log.origin.file.line": 4, "log.file.path": "/var/log/shop/shop.jsonl"},
        ),
        ({"message": "x", "tags": ["a", "b"], "labels": "one"}, {"tags": ["a", "b"], "labels.label": "one"}),
        ({"message": "x", "level": "custom"}, {"log.level": "custom"}),
        ({"message": "x", "time": "yesterday"}, {"@timestamp": "2026-11-24T10:00:00.123Z", "tags": ["time_unread"]}),
        ({"level": "info", "n": 1}, {"message": '{"level": "info", "n": 1}', "log.level": "info", "labels.n": 1}),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, dict) else "",
)
def test_other_libraries_records_come_to_the_same_names(record, expected):
    """Time, level, message, identifiers and errors have one name each."""
    got = document(record)
    assert {name: got.get(name) for name in expected} == expected


def test_a_record_cannot_speak_for_others():
    """Host, data stream and document of an event are not the record's to say, its metadata neither."""
    got = document(
        {
            "message": "x",
            "host": {"name": "hub"},
            "host.name": "hub",
            "data_stream": {"dataset": "system"},
            "event": {"dataset": "system"},
            "@metadata": {"id": "1"},
            "observatory": {"format": "x"},
        }
    )
    assert (got["host.name"], got["data_stream.dataset"], got["event.dataset"], got["service.name"]) == ("app1", "shop", "shop", "shop")


def test_the_certificate_says_which_host_it_was():
    """An event that names another host is corrected, and says so."""
    got = document({"message": "x"}, sender="app2")
    assert (got["host.name"], got["labels.host_claimed"], got["tags"]) == ("app2", "app1", ["host_corrected"])
    assert "tags" not in document({"message": "x"})


def test_a_shipper_cannot_say_what_the_pipelines_keep_in_metadata():
    """Every name that they use there is emptied first, so that a shipper with a certificate is no other host and forges no identity."""
    files = pipelines.role_files()
    texts = [entry["content"] for path, entry in files.items() if path.startswith(pipelines.FOLDER)]
    used = {name for text in texts for name in re.findall(r"\[@metadata\]\[([a-z_]+)\]", text)} - {"input"}
    values = pipelines.beat(json.dumps({"message": "x"}))
    plain = pipelines.through({**values})
    event = pipelines.received(values)
    event.metadata.update(dict.fromkeys(used, "forged"))
    for name in ("input", "route", "output"):
        pipelines.filters(name).run(event)
    assert flat(event.data) == flat(plain.data)
    assert {name: event.metadata.get(name) for name in used} == {name: plain.metadata.get(name) for name in used}


def test_a_subject_in_another_order_or_without_a_name_is_read_too():
    """The name is found wherever it stands; without one the host is called unknown, not what the event says."""
    for subject, host in (
        ("O=Observatory lab,OU=filebeat,CN=app7", "app7"),
        ("CN=app8", "app8"),
        ("O=Observatory lab", "unknown"),
        ("OU=x\\,CN=app1,CN=app9", "app9"),
    ):
        event = pipelines.received(pipelines.beat("x"))
        event.metadata["input"]["beats"]["tls"]["client"]["subject"] = subject
        pipelines.filters("input").run(event)
        assert event.get("[host][name]") == host


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '<165>1 2026-11-24T09:00:00.003Z web1 shop 8710 ID47 [x@1 a="b\\]c"] \ufeffAn event',
            {
                "@timestamp": "2026-11-24T09:00:00.003Z",
                "message": "An event",
                "log.level": "notice",
                "log.syslog.priority": 165,
                "log.syslog.severity.code": 5,
                "log.syslog.severity.name": "notice",
                "log.syslog.facility.code": 20,
                "log.syslog.facility.name": "local4",
                "log.syslog.hostname": "web1",
                "log.syslog.appname": "shop",
                "log.syslog.msgid": "ID47",
                "process.name": "shop",
                "process.pid": 8710,
                "labels.structured_data": '[x@1 a="b\\]c"]',
                "host.name": "app1",
                "data_stream.dataset": "legacy",
            },
        ),
        ("<13>1 - - - - - - only text", {"message": "only text", "log.level": "notice", "@timestamp": "2026-11-24T10:00:00.123Z"}),
        ("<34>Nov 24 09:00:00 web1 su[12]: failed: root", {"message": "failed: root", "log.level": "fatal", "process.pid": 12, "process.name": "su"}),
        ("Nov  4 09:00:00 web1 cron: ran", {"message": "ran", "process.name": "cron"}),
        ("2026-11-24T09:00:00.1+01:00 web1 app: x", {"@timestamp": "2026-11-24T08:00:00.100Z", "message": "x"}),
    ],
)
def test_syslog_is_read_in_both_forms(line, expected):
    """RFC 5424 and RFC 3164, with a priority or without, as network and files have it."""
    got = document(line, "syslog", "legacy")
    assert {name: got.get(name) for name in expected} == expected
    assert got["data_stream.dataset"] == "legacy"


@pytest.mark.parametrize(
    ("line", "text_format", "dataset", "reason"),
    [
        ("no json", "json", "shop", "the line is no object in JSON"),
        ('{"broken": ', "json", "shop", "the line is no object in JSON"),
        ("[1, 2]", "json", "shop", "the line is no object in JSON"),
        ("garbage", "syslog", "legacy", "the line is neither RFC 5424 nor RFC 3164"),
        ('{"message": "x"}', "json", "nobody", "there is no dataset of this name: it is none of the platform's and no service of services.yml"),
        ('{"data": {}}', "alertmanager", "alertmanager.events", "only a host of Alertmanager may write to the dataset alertmanager.events"),
    ],
)
def test_what_cannot_be_read_is_kept_with_the_reason(line, text_format, dataset, reason):
    """In the dataset unparsed, as it came, with the dataset that it was meant for."""
    got = document(line, text_format, dataset)
    expected = {
        "message": line,
        "data_stream.dataset": "unparsed",
        "event.dataset": "unparsed",
        "error.type": "unparsed",
        "error.message": reason,
        "labels.dataset": dataset,
        "host.name": "app1",
    }
    assert {name: got.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        ('time=2026-11-24T09:00:00Z level=WARN msg="slow"', {"systemd": {"unit": "prometheus.service"}}, {"log.level": "warn", "service.name": "prometheus"}),
        ("[ERROR][logstash.agent][main] broken", {"systemd": {"unit": "logstash.service"}}, {"log.level": "error", "service.name": "logstash"}),
        ("2026/11/24 09:00:00 [crit] 12#12: *3 no memory", {"systemd": {"unit": "gateway.service"}}, {"log.level": "fatal"}),
        (
            json.dumps(
                {
                    "@timestamp": "2026-11-24T09:00:00Z",
                    "log.level": "INFO",
                    "message": "started",
                    "service.name": "ES_ECS",
                    "event.dataset": "elasticsearch.server",
                    "elasticsearch.node.name": "hub",
                }
            ),
            {"systemd": {"unit": "elasticsearch.service"}},
            {
                "message": "started",
                "log.level": "info",
                "service.name": "elasticsearch",
                "event.dataset": "observatory",
                "labels.elasticsearch.node.name": "hub",
            },
        ),
        (
            json.dumps({"level": "info", "ts": "2026-11-24T09:00:00Z", "caller": "a.go:1", "msg": "ready"}),
            {"systemd": {"unit": "jaeger.service"}},
            {"message": "ready", "@timestamp": "2026-11-24T09:00:00.000Z"},
        ),
        ('{"cut off', {"systemd": {"unit": "jaeger.service"}}, {"message": '{"cut off', "data_stream.dataset": "observatory", "log.level": "info"}),
        (
            "plain words",
            {"systemd": {"unit": "pack@3.service"}, "journald": {"process": {"name": "pack"}, "custom": {"secret": "x"}}},
            {"service.name": "pack", "process.name": "pack", "log.level": "info"},
        ),
    ],
)
def test_the_platforms_own_lines_have_level_and_service(line, fields, expected):
    """From the journal: JSON, logfmt and other lines, with the level of the text, else of the journal."""
    got = document(line, "journal", "observatory", fields={"log": {"syslog": {"priority": 6}}, **fields})
    assert {name: got.get(name) for name in expected} == expected
    assert not [name for name in got if name.startswith(("journald", "syslog"))]


def test_a_host_s_own_lines_have_the_journals_level():
    """The priority of the journal, and the unit or identifier as the service."""
    got = document("session opened", "journal", "system", fields={"log": {"syslog": {"priority": 4}}, "syslog": {"identifier": "sshd"}, "process": {"pid": 7}})
    assert {name: got[name] for name in ("log.level", "service.name", "data_stream.dataset", "deployment.environment", "process.pid")} == {
        "log.level": "warn",
        "service.name": "sshd",
        "data_stream.dataset": "system",
        "deployment.environment": "lab",
        "process.pid": 7,
    }
    # JSON is read here too; what names no message keeps its text.
    got = document('{"a": 1}', "journal", "system", fields={"log": {"syslog": {"priority": 6}}})
    assert (got["message"], got["labels.a"], got["log.level"]) == ('{"a": 1}', 1, "info")


def test_plain_text_gives_time_and_level():
    """Of the first line; a record of several lines keeps them."""
    got = document("2026-11-24 09:00:00,250 ERROR [main] it broke\n  INFO is no level here", "plain")
    assert (got["@timestamp"], got["log.level"], got["message"][-4:]) == ("2026-11-24T09:00:00.250Z", "error", "here")
    assert "log.level" not in document("nothing to see", "plain")


def test_a_shipper_that_says_no_format_is_guessed():
    """JSON, syslog and text are told apart by their beginning."""
    for line, name in (('{"msg": "a"}', "message"), ("<13>Nov 24 09:00:00 h app: a", "log.syslog.priority"), ("a", "message")):
        assert name in document(line, fields={"observatory": {}})


def test_alerts_become_documents_with_their_labels():
    """Whole: an event of Alertmanager as dashboards read it."""
    line = next(line for line in events("peer1") if "alertResolved" in line)
    assert document(line, "alertmanager", "alertmanager.events", sender="hub", fields={"host": {"name": "hub"}}) == {
        "@timestamp": "2026-11-24T15:30:33.893760090Z",
        "message": 'alert_resolved Disk "full" critical instance=app1:9100',
        "host.name": "hub",
        "event.action": "alert_resolved",
        "event.dataset": "alertmanager.events",
        "rule.name": 'Disk "full"',
        "log.level": "critical",
        "service.name": "alertmanager",
        "deployment.environment": "lab",
        "labels.alertname": 'Disk "full"',
        "labels.instance": "app1:9100",
        "labels.severity": "critical",
        "alertmanager.alert.fingerprint": "3542515275416497135",
        "alertmanager.alert.name": 'Disk "full"',
        "alertmanager.alert.startsAt": "2026-11-24T12:00:00Z",
        "alertmanager.alert.endsAt": "2026-11-24T12:00:00Z",
        "alertmanager.alert.resolved": True,
        "alertmanager.annotations.summary": "disk, full",
        "alertmanager.group.groupKey": '{}:{alertname="Disk \\"full\\"", instance="app1:9100"}',
        "alertmanager.receiver": "w",
        "alertmanager.group.groupId": "02cbb894d6d8e3f9df3735519dcdb8004febd1913fd3c7079a036fe3b53c6ec3",
        "data_stream.type": "logs",
        "data_stream.dataset": "alertmanager.events",
        "data_stream.namespace": "lab",
        "log.file.path": "/var/log/alertmanager/events.jsonl",
        "log.offset": 0,
    }


def test_both_forms_of_labels_come_out_the_same():
    """A list of keys and values in an object (0.33), the bare list, and an object."""
    labels = [{"key": "alertname", "value": 'A "b", {c}'}, {"key": "severity", "value": "warning"}]
    got = []
    for form in ({"labels": labels}, labels, {entry["key"]: entry["value"] for entry in labels}):
        line = json.dumps(
            {"@timestamp": "2026-11-24T09:00:00Z", "data": {"alertCreated": {"alert": {"fingerprint": "1", "labels": form}}}}, separators=(",", ":")
        )
        got.append(document(line, "alertmanager", "alertmanager.events", sender="hub", fields={"host": {"name": "hub"}}))
    assert got[0]["labels.alertname"] == got[0]["rule.name"] == 'A "b", {c}'
    assert got[0] == got[1] == got[2]


def test_every_event_of_alertmanager_is_understood():
    """Each line of a real event log has an action, and none ends among the unparsed."""
    for peer in ("peer1", "peer2"):
        for line in events(peer):
            got = document(line, "alertmanager", "alertmanager.events", sender="hub")
            assert got["data_stream.dataset"] == "alertmanager.events"
            assert got["event.action"] in got["message"]


def identity(line, host="hub", offset=0, text_format="alertmanager", dataset="alertmanager.events", fields=None):
    values = pipelines.beat(line, text_format, dataset, **(fields or {}))
    if text_format != "journal":
        values["log"]["offset"] = offset
    return pipelines.through(values, host).metadata["id"]


def test_the_peers_of_a_mesh_write_one_document():
    """The same happening has the same identity, from whichever peer and wherever it stood; another happening has another."""

    def line(action, when, start, **more):
        alert = {"fingerprint": "42", "labels": {"alertname": "A"}, "startsAt": start, **more}
        return json.dumps({"@timestamp": when, "instance": when, "data": {action: {"alert": alert}}}, separators=(",", ":"))

    one = line("alertCreated", "2026-11-24T09:00:00.1Z", "2026-11-24T08:59:00Z", endsAt="2026-11-24T09:04:00Z")
    two = line("alertCreated", "2026-11-24T09:00:00.2Z", "2026-11-24T08:59:00Z", endsAt="2026-11-24T09:04:30Z")
    assert identity(one, offset=10) == identity(two, offset=999)
    assert identity(one) != identity(line("alertCreated", "2026-11-24T09:00:00.1Z", "2026-11-24T09:30:00Z"))
    muted = [line for line in events("peer1") + events("peer2") if "inhibitionMutedAlert" in line]
    assert len(muted) > 4
    assert len({identity(line, offset=number) for number, line in enumerate(muted)}) == 1
    assert identity(muted[0]) != identity(muted[0].replace("T15:", "T16:"))


def test_a_line_that_is_sent_twice_is_one_document():
    """The same place in the same file is the same record; the next place, another file, another host is another."""
    same = {identity('{"message": "x"}', "app1", 7, "json", "shop", {"@timestamp": moment}) for moment in ("2026-11-24T10:00:00Z", "2026-11-24T10:05:00Z")}
    others = {
        identity('{"message": "x"}', "app1", 8, "json", "shop"),
        identity('{"message": "x"}', "app2", 7, "json", "shop"),
        identity('{"message": "y"}', "app1", 7, "json", "shop"),
    }
    assert len(same) == 1
    assert len(same | others) == 4
    journal = [
        identity("x", "app1", 0, "journal", "system", {"@timestamp": moment, "process": {"pid": 1}, "log": {"syslog": {"priority": 6}}})
        for moment in ("2026-11-24T10:00:00.000001Z", "2026-11-24T10:00:00.000001Z", "2026-11-24T10:00:00.000002Z")
    ]
    assert journal[0] == journal[1] != journal[2]


def test_every_document_has_an_identity():
    """A document id that were left unresolved would make all such records one."""
    event = pipelines.received(pipelines.beat("x", fields={}))
    for name in ("output", "refused"):
        event.metadata.pop("id", None)
        pipelines.filters(name).run(event)
        assert len(event.metadata["id"]) == 36


def test_what_elasticsearch_refuses_is_stored_as_text():
    """With Elasticsearch's answer; no field of the record that may be refused again is left."""
    event = pipelines.through(pipelines.beat('{"message": "x", "http": "wrong", "user": {"id": [1]}}'))
    answer = '{"create"=>{"status"=>400, "error"=>{"type"=>"document_parsing_exception", "reason"=>"object mapping for [http] tried to parse"}}}'
    event.metadata["dead_letter_queue"] = {
        "reason": f'Could not index event to Elasticsearch. status: 400, action: ["create", {{:_id=>"1"}}, {{"message"=>"x, response: y"}}], response: {answer}'
    }
    pipelines.filters("refused").run(event)
    assert flat(event.data) == {
        "@timestamp": "2026-11-24T10:00:00.123Z",
        "message": '{"message": "x", "http": "wrong", "user": {"id": [1]}}',
        "host.name": "app1",
        "service.name": "shop",
        "event.dataset": "unparsed",
        "data_stream.type": "logs",
        "data_stream.dataset": "unparsed",
        "data_stream.namespace": "lab",
        "labels.dataset": "shop",
        "error.type": "refused",
        "error.message": answer,
    }


def test_a_site_s_filters_run_after_parsing_and_before_the_data_stream_is_decided():
    """logstash_filters may use the record's fields and choose another known data stream."""
    filters = 'if [log][level] == "debug" {\n  mutate { add_tag => ["noise"] replace => { "[data_stream][dataset]" => "legacy" } }\n}'
    got = document({"level": "DEBUG", "message": "x"}, logstash_filters=filters)
    assert (got["tags"], got["data_stream.dataset"], got["event.dataset"]) == (["noise"], "legacy", "legacy")


def test_nothing_is_lost_between_pipelines_and_nothing_unmasked_reaches_a_disk():
    """Each pipeline that hands records on has a queue that outlives the process; the first one's is in memory, and it has no dead letter queue."""
    files = pipelines.role_files()
    found = {entry["pipeline.id"]: entry for entry in yaml.safe_load(files["/etc/logstash/pipelines.yml"]["content"])}
    assert list(found) == ["input", "route", "output", "refused"]
    assert {found[name]["queue.type"] for name in ("input", "route", "output")} == {"persisted"}
    assert found["input"]["path.queue"].startswith("/run/logstash/")
    assert found["input"]["dead_letter_queue.enable"] is False
    assert not [name for name in ("route", "output") if "path.queue" in found[name]]
    unit = files["/etc/systemd/system/logstash.service"]["content"]
    assert "RuntimeDirectory=logstash\n" in unit
    assert "RuntimeDirectoryPreserve=yes\n" in unit


def test_the_password_is_in_one_file_that_only_root_reads():
    """The pipelines name it, systemd reads it."""
    files = pipelines.role_files(elasticsearch_password_logstash='pa"ss$w\\x')
    holders = [path for path, entry in files.items() if "ss$w" in entry["content"] or "ss\\$w" in entry["content"]]
    assert holders == ["/etc/logstash/environment"]
    assert files["/etc/logstash/environment"]["content"].splitlines()[-1] == 'ELASTICSEARCH_PASSWORD="pa\\"ss\\$w\\\\x"'
    assert (files["/etc/logstash/environment"]["mode"], files["/etc/logstash/environment"]["owner"]) == ("0600", "root")


@pytest.mark.parametrize(("version", "sees"), [("9.5.0", True), ("9.4.3", False)])
def test_renewed_certificates_are_seen_by_releases_that_can(version, sees):
    """From 9.5 on; an unknown setting would keep older ones from starting."""
    settings = yaml.safe_load(pipelines.role_files(logstash_version=version)["/etc/logstash/logstash.yml"]["content"])
    assert ("ssl.reload.automatic" in settings) is sees


def test_the_key_for_elasticsearch_says_that_it_is_an_elliptic_one():
    """Logstash's client takes a key without a label for RSA (logstash#19385)."""
    certificate = {"certificate": "c", "authority": "a", "key": "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"}
    files = pipelines.role_files(__logstash_certificate=certificate)
    assert files["/etc/logstash/tls/client.key"]["content"] == "-----BEGIN EC PRIVATE KEY-----\nMIGH\n-----END EC PRIVATE KEY-----\n"
    assert files["/etc/logstash/tls/server.key"]["content"] == certificate["key"]
