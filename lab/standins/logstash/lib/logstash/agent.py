"""Keeps the running pipelines as the files say."""

import os
import threading
import uuid
from pathlib import Path

from . import timestamps, yamlfile
from .bus import Bus
from .errors import BootstrapCheckError, ConfigurationError, SettingError
from .flow import Flow
from .logs import Logger
from .pipeline import Context, Pipeline, PipelineConfig, Plan, read_parts
from .settings import check_queue
from .substitution import replace_deep

_NEVER = {"successes": 0, "failures": 0, "last_error": None, "last_success_timestamp": None, "last_failure_timestamp": None}


class Agent:
    """All pipelines of one Logstash."""

    def __init__(self, settings, variables):
        self.settings, self.variables = settings, variables
        self.log = Logger("logstash.agent")
        self.bus = Bus()
        self.pipelines, self.reloads, self.flows = {}, {}, {}
        self.id, self.ephemeral_id = _identity(settings["path.data"]), str(uuid.uuid4())
        self._lock = threading.Lock()

    # What should run

    def configs(self):
        """Return the pipelines that the settings ask for; raises ConfigurationError or SettingError."""
        if self.settings["path.config"]:
            return [PipelineConfig(self.settings["pipeline.id"], self.settings, read_parts(self.settings["path.config"]))]
        path = Path(self.settings["path.settings"], "pipelines.yml")
        try:
            entries = yamlfile.load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yamlfile.YamlError) as error:
            raise ConfigurationError(f"Failed to read pipelines yaml file. Location: {path}, Exception: {error}") from None
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise ConfigurationError(f"Pipelines YAML file must contain an array of pipeline configs. Location: {path}")
        found = [self._config(entry) for entry in replace_deep(entries, self.variables)]
        ids = [config.id for config in found]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ConfigurationError(f"Pipelines YAML file contains duplicate pipeline ids: {twice}. Location: {path}")
        return found

    def _config(self, entry):
        settings = self.settings.with_pipeline(entry)
        try:
            check_queue(settings)
        except BootstrapCheckError as error:
            raise ConfigurationError(str(error)) from None
        name = settings["pipeline.id"]
        if settings["config.string"] is not None:
            return PipelineConfig(name, settings, (("config_string", settings["config.string"]),))
        if not settings["path.config"]:
            raise ConfigurationError(f"pipeline {name}: neither path.config nor config.string is set")
        return PipelineConfig(name, settings, read_parts(settings["path.config"]))

    def plan(self, config):
        """Return a checked plan of a pipeline."""
        return Plan(config, Context(config.id, config.settings, self.bus), self.variables)

    def check(self):
        """Raise what is wrong with any pipeline."""
        for config in self.configs():
            self.plan(config)

    # Making it so

    def converge(self):
        """Create, reload and stop pipelines as the files say; return whether all of it worked."""
        with self._lock:
            try:
                wanted = {config.id: config for config in self.configs()}
            except (ConfigurationError, SettingError) as error:
                self.log.error("Failed to fetch pipeline configuration", message=str(error))
                return False
            for name in [name for name in self.pipelines if name not in wanted]:
                self.log.info("Stopping pipeline", pipeline_id=name)
                self.pipelines.pop(name).stop()
                self.reloads.pop(name, None)
                self.flows.pop(name, None)
            for name in wanted:
                self.reloads.setdefault(name, dict(_NEVER))
            results = [self._converge_one(config) for config in wanted.values() if self._is_due(config)]
            return all(results)

    def _is_due(self, config):
        running = self.pipelines.get(config.id)
        if running is None:
            return True
        if running.config.hash != config.hash or running.config.settings != config.settings:
            return True
        return self.settings["ssl.reload.automatic"] and running.plan.watched() != running.watched

    def _converge_one(self, config):
        record = self.reloads[config.id]
        old = self.pipelines.get(config.id)
        action = "Reload" if old else "Create"
        try:
            if old and not config.settings["pipeline.reloadable"]:
                raise ConfigurationError(f"Cannot reload pipeline {config.id}, because the pipeline is not reloadable")
            # The old one runs on when the new one cannot even be built.
            pipeline = Pipeline(self.plan(config))
            if old:
                self.log.info("Reloading pipeline", **{"pipeline.id": config.id})
                old.stop()
                del self.pipelines[config.id]
            pipeline.start()
        except (ConfigurationError, OSError) as error:
            self.log.error(
                f"Failed to execute action {{:action=>LogStash::PipelineAction::{action}/pipeline_id:{config.id}, "
                f":exception=>\"LogStash::ConfigurationError\", :message=>\"{error}\"}}"
            )
            record["last_error"], record["last_failure_timestamp"] = {"message": str(error), "backtrace": []}, timestamps.now()
            record["failures"] += 1 if old else 0
            return False
        self.pipelines[config.id] = pipeline
        record["last_error"] = None
        self.flows[config.id] = Flow(pipeline)
        if old:
            record["successes"] += 1
            record["last_success_timestamp"] = timestamps.now()
        return True

    def sample(self):
        """Take note of how far each pipeline is."""
        for flow in list(self.flows.values()):
            flow.sample()

    def stop(self):
        """Stop all pipelines, those that others send to last."""
        with self._lock:
            waiting = dict(self.pipelines)
            while waiting:
                fed = {address for pipeline in waiting.values() for address in _sends_to(pipeline)}
                first = [name for name, pipeline in waiting.items() if not _listens_at(pipeline) & fed] or list(waiting)
                threads = [threading.Thread(target=waiting.pop(name).stop) for name in first]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

    def running(self):
        return [name for name, pipeline in self.pipelines.items() if pipeline.state == "RUNNING"]


def _sends_to(pipeline):
    return {address for plugin in pipeline.plan.plugins["output"] if plugin.NAME == "pipeline" for address in plugin["send_to"]}


def _listens_at(pipeline):
    return {plugin["address"] for plugin in pipeline.plan.plugins["input"] if plugin.NAME == "pipeline"}


def _identity(folder):
    """Return the identifier that is kept in the data folder."""
    path = os.path.join(folder, "uuid")
    try:
        with open(path, encoding="ascii") as handle:
            return handle.read().strip()
    except OSError:
        pass
    made = str(uuid.uuid4())
    try:
        os.makedirs(folder, exist_ok=True)
        with open(path, "w", encoding="ascii") as handle:
            handle.write(made)
    except OSError:
        # A test of the configuration may not write there.
        pass
    return made
