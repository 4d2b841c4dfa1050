"""The stand-in as a process: tests of its configuration, life and death, reloads, the API, and events from end to end."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from logstash_fakes import Logstash, Sender, beat, free_port, wait_for

PERSISTED = "queue.type: persisted\nqueue.page_capacity: 64kb\nqueue.max_bytes: 1mb\n"
SINK = 'input { pipeline { address => "sink" } } output { stdout { codec => json_lines } }'


@pytest.fixture
def logstash(tmp_path):
    """Return a maker of processes, killed at the end."""
    made = []

    def make(pipelines: dict[str, str], settings: str = "", options: dict[str, str] | None = None) -> Logstash:
        made.append(Logstash(tmp_path / "logstash", pipelines, settings, options))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def whole(certificates, elasticsearch, port: int) -> dict[str, str]:
    """Return the pipelines of a platform: input, route, output, refused."""
    return {
        "input": f"""
            input {{ beats {{ id => "beats_in" port => {port} host => "127.0.0.1" ssl_enabled => true ssl_certificate => "{certificates}/server.crt"
                ssl_key => "{certificates}/server.key" ssl_certificate_authorities => ["{certificates}/ca.crt"] ssl_client_authentication => "required"
                enrich => ["source_metadata", "ssl_peer_metadata"] }} }}
            filter {{ mutate {{ gsub => [ "message", "(?i)(password)=\\S+", "\\1=[redacted]" ] }} }}
            output {{ pipeline {{ id => "input_out" send_to => "route" }} }}""",
        "route": """
            input { pipeline { id => "route_in" address => "route" } }
            filter {
              grok { match => { "[@metadata][input][beats][tls][client][subject]" => "CN=(?<[host][name]>[^,]+)" } }
              if [message] =~ /^\\{/ { json { source => "message" } }
              fingerprint { source => ["[host][name]", "message"] concatenate_sources => true target => "[@metadata][id]" }
              if [event][sequence] > 1000000 { drop { } }
            }
            output { pipeline { id => "route_out" send_to => "output" } }""",
        "output": f"""
            input {{ pipeline {{ id => "output_in" address => "output" }} }}
            output {{ elasticsearch {{ id => "elasticsearch" hosts => ["{elasticsearch.url}"] user => "logstash" password => "${{ELASTICSEARCH_PASSWORD}}"
                ssl_enabled => true ssl_certificate_authorities => ["{certificates}/ca.crt"] ssl_certificate => "{certificates}/client.crt"
                ssl_key => "{certificates}/client.key" data_stream => "true" document_id => "%{{[@metadata][id]}}"
                retry_initial_interval => 0.1 retry_max_interval => 0.2 resurrect_delay => 0.1 }} }}""",
    }


def numbered(first: int, count: int) -> list[dict]:
    data_stream = {"type": "logs", "dataset": "shop", "namespace": "lab"}
    return [beat(f"request {number} password=x{number}", event={"sequence": number}, data_stream=data_stream) for number in range(first, first + count)]


def sequences(elasticsearch) -> list[int]:
    return sorted(document["event"]["sequence"] for document in elasticsearch.documents.values())


def test_events_arrive_whole_and_once_through_kills(logstash, certificates, elasticsearch):
    """Three persisted pipelines, killed twice in the middle, with Elasticsearch refusing at times: all that was acknowledged is stored."""
    port = free_port()
    running = logstash(whole(certificates, elasticsearch, port), PERSISTED).start()
    elasticsearch.answers += [lambda items: (503, {})] * 3
    for round_ in range(3):
        sender = Sender(port, certificates)
        for part in range(10):
            sender.deliver(numbered(round_ * 1000 + part * 100, 100))
        sender.close()
        if round_ < 2:
            running.kill()
            running.start()
    wait_for(lambda: len(elasticsearch.documents) >= 3000, 15, "3000 documents")
    assert sequences(elasticsearch) == list(range(3000))
    document = next(iter(elasticsearch.documents.values()))
    assert (document["host"], document["message"].split("=")[1]) == ({"name": "app1"}, "[redacted]")
    assert running.stop() == 0


def test_back_pressure_reaches_the_sender_and_a_stop_keeps_what_is_queued(logstash, certificates, elasticsearch):
    """With Elasticsearch refusing, the queues fill and acknowledgements stay away; after a stop and a start everything arrives."""
    port = free_port()
    small = "queue.type: persisted\nqueue.page_capacity: 16kb\nqueue.max_bytes: 32kb\n"
    running = logstash(whole(certificates, elasticsearch, port), small).start()
    elasticsearch.answers += [lambda items: (503, {})] * 10_000
    sender = Sender(port, certificates, seconds=1.5)
    sent = 0
    with pytest.raises(TimeoutError):
        for _ in range(100):
            sender.deliver(numbered(sent, 50))
            sent += 50
    assert 0 < sent < 1500
    stats = running.get("/_node/stats/pipelines/output")[1]["pipelines"]["output"]["queue"]
    assert 16_000 < stats["queue_size_in_bytes"] <= stats["max_queue_size_in_bytes"] == 32 << 10
    assert running.stop() == 0
    sender.close()
    elasticsearch.answers.clear()
    running.start()
    wait_for(lambda: set(sequences(elasticsearch)) >= set(range(sent)), 15, f"{sent} documents")


def test_dead_letters_are_read_by_another_pipeline(logstash, certificates, elasticsearch):
    """A document that Elasticsearch refuses, and an event whose condition cannot be judged."""
    port = free_port()
    pipelines = whole(certificates, elasticsearch, port)
    folder = "{folder}"
    pipelines["refused"] = f"""
        input {{ dead_letter_queue {{ path => "{folder}" pipeline_id => "output" }} dead_letter_queue {{ path => "{folder}" pipeline_id => "route" }} }}
        filter {{ mutate {{ replace => {{ "[error][message]" => "%{{[@metadata][dead_letter_queue][reason]}}" }} }} }}
        output {{ stdout {{ codec => json_lines }} }}"""
    running = logstash({}, PERSISTED + "dead_letter_queue.enable: true\ndead_letter_queue.flush_interval: 300\ndead_letter_queue.flush_check_interval: 100\n")
    letters = running.folder / "data" / "dead_letter_queue"
    letters.mkdir(parents=True)
    pipelines["refused"] = pipelines["refused"].replace("{folder}", str(letters))
    Logstash.__init__(running, running.folder, pipelines, (running.folder / "logstash.yml").read_text().split("\n", 5)[5], {
        "refused": "queue.type: memory\ndead_letter_queue.enable: false",
    })
    running.start()

    def refuse(items):
        return 200, {"errors": True, "items": [{"create": {"status": 400, "error": {"type": "document_parsing_exception"}}} for _ in items]}

    elasticsearch.answers.append(refuse)
    sender = Sender(port, certificates)
    sender.deliver([*numbered(1, 1), beat("two", event={"sequence": "a text"})])
    wait_for(lambda: running.log.read_text().count('"error":{"message"') == 2, 10, "two dead letters")
    log = running.log.read_text()
    assert "Could not index event to Elasticsearch. status: 400" in log
    assert '"error":{"message":"condition evaluation error, str and int cannot be compared by >"}' in log
    assert running.get("/_node/stats/pipelines/output")[1]["pipelines"]["output"]["dead_letter_queue"]["queue_size_in_bytes"] > 0
    sender.close()


def test_the_configuration_is_tested(logstash, certificates, elasticsearch):
    """Good, and each kind of bad: exit code and words; nothing is started."""
    good = whole(certificates, elasticsearch, free_port())
    made = logstash(good)
    code, output = made.check(ELASTICSEARCH_PASSWORD="x")
    assert (code, "Configuration OK" in output, "Config Validation Result: OK. Exiting Logstash" in output) == (0, True, True)
    code, output = made.check()
    assert (code, "Replacement variable `ELASTICSEARCH_PASSWORD` is not defined" in output) == (1, True)
    (made.folder / "route.conf").write_text("filter {\n  mutate { rename => }\n}\n")
    code, output = made.check(ELASTICSEARCH_PASSWORD="x")
    assert code == 1
    assert 'The given configuration is invalid. Reason: Expected one of "#", [ \\t\\r\\n]' in output
    assert f"at line 2, column 22 (byte 31) in file {made.folder}/route.conf" in output
    (made.folder / "route.conf").write_text("filter { mutate { nosuch => 1 } }")
    assert "Unknown setting 'nosuch' for mutate" in made.check(ELASTICSEARCH_PASSWORD="x")[1]
    (made.folder / "pipelines.yml").write_text("- pipeline.id: a\n  path.config: /no/such.conf\n")
    assert 'No config files found in path {:path=>"/no/such.conf"}' in made.check()[1]
    (made.folder / "logstash.yml").write_text("nosuch: 1\n")
    code, output = made.check()
    assert (code, "Your settings are invalid. Reason: Setting \"nosuch\" doesn't exist." in output) == (1, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="asks for the refusal of root")
def test_root_is_refused(logstash):
    """Also for the test of the configuration."""
    made = logstash({"sink": SINK})
    path = made.folder / "logstash.yml"
    path.write_text(path.read_text().replace("allow_superuser: true", ""))
    code, output = made.check()
    assert (code, "Running Logstash as a superuser is not allowed" in output) == (1, True)


def test_one_data_folder_has_one_process(logstash):
    """The second is refused."""
    running = logstash({"sink": SINK}).start()
    second = subprocess.run(running.command("--api.http.port", str(free_port())), capture_output=True, text=True, check=False, timeout=10)
    assert (second.returncode, "already another instance using the configured data directory" in second.stdout) == (1, True)


def test_pipelines_are_reloaded(logstash):
    """By SIGHUP and by themselves: changed, added, removed; a broken one leaves the old one running and is counted."""
    source = '''input {{ beats {{ port => {port} host => "127.0.0.1" }} }}
        filter {{ mutate {{ add_field => {{ "version" => "{version}" }} }} }} output {{ stdout {{ codec => json_lines }} }}'''
    port = free_port()
    running = logstash({"main": source.format(port=port, version="one")}, "config.reload.automatic: true\nconfig.reload.interval: 200ms\n").start()

    def seen(version: str) -> bool:
        try:
            Sender(port, seconds=2).deliver([beat("x")])
        except (OSError, EOFError):
            # A reload closes the connections, those that wait for an answer too.
            return False
        return f'"version":"{version}"' in running.log.read_text()

    wait_for(lambda: seen("one"))
    (running.folder / "main.conf").write_text(source.format(port=port, version="two"))
    wait_for(lambda: seen("two"))
    (running.folder / "main.conf").write_text(source.format(port=port, version="three") + " nonsense {")
    wait_for(lambda: running.get("/_node/stats")[1]["reloads"]["failures"] >= 1)
    stats = running.get("/_node/stats/pipelines/main")[1]["pipelines"]["main"]
    assert (stats["reloads"]["successes"], "Expected" in stats["reloads"]["last_error"]["message"]) == (1, True)
    assert running.get("/")[1]["status"] == "green"
    assert seen("two")
    (running.folder / "main.conf").write_text(source.format(port=port, version="four"))
    with (running.folder / "pipelines.yml").open("a") as handle:
        handle.write(f"- pipeline.id: more\n  config.string: '{SINK}'\n")
    running.signal(signal.SIGHUP)
    wait_for(lambda: len(running.get("/_node/pipelines")[1]["pipelines"]) == 2)
    wait_for(lambda: seen("four"))
    text = (running.folder / "pipelines.yml").read_text()
    (running.folder / "pipelines.yml").write_text(text[:text.index("- pipeline.id: more")])
    wait_for(lambda: len(running.get("/_node/pipelines")[1]["pipelines"]) == 1)


def test_a_new_certificate_reloads_the_pipeline(logstash, certificates, tmp_path):
    """ssl.reload.automatic, as of 9.5; a process without it keeps the old one until SIGHUP finds a change."""
    tls = tmp_path / "tls"
    tls.mkdir()
    for name in ("server.crt", "server.key", "ca.crt"):
        (tls / name).write_bytes((certificates / name).read_bytes())
    port = free_port()
    logstash({"main": f"""
        input {{ beats {{ port => {port} host => "127.0.0.1" ssl_enabled => true ssl_certificate => "{tls}/server.crt" ssl_key => "{tls}/server.key" }} }}
        output {{ stdout {{ codec => dots }} }}"""}, "config.reload.automatic: true\nconfig.reload.interval: 200ms\nssl.reload.automatic: true\n").start()
    old = Sender(port, certificates, "").socket.getpeercert()["serialNumber"]
    for name in ("crt", "key"):
        (tls / "new").write_bytes((certificates / f"client.{name}").read_bytes())
        (tls / "new").replace(tls / f"server.{name}")

    def renewed() -> bool:
        try:
            return Sender(port, certificates, "").socket.getpeercert()["serialNumber"] != old
        except OSError:
            return False

    wait_for(renewed)


def test_a_pipeline_that_fails_makes_the_whole_red(logstash):
    """With another one running; `wait_for_status` says so in time."""
    bad = 'input { pipeline { address => "other" } } filter { mutate { gsub => ["a"] } } output { stdout { } }'
    running = logstash({"good": SINK, "bad": bad}).start(wait=False)
    wait_for(lambda: running.status() == "red")
    code, report = running.get("/_health_report")
    pipelines = report["indicators"]["pipelines"]["indicators"]
    assert (code, pipelines["bad"]["details"]["status"]["state"], pipelines["good"]["status"]) == (200, "TERMINATED", "green")
    assert "gsub requires 3 non-nil elements" in running.log.read_text()
    began = time.monotonic()
    assert running.get("/?wait_for_status=green&timeout=300ms")[0] == 408
    assert 0.3 <= time.monotonic() - began < 3
    assert running.get("/?wait_for_status=red&timeout=1s")[0] == 200


def test_the_api_answers_with_the_products_names(logstash, certificates, elasticsearch):
    """The pages that exporters and people read; 404 and 400 in JSON."""
    port = free_port()
    running = logstash(whole(certificates, elasticsearch, port), PERSISTED + "node.name: hub\ndead_letter_queue.enable: true\n").start()
    Sender(port, certificates).deliver(numbered(0, 10))
    wait_for(lambda: len(elasticsearch.documents) == 10)
    code, root = running.get("/")
    assert code == 200
    assert {name: root[name] for name in ("name", "version", "http_address", "status")} == {
        "name": "hub", "version": "9.5.0", "http_address": f"127.0.0.1:{running.api_port}", "status": "green",
    }
    stats = running.get("/_node/stats")[1]
    assert {"in": 30, "filtered": 30, "out": 30}.items() <= stats["events"].items()
    assert 0 < stats["jvm"]["mem"]["heap_used_in_bytes"] <= stats["jvm"]["mem"]["heap_max_in_bytes"] == 1 << 30
    assert stats["process"]["open_file_descriptors"] > 3
    assert stats["reloads"] == {"successes": 0, "failures": 0}
    output = stats["pipelines"]["output"]
    assert {"in": 10, "filtered": 10, "out": 10}.items() <= output["events"].items()
    assert (output["queue"]["type"], output["queue"]["events_count"], output["queue"]["max_queue_size_in_bytes"]) == ("persisted", 0, 1 << 20)
    assert output["queue"]["capacity"]["queue_size_in_bytes"] == output["queue"]["queue_size_in_bytes"] > 0
    assert (output["dead_letter_queue"]["queue_size_in_bytes"], output["dead_letter_queue"]["dropped_events"]) == (0, 0)
    sender, = output["plugins"]["outputs"]
    assert (sender["id"], sender["name"], sender["documents"], sender["events"]["out"]) == ("elasticsearch", "elasticsearch", {"successes": 10}, 10)
    filters = {plugin["name"]: plugin["events"] for plugin in stats["pipelines"]["route"]["plugins"]["filters"]}
    assert (filters["grok"]["in"], filters["json"]["in"], filters["drop"]["in"]) == (10, 0, 0)
    assert {"current", "lifetime"} <= stats["pipelines"]["input"]["flow"]["worker_utilization"].keys()
    assert running.get("/_node/stats/jvm,events")[1].keys() >= {"jvm", "events"}
    assert running.get("/_node/pipelines/route")[1]["pipelines"]["route"]["workers"] == 1
    assert running.get("/_node/nosuch") == (404, {"path": "/_node/nosuch", "status": 404, "error": {"message": "Not Found"}})
    assert running.get("/?wait_for_status=blue&timeout=1s")[0] == running.get("/?wait_for_status=green&timeout=x")[0] == 400
    assert running.get("/?wait_for_status=green&timeout=1s&pretty")[0] == 200
    assert running.get("/?wait_for_status=red")[0] == running.get("/?timeout=1s")[0] == 200


def test_a_queue_that_is_to_be_drained_is_empty_after_a_stop(logstash, certificates, elasticsearch):
    """queue.drain: what is in it goes on before the process ends."""
    port = free_port()
    running = logstash(whole(certificates, elasticsearch, port), PERSISTED + "queue.drain: true\n").start()
    Sender(port, certificates).deliver(numbered(0, 2000))
    assert running.stop(20) == 0
    assert sequences(elasticsearch) == list(range(2000))
