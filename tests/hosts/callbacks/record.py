"""Writes each result of a run as a line of JSON to the file that OBSERVATORY_RECORD names, for the tests to read."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: notification
short_description: Record results for the tests
description: Writes each result as a line of JSON.
"""


class CallbackModule(CallbackBase):
    """One line a result: host, task, status and the module's own answer."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record"

    def _write(self, result, status):
        line = {"host": result._host.get_name(), "task": result._task.get_name(), "status": status, "result": result._result}
        with open(os.environ["OBSERVATORY_RECORD"], "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self._write(result, "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write(result, "failed")

    def v2_runner_on_unreachable(self, result):
        self._write(result, "unreachable")
