"""The command line: settings, checks, signals, the run."""

import fcntl
import gc
import os
import queue
import signal
import sys
import time
from pathlib import Path

from . import HOME, VERSION, jvm
from .agent import Agent
from .api import Api
from .errors import BootstrapCheckError, ConfigurationError, SettingError, UsageError
from .flow import SAMPLE_SECONDS
from .logs import LOGS, Logger, inspect
from .settings import check, read_settings
from .stats import Stats

_VALUED = {
    "-f": "path.config", "-n": "node.name", "-w": "pipeline.workers", "-b": "pipeline.batch.size", "-u": "pipeline.batch.delay", "-l": "path.logs",
    **{f"--{name}": name for name in (
        "path.config", "node.name", "pipeline.workers", "pipeline.batch.size", "pipeline.batch.delay", "path.logs", "path.data", "path.settings",
        "pipeline.id", "log.level", "log.format", "config.reload.interval", "api.http.host", "api.http.port", "queue.type", "pipeline.ecs_compatibility",
        "pipeline.ordered",
    )},
}
_FLAGS = {
    "-t": "config.test_and_exit", "-r": "config.reload.automatic",
    **{f"--{name}": name for name in ("config.test_and_exit", "config.reload.automatic", "config.debug", "api.enabled", "allow_superuser", "queue.drain")},
}
_USAGE = "usage: bin/logstash [--path.settings DIR] [--path.data DIR] [--path.logs DIR] [-f FILE] [-t] [-r] [--log.level LEVEL] [--version]"


def command_line(arguments):
    """Return setting -> value; raises UsageError for an option that Logstash does not know."""
    given, rest = {}, list(arguments)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in _VALUED:
            if not equals and not rest:
                raise UsageError(f"option '{word}': no value provided")
            given[_VALUED[word]] = value if equals else rest.pop(0)
        elif word in _FLAGS and not equals:
            given[_FLAGS[word]] = True
        elif word.startswith("--no-") and f"--{word[5:]}" in _FLAGS:
            given[_FLAGS[f"--{word[5:]}"]] = False
        elif word in ("-V", "--version", "-h", "--help") and not equals:
            given[{"-V": "version", "-h": "help"}.get(word, word[2:])] = True
        elif word.startswith("-"):
            raise UsageError(f"Unrecognised option '{word}'")
        else:
            raise UsageError(f"Unknown command '{word}'")
    return given


def main(arguments, environment=os.environ):
    """Run Logstash; return its exit code."""
    log = Logger("logstash.runner")
    try:
        given = command_line(arguments)
    except UsageError as error:
        print(f"ERROR: {error}\n\nSee: 'bin/logstash --help'", file=sys.stderr)
        return 1
    if given.get("version"):
        print(f"logstash {VERSION}")
        return 0
    if given.get("help"):
        print(_USAGE)
        return 0
    try:
        settings = read_settings(given.get("path.settings", str(HOME / "config")), environment)
        for name, value in given.items():
            settings.set(name, value)
        LOGS.configure(settings["log.level"], settings["log.format"])
        LOGS.dated = _wants_dates(settings["path.settings"])
        heap = _heap(settings["path.settings"], environment)
        check(settings)
    except (SettingError, BootstrapCheckError, ConfigurationError) as error:
        log.fatal(f"Your settings are invalid. Reason: {error}")
        return 1
    return _run(settings, environment, heap, log)


def _run(settings, environment, heap, log):
    if os.geteuid() == 0 and not settings["allow_superuser"]:
        log.fatal("An unexpected error occurred!", error=RuntimeError("Running Logstash as a superuser is not allowed by default: allow_superuser is false"))
        return 1
    if os.path.exists(os.path.join(settings["path.settings"], "logstash.keystore")):
        log.fatal("Your settings are invalid. Reason: this stand-in does not read a logstash.keystore; give secrets in the environment")
        return 1
    if settings["config.test_and_exit"]:
        return _test(settings, environment, log)
    lock = _lock(settings["path.data"])
    if lock is None:
        log.fatal(
            "Logstash could not be started because there is already another instance using the configured data directory.  "
            'If you wish to run multiple instances, you must change the "path.data" setting.'
        )
        return 1
    # Events hold no circles: looking for them often costs a third of the time.
    gc.set_threshold(100_000, 50, 100)
    log.info("Starting Logstash", **{"logstash.version": VERSION, "jruby.version": f"lab stand-in on Python {sys.version.split()[0]}"})
    return _Run(settings, environment, heap, log).until_stopped()


