"""json_exporter's modules read the pages of their products without a word of complaint.

fixtures/filebeat-9.0.0 and fixtures/elasticsearch-9.5.0 were recorded from the real products; those of Logstash and Kibana are written after their
documentation.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import re
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest
import yaml
from rendered import role_files
from shipped import checker, read_yaml

ROOT = pathlib.Path(__file__).parents[2]
FIXTURES = pathlib.Path(__file__).parent / "fixtures"
PAGES = {
    "logstash": ("logstash-9.5.0/node_stats.json", "/_node/stats"), "kibana": ("kibana-9.5.0/status.json", "/api/status"),
    "filebeat": ("filebeat-9.0.0/stats.json", "/stats"),
    "elasticsearch_retention": ("elasticsearch-9.5.0/overdue.json", "/logs-*,jaeger-span-*/_search?ignore_unavailable=true"),
}
SITE = {"groups": {"elasticsearch": ["hub"]}, "elasticsearch_password_json_exporter": "a-password", "observatory_services": {}}


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers as the products do."""

    def do_GET(self):
        fixture = next(fixture for fixture, page in PAGES.values() if page == self.path)
        # What Kibana answers while something is wrong.
        self.send_response(503 if self.path == "/api/status" else 200)
        self.end_headers()
        self.wfile.write((FIXTURES / fixture).read_bytes())

    def do_POST(self):
        assert self.headers["Content-Type"] == "application/json"
        assert json.loads(self.rfile.read(int(self.headers["Content-Length"])))["size"] == 0
        self.do_GET()

    def log_message(self, *_words):
        return


