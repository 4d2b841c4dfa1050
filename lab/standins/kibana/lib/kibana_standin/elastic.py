"""Requests to Elasticsearch: as Kibana itself with its token, or in the name of the person who asks."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import urllib.parse

from .settings import Settings


class Unreachable(Exception):
    """No Elasticsearch answers, with the reason of the last one."""


class Elastic:
    """A client for the nodes of kibana.yml; the next one is asked when one does not answer."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._hosts = list(settings["elasticsearch.hosts"])
        self._timeout = settings.milliseconds("elasticsearch.requestTimeout") / 1000
        self._lock = threading.Lock()
        self._own_context = self._context(own=True)
        # As Kibana: what is asked in somebody's name shows Kibana's certificate only when told so.
        self._user_context = self._context(own=bool(settings["elasticsearch.ssl.alwaysPresentCertificate"]))

    def _context(self, own: bool) -> ssl.SSLContext:
        mode = self._settings["elasticsearch.ssl.verificationMode"]
        context = ssl.create_default_context()
        for path in self._settings["elasticsearch.ssl.certificateAuthorities"]:
            context.load_verify_locations(cafile=path)
        context.check_hostname = mode == "full"
        context.verify_mode = ssl.CERT_NONE if mode == "none" else ssl.CERT_REQUIRED
        if own and self._settings["elasticsearch.ssl.certificate"]:
            context.load_cert_chain(
                self._settings["elasticsearch.ssl.certificate"], self._settings["elasticsearch.ssl.key"], self._settings["elasticsearch.ssl.keyPassphrase"]
            )
        return context

    def as_kibana(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        """Ask with Kibana's own token or user; return (status, data)."""
        headers = {}
        if self._settings["elasticsearch.serviceAccountToken"]:
            headers["Authorization"] = f"Bearer {self._settings['elasticsearch.serviceAccountToken']}"
        elif self._settings["elasticsearch.username"]:
            pair = f"{self._settings['elasticsearch.username']}:{self._settings['elasticsearch.password'] or ''}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return self._ask(self._own_context, method, path, body, headers)

    def as_user(self, authorization: str, method: str, path: str, body: object = None) -> tuple[int, object]:
        """Ask in the name of a person, with the header that came with the request."""
        return self._ask(self._user_context, method, path, body, {"Authorization": authorization})

    def _ask(self, context: ssl.SSLContext, method: str, path: str, body: object, headers: dict[str, str]) -> tuple[int, object]:
        reason = "there is no host"
        with self._lock:
            hosts = list(self._hosts)
        for host in hosts:
            try:
                return self._ask_one(host, context, method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                reason = f"{host}: {getattr(error, 'strerror', None) or error}"
                with self._lock:
                    if self._hosts[0] == host and len(self._hosts) > 1:
                        self._hosts = self._hosts[1:] + [host]
        raise Unreachable(reason)

    def _ask_one(self, host: str, context: ssl.SSLContext, method: str, path: str, body: object, headers: dict[str, str]) -> tuple[int, object]:
        parts = urllib.parse.urlsplit(host)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(str(parts.hostname), port, timeout=self._timeout, context=context)
        else:
            connection = http.client.HTTPConnection(str(parts.hostname), port, timeout=self._timeout)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            connection.request(method, parts.path.rstrip("/") + path, data, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            try:
                return answer.status, json.loads(text) if text else {}
            except ValueError:
                return answer.status, text
        finally:
            connection.close()


def reason(data: object) -> str:
    """Return Elasticsearch's words out of an error's answer."""
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict):
        return f"{error.get('type')}: {error.get('reason')}"
    return str(error or data)
