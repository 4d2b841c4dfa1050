"""Three Elasticsearch nodes as one cluster: what its clients notice of restarts and losses, and who may form or join a cluster.

The tests build on each other's cluster and run in their order. They look from outside, as clients do: through all nodes, the next one when one
refuses, with a user's password and a certificate of the site.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import fleet
import pytest
from fleet import LAB, ROOT, changed, client_context, converge, host, identity, playbook, products, secrets, unit, wait_for

pytestmark = pytest.mark.skipif("elasticsearch" not in products("es1"), reason="this inventory has no cluster")
NODES = ("es1", "es2", "es3")
FOURTH = str(ROOT / "molecule/cluster/fourth")
PORT = 9200
# Requests a second that writers and readers aim at, each; what a machine that does much else at the same time has to reach; workers for it.
RATE, FLOOR = 50, 10
WRITERS, READERS = 16, 8
# What the publisher's own clients take for a reason to ask the next node.
NEXT_NODE = (429, 502, 503, 504)
ATTEMPTS = 4
SLOW_SECONDS = 30
STARTS = 180
# Each client begins with another node.
CLIENTS = itertools.count()
# The change whose restart is looked at; the tests after it keep it.
WARN = ("-e", "elasticsearch_log_level=warn")


class Refused(Exception):
    """No node has answered, after as many attempts as the publisher's clients make."""


