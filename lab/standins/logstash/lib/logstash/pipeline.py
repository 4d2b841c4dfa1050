"""A pipeline: inputs, a queue, and workers that run filters and outputs over batches."""

import hashlib
import os
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from . import conditions, grammar, options
from .bus import Bus
from .diskqueue import DiskQueue
from .dlq import Writer
from .errors import AbortedBatch, ConditionError, ConfigurationError
from .filters import FILTERS
from .grammar import Branch
from .inputs import INPUTS
from .logs import Logger
from .outputs import OUTPUTS
from .queues import MemoryQueue
from .settings import Settings
from .substitution import replace

_PLUGINS = {"input": INPUTS, "filter": FILTERS, "output": OUTPUTS}


@dataclass(frozen=True)
class PipelineConfig:
    """What a pipeline is made of: its settings and the texts of its files."""

    id: str
    settings: Settings
    parts: tuple[tuple[str, str], ...]
    """(file, text), in the order of their names."""

    @cached_property
    def hash(self):
        return hashlib.sha256("\0".join(text for _file, text in self.parts).encode()).hexdigest()


@dataclass
class Context:
    """What plugins know of the pipeline that they are in."""

    pipeline: str
    settings: Settings
    bus: Bus
    dlq: Writer | None = None
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def ecs(self):
        return self.settings["pipeline.ecs_compatibility"]

    @property
    def drains(self):
        """Whether a stop waits until the queue is empty: always, when it would be lost with the process."""
        return self.settings["queue.type"] == "memory" or self.settings["queue.drain"]


class Plan:
    """A pipeline's plugins, made from its configuration and checked, but not started."""

    def __init__(self, config, context, variables):
        """Raises ConfigurationError for what `--config.test_and_exit` finds wrong."""
        self.config, self.context = config, context
        self._variables, self._ids = variables, {}
        self.plugins = {"input": [], "filter": [], "output": []}
        sections = {name: [] for name in grammar.SECTIONS}
        for file, text in config.parts:
            for name, nodes in grammar.parse(text, config.settings["config.support_escapes"], file).items():
                sections[name] += [self._build(name, node, file) for node in nodes]
        self.inputs, self.filters, self.outputs = (sections[name] for name in grammar.SECTIONS)
        _mark_last(self.outputs)
        if not self.inputs and not self.outputs and not self.filters:
            raise ConfigurationError(f"No configuration found in the configured sources for pipeline {config.id}")
        if any(isinstance(node, Branch) for node in self.inputs):
            raise ConfigurationError(f"pipeline {config.id}: conditionals have no place in the input section")

    def _build(self, kind, node, file):
        """Return a plugin, or a branch as [(condition, nodes)]."""
        if isinstance(node, Branch):
            return Branch(tuple(
                (conditions.compile_condition(condition) if condition is not None else None, [self._build(kind, inner, file) for inner in body])
                for condition, body in node.arms
            ))
        known = _PLUGINS[kind].get(node.name)
        if known is None:
            raise ConfigurationError(
                f"Couldn't find any {kind} plugin named '{node.name}'. Are you sure this is correct? Trying to load the {node.name} {kind} plugin "
                f"resulted in this error: this stand-in has {', '.join(sorted(_PLUGINS[kind]))} ({file} line {node.line})"
            )
        given = {name: self._filled(value) for name, value in options.merged(node.attributes).items()}
        plugin_id = given.get("id") or hashlib.sha256(f"{file}:{node.line}:{node.column}:{node.name}".encode()).hexdigest()
        if plugin_id in self._ids:
            raise ConfigurationError(
                f"Two plugins have the id '{plugin_id}', please fix this conflict: {node.name} in {file} line {node.line} and {self._ids[plugin_id]}"
            )
        self._ids[plugin_id] = f"{node.name} in {file} line {node.line}"
        try:
            plugin = known(plugin_id, given, self.context)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error} ({file} line {node.line})") from None
        self.plugins[kind].append(plugin)
        return plugin

    def _filled(self, value):
        """Return an option's value with its variables: also those of a codec's name, of lists and of hashes."""
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, dict):
            return {replace(key, self._variables): self._filled(item) for key, item in value.items()}
        return replace(value, self._variables)

    def watched(self):
        """Return path -> (modified, size) of the certificates and keys in use."""
        found = {}
        for plugin in (*self.plugins["input"], *self.plugins["output"]):
            for path in getattr(plugin, "watched", list)():
                if os.path.exists(path):
                    entry = os.stat(path)
                    found[path] = (entry.st_mtime_ns, entry.st_size, entry.st_ino)
        return found


