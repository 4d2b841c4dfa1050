"""Appends numbered ECS records to a file until it is told to stop: write_log.py FILE RUN RECORDS_A_SECOND"""

import datetime
import itertools
import json
import sys
import time

path, run, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
with open(path, "a") as handle:
    begun = time.monotonic()
    for number in itertools.count(1):
        handle.write(json.dumps({
            "@timestamp": datetime.datetime.now(datetime.UTC).isoformat(), "log.level": "info", "event.sequence": number,
            "message": f"order {number} of the test {run} has been packed and waits for the carrier " + "." * 120, "labels": {"run": run},
        }) + "\n")
        handle.flush()
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