class Client:
    """A client of the cluster: keeps a connection to each node, asks the next node when one refuses or is cut off. For one thread."""

    def __init__(self, user: str, nodes: tuple[str, ...] = NODES) -> None:
        self.nodes, self.turn, self.failovers = nodes, next(CLIENTS), 0
        self.connections: dict[str, http.client.HTTPSConnection] = {}
        with identity("host", "es1") as files:
            self.context = client_context(files)
        password = secrets()[f"elasticsearch_password_{user}"]
        self.headers = {
            "Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode(), "Content-Type": "application/json",
        }

    def ask(self, method: str, path: str, body: object = None, attempts: int = ATTEMPTS) -> tuple[int, dict]:
        """Return (status, answer) of the first node that answers; raises Refused."""
        problems = []
        for _attempt in range(attempts):
            node = self.nodes[self.turn % len(self.nodes)]
            try:
                status, text = self._ask(node, method, path, body)
                if status not in NEXT_NODE:
                    return status, json.loads(text)
                problems.append(f"{node} answers {status}: {text[:300]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.connections.pop(node).close()
                problems.append(f"{node}: {error!r}")
            self.turn += 1
            self.failovers += 1
        raise Refused(f"{method} {path}: {'; '.join(problems)}")

    def _ask(self, node: str, method: str, path: str, body: object) -> tuple[int, bytes]:
        if node not in self.connections:
            self.connections[node] = http.client.HTTPSConnection(LAB.address(node), PORT, timeout=SLOW_SECONDS, context=self.context)
        self.connections[node].request(method, path, None if body is None else json.dumps(body), self.headers)
        answer = self.connections[node].getresponse()
        return answer.status, answer.read()


@dataclass
class Load:
    """What clients met while something happened to the cluster."""

    stream: str
    done: Counter = field(default_factory=Counter)
    failovers: int = 0
    errors: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    states: list[tuple[float, str, int]] = field(default_factory=list)
    away: list[tuple[str, ...]] = field(default_factory=list)
    seconds: float = 0

    def __str__(self) -> str:
        health = Counter(f"{status} {nodes}" for _moment, status, nodes in self.states)
        writes, reads = (f"{self.done[what] / self.seconds:.0f} {what}s a second, the slowest {self.slowest[what]:.1f} s" for what in ("write", "read"))
        return (
            f"{self.seconds:.0f} s: {writes}; {reads}; {len(self.errors)} errors, {self.failovers} times the next node; health, looked at twice a second: "
            f"{dict(health)}; nodes that did not answer, in order: {', '.join(self.order) or 'none'}"
        )

    @property
    def order(self) -> list[str]:
        """Return the nodes in the order in which they were away, each time once."""
        found: list[str] = []
        for names in self.away:
            found += [name for name in names if found[-1:] != [name]]
        return found


@contextmanager
def load() -> Iterator[Load]:
    """Write and read 50 times a second each, and look at the cluster's health and at each node twice a second."""
    seen = Load(f"logs-load_{time.time():.0f}-lab")
    stop, lock = threading.Event(), threading.Lock()

    def write(client: Client, number: int) -> None:
        record = {"@timestamp": f"{time.time() * 1000:.0f}", "message": "a line", "event.sequence": number}
        status, answer = client.ask("PUT", f"/{seen.stream}/_create/{number}", record)
        # A conflict: an attempt that was cut off had been stored.
        assert status in (201, 409), f"write {number}: {status} {answer}"

    def read(client: Client, number: int) -> None:
        path = f"/{seen.stream}/_search?size=1&allow_partial_search_results=false&ignore_unavailable=true"
        status, answer = client.ask("GET", path, {"query": {"term": {"event.sequence": number // 2}}})
        assert status == 200 and answer["_shards"]["failed"] == 0, f"read {number}: {status} {answer}"

    def work(what: str, user: str, act: Callable[[Client, int], None], tickets: Iterator[int]) -> None:
        client = Client(user)
        while not stop.is_set():
            with lock:
                number = next(tickets)
            time.sleep(max(0, begun + number / RATE - time.monotonic()))
            started = time.monotonic()
            try:
                act(client, number)
            except (Refused, AssertionError, KeyError, ValueError) as problem:
                with lock:
                    seen.errors.append(f"at {started - begun:.1f} s: {problem}")
            with lock:
                seen.done[what] += 1
                seen.slowest[what] = max(seen.slowest.get(what, 0), time.monotonic() - started)
        with lock:
            seen.failovers += client.failovers

    def watch() -> None:
        client = Client("elasticsearch_exporter")
        while not stop.is_set():
            try:
                _status, health = client.ask("GET", "/_cluster/health")
                seen.states.append((time.monotonic() - begun, health.get("status", "unknown"), health.get("number_of_nodes", 0)))
            except Refused as problem:
                seen.errors.append(f"health: {problem}")
            away = tuple(name for name in NODES if not answers(name))
            if away:
                seen.away.append(away)
            stop.wait(0.5)

    writes, reads = itertools.count(), itertools.count()
    workers = [("write", "logstash", write, writes)] * WRITERS + [("read", "grafana", read, reads)] * READERS
    # The stream is there before its readers are, and its second copy before anything happens: the loss of the only one would be one.
    write(Client("logstash"), next(writes))
    wait_for("two copies", lambda: ask("GET", f"/_cluster/health/{seen.stream}")["status"] == "green", STARTS)
    begun = time.monotonic()
    seen.done["write"] = 1
    with ThreadPoolExecutor(len(workers) + 1) as pool:
        futures = [pool.submit(work, *worker) for worker in workers] + [pool.submit(watch)]
        time.sleep(2)
        try:
            yield seen
            time.sleep(2)
        finally:
            stop.set()
            for future in futures:
                future.result()
            seen.seconds = time.monotonic() - begun
            print(seen)

def answers(name: str) -> bool:
    """Whether a node's port is open: it closes first when a node stops, and opens last when it starts."""
    try:
        socket.create_connection((LAB.address(name), PORT), timeout=2).close()
    except OSError:
        return False
    return True


def ask(method: str, path: str, body: object = None, *, nodes: tuple[str, ...] = NODES) -> dict:
    """Return an answer as the administrator gets it."""
    status, answer = Client("admin", nodes).ask(method, path, body)
    assert 200 <= status < 300, answer
    return answer


def stored(stream: str) -> int:
    ask("POST", f"/{stream}/_refresh")
    return ask("GET", f"/{stream}/_count")["count"]


def cluster_of(name: str) -> str:
    """Return the id of the cluster that a node is in."""
    return ask("GET", "/", nodes=(name,))["cluster_uuid"]


def members() -> list[str]:
    return sorted(node["name"] for node in ask("GET", "/_nodes/_all/_none?filter_path=nodes.*.name")["nodes"].values())


def is_green(nodes: int = len(NODES)) -> bool:
    try:
        health = ask("GET", "/_cluster/health")
    except (Refused, AssertionError):
        return False
    return (health["status"], health["number_of_nodes"]) == ("green", nodes)


def processes(names: tuple[str, ...] = NODES) -> dict[str, str]:
    return {name: unit(name, "elasticsearch", "InvocationID") for name in names}


def configured(name: str, text: str) -> bool:
    return host(name).run(f"grep -rq '{text}' /etc/elasticsearch/ /etc/systemd/system/elasticsearch.service /run/observatory/").rc == 0


def wipe(name: str) -> None:
    host(name).check_output("systemctl stop elasticsearch && find /var/lib/elasticsearch -mindepth 1 -delete")


@pytest.fixture(scope="module", autouse=True)
def converged() -> None:
    converge()


@pytest.fixture(scope="module")
def cluster(converged: None) -> str:
    """The cluster's id, which it keeps through all of this."""
    wait_for("a green cluster", is_green, STARTS)
    return cluster_of("es1")


# -- the first start


def test_three_nodes_are_one_cluster_and_a_second_run_changes_nothing(cluster):
    assert members() == list(NODES)
    assert {cluster_of(name) for name in NODES} == {cluster}
    before = processes()
    output = converge()
    assert set(changed(output).values()) == {0}, output
    assert processes() == before


def test_the_order_to_form_a_cluster_is_nowhere_after_the_first_run(cluster):
    """A node that has lost its data would follow it."""
    assert not any(configured(name, "initial_master_nodes") for name in NODES)
    assert not any(host(name).file("/run/observatory/elasticsearch.options").exists for name in NODES)


def test_at_first_all_nodes_started_before_there_was_a_cluster(cluster):
    """At once, and not one after the other."""
    started = {}
    for name in NODES:
        lines = host(name).check_output("journalctl -u elasticsearch -o short-unix | grep -m1 'Started elasticsearch.service'")
        started[name] = float(lines.split()[0])
    formed = host("es2").check_output("journalctl -u elasticsearch -o short-unix | grep -m1 'master node changed'")
    assert max(started.values()) < float(formed.split()[0])


def test_stored_logs_have_a_second_copy(cluster):
    ask("POST", "/logs-copies-lab/_doc?refresh=true", {"@timestamp": f"{time.time() * 1000:.0f}", "message": "a line"})
    wait_for("two copies", lambda: len(ask("GET", "/_cat/shards/logs-copies-lab?format=json&h=state", nodes=("es1",))) == 2)


# -- restarts


def test_a_change_restarts_one_node_after_the_other_and_no_client_notices(cluster):
    """50 writes and 50 reads a second: none fails, each write is stored once, the cluster is never red, never are two nodes away."""
    before = processes()
    with load() as seen:
        output = converge(*WARN)
    assert seen.errors == []
    assert {status for _moment, status, _nodes in seen.states} <= {"green", "yellow"}
    assert seen.order == list(NODES)
    assert max(map(len, seen.away)) == 1
    assert set(changed(output).values()) == {2}, output
    after = processes()
    assert all(after[name] != before[name] for name in NODES)
    assert stored(seen.stream) == seen.done["write"]
    assert min(seen.done.values()) > FLOOR * seen.seconds
    assert is_green()
    assert cluster_of("es1") == cluster


def test_a_setting_that_no_node_starts_with_stops_at_the_first_one(cluster):
    """The other two are not restarted and go on to answer; the message has the node's own words."""
    before = processes()
    with load() as seen:
        done = playbook("site.yml", *WARN, "-e", '{"elasticsearch_settings": {"no.such.setting": 1}}')
    assert done.returncode != 0
    assert "no.such.setting" in done.stdout.partition("Last lines of its journal")[2], done.stdout
    after = processes()
    assert after["es1"] != before["es1"]
    assert (after["es2"], after["es3"]) == (before["es2"], before["es3"])
    assert seen.errors == []
    assert "red" not in {status for _moment, status, _nodes in seen.states}
    allocation = ask("GET", "/_cluster/settings?flat_settings=true")["persistent"]
    assert "cluster.routing.allocation.enable" not in allocation
    assert stored(seen.stream) == seen.done["write"]


def test_after_it_is_put_right_the_node_comes_back_and_the_next_run_is_quiet(cluster):
    converge(*WARN)
    wait_for("a green cluster", is_green, STARTS)
    assert not any(configured(name, "no.such.setting") for name in NODES)
    assert set(changed(converge(*WARN)).values()) == {0}
    assert cluster_of("es1") == cluster


# -- losses


def test_the_killed_master_comes_back_by_itself(cluster):
    """Within the time that copies wait for it; the next run has nothing to do."""
    (master,) = ask("GET", "/_cat/master?format=json")
    before = unit(master["node"], "elasticsearch", "MainPID")
    with load() as seen:
        host(master["node"]).check_output("systemctl kill --signal=SIGKILL elasticsearch")
        wait_for("a new process", lambda: unit(master["node"], "elasticsearch", "MainPID") not in ("0", before))
        wait_for("the others to miss it", lambda: not is_green())
        wait_for("a green cluster", is_green, STARTS)
    assert seen.errors == []
    assert stored(seen.stream) == seen.done["write"]
    assert set(changed(converge(*WARN)).values()) == {0}


def test_a_node_that_has_lost_its_data_joins_the_old_cluster(cluster):
    """The very one that would form a new cluster: the first of the hosts of a run."""
    count = stored("logs-copies-lab")
    wipe("es1")
    output = converge(*WARN)
    assert changed(output)["es2"] == changed(output)["es3"] == 0, output
    wait_for("a green cluster", is_green, STARTS)
    assert {cluster_of(name) for name in NODES} == {cluster}
    assert stored("logs-copies-lab") == count


# -- a fourth node


def test_a_node_with_a_cluster_of_its_own_is_refused_with_the_reason(cluster, monkeypatch):
    """Two clusters of one name: the nodes of one would never join the other, and nobody would notice."""
    with monkeypatch.context() as patched:
        patched.setattr(fleet, "INVENTORY", FOURTH)
        converge()
    own, before = cluster_of("es4"), processes((*NODES, "es4"))
    assert own != cluster
    done = playbook("-i", FOURTH, "site.yml", *WARN)
    assert done.returncode != 0
    names = (("es1, es2, es3", cluster), ("es4", own))
    assert "belong to 2 clusters: " + "; ".join(f"{hosts} ({uuid})" for hosts, uuid in names) in " ".join(done.stdout.split()), done.stdout
    assert processes((*NODES, "es4")) == before
    assert members() == list(NODES)


def test_a_fourth_node_joins_and_the_others_are_not_restarted(cluster):
    before = processes()
    wipe("es4")
    output = converge("-i", FOURTH, *WARN)
    wait_for("a green cluster", lambda: is_green(4), STARTS)
    assert cluster_of("es4") == cluster
    assert processes() == before
    assert all(configured(name, LAB.second_address("es4")) for name in NODES)
    # The refused run had told the others already.
    assert changed(output) == {"es1": 0, "es2": 0, "es3": 0, "es4": 1}, output
    assert set(changed(converge("-i", FOURTH, *WARN)).values()) == {0}


def test_a_node_is_taken_out_as_the_manual_says(cluster):
    """Its shards move away first; then it is removed, and the run without it tells the others."""
    count = stored("logs-copies-lab")
    with load() as seen:
        take_out("es4")
    assert seen.errors == []
    assert "red" not in {status for _moment, status, _nodes in seen.states}
    converge(*WARN)
    assert is_green()
    assert (members(), stored("logs-copies-lab")) == (list(NODES), count)
    assert not any(configured(name, LAB.second_address("es4")) for name in NODES)


def test_a_fourth_node_joins_by_a_run_that_is_limited_to_it(cluster):
    """It alone is asked, and is the first of the hosts of this run; yet it asks all others over the network."""
    output = converge("-i", FOURTH, *WARN, "--limit", "es4")
    try:
        assert list(changed(output)) == ["es4"]
        wait_for("a green cluster", lambda: is_green(4), STARTS)
        assert cluster_of("es4") == cluster
    finally:
        take_out("es4")


def take_out(name: str) -> None:
    """What docs/operate/elasticsearch.md says of taking a node out."""
    exclude = "cluster.routing.allocation.exclude._name"
    ask("PUT", "/_cluster/settings", {"persistent": {exclude: name}})
    wait_for("no shard on it", lambda: not [shard for shard in ask("GET", "/_cat/shards?format=json&h=node") if name in (shard["node"] or "")], STARTS)
    done = playbook("-i", FOURTH, "playbooks/remove.yml", "-e", "confirm=lab", "-e", "remove_data=true", "--limit", name)
    assert done.returncode == 0, done.stdout + done.stderr
    ask("PUT", "/_cluster/settings", {"persistent": {exclude: None}})
    wait_for("a green cluster", is_green, STARTS)
