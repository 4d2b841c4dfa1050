"""Whether a signal has arrived: each judge gets one answer and says what is still missing. Pure, but for `fetch` and `wait`."""

from __future__ import annotations

import json
import os
import re
import time

from .tls import basic_authorization, opener

REQUEST_TIMEOUT_SECONDS = 10
SHOWN_TARGETS = 8
EVENTS_TAIL_BYTES = 4 << 20
# What a sink calls the channels, where it is not their name in teams.yml.
CHANNELS = {"mail": "email"}


class Missing(Exception):
    """What has not arrived yet, as the end of a sentence."""


def judge_targets(answer, expected):
    """Return a summary when every active target is up; `expected` is how many there have to be at least."""
    targets = answer["data"]["activeTargets"]
    waiting = []
    for target in targets:
        if target["health"] != "up":
            labels = target["labels"]
            reason = target.get("lastError") or "not scraped yet"
            waiting.append("{0} {1}: {2}".format(labels.get("job"), labels.get("instance"), reason))
    if waiting:
        more = "" if len(waiting) <= SHOWN_TARGETS else "\nand {0} more".format(len(waiting) - SHOWN_TARGETS)
        raise Missing("{0} of {1} targets are not up:\n{2}{3}".format(
            len(waiting), len(targets), "\n".join(sorted(waiting)[:SHOWN_TARGETS]), more))
    if len(targets) < expected:
        raise Missing("{0} targets are known, there should be {1} or more".format(len(targets), expected))
    return "{0} targets".format(len(targets))


def judge_query(answer, expected):
    """Return the first value when a query gives `expected` results or more."""
    result = answer["data"]["result"]
    if len(result) < max(1, expected):
        raise Missing("the query has {0} of {1} results".format(len(result), max(1, expected)))
    return result[0]["value"][1]


def notified(lines, words):
    """Return {integration: when} (epoch seconds) of the notifications in an Alertmanager event log whose text has all `words`."""
    found = {}
    for line in lines:
        if not all(word in line for word in words):
            continue
        try:
            event = json.loads(line)
            notification = event["data"]["notification"]
            integration = notification["integration"]["name"]
        except (ValueError, KeyError, TypeError):
            continue
        found.setdefault(integration, epoch(event.get("@timestamp", "")))
    return found


def judge_notified(found, integrations):
    """Return a summary when each integration has sent."""
    missing = sorted(set(integrations) - set(found))
    if missing:
        sent = ", ".join(sorted(found)) or "nothing"
        raise Missing("Alertmanager has not sent by {0} (sent: {1}); its journal says why".format(", ".join(missing), sent))
    return ", ".join(sorted(found))


def judge_received(answer, words, channels):
    """Return {channel: when} when each channel of a sink has a message with all `words`.

    answer: a list of messages, each with `kind` and `time` (epoch seconds); the rest is looked through as text.
    """
    found, without = {}, set()
    for message in answer:
        channel = CHANNELS.get(message.get("kind"), message.get("kind"))
        text = json.dumps(message, ensure_ascii=False)
        if words[0] not in text:
            continue
        if all(word in text for word in words):
            found.setdefault(channel, message.get("time"))
        else:
            without.add(channel)
    missing = sorted(set(channels) - set(found))
    if missing:
        incomplete = sorted(set(missing) & without)
        if incomplete:
            raise Missing("{0} has the message, but without {1}".format(", ".join(incomplete), ", ".join(words[1:])))
        raise Missing("nothing has arrived at {0}".format(", ".join(missing)))
    return found


def epoch(timestamp):
    """Return epoch seconds of an RFC 3339 time with any number of digits after the second, or None."""
    match = re.match(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$", timestamp)
    if not match:
        return None
    import datetime  # late: most runs do not need it

    moment = datetime.datetime.fromisoformat(match.group(1) + match.group(3).replace("Z", "+00:00"))
    return moment.timestamp() + float(match.group(2) or 0)


def tail_lines(path):
    """Return the last lines of a file that grows; an absent one has none."""
    try:
        with open(path, "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - EVENTS_TAIL_BYTES))
            return handle.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []


def judge_log(answer):
    """Return the index of the one log record that an Elasticsearch search has found."""
    hits = answer["hits"]["hits"]
    if not hits:
        raise Missing("no record has been found")
    return hits[0]["_index"]


def judge_trace(answer, service):
    """Return a summary when the trace that Jaeger's API has given holds a span of the service."""
    traces = answer.get("data") or []
    spans = [span for trace in traces for span in trace.get("spans") or []]
    names = sorted({process.get("serviceName", "") for trace in traces for process in (trace.get("processes") or {}).values()})
    if not spans or service not in names:
        raise Missing("Jaeger has {0} spans of the trace, of: {1}".format(len(spans), ", ".join(names) or "no service"))
    return "{0} span".format(len(spans)) + ("s" if len(spans) > 1 else "")


def judge_proxied(answer):
    """Return True when a data source has answered through Grafana, whatever its answer's form."""
    if not isinstance(answer, dict) or answer.get("error") or answer.get("status") == "error":
        raise Missing("it answers {0}".format(json.dumps(answer)[:300]))
    return True


def fetch(url, ca=None, cert=None, key=None, user=None, password=None, headers=None, body=None):
    """Return the JSON at a URL; raises Missing with the reason when there is no answer.

    url: https, http, or unix:SOCKET:/PATH. body: sent as JSON by POST; without one it is a GET.
    """
    head = dict(headers or {})
    if user:
        head["Authorization"] = basic_authorization(user, password)
    data = None
    if body is not None:
        head["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    try:
        code, text = _ask_socket(url, head, data) if url.startswith("unix:") else _ask(url, ca, cert, key, head, data)
        if code >= 400:
            raise Missing("{0} answers {1}: {2}".format(url, code, text[:300].strip()))
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise Missing("{0}: {1}".format(url, getattr(error, "reason", error)))


def _ask(url, ca, cert, key, headers, data):
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, data, headers)
    try:
        with opener(url, ca, cert, key).open(request, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read().decode("utf-8")
    except urllib.error.HTTPError as error:
        return error.code, error.read(300).decode("utf-8", "replace")


def _ask_socket(url, headers, data):
    import http.client
    import socket

    _scheme, path, target = url.split(":", 2)
    connection = http.client.HTTPConnection("localhost", timeout=REQUEST_TIMEOUT_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(REQUEST_TIMEOUT_SECONDS)
    try:
        connection.sock.connect(path)
        connection.request("POST" if data else "GET", target, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise Missing("{0}: {1!r}".format(url, error))
    finally:
        connection.close()


def wait(look, timeout, interval=0.3, clock=time.monotonic, sleep=time.sleep):
    """Call `look` until it returns instead of raising Missing; raises the last Missing after `timeout` seconds."""
    deadline = clock() + timeout
    while True:
        try:
            return look()
        except Missing:
            if clock() >= deadline:
                raise
        sleep(interval)


def table(products, signals):
    """Return the lines of the report: what runs where, then how long each signal took.

    products: [{host, product, version, state}]; signals: [{name, state, seconds, detail}].
    """
    rows = [("HOST", "PRODUCT", "VERSION", "STATE")]
    rows += [tuple(str(entry[key]) for key in ("host", "product", "version", "state")) for entry in products]
    lines = _aligned(rows)
    rows = [("SIGNAL", "STATE", "SECONDS", "HOW")]
    for entry in signals:
        seconds = entry.get("seconds")
        rows.append((entry["name"], entry["state"], "" if seconds is None else "{0:.1f}".format(seconds), entry.get("detail") or ""))
    return lines + [""] + _aligned(rows)


def _aligned(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
