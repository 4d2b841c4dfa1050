"""Elasticsearch as its clients meet it: who may do what, templates and retention, and what happens to them when something is refused."""

from __future__ import annotations

import time
import uuid

import pytest
from fleet import changed, converge, host, playbook, products, unit, wait_for
from store import ask

pytestmark = pytest.mark.skipif("elasticsearch" not in products("hub"), reason="this inventory has no Elasticsearch")
# A setting that changes nothing, to see who may set one.
SAME = {"persistent": {"action.destructive_requires_name": "true"}}


def record(**fields: object) -> dict:
    return {"@timestamp": f"{time.time() * 1000:.0f}", "message": "a test", **fields}


@pytest.fixture
def stream() -> str:
    """A data stream of its own with a record in it. The test distribution has no way to delete one."""
    return new_stream("test")


def new_stream(dataset: str) -> str:
    name = f"logs-{dataset}-{uuid.uuid4().hex[:8]}"
    status, answer = ask("POST", f"/{name}/_doc?refresh=true", record(**{"trace.id": "t1", "surprise": "a text"}), user="logstash")
    assert status == 201, answer
    return name


def test_the_labs_distribution_answers_what_clients_ask_at_first():
    """The page at /, and the parts of analysis by which Elasticsearch makes its own security index."""
    status, page = ask("GET", "/")
    assert (status, page["version"]["number"], page["cluster_name"]) == (200, "9.5.0", "observatory-lab")
    analysis = {
        "tokenizer": "uax_url_email", "text": "a@example.org a@example.org b",
        "filter": [{"type": "pattern_capture", "patterns": ["(\\w+)@"], "preserve_original": True}, "lowercase", {"type": "unique"}],
    }
    status, answer = ask("POST", "/_analyze", analysis)
    assert (status, [token["token"] for token in answer["tokens"]]) == (200, ["a@example.org", "a", "b"])


def test_each_client_may_do_what_it_needs_and_no_more(stream):
    """A line a user: writes logs, reads logs, reads the cluster's state, manages traces, changes settings."""
    def allowed(user: str) -> list[bool]:
        looks = (
            ask("POST", f"/{stream}/_doc", record(), user=user),
            ask("GET", f"/{stream}/_search", user=user),
            ask("GET", "/_cluster/health", user=user),
            ask("PUT", f"/jaeger-span-test-{user}", user=user),
            ask("PUT", "/_cluster/settings", SAME, user=user),
        )
        assert {status for status, _answer in looks} <= {200, 201, 403}
        return [status != 403 for status, _answer in looks]

    try:
        assert {user: allowed(user) for user in ("logstash", "grafana", "elasticsearch_exporter", "jaeger", "kibana_viewer", "kibana_admin")} == {
            "logstash": [True, False, True, False, False],
            "grafana": [False, True, True, False, False],
            "elasticsearch_exporter": [False, False, True, False, False],
            "jaeger": [False, False, True, True, False],
            "kibana_viewer": [False, True, False, False, False],
            "kibana_admin": [False, True, False, False, False],
        }
    finally:
        ask("DELETE", "/jaeger-span-test-jaeger")
    assert ask("GET", "/_cluster/health", user="grafana", password="wrong")[0] == 401


def test_a_record_has_the_fields_of_the_schema_and_unknown_ones_become_keywords(stream):
    _status, answer = ask("GET", f"/{stream}/_mapping")
    (mapping,) = [index["mappings"] for index in answer.values()]
    properties = mapping["properties"]
    assert properties["trace"]["properties"]["id"] == {"type": "keyword", "ignore_above": 1024}
    assert properties["message"]["type"] == "text"
    assert properties["surprise"] == {"type": "keyword", "ignore_above": 1024}
    _status, answer = ask("GET", f"/{stream}/_search", {"query": {"term": {"trace.id": "t1"}}})
    assert answer["hits"]["total"]["value"] == 1


def test_a_stream_of_each_dataset_keeps_its_own_age():
    """What the template says is what the stream gets."""
    ages = {"system": "14d", "alertmanager.events": "400d", "unparsed": "7d", "anything": "14d"}
    streams = {dataset: new_stream(dataset) for dataset in ages}
    _status, answer = ask("GET", "/_cluster/state/metadata?filter_path=metadata.data_stream.data_stream")
    known = answer["metadata"]["data_stream"]["data_stream"]
    assert {dataset: known[name]["lifecycle"]["data_retention"] for dataset, name in streams.items()} == ages


def test_a_template_that_is_refused_is_told_in_elasticsearchs_words_and_the_old_one_stays():
    before = ask("GET", "/_index_template/observatory-logs")
    done = playbook("site.yml", "-e", '{"elasticsearch_retention": {"default": "soon"}}', "--tags", "elasticsearch")
    assert done.returncode != 0
    assert "index template observatory-logs" in done.stdout, done.stdout
    assert "soon" in done.stdout
    assert ask("GET", "/_index_template/observatory-logs") == before


def test_a_password_changed_by_hand_is_put_back_without_a_restart():
    before = unit("hub", "elasticsearch", "MainPID")
    host("hub").check_output("sed -i 's/^grafana:.*/grafana:x/' /etc/elasticsearch/users")
    wait_for("the change by hand", lambda: ask("GET", "/_cluster/health", user="grafana")[0] == 401)
    output = converge("--tags", "elasticsearch", "--diff", expect_change=True)
    assert "$2a$" not in output
    wait_for("the right password", lambda: ask("GET", "/_cluster/health", user="grafana")[0] == 200)
    assert unit("hub", "elasticsearch", "MainPID") == before


def test_a_setting_by_hand_in_elasticsearch_is_put_back():
    key = "cluster.routing.allocation.disk.watermark.low"
    assert ask("PUT", "/_cluster/settings", {"persistent": {key: "1500mb"}})[0] == 200
    assert changed(converge("--tags", "elasticsearch"))["hub"] == 1
    _status, answer = ask("GET", "/_cluster/settings?flat_settings=true")
    assert answer["persistent"][key] == "1228mb"


def test_a_killed_node_comes_back_by_itself_with_what_was_written(stream):
    before = unit("hub", "elasticsearch", "MainPID")
    host("hub").check_output("systemctl kill --signal=SIGKILL elasticsearch")
    wait_for("a new process", lambda: unit("hub", "elasticsearch", "MainPID") not in ("0", before))
    assert set(changed(converge("--tags", "elasticsearch")).values()) == {0}
    _status, answer = ask("GET", f"/{stream}/_search", {"query": {"term": {"trace.id": "t1"}}})
    assert answer["hits"]["total"]["value"] == 1
