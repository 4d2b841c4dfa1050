"""The default output, with each error said once."""

from __future__ import annotations

DOCUMENTATION = r"""
name: console
type: stdout
short_description: The default output, with each error said once
version_added: "1.0.0"
description:
  - ansible-core 2.19 prints the message of a failed task twice, first as an error with an excerpt of the playbook, then in the task's
    result. What our messages say concerns variables and hosts, not the playbook's lines, so here the result alone is printed.
  - At the end it names the silences of a maintenance that the run has left behind.
  - With C(-v) and more, and for a task that has no message of its own, everything is printed as by default.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
author: Observatory
"""

from ansible.plugins.callback.default import CallbackModule as Default


class CallbackModule(Default):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "observatory.core.console"

    def _handle_exception(self, result, use_stderr=False):
        if result.get("msg") and not self._display.verbosity:
            result.pop("exception", None)
            return
        super()._handle_exception(result, use_stderr)

    def v2_playbook_on_stats(self, stats):
        super().v2_playbook_on_stats(stats)
        for silence in stats.custom.get("_run", {}).get("observatory_silences") or []:
            if silence.get("id"):
                self._display.warning(
                    f"alerts of {silence['what']} stay silenced until {silence['until']}, since the run did not end well. To lift it:"
                    f" obs am silence expire {silence['id']}"
                )
