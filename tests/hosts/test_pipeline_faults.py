"""Logs and spans flow with sequence numbers while something breaks; what is found afterwards is what was sent.

Filebeat, Elasticsearch and Jaeger are the real ones. Logstash is the lab's stand-in: what it keeps over a kill proves the role's choice of
queues by the documentation, not the product.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fleet import LAB, ROOT, converge, host, products, unit, wait_for
from store import ask

pytestmark = pytest.mark.skipif("filebeat" not in products("app1"), reason="this inventory has no logs")
PROGRAMS = ROOT / "tests/hosts/programs"
RECORDS_A_SECOND = 50
# As many as one search returns.
MOST_RECORDS = 10000
LOG = "/var/log/shop/shop.jsonl"
WRITER = "observatory-test-writer"
OUTAGE_SECONDS = 120


@pytest.fixture(autouse=True, scope="module")
def converged() -> Iterator[None]:
    converge()
    yield
    host("app1").check_output("rm -rf /var/log/shop /root/write_log.py /root/send_spans.py")
    converge()


@contextmanager
def running(program: str, *arguments: object) -> Iterator[None]:
    """Run a program of tests/hosts/programs on app1 as a service of its own."""
    text = (PROGRAMS / program).read_text()
    app = host("app1")
    app.check_output(f"cat >/root/{program} <<'END'\n{text}\nEND")
    words = " ".join(map(str, arguments))
    app.check_output(f"systemd-run --quiet --collect --unit={WRITER} /usr/bin/python3 /root/{program} {words}")
    try:
        yield
    finally:
        app.run(f"systemctl stop {WRITER}")


def try_to_ask(method: str, path: str, body: object = None) -> tuple[int, dict]:
    """As `ask`, with status 0 while Elasticsearch does not answer."""
    try:
        return ask(method, path, body)
    except OSError:
        return 0, {}


def search(index: str, query: dict, field: str) -> list:
    """Return one field of all documents that a query finds."""
    body = {"size": MOST_RECORDS, "query": query, "_source": [field]}
    status, answer = try_to_ask("POST", f"/{index}/_search?ignore_unavailable=true&allow_no_indices=true", body)
    if status != 200:
        return []
    values = [hit["_source"] for hit in answer["hits"]["hits"]]
    for name in field.split("."):
        values = [value[name] for value in values]
    return values


def compare(what: str, sent: int, found: Callable[[], list[int]], seconds: float) -> None:
    """Wait until all that was sent is found; says how many were found more than once."""
    assert sent < MOST_RECORDS
    numbers: list[int] = []

    def complete() -> bool:
        numbers[:] = found()
        return set(numbers) >= set(range(1, sent + 1))

    begun = time.monotonic()
    try:
        wait_for(f"all {what}", complete, seconds)
    except AssertionError as error:
        missing = sorted(set(range(1, sent + 1)) - set(numbers))
        raise AssertionError(f"{error}; of {sent} {len(missing)} are missing, the first: {missing[:10]}") from None
    assert set(numbers) == set(range(1, sent + 1))
    twice = sum(count - 1 for count in Counter(numbers).values())
    print(f"{what}: {sent} sent, {len(set(numbers))} found {time.monotonic() - begun:.0f} s after the last, {twice} of them twice")


@contextmanager
def logs_flow(seconds_to_arrive: float = 90) -> Iterator[None]:
    """Write numbered records on app1 while something is done; then compare what Elasticsearch has with what was written."""
    run = f"r{uuid.uuid4().hex[:8]}"
    host("app1").check_output(f"mkdir -p {LOG.rpartition('/')[0]} && rm -f {LOG}")
    with running("write_log.py", LOG, run, RECORDS_A_SECOND):
        wait_for("the first records", lambda: bool(stored(run)), 60)
        yield
        time.sleep(2)
    sent = int(host("app1").check_output(f"wc -l <{LOG}"))
    compare("log records", sent, lambda: stored(run), seconds_to_arrive)


def stored(run: str) -> list[int]:
    return search("logs-shop-lab", {"term": {"labels.run": run}}, "event.sequence")


def kill(name: str, product: str) -> None:
    """Kill a product as the kernel does when memory is short, and wait for the new process."""
    before = unit(name, product, "MainPID")
    host(name).check_output(f"systemctl kill --signal=SIGKILL {product}")
    wait_for(f"{product} again", lambda: unit(name, product, "MainPID") not in ("0", before) and host(name).service(product).is_running)
    # Whether a unit restarts by itself is asked elsewhere: this once was the test's doing.
    host(name).check_output(f"systemctl reset-failed {product}")


def test_elasticsearch_is_away_for_two_minutes():
    """Logstash keeps the records in its queue; Filebeat goes on sending."""
    with logs_flow(240):
        host("hub").check_output("systemctl stop elasticsearch")
        time.sleep(OUTAGE_SECONDS)
        host("hub").check_output("systemctl start elasticsearch")


def test_logstash_is_killed_twice():
    with logs_flow():
        for _ in range(2):
            kill("hub", "logstash")
            time.sleep(5)


def test_filebeat_is_killed_twice():
    """Between two writes of its registry; what it sends again has the same identity, so nothing is stored twice."""
    with logs_flow():
        for _ in range(2):
            kill("app1", "filebeat")
            time.sleep(5)


@contextmanager
def small_disk() -> Iterator[str]:
    """Put Elasticsearch's data on a small file system of its own; yields the place of a file to fill it with."""
    data, hub = "/var/lib/elasticsearch", host("hub")
    hub.check_output(
        f"systemctl stop elasticsearch && mkdir /var/tmp/kept && cp -a {data}/. /var/tmp/kept && mount -t tmpfs -o size=3g tmpfs {data} "
        f"&& chown elasticsearch:elasticsearch {data} && chmod 0700 {data} && cp -a /var/tmp/kept/. {data} && systemctl start elasticsearch"
    )
    try:
        yield f"{data}/filler"
    finally:
        hub.check_output(
            f"systemctl stop elasticsearch && rm -rf /var/tmp/kept {data}/filler && mkdir /var/tmp/kept && cp -a {data}/. /var/tmp/kept && umount {data} "
            f"&& find {data} -mindepth 1 -delete && cp -a /var/tmp/kept/. {data} && rm -rf /var/tmp/kept && systemctl start elasticsearch"
        )


