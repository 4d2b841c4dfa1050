"""The HTTP side: who asks, may they, and which part answers."""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import http.server
import json
import re
import socket
import socketserver
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

from . import kql, pages
from .data_views import DataViews, field_capabilities
from .elastic import Elastic, Unreachable, reason
from .log import Log
from .saved_objects import TYPES, Refused, export_objects, import_objects, parse
from .settings import Settings
from .status import Metrics, Watch, server_name, stats_page, status_page
from .store import Store

# Roles of Elasticsearch that may change what Kibana keeps, and those that may read it. (Kibana asks for privileges of the application kibana-.kibana; these
# are the roles that have them from the beginning.)
WRITERS = ("superuser", "kibana_admin", "editor")
READERS = (*WRITERS, "viewer")
KNOWN_USER_SECONDS = 10
HITS = 50
TITLES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 413: "Request Entity Too Large",
    415: "Unsupported Media Type", 422: "Unprocessable Entity", 500: "Internal Server Error", 503: "Service Unavailable",
}


@dataclass(frozen=True)
class User:
    """Who asks: the name, the roles, and the header to ask Elasticsearch in the person's name."""

    name: str
    roles: tuple[str, ...]
    authorization: str

    def has(self, roles: tuple[str, ...]) -> bool:
        return any(role in roles for role in self.roles)


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: object
    body: bytes
    user: User | None = None

    def json(self) -> object:
        if "json" not in str(self.headers.get("Content-Type") or "application/json"):  # type: ignore[attr-defined]
            raise Refused(415, "Unsupported Media Type")
        try:
            return json.loads(self.body or b"null")
        except ValueError as error:
            raise Refused(400, "Invalid request payload JSON format") from error


@dataclass
class Answer:
    status: int = 200
    body: object = None
    kind: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else (self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)).encode()


