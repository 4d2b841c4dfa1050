"""Prints the whole platform's runs without a change, and how many log lines and spans a second it takes in without a loss: `make bench`.

Everything is on two hosts of the lab `bench`: the applications on app1, the platform on hub. A second is one from the first line that is
written to the last one that can be searched. What limits is the product that used the most processor meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ["OBSERVATORY_LAB"] = "bench"
sys.path[:0] = [str(ROOT), str(ROOT / "tests/hosts"), str(ROOT / "collections")]

import bench  # noqa: E402
from fleet import LAB, host  # noqa: E402
from store import ask  # noqa: E402

LINES = 60_000
SPANS = 20_000
SPANS_A_REQUEST = 100
LONGEST_SECONDS = 600
LOG = "/var/log/shop/shop.jsonl"
STAND_INS = {"logstash": "the lab's stand-in"}
WRITE = """
import json, sys
with open(sys.argv[1], "w") as handle:
    for number in range({lines}):
        message = "GET /basket/%d answered 200 in %d ms; three articles were looked at and none was bought" % (number, number % 97)
        handle.write(json.dumps({{"log.level": "info", "event.sequence": number, "labels": {{"run": "{run}"}}, "message": message}}) + "\\n")
"""
SEND = """
import http.client, json, secrets, ssl, time
context = ssl.create_default_context(cafile="/etc/observatory/pki/ca.crt")
context.load_cert_chain("/etc/observatory/pki/host.crt", "/etc/observatory/pki/host.key")
client = http.client.HTTPSConnection("{address}", 4318, context=context)
for batch in range({spans} // {batch}):
    now = time.time_ns()
    spans = [{{"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "name": "{run}", "kind": 2, "startTimeUnixNano": str(now),
              "endTimeUnixNano": str(now + 1000000)}} for _ in range({batch})]
    resource = {{"attributes": [{{"key": "service.name", "value": {{"stringValue": "shop"}}}}]}}
    body = {{"resourceSpans": [{{"resource": resource, "scopeSpans": [{{"spans": spans}}]}}]}}
    client.request("POST", "/v1/traces", json.dumps(body), {{"Content-Type": "application/json"}})
    answer = client.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
"""


def converge() -> None:
    """Run site.yml with the lab's whole platform on the first two hosts."""
    env = dict(os.environ, OBSERVATORY_LAB_NETWORK=LAB.network, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))
    done = subprocess.run(["ansible-playbook", "-i", "inventories/lab", "site.yml"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def processor() -> Counter[str]:
    """Return the seconds of processor that each product has used on both hosts; each runs as a user of its own."""
    used: Counter[str] = Counter()
    for name in ("hub", "app1"):
        for line in host(name).check_output("ps -eo user:32,times --no-headers").splitlines():
            user, seconds = line.split()
            used[user] += int(seconds)
    return used


def count(index: str, query: dict) -> int:
    ask("POST", f"/{index}/_refresh?ignore_unavailable=true")
    status, answer = ask("POST", f"/{index}/_count?ignore_unavailable=true&allow_no_indices=true", {"query": query})
    return answer["count"] if status == 200 else 0


def program(text: str, *arguments: str) -> None:
    """Run a program on app1."""
    host("app1").check_output(f"python3 - {' '.join(arguments)} <<'END'\n{text}\nEND")


def measure(what: str, sent: int, give: Callable[[], None], found: Callable[[], int]) -> None:
    """Give the signals, wait until all can be searched, and print a row."""
    before, begun = processor(), time.monotonic()
    give()
    while (there := found()) < sent:
        if time.monotonic() - begun > LONGEST_SECONDS:
            sys.exit(f"{what}: {sent - there} of {sent} are lost")
        time.sleep(0.5)
    seconds = time.monotonic() - begun
    used = processor() - before
    name, most = used.most_common(1)[0]
    busy = ", ".join(f"{product} {share}" for product, share in used.most_common(4))
    limit = f"{name} ({STAND_INS[name]})" if name in STAND_INS else name
    print(f"| {what} | {sent} | {seconds:.0f} | {sent / seconds:.0f} | {limit}, {most / seconds:.1f} cores | {busy} |", flush=True)


def main() -> None:
    """Converge, then measure runs without a change, logs and spans."""
    converge()
    print("| run without a change | tasks | seconds, median | seconds, best |\n|---|---|---|---|", flush=True)
    lab = ROOT / "inventories/lab"
    bench.measure("the whole platform on one host", lab, "site.yml", "--limit", "hub")
    bench.measure("the whole platform on one host, --check --diff", lab, "site.yml", "--limit", "hub", "--check", "--diff")
    bench.measure("the whole platform and an application's host", lab, "site.yml")
    print(flush=True)
    run = f"b{uuid.uuid4().hex[:8]}"
    print("| signal | sent | seconds | a second | limited by | seconds of processor |\n|---|---|---|---|---|---|", flush=True)
    host("app1").check_output("mkdir -p /var/log/shop")
    program(WRITE.format(lines=LINES, run=run), "/var/tmp/shop.jsonl")
    logs = {"term": {"labels.run": run}}
    measure("log lines", LINES, lambda: host("app1").check_output(f"mv /var/tmp/shop.jsonl {LOG}"), lambda: count("logs-shop-lab", logs))
    host("app1").check_output(f"rm {LOG}")
    text = SEND.format(address=LAB.address("hub"), spans=SPANS, batch=SPANS_A_REQUEST, run=run)
    measure("spans", SPANS, lambda: program(text), lambda: count("jaeger-span-*", {"term": {"operationName": run}}))


if __name__ == "__main__":
    main()
