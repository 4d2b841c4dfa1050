"""Prints how long Prometheus takes to evaluate all rules over the series of 50 hosts: `make bench`. It needs no lab host.

The site is inventories/single with 49 further hosts, so rules and targets are those that site.yml would ship with the defaults. Each target has the metrics
and labels of its job in the recording that the rules are tested against (tests/content/fixtures/series); the numbers are made up: counters rise, most of
it is healthy. They come in two ways:

- What rules look back at, up to 30 days, is written by promtool as blocks before the start.
- All series are scraped from pages on the loopback every 15 seconds, while the rules are evaluated.

A group with a longer interval of its own is part of the cycles in which it is due.

Exit code 0: a cycle takes at most a second, as the median; 1: longer, or a rule fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import http.server
import itertools
import json
import math
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests/content")]

from rendered import role_files  # noqa: E402

from observatory import promql, series, shipped  # noqa: E402
from observatory.shipped import site_values  # noqa: E402

HOSTS, HUB = 50, "monitor1"
LIMIT_SECONDS = 1.0
# A cycle is the time from one evaluation to the next. The first ones are not counted: the service has just started. The rest is longer than the longest
# interval of a group.
WARM_UP, CYCLES = 4, 42
SLOWEST = 8
READY_SECONDS = 120
# Groups of the inventory that have every host; of the rest of the platform there is one, on the hub.
EVERYWHERE = ("node_exporter", "filebeat", "json_exporter")
FEATURES = "exemplar-storage,native-histograms"
FOLDER, RULES, TARGETS = "/etc/prometheus/", "/etc/prometheus/rules/", "/etc/prometheus/targets/"

# -- the numbers

# Made by Prometheus itself, with each scrape.
OWN = ("up", "scrape_*")
# How many values a label has whose values were too many to be recorded, by metric and label; all others of that kind have one.
MANY = {
    "node_systemd_*/name": 60, "node_scrape_collector_*/collector": 40, "*/index": 20, "*/rule_group": 16, "*/handler": 25, "*/span_name": 10,
    "logstash_*/plugin_id": 25, "*/http_route": 10,
}
BUCKETS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
# Labels of which one says the other: their values are taken in pairs, of all others each with each.
TOGETHER = (
    ("device", "fstype", "mountpoint", "operstate", "adminstate", "duplex"), ("plugin", "plugin_id", "plugin_type"), ("name", "type"),
    ("http_route", "http_request_method", "server_address", "server_port"), ("network_protocol_name", "network_protocol_version"),
)
COUNTERS = ("*_total", "*_count", "*_sum", "*_bucket")
# Numbers of a site that is well, by metric, the first match counts: a counter's growth a second, another's value, or by the value of a label. A text
# is an age in seconds. All else is 1.
WELL: dict[str, float | str | dict[str, float]] = {
    "node_cpu_seconds_total": {"idle": 0.8, "": 0.02},
    "node_systemd_unit_state": {"active": 1, "": 0},
    "elasticsearch_*_status": {"green": 1, "": 0},
    "alert_canary_*": "60", "node_time_seconds": "0", "*_timestamp_seconds": "600", "*_time_seconds": "864000", "*_expiry": "-5184000",
    "node_filesystem_size_bytes": 1e11, "node_filesystem_files": 6e6, "node_filesystem_files_free": 5e6, "node_memory_MemTotal_bytes": 8e9,
    "elasticsearch_filesystem_data_*": 6e11, "elasticsearch_clustersettings_*": 1e10,
    "*_max_*": 1e6, "*_max": 1e6, "*_maximum": 1e6, "*_limit*": 1e9, "*_capacity*": 1e6, "*_interval_*": 15, "*_avail*_bytes": 5e10,
    "node_memory_MemAvailable_bytes": 4e9, "process_*_fds": 50, "*_bytes": 1e8,
    # What stands still while nothing is wrong.
    "*fail*": 0, "*error*": 0, "*_errs_total": 0, "*drop*": 0, "*refused*": 0, "*corruption*": 0, "*out_of_order*": 0, "*duplicate*": 0, "*exceeded*": 0,
    "*restart*": 0, "*missed*": 0, "*_queue_*": 0, "*pending*": 0, "*overdue*": 0, "*_readonly": 0, "*read_only*": 0, "*relocating*": 0, "*stagnating*": 0,
    "*hung*": 0, "*pressure*": 0, "*throttle*": 0, "*disconnects": 0, "*_offset_seconds": 0, "*_duration_seconds": 0.01, "*_gc_*": 0.01, "*_engine_queries": 0,
}
# The same by labels' values.
STILL = frozenset(("400", "404", "500", "dropped", "duplicates", "err", "failed", "failure", "toomany"))
# Labels that are empty while nothing is wrong.
EMPTY = frozenset(("error_type", "device_error"))
# Beyond that a number moves, as one that is measured does: what never changes takes less room and time.
MOVING = 1000

# -- the history

# promtool gets as much at once as Prometheus has in its largest blocks, with 35 days of retention.
BLOCK_SECONDS = 18 * 3600
LONGEST_SECONDS = 30 * 86400
LOOKBACK_SECONDS = 300
SLA_PROBES = 10
# Where the history ends, and where all counters began.
NOW = time.time()
BEGUN = NOW - LONGEST_SECONDS - 86400


@dataclasses.dataclass(frozen=True)
class Line:
    """A series: its labels with those of its target, its text on an exporter's page and in a block, and what its number is made from."""

    metric: str
    labels: dict[str, str]
    shown: str
    stored: str
    number: float
    rises: bool
    age: float | None

    def at(self, moment: float) -> str:
        """Return its value."""
        if self.age is not None:
            return f"{moment - self.age:.0f}"
        if self.rises:
            return f"{self.number * (moment - BEGUN):.3f}"
        return f"{self.number * (1 + math.sin(moment / 97) / 100):.0f}" if self.number >= MOVING else f"{self.number:g}"


