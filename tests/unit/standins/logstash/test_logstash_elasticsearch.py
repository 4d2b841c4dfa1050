"""The elasticsearch output: what it sends, and what it does with each answer."""

from __future__ import annotations

import json
import threading

import pytest
from logstash.dlq import Writer
from logstash.errors import AbortedBatch, ConfigurationError
from logstash.event import Event
from logstash.outputs import elasticsearch as elasticsearch_module
from logstash_fakes import PASSWORD, FakeElasticsearch, make_settings, plan, wait_for

MOMENT = "2026-11-24T10:00:00.000Z"


def make(tmp_path, certificates, url: str, options: str = "", letters: bool = False):
    """Return a registered output with quick retries."""
    settings = make_settings(tmp_path, queue__type="persisted")
    made = plan(f"""output {{ elasticsearch {{
        id => "out" hosts => ["{url}"] user => "logstash" password => "${{PASSWORD}}" data_stream => "true" document_id => "%{{[@metadata][id]}}"
        ssl_enabled => true ssl_certificate_authorities => ["{certificates}/ca.crt"] ssl_certificate => "{certificates}/client.crt"
        ssl_key => "{certificates}/client.key" retry_initial_interval => 0.05 retry_max_interval => 0.1 resurrect_delay => 0.05 {options}
    }} }}""", settings, variables={"PASSWORD": PASSWORD})
    if letters:
        made.context.dlq = Writer(str(tmp_path / "dlq"), settings)
    output, = made.plugins["output"]
    output.register()
    return output


@pytest.fixture
def output(tmp_path, certificates, elasticsearch, quiet):
    """Return a maker of outputs to the fake."""
    made = []

    def maker(options: str = "", letters: bool = False):
        made.append(make(tmp_path, certificates, elasticsearch.url, options, letters))
        return made[-1]

    yield maker
    for one in made:
        one.close()
        if one.context.dlq:
            one.context.dlq.close()


def event(identifier: str, **data: object) -> Event:
    return Event({"@timestamp": MOMENT, "message": identifier} | data, {"id": identifier})


def failing(status: int, kind: str, *identifiers: str, fake=None):
    """Return a judge that refuses the documents of these ids (all without any) and keeps the others."""
    def judge(items):
        good = [item for item in items if identifiers and item[0]["_id"] not in identifiers]
        _status, answer = fake.accept(good) if fake else (200, {"items": [{"create": {"status": 201}} for _ in good]})
        kept = iter(answer["items"])
        refused = {"create": {"status": status, "error": {"type": kind, "reason": "r"}}}
        return 200, {"errors": True, "items": [next(kept) if item in good else refused for item in items]}

    return judge


def test_events_go_to_the_data_stream_of_their_fields(output, elasticsearch):
    """Automatic routing; what the fields lack comes from the options, and is written into the event."""
    sender = output('data_stream_namespace => "lab"')
    sender.send([
        event("a", data_stream={"type": "metrics", "dataset": "shop", "namespace": "prod"}), event("b", data_stream={"dataset": "shop"}), event("c"),
        event("d", data_stream="text"),
    ])
    assert [parameters for parameters, _document in elasticsearch.requests[0]] == [
        {"_index": "metrics-shop-prod", "_id": "a"}, {"_index": "logs-shop-lab", "_id": "b"}, {"_index": "logs-generic-lab", "_id": "c"},
        {"_index": "logs-generic-lab", "_id": "d"},
    ]
    assert elasticsearch.documents["logs-shop-lab", "b"] == {
        "@timestamp": MOMENT, "message": "b", "data_stream": {"type": "logs", "dataset": "shop", "namespace": "lab"},
    }
    assert elasticsearch.documents["logs-generic-lab", "d"]["data_stream"] == {"type": "logs", "dataset": "generic", "namespace": "lab"}
    assert sender.stats()["documents"] == {"successes": 4}


def test_what_is_there_already_is_done_with(output, elasticsearch, quiet):
    """409: neither sent again nor kept, logged unless that is switched off."""
    sender = output()
    sender.send([event("a")])
    sender.send([event("a"), event("b")])
    assert len(elasticsearch.documents) == 2
    assert sender.stats()["documents"] == {"successes": 2, "non_retryable_failures": 1}
    assert "Failed action" in quiet.getvalue()
    quiet.truncate(0)
    output('silence_errors_in_log => ["version_conflict_engine_exception"]').send([event("a")])
    assert "Failed action" not in quiet.getvalue()