def modules(**values):
    """Return the rendered modules of a host of Elasticsearch."""
    return yaml.safe_load(role_files("json_exporter", **{**SITE, **values})["/etc/json_exporter/config.yml"]["content"])["modules"]


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    """Return a function that asks the real json_exporter for a module: (lines of metrics, its log)."""
    folder = tmp_path_factory.mktemp("json_exporter")
    config = modules()
    # The answers come from here, without TLS and without a password.
    del config["elasticsearch_retention"]["http_client_config"]
    (folder / "config.yml").write_text(yaml.safe_dump({"modules": config}))
    with contextlib.ExitStack() as stack:
        pages = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages))
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        stack.callback(pages.shutdown)
        log = stack.enter_context((folder / "log").open("w+"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        program = subprocess.Popen(
            [checker("json_exporter"), "--config.file=config.yml", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], cwd=folder, stderr=log,
        )
        stack.callback(program.wait)
        stack.callback(program.terminate)

        def ask(module):
            query = urllib.parse.urlencode({"module": module, "target": f"http://127.0.0.1:{pages.server_port}{PAGES[module][1]}"})
            for _attempt in range(100):
                with contextlib.suppress(ConnectionRefusedError, urllib.error.URLError), urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/probe?{query}", timeout=10
                ) as answer:
                    return answer.read().decode().splitlines(), (folder / "log").read_text()
                time.sleep(0.05)
            raise AssertionError((folder / "log").read_text())

        yield ask


def declared(metrics):
    """Return how many series a module's metrics have at least, and their names."""
    return {f"{metric['name']}_{value}" for metric in metrics if metric.get("type") == "object" for value in metric["values"]} | {
        metric["name"] for metric in metrics if metric.get("type") != "object"
    }


@pytest.mark.parametrize("module", PAGES)
def test_every_metric_of_a_module_has_a_value(exporter, module):
    """No name is idle, each has help and a type, and nothing is missing on the page."""
    lines, log = exporter(module)
    assert log == ""
    metrics = modules()[module]["metrics"]
    found = {re.match(r"\w+", line)[0] for line in lines if not line.startswith("#")}
    # What Elasticsearch has not answered yet has no series.
    assert declared(metrics) - found <= {"logstash_stats_pipeline_plugin_bulk_requests_failures_total"}
    assert found <= declared(metrics)
    types = dict(line.split()[2:] for line in lines if line.startswith("# TYPE"))
    wrong = {name for name, kind in types.items() if name.endswith("_total") != (kind == "counter")}
    assert not wrong, "a counter's name ends in _total, and no other's does"


EXPECTED = {
    "logstash": """
        logstash_info{node="hub",version="9.5.0"} 1
        logstash_health_report_status{status="green"} 1
        logstash_stats_pipeline_events_out_total{pipeline="route"} 3990
        logstash_stats_pipeline_queue_size_bytes{pipeline="output"} 18432
        logstash_stats_pipeline_queue_max_size_bytes{pipeline="output"} 4.29496729e+08
        logstash_stats_pipeline_dead_letter_queue_size_bytes{pipeline="output"} 2048
        logstash_stats_pipeline_plugin_documents_non_retryable_failures_total{PLUGIN,plugin_type="output"} 2
        logstash_stats_pipeline_plugin_events_duration_millis_total{pipeline="route",plugin="mutate",plugin_id="mask",plugin_type="filter"} 640
        """,
    "kibana": """
        kibana_info{node="hub",version="9.5.0"} 1
        kibana_status_overall{level="degraded"} 1
        kibana_status_core_elasticsearch{level="available"} 1
        kibana_process_heap_limit_bytes 1.610612736e+09
        kibana_response_time_max_milliseconds 217
        """,
    "filebeat": """
        filebeat_info{version="9.0.0"} 1
        filebeat_libbeat_output_events_total{type="acked"} 201
        filebeat_libbeat_pipeline_queue_max_events 3200
        filebeat_harvester_open_files 1
        """,
    "elasticsearch_retention": """
        elasticsearch_retention_overdue_documents{dataset="system"} 0
        elasticsearch_retention_overdue_documents{dataset="traces"} 1
        """,
}


@pytest.mark.parametrize("module", PAGES)
def test_values_are_those_of_the_page(exporter, module):
    """Labels included."""
    lines, _log = exporter(module)
    expected = EXPECTED[module].replace("PLUGIN", 'pipeline="output",plugin="elasticsearch",plugin_id="elasticsearch"')
    missing = [line for line in map(str.strip, expected.strip().splitlines()) if line not in lines]
    assert not missing, "\n".join(lines)


def test_pipelines_are_those_of_the_role_logstash():
    """Of a pipeline that is not named here nothing would be seen."""
    ours = read_yaml(ROOT / "roles/json_exporter/vars/main.yml")
    theirs = [entry["pipeline.id"] for entry in read_yaml(ROOT / "roles/logstash/vars/main.yml")["__logstash_pipelines"]]
    assert ours["__json_exporter_logstash_pipelines"] == theirs
    assert set(ours["__json_exporter_logstash_dead_letters"]) <= set(theirs)


def test_scrape_jobs_ask_for_these_pages():
    """A job of Prometheus that names a module asks for the page that the module's fixture shows."""
    jobs = read_yaml(ROOT / "roles/prometheus/vars/main.yml")["__prometheus_jobs"]
    asked = {(job["module"], job["page"].partition("{port}")[2]) for job in jobs if "module" in job}
    assert asked <= {(module, page) for module, (_fixture, page) in PAGES.items()}


def test_age_that_counts_follows_retention():
    """Retention, and the time for which its index is written to: a day, a week, or 30 days."""
    services = {"web-shop": {"team": "shop", "logs": {"paths": ["/x"], "retention": "30d"}}, "quiet": {"team": "shop"}}
    ages = {"default": "14d", "system": "3d", "alertmanager": "400d"}
    config = modules(elasticsearch_retention=ages, observatory_services=services, jaeger_retention_time="7d")
    body = json.loads(config["elasticsearch_retention"]["body"]["content"])
    filters = body["aggs"]["overdue"]["filters"]["filters"]
    ages = {name: next(entry for entry in query["bool"]["filter"] if "range" in entry)["range"] for name, query in filters.items()}
    assert ages == {
        "default": {"@timestamp": {"lt": "now-15d"}}, "system": {"@timestamp": {"lt": "now-4d"}}, "alertmanager": {"@timestamp": {"lt": "now-430d"}},
        "web_shop": {"@timestamp": {"lt": "now-37d"}}, "traces": {"startTimeMillis": {"lt": "now-9d"}},
    }
    assert filters["default"]["bool"]["must_not"] == [{"terms": {"data_stream.dataset": ["alertmanager", "system", "web_shop"]}}]
    assert filters["web_shop"]["bool"]["filter"][0] == {"term": {"data_stream.dataset": "web_shop"}}


def test_only_a_host_of_elasticsearch_has_its_password():
    """Elsewhere there is no module that could send it."""
    assert "/etc/json_exporter/secrets/elasticsearch" not in role_files("json_exporter", **{**SITE, "groups": {"elasticsearch": ["another"]}})
    files = role_files("json_exporter", **SITE)
    secret = files["/etc/json_exporter/secrets/elasticsearch"]
    assert (secret["content"].strip(), secret["group"], secret["mode"], secret["secret"]) == ("a-password", "json_exporter", "0640", True)
    assert "a-password" not in files["/etc/json_exporter/config.yml"]["content"]
    assert set(modules()) - set(modules(groups={})) == {"elasticsearch_retention"}