# -- the site


def inventory(folder: pathlib.Path) -> pathlib.Path:
    """Write the inventory of one machine, grown to 50."""
    data = yaml.safe_load((ROOT / "inventories/single/hosts.yml").read_text(encoding="utf-8"))
    site = data["observatory"]
    others = [f"app{number}" for number in range(1, HOSTS)]
    for group in EVERYWHERE:
        site["children"][group]["hosts"].update({name: {} for name in others})
    site["children"]["watcher"] = {"hosts": {others[0]: {}}}
    site["hosts"].update({name: {"ansible_host": f"192.0.2.{number}"} for number, name in enumerate(others, 100)})
    folder.mkdir()
    (folder / "hosts.yml").write_text(yaml.safe_dump(data), encoding="utf-8")
    (folder / "group_vars").symlink_to(ROOT / "inventories/single/group_vars")
    return folder


def targets(files: t.Mapping[str, t.Mapping[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Return job -> labels of each target, out of the role's own target files; and those of an application on each host."""
    found = {}
    for path, file in files.items():
        if path.startswith(TARGETS):
            entries = yaml.safe_load(file["content"]) or []
            found[pathlib.PurePath(path).stem] = [
                {name: value for name, value in entry["labels"].items() if not name.startswith("__")} for entry in entries for _ in entry["targets"]
            ]
    names = sorted(entry["host"] for entry in found["node"] if entry["host"] != HUB)
    found["applications"] = [
        {"host": name, "instance": f"{name}:8080", "service_name": f"service{number}", "team": "platform"} for number, name in enumerate(names)
    ]
    website = {"host": HUB, "component": "website", "module": "http_2xx", "prober": HUB, "team": "platform", "sla": "true"}
    found["blackbox"] += [{**website, "instance": f"https://{number}.example.org/", "probe": f"page{number}"} for number in range(SLA_PROBES)]
    return found


# -- the series


def matching(table: t.Mapping[str, t.Any], name: str, default: t.Any = None) -> t.Any:
    return next((value for pattern, value in table.items() if fnmatch.fnmatchcase(name, pattern)), default)


def is_one_of(patterns: t.Iterable[str], name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def recorded() -> dict[str, dict[str, series.Labels]]:
    """Return job -> metric -> labels: the recording, and what states.yml says of applications."""
    found, _ = series.recorded(ROOT)
    for entry in series.states(ROOT):
        if entry["jobs"] == [series.ANY_JOB]:
            series.add(found, {**entry, "jobs": ["applications"]}, {"applications": []})
    jobs: dict[str, dict[str, series.Labels]] = {}
    for metric, places in found.items():
        if not is_one_of((*OWN, *series.ALERT_SERIES), metric):
            for job, labels in places.items():
                jobs.setdefault(job, {})[metric] = labels
    return jobs


def values(metric: str, label: str, known: set[str] | None) -> list[str]:
    if label == "le":
        return list(BUCKETS)
    if label in EMPTY:
        return [""]
    if known:
        return sorted(known)
    return [f"{label}{number}" for number in range(matching(MANY, f"{metric}/{label}", 1))]


def lines(metric: str, labels: series.Labels, target: t.Mapping[str, str]) -> t.Iterator[Line]:
    """Yield the series that a target has of a metric."""
    free = {label: values(metric, label, known) for label, known in labels.items() if label not in target and label not in ("job", "__name__")}
    parts: list[list[dict[str, str]]] = []
    for names in [*TOGETHER, *((label,) for label in free if not any(label in names for names in TOGETHER))]:
        there = [name for name in names if name in free]
        if there:
            size = max(len(free[name]) for name in there)
            parts.append([{name: free[name][number % len(free[name])] for name in there} for number in range(size)])
    given = matching(WELL, metric, 1.0)
    rises = is_one_of(COUNTERS, metric) and not isinstance(given, str)
    for combination in itertools.product(*parts):
        own = {name: value for part in combination for name, value in part.items()}
        number = given
        if isinstance(given, dict):
            number = next((entry for value, entry in given.items() if value in own.values()), given[""])
        if rises and STILL & set(own.values()):
            number = 0.0
        if "le" in own:
            # As many as fit into this bucket and all before it.
            number *= (BUCKETS.index(own["le"]) + 1) / len(BUCKETS)
        yield Line(
            metric, {**own, **target}, text_of(metric, own), text_of(metric, {**own, **target}), 0.0 if isinstance(number, str) else float(number), rises,
            float(number) if isinstance(number, str) else None,
        )


def text_of(metric: str, labels: t.Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{inside}}}"


# -- what rules look back at


def windows(expressions: t.Iterable[str]) -> dict[str, list[tuple[dict[str, str], int]]]:
    """Return metric -> (labels, seconds) of each selector: how far before now rules read it, by range or by offset."""
    found: dict[str, list[tuple[dict[str, str], int]]] = {}
    for expression in expressions:
        for selector in promql.selectors(expression):
            found.setdefault(selector.metric, []).append((_labels(selector), 0))
        before = ""
        for word in promql.tokens(expression):
            span = word.text.strip("[]")
            if (word.kind == "range" or before == "offset") and site_values.is_duration(span):
                selector = promql.selectors(expression[: word.start])[-1]
                found[selector.metric].append((_labels(selector), int(site_values.seconds(span))))
            before = word.text
    return found


def _labels(selector: promql.Selector) -> dict[str, str]:
    return {matcher.label: matcher.value for matcher in selector.matchers if matcher.sign == "="}


def history(everything: t.Sequence[Line], groups: t.Sequence[dict[str, t.Any]], interval: int) -> list[tuple[int, int, Line]]:
    """Return (seconds, step, series) of all series that rules read, and of records that only repeat a series, the longest first."""
    back = windows(rule["expr"] for group in groups for rule in group["rules"])
    found = []

    def want(line: Line, step: int) -> None:
        spans = [seconds for labels, seconds in back.get(line.metric, []) if labels.items() <= line.labels.items()]
        if spans:
            found.append((min(max(spans), LONGEST_SECONDS) + LOOKBACK_SECONDS, step, line))

    for line in everything:
        want(line, interval)
    for group in groups:
        for rule in group["rules"]:
            sources = promql.selectors(rule["expr"])
            if "record" in rule and len(sources) == 1 and re.fullmatch(r"\w+(\{[^}]*\})?", rule["expr"].strip()):
                step = int(site_values.seconds(group.get("interval", f"{interval}s")))
                for line in everything:
                    if line.metric == sources[0].metric and _labels(sources[0]).items() <= line.labels.items():
                        want(dataclasses.replace(line, metric=rule["record"], stored=text_of(rule["record"], line.labels)), step)
    return sorted(found, key=lambda entry: -entry[0])


def backfill(wanted: t.Sequence[tuple[int, int, Line]], interval: int, folder: pathlib.Path) -> int:
    """Write blocks with this history; return how many samples that are."""
    end = int(NOW) - int(NOW) % interval
    first = end - wanted[0][0]
    count = 0
    for block in range(first - first % BLOCK_SECONDS, end, BLOCK_SECONDS):
        path = folder / "history.txt"
        with path.open("w", encoding="utf-8") as handle:
            for moment in range(max(block, first - first % interval), min(block + BLOCK_SECONDS, end), interval):
                there = itertools.takewhile(lambda entry, age=end - moment: entry[0] >= age, wanted)
                rows = [f"{line.stored} {line.at(moment)} {moment}\n" for _, step, line in there if moment % step == 0]
                handle.writelines(rows)
                count += len(rows)
            handle.write("# EOF\n")
        command = [shipped.checker("promtool"), "tsdb", "create-blocks-from", "openmetrics", f"--max-block-duration={BLOCK_SECONDS // 3600}h", "--quiet"]
        subprocess.run([*command, str(path), str(folder / "data")], check=True)
        path.unlink()
    return count


# -- what is scraped


class Pages(http.server.BaseHTTPRequestHandler):
    """Every target's page, by /job/number. It also takes the alerts that Prometheus sends, and drops them."""

    pages: t.ClassVar[dict[str, list[Line]]] = {}
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        now = time.time()
        self._answer("".join(f"{line.shown} {line.at(now)}\n" for line in self.pages[self.path]).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: t.Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: t.Any) -> None:
        """Prometheus ends its connections when it ends."""


@contextlib.contextmanager
def served(pages: dict[str, list[Line]]) -> t.Iterator[str]:
    """Give the pages; yield their address."""
    Pages.pages = pages
    server = Server(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def configure(files: t.Mapping[str, t.Mapping[str, str]], sites: t.Mapping[str, t.Sequence[t.Mapping[str, str]]], address: str, folder: pathlib.Path) -> int:
    """Write the role's configuration with targets on the loopback; return the seconds between two evaluations."""
    (folder / "rules").mkdir(parents=True)
    for path, file in files.items():
        if path.startswith(RULES):
            (folder / "rules" / pathlib.PurePath(path).name).write_text(file["content"], encoding="utf-8")
    config = yaml.safe_load(files[FOLDER + "prometheus.yml"]["content"])
    jobs = [
        {"job_name": job, "static_configs": [
            {"targets": [address], "labels": {**target, "__metrics_path__": f"/{job}/{number}"}} for number, target in enumerate(entries)
        ]}
        for job, entries in sites.items()
    ]
    wanted = {"global": config["global"], "rule_files": ["rules/*.yml"], "scrape_configs": jobs, "storage": config["storage"],
              "alerting": {"alertmanagers": [{"static_configs": [{"targets": [address]}]}]}}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(wanted), encoding="utf-8")
    assert config["global"]["scrape_interval"] == config["global"]["evaluation_interval"]
    return int(site_values.seconds(config["global"]["evaluation_interval"]))


# -- Prometheus


class Prometheus:
    """The real one, on the loopback."""

    def __init__(self, folder: pathlib.Path, config: pathlib.Path):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._log = (folder / "prometheus.log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [shipped.checker("prometheus"), f"--config.file={config / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address={self.address}", "--storage.tsdb.retention.time=35d", f"--enable-feature={FEATURES}"],
            stdout=self._log, stderr=subprocess.STDOUT,
        )

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as answer:
            return answer.read().decode()

    def wait(self) -> None:
        """Wait until it is ready."""
        for _ in range(READY_SECONDS):
            with contextlib.suppress(OSError):
                self.ask("/-/ready")
                return
            if self.process.poll() is not None:
                break
            time.sleep(1)
        self._log.seek(0)
        sys.exit(f"Prometheus does not become ready:\n{self._log.read()[-4000:]}")

    def groups(self) -> list[dict[str, t.Any]]:
        return json.loads(self.ask("/api/v1/rules?exclude_alerts=true"))["data"]["groups"]

    def value(self, metric: str) -> float:
        """Return the sum of one of its own metrics."""
        return sum(float(line.rpartition(" ")[2]) for line in self.ask("/metrics").splitlines() if re.match(rf"{metric}[{{ ]", line))

    def alerts(self) -> int:
        """Return how many alerts are pending or fire."""
        return len(json.loads(self.ask("/api/v1/alerts"))["data"]["alerts"])

    def failures(self) -> list[str]:
        """Return what went wrong with a rule at its last evaluation."""
        return [f"{rule['name']}: {rule['lastError']}" for group in self.groups() for rule in group["rules"] if rule.get("lastError")]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self._log.close()


# -- the measurement


def measure(prometheus: Prometheus, interval: int) -> tuple[list[float], dict[str, list[float]], dict[str, list[float]]]:
    """Return the seconds of each cycle, and those of each evaluation of every group and every rule."""
    cycles: list[float] = []
    groups: dict[str, list[float]] = {}
    rules: dict[str, list[float]] = {}
    seen: dict[str, str] = {}
    for number in range(WARM_UP + CYCLES):
        time.sleep(interval)
        due = {}
        for group in prometheus.groups():
            component = pathlib.PurePath(group["file"]).stem
            name = f"{component}: {group['name']}"
            if seen.get(name) != group["lastEvaluation"]:
                seen[name] = group["lastEvaluation"]
                due[component, name] = group
        if number < WARM_UP:
            continue
        cycles.append(sum(group["evaluationTime"] for group in due.values()))
        for (component, name), group in due.items():
            groups.setdefault(name, []).append(group["evaluationTime"])
            for place, rule in enumerate(group["rules"]):
                kind = rule.get("labels", {}).get("severity", "record") if rule["type"] == "alerting" else "record"
                rules.setdefault(f"{component}: {rule['name']} ({kind}, {place})", []).append(rule["evaluationTime"])
    return cycles, groups, rules


def table(head: str, rows: t.Iterable[t.Sequence[t.Any]]) -> None:
    print(f"{head}\n|{'---|' * (head.count('|') - 1)}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.3f}' if isinstance(cell, float) else str(cell) for cell in row)} |")
    print(flush=True)


def slowest(what: str, times: t.Mapping[str, t.Sequence[float]]) -> None:
    ordered = sorted(times.items(), key=lambda entry: -statistics.median(entry[1]))[:SLOWEST]
    table(f"| {what} | evaluations | seconds, median | seconds, worst |", [(name, len(took), statistics.median(took), max(took)) for name, took in ordered])


def main() -> int:
    """Make the series, let the rules be evaluated, print what that took."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        work = pathlib.Path(name)
        files = role_files("prometheus", HUB, str(inventory(work / "inventory")))
        groups = [group for path, file in files.items() if path.startswith(RULES) for group in yaml.safe_load(file["content"])["groups"]]
        sites, known = targets(files), recorded()
        pages = {
            f"/{job}/{number}": [line for metric, labels in known[job].items() for line in lines(metric, labels, {"job": job, **target})]
            for job, entries in sites.items() for number, target in enumerate(entries)
        }
        interval = configure(files, sites, stack.enter_context(served(pages)), work / "etc")
        samples = backfill(history([line for page in pages.values() for line in page], groups, interval), interval, work)
        prometheus = Prometheus(work, work / "etc")
        stack.callback(prometheus.end)
        prometheus.wait()
        cycles, of_groups, of_rules = measure(prometheus, interval)
        failed = prometheus.failures()
        table("| hosts | series | samples before | rules | alerts | seconds a cycle, median | best | worst | all groups once, median | missed |", [(
            HOSTS, int(prometheus.value("prometheus_tsdb_head_series")), samples, sum(len(group["rules"]) for group in groups), prometheus.alerts(),
            statistics.median(cycles), min(cycles), max(cycles), sum(statistics.median(took) for took in of_groups.values()),
            int(prometheus.value("prometheus_rule_group_iterations_missed_total")),
        )])
    slowest("slowest groups", of_groups)
    slowest("slowest rules", of_rules)
    if failed:
        print("Rules that fail:", *failed, sep="\n")
    good = statistics.median(cycles) <= LIMIT_SECONDS
    print(f"{'At most' if good else 'More than'} {LIMIT_SECONDS:g} s a cycle")
    return 0 if good and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
