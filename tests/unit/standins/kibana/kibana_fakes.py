"""An Elasticsearch of a few requests, and the stand-in for Kibana as a server in this process."""

from __future__ import annotations

import base64
import http.server
import io
import json
import pathlib
import ssl
import threading
import urllib.error
import urllib.request

from kibana_standin import settings as config
from kibana_standin.elastic import Elastic
from kibana_standin.log import Log
from kibana_standin.server import Kibana, make_server
from kibana_standin.status import Metrics, Watch
from kibana_standin.store import Store

STANDIN = pathlib.Path(__file__).resolve().parents[4] / "lab" / "standins" / "kibana"
USERS = {"kibana_viewer": ["viewer"], "kibana_editor": ["editor"], "kibana_admin": ["kibana_admin", "observatory_reader"], "logstash": ["observatory_logstash"]}


def basic(user: str, password: str = "right") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    """Knows one token, four users whose password is `right`, and the documents in `server.documents`."""

    def do_GET(self):
        fake = self.server.fake
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fake.requests.append(f"{self.command} {self.path}")
        fake.certificates.append(bool(self.connection.getpeercert()) if isinstance(self.connection, ssl.SSLSocket) else None)
        given = self.headers.get("Authorization") or ""
        user = next((name for name in USERS if given == basic(name)), "elastic/kibana" if given == f"Bearer {fake.token}" else None)
        if user is None:
            reason = "unable to authenticate user" if given.startswith("Basic") else "failed to authenticate service account [elastic/kibana]"
            return self.answer(401, {"error": {"type": "security_exception", "reason": reason}, "status": 401})
        if self.path == "/_security/_authenticate":
            return self.answer(200, {"username": user, "roles": USERS.get(user, []), "enabled": True})
        if self.path.startswith("/_nodes"):
            return self.answer(200, {"nodes": {f"n{number}": {"version": version} for number, version in enumerate(fake.versions)}})
        if "/_field_caps" in self.path:
            return self.answer(200, {"indices": [], "fields": {"message": {"text": {"type": "text", "searchable": True, "aggregatable": False}}}
                                     if fake.documents else {}})
        if "/_search" in self.path:
            fake.searches.append((user, self.path.split("/")[1], json.loads(body)))
            hits = [{"_index": "logs", "_id": str(number), "_source": document} for number, document in enumerate(fake.documents)]
            return self.answer(200, {"hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits}})
        return self.answer(400, {"error": {"type": "illegal_argument_exception", "reason": f"no handler for {self.path}"}, "status": 400})

    do_POST = do_GET

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args):
        pass


class FakeElasticsearch:
    """A server; with `context` it speaks TLS. It can go away and come back at the same port."""

    def __init__(self, context: ssl.SSLContext | None = None):
        self.token, self.versions, self.documents = "the-token", ["9.5.0"], []
        self.requests: list[str] = []
        self.certificates: list[bool | None] = []
        self.searches: list[tuple] = []
        self._context, self._port = context, 0

    def __enter__(self):
        self.come()
        return self

    def __exit__(self, *_about):
        self.go()

    def come(self):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._server.fake = self
        self._port = self._server.server_port
        if self._context:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if self._context else ''}://localhost:{self._port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def go(self):
        self._server.shutdown()
        self._server.server_close()


class RunningKibana:
    """The stand-in on a free port. `values`: settings by their full names."""

    def __init__(self, folder, values: dict):
        checked = config._checked({"server.host": "127.0.0.1", "status.allowAnonymous": True, **values})
        # 0 is for tests alone: any free port.
        self.settings = config.Settings({**checked, "server.port": 0})
        self.output = io.StringIO()
        self.store = Store(str(folder / "standin"))
        log, elastic = Log(self.settings, self.output), Elastic(self.settings)
        self.watch, self.metrics = Watch(self.settings, elastic, log, "9.5.0"), Metrics(self.settings, ["--max-old-space-size=512"])
        self.kibana = Kibana(self.settings, self.store, elastic, self.watch, self.metrics, log, "9.5.0", "the-uuid")

    def __enter__(self):
        self.watch.look()
        self._server = make_server(self.kibana)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_about):
        self._server.shutdown()
        self._server.server_close()

    def ask(self, method, path, body=None, user="kibana_admin", password="right", headers=None):
        """Return (status, data, headers) of an answer; JSON is data, all else text."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        sent = {"kbn-xsrf": "true", "Content-Type": "application/json", **({"Authorization": basic(user, password)} if user else {}), **(headers or {})}
        request = urllib.request.Request(self.url + path, data, {name: value for name, value in sent.items() if value is not None}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as answer:
                status, text, shown = answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            status, text, shown = error.code, error.read().decode(), dict(error.headers)
        return status, json.loads(text) if shown.get("Content-Type", "").startswith("application/json") and text else text, shown

    def load(self, rows, query="?overwrite=true", name="objects.ndjson", user="kibana_admin", **changes):
        """Import objects, or any text, as an uploaded file."""
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        body = (
            f'--line\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/ndjson\r\n\r\n{text}\r\n--line--\r\n'
        ).encode()
        headers = {"Content-Type": "multipart/form-data; boundary=line", **changes.pop("headers", {})}
        return self.ask("POST", "/api/saved_objects/_import" + query, body, user=user, headers=headers, **changes)
