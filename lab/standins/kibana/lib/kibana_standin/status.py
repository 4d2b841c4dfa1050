"""Whether Elasticsearch takes Kibana in, and the numbers about itself that Kibana shows."""

from __future__ import annotations

import os
import re
import socket
import threading
import time

from .elastic import Elastic, Unreachable, reason
from .log import Log
from .settings import Settings

AVAILABLE, DEGRADED, UNAVAILABLE, CRITICAL = "available", "degraded", "unavailable", "critical"
LEGACY = {AVAILABLE: "green", DEGRADED: "yellow", UNAVAILABLE: "red", CRITICAL: "red"}
WITHOUT_TROUBLE = {AVAILABLE, DEGRADED}


def compatibility(own: str, nodes: list[str]) -> tuple[bool, str]:
    """Return whether Kibana of a version may work with nodes of others, and what to say of them: never with older ones or another major."""
    major, minor = _numbers(own)
    wrong = sorted({"v" + node for node in nodes if _numbers(node)[0] != major or _numbers(node)[1] < minor})
    if wrong:
        return False, f"This version of Kibana (v{own}) is incompatible with the following Elasticsearch nodes in your cluster: {', '.join(wrong)}"
    other = sorted({"v" + node for node in nodes if node != own})
    if other:
        return True, f"You're running Kibana {own} with some different versions of Elasticsearch: {', '.join(other)}"
    return True, ""


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


class Watch:
    """Asks Elasticsearch again and again, as Kibana does, and says so in the log when something changes."""

    def __init__(self, settings: Settings, elastic: Elastic, log: Log, version: str):
        self._elastic, self._log, self._version = elastic, log, version
        self._delay = settings.milliseconds("elasticsearch.healthCheck.delay") / 1000
        self._lock = threading.Lock()
        self._level, self._summary = UNAVAILABLE, "Waiting for Elasticsearch"
        # Once it has been there, the saved objects are too.
        self._been_available = False
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="elasticsearch", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._delay)

    def look(self) -> None:
        """Ask once."""
        level, summary = self._found()
        with self._lock:
            changed = (level, summary) != (self._level, self._summary)
            self._level, self._summary = level, summary
            first = level in WITHOUT_TROUBLE and not self._been_available
            self._been_available = self._been_available or level in WITHOUT_TROUBLE
        if changed and level not in WITHOUT_TROUBLE:
            self._log("error", "elasticsearch-service", summary)
        elif changed and level == DEGRADED:
            self._log("warn", "elasticsearch-service", summary)
        if first:
            self._log("info", "savedobjects-service", "Migrations are not needed by the stand-in")
        if changed and level in WITHOUT_TROUBLE:
            self._log("info", "status", "Kibana is now available" + ("" if first else " (was unavailable)"))

    def _found(self) -> tuple[str, str]:
        try:
            status, answer = self._elastic.as_kibana("GET", "/_security/_authenticate")
            if status != 200:
                return CRITICAL, f"Unable to authenticate at Elasticsearch ({status}): {reason(answer)}"
            status, answer = self._elastic.as_kibana("GET", "/_nodes?filter_path=nodes.*.version")
            if status != 200 or not isinstance(answer, dict):
                return CRITICAL, f"Unable to retrieve version information from Elasticsearch nodes. {reason(answer)}"
        except Unreachable as error:
            return (CRITICAL if self._been_available else UNAVAILABLE), f"Unable to retrieve version information from Elasticsearch nodes. {error}"
        good, words = compatibility(self._version, [node["version"] for node in (answer.get("nodes") or {}).values()])
        if not good:
            return CRITICAL, words
        return (DEGRADED, words) if words else (AVAILABLE, "Elasticsearch is available")

    def state(self) -> dict:
        """Return the status part of the page."""
        with self._lock:
            level, summary = self._level, self._summary
            objects = AVAILABLE if self._been_available and level in WITHOUT_TROUBLE else UNAVAILABLE
        core = {
            "elasticsearch": {"level": level, "summary": summary, "meta": {"warningNodes": [], "incompatibleNodes": []}},
            "savedObjects": {
                "level": objects,
                "summary": "SavedObjects service has completed migrations and is available" if objects == AVAILABLE
                else "SavedObjects service is not available without a healthy Elasticsearch connection",
            },
        }
        order = [AVAILABLE, DEGRADED, UNAVAILABLE, CRITICAL]
        overall = max((service["level"] for service in core.values()), key=order.index)
        names = sorted(name for name, service in core.items() if service["level"] == overall)
        words = "All services and plugins are available" if overall == AVAILABLE else f"{len(names)} core service(s) {overall}: {', '.join(names)}"
        return {"overall": {"level": overall, "summary": words}, "core": core, "plugins": {}}