@pytest.mark.parametrize("status", [429, 503, 500, 403])
def test_documents_that_can_wait_are_sent_again(output, elasticsearch, status):
    """Only those, until they are taken."""
    elasticsearch.answers += [failing(status, "es_rejected_execution_exception", "b", fake=elasticsearch)] * 3
    sender = output()
    sender.send([event("a"), event("b")])
    assert [[parameters["_id"] for parameters, _document in request] for request in elasticsearch.requests] == [["a", "b"], ["b"], ["b"], ["b"]]
    assert sender.stats()["documents"] == {"successes": 2, "retryable_failures": 3}


@pytest.mark.parametrize("status", [400, 401, 403, 429, 502, 503])
def test_requests_that_are_refused_are_sent_again(output, elasticsearch, status, quiet):
    """Whatever the answer is."""
    elasticsearch.answers += [lambda items: (status, {"error": "no"})] * 2
    sender = output()
    sender.send([event("a")])
    assert len(elasticsearch.requests) == 3
    assert sender.stats()["bulk_requests"] == {f"responses.{status}": 2, "failures": 2, "responses.200": 1, "successes": 1}
    assert ("Encountered a retryable error" in quiet.getvalue()) is (status != 429)


@pytest.mark.parametrize("status", [400, 404])
def test_documents_that_cannot_be_kept_become_dead_letters(output, elasticsearch, status):
    """With the reason in the product's form; the others of the request are kept."""
    elasticsearch.answers.append(failing(status, "document_parsing_exception", "a", fake=elasticsearch))
    sender = output(letters=True)
    sender.send([event("a"), event("b")])
    sender.context.dlq.close()
    from logstash import dlq
    (_number, path, _size), = dlq.segments(sender.context.dlq.folder)
    (entry, _offset), = dlq.entries(path, 0)
    sender.context.dlq = None
    assert (entry["plugin_type"], entry["plugin_id"], entry["event"].data["message"]) == ("elasticsearch", "out", "a")
    assert entry["reason"].startswith(
        f'Could not index event to Elasticsearch. status: {status}, action: '
        f'["create", {{:_id=>"a", :_index=>"logs-generic-default", :routing=>nil}}, {{"@timestamp"=>'
    )
    assert entry["reason"].endswith(f'response: {{"create"=>{{"status"=>{status}, "error"=>{{"type"=>"document_parsing_exception", "reason"=>"r"}}}}}}')
    assert sender.stats()["documents"] == {"successes": 1, "dlq_routed": 1}
    assert len(elasticsearch.requests) == 1


def test_without_a_dead_letter_queue_they_are_logged_and_dropped(output, elasticsearch, quiet):
    """And an index name with an open placeholder is not even sent."""
    elasticsearch.answers.append(failing(400, "document_parsing_exception"))
    sender = output()
    sender.send([event("a"), event("b", data_stream={"dataset": "%{[no][such]}"})])
    assert len(elasticsearch.requests[0]) == 1
    assert "after interpolation still contains placeholder: [logs-%{[no][such]}-default]" in quiet.getvalue()
    assert "Could not index event to Elasticsearch. status: 400" in quiet.getvalue()
    assert sender.stats()["documents"] == {"non_retryable_failures": 2}


def test_requests_have_a_limit_of_size(output, elasticsearch, monkeypatch):
    """And are halved when Elasticsearch has a smaller one; one event too large for it is not kept."""
    monkeypatch.setattr(elasticsearch_module, "TARGET_BULK_BYTES", 1000)
    elasticsearch.answers += [lambda items: (413, {})] * 2
    output().send([event(str(number), text="x" * 300) for number in range(4)])
    assert [len(request) for request in elasticsearch.requests] == [2, 1, 1, 2]
    assert len(elasticsearch.documents) == 3