def blocked() -> bool:
    """Return whether Elasticsearch has ended all writing to the stream, for want of disk."""
    _status, answer = ask("GET", "/_all/_settings/index.blocks.read_only_allow_delete?flat_settings=true&expand_wildcards=all")
    return any("logs-shop-lab" in index and settings["settings"] for index, settings in answer.items())


def test_the_disk_of_the_log_host_is_full():
    """At the flood stage Elasticsearch refuses writes; the records wait in Logstash, and go on once there is room."""
    with small_disk() as filler:
        wait_for("Elasticsearch", lambda: try_to_ask("GET", "/_cluster/health")[1].get("status") == "green", 90)
        # It looks at its disks every thirty seconds; ten are the least.
        ask("PUT", "/_cluster/settings", {"transient": {"cluster.info.update.interval": "10s"}})
        with logs_flow(240):
            # Not to the last byte: the block itself has to be written down.
            free = int(host("hub").check_output(f"df --output=avail -BM {filler.rpartition('/')[0]} | tail -1 | tr -dc 0-9"))
            host("hub").check_output(f"dd if=/dev/zero of={filler} bs=1M count={free - 150} status=none")
            wait_for("the flood stage", blocked, 60)
            time.sleep(10)
            host("hub").check_output(f"rm {filler}")
            wait_for("writing to be allowed again", lambda: not blocked(), 60)
        ask("PUT", "/_cluster/settings", {"transient": {"cluster.info.update.interval": None}})
    wait_for("Elasticsearch", lambda: try_to_ask("GET", "/_cluster/health")[1].get("status") == "green", 90)


@pytest.mark.skipif("jaeger" not in products("hub"), reason="this inventory has no Jaeger")
def test_jaeger_is_restarted_while_spans_flow():
    """A stop writes what is in memory first; the application's exporter tries again what was not taken in."""
    run = f"r{uuid.uuid4().hex[:8]}"
    with running("send_spans.py", f"https://{LAB.address('hub')}:4318/v1/traces", run, RECORDS_A_SECOND):
        for _ in range(2):
            time.sleep(4)
            host("hub").check_output("systemctl restart jaeger")
        time.sleep(8)
    # The last one may have been taken in before its number was written down.
    text = host("app1").check_output(f"journalctl --unit={WRITER} --output=cat --no-pager | grep -E '^[0-9]+$' | tail -1")
    spans = {"prefix": {"operationName": run}}

    def found() -> list[int]:
        return [number for number in (int(name.rpartition("-")[2]) for name in search("jaeger-span-*", spans, "operationName")) if number <= int(text)]

    compare("spans", int(text), found, 60)
