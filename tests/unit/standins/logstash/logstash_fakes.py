"""Fakes and helpers: certificates, an Elasticsearch, a sender of Beats events, a Logstash in this process or one of its own."""

from __future__ import annotations

import base64
import datetime
import gzip
import io
import ipaddress
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from logstash import logs, pipeline
from logstash.bus import Bus
from logstash.event import Event
from logstash.settings import Settings

HOME = Path(__file__).parents[4] / "lab" / "standins" / "logstash"
PROGRAM = HOME / "bin" / "logstash"
USER, PASSWORD = "logstash", "secret-of-a-test"


# Certificates


def make_certificates(folder: Path) -> Path:
    """Make ca.crt, server.{crt,key}, client.{crt,key} (OU=filebeat, CN=app1), and foreign.{crt,key}, old.key in PKCS#1's form."""
    authority = _authority("site")
    _write(folder / "ca.crt", authority[0])
    for name, unit, common in (("server", "logstash", "hub"), ("client", "filebeat", "app1")):
        _issue(folder, name, authority, unit, common)
    _issue(folder, "foreign", _authority("elsewhere"), "filebeat", "app1")
    return folder


def _authority(name: str):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True).sign(key, hashes.SHA256())
    )
    return certificate, key


def _issue(folder: Path, name: str, authority, unit: str, common: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Observatory lab, test"), x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        x509.NameAttribute(NameOID.COMMON_NAME, common),
    ])
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(authority[0].subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority[1].public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True).sign(authority[1], hashes.SHA256())
    )
    _write(folder / f"{name}.crt", certificate)
    (folder / f"{name}.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption(),
    ))
    (folder / f"{name}-old.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption(),
    ))


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


# Elasticsearch


class FakeElasticsearch:
    """Takes bulk requests; `answers` holds functions that judge the next ones instead: (items) -> (status, content)."""

    def __init__(self, certificates: Path, port: int = 0):
        self.documents: dict[tuple[str, str], dict] = {}
        self.requests: list[list[tuple[dict, dict]]] = []
        self.answers: list = []
        self.lines = 0
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _Elasticsearch)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        context.load_verify_locations(certificates / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads, self._server.fake = True, self
        self.port = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def bulk(self, items: list[tuple[dict, dict]]):
        with self.lock:
            self.requests.append(items)
            judge = self.answers.pop(0) if self.answers else None
        return judge(items) if judge else self.accept(items)

    def accept(self, items: list[tuple[dict, dict]]):
        """Keep what is new; the same id a second time is a conflict."""
        answers = []
        with self.lock:
            for parameters, document in items:
                self.lines += 1
                key = parameters["_index"], parameters.get("_id") or f"generated-{self.lines}"
                if key in self.documents:
                    answers.append({"create": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}}})
                else:
                    self.documents[key] = document
                    answers.append({"create": {"status": 201}})
        return 200, {"errors": any("error" in answer["create"] for answer in answers), "items": answers}


