"""Silences of Alertmanager: made for a maintenance, found again, lifted."""

from __future__ import annotations

import json
import re
import time

from .host import Failure
from .tls import opener

TIMEOUT_SECONDS = 20
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SPEC = {
    "url": {"type": "str", "required": True},
    "ca": {"type": "path"},
    "cert": {"type": "path"},
    "key": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "id": {"type": "str"},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "services": {"type": "list", "elements": "str", "default": []},
    "duration": {"type": "str", "default": "1h"},
    "author": {"type": "str"},
    "reason": {"type": "str"},
}


def apply(params, check=False, now=None, ask=None):
    """Make or lift silences; return {changed, silences: [{id, what, until}], done}. Raises Failure."""
    ask = ask or Alertmanager(params).ask
    if params["state"] == "absent":
        return _lift(params, check, ask)
    begin = time.time() if now is None else now
    until = begin + seconds(params["duration"])
    for name in ("author", "reason"):
        if not (params.get(name) or "").strip():
            raise Failure("{0} is missing: a silence says who made it and why".format(name))
    wanted = [(label, sorted(set(names))) for label, names in (("host", params["hosts"]), ("service_name", params["services"])) if names]
    if not wanted:
        raise Failure("neither hosts nor services are named: this would silence nothing")
    silences, done = [], []
    for label, names in wanted:
        what = "{0} {1}".format("hosts" if label == "host" else "services", ", ".join(names))
        matcher = {"name": label, "value": "|".join(re.escape(name) for name in names), "isRegex": True, "isEqual": True}
        made = None
        if not check:
            body = {
                "matchers": [matcher], "startsAt": stamp(begin), "endsAt": stamp(until), "createdBy": params["author"],
                "comment": "maintenance: {0}".format(params["reason"]),
            }
            made = json.loads(ask("POST", "/api/v2/silences", body))["silenceID"]
        silences.append({"id": made, "what": what, "until": stamp(until)})
        done.append("alerts of {0} silenced until {1}".format(what, stamp(until)))
    return {"changed": True, "silences": silences, "done": done}


def _lift(params, check, ask):
    if not params.get("id"):
        raise Failure("id is missing: which silence is to be lifted?")
    found = json.loads(ask("GET", "/api/v2/silence/" + params["id"], None, absent='{"status": {"state": "expired"}}'))
    if found["status"]["state"] == "expired":
        return {"changed": False, "silences": [], "done": []}
    if not check:
        ask("DELETE", "/api/v2/silence/" + params["id"], None)
    return {"changed": True, "silences": [], "done": ["silence {0} lifted".format(params["id"])]}


def seconds(text):
    """Return the seconds of a duration such as 30m; raises Failure."""
    match = re.match(r"^(\d+)([smhd])$", str(text))
    if not match or not int(match.group(1)):
        raise Failure("duration is {0!r}; expected for example 30m, 2h or 1d".format(text))
    return int(match.group(1)) * UNITS[match.group(2)]


def stamp(moment):
    """Return seconds since 1970 as Alertmanager writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


class Alertmanager:
    """The API of one Alertmanager; peers of a mesh tell each other."""

    def __init__(self, params):
        self._url = params["url"].rstrip("/")
        self._opener = opener(self._url, params.get("ca"), params.get("cert"), params.get("key"))

    def ask(self, method, path, body, absent=None):
        """Return the answer's text; `absent` where the object is not there. Raises Failure with Alertmanager's words."""
        import urllib.error
        import urllib.request

        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 404 and absent is not None:
                return absent
            raise Failure("Alertmanager answers {0} {1} with status {2}: {3}".format(method, path, error.code, error.read().decode()[:300].strip()))
        except OSError as error:
            raise Failure("{0} does not answer ({1}). Is Alertmanager running there?".format(self._url, getattr(error, "reason", error)))
