"""The command line of bin/kibana."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import uuid

from . import settings as config
from .elastic import Elastic
from .log import Log
from .server import Kibana, make_server
from .status import Metrics, Watch
from .store import Store


def main(home: str, arguments: list[str], environment: dict[str, str] | None = None) -> int:
    """Run until told to stop; return the exit code."""
    environment = dict(os.environ if environment is None else environment)
    with open(os.path.join(home, "package.json"), encoding="utf-8") as handle:
        version = json.load(handle)["version"]
    parser = argparse.ArgumentParser(prog="kibana", description="Stand-in for Kibana")
    parser.add_argument("-c", "--config", action="append", default=[], metavar="PATH", help="configuration file; may be repeated, the later wins")
    parser.add_argument("--allow-root", action="store_true", help="allow root to run it")
    parser.add_argument("--version", action="store_true", help="print the version")
    options = parser.parse_args(arguments)
    if options.version:
        print(version)
        return 0
    if os.geteuid() == 0 and not options.allow_root:
        print("Kibana should not be run as root.  Use --allow-root to continue.", file=sys.stderr)
        return 1
    files = config.config_files(home, options.config, environment)
    try:
        node_options = read_node_options(environment.get("KBN_PATH_CONF") or os.path.join(home, "config"))
        settings = config.read(files, environment)
    except config.ConfigError as error:
        Log(config.Settings())("fatal", "root", f"Reason: {error}")
        print(f"\n FATAL  Error: {error}\n", file=sys.stderr)
        return error.code
    return serve(home, version, files, settings, node_options, environment)


def read_node_options(folder: str) -> list[str]:
    """Return the options for Node.js out of node.options; raises ConfigError for what Node would not take."""
    try:
        with open(os.path.join(folder, "node.options"), encoding="utf-8") as handle:
            words = [word for line in handle if not line.startswith("#") for word in line.split()]
    except FileNotFoundError:
        return []
    for word in words:
        if not word.startswith("--"):
            raise config.ConfigError(f"node: {word}: not found", 1)
    return words


def serve(home: str, version: str, files: list[str], settings: config.Settings, node_options: list[str], environment: dict[str, str]) -> int:
    log = Log(settings)
    log("info", "node", "Kibana process configured with roles: [background_tasks, ui]")
    data = str(settings["path.data"] or os.path.join(home, "data"))
    try:
        os.makedirs(data, exist_ok=True)
        identity = instance_uuid(data, settings)
        store = Store(os.path.join(data, "standin"))
    except OSError as error:
        log("fatal", "root", f"Error: {config.errno_name(error)}: {error.strerror}, open '{error.filename}'")
        return 1
    elastic, metrics = Elastic(settings), Metrics(settings, node_options)
    watch = Watch(settings, elastic, log, version)
    kibana = Kibana(settings, store, elastic, watch, metrics, log, version, identity)
    try:
        server = make_server(kibana)
    except OSError as error:
        log("fatal", "root", f"Error: listen {config.errno_name(error)}: {error.strerror} {settings['server.host']}:{settings['server.port']}")
        return 1
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reload_logging(log, files, environment))
    for part in (watch, metrics):
        part.start()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    log("info", "http.server.Kibana", f"http server running at http://{settings['server.host']}:{server.server_address[1]}{settings['server.basePath']}")
    while not stop.wait(60):
        pass
    log("info", "root", "SIGTERM received - initiating shutdown")
    for part in (watch, metrics):
        part.stop()
    server.shutdown()
    server.server_close()
    return 0


def reload_logging(log: Log, files: list[str], environment: dict[str, str]) -> None:
    """As Kibana on SIGHUP: only the logging is taken from the files."""
    try:
        log.use(config.read(files, environment))
        log("info", "root", "Reloaded Kibana configuration (reason: SIGHUP)")
    except config.ConfigError as error:
        log("error", "root", f"Logging configuration is not reloaded: {error}")


def instance_uuid(folder: str, settings: config.Settings) -> str:
    """Return the identity of this instance, made at its first start."""
    if settings["server.uuid"]:
        return str(settings["server.uuid"])
    path = os.path.join(folder, "uuid")
    if not os.path.exists(path):
        with open(path + ".part", "w", encoding="ascii") as handle:
            handle.write(str(uuid.uuid4()))
        os.replace(path + ".part", path)
    with open(path, encoding="ascii") as handle:
        return handle.read().strip()
