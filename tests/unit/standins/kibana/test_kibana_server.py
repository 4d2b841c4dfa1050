"""The stand-in as a server: who may what, its state, its pages, and the program bin/kibana with its real files."""

from __future__ import annotations

import datetime
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import certificates
from kibana_fakes import STANDIN, FakeElasticsearch, RunningKibana, basic
from kibana_standin.status import compatibility
from test_kibana_objects import VIEW, search

# -- who may what


def test_nobody_comes_in_without_a_user_of_elasticsearch(kibana, elasticsearch):
    """Not without a header, with a wrong password, with Kibana's own token, or with a name that nobody has."""
    for headers in ({}, {"Authorization": basic("kibana_admin", "wrong")}, {"Authorization": "Bearer the-token"}, {"Authorization": basic("nobody")}):
        for path in ("/", "/api/data_views", "/api/nothing", "/app/discover"):
            status, answer, shown = kibana.ask("GET", path, user=None, headers=headers)
            assert (status, answer["error"], "www-authenticate" in shown) == (401, "Unauthorized", True), (headers, path)


@pytest.mark.parametrize(("user", "read", "write"), [
    ("kibana_viewer", 200, 403), ("kibana_editor", 200, 200), ("kibana_admin", 200, 200), ("logstash", 403, 403),
])
def test_roles_decide_on_reading_and_writing(kibana, user, read, write):
    """Of Elasticsearch's own: a user without one of them sees nothing."""
    assert kibana.ask("GET", "/api/data_views", user=user)[0] == read
    assert kibana.ask("GET", "/", user=user)[0] == read
    assert kibana.ask("POST", "/api/data_views/data_view", {"data_view": VIEW}, user=user)[0] == write
    assert kibana.load([search()], user=user)[0] == write
    assert kibana.ask("DELETE", "/api/data_views/data_view/logs", user=user)[0] == write


def test_a_refusal_says_what_could_not_be_done(kibana):
    """In the words that Kibana's API has for it."""
    assert kibana.load([search()], user="kibana_viewer")[1] == {"statusCode": 403, "error": "Forbidden", "message": "Unable to bulk_create search"}
    assert kibana.ask("DELETE", "/api/saved_objects/search/x", user="kibana_viewer")[1]["message"] == "Unable to delete search"


def test_a_user_is_remembered_for_a_short_time(kibana, elasticsearch):
    """Elasticsearch is not asked about each request; another password is another question."""
    elasticsearch.requests.clear()
    for _ in range(3):
        kibana.ask("GET", "/api/data_views")
    assert elasticsearch.requests == ["GET /_security/_authenticate"]
    assert kibana.ask("GET", "/api/data_views", password="wrong")[0] == 401


def test_writes_need_a_header_that_no_foreign_page_can_send(kibana):
    """kbn-xsrf, or the right version of the page."""
    body = {"data_view": VIEW, "override": True}
    for headers, status in (({"kbn-xsrf": None}, 400), ({"kbn-xsrf": "x"}, 200), ({"kbn-xsrf": None, "kbn-version": "9.5.0"}, 200),
                            ({"kbn-xsrf": None, "kbn-version": "9.4.0"}, 400)):
        assert kibana.ask("POST", "/api/data_views/data_view", body, headers=headers)[0] == status, headers


def test_paths_that_it_does_not_know_are_refused(kibana):
    """404 for those that Kibana has and the stand-in lacks too: a role may use what is tested alone."""
    requests = ("GET /api/spaces/space", "POST /api/saved_objects/search/x", "PUT /api/data_views/data_view/x", "GET /kibana/api/status")
    for method, path in (request.split() for request in requests):
        assert kibana.ask(method, path, {} if method != "GET" else None)[1] == {"statusCode": 404, "error": "Not Found", "message": "Not Found"}


def test_a_request_that_is_too_large_is_refused(kibana):
    """server.maxPayload; an import may be larger."""
    assert kibana.ask("POST", "/api/data_views/data_view", b" " * 1048577)[0] == 413
    assert kibana.load(" " * 1048577 + "\n")[0] == 200


# -- its state


