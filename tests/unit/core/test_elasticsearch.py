"""Nodes of a cluster: when a new cluster may be formed, and how a node is restarted within one."""

import json

import pytest
from ansible_collections.observatory.core.plugins.module_utils import elasticsearch
from ansible_collections.observatory.core.plugins.module_utils.api_object import Unreachable
from ansible_collections.observatory.core.plugins.module_utils.elasticsearch import NO_CLUSTER, OPTIONS_FILE, Node
from ansible_collections.observatory.core.plugins.module_utils.host import Failure, Host

OWN = "https://localhost:9200"
NODES = {"es1": OWN, "es2": "https://es2:9200", "es3": "https://es3:9200"}


class Cluster:
    """Nodes by address, and the systemd of es1; `clusters` is what each node knows (None: it does not answer)."""

    def __init__(self, folder, *clusters, master=False, status="green"):
        self.clusters = dict(zip(NODES.values(), clusters, strict=True))
        self.master, self.status = master, status
        self.requests, self.commands, self.options = [], [], []
        self.settings = {}
        self.now = 0.0
        self.host = Host(root=str(folder), runner=self.run)
        self.on_restart = lambda: None
        self.automatic_restarts, self.journal = 0, "a line of the journal"
        self.versions, self.moving = ["9.5.0"] * 3, 0

    def run(self, argv, timeout=None, **options):
        self.commands.append(" ".join(argv))
        if argv[:2] == ["systemctl", "restart"]:
            path = self.host.path(OPTIONS_FILE)
            try:
                with open(path, encoding="utf-8") as file:
                    self.options.append(file.read())
            except FileNotFoundError:
                self.options.append("")
            if "initial_master_nodes" in self.options[-1] and all(known == NO_CLUSTER for known in self.clusters.values()):
                self.clusters = dict.fromkeys(self.clusters, "new")
                self.master = True
            self.on_restart()
        if argv[:2] == ["systemctl", "show"]:
            return 0, f"NRestarts={self.automatic_restarts}\n"
        return (0, self.journal) if argv[0] == "journalctl" else (0, "")

    def ask(self, url, method, path, body=None):
        path, _mark, query = path.partition("?")
        self.requests.append(f"{method} {path}")
        if self.clusters[url] is None:
            raise Unreachable(f"{url} does not answer")
        if path == "/":
            return 200, json.dumps({"cluster_uuid": self.clusters[url]})
        if not self.master:
            return 503, json.dumps({"error": {"type": "master_not_discovered_exception"}})
        if path == "/_cluster/settings":
            self.settings.update(body["persistent"])
            return 200, "{}"
        if path == "/_nodes/_all/_none":
            return 200, json.dumps({"nodes": {str(number): {"version": version} for number, version in enumerate(self.versions)}})
        nodes = sum(known == self.clusters[url] for known in self.clusters.values())
        answer = {"status": self.status, "number_of_nodes": nodes, "unassigned_shards": 0 if self.status == "green" else 4}
        answer.update(initializing_shards=self.moving, relocating_shards=0, delayed_unassigned_shards=0)
        return 200, json.dumps({**answer, "timed_out": self.status != "green" or f"ge({nodes})" not in query})

    def sleep(self, seconds):
        self.now += seconds

    def node(self, step, check=False, **changes):
        self.host.check = check
        params = {
            "step": step, "url": OWN, "nodes": NODES, "ca": "", "cert": "", "key": "", "user": "admin", "password": "", "unit": "elasticsearch",
            "leader": True, "restart_due": False, "status": "green", "start_timeout": 60, "timeout": 90, **changes,
        }
        return Node(self.host, params, ask=self.ask, clock=lambda: self.now, sleep=self.sleep)

    @property
    def restarts(self):
        return self.commands.count("systemctl restart elasticsearch")


def failure(work):
    with pytest.raises(Failure) as caught:
        work()
    return str(caught.value)


# -- forming


def test_a_cluster_is_formed_when_every_node_says_that_it_knows_none(tmp_path):
    """By the leader, whose options for that one start are gone afterwards."""
    cluster = Cluster(tmp_path, NO_CLUSTER, NO_CLUSTER, NO_CLUSTER)
    result = cluster.node("form").apply()
    assert result == {"changed": True, "done": ["elasticsearch restarted: a new cluster is formed"], "restarted": True}
    assert cluster.options == ["ELASTICSEARCH_OPTIONS=-Ecluster.initial_master_nodes=es1,es2,es3\n"]
    assert not (tmp_path / OPTIONS_FILE.lstrip("/")).exists()
    assert cluster.node("form").apply() == {"changed": False, "done": [], "restarted": False}
    assert cluster.restarts == 1


def test_nobody_but_the_leader_forms_a_cluster(tmp_path):
    """The others wait for it."""
    cluster = Cluster(tmp_path, NO_CLUSTER, NO_CLUSTER, NO_CLUSTER)
    node = cluster.node("form", leader=False)
    real = cluster.sleep

    def formed_meanwhile(seconds):
        cluster.master = True
        real(seconds)

    node._sleep = formed_meanwhile
    assert node.apply()["done"] == ["joined the cluster"]
    assert cluster.restarts == 0


