"""A node of an Elasticsearch cluster: the first forming of the cluster, and a restart that its clients do not notice."""

from __future__ import annotations

import contextlib
import json
import os
import time

from .api_object import Api, Unreachable, words
from .host import RUN_DIR, Failure, make_directories, remove_quietly, stage_file
from .service import MANY_RESTARTS, Service

# The unit reads it; it holds what counts for one start alone, and is gone after a reboot.
OPTIONS_FILE = RUN_DIR + "/elasticsearch.options"
NO_CLUSTER = "_na_"
ALLOCATION = "cluster.routing.allocation.enable"
POLL_SECONDS = 1.0
# Elasticsearch looks at its files of users that often, so a new password counts a little later.
RELOAD_SECONDS = 20
GREEN_SECONDS = 20
# Of a line.
JOURNAL_CHARACTERS = 300

SPEC = {
    "step": {"type": "str", "choices": ["form", "restart"], "required": True},
    "url": {"type": "str", "required": True},
    "nodes": {"type": "dict", "required": True},
    "ca": {"type": "path", "required": True},
    "cert": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "unit": {"type": "str", "default": "elasticsearch"},
    "leader": {"type": "bool", "default": False},
    "restart_due": {"type": "bool", "default": False},
    "status": {"type": "str", "choices": ["green", "yellow"], "default": "green"},
    "start_timeout": {"type": "int", "default": 300},
    "timeout": {"type": "int", "default": 1800},
}


class Silent(Failure):
    """A node does not answer, or not as one of ours."""