def test_status_is_whole_and_numbers_are_the_same_on_both_pages(kibana):
    """For everybody where status.allowAnonymous is set."""
    kibana.ask("GET", "/api/data_views")
    kibana.metrics.collect()
    status, page, _headers = kibana.ask("GET", "/api/status", user=None)
    assert (status, page["status"]["overall"]["level"], page["version"]["number"]) == (200, "available", "9.5.0")
    assert (page["status"]["core"]["elasticsearch"]["level"], page["status"]["core"]["savedObjects"]["level"]) == ("available", "available")
    memory = page["metrics"]["process"]["memory"]
    assert (memory["heap"]["size_limit"], memory["heap"]["used_in_bytes"] > 0, page["metrics"]["requests"]["total"]) == (512 * 1024**2, True, 1)
    stats = kibana.ask("GET", "/api/stats", user=None)[1]
    assert (stats["kibana"]["status"], stats["kibana"]["version"], stats["requests"]["total"], stats["process"]["memory"]["heap"]["size_limit"]) == (
        "green", "9.5.0", 1, 512 * 1024**2)
    assert {"uptime_ms", "event_loop_delay"} <= set(stats["process"])
    assert {"avg_ms", "max_ms"} == set(stats["response_times"])


def test_status_is_short_for_strangers_unless_they_are_allowed(elasticsearch, tmp_path):
    """And the numbers are not for them at all."""
    values = {"elasticsearch.hosts": [elasticsearch.url], "elasticsearch.serviceAccountToken": "the-token", "status.allowAnonymous": False}
    with RunningKibana(tmp_path, values) as kibana:
        assert kibana.ask("GET", "/api/status", user=None)[:2] == (200, {"status": {"overall": {"level": "available"}}})
        assert kibana.ask("GET", "/api/stats", user=None)[0] == 401
        assert kibana.ask("GET", "/api/status")[1]["name"]


def test_it_is_unavailable_until_elasticsearch_lets_it_in(elasticsearch, tmp_path):
    """503 with the level, first without an Elasticsearch and then with a wrong token."""
    elasticsearch.go()
    with RunningKibana(tmp_path, {"elasticsearch.hosts": [elasticsearch.url], "elasticsearch.serviceAccountToken": "the-token"}) as kibana:
        status, page, _headers = kibana.ask("GET", "/api/status", user=None)
        assert (status, page["status"]["overall"]["level"]) == (503, "unavailable")
        assert kibana.ask("GET", "/api/data_views")[0] == 503
        elasticsearch.come()
        elasticsearch.token = "another"
        kibana.watch.look()
        status, page, _headers = kibana.ask("GET", "/api/status", user=None)
        assert (status, page["status"]["core"]["elasticsearch"]["level"]) == (503, "critical")
        assert "failed to authenticate service account" in page["status"]["core"]["elasticsearch"]["summary"]
        elasticsearch.token = "the-token"
        kibana.watch.look()
        assert kibana.ask("GET", "/api/status", user=None)[0] == 200
        elasticsearch.go()
        kibana.watch.look()
        assert kibana.ask("GET", "/api/status", user=None)[1]["status"]["overall"]["level"] == "critical"
        elasticsearch.come()
        kibana.watch.look()
        assert kibana.ask("GET", "/api/status", user=None)[0] == 200
    lines = kibana.output.getvalue().splitlines()
    assert sum("Kibana is now available" in line for line in lines) == 2
    assert sum("Unable to retrieve version information" in line for line in lines) == 2


@pytest.mark.parametrize(("nodes", "good", "words"), [
    (["9.5.0"], True, ""),
    (["9.5.2", "9.6.0"], True, "You're running Kibana 9.5.0 with some different versions of Elasticsearch: v9.5.2, v9.6.0"),
    (["9.5.0", "9.4.9"], False, "This version of Kibana (v9.5.0) is incompatible with the following Elasticsearch nodes in your cluster: v9.4.9"),
    (["10.0.0"], False, "This version of Kibana (v9.5.0) is incompatible with the following Elasticsearch nodes in your cluster: v10.0.0"),
])
def test_which_versions_of_elasticsearch_it_works_with(nodes, good, words):
    """Newer ones of the same major, with a warning."""
    assert compatibility("9.5.0", nodes) == (good, words)


# -- its pages