@pytest.mark.parametrize("others", [("old", "old"), ("old", None), (NO_CLUSTER, "old")])
def test_a_node_without_data_never_forms_a_cluster_beside_one_that_exists(tmp_path, others):
    """One that was wiped, or is new: a single node that knows a cluster is enough. It waits, and says so when nothing comes of it."""
    cluster = Cluster(tmp_path, NO_CLUSTER, *others)
    assert failure(cluster.node("form").apply) == (
        "this node finds no master within 60 seconds. Last lines of its journal:\na line of the journal"
    )
    assert cluster.restarts == 0
    cluster.master = True
    assert cluster.node("form").apply()["changed"] is False


def test_a_silent_node_stops_the_forming(tmp_path):
    """It may hold the data."""
    cluster = Cluster(tmp_path, NO_CLUSTER, NO_CLUSTER, None)
    assert failure(cluster.node("form").apply) == (
        "no node of the group elasticsearch knows a cluster, and not all of them answer: es3 (https://es3:9200 does not answer). A new cluster is "
        "formed only when each of them says that it belongs to none, since one that is silent may hold the data. Start it, or take it out of the group"
    )
    assert cluster.restarts == 0


def test_an_order_that_a_killed_run_has_left_is_removed(tmp_path):
    """Else a node that loses its data would follow it at its next start."""
    cluster = Cluster(tmp_path, "old", "old", "old", master=True)
    path = tmp_path / OPTIONS_FILE.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_text("ELASTICSEARCH_OPTIONS=x")
    assert cluster.node("form").apply()["changed"] is False
    assert not path.exists()


def test_a_cluster_of_one_node_is_restarted_at_once_when_others_are_to_join(tmp_path):
    """They could not reach it before; nobody is there to take over from it."""
    cluster = Cluster(tmp_path, "old", None, None, master=True)
    assert cluster.node("form", restart_due=True).apply() == {
        "changed": True, "done": ["elasticsearch restarted: it was a cluster of its own"], "restarted": True,
    }
    assert cluster.options == [""]
    whole = Cluster(tmp_path, "old", "old", "old", master=True)
    assert whole.node("form", restart_due=True).apply()["restarted"] is False


@pytest.mark.parametrize("restart_due", [False, True])
def test_nodes_of_two_clusters_are_told_before_anything_is_restarted(tmp_path, restart_due):
    """Both may have the name of this site; neither node would ever join the other's."""
    cluster = Cluster(tmp_path, "mine", "theirs", "theirs", master=True)
    assert failure(cluster.node("form", restart_due=restart_due).apply) == (
        "the nodes of the group elasticsearch belong to 2 clusters: es1 (mine); es2, es3 (theirs). Two clusters do not become one. Take the nodes of one "
        "of them out of the group, or, if nothing on them is needed, stop Elasticsearch on them, empty /var/lib/elasticsearch and run again"
    )
    assert cluster.restarts == 0


def test_check_mode_says_what_would_be_done(tmp_path):
    cluster = Cluster(tmp_path, None, None, None)
    assert cluster.node("form", check=True).apply() == {"changed": True, "done": ["a cluster joined or formed"], "restarted": False}
    cluster = Cluster(tmp_path, "old", "old", "old", master=True)
    assert cluster.node("form", check=True).apply()["changed"] is False
    assert cluster.node("restart", check=True).apply()["done"] == ["elasticsearch restarted"]
    assert cluster.restarts == 0


# -- the restart


def test_a_restart_takes_care_of_the_clients(tmp_path):
    """Whole, allocation off, flush, restart, back, allocation on, whole."""
    cluster = Cluster(tmp_path, "old", "old", "old", master=True)
    during = []
    cluster.on_restart = lambda: during.append(dict(cluster.settings))
    assert cluster.node("restart").apply() == {"changed": True, "done": ["elasticsearch restarted"], "restarted": True}
    assert during == [{"cluster.routing.allocation.enable": "primaries"}]
    assert cluster.settings == {"cluster.routing.allocation.enable": None}
    assert cluster.requests == [
        "GET /_cluster/health", "GET /_cluster/health", "PUT /_cluster/settings", "POST /_flush", "GET /", "GET /_cluster/health",
        "PUT /_cluster/settings", "GET /_cluster/health",
    ]


def test_a_cluster_that_is_not_whole_is_left_alone(tmp_path):
    """A restart could take away the only copy that is left."""
    cluster = Cluster(tmp_path, "old", "old", "old", master=True, status="yellow")
    assert failure(cluster.node("restart").apply) == (
        "before the restart the cluster is yellow with 3 of 3 nodes and 4 shards without a place, for 90 seconds; it has to be green with all nodes. "
        "No further node is restarted. GET /_cluster/allocation/explain says what is missing"
    )
    assert (cluster.restarts, cluster.settings) == (0, {})


