"""The HTTP API of the product, as far as it reads."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .errors import SettingError
from .logs import Logger
from .settings import seconds as read_time

_ORDER = ("green", "yellow", "red")
_PARTS_OF_STATS = ("jvm", "process", "events", "flow", "pipelines", "reloads", "os", "queue")


class Api:
    """Serves the statistics."""

    def __init__(self, stats, host, ports):
        self.stats, self.log = stats, Logger("logstash.agent")
        self._server = self._bind(host, ports)
        address = f"{host}:{self._server.server_address[1]}"
        stats.http_address = address
        self.log.info("Successfully started Logstash API endpoint", port=self._server.server_address[1], ssl_enabled=False)
        threading.Thread(target=self._server.serve_forever, name="Api Webserver", daemon=True).start()

    def _bind(self, host, ports):
        for port in ports:
            try:
                server = ThreadingHTTPServer((host, port), _Handler)
            except OSError:
                continue
            server.daemon_threads, server.api = True, self
            return server
        raise OSError(f"Logstash tried to bind to port range {ports.start}..{ports.stop - 1}, but all the ports are already in use")

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path, query):
        """Return (status, content) of a path."""
        parts = [part for part in path.split("/") if part]
        stats = self.stats
        if not parts:
            return self._root(query)
        if parts == ["_health_report"]:
            return 200, stats.base() | stats.health()
        if parts[0] == "_node" and len(parts) < 5:
            content = self._node_stats(parts[2:]) if parts[1:2] == ["stats"] else self._node(parts[1:])
            if content is not None:
                return 200, stats.base() | content
        return 404, {"path": path, "status": 404, "error": {"message": "Not Found"}}

    def _node(self, parts):
        if not parts:
            return self.stats.node()
        if parts[0] == "pipelines" and len(parts) < 3:
            known = self.stats.node_pipelines()
            if len(parts) == 1:
                return {"pipelines": known}
            return {"pipelines": {parts[1]: known[parts[1]]}} if parts[1] in known else None
        makers = {"os": self.stats.os_info, "jvm": self.stats.jvm_info}
        names = parts[0].split(",")
        if len(parts) > 1 or not all(name in makers for name in names):
            return None
        return {name: makers[name]() for name in names}

    def _node_stats(self, parts):
        if not parts:
            return self.stats.node_stats()
        if parts[0] == "pipelines":
            known = self.stats.pipelines()
            if len(parts) == 1:
                return {"pipelines": known}
            return {"pipelines": {parts[1]: known[parts[1]]}} if parts[1] in known else None
        names = parts[0].split(",")
        if len(parts) > 1 or not all(name in _PARTS_OF_STATS for name in names):
            return None
        everything = self.stats.node_stats()
        return {name: everything[name] for name in names}

    def _root(self, query):
        """Answer at once, or when the state that is asked for is reached."""
        wanted = query.get("wait_for_status", "").lower()
        if "wait_for_status" in query and wanted not in _ORDER:
            return _wrong(f"Invalid status '{query['wait_for_status']}' provided. The valid statuses are: green, yellow, red.")
        try:
            seconds = read_time("timeout", query["timeout"]) if "timeout" in query else None
        except SettingError:
            return _wrong(f"Invalid timeout '{query['timeout']}' provided.")
        # One without the other waits for nothing.
        if not wanted or seconds is None:
            return 200, self.stats.root()
        until = time.monotonic() + seconds
        while True:
            status = self.stats.status()
            if status in _ORDER and _ORDER.index(status) <= _ORDER.index(wanted):
                return 200, self.stats.root()
            if time.monotonic() >= until:
                return 408, {"path": "/", "status": 408, "error": {"message": f"Timed out waiting for status '{wanted}'."}}
            time.sleep(0.1)


def _wrong(words):
    return 400, {"path": "/", "status": 400, "error": {"message": words}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        status, content = self.server.api.answer(parts.path, query)
        pretty = query.get("pretty", "false") in ("", "true")
        body = json.dumps(content, indent=2 if pretty else None, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_arguments):
        pass