def test_discover_shows_what_a_saved_search_finds_as_the_person_who_looks(kibana, elasticsearch):
    """Elasticsearch is asked with the person's own user and the search's query; nothing in a document becomes HTML."""
    elasticsearch.documents = [{"@timestamp": "2026-11-24T15:00:00Z", "message": "<b>broken</b>", "log": {"level": "error"}}]
    kibana.ask("POST", "/api/data_views/data_view", {"data_view": VIEW})
    kibana.load([search()])
    status, text, headers = kibana.ask("GET", "/app/discover?view=errors", user="kibana_viewer")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "&lt;b&gt;broken&lt;/b&gt;" in text and "<b>broken" not in text and "1 documents" in text
    user, index, body = elasticsearch.searches[-1]
    assert (user, index, body["query"], body["sort"]) == (
        "kibana_viewer", "logs-*", {"bool": {"filter": [{"match": {"log.level": "error"}}]}}, [{"@timestamp": {"order": "desc", "unmapped_type": "boolean"}}])
    text = kibana.ask("GET", "/app/discover?view=errors&query=trace.id%20%3A%20%22abc%22")[1]
    assert elasticsearch.searches[-1][2]["query"] == {"bool": {"filter": [{"match_phrase": {"trace.id": "abc"}}]}}
    assert "expected a value" in kibana.ask("GET", "/app/discover?view=errors&query=a%3A")[1]
    assert kibana.ask("GET", "/app/discover?view=none")[0] == 404


def test_pages_link_below_the_base_path_and_answer_without_it(elasticsearch, tmp_path):
    """The gateway takes the path off; server.rewriteBasePath would have Kibana do it."""
    values = {"elasticsearch.hosts": [elasticsearch.url], "server.basePath": "/kibana", "server.publicBaseUrl": "https://x.example/kibana"}
    with RunningKibana(tmp_path, values) as kibana:
        kibana.ask("POST", "/api/data_views/data_view", {"data_view": VIEW})
        text = kibana.ask("GET", "/")[1]
        assert 'href="/kibana/app/discover?data_view=logs"' in text and 'href="/kibana/standin/style.css"' in text
        assert kibana.ask("GET", "/kibana/api/status")[0] == 404
    with RunningKibana(tmp_path, {**values, "server.rewriteBasePath": True}) as kibana:
        assert [kibana.ask("GET", path)[0] for path in ("/kibana/api/data_views", "/kibana", "/api/data_views")] == [200, 200, 404]


def test_answers_carry_the_headers_that_protect_a_browser(elasticsearch, tmp_path):
    """And the name of the instance."""
    values = {"elasticsearch.hosts": [elasticsearch.url], "server.securityResponseHeaders.disableEmbedding": True, "server.name": "hub"}
    with RunningKibana(tmp_path, values) as kibana:
        headers = kibana.ask("GET", "/")[2]
    assert (headers["kbn-name"], headers["x-content-type-options"], "Server" in headers) == ("hub", "nosniff", False)
    assert headers["content-security-policy"] == "default-src 'self'; script-src 'self'; style-src 'self'; form-action 'self'; frame-ancestors 'self'"