def test_a_cluster_that_lacks_a_node_is_left_alone_and_not_waited_for_long(tmp_path):
    """Two of three that have made up for the third are green, and would have no majority when one of them restarts."""
    cluster = Cluster(tmp_path, "old", "old", None, master=True)
    assert failure(cluster.node("restart").apply).startswith(
        "before the restart the cluster is green with 2 of 3 nodes and 0 shards without a place, for 60 seconds; it has to be green with all nodes."
    )
    assert cluster.restarts == 0


def test_missing_nodes_and_copies_are_accepted_on_request(tmp_path):
    cluster = Cluster(tmp_path, "old", "old", None, master=True)
    assert cluster.node("restart", status="yellow").apply()["restarted"] is True


@pytest.mark.parametrize(("versions", "moving", "restarts"), [
    (["9.6.0", "9.5.0", "9.5.0"], 0, 1),
    (["9.6.0", "9.5.0", "9.5.0"], 2, 0),
    (["9.6.0", "9.6.0", "9.6.0"], 0, 0),
], ids=["a copy has no place yet", "copies are still being made", "no upgrade is under way"])
def test_an_upgrade_goes_on_where_only_its_next_step_makes_the_cluster_whole(tmp_path, versions, moving, restarts):
    """An older node takes no copy from a newer one."""
    cluster = Cluster(tmp_path, "old", "old", "old", master=True, status="yellow")
    cluster.versions, cluster.moving = versions, moving
    node = cluster.node("restart")
    if restarts:
        node.apply()
    else:
        failure(node.apply)
    assert cluster.restarts == restarts


def test_a_node_without_a_master_is_not_restarted(tmp_path):
    cluster = Cluster(tmp_path, "old", "old", "old")
    assert failure(cluster.node("restart").apply).startswith("elasticsearch is not restarted: this node has no master now. Last lines")
    assert cluster.restarts == 0


def test_a_node_that_does_not_come_back_is_told_and_the_others_may_make_up_for_it(tmp_path):
    """Allocation is put back through another node."""
    cluster = Cluster(tmp_path, "old", "old", "old", master=True)
    cluster.on_restart = lambda: cluster.clusters.update({OWN: None})
    assert failure(cluster.node("restart").apply) == (
        "elasticsearch is not healthy after 60 seconds: https://localhost:9200 does not answer. Last lines of its journal:\na line of the journal"
    )
    assert cluster.settings == {"cluster.routing.allocation.enable": None}


def test_a_node_that_keeps_ending_is_told_soon_and_in_its_own_words(tmp_path):
    """With a setting that it does not know, for instance: systemd starts it again for ever. Its journal is JSON with stack traces."""
    cluster = Cluster(tmp_path, "old", "old", "old", master=True)
    cluster.on_restart = lambda: cluster.clusters.update({OWN: None})
    cluster.automatic_restarts = 3
    record = {"log.level": "ERROR", "message": "fatal exception", "error.message": "unknown setting [x]", "error.stack_trace": "at y" * 1000}
    cluster.journal = json.dumps(record) + "\nexit code: 1"
    assert failure(cluster.node("restart").apply) == (
        "elasticsearch does not come up and was started again 3 times. Last lines of its journal:\n"
        "ERROR: fatal exception: unknown setting [x]\nexit code: 1"
    )
    assert cluster.settings == {"cluster.routing.allocation.enable": None}


def test_a_cluster_that_does_not_become_whole_again_stops_the_rest(tmp_path):
    cluster = Cluster(tmp_path, "old", "old", "old", master=True)
    cluster.on_restart = lambda: setattr(cluster, "status", "red")
    assert failure(cluster.node("restart").apply).startswith("after the restart the cluster is red with 3 of 3 nodes and 4 shards without a place")


def test_a_password_that_was_just_changed_is_waited_for(tmp_path):
    """Elasticsearch reads its files of users every few seconds."""
    cluster = Cluster(tmp_path, "old", "old", "old", master=True)
    real, refusals = cluster.ask, [401, 401]
    node = cluster.node("form")
    node._ask = lambda *request: (refusals.pop(), "{}") if refusals else real(*request)
    assert node.apply()["changed"] is False


def test_requests_carry_certificate_and_password(monkeypatch):
    """One connection's settings a node."""
    seen = []
    monkeypatch.setattr(elasticsearch, "Api", lambda params: seen.append(params) or type("Answer", (), {"ask": lambda *a, **k: (200, "{}")})())
    ask = elasticsearch._asker({"url": "x", "ca": "ca", "cert": "crt", "key": "key", "user": "admin", "password": "p", "timeout": 9})
    assert [ask(url, "GET", "/") for url in (OWN, OWN)] == [(200, "{}")] * 2
    assert seen == [{"url": OWN, "ca": "ca", "cert": "crt", "key": "key", "user": "admin", "password": "p", "timeout": 0}]
