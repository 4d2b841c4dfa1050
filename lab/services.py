"""The lab's services, in a container of their own: artifact mirror, mail server, and endpoints that record notifications.

Port 80 serves the mirror, and records every POST below /slack, /pagerduty and /webhook; `GET /received?kind=mail&since=EPOCH` lists
what has come in, `DELETE /received` forgets it. Port 587 is a mail server: STARTTLS and a login are required.
"""

from __future__ import annotations

import email
import email.policy
import hmac
import http.server
import json
import ssl
import time
import urllib.parse
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

MIRROR = Path("/srv/mirror")
SMTP_USER = "alerts"
# A transfer of this version of beacon is cut off in the middle, as a failing proxy does.
CUT_OFF = "1.9.6.linux"
RECEIVED: list[dict] = []


def record(kind: str, **content: object) -> None:
    """Keep a notification, with the time of its arrival."""
    RECEIVED.append({"kind": kind, "time": time.time(), **content})


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the mirror's files, and records what Slack, PagerDuty and a webhook would have been sent."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        if address.path != "/received":
            self._serve(body=True)
            return
        query = dict(urllib.parse.parse_qsl(address.query))
        try:
            since = float(query.get("since", 0))
        except ValueError:
            self._answer(400, {"error": "since must be seconds since 1970"})
            return
        self._answer(200, [entry for entry in list(RECEIVED) if entry["time"] >= since and query.get("kind", entry["kind"]) == entry["kind"]])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "replace")
        kind = self.path.strip("/").split("/")[0].split("?")[0]
        if kind not in ("slack", "pagerduty", "webhook"):
            self._answer(404, {"error": f"no endpoint {self.path}"})
            return
        record(kind, path=self.path, headers=dict(self.headers), body=body)
        if kind == "slack":
            self._answer(200, "ok")
        else:
            self._answer(202 if kind == "pagerduty" else 200, {"status": "success", "message": "Event processed", "dedup_key": "lab"})

    def do_DELETE(self) -> None:
        RECEIVED.clear()
        self._answer(200, {})

    def _serve(self, body: bool) -> None:
        path = (MIRROR / urllib.parse.unquote(self.path.split("?")[0]).lstrip("/")).resolve()
        if MIRROR not in path.parents or not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        if CUT_OFF in path.name:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content)

    def _answer(self, code: int, content: object) -> None:
        text = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_arguments: object) -> None:
        pass


class Mailbox:
    """Keeps every mail with its decoded parts."""

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if part.get_content_maintype() == "text"}
        record(
            "mail", sender=envelope.mail_from, recipients=envelope.rcpt_tos, subject=str(message["Subject"]), headers=dict(message.items()),
            text=parts.get("text/plain", ""), html=parts.get("text/html", ""), tls=session.ssl is not None, authenticated=session.authenticated,
        )
        return "250 OK"


def authenticate(_server, _session, _envelope, mechanism, data) -> AuthResult:
    """Accept the one login, by a plain password over TLS."""
    if mechanism != "PLAIN" or not isinstance(data, LoginPassword):
        return AuthResult(success=False, handled=False)
    right = data.login == SMTP_USER.encode() and hmac.compare_digest(data.password, Path("/run/smtp_password").read_bytes().strip())
    # handled=False: aiosmtpd says the 535 of a refusal, which otherwise would be ours to say.
    return AuthResult(success=right, handled=False)


def main() -> None:
    """Serve until the container is stopped."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("/run/mail.crt", "/run/mail.key")
    # LOGIN is left out: aiosmtpd asks for the name in words of its own, which Alertmanager does not take for the question.
    Controller(
        Mailbox(), hostname="0.0.0.0", port=587, tls_context=context, require_starttls=True,
        auth_required=True, auth_exclude_mechanism=("LOGIN",), authenticator=authenticate,
    ).start()
    http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler).serve_forever()


if __name__ == "__main__":
    main()
