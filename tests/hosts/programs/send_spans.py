"""Sends numbered spans one by one, each until it is taken in, as an application's exporter does: send_spans.py URL RUN SPANS_A_SECOND"""

import itertools
import json
import secrets
import ssl
import sys
import time
import urllib.request

url, run, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
context = ssl.create_default_context(cafile="/etc/observatory/pki/ca.crt")
context.load_cert_chain("/etc/observatory/pki/host.crt", "/etc/observatory/pki/host.key")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
begun = time.monotonic()
for number in itertools.count(1):
    now = time.time_ns()
    span = {
        "traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "name": f"{run}-{number}", "kind": 2,
        "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1_000_000),
    }
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    body = json.dumps({"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": [span]}]}]}).encode()
    while True:
        try:
            opener.open(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=5).read()
        except OSError:
            time.sleep(0.2)
            continue
        break
    print(number, flush=True)
    time.sleep(max(0.0, begun + number / rate - time.monotonic()))