class Kibana:
    """All routes."""

    def __init__(self, settings: Settings, store: Store, elastic: Elastic, watch: Watch, metrics: Metrics, log: Log, version: str, uuid: str):
        self.settings, self.store, self.elastic, self.watch, self.metrics, self.log = settings, store, elastic, watch, metrics, log
        self.version, self.uuid = version, uuid
        self.base = str(settings["server.basePath"])
        self.views = DataViews(store)
        self._known: dict[str, tuple[float, User]] = {}
        self._lock = threading.Lock()
        # Method, path, roles that may (None: nobody has to sign in where status.allowAnonymous is set), function.
        self._routes: list[tuple[str, re.Pattern, tuple[str, ...] | None, Callable[..., Answer]]] = [
            (method, re.compile(path + r"\Z"), roles, function) for method, path, roles, function in (
                ("GET", "/api/status", None, self.status),
                ("GET", "/api/stats", None, self.stats),
                ("GET", "/api/data_views", READERS, lambda request: Answer(body=self.views.list())),
                ("GET", "/api/data_views/default", READERS, lambda request: Answer(body=self.views.default())),
                ("POST", "/api/data_views/default", WRITERS, lambda request: Answer(body=self.views.set_default(request.json()))),
                ("POST", "/api/data_views/data_view", WRITERS, lambda request: Answer(body=self.views.create(request.json(), self._fields(request)))),
                ("GET", "/api/data_views/data_view/([^/]+)", READERS, lambda request, name: Answer(body=self.views.get(name, self._fields(request)))),
                ("POST", "/api/data_views/data_view/([^/]+)", WRITERS,
                 lambda request, name: Answer(body=self.views.update(name, request.json(), self._fields(request)))),
                ("DELETE", "/api/data_views/data_view/([^/]+)", WRITERS, self.delete_view),
                ("POST", "/api/saved_objects/_import", WRITERS, self.import_file),
                ("POST", "/api/saved_objects/_export", READERS, self.export),
                ("POST", "/api/saved_objects/_bulk_get", READERS, self.bulk_get),
                ("GET", "/api/saved_objects/_find", READERS, self.find),
                ("GET", "/api/saved_objects/([^/_][^/]*)/([^/]+)", READERS, self.get_object),
                ("DELETE", "/api/saved_objects/([^/_][^/]*)/([^/]+)", WRITERS, self.delete_object),
                ("GET", "/(?:app/home)?", READERS, self.home),
                ("GET", "/app/discover", READERS, self.discover),
                ("GET", "/app/dashboards", READERS, self.dashboard),
                ("GET", "/standin/discover.js", READERS, lambda request: Answer(body=pages.SCRIPT, kind="text/javascript; charset=utf-8")),
                ("GET", "/standin/style.css", READERS, lambda request: Answer(body=pages.STYLE, kind="text/css; charset=utf-8")),
            )
        ]

    # -- who and whether

    def answer(self, request: Request) -> Answer:
        """Answer a request, an error included."""
        try:
            return self._answer(request)
        except Refused as error:
            return self.error(error.status, str(error), error.attributes)
        except Unreachable as error:
            return self.error(503, f"Elasticsearch does not answer: {error}")
        except Exception as error:
            self.log("error", "http", f"{request.method} {request.path}: {type(error).__name__}: {error}")
            return self.error(500, "An internal server error occurred. Check Kibana server logs for details.")

    def error(self, status: int, message: str, attributes: dict | None = None, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
        body = {"statusCode": status, "error": TITLES.get(status, "Error"), "message": message}
        return Answer(status, {**body, "attributes": attributes} if attributes else body, headers=headers)

    def _answer(self, request: Request) -> Answer:
        if self.settings["server.rewriteBasePath"]:
            if request.path != self.base and not request.path.startswith(self.base + "/"):
                return self.error(404, "Not Found")
            request.path = request.path[len(self.base):] or "/"
        path = urllib.parse.unquote(request.path)
        found = [(roles, function, match.groups()) for method, pattern, roles, function in self._routes
                 if method == ("GET" if request.method == "HEAD" else request.method) and (match := pattern.match(path))]
        roles = found[0][0] if found else READERS
        if roles is not None or not self.settings["status.allowAnonymous"]:
            # The status is for those who have not signed in too, in a shorter form.
            anonymous = found and found[0][1] == self.status and "Authorization" not in request.headers  # type: ignore[operator]
            if not anonymous:
                request.user = self.sign_in(str(request.headers.get("Authorization") or ""))  # type: ignore[attr-defined]
        if request.method not in ("GET", "HEAD") and not self.settings["server.xsrf.disableProtection"]:
            self._check_origin(request)
        if not found:
            return self.error(404, "Not Found")
        if roles is not None and request.user and not request.user.has(roles):
            return self.error(403, self._forbidden(request, roles))
        return found[0][1](request, *found[0][2])

    def _forbidden(self, request: Request, roles: tuple[str, ...]) -> str:
        if request.path.startswith("/api/saved_objects/_import"):
            return "Unable to bulk_create " + ",".join(sorted({str(row.get("type")) for row in self._uploaded(request)}))
        verb = {"GET": "get", "POST": "create", "DELETE": "delete"}.get(request.method, "change")
        kind = (re.match("/api/saved_objects/([^/_][^/]*)/", request.path) or [None, "index-pattern"])[1]
        if roles == WRITERS:
            return f"Unable to {verb} {kind}"
        return "Forbidden"

    def _check_origin(self, request: Request) -> None:
        sent = request.headers.get("kbn-version")  # type: ignore[attr-defined]
        if sent and sent != self.version:
            raise Refused(400, f'Browser client is out of date, please refresh the page ("kbn-version" header was "{sent}" but should be "{self.version}")')
        if not sent and not request.headers.get("kbn-xsrf"):  # type: ignore[attr-defined]
            raise Refused(400, "Request must contain a kbn-xsrf header.")

    def sign_in(self, authorization: str) -> User:
        """Return who it is, asked of Elasticsearch; raises Refused for somebody whom it does not know."""
        if not authorization or not authorization.lower().startswith("basic ") or not self.settings["xpack.security.authc.http.enabled"]:
            raise Refused(401, "Unauthorized")
        key = hashlib.sha256(authorization.encode()).hexdigest()
        now = time.monotonic()
        with self._lock:
            known = self._known.get(key)
        if known and now - known[0] < KNOWN_USER_SECONDS:
            return known[1]
        status, answer = self.elastic.as_user(authorization, "GET", "/_security/_authenticate")
        if status in (401, 403) or not isinstance(answer, dict):
            raise Refused(401, f"[security_exception]: {reason(answer)}")
        if status != 200:
            raise Refused(503, f"Elasticsearch answers {status}: {reason(answer)}")
        user = User(answer["username"], tuple(answer.get("roles") or ()), authorization)
        with self._lock:
            self._known = {name: entry for name, entry in self._known.items() if now - entry[0] < KNOWN_USER_SECONDS}
            self._known[key] = (now, user)
        return user

    # -- status

    def _address(self) -> str:
        return f"{self.settings['server.host']}:{self.settings['server.port']}"

    def status(self, request: Request) -> Answer:
        state = self.watch.state()
        level = state["overall"]["level"]
        code = 200 if level in ("available", "degraded") else 503
        if request.user is None and not self.settings["status.allowAnonymous"]:
            return Answer(code, {"status": {"overall": {"level": level}}})
        return Answer(code, status_page(server_name(self.settings), self.uuid, self.version, state, self.metrics.state()))

    def stats(self, request: Request) -> Answer:
        return Answer(body=stats_page(server_name(self.settings), self.uuid, self.version, self.watch.state(), self.metrics.state(), self._address()))

    # -- data views and saved objects

    def _fields(self, request: Request) -> Callable[[str], dict]:
        def fields_of(title: str) -> dict:
            status, answer = self.elastic.as_user(request.user.authorization, "GET", field_capabilities(title))  # type: ignore[union-attr]
            if status in (403, 404):
                return {}
            if status != 200 or not isinstance(answer, dict):
                raise Refused(503, f"Elasticsearch answers {status}: {reason(answer)}")
            return answer.get("fields") or {}

        return fields_of

    def delete_view(self, request: Request, name: str) -> Answer:
        self.views.delete(name)
        return Answer()

    def _uploaded(self, request: Request) -> list[dict]:
        """Return the objects of the file in a multipart request."""
        kind = str(request.headers.get("Content-Type") or "")  # type: ignore[attr-defined]
        if not kind.startswith("multipart/form-data"):
            raise Refused(415, "Unsupported Media Type")
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + request.body)
        parts = [part for part in message.iter_parts() if part.get_param("name", header="content-disposition") == "file"]
        if not parts:
            raise Refused(400, "[request body.file]: expected value of type [Stream] but got [undefined]")
        name = str(parts[0].get_filename() or "")
        extension = "." + name.rsplit(".", 1)[1].lower() if "." in name else ""
        if extension != ".ndjson":
            raise Refused(400, f"Invalid file extension {extension}")
        return parse(parts[0].get_payload(decode=True).decode("utf-8"), int(self.settings["savedObjects.maxImportExportSize"]))

    def import_file(self, request: Request) -> Answer:
        for key in request.query:
            if key not in ("overwrite", "createNewCopies", "compatibilityMode"):
                raise Refused(400, f"[request query.{key}]: definition for this key is missing")
        if request.query.get("createNewCopies") == "true":
            raise Refused(400, "cannot use [overwrite] with [createNewCopies]" if request.query.get("overwrite") == "true" else
                          "[request query.createNewCopies]: the stand-in makes no copies")
        return Answer(body=import_objects(self._uploaded(request), request.query.get("overwrite") == "true", self.store.get, self.store.put, TYPES))

    def export(self, request: Request) -> Answer:
        body = request.json()
        if not isinstance(body, dict):
            raise Refused(400, "[request body]: expected a plain object value, but found [null] instead.")
        lines = export_objects(body, self.store.get, self.store.every, int(self.settings["savedObjects.maxImportExportSize"]))
        return Answer(body=lines, kind="application/ndjson", headers=(("Content-Disposition", 'attachment; filename="export.ndjson"'),))

    def bulk_get(self, request: Request) -> Answer:
        body = request.json()
        if not isinstance(body, list):
            raise Refused(400, "[request body]: expected value of type [array]")
        found = []
        for entry in body:
            row = self.store.get(entry.get("type"), entry.get("id"))
            found.append(row or {"id": entry.get("id"), "type": entry.get("type"), "error": {
                "statusCode": 404, "error": "Not Found", "message": f"Saved object [{entry.get('type')}/{entry.get('id')}] not found"}})
        return Answer(body={"saved_objects": found})

    def find(self, request: Request) -> Answer:
        for key in request.query:
            if key not in ("type", "per_page", "page"):
                raise Refused(400, f"[request query.{key}]: the stand-in does not know it")
        self._known_type(request.query.get("type", ""))
        rows = self.store.every(request.query["type"])
        size, number = int(request.query.get("per_page", 20)), int(request.query.get("page", 1))
        return Answer(body={"page": number, "per_page": size, "total": len(rows), "saved_objects": rows[(number - 1) * size:number * size]})

    @staticmethod
    def _known_type(kind: str) -> None:
        if kind not in TYPES:
            raise Refused(400, f"Unsupported saved object type(s): {kind}: Bad Request")

    def get_object(self, request: Request, kind: str, name: str) -> Answer:
        self._known_type(kind)
        row = self.store.get(kind, name)
        if not row:
            raise Refused(404, f"Saved object [{kind}/{name}] not found")
        return Answer(body=row)

    def delete_object(self, request: Request, kind: str, name: str) -> Answer:
        self._known_type(kind)
        if not self.store.delete(kind, name):
            raise Refused(404, f"Saved object [{kind}/{name}] not found")
        return Answer(body={})

    # -- pages

    def home(self, request: Request) -> Answer:
        body = pages.home(self.base, request.user.name, self.version, *(self.store.every(kind) for kind in ("index-pattern", "search", "dashboard")))  # type: ignore[union-attr]
        return Answer(body=body, kind="text/html; charset=utf-8")

    def dashboard(self, request: Request) -> Answer:
        row = self.store.get("dashboard", request.query.get("view", ""))
        if not row:
            raise Refused(404, f"Saved object [dashboard/{request.query.get('view', '')}] not found")
        titles = {(kind, found["id"]): found["attributes"]["title"] for kind in ("search", "lens") for found in self.store.every(kind)}
        return Answer(body=pages.dashboard(self.base, row, titles), kind="text/html; charset=utf-8")

    def discover(self, request: Request) -> Answer:
        """Search Elasticsearch in the person's name, and show what it finds."""
        title, columns, sort, source = "Discover", ["@timestamp", "service.name", "log.level", "message"], [], {}
        identity = request.query.get("data_view", "")
        if request.query.get("view"):
            row = self.store.get("search", request.query["view"])
            if not row:
                raise Refused(404, f"Saved object [search/{request.query['view']}] not found")
            title, tab = row["attributes"]["title"], row["attributes"]["tabs"][0]["attributes"]
            columns = ["@timestamp", *(name for name in tab.get("columns") or columns if name != "@timestamp")]
            source, sort = json.loads(tab["kibanaSavedObjectMeta"]["searchSourceJSON"]), tab.get("sort") or []
            names = {reference["name"]: reference["id"] for reference in row["references"]}
            identity = names.get(source.get("indexRefName", ""), "")
        views = self.store.every("index-pattern")
        view = self.store.get("index-pattern", identity) if identity else (views[0] if views else None)
        if not view:
            raise Refused(404, f"Saved object [index-pattern/{identity}] not found")
        index = view["attributes"]["title"]
        query = request.query.get("query", (source.get("query") or {}).get("query", ""))
        time_field = view["attributes"].get("timeFieldName")
        sort = sort or ([[time_field, "desc"]] if time_field else [])
        hits, total, error = self._search(request, index, query, source.get("filter") or [], sort)
        hidden = {key: request.query[key] for key in ("view", "data_view") if request.query.get(key)}
        return Answer(body=pages.discover(self.base, title, index, query, columns, hits, total, error, hidden), kind="text/html; charset=utf-8")

    def _search(self, request: Request, index: str, query: str, filters: list, sort: list) -> tuple[list, int, str]:
        try:
            wanted = [kql.to_query(query), *(entry["query"] for entry in filters if not (entry.get("meta") or {}).get("disabled"))]
        except kql.KqlError as error:
            return [], 0, str(error)
        order = [{name: {"order": direction, "unmapped_type": "boolean"}} for name, direction in sort]
        body = {"size": HITS, "track_total_hits": True, "query": {"bool": {"filter": wanted}}, **({"sort": order} if order else {})}
        path = f"/{urllib.parse.quote(index, safe=',*')}/_search?ignore_unavailable=true&allow_no_indices=true"
        status, answer = self.elastic.as_user(request.user.authorization, "POST", path, body)  # type: ignore[union-attr]
        if status != 200 or not isinstance(answer, dict):
            return [], 0, reason(answer)
        return answer["hits"]["hits"], answer["hits"]["total"]["value"], ""