def _test(settings, environment, log):
    try:
        Agent(settings, environment).check()
    except (ConfigurationError, SettingError) as error:
        log.fatal(f"The given configuration is invalid. Reason: {error}")
        return 1
    print("Configuration OK", flush=True)
    log.info("Using config.test_and_exit mode. Config Validation Result: OK. Exiting Logstash")
    return 0


def _heap(folder, environment):
    """Return (first, greatest) heap by jvm.options and LS_JAVA_OPTS; a file that is named must be there."""
    named = environment.get("LS_JVM_OPTS")
    path = Path(named or os.path.join(folder, "jvm.options"))
    if named and not path.is_file():
        raise SettingError(f"LS_JVM_OPTS was set but file {named} does not exist")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return jvm.heap(lines + environment.get("LS_JAVA_OPTS", "").split())


def _wants_dates(folder):
    """Whether log4j2.properties' console prints the time; without the file it does."""
    path = Path(folder, "log4j2.properties")
    return not path.is_file() or "%d{" in path.read_text(encoding="utf-8") or "%d]" in path.read_text(encoding="utf-8")


def _lock(folder):
    """Return the lock on a data folder, or None when another instance holds it."""
    os.makedirs(folder, exist_ok=True)
    handle = open(os.path.join(folder, ".lock"), "w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        return None
    return handle


class _Run:
    """From the start to the signal that ends it."""

    def __init__(self, settings, environment, heap, log):
        self._settings, self._log = settings, log
        self._signals = queue.SimpleQueue()
        self._stops = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        self._agent = Agent(settings, environment)
        self._stats = Stats(self._agent, heap)

    def _signalled(self, number, _frame):
        if number != signal.SIGHUP:
            self._stops += 1
            if self._stops > 1 and number == signal.SIGINT:
                # Asked twice from the keyboard: what is in memory is lost.
                os._exit(1)
        self._signals.put(number)

    def until_stopped(self):
        api = None
        if self._settings["api.enabled"]:
            try:
                api = Api(self._stats, self._settings["api.http.host"], self._settings["api.http.port"])
            except OSError as error:
                self._log.fatal("An unexpected error occurred!", error=str(error))
                return 1
        self._agent.converge()
        reloads = self._settings["config.reload.automatic"]
        if not self._agent.pipelines and not reloads and not self._stops:
            self._log.fatal("Logstash stopped processing because of an error: no pipeline could be started")
            return 1
        self._agent.log.info(f"Pipelines running {inspect({'count': len(self._agent.running()), 'running_pipelines': self._agent.running()})}")
        self._watch(reloads)
        self._agent.stop()
        if api:
            api.close()
        self._log.info("Logstash shut down.")
        return 0

    def _watch(self, reloads):
        """Wait for signals, and look for changed files as often as the settings say."""
        interval = self._settings["config.reload.interval"] if reloads else SAMPLE_SECONDS
        sampled = looked = time.monotonic()
        while True:
            try:
                number = self._signals.get(timeout=min(interval, SAMPLE_SECONDS))
            except queue.Empty:
                number = None
            if number in (signal.SIGTERM, signal.SIGINT):
                self._log.warn(f"{signal.Signals(number).name} received. Shutting down.")
                return
            if number == signal.SIGHUP:
                self._log.warn("SIGHUP received.")
            if number == signal.SIGHUP or (reloads and time.monotonic() - looked >= interval):
                looked = time.monotonic()
                self._agent.converge()
            if time.monotonic() - sampled >= SAMPLE_SECONDS:
                sampled = time.monotonic()
                self._agent.sample()
            if not reloads and not self._agent.running():
                return