class _Elasticsearch(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: without this, the second waits for the first's acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self):
        if not self._known():
            return
        if self.path == "/":
            self._answer(200, {"version": {"number": "9.5.0"}, "tagline": "You Know, for Search"})
        else:
            self._answer(200, {"license": {"status": "active", "type": "basic"}})

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._known():
            return
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        lines = data.removesuffix(b"\n").split(b"\n")
        items = [(json.loads(action)["create"], json.loads(document)) for action, document in zip(lines[::2], lines[1::2], strict=True)]
        self._answer(*self.server.fake.bulk(items))

    def _known(self) -> bool:
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == wanted:
            return True
        self._answer(401, {"error": "unknown user"})
        return False

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


# Beats


class Sender:
    """Sends windows of events as Filebeat does."""

    def __init__(self, port: int, certificates: Path | None = None, name: str = "client", seconds: float = 10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        if certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(certificates / "ca.crt")
            if name:
                context.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")

    def send(self, events: list[dict], compress: bool = True) -> None:
        self.socket.sendall(frames(events, compress))

    def ack(self) -> int:
        """Return the next acknowledgement's sequence number."""
        data = b""
        while len(data) < 6:
            part = self.socket.recv(6 - len(data))
            if not part:
                raise EOFError("the connection was closed")
            data += part
        assert data[:2] == b"2A", data
        return struct.unpack(">I", data[2:])[0]

    def deliver(self, events: list[dict], compress: bool = True) -> None:
        """Send a window and wait until it is acknowledged."""
        self.send(events, compress)
        while self.ack() != len(events):
            pass

    def close(self) -> None:
        self.socket.close()


def frames(events: list[dict], compress: bool) -> bytes:
    bodies = [json.dumps(event).encode() for event in events]
    body = b"".join(b"2J" + struct.pack(">II", number, len(data)) + data for number, data in enumerate(bodies, 1))
    if compress:
        packed = zlib.compress(body, 3)
        body = b"2C" + struct.pack(">I", len(packed)) + packed
    return b"2W" + struct.pack(">I", len(events)) + body


def beat(message: str, **fields: object) -> dict:
    """Return an event as Filebeat makes it."""
    return {"@timestamp": "2026-11-24T10:00:00.123Z", "@metadata": {"beat": "filebeat", "type": "_doc", "version": "9.0.0"}, "message": message, **fields}


# Logstash


def capture_log(monkeypatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(logs.LOGS, "stream", stream)
    return stream


def make_settings(folder: Path, **values: object) -> Settings:
    """Return settings with a data folder; names with underscores for dots."""
    settings = Settings()
    settings.set("path.data", str(folder))
    settings.set("pipeline.workers", 1)
    for name, value in values.items():
        settings.set(name.replace("__", "."), value)
    return settings


def plan(text: str, settings: Settings | None = None, bus: Bus | None = None, variables: dict | None = None) -> pipeline.Plan:
    """Return the checked plan of a pipeline's text."""
    settings = settings or Settings({"pipeline.workers": 1})
    config = pipeline.PipelineConfig(settings["pipeline.id"], settings, (("test.conf", text),))
    return pipeline.Plan(config, pipeline.Context(config.id, settings, bus or Bus()), variables or {})


def filtered(section: str, data: dict, metadata: dict | None = None, settings: Settings | None = None) -> Event:
    """Return an event after a filter section."""
    made = pipeline.Pipeline(plan(f"filter {{ {section} }}", settings))
    for plugin in made.plan.plugins["filter"]:
        plugin.register()
    event = Event.new(data)
    event.metadata.update(metadata or {})
    made._filters(made.plan.filters)(event)
    return event


def fields(section: str, **data: object) -> dict:
    """Return an event's data after a filter section, without timestamp and version."""
    event = filtered(section, data)
    assert not event.cancelled
    return {name: value for name, value in event.data.items() if name not in ("@timestamp", "@version")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds: float = 10, what: str = "the condition", log: Path | None = None) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come true in {seconds} s" + (f"; log:\n{log.read_text()}" if log else ""))
        time.sleep(0.01)


class Logstash:
    """A process of its own, with the files of a folder."""

    def __init__(self, folder: Path, pipelines: dict[str, str], settings: str = "", options: dict[str, str] | None = None):
        self.folder, self.api_port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "logstash.yml").write_text(
            f"path.data: {folder}/data\npath.logs: {folder}/logs\napi.http.port: {self.api_port}\npipeline.workers: 1\n"
            f"{'allow_superuser: true' if os.geteuid() == 0 else ''}\n{settings}"
        )
        entries = []
        for name, text in pipelines.items():
            (folder / f"{name}.conf").write_text(text)
            extra = "".join(f"  {line}\n" for line in (options or {}).get(name, "").splitlines())
            entries.append(f"- pipeline.id: {name}\n  path.config: {folder}/{name}.conf\n{extra}")
        (folder / "pipelines.yml").write_text("".join(entries))
        self.process: subprocess.Popen | None = None
        self.log = folder / "log"

    def command(self, *more: str) -> list[str]:
        return [sys.executable, str(PROGRAM), "--path.settings", str(self.folder), *more]

    def check(self, **environment: str) -> tuple[int, str]:
        """Return (exit code, output) of --config.test_and_exit."""
        done = subprocess.run(self.command("-t"), capture_output=True, text=True, check=False, env=os.environ | environment)
        return done.returncode, done.stdout + done.stderr

    def start(self, wait: bool = True, **environment: str) -> Logstash:
        self.process = subprocess.Popen(
            self.command(), stdout=self.log.open("ab"), stderr=subprocess.STDOUT, env=os.environ | {"ELASTICSEARCH_PASSWORD": PASSWORD} | environment,
        )
        if wait:
            wait_for(lambda: self.process.poll() is not None or self.status() == "green", what="a green start", log=self.log)
            assert self.process.poll() is None, self.log.read_text()
        return self

    def get(self, path: str) -> tuple[int, dict]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api_port}{path}", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def status(self) -> str:
        try:
            return self.get("/")[1]["status"]
        except (OSError, ValueError):
            return "down"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, seconds: float = 10) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