class Node:
    """This host's node, and by their addresses the others; `ask(url, method, path, body)` and the clock are those of tests."""

    def __init__(self, host, params, ask=None, clock=time.monotonic, sleep=time.sleep):
        self.host = host
        self.params = params
        self.url = params["url"]
        self.peers = params["nodes"]
        self._ask = ask or _asker(params)
        self._clock, self._sleep = clock, sleep
        self.result = {"changed": False, "done": [], "restarted": False}

    def apply(self):
        """Do the step; return the module's result, raises Failure."""
        with self.host.lock("elasticsearch"):
            self._form() if self.params["step"] == "form" else self._restart()
        self.result["changed"] = bool(self.result["done"])
        return self.result

    # -- forming

    def _form(self):
        """Have this node in a cluster with a master. A new cluster is made only when every node of the group says that it knows none."""
        health = self._cluster()
        alone = self.params["restart_due"] and health.get("number_of_nodes") == 1
        if health and health["number_of_nodes"] < len(self.peers):
            self._check_that_it_is_one()
        if self.host.check:
            if alone:
                self._done("{0} restarted, so that the others can join it".format(self.params["unit"]), restarted=True)
            elif not health:
                self._done("a cluster joined or formed")
            return
        # One that has not come to its end: the next start of a node that has lost its data must not take it for an order.
        remove_quietly(self.host.path(OPTIONS_FILE))
        if alone:
            # It does not listen to others before it is restarted, so they would wait in vain; and there is nobody to take over from it.
            self._start("it was a cluster of its own")
        elif health:
            return
        else:
            known = self._known_clusters()
            if not known and self.params["leader"]:
                self._bootstrap()
        self._wait_for_cluster()
        if not self.result["done"]:
            self._done("joined the cluster")

    def _check_that_it_is_one(self):
        """Raise Failure when the nodes belong to several clusters: they would never become one. A silent node says nothing against it."""
        members = {}
        for name, url in sorted(self.peers.items()):
            with contextlib.suppress(Silent):
                members.setdefault(self._page(url)["cluster_uuid"], []).append(name)
        members.pop(NO_CLUSTER, None)
        if len(members) > 1:
            raise Failure(
                "the nodes of the group elasticsearch belong to {0} clusters: {1}. Two clusters do not become one. Take the nodes of one of them out of "
                "the group, or, if nothing on them is needed, stop Elasticsearch on them, empty /var/lib/elasticsearch and run again".format(
                    len(members), "; ".join(", ".join(names) + " (" + uuid + ")" for uuid, names in sorted(members.items(), key=lambda item: item[1]))
                )
            )

    def _known_clusters(self):
        """Return {node: cluster's id} of the nodes that belong to one; raises Failure when there is none and a node does not say."""
        deadline = self._clock() + self.params["start_timeout"]
        while True:
            known, silent = {}, {}
            for name, url in sorted(self.peers.items()):
                try:
                    uuid = self._page(url)["cluster_uuid"]
                    if uuid != NO_CLUSTER:
                        known[name] = uuid
                except Silent as problem:
                    silent[name] = str(problem)
            if known or not silent:
                return known
            if self._clock() >= deadline:
                raise Failure(
                    "no node of the group elasticsearch knows a cluster, and not all of them answer: {0}. A new cluster is formed only when each of "
                    "them says that it belongs to none, since one that is silent may hold the data. Start it, or take it out of the group".format(
                        "; ".join("{0} ({1})".format(*entry) for entry in sorted(silent.items()))
                    )
                )
            self._sleep(POLL_SECONDS)

    def _bootstrap(self):
        path = self.host.path(OPTIONS_FILE)
        self.host.steps.reach("order a new cluster")
        make_directories(os.path.dirname(path))
        text = "ELASTICSEARCH_OPTIONS=-Ecluster.initial_master_nodes={0}\n".format(",".join(sorted(self.peers)))
        os.replace(stage_file(path, text.encode(), mode=0o644), path)
        try:
            self._start("a new cluster is formed")
            self._wait_for_cluster()
        finally:
            remove_quietly(path)

    def _wait_for_cluster(self):
        """Wait until this node has a master."""
        deadline = self._clock() + self.params["start_timeout"]
        while not self._cluster():
            if self._clock() >= deadline:
                raise Failure("this node finds no master within {0} seconds. {1}".format(self.params["start_timeout"], self._journal()))
            self._sleep(POLL_SECONDS)

    # -- the restart

    def _restart(self):
        before = self._cluster()
        if self.host.check:
            return self._done("{0} restarted".format(self.params["unit"]), restarted=True)
        if not before:
            raise Failure("{0} is not restarted: this node has no master now. {1}".format(self.params["unit"], self._journal()))
        # Without one of them the rest may have no majority while this one restarts.
        nodes = len(self.peers) if self.params["status"] == "green" else before["number_of_nodes"]
        self._wait_for_status("before the restart", nodes)
        self.host.steps.reach("allocation off")
        self._must(self.url, "PUT", "/_cluster/settings", {"persistent": {ALLOCATION: "primaries"}})
        try:
            self.host.steps.reach("flush")
            # It only shortens the way back; what is not flushed is in the log of each shard.
            with contextlib.suppress(Silent):
                self._look(self.url, "POST", "/_flush")
            self._start("")
            self._wait_for_cluster()
        finally:
            # Should this node stay away, the others have to make up for it.
            self._allocate()
        self._wait_for_status("after the restart", nodes)

    def _allocate(self):
        self.host.steps.reach("allocation on")
        problems = []
        for url in [self.url] + [url for _name, url in sorted(self.peers.items())]:
            try:
                return self._must(url, "PUT", "/_cluster/settings", {"persistent": {ALLOCATION: None}})
            except Failure as problem:
                problems.append(str(problem))
        raise Failure("{0} cannot be put back by any node; the next run does it. {1}".format(ALLOCATION, "; ".join(problems)))

    def _wait_for_status(self, moment, nodes):
        """Wait for the wanted health with all nodes; raises Failure with what is missing."""
        wanted = self.params["status"]
        path = "/_cluster/health?wait_for_status={0}&wait_for_nodes=ge({1})&wait_for_no_initializing_shards=true&timeout={2}s".format(
            wanted, nodes, GREEN_SECONDS
        )
        begun = self._clock()
        while True:
            health = self._cluster(path)
            if health and (not health.get("timed_out") or self._waits_for_newer_nodes(health, nodes)):
                return
            # Copies take their time; a node that is away comes soon or not at all.
            patience = self.params["timeout" if health.get("number_of_nodes", 0) >= nodes else "start_timeout"]
            if self._clock() - begun >= patience:
                raise Failure(
                    "{0} the cluster is {1} with {2} of {3} nodes and {4} shards without a place, for {5} seconds; it has to be {6} with all nodes. No "
                    "further node is restarted. GET /_cluster/allocation/explain says what is missing".format(
                        moment, health.get("status", "without a master"), health.get("number_of_nodes", 0), nodes,
                        health.get("unassigned_shards", "unknown"), patience, wanted,
                    ),
                    changed=self.result["restarted"],
                )
            self._sleep(POLL_SECONDS)

    def _waits_for_newer_nodes(self, health, nodes):
        """Whether an upgrade is under way and only its next step helps: an older node takes no copy of a shard that is written by a newer one."""
        moving = ("initializing_shards", "relocating_shards", "delayed_unassigned_shards")
        if health.get("status") != "yellow" or health.get("number_of_nodes", 0) < nodes or any(health.get(key, 1) for key in moving):
            return False
        try:
            _status, answer = self._look(self.url, "GET", "/_nodes/_all/_none?filter_path=nodes.*.version")
        except Silent:
            return False
        return len({node["version"] for node in answer.get("nodes", {}).values()}) > 1

    # -- what both need

    def _start(self, reason):
        """Restart the unit and wait until its node answers; raises Failure with the journal's tail."""
        self.host.steps.reach("restart")
        begun = time.time()
        unit = self.params["unit"]
        self.host.run(["systemctl", "reset-failed", unit])
        code, text = self.host.run(["systemctl", "restart", unit], timeout=self.params["start_timeout"] + 60)
        self.result["restarted"] = True
        if code != 0:
            raise Failure("{0} cannot restart: {1}. {2}".format(unit, text.strip(), self._journal(begun)), changed=True)
        deadline = self._clock() + self.params["start_timeout"]
        while True:
            try:
                self._page(self.url)
                break
            except Silent as problem:
                restarts = int(self._unit().show().get("NRestarts") or 0)
                if restarts >= MANY_RESTARTS:
                    raise Failure("{0} does not come up and was started again {1} times. {2}".format(unit, restarts, self._journal(begun)), changed=True)
                if self._clock() >= deadline:
                    raise Failure("{0} is not healthy after {1} seconds: {2}. {3}".format(
                        unit, self.params["start_timeout"], problem, self._journal(begun)
                    ), changed=True)
            self._sleep(POLL_SECONDS)
        self._done("{0} restarted{1}".format(unit, ": " + reason if reason else ""), restarted=True)

    def _page(self, url):
        """Return a node's first page; raises Silent. It answers without a cluster too."""
        status, answer = self._look(url, "GET", "/")
        if status != 200 or "cluster_uuid" not in answer:
            raise Silent("it answers {0}: {1}".format(status, words(json.dumps(answer))))
        return answer

    def _cluster(self, path="/_cluster/health?master_timeout=1s&timeout=1s"):
        """Return the cluster's health as this node sees it, or {} when it has no master or does not answer."""
        deadline = self._clock() + RELOAD_SECONDS
        while True:
            try:
                status, answer = self._look(self.url, "GET", path)
            except Silent:
                return {}
            # 408: the wished health was not reached in time.
            if status in (200, 408):
                return answer
            if status != 401 or self._clock() >= deadline:
                return {}
            self._sleep(POLL_SECONDS)

    def _must(self, url, method, path, body):
        status, answer = self._look(url, method, path, body)
        if not 200 <= status < 300:
            raise Failure("{0} {1} is refused ({2}): {3}".format(method, path, status, words(json.dumps(answer))))

    def _look(self, url, method, path, body=None):
        """Return (status, answer); raises Silent when nobody answers."""
        try:
            status, text = self._ask(url, method, path, body)
        except (Unreachable, Failure) as problem:
            raise Silent(str(problem))
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"message": text}
        return status, answer if isinstance(answer, dict) else {}

    def _journal(self, begun=None):
        lines = self._unit().journal(time.time() - 120 if begun is None else begun)
        shown = "\n".join(_readable(line)[:JOURNAL_CHARACTERS] for line in lines.splitlines())
        return "Last lines of its journal:\n" + shown if lines else "Its journal is empty"

    def _unit(self):
        return Service(self.host, "elasticsearch", {"unit": self.params["unit"]})

    def _done(self, what, restarted=False):
        self.result["done"].append(what)
        self.result["restarted"] = self.result["restarted"] or restarted


def _readable(line):
    """Return a line of Elasticsearch's journal without what only machines want: it is JSON, with a stack trace where something failed."""
    try:
        record = json.loads(line)
        return ": ".join(str(record[key]) for key in ("log.level", "message", "error.message") if record.get(key))
    except (ValueError, AttributeError):
        return line


def _asker(params):
    known = {}

    def ask(url, method, path, body=None):
        if url not in known:
            known[url] = Api(dict(params, url=url, timeout=0))
        data = None if body is None else json.dumps(body).encode()
        return known[url].ask(method, path, data, patient=False)

    return ask