def make_server(kibana: Kibana) -> http.server.ThreadingHTTPServer:
    """Return the server, listening."""
    settings = kibana.settings
    general, upload = int(settings["server.maxPayload"]), int(settings["savedObjects.maxImportPayloadBytes"])

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 120

        def setup(self):
            super().setup()
            kibana.metrics.opened(1)

        def finish(self):
            kibana.metrics.opened(-1)
            super().finish()

        def do_GET(self):
            begun = time.monotonic()
            parts = urllib.parse.urlsplit(self.path)
            length = self.headers.get("Content-Length") or "0"
            limit = upload if parts.path.endswith("/_import") else general
            if not length.isdigit() or self.headers.get("Transfer-Encoding"):
                self.close_connection = True
                answer = kibana.error(400, "Bad Request")
            elif int(length) > limit:
                self.close_connection = True
                self._discard(int(length))
                answer = kibana.error(413, f"Payload content length greater than maximum allowed: {limit}")
            else:
                body = self.rfile.read(int(length))
                query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
                answer = kibana.answer(Request(self.command, parts.path, query, self.headers, body))
            took = (time.monotonic() - begun) * 1000
            kibana.metrics.answered(answer.status, took)
            self._send(answer)
            kibana.log("debug", "http.server.response", f"{self.command} {parts.path} {answer.status} {took:.0f}ms")

        do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

        def _discard(self, length: int) -> None:
            """Take what a client is about to send: one that still writes would not see the answer."""
            length = min(length, 4 * upload)
            while length > 0 and (taken := self.rfile.read(min(length, 65536))):
                length -= len(taken)

        def _send(self, answer: Answer) -> None:
            data = answer.data()
            try:
                self.send_response(answer.status)
                for name, value in self._headers(answer):
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                kibana.metrics.gone()
                self.close_connection = True

        def _headers(self, answer: Answer):
            yield "Content-Type", answer.kind
            yield "kbn-name", server_name(settings)
            yield "kbn-license-sig", "standin"
            yield "x-content-type-options", "nosniff"
            yield "referrer-policy", "strict-origin-when-cross-origin"
            yield "cache-control", "private, no-cache, no-store, must-revalidate"
            frames = "; frame-ancestors 'self'" if settings["server.securityResponseHeaders.disableEmbedding"] else ""
            yield "content-security-policy", f"default-src 'self'; script-src 'self'; style-src 'self'; form-action 'self'{frames}"
            transport = settings["server.securityResponseHeaders.strictTransportSecurity"]
            if transport:
                yield "strict-transport-security", str(transport)
            yield from (settings["server.customResponseHeaders"] or {}).items()
            if answer.status == 401:
                yield "www-authenticate", 'Basic realm="security", charset="UTF-8"'
            yield from answer.headers

        def send_response(self, code, message=None):
            """Leave out the versions of Python."""
            self.send_response_only(code, message)
            self.send_header("Date", self.date_time_string())

        def log_message(self, *_args):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128
        address_family = socket.AF_INET6 if ":" in str(settings["server.host"]) else socket.AF_INET

        def server_bind(self):
            """Without the base class's question for the host's name, which may have to wait for a name server."""
            socketserver.TCPServer.server_bind(self)
            self.server_name, self.server_port = str(settings["server.host"]), self.server_address[1]

    return Server((str(settings["server.host"]), int(settings["server.port"])), Handler)