def test_an_elasticsearch_that_is_down_is_waited_for(tmp_path, certificates, elasticsearch, quiet):
    """Events are sent when it is back."""
    output = make(tmp_path, certificates, elasticsearch.url)
    port = elasticsearch.port
    elasticsearch.close()
    thread = threading.Thread(target=output.send, args=([event("a")],))
    thread.start()
    wait_for(lambda: "Elasticsearch appears to be unreachable or down" in quiet.getvalue())
    again = FakeElasticsearch(certificates, port)
    thread.join(10)
    assert again.documents.keys() == {("logs-generic-default", "a")}
    again.close()
    output.close()


def test_a_stop_gives_the_batch_up(tmp_path, certificates, quiet):
    """While nobody answers: what the queue keeps is not held for ever."""
    output = make(tmp_path, certificates, "https://127.0.0.1:1")
    threading.Timer(0.2, output.context.stopping.set).start()
    with pytest.raises(AbortedBatch):
        output.send([event("a")])
    assert "there are no living connections in the pool" in quiet.getvalue()
    output.close()


def test_a_wrong_password_keeps_the_host_dead(tmp_path, certificates, elasticsearch, quiet):
    """The version and the licence must be readable."""
    output = make(tmp_path, certificates, elasticsearch.url, 'user => "other"'.replace("user", "data_stream_dataset"))
    output._client._headers["Authorization"] = "Basic eDp5"
    output._client._hosts[0].alive = False
    output._client._check(output._client._hosts[0])
    assert not output._client._hosts[0].alive
    assert f"Got response code '401' contacting Elasticsearch at URL '{elasticsearch.url}/'" in quiet.getvalue()
    output.close()


def test_a_server_of_another_authority_is_not_believed(tmp_path, certificates, elasticsearch, quiet):
    """ssl_verification_mode is full."""
    (tmp_path / "other.crt").write_bytes((certificates / "foreign.crt").read_bytes())
    made = plan(f"""output {{ elasticsearch {{
        hosts => ["{elasticsearch.url}"] data_stream => "true" ssl_certificate_authorities => ["{tmp_path}/other.crt"]
    }} }}""")
    made.plugins["output"][0].register()
    assert "CERTIFICATE_VERIFY_FAILED" in quiet.getvalue()
    made.plugins["output"][0].close()


@pytest.mark.parametrize("options, words", [
    ("ssl => true", "Use 'ssl_enabled' instead."), ('cacert => "/x"', "Use 'ssl_certificate_authorities' instead."),
    ("ssl_certificate_verification => false", "Use 'ssl_verification_mode' instead."), ('keystore => "/x"', "Use 'ssl_keystore_path' instead."),
    ("http_compression => true", "Use 'compression_level' instead."), ("nosuch => 1", "Unknown setting 'nosuch' for elasticsearch"),
    ('index => "x"', "Unknown setting 'index' for elasticsearch: the product has it"),
    ('data_stream => "yes"', 'Expected one of ["true", "false", "auto"], got ["yes"]'),
    ('data_stream_dataset => "a b"', "Invalid characters detected"), ("compression_level => 10", "Expected one of"),
])
def test_options_are_refused(options, words):
    """By name, at the test."""
    with pytest.raises(ConfigurationError) as error:
        plan(f"output {{ elasticsearch {{ {options} }} }}")
    assert words in str(error.value)


@pytest.mark.parametrize("options, words", [
    ('data_stream => "false"', "data_stream => false is not implemented"), ('ecs_compatibility => "disabled"', "`ecs_compatibility => disabled`"),
    ('hosts => ["http://a:9200"] ssl_enabled => true', "contradicts the host http://a:9200"),
])
def test_options_are_refused_at_the_start(options, words):
    """What the product finds when it registers the plugin."""
    with pytest.raises(ConfigurationError, match=words):
        plan(f"output {{ elasticsearch {{ {options} }} }}").plugins["output"][0].register()


def test_documents_are_sent_as_they_are(output, elasticsearch):
    """Signs beyond ASCII, numbers, nulls; metadata is not sent."""
    data = {"text": "é😀\u2028", "number": 1.5, "big": 2**63, "none": None, "list": [True, {"a": []}]}
    output("compression_level => 0").send([event("a", **data)])
    document = elasticsearch.documents["logs-generic-default", "a"]
    assert {name: document[name] for name in data} == data
    assert "@metadata" not in json.dumps(document)
