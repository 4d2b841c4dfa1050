#!/usr/bin/python3
"""The dead man's switch: tells people, by ways of its own, when the platform's watchdog no longer comes.

Alertmanager sends the alert Watchdog here each minute. Its annotation `evaluated` is Prometheus' clock at the last evaluation: only one that has moved
on counts, since Alertmanager repeats an alert for minutes after Prometheus is dead. When none comes for `patience` seconds, a notice goes out by each
channel, again after `repeat` seconds, and once more when the watchdog is back. The state is kept on disk: a restart neither forgets nor repeats.

The newest evaluation that came is also left as a metric for this host's node_exporter, where there is one: how old it is says how slow the way is.
"""

from __future__ import annotations

import contextlib
import datetime
import email.message
import http.server
import json
import os
import smtplib
import ssl
import sys
import threading
import time
import urllib.request

CONFIG = "/etc/watcher/config.json"
STATE = "/var/lib/watcher/state.json"
# node_exporter reads this folder. The name is one that NodeTextfileStale leaves to alerts of its own.
METRICS = "/var/lib/watcher/textfile/observatory_watcher.prom"
METRIC = "alert_canary_last_received_timestamp_seconds"
TIMEOUT_SECONDS = 20
LOOK_SECONDS = 5
LARGEST_BODY = 1 << 20
PATH = "/watchdog"


def clock(moment):
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_writing = threading.Lock()


def write(path, text, mode):
    """Put the text in the file's place in one step: who reads sees the old or the new one, never a part."""
    with _writing:
        with open(path + ".new", "w", encoding="utf-8") as handle:
            os.fchmod(handle.fileno(), mode)
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(path + ".new", path)


class Switch:
    """When the watchdog was heard, whether people were told, and what to tell them now. `now` is seconds since 1970."""

    def __init__(self, path, patience, repeat, now):
        self._path = path
        self.patience = patience
        self.repeat = repeat
        self.heard, self.evaluated, self.told, self.began = now, "", 0.0, 0.0
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            with open(path, encoding="utf-8") as handle:
                state = json.load(handle)
            self.evaluated, self.told, self.began = str(state["evaluated"]), float(state["told"]), float(state["began"])
            # While this was off nothing could be heard: patience begins anew, unless people know already.
            self.heard = float(state["heard"]) if self.told else now

    def hear(self, evaluated, now):
        """Note that the watchdog came with this evaluation; one that has been seen does not count. Return whether it did."""
        if evaluated == self.evaluated:
            return False
        self.heard, self.evaluated = now, evaluated
        self._keep()
        return True

    def due(self, now):
        """Return "lost", "still lost" or "back" when people are to be told, else ""."""
        if now - self.heard > self.patience:
            if not self.told:
                return "lost"
            return "still lost" if now - self.told >= self.repeat else ""
        return "back" if self.told else ""

    def tell(self, what, now):
        """Note that people have been told."""
        if what == "back":
            self.told, self.began = 0.0, 0.0
        else:
            self.began = self.began or self.heard
            self.told = now
        self._keep()

    def _keep(self):
        state = {"heard": self.heard, "evaluated": self.evaluated, "told": self.told, "began": self.began}
        write(self._path, json.dumps(state), 0o600)


class Canary:
    """The metric that says when Prometheus evaluated the newest watchdog that has come."""

    def __init__(self, path):
        self._path = path
        self.newest = 0.0

    def sing(self, evaluated, now):
        """Write down an evaluation. One that is older than the newest counts as that; a clock that is ahead, as now."""
        try:
            self.newest = max(self.newest, min(float(evaluated), now))
            write(
                self._path,
                f"# HELP {METRIC} When Prometheus evaluated the newest watchdog that has come here, in seconds since 1970.\n"
                f"# TYPE {METRIC} gauge\n{METRIC} {self.newest:.0f}\n",
                0o644,
            )
        except (OSError, ValueError) as error:
            # Hearing is the first duty.
            print(f"{self._path} could not be written: {error}", file=sys.stderr, flush=True)


def notice(what, site, host, since, patience, runbook):
    """Return (title, text) of a message."""
    if what == "back":
        return (
            f"RESOLVED Watchdog of {site} is back",
            f"The watchdog of the site {site} comes again. It had been missing since {clock(since)}; alerts of that time may have reached nobody: look at"
            " what fires now.",
        )
    return (
        f"CRITICAL No watchdog from {site}",
        f"The site {site} has sent no sign of life since {clock(since)} ({patience:.0f} s is the limit): Prometheus, Alertmanager, their host or the"
        " network to it is down. Until it is back, no alert of this site reaches anybody.\n"
        f"First: log in on the host of Alertmanager and run: obs status\nRunbook: {runbook}\n"
        f"Seen from {host}, which watches for the site.",
    )


