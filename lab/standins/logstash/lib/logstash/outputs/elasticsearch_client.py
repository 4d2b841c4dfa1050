"""The connections to Elasticsearch: which hosts answer, and requests to them in turn."""

import base64
import http.client
import itertools
import json
import threading
import zlib
from urllib.parse import urlsplit

from .. import tls
from ..errors import ConfigurationError

BULK_PATH = "/_bulk?filter_path=errors,items.*.error,items.*.status"
_FAILURES = (OSError, http.client.HTTPException)


class Unreachable(Exception):
    """No answer from any host; `words` say which kind."""

    def __init__(self, message, words):
        super().__init__(message)
        self.words = words


class _Host:
    def __init__(self, address, secure):
        parts = urlsplit(address if "//" in address else f"//{address}")
        self.secure = parts.scheme == "https" if secure is None else secure
        if parts.scheme and (parts.scheme == "https") != self.secure:
            raise ConfigurationError(f"Explicit SSL setting `ssl_enabled => {str(self.secure).lower()}` contradicts the host {address}")
        self.name, self.port, self.prefix = parts.hostname, parts.port or 9200, parts.path.rstrip("/")
        self.url = f"{'https' if self.secure else 'http'}://{self.name}:{self.port}{self.prefix}/"
        self.alive = False


class Client:
    """Sends requests to hosts that passed the check, and looks again at those that did not."""

    def __init__(self, given, log, stopping):
        self._log, self._stopping = log, stopping
        self._hosts = [_Host(address, given["ssl_enabled"]) for address in given["hosts"]]
        self._timeout, self._delay, self._level = given["timeout"], given["resurrect_delay"], given["compression_level"]
        self._tls = tls.client_context(given) if any(host.secure for host in self._hosts) else None
        self._headers = {"User-Agent": "Logstash (lab stand-in) logstash-output-elasticsearch", "Connection": "keep-alive"}
        if given["user"]:
            token = base64.b64encode(f"{given['user']}:{given['password'] or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"
        self._turn = itertools.count()
        self._local = threading.local()
        self._closed = threading.Event()

    def start(self):
        """Check all hosts once, then those that are down every few seconds."""
        self._log.info("New Elasticsearch output", hosts=[host.url for host in self._hosts])
        for host in self._hosts:
            self._check(host)
        threading.Thread(target=self._watch, name="elasticsearch-resurrectionist", daemon=True).start()

    def close(self):
        self._closed.set()

    def _watch(self):
        while not self._closed.wait(self._delay):
            for host in self._hosts:
                if not host.alive:
                    self._check(host)

    def _check(self, host):
        """Mark a host as alive when it is an Elasticsearch that lets this user read its version and licence."""
        try:
            version = self._ask(host, "/")["version"]["number"]
            licence = self._ask(host, "/_license")["license"]["status"]
            if licence != "active":
                raise ValueError(f"the licence is {licence}")
        except (*_FAILURES, KeyError, TypeError, ValueError) as error:
            self._log.warn("Attempted to resurrect connection to dead ES instance, but got an error", url=host.url, message=str(error))
            return
        host.alive = True
        self._log.info("Restored connection to ES instance", url=host.url, es_version=version)

    def _ask(self, host, path):
        status, body = self._request(host, "GET", path, None, {})
        if status != 200:
            raise ValueError(f"Got response code '{status}' contacting Elasticsearch at URL '{host.url.rstrip('/')}{path}'")
        return json.loads(body)

    def bulk(self, body):
        """Send a bulk request; return (status, body). Raises Unreachable."""
        alive = [host for host in self._hosts if host.alive]
        if not alive:
            raise Unreachable("No Available connections", "there are no living connections in the pool (perhaps Elasticsearch is unreachable or down?)")
        host = alive[next(self._turn) % len(alive)]
        headers = {"Content-Type": "application/json"}
        if self._level:
            packer = zlib.compressobj(self._level, wbits=31)
            body = packer.compress(body) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        try:
            return self._request(host, "POST", BULK_PATH, body, headers)
        except _FAILURES as error:
            host.alive = False
            raise Unreachable(f"Elasticsearch Unreachable: [{host.url}] {error}", "Elasticsearch appears to be unreachable or down") from None

    def _request(self, host, method, path, body, headers):
        """Ask a host over this thread's connection to it; one that the server has closed meanwhile is opened anew."""
        held = self._local.__dict__.setdefault("connections", {})
        connection = held.pop(host.url, None)
        reused = connection is not None
        connection = connection or self._connect(host)
        try:
            connection.request(method, host.prefix + path, body, self._headers | headers)
            answer = connection.getresponse()
            content = answer.read()
        except _FAILURES as error:
            connection.close()
            if reused and isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)):
                return self._request(host, method, path, body, headers)
            raise
        held[host.url] = connection
        return answer.status, content

    def _connect(self, host):
        if host.secure:
            return http.client.HTTPSConnection(host.name, host.port, context=self._tls, timeout=self._timeout)
        return http.client.HTTPConnection(host.name, host.port, timeout=self._timeout)