def _mark_last(nodes):
    """Tell outputs after which nothing comes."""
    if nodes and isinstance(nodes[-1], Branch):
        for _condition, body in nodes[-1].arms:
            _mark_last(body)
    elif nodes:
        nodes[-1].is_last = True


class Counter:
    """One worker's count of one filter's work."""

    __slots__ = ("entered", "left", "nanoseconds")

    def __init__(self):
        self.entered = self.left = self.nanoseconds = 0


class Pipeline:
    """A running pipeline."""

    def __init__(self, plan):
        self.plan, self.config, self.context = plan, plan.config, plan.context
        self.id, self.settings = plan.config.id, plan.config.settings
        self.log = Logger("logstash.javapipeline", self.id)
        self.state = "LOADING"
        self.error = None
        self.workers = self.settings["pipeline.workers"]
        if self.settings["pipeline.ordered"] == "true" and self.workers > 1:
            raise ConfigurationError("enabling the 'pipeline.ordered' setting requires the use of a single pipeline worker")
        self.watched = plan.watched()
        self._counters = {plugin.id: [] for plugin in plan.plugins["filter"]}
        self._lock = threading.Lock()
        self.entered = self.filtered = self.left = 0
        self.busy_seconds = self.push_seconds = 0.0
        self.started = time.monotonic()
        self.queue = None
        self._threads, self._registered, self._started = [], [], []

    # The life of a pipeline

    def start(self):
        """Register all plugins and let events flow; raises ConfigurationError with everything undone."""
        try:
            self._open_queues()
            for plugin in (*self.plan.plugins["output"], *self.plan.plugins["filter"], *self.plan.plugins["input"]):
                self._register(plugin)
            for number in range(self.workers):
                thread = threading.Thread(target=self._work, name=f"[{self.id}]>worker{number}", daemon=True)
                self._threads.append(thread)
                thread.start()
            for plugin in self.plan.plugins["input"]:
                self._started.append(plugin)
                plugin.start(self._write)
        except BaseException:
            self.stop()
            raise
        self.state = "RUNNING"
        self.log.info("Pipeline started", **{"pipeline.id": self.id})

    def _register(self, plugin):
        try:
            plugin.register()
            self._registered.append(plugin)
        except ConfigurationError as error:
            raise ConfigurationError(f"Pipeline error: plugin {plugin.NAME} ({plugin.id}): {error}") from None

    def _open_queues(self):
        if self.settings["dead_letter_queue.enable"]:
            self.context.dlq = Writer(os.path.join(self.settings["path.dead_letter_queue"], self.id), self.settings)
        if self.settings["queue.type"] == "persisted":
            self.queue = DiskQueue(os.path.join(self.settings["path.queue"], self.id), self.settings)
        else:
            self.queue = MemoryQueue(self.settings["pipeline.batch.size"] * self.workers)

    def stop(self):
        """End in order: inputs, workers (which empty the queue when that is asked for), outputs."""
        for plugin in self._started:
            plugin.stop()
        self.context.stopping.set()
        if self.queue:
            self.queue.close()
            for thread in self._threads:
                thread.join()
            self.queue.delete()
        for plugin in self._registered:
            if plugin.TYPE == "output":
                plugin.close()
        if self.context.dlq:
            self.context.dlq.close()
        if self.state != "TERMINATED":
            self.state = "FINISHED"
        self.log.info("Pipeline terminated", **{"pipeline.id": self.id})

    # Events in

    def _write(self, events, waiting=None):
        began = time.monotonic()
        with self._lock:
            self.entered += len(events)
        self.queue.write(events, waiting)
        with self._lock:
            self.push_seconds += time.monotonic() - began

    # Events through

    def _work(self):
        run = self._filters(self.plan.filters)
        size, delay = self.settings["pipeline.batch.size"], self.settings["pipeline.batch.delay"] / 1000
        stopping, drains = self.context.stopping, self.context.drains
        while True:
            batch = self.queue.read(size, delay)
            if not batch.events:
                if self.queue.closed:
                    return
                continue
            if stopping.is_set() and not drains:
                return
            try:
                self._process(batch, run)
            except AbortedBatch:
                self.log.info("The batch in work is given up and stays in the queue", events=len(batch.events))
                return
            except Exception as error:
                self._crash(error)
                return
            self.queue.ack(batch)

    def _process(self, batch, run):
        began = time.monotonic()
        for event in batch.events:
            try:
                run(event)
            except ConditionError as error:
                self._unconditional(event, error)
        kept = [event for event in batch.events if not event.cancelled]
        with self._lock:
            self.filtered += len(batch.events)
        if kept:
            self._output(self.plan.outputs, kept)
        with self._lock:
            self.left += len(kept)
            self.busy_seconds += time.monotonic() - began

    def _unconditional(self, event, error):
        """End an event whose condition cannot be evaluated."""
        event.cancelled = True
        if self.context.dlq:
            self.context.dlq.write(event, "if-statement", "if-statement", f"condition evaluation error, {error}")
        self.log.warn(f"{error}. Event was dropped, enable debug logging to see the event's payload")

    def _crash(self, error):
        self.state, self.error = "TERMINATED", error
        self.log.error("Pipeline worker error, the pipeline will be stopped", **{"pipeline.id": self.id, "error": error, "exception": type(error).__name__})
        self.context.stopping.set()
        self.queue.close()
        for plugin in self.plan.plugins["input"]:
            threading.Thread(target=plugin.stop, daemon=True).start()

    def _filters(self, nodes):
        """Return event -> nothing for one worker, with counters of its own."""
        steps = [self._branch(node) if isinstance(node, Branch) else self._filter(node) for node in nodes]
        if len(steps) == 1:
            return steps[0]

        def run(event):
            for step in steps:
                step(event)
                if event.cancelled:
                    return

        return run

    def _branch(self, node):
        arms = [(condition, self._filters(body)) for condition, body in node.arms]
        if len(arms) == 1:
            condition, body = arms[0]

            def one(event):
                if condition(event):
                    body(event)

            return one

        def several(event):
            for condition, body in arms:
                if condition is None or condition(event):
                    body(event)
                    return

        return several

    def _filter(self, plugin):
        counter = Counter()
        with self._lock:
            self._counters[plugin.id].append(counter)
        apply, decorate, clock = plugin.filter, plugin.decorate, time.perf_counter_ns

        def step(event):
            began = clock()
            counter.entered += 1
            if apply(event) and decorate:
                decorate(event)
            if not event.cancelled:
                counter.left += 1
            counter.nanoseconds += clock() - began

        return step

    def _output(self, nodes, events):
        for node in nodes:
            if not isinstance(node, Branch):
                node.send(events)
                continue
            rest = events
            for condition, body in node.arms:
                chosen, rest = self._divide(condition, rest)
                if chosen:
                    self._output(body, chosen)

    def _divide(self, condition, events):
        """Return (events for which a condition holds, the others); one that cannot be judged is in neither."""
        if condition is None:
            return events, []
        chosen, rest = [], []
        for event in events:
            try:
                (chosen if condition(event) else rest).append(event)
            except ConditionError as error:
                self._unconditional(event, error)
        return chosen, rest

    # What is known of it

    def filter_stats(self, plugin):
        counters = self._counters[plugin.id]
        return {
            "id": plugin.id, "name": plugin.NAME,
            "events": {
                "in": sum(counter.entered for counter in counters), "out": sum(counter.left for counter in counters),
                "duration_in_millis": sum(counter.nanoseconds for counter in counters) // 1_000_000,
            },
        }

    def events(self):
        with self._lock:
            return {
                "in": self.entered, "filtered": self.filtered, "out": self.left, "duration_in_millis": int(self.busy_seconds * 1000),
                "queue_push_duration_in_millis": int(self.push_seconds * 1000),
            }


def read_parts(pattern):
    """Return (file, text) of the files that path.config names: a file, a folder or a pattern."""
    path = Path(pattern)
    if path.is_dir():
        files = [one for one in path.iterdir() if one.is_file()]
    else:
        base = Path(path.anchor or ".")
        files = [one for one in base.glob(str(path.relative_to(path.anchor) if path.anchor else path)) if one.is_file()]
    files = [one for one in files if not one.name.endswith("~")]
    if not files:
        raise ConfigurationError(f"No config files found in path {{:path=>\"{pattern}\"}}")
    try:
        return tuple((str(one), one.read_text(encoding="utf-8")) for one in sorted(files))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{pattern}: {error}") from None
