"""The real Alertmanager on this machine, with the files that the role renders, and sinks that keep what it sends by each channel.

What differs from a host: the addresses of the channels, plain HTTP and plain SMTP on loopback, no watcher (it wants certificates), files in a temporary
folder, short waits.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import socketserver
import subprocess
import threading
import time
import typing as t
import urllib.request
from datetime import UTC, datetime, timedelta

import yaml
from rendered import ROOT
from shipped import cache_folder

PUBLIC_URL = "https://observatory.example.org"
LOOPBACK = "127.0.0.1"
# Files of a host -> where they lie below the temporary folder.
FOLDERS = ("/etc/alertmanager", "/var/log/alertmanager")
# Debian's build reads its default templates from here; upstream's has them built in. The lab's mirror keeps them.
DEFAULTS = "usr/share/prometheus/alertmanager"
OVERLAY = 'mount -t overlay overlay -o "lowerdir=$1:/usr/share" /usr/share && shift && exec "$@"'
START_SECONDS = 20
# The moment at which each golden file's story happens; what was sent is moved there.
STORY = datetime(2026, 3, 5, 2, 26, 7, tzinfo=UTC)
DAY = timedelta(days=1)
SECRETS = {"alertmanager_smtp_password": "unused", "alertmanager_smtp_authority": ""}


def lab_teams() -> dict[str, t.Any]:
    """Return the lab's teams."""
    return yaml.safe_load((ROOT / "inventories/lab/group_vars/all/teams.yml").read_text(encoding="utf-8"))["observatory_teams"]