# -- the program


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder with an authority and a certificate that serves as both sides'."""
    folder = tmp_path_factory.mktemp("site")
    now = datetime.datetime.now(datetime.UTC)
    authority, key = certificates.new_authority("site authority", now)
    issued = certificates.issue(authority, key, site="lab", host="hub", service="kibana", names=["localhost"], addresses=["127.0.0.1"], now=now)
    for name, text in (("ca.crt", authority), ("tls.crt", issued.certificate), ("tls.key", issued.key)):
        (folder / name).write_text(text)
    return folder


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(folder, *arguments, root=True):
    command = [sys.executable, str(STANDIN / "bin" / "kibana"), *arguments, *(["--allow-root"] if root else [])]
    environment = {"PATH": os.environ["PATH"], "KBN_PATH_CONF": str(folder)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def write_configuration(folder, site, url, port, **changes):
    """Write kibana.yml and secrets.yml as the role does; a change to None leaves a key out."""
    values = {
        "server.host": "127.0.0.1", "server.port": port, "path.data": str(folder / "data"), "elasticsearch.hosts": [url],
        "elasticsearch.ssl.certificateAuthorities": [str(site / "ca.crt")], "elasticsearch.ssl.certificate": str(site / "tls.crt"),
        "elasticsearch.ssl.key": str(site / "tls.key"), "elasticsearch.ssl.alwaysPresentCertificate": True, "status.allowAnonymous": True,
        "elasticsearch.healthCheck.delay": 100, "logging.appenders.stdout.type": "console", "logging.appenders.stdout.layout.type": "json",
        "logging.root.appenders": ["stdout"], "logging.root.level": "info", **changes,
    }
    (folder / "kibana.yml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items() if value is not None))
    (folder / "secrets.yml").write_text('elasticsearch.serviceAccountToken: "the-token"\n')
    return ["--config", str(folder / "kibana.yml"), "--config", str(folder / "secrets.yml")]


def ask(port, path, user="kibana_admin"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": basic(user)})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
        return json.loads(answer.read())


def wait_until_available(port, process, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        try:
            return ask(port, "/api/status")
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate())


@pytest.fixture
def mutual(site):
    """Return an Elasticsearch that wants a certificate of the site."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site / "tls.crt", site / "tls.key")
    context.load_verify_locations(site / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with FakeElasticsearch(context) as server:
        yield server


def test_the_program_serves_over_mutual_tls_and_ends_when_told(site, mutual, tmp_path):
    """With the files of the role, JSON lines in its log, its objects kept over a restart."""
    port = free_port()
    arguments = write_configuration(tmp_path, site, mutual.url, port)
    for number in (1, 2):
        process = start(tmp_path, *arguments)
        try:
            page = wait_until_available(port, process)
            assert page["status"]["overall"]["level"] == "available"
            if number == 1:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/api/data_views/data_view", json.dumps({"data_view": VIEW}).encode(),
                    {"Authorization": basic("kibana_admin"), "kbn-xsrf": "true", "Content-Type": "application/json"})
                urllib.request.urlopen(request, timeout=5).close()
                uuid = page["uuid"]
            assert [view["id"] for view in ask(port, "/api/data_views")["data_view"]] == ["logs"]
            assert page["uuid"] == uuid
        finally:
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")
        records = [json.loads(line) for line in output.splitlines()]
        assert {"@timestamp", "message", "log", "service"} <= set(records[0])
        assert "Kibana is now available" in [record["message"] for record in records]
        assert "SIGTERM received - initiating shutdown" in records[-1]["message"]
    assert set(mutual.certificates) == {True}


def test_without_always_present_certificate_people_cannot_be_looked_up(site, mutual, tmp_path):
    """Kibana itself is let in, requests in somebody's name are not: the setting of the role has a reason."""
    port = free_port()
    process = start(tmp_path, *write_configuration(tmp_path, site, mutual.url, port, **{"elasticsearch.ssl.alwaysPresentCertificate": None}))
    try:
        wait_until_available(port, process)
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(port, "/api/data_views")
        assert caught.value.code == 503
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("changes", "code", "words"), [
    ({"server.prot": 1}, 78, "[config validation of [server].prot]: definition for this key is missing"),
    ({"telemetri.optIn": False}, 64, 'Unknown configuration key(s): "telemetri.optIn".'),
    ({"elasticsearch.username": "kibana_system"}, 78, 'serviceAccountToken cannot be specified when "username" is also set.'),
])
def test_the_program_does_not_start_with_a_wrong_configuration(site, tmp_path, changes, code, words):
    """The reason is in the log and on standard error."""
    process = start(tmp_path, *write_configuration(tmp_path, site, "https://localhost:1", free_port(), **changes))
    output, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert words in output and "FATAL" in output and "FATAL  Error: " in errors


def test_the_program_refuses_a_port_that_is_taken(site, tmp_path):
    """By its name."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        process = start(tmp_path, *write_configuration(tmp_path, site, "https://localhost:1", port))
        output, _errors = process.communicate(timeout=10)
    assert (process.returncode, f"EADDRINUSE: Address already in use 127.0.0.1:{port}" in output) == (1, True)


def test_the_program_tells_its_version(tmp_path):
    """Which is that of package.json."""
    output, _errors = start(tmp_path, "--version").communicate(timeout=10)
    assert output.strip() == json.loads((STANDIN / "package.json").read_text())["version"] == "9.5.0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try to be root")
def test_the_program_does_not_run_as_root(tmp_path):
    """Unless told to."""
    process = start(tmp_path, root=False)
    assert (process.communicate(timeout=10)[1].strip(), process.returncode) == ("Kibana should not be run as root.  Use --allow-root to continue.", 1)