class Metrics:
    """Counts requests, and what the process takes. As in Kibana a number of requests is that of the last interval."""

    def __init__(self, settings: Settings, node_options: list[str], clock=time.time):
        self._interval = settings.milliseconds("ops.interval") / 1000
        self._heap_limit = heap_limit(node_options)
        self._clock, self._begun = clock, clock()
        self._lock = threading.Lock()
        self._now = self._empty()
        self._last = self._empty()
        self._open = 0
        self._delay = 0.0
        self._collected = clock()
        self._stop = threading.Event()

    @staticmethod
    def _empty() -> dict:
        return {"total": 0, "disconnects": 0, "codes": {}, "milliseconds": 0.0, "slowest": 0.0}

    def start(self) -> None:
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            self._stop.wait(self._interval)
            self.collect(max(time.monotonic() - begun - self._interval, 0.0))

    def collect(self, late: float = 0.0) -> None:
        """Close an interval; `late` is by how many seconds the timer was."""
        with self._lock:
            self._last, self._now = self._now, self._empty()
            self._delay, self._collected = late * 1000, self._clock()

    def opened(self, by: int) -> None:
        with self._lock:
            self._open += by

    def answered(self, code: int, milliseconds: float) -> None:
        with self._lock:
            self._now["total"] += 1
            self._now["codes"][str(code)] = self._now["codes"].get(str(code), 0) + 1
            self._now["milliseconds"] += milliseconds
            self._now["slowest"] = max(self._now["slowest"], milliseconds)

    def gone(self) -> None:
        with self._lock:
            self._now["disconnects"] += 1

    def state(self) -> dict:
        """Return the metrics part of the page."""
        with self._lock:
            last, delay, collected, opened = self._last, self._delay, self._collected, self._open
        resident = resident_bytes()
        process = {
            "memory": {
                "heap": {"total_in_bytes": resident, "used_in_bytes": resident, "size_limit": self._heap_limit}, "resident_set_size_in_bytes": resident,
                "array_buffers_in_bytes": 0, "external_in_bytes": 0,
            },
            "pid": os.getpid(), "event_loop_delay": delay, "uptime_in_millis": int((self._clock() - self._begun) * 1000),
        }
        load = os.getloadavg()
        return {
            "last_updated": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(collected)),
            "collection_interval_in_millis": int(self._interval * 1000),
            "os": {"platform": "linux", "platformRelease": f"linux-{os.uname().release}", "load": {"1m": load[0], "5m": load[1], "15m": load[2]}},
            "process": process,
            "processes": [process],
            "response_times": {
                "avg_in_millis": last["milliseconds"] / max(last["total"], 1), "max_in_millis": last["slowest"],
            },
            "concurrent_connections": opened,
            "requests": {"disconnects": last["disconnects"], "total": last["total"], "statusCodes": last["codes"], "status_codes": last["codes"]},
        }


def heap_limit(node_options: list[str]) -> int:
    """Return the largest heap in bytes, out of Node's options."""
    for option in reversed(node_options):
        match = re.match(r"--max[-_]old[-_]space[-_]size=(\d+)\Z", option)
        if match:
            return int(match[1]) * 1024**2
    return 4096 * 1024**2


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as handle:
        return int(handle.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def status_page(name: str, uuid: str, version: str, state: dict, metrics: dict) -> dict:
    """GET /api/status."""
    return {
        "name": name, "uuid": uuid,
        "version": {
            "number": version, "build_hash": "standin", "build_number": 0, "build_snapshot": False, "build_flavor": "traditional",
            "build_date": "2026-01-01T00:00:00.000Z",
        },
        "status": state, "metrics": metrics,
    }


def stats_page(name: str, uuid: str, version: str, state: dict, metrics: dict, address: str) -> dict:
    """GET /api/stats: the same numbers under shorter names."""
    host, _colon, _port = address.rpartition(":")
    shown = _short({key: value for key, value in metrics.items() if key != "processes"})
    shown["requests"].pop("statusCodes", None)
    return {
        **shown,
        "kibana": {
            "uuid": uuid, "name": name, "index": ".kibana", "host": host, "locale": "en", "transport_address": address, "version": version, "snapshot": False,
            "status": LEGACY[state["overall"]["level"]],
        },
    }


def _short(node: object) -> object:
    if isinstance(node, dict):
        return {key.replace("_in_bytes", "_bytes").replace("_in_millis", "_ms"): _short(value) for key, value in node.items()}
    return node


def server_name(settings: Settings) -> str:
    return str(settings["server.name"] or socket.gethostname())
