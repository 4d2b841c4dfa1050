"""Waits until a signal has arrived."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signal_wait
short_description: Waits until a signal has arrived
version_added: "1.0.0"
description:
  - Looks again and again until a metric, an alert's notification or a message at a sink is there, and says how many seconds it took.
  - It reads only, and does so in check mode too.
author: Observatory contributors
options:
  kind:
    description:
      - C(targets), all targets of the Prometheus at O(url) are up.
      - C(query), the PromQL of O(query) has a result there.
      - C(notified), the event log O(path) of Alertmanager shows that each of O(channels) has sent an alert with O(words).
      - C(received), the sink at O(url) has a message with O(words) in each of O(channels).
      - C(log), the Elasticsearch at O(url) has a record that matches O(search) in O(index).
      - C(trace), the Jaeger at O(url) has the trace O(trace_id) with a span of O(service).
      - C(data_sources), each of O(requests) to the Grafana at O(url) is answered.
    type: str
    required: true
    choices: [targets, query, notified, received, log, trace, data_sources]
  url:
    description: Address of the server, or C(unix:SOCKET:) for one behind a socket; for C(received) of a JSON list of messages, each with C(kind) and C(time).
    type: str
  query:
    description: PromQL, an instant query.
    type: str
  value_is_time:
    description: The value of the query's result is when it happened, in epoch seconds, and not only that it did.
    type: bool
    default: false
  path:
    description: Alertmanager's event log.
    type: path
  words:
    description: What the message has to contain, the run's name first.
    type: list
    elements: str
    default: []
  channels:
    description: Where it has to arrive, for instance C(email) and C(webhook).
    type: list
    elements: str
    default: []
  index:
    description: Data stream or pattern of them.
    type: str
  search:
    description: A query of Elasticsearch's own form.
    type: dict
  trace_id:
    description: Trace in hexadecimal.
    type: str
  service:
    description: Name of the service whose span is waited for.
    type: str
  requests:
    description: What is asked of Grafana, each with C(name) (of the data source), C(path) and, for a POST, C(body).
    type: list
    elements: dict
    default: []
  headers:
    description: Further headers.
    type: dict
    default: {}
  user:
    description: User for basic authentication.
    type: str
  password:
    description: Its password.
    type: str
  expected:
    description: The least number of targets or results.
    type: int
    default: 1
  since:
    description: When the signal was given, in epoch seconds. Left out, the seconds count from the begin of this task.
    type: float
  timeout:
    description: Seconds after which it fails.
    type: int
    default: 60
  ca:
    description: The authority that O(url) is checked against.
    type: path
  cert:
    description: The certificate that is shown to O(url).
    type: path
  key:
    description: Its key.
    type: path
attributes:
  check_mode:
    support: full
    description: It changes nothing.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Wait until every target is up
  observatory.core.signal_wait:
    kind: targets
    url: https://localhost:9090
    ca: /etc/observatory/pki/ca.crt
    cert: /etc/observatory/pki/host.crt
    key: /etc/observatory/pki/host.key
"""

RETURN = r"""
seconds:
  description: Seconds from O(since) to the arrival.
  type: float
  returned: when it has arrived
detail:
  description: What has arrived.
  type: str
  returned: when it has arrived
"""

import time
import urllib.parse

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.observatory.core.plugins.module_utils import signals


def main():
    module = AnsibleModule(
        argument_spec={
            "kind": {"type": "str", "required": True, "choices": list(LOOKS)},
            "url": {"type": "str"},
            "query": {"type": "str"},
            "value_is_time": {"type": "bool", "default": False},
            "path": {"type": "path"},
            "words": {"type": "list", "elements": "str", "default": []},
            "channels": {"type": "list", "elements": "str", "default": []},
            "index": {"type": "str"},
            "search": {"type": "dict"},
            "trace_id": {"type": "str"},
            "service": {"type": "str"},
            "requests": {"type": "list", "elements": "dict", "default": []},
            "headers": {"type": "dict", "default": {}},
            "user": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "expected": {"type": "int", "default": 1},
            "since": {"type": "float"},
            "timeout": {"type": "int", "default": 60},
            "ca": {"type": "path"},
            "cert": {"type": "path"},
            "key": {"type": "path", "no_log": False},
        },
        required_if=[
            ("kind", "targets", ["url"]),
            ("kind", "query", ["url", "query"]),
            ("kind", "notified", ["path", "words", "channels"]),
            ("kind", "received", ["url", "words", "channels"]),
            ("kind", "log", ["url", "index", "search"]),
            ("kind", "trace", ["url", "trace_id", "service"]),
            ("kind", "data_sources", ["url", "requests"]),
        ],
        supports_check_mode=True,
    )
    begun = time.time()
    since = begun if module.params["since"] is None else module.params["since"]
    try:
        detail, arrived = signals.wait(LOOKS[module.params["kind"]](module.params), module.params["timeout"])
    except signals.Missing as error:
        module.fail_json(msg="After {0} seconds: {1}".format(module.params["timeout"], error))
    module.exit_json(changed=False, detail=detail, seconds=round(max(0.0, (arrived or time.time()) - since), 2))


def _fetch(params, path="", body=None):
    url = params["url"].rstrip("/") + path if path else params["url"]
    identity = {name: params[name] for name in ("ca", "cert", "key", "user", "password", "headers")}
    return signals.fetch(url, body=body, **identity)


def _targets(params):
    return lambda: (signals.judge_targets(_fetch(params, "/api/v1/targets?state=active"), params["expected"]), None)


def _query(params):
    path = "/api/v1/query?" + urllib.parse.urlencode({"query": params["query"]})

    def look():
        value = signals.judge_query(_fetch(params, path), params["expected"])
        return ("", float(value)) if params["value_is_time"] else ("value " + value, None)

    return look


def _notified(params):
    def look():
        found = signals.notified(signals.tail_lines(params["path"]), params["words"])
        detail = signals.judge_notified(found, params["channels"])
        return detail, max([found[channel] for channel in params["channels"] if found[channel]], default=None)

    return look


def _received(params):
    def look():
        found = signals.judge_received(_fetch(params), params["words"], params["channels"])
        return ", ".join(sorted(params["channels"])), max([found[channel] for channel in params["channels"] if found[channel]], default=None)

    return look


def _log(params):
    def look():
        # A stream that nobody has written to yet is no error.
        path = "/{0}/_search?ignore_unavailable=true&allow_no_indices=true".format(params["index"])
        return signals.judge_log(_fetch(params, path, {"size": 1, "query": params["search"]})), None

    return look


def _trace(params):
    path = "/api/traces/" + params["trace_id"]
    return lambda: (signals.judge_trace(_fetch(params, path), params["service"]), None)


def _data_sources(params):
    def look():
        for request in params["requests"]:
            try:
                signals.judge_proxied(_fetch(params, request["path"], request.get("body")))
            except signals.Missing as error:
                raise signals.Missing("{0}: {1}".format(request["name"], error))
        return ", ".join(request["name"] for request in params["requests"]), None

    return look


LOOKS = {
    "targets": _targets, "query": _query, "notified": _notified, "received": _received,
    "log": _log, "trace": _trace, "data_sources": _data_sources,
}


if __name__ == "__main__":
    main()
