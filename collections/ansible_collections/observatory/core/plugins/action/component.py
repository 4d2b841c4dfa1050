"""Renders the configuration on the controller and brings the whole component over in one trip; see the module."""

from __future__ import annotations

from ansible_collections.observatory.core.plugins.module_utils.component import SPEC, pack
from ansible_collections.observatory.core.plugins.plugin_utils.lean import LeanAction
from ansible_collections.observatory.core.plugins.plugin_utils.tree import render


class ActionModule(LeanAction):
    """One round trip a component."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validated, declaration = self.validate_argument_spec(argument_spec=SPEC)
        if declaration["config"] and declaration["state"] == "present":
            declaration["config"] = render(self, declaration["config"], task_vars)
        result.update(
            self._execute_module(
                module_name=self._task.action,
                module_args={"payload": pack(declaration)},
                task_vars=task_vars,
            )
        )
        return result
