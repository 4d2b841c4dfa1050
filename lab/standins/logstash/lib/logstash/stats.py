"""What the API says: the product's names, this process' numbers."""

import os
import platform
import resource
import socket
import threading
import time

from . import VERSION

_STARTED = time.time()
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Stats:
    """Answers of the API over an agent."""

    def __init__(self, agent, heap):
        self.agent, self._heap = agent, heap
        self.http_address = None
        self._peak_files = self._peak_threads = 0

    def status(self):
        return self.health()["status"]

    def base(self):
        settings = self.agent.settings
        return {
            "host": socket.gethostname(), "version": VERSION, "http_address": self.http_address, "id": self.agent.id, "name": settings["node.name"],
            "ephemeral_id": self.agent.ephemeral_id, "status": self.status(), "snapshot": False,
            "pipeline": {
                "workers": settings["pipeline.workers"], "batch_size": settings["pipeline.batch.size"], "batch_delay": settings["pipeline.batch.delay"],
            },
        }

    def root(self):
        return self.base() | {"build_date": "2026-08-01T00:00:00+00:00", "build_sha": "lab-stand-in", "build_snapshot": False}

    # _node

    def node(self):
        return {"pipelines": self.node_pipelines(), "os": self.os_info(), "jvm": self.jvm_info()}

    def node_pipelines(self):
        return {
            name: {
                "ephemeral_id": self.agent.ephemeral_id, "hash": pipeline.config.hash, "workers": pipeline.workers,
                "batch_size": pipeline.settings["pipeline.batch.size"], "batch_delay": pipeline.settings["pipeline.batch.delay"],
                "config_reload_automatic": self.agent.settings["config.reload.automatic"],
                "config_reload_interval": int(self.agent.settings["config.reload.interval"] * 1e9),
                "dead_letter_queue_enabled": pipeline.settings["dead_letter_queue.enable"],
                **({"dead_letter_queue_path": pipeline.context.dlq.folder} if pipeline.context.dlq else {}),
            }
            for name, pipeline in list(self.agent.pipelines.items())
        }

    def os_info(self):
        return {"name": platform.system(), "arch": platform.machine(), "version": platform.release(), "available_processors": os.cpu_count()}

    def jvm_info(self):
        first, most = self._heap
        return {
            "pid": os.getpid(), "version": platform.python_version(), "vm_version": platform.python_version(), "vm_vendor": "lab stand-in",
            "vm_name": platform.python_implementation(), "start_time_in_millis": int(_STARTED * 1000),
            "mem": {"heap_init_in_bytes": first, "heap_max_in_bytes": most, "non_heap_init_in_bytes": 0, "non_heap_max_in_bytes": 0}, "gc_collectors": [],
        }

    # _node/stats

    def node_stats(self):
        pipelines = list(self.agent.pipelines.values())
        counts = [pipeline.events() for pipeline in pipelines]
        queues = [pipeline.queue.stats() for pipeline in pipelines if pipeline.state == "RUNNING"]
        return {
            "jvm": self.jvm(), "process": self.process(), "events": {name: sum(count[name] for count in counts) for name in (
                "in", "filtered", "out", "duration_in_millis", "queue_push_duration_in_millis",
            )},
            "flow": self.flow(), "pipelines": self.pipelines(), "reloads": self.reloads(), "os": {},
            "queue": {"events_count": sum(queue["events_count"] for queue in queues)},
        }

    def flow(self):
        total = {}
        for flow in list(self.agent.flows.values()):
            for name, rates in flow.rates().items():
                for window, value in rates.items():
                    into = total.setdefault(name, {})
                    into[window] = round(into.get(window, 0) + value, 4)
        return total

    def jvm(self):
        threads = threading.active_count()
        self._peak_threads = max(self._peak_threads, threads)
        return {
            "threads": {"count": threads, "peak_count": self._peak_threads}, "mem": self.memory(),
            "gc": {"collectors": {name: {"collection_time_in_millis": 0, "collection_count": 0} for name in ("old", "young")}},
            "uptime_in_millis": int((time.time() - _STARTED) * 1000),
        }

    def memory(self):
        """Return the process' memory as if it were a heap of Java."""
        with open("/proc/self/statm", encoding="ascii") as handle:
            used = int(handle.read().split()[1]) * _PAGE
        most = self._heap[1]
        pool = {"used_in_bytes": used, "peak_used_in_bytes": used, "max_in_bytes": most, "peak_max_in_bytes": most, "committed_in_bytes": used}
        return {
            "heap_used_percent": min(100, used * 100 // most), "heap_committed_in_bytes": used, "heap_max_in_bytes": most,
            "heap_used_in_bytes": min(used, most),
            "non_heap_used_in_bytes": 0, "non_heap_committed_in_bytes": 0,
            "pools": {"old": pool, "young": dict.fromkeys(pool, 0), "survivor": dict.fromkeys(pool, 0)},
        }

    def process(self):
        files = len(os.listdir("/proc/self/fd"))
        self._peak_files = max(self._peak_files, files)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        spent = usage.ru_utime + usage.ru_stime
        with open("/proc/self/statm", encoding="ascii") as handle:
            virtual = int(handle.read().split()[0]) * _PAGE
        load = os.getloadavg()
        return {
            "open_file_descriptors": files, "peak_open_file_descriptors": self._peak_files,
            "max_file_descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "mem": {"total_virtual_in_bytes": virtual},
            "cpu": {
                "total_in_millis": int(spent * 1000), "percent": min(100, int(spent * 100 / max(time.time() - _STARTED, 1) / (os.cpu_count() or 1))),
                "load_average": dict(zip(("1m", "5m", "15m"), load, strict=True)),
            },
        }

    def reloads(self):
        records = list(self.agent.reloads.values())
        return {name: sum(record[name] for record in records) for name in ("successes", "failures")}

    def pipelines(self):
        return {name: self._pipeline(name, pipeline) for name, pipeline in list(self.agent.pipelines.items())}

    def _pipeline(self, name, pipeline):
        plugins, dlq = pipeline.plan.plugins, pipeline.context.dlq
        alive = pipeline.state == "RUNNING"
        return {
            "events": pipeline.events(), "flow": self.agent.flows[name].rates() if name in self.agent.flows else {},
            "plugins": {
                "inputs": [plugin.stats() for plugin in plugins["input"]], "codecs": [],
                "filters": [pipeline.filter_stats(plugin) for plugin in plugins["filter"]], "outputs": [plugin.stats() for plugin in plugins["output"]],
            },
            "reloads": self.agent.reloads.get(name), "queue": pipeline.queue.stats() if alive else {"type": pipeline.queue.TYPE},
            **({"dead_letter_queue": dlq.stats()} if dlq and alive else {}), "hash": pipeline.config.hash, "ephemeral_id": self.agent.ephemeral_id,
        }

    # _health_report

    def health(self):
        """Return the report: the worst of all pipelines decides."""
        indicators = {name: _pipeline_health(pipeline.state) for name, pipeline in list(self.agent.pipelines.items())}
        for name, record in list(self.agent.reloads.items()):
            if name not in indicators:
                indicators[name] = _pipeline_health("TERMINATED" if record["last_error"] else "LOADING")
        statuses = [indicator["status"] for indicator in indicators.values()]
        worst = next((status for status in ("red", "yellow", "unknown", "green") if status in statuses), "unknown")
        count = sum(1 for status in statuses if status != "green")
        words = "1 indicator is healthy (`pipelines`)" if worst == "green" else f"1 indicator is {_WORDS[worst]} (`pipelines`)"
        within = f"{count} indicators are not healthy" if count else f"{len(statuses)} indicators are healthy"
        return {
            "status": worst, "symptom": words,
            "indicators": {"pipelines": {"status": worst, "symptom": within, "indicators": indicators}},
        }


_WORDS = {"red": "unhealthy", "yellow": "concerning", "unknown": "unknown"}
_HEALTH = {
    "RUNNING": ("green", "The pipeline is healthy"), "LOADING": ("yellow", "The pipeline is concerning; 1 area is impacted and 1 diagnosis is available"),
    "FINISHED": ("yellow", "The pipeline is concerning; 1 area is impacted and 1 diagnosis is available"),
    "TERMINATED": ("red", "The pipeline is unhealthy; 1 area is impacted and 1 diagnosis is available"),
}
_CAUSES = {
    "LOADING": "pipeline is loading", "FINISHED": "pipeline has finished running because its inputs have been closed and all events have been processed",
    "TERMINATED": "pipeline is not running, likely because it has encountered an error",
}


def _pipeline_health(state):
    status, symptom = _HEALTH[state]
    report = {"status": status, "symptom": symptom, "details": {"status": {"state": state}}}
    if status != "green":
        report["diagnosis"] = [{"id": f"logstash:health:pipeline:status:diagnosis:{state.lower()}", "cause": _CAUSES[state], "action": "view logs"}]
        report["impacts"] = [{
            "id": "logstash:health:pipeline:status:impact:not_processing", "severity": 1, "description": "the pipeline is not currently processing",
            "impact_areas": ["pipeline_execution"],
        }]
    return report