class Sinks:
    """A mail server and a web server; `received` has what came in: (channel, what it says)."""

    def __init__(self) -> None:
        self.received: list[tuple[str, t.Any]] = []
        sinks = self

        class Mail(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                def say(words: str) -> None:
                    self.wfile.write(f"{words}\r\n".encode())

                say("220 sink")
                while line := self.rfile.readline():
                    verb = line.split()[0].upper() if line.split() else b""
                    if verb == b"DATA":
                        say("354 go on")
                        content = b""
                        while not content.endswith(b"\r\n.\r\n"):
                            content += self.rfile.readline()
                        sinks.received.append(("email", re.sub(rb"(?m)^\.\.", b".", content[:-3])))
                    say("221 bye" if verb == b"QUIT" else "250 ok")

        class Web(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                channel = self.path.split("/")[1]
                sinks.received.append((channel, body))
                answer = b"ok" if channel == "slack" else b'{"status": "success", "message": "Event processed", "dedup_key": "x"}'
                self.send_response(202 if channel == "pagerduty" else 200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._servers = [socketserver.ThreadingTCPServer((LOOPBACK, 0), Mail), http.server.ThreadingHTTPServer((LOOPBACK, 0), Web)]
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.smtp, web = (f"{LOOPBACK}:{server.server_address[1]}" for server in self._servers)
        self.web = f"http://{web}"

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def role_values(sinks: Sinks) -> dict[str, t.Any]:
    """Return the variables that lead the lab's channels to the sinks. The team shop has all four; the team office is closed today and tomorrow."""
    teams = lab_teams()
    hook = {"webhook": {"url_variable": "alertmanager_webhook_url_office"}}
    open_day = (datetime.now(UTC) + 3 * DAY).strftime("%A").lower()
    teams["office"] = {
        **hook, "office_hours": {"days": [open_day], "from": "08:00", "to": "18:00"},
        "escalation": [{"after": f"{minutes}m", "when": when, **hook} for minutes, when in ((10, "office"), (15, "nights"), (30, "always"))],
    }
    teams["shop"]["webhook"] = teams["platform"]["webhook"]
    teams["shop"]["pagerduty"]["events_url"] = f"{sinks.web}/pagerduty/v2/enqueue"
    return {
        **SECRETS, "observatory_teams": teams, "observatory_public_url": PUBLIC_URL,
        "alertmanager_smtp_smarthost": sinks.smtp, "alertmanager_smtp_username": "", "alertmanager_smtp_tls_required": False,
        "alertmanager_webhook_url_platform": f"{sinks.web}/webhook", "alertmanager_webhook_url_office": f"{sinks.web}/office",
        "alertmanager_slack_url_shop": f"{sinks.web}/slack",
        "alertmanager_group_wait": "1s", "alertmanager_group_interval": "1s", "__alertmanager_watchers": [],
    }


class Alertmanager:
    """The program, once it is ready."""

    def __init__(self, program: str, folder: pathlib.Path, files: dict[str, dict]) -> None:
        self._folder = folder
        for path, entry in files.items():
            if path.startswith(FOLDERS):
                file = folder / path.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self._moved(entry["content"]) if path.endswith(".yml") else entry["content"], encoding="utf-8")
        for path in FOLDERS:
            (folder / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind((LOOPBACK, 0))
            self._url = f"http://{LOOPBACK}:{free.getsockname()[1]}"
        self._log = folder / "log"
        flags = dict(re.findall(r'"--([\w.-]+)=(.*?)"', files["/etc/systemd/system/alertmanager.service"]["content"]))
        flags |= {
            "config.file": self._moved(flags["config.file"]), "web.listen-address": self._url.removeprefix("http://"),
            "storage.path": str(folder / "data"),
        }
        del flags["web.config.file"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._mounted(), program, *(f"--{name}={value}" for name, value in flags.items())], stdout=log, stderr=log,
            )
        try:
            wait_for(self._ready, "Alertmanager is ready", START_SECONDS, self.log)
        except BaseException:
            self.close()
            raise

    def _moved(self, text: str) -> str:
        for path in FOLDERS:
            text = text.replace(path, str(self._folder) + path)
        return text

    def _mounted(self) -> list[str]:
        """Return the words before the program: it sees Debian's default templates, the machine does not."""
        kept = cache_folder() / "lab" / "alertmanager-templates"
        if pathlib.Path("/", DEFAULTS).is_dir() or not kept.is_dir():
            return []
        below = self._folder / "share"
        shutil.copytree(kept, below / pathlib.Path(DEFAULTS).relative_to("usr/share"))
        return ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else []), "sh", "-c", OVERLAY, "sh", str(below)]

    def _ready(self) -> bool:
        assert self._process.poll() is None, self.log()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self._url}/-/ready", timeout=2):
            return True
        return False

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def post(self, *alerts: dict[str, t.Any]) -> None:
        request = urllib.request.Request(
            f"{self._url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}, method="POST",
        )
        urllib.request.urlopen(request, timeout=10).close()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def wait_for(found: t.Callable[[], t.Any], what: str, seconds: float, evidence: t.Callable[[], str]) -> t.Any:
    """Return what is found, once it is; fail with the evidence when it is not."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}\n{evidence()}"
        time.sleep(0.05)
    return result


def mail_parts(content: bytes) -> dict[str, t.Any]:
    """Return {headers, text, html} of a mail; Alertmanager writes the headers in another order each time."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    parts = {part.get_content_type(): part.get_content().replace("\r\n", "\n") for part in message.walk() if part.get_content_maintype() == "text"}
    return {"headers": {name: str(value) for name, value in sorted(message.items())}, "text": parts["text/plain"], "html": parts["text/html"]}


def told_later(text: str, by: timedelta) -> str:
    """Return a text with its moments of these days moved, in the forms in which they stand in messages and links."""
    now = datetime.now(UTC)

    def moved(match: re.Match) -> str:
        found = datetime.fromisoformat(f"{match[1]}T{match[3].replace(match[4], ':')}+00:00")
        if abs(found - now) > DAY:
            return match[0]
        return f"{(found + by).date()}{match[2]}{str((found + by).time()).replace(':', match[4])}"

    # A colon in a link of the HTML is written %3a.
    return re.sub(r"(\d{4}-\d\d-\d\d)([T ])((?:\d\d(:|%3a)){2}\d\d)", moved, text)