class Sender:
    """The ways out, from the configuration. Each raises OSError or ValueError when a message is not taken."""

    def __init__(self, config, read=None):
        self._config = config
        self._read = read or _read

    def send(self, what, title, text):
        """Send by every channel; return [(channel, error)] of those that failed."""
        failed = []
        for channel in sorted(self._config["channels"]):
            try:
                getattr(self, channel)(self._config["channels"][channel], what, title, text)
            except (OSError, ValueError, smtplib.SMTPException) as error:
                failed.append((channel, error))
        return failed

    def email(self, given, what, title, text):
        smtp = self._config["smtp"]
        message = email.message.EmailMessage()
        message["Subject"], message["From"], message["To"] = title, smtp["from"], ", ".join(given["to"])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text + "\n")
        with smtplib.SMTP(smtp["host"], smtp["port"], timeout=TIMEOUT_SECONDS) as client:
            if smtp["tls"]:
                client.starttls(context=ssl.create_default_context(cafile=smtp["authority"] or None))
            if smtp["user"]:
                client.login(smtp["user"], self._read("smtp"))
            client.send_message(message)

    def slack(self, given, what, title, text):
        self._post(self._read("slack"), {"channel": given["channel"], "text": f"*{title}*\n{text}"})

    def pagerduty(self, given, what, title, text):
        event = {
            "routing_key": self._read("pagerduty"), "event_action": "resolve" if what == "back" else "trigger",
            "dedup_key": f"watchdog-{self._config['site']}",
            "payload": {"summary": title, "source": self._config["host"], "severity": "critical", "custom_details": {"text": text}},
        }
        self._post(given["events_url"], event)

    def webhook(self, given, what, title, text):
        state = "resolved" if what == "back" else "firing"
        self._post(self._read("webhook"), {"status": state, "alertname": "WatchdogMissing", "site": self._config["site"], "title": title, "text": text})

    def _post(self, url, body):
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            answer.read()


def _read(name):
    with open(f"/etc/watcher/secrets/{name}", encoding="utf-8") as handle:
        return handle.read().strip()


def look(switch, sender, config, now):
    """Tell people what is due; return the word for it. A notice that no channel takes is due again at the next look."""
    what = switch.due(now)
    if not what:
        return ""
    title, text = notice(what, config["site"], config["host"], switch.began or switch.heard, switch.patience, config["runbook"])
    failed = sender.send(what, title, text)
    for channel, error in failed:
        print(f"the notice '{title}' could not be sent by {channel}: {error}", file=sys.stderr, flush=True)
    if len(failed) < len(config["channels"]):
        switch.tell(what, now)
        print(f"told people: {title}", flush=True)
    return what


def evaluated(body):
    """Return the newest `evaluated` of the Watchdog alerts in Alertmanager's message, None where there is none."""
    try:
        alerts = json.loads(body)["alerts"]
        found = [
            str(alert["annotations"]["evaluated"])
            for alert in alerts
            if alert["status"] == "firing" and alert["labels"]["alertname"] == "Watchdog" and alert["annotations"].get("evaluated")
        ]
    except (ValueError, KeyError, TypeError):
        return None
    return max(found, default=None, key=lambda text: (len(text.partition(".")[0]), text))


def names_of(certificate):
    """Return the DNS names of a peer's certificate."""
    return {name for kind, name in (certificate or {}).get("subjectAltName", ()) if kind == "DNS"}


class Handler(http.server.BaseHTTPRequestHandler):
    """POST /watchdog from Alertmanager, GET /health from the host itself."""

    switch = None
    canary = None
    config = None
    timeout = TIMEOUT_SECONDS

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != PATH:
            self._answer(404, "no such page")
        elif not names_of(self.connection.getpeercert()) & {self.config["sender"]}:
            self._answer(403, "this certificate may not")
        elif length > LARGEST_BODY:
            self._answer(413, "too large")
        else:
            found = evaluated(self.rfile.read(length))
            if found is None:
                self._answer(400, "no Watchdog that fires, with the annotation `evaluated`")
                return
            now = time.time()
            if self.switch.hear(found, now):
                self.canary.sing(found, now)
            self._answer(200, "heard")

    def do_GET(self):
        if self.path != "/health":
            self._answer(404, "no such page")
        elif not names_of(self.connection.getpeercert()) & {self.config["host"], self.config["sender"]}:
            self._answer(403, "this certificate may not")
        else:
            ago = time.time() - self.switch.heard
            self._answer(200, f"heard {ago:.0f} s ago, {'people know that it is missing' if self.switch.told else 'nothing is missing'}")

    def _answer(self, status, text):
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, context):
        super().__init__(address, Handler)
        self._context = context

    def finish_request(self, request, client_address):
        # In the connection's own thread: a client that is silent in the handshake holds up nobody.
        request.settimeout(TIMEOUT_SECONDS)
        with contextlib.suppress(OSError):
            super().finish_request(self._context.wrap_socket(request, server_side=True), client_address)


def main():
    with open(CONFIG, encoding="utf-8") as handle:
        config = json.load(handle)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="/etc/watcher/tls/ca.crt")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain("/etc/watcher/tls/server.crt", "/etc/watcher/tls/server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    Handler.config = config
    Handler.switch = switch = Switch(STATE, config["patience"], config["repeat"], time.time())
    Handler.canary = Canary(METRICS)
    server = Server((config["address"], config["port"]), context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sender = Sender(config)
    while True:
        look(switch, sender, config, time.time())
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
